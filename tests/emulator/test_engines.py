"""The best installed engine is chosen, and texts are divided into sentences."""

from __future__ import annotations

import sys

import pytest

from inworld_sync.emulator import synthesis
from inworld_sync.emulator.synthesis import Synthesizer, default_synthesizer
from inworld_sync.emulator.synthesis.sentences import sentences
from inworld_sync.errors import ConfigError

# (text, its sentences)
SENTENCES = [
    ("", []),
    (" \n ", []),
    ("Hello", ["Hello"]),
    ("One. Two? Three!", ["One.", "Two?", "Three!"]),
    ('He said "no." Then left.', ['He said "no."', "Then left."]),
    ("It costs 3.50 today.", ["It costs 3.50 today."]),
    ("A line\nanother line \n\n and one", ["A line", "another line", "and one"]),
    ("...", ["..."]),
]


@pytest.mark.parametrize(("text", "expected"), SENTENCES)
def test_sentences(text: str, expected: list[str]) -> None:
    """A sentence ends after its end mark and closing quotes, or at the end of the line."""
    assert expected == [text[start:end] for start, end in sentences(text)]


def test_default_engine_is_made_once() -> None:
    """All servers of a process share one engine."""
    assert default_synthesizer() is default_synthesizer()


class Tiny:
    """Replaces the class of a smaller engine."""


def test_next_engine_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the default engine, the next installed engine is used."""
    monkeypatch.setattr(synthesis, "_default", None)
    monkeypatch.setitem(sys.modules, "hibari", None)
    monkeypatch.setattr("inworld_sync.emulator.synthesis.nanotts.NanoSynthesizer", Tiny)

    engine: Synthesizer = default_synthesizer()

    assert isinstance(engine, Tiny)


def test_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any engine, the error names the extra to install."""
    monkeypatch.setattr(synthesis, "_default", None)
    for package in ("hibari", "py_nanotts", "espeakng_loader"):
        monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(ConfigError, match=r"inworld-sync\[local\]"):
        default_synthesizer()
