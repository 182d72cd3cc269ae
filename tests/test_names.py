"""The package uses terms of the field as names. The words below are not used as names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import inworld_sync

PACKAGE = Path(inworld_sync.__file__).parent


@attrs.frozen
class Refused:
    """Words that may not be names in a folder or file, and the names to use instead."""

    words: str
    where: str
    instead: str


REFUSED = [
    Refused("TtsLine Line", "sessions", "TtsConnection, Commands, playback queue"),
    Refused("desk ToolDesk book CallBook", "sessions/realtime", "tool_calls, pending_calls"),
    Refused("tape intake lead", "sessions/stt", "audio_buffer, overflow, max_lead"),
    Refused("ending DOUBTFUL", "sessions/stt", "completion, UNCONFIRMED"),
    Refused("told tell retell untold unheeded", "", "emitted, emit, replay, unacknowledged"),
    Refused("note", "", "handle"),
    Refused("takes take give", "", "accepts, pop, emit or send"),
    Refused("beside", "sessions/realtime", "out_of_band"),
    Refused("is_quiet", "", "has_manual_turns, is_idle"),
    Refused("deed", "", "task"),
    Refused("Answer expect blame", "sessions/realtime", "PendingReply, register, match_error"),
    Refused("dial redial", "sessions", "reconnect"),
    Refused("distrust seal tidy keep_none give_way on_shortage", "sessions", "mark_unhealthy"),
    Refused("is_foreign Origin", "transport", "ForkGuard.in_child"),
    Refused("wake Wake Woken nudge", "transport", "SelfPipe, WokenUp, wake_writer"),
    Refused("borrow forsake", "transport", "write lock, acquire, abandon"),
    Refused("turn", "transport/outbox.py", "write lock"),
    Refused("hold release", "_native", "_core"),
    Refused("Ears Talk Stage outlet Outlet backend Backend", "emulator", "SharedState and others"),
    Refused("Talk", "sessions", "ConverseLoop"),
]


def names_in(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the name of a file, and every name that the file defines, with the line."""
    yield 0, path.stem
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def coined(name: str, refused: Refused) -> bool:
    """Return whether a name, without leading underscores, is one of the words."""
    return name.lstrip("_") in refused.words.split()


def found_in(root: Path, refused: Refused) -> list[str]:
    """Return each place where a refused word is used as a name."""
    start = root / refused.where
    files = [start] if start.suffix else sorted(start.rglob("*.py"))
    return [
        f"{path.relative_to(root)}:{line} {name}: use {refused.instead}"
        for path in files
        for line, name in names_in(path)
        if coined(name, refused)
    ]


@pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: refused.words)
def test_no_coined_word(refused: Refused) -> None:
    """No file of the package uses one of these words as a name."""
    assert found_in(PACKAGE, refused) == []


def test_a_coined_word_is_found(tmp_path: Path) -> None:
    """A refused word is found as the name of a file, a class, a method and an attribute."""
    folder = tmp_path / "sessions"
    folder.mkdir()
    (folder / "desk.py").write_text("class Desk:\n    def _desk(self):\n        self.desk = 1\n")
    found = found_in(tmp_path, Refused("desk Desk", "sessions", "tool_calls"))

    assert [0, 1, 2, 3] == [int(re.split(r"[: ]", place)[1]) for place in found]
