"""The rules by which attrs classes become JSON and JSON becomes attrs classes."""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs
import pytest

from inworld_sync.errors import ConfigError, RemoteProtocolError
from inworld_sync.models.tts import AudioEncoding
from inworld_sync.wire.codec import Codec, camel, dump_text, load_object


@attrs.frozen
class Inner:
    sample_rate: int
    encoding: AudioEncoding = AudioEncoding.PCM


@attrs.frozen
class Outer:
    voice_id: str
    level: float = 0.5
    is_on: bool = False
    count: int | None = None
    inner: Inner | None = None
    names: tuple[str, ...] = ()
    odd_one: str | None = None
    extra: Mapping[str, object] = attrs.field(factory=dict)


CODEC = Codec(camel, {Outer: {"odd_one": "Odd"}})

# (object, JSON): the least, everything, and fields that this version does not know.
PAIRS = [
    (Outer("v"), {"voiceId": "v", "level": 0.5, "isOn": False, "names": []}),
    (
        Outer("v", 1.0, True, 3, Inner(8000, AudioEncoding.MULAW), ("a", "b"), "o"),
        {
            "voiceId": "v",
            "level": 1.0,
            "isOn": True,
            "count": 3,
            "inner": {"sampleRate": 8000, "encoding": "MULAW"},
            "names": ["a", "b"],
            "Odd": "o",
        },
    ),
    (
        Outer("v", extra={"new": {"x": 1}}),
        {"voiceId": "v", "level": 0.5, "isOn": False, "names": [], "new": {"x": 1}},
    ),
]


@pytest.mark.parametrize(("value", "message"), PAIRS)
def test_pairs(value: Outer, message: dict[str, object]) -> None:
    """An object and its JSON go into each other; None is left out, extra is merged."""
    assert message == CODEC.dump(value)
    assert value == CODEC.load(message, Outer, "message")


def test_defaults() -> None:
    """Fields that are missing get their defaults."""
    assert Outer("v") == CODEC.load({"voiceId": "v"}, Outer, "message")


def test_numbers() -> None:
    """JSON has one kind of number: 16000.0 is a whole one, and 1 is as good as 1.0."""
    read = CODEC.load({"voiceId": "v", "level": 1, "count": 16000.0}, Outer, "message")

    assert (1.0, 16000) == (read.level, read.count)
    assert (float, int) == (type(read.level), type(read.count))


# (JSON, words of the error): a required field missing, and each type met by another.
WRONG = [
    ({}, "voice_id"),
    ({"voiceId": None}, "voice_id"),
    ({"voiceId": 5}, "voice_id"),
    ({"voiceId": "v", "level": "high"}, "level"),
    ({"voiceId": "v", "level": True}, "level"),
    ({"voiceId": "v", "isOn": 1}, "is_on"),
    ({"voiceId": "v", "count": 1.5}, "count"),
    ({"voiceId": "v", "count": "1"}, "count"),
    ({"voiceId": "v", "inner": []}, "inner"),
    ({"voiceId": "v", "inner": {}}, "sample_rate"),
    ({"voiceId": "v", "inner": {"sampleRate": 1, "encoding": "NONE"}}, "encoding"),
    ("text", "message"),
]


@pytest.mark.parametrize(("message", "named"), WRONG)
def test_wrong(message: object, named: str) -> None:
    """What is missing or of the wrong type is an error that names where and which field."""
    with pytest.raises(RemoteProtocolError, match=rf"cannot read message.*{named}"):
        CODEC.load(message, Outer, "message")


def test_errors_hold_no_content() -> None:
    """The value that was wrong does not get into the error."""
    with pytest.raises(RemoteProtocolError) as caught:
        CODEC.load({"voiceId": ["secret words"]}, Outer, "message")

    assert "secret" not in str(caught.value)


def test_text_is_compact_utf8() -> None:
    """Text goes out as it is, not as escapes, and without spaces that nobody reads."""
    assert '{"a":"ü","b":[1,2]}' == dump_text({"a": "ü", "b": [1, 2]})


CIRCLE: dict[str, object] = {}
CIRCLE["self"] = CIRCLE


@pytest.mark.parametrize(
    "message", [{"a": float("nan")}, {"a": float("inf")}, {"a": object()}, {"a": b"x"}, CIRCLE]
)
def test_what_is_no_json(message: dict[str, object]) -> None:
    """What JSON cannot say is refused before it is sent."""
    with pytest.raises(ConfigError, match="must be JSON"):
        dump_text(message)


@pytest.mark.parametrize("form", [str, str.encode, lambda text: memoryview(text.encode())])
def test_load_object(form: object) -> None:
    """A message may come as text or as any kind of bytes."""
    message = json.dumps({"a": "ü"}, ensure_ascii=False)

    assert {"a": "ü"} == load_object(form(message))  # type: ignore[operator]
