"""Outputs get their names from a template, stay inside their folder, and never collide."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from inworld_sync import ConfigError
from inworld_sync.batch.names import check_collisions, output_name

FIELDS = {"id": "a1", "voice": "Ashley", "index": "7"}


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{id}.wav", "a1.wav"),
        ("{voice}/{index:05}-{id}.mp3", "Ashley/00007-a1.mp3"),
        ("all.wav", "all.wav"),
        ("{id}{id}.wav", "a1a1.wav"),
    ],
)
def test_names(template: str, name: str) -> None:
    """The values of the fields are inserted, and numbers are padded with zeros."""
    assert name == output_name(template, FIELDS, "line 1")


@pytest.mark.parametrize(
    ("template", "fields", "message"),
    [
        ("/etc/{id}.wav", {}, "is empty"),
        ("../{id}.wav", {}, "may lead outside the folder"),
        ("a/./{id}.wav", {}, "may lead outside the folder"),
        ("{voice}/{id}.wav", {"voice": ".."}, "may lead outside the folder"),
        ("{id}.wav", {"id": "../x"}, r"has '/', which is not allowed"),
        ("{id}.wav", {"id": "a\\b"}, "is not allowed in the name"),
        ("{id}.wav", {"id": "a\0b"}, "is not allowed in the name"),
        ("C:{id}.wav", {}, "has ':'"),
        ("{id}.wav", {"id": "a\ud800"}, r"has '\\ud800'"),
        ("{id}.wav", {"id": "Nul"}, "is the name of a device on Windows"),
        ("com1/{id}.wav", {}, "is the name of a device on Windows"),
        ("{id}.wav", {"id": "x" * 252}, "longer than 255 bytes"),
        ("{id}.wav", {"id": "é" * 127}, "longer than 255 bytes"),
        ("{id} ", {}, "ends with a space"),
        ("{id}.", {}, "ends with a dot"),
        ("{name}.wav", {}, r"has the field \{name\}, which line 1 does not have"),
        ("{id.__class__}.wav", {}, "must have fields such as"),
        ("{id!r}.wav", {}, "must have fields such as"),
        ("{id:>9}.wav", {}, "must have fields such as"),
        ("{}.wav", {}, "must have fields such as"),
    ],
)
def test_wrong_names(template: str, fields: dict[str, str], message: str) -> None:
    """A name that leads out of the folder, or that an operating system refuses, raises an error."""
    with pytest.raises(ConfigError, match=message):
        output_name(template, {**FIELDS, **fields}, "line 1")


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_value(identity: str, voice: str) -> None:
    """An accepted name has the parts of the template, and no part leads out of the folder."""
    try:
        name = output_name("{voice}/{id}.wav", {"id": identity, "voice": voice}, "line 1")
    except ConfigError:
        return
    parts = name.split("/")
    assert 2 == len(parts)
    assert not {"", ".", ".."} & set(parts)
    assert "\\" not in name
    assert "\0" not in name


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.wav", "b.wav", "a.wav"], r"line 1 and line 3 have the same output 'a\.wav'"),
        (["a.wav", "A.WAV"], "have the same output"),
        (["journal.jsonl"], "the batch's own file"),
        (["Journal.jsonl/a.wav"], "the batch's own file"),
        (["a/b.wav", "a"], "also a folder of the output of line 1"),
    ],
)
def test_collisions(names: list[str], message: str) -> None:
    """If two items would write the same file, an error is raised."""
    with pytest.raises(ConfigError, match=message):
        check_collisions((name, f"line {number}") for number, name in enumerate(names, 1))
