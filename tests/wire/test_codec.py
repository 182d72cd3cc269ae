"""attrs classes are converted to JSON and back."""

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

# (object, JSON): only required fields, all fields, and unknown fields.
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
    """The object is converted to the JSON, and the JSON is converted to the object."""
    assert message == CODEC.dump(value)
    assert value == CODEC.load(message, Outer, "message")


def test_defaults() -> None:
    """A missing optional field gets its default."""
    assert Outer("v") == CODEC.load({"voiceId": "v"}, Outer, "message")


def test_numbers() -> None:
    """16000.0 is read as an integer and 1 as a float, because JSON has only one type of number."""
    read = CODEC.load({"voiceId": "v", "level": 1, "count": 16000.0}, Outer, "message")

    assert (1.0, 16000) == (read.level, read.count)
    assert (float, int) == (type(read.level), type(read.count))


# (JSON, part of the error): a missing required field, and a wrong value for each type.
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
    """A missing or wrong field raises an error that names the object and the field."""
    with pytest.raises(RemoteProtocolError, match=rf"cannot read message.*{named}"):
        CODEC.load(message, Outer, "message")


def test_errors_hold_no_content() -> None:
    """The error does not show the wrong value."""
    with pytest.raises(RemoteProtocolError) as caught:
        CODEC.load({"voiceId": ["secret words"]}, Outer, "message")

    assert "secret" not in str(caught.value)


def test_text_is_compact_utf8() -> None:
    """Messages are UTF-8 without escapes and without unnecessary spaces."""
    assert '{"a":"ü","b":[1,2]}' == dump_text({"a": "ü", "b": [1, 2]})


CIRCLE: dict[str, object] = {}
CIRCLE["self"] = CIRCLE


@pytest.mark.parametrize(
    "message", [{"a": float("nan")}, {"a": float("inf")}, {"a": object()}, {"a": b"x"}, CIRCLE]
)
def test_values_that_json_does_not_have(message: dict[str, object]) -> None:
    """A value that JSON cannot represent raises an error before anything is sent."""
    with pytest.raises(ConfigError, match="cannot be written as JSON"):
        dump_text(message)


@pytest.mark.parametrize("form", [str, str.encode, lambda text: memoryview(text.encode())])
def test_load_object(form: object) -> None:
    """A message may be a str or any bytes-like object."""
    message = json.dumps({"a": "ü"}, ensure_ascii=False)

    assert {"a": "ü"} == load_object(form(message))  # type: ignore[operator]
