"""The names of the realtime values: each one imports, and loads no more than it needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from inworld_sync.models import realtime


def homes() -> dict[str, str]:
    """Where type checkers find each name."""
    source = Path(realtime.__file__).read_text(encoding="utf-8")
    (block,) = (node for node in ast.parse(source).body if isinstance(node, ast.If))
    return {
        alias.name: statement.module or ""
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


def test_type_checkers_see_what_there_is() -> None:
    """What a type checker sees is what there is."""
    assert sorted(homes()) == sorted(realtime.__all__)


@pytest.mark.parametrize("name", realtime.__all__)
def test_every_name_imports(name: str) -> None:
    """Each name is the thing that its home has, and is shown by dir()."""
    assert getattr(realtime, name) is getattr(import_module(homes()[name]), name)
    assert name in dir(realtime)


def test_unknown_name() -> None:
    """A name that does not exist is an AttributeError, as of any module."""
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = realtime.Nothing


def test_settings_load_no_events() -> None:
    """Who makes settings does not load the hundred classes of events."""
    code = (
        "import sys\n"
        "from inworld_sync import Inworld, SemanticVad, Session, tool\n"
        "Session(turn_detection=SemanticVad())\n"
        "print(*(name for name in sys.modules if name.endswith('events')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "models.realtime" not in done.stdout
