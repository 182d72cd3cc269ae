"""
Reads the messages from a browser, and writes the messages to the browser.

docs/web.md describes all messages.

A browser is not trusted: each field of its messages is checked, and all numbers have limits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import attrs

from inworld_sync.errors import RemoteProtocolError
from inworld_sync.models.tts import WordTime
from inworld_sync.wire.codec import load_object

__all__ = [
    "MAX_AUDIO_BYTES",
    "MAX_JSON_CHARACTERS",
    "MAX_TEXT_CHARACTERS",
    "RATE_HZ",
    "BrowserMessage",
    "Finished",
    "Heard",
    "Interrupted",
    "Mode",
    "Push",
    "Start",
    "Typed",
    "audio_message",
    "json_message",
    "read_audio",
    "read_json",
    "word_list",
]

Mode: TypeAlias = Literal["open", "push"]

# The sample rate of the audio in both directions.
RATE_HZ = 24_000

# The greatest length of a binary message (1.36 s of audio), of a text message, and of the typed
# text in a text message.
MAX_AUDIO_BYTES = 65_536
MAX_JSON_CHARACTERS = 16_384
MAX_TEXT_CHARACTERS = 4_000

_MAX_ITEM = 10**9
_MAX_MS = 86_400_000.0


@attrs.frozen
class Start:
    """The page starts the conversation."""

    mode: Mode


@attrs.frozen
class Push:
    """The button of push-to-talk is pressed (*is_down*) or released."""

    is_down: bool


@attrs.frozen
class Typed:
    """The user has typed a message."""

    text: str


@attrs.frozen
class Heard:
    """The user has heard *ms* milliseconds of an item so far."""

    item: int
    ms: float


@attrs.frozen
class Interrupted:
    """
    The page has stopped the playback after *ms* milliseconds of an item. Item 0 means that no item
    was played.
    """

    item: int
    ms: float


@attrs.frozen
class Finished:
    """The user has heard an item to its end."""

    item: int


BrowserMessage: TypeAlias = Start | Push | Typed | Heard | Interrupted | Finished


def read_audio(data: bytes) -> bytes:
    """
    Check a binary message of the browser.

    Raises:
        RemoteProtocolError: The message is too long, or ends in the middle of a sample.
    """
    if len(data) > MAX_AUDIO_BYTES:
        raise RemoteProtocolError(
            f"expected at most {MAX_AUDIO_BYTES} bytes of audio, got {len(data)}"
        )
    if len(data) % 2:
        raise RemoteProtocolError(f"expected whole samples of 2 bytes, got {len(data)} bytes")
    return data


def read_json(text: str) -> BrowserMessage:
    """
    Read a text message of the browser.

    Raises:
        RemoteProtocolError: The text is not a message of the protocol.
    """
    if len(text) > MAX_JSON_CHARACTERS:
        raise RemoteProtocolError(
            f"expected at most {MAX_JSON_CHARACTERS} characters, got {len(text)}"
        )
    body = load_object(text)
    kind = body.get("type")
    if kind == "start":
        return Start(_mode(body))
    if kind == "push":
        return Push(_flag(body, "down"))
    if kind == "text":
        return Typed(_text(body))
    if kind == "heard":
        return Heard(_item(body), _ms(body))
    if kind == "interrupted":
        return Interrupted(_item(body), _ms(body))
    if kind == "finished":
        return Finished(_item(body))
    raise RemoteProtocolError("expected a known type of message")


def _mode(body: Mapping[str, object]) -> Mode:
    mode = body.get("mode")
    if mode == "open":
        return "open"
    if mode == "push":
        return "push"
    raise RemoteProtocolError("expected 'open' or 'push' as mode")


def _flag(body: Mapping[str, object], name: str) -> bool:
    value = body.get(name)
    if not isinstance(value, bool):
        raise RemoteProtocolError(f"expected true or false in {name}, got {type(value).__name__}")
    return value


def _text(body: Mapping[str, object]) -> str:
    text = body.get("text")
    if not isinstance(text, str) or not text.strip():
        raise RemoteProtocolError("expected a text that is not blank")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise RemoteProtocolError(
            f"expected a text of at most {MAX_TEXT_CHARACTERS} characters, got {len(text)}"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RemoteProtocolError("expected valid Unicode, got half of a surrogate pair") from None
    return text


def _item(body: Mapping[str, object]) -> int:
    value = body.get("item")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_ITEM:
        raise RemoteProtocolError(f"expected an item from 0 to {_MAX_ITEM}")
    return value


def _ms(body: Mapping[str, object]) -> float:
    value = body.get("ms")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _MAX_MS:  # type: ignore[operator]
        raise RemoteProtocolError(f"expected ms from 0 to {_MAX_MS:g}")
    number = float(value)  # type: ignore[arg-type]
    assert math.isfinite(number)
    return number


def json_message(kind: str, **fields: object) -> str:
    """Write a text message to the browser."""
    return json.dumps({"type": kind, **fields}, separators=(",", ":"))


def audio_message(item: int, pcm: bytes) -> bytes:
    """Write a binary message to the browser: the number of the item, then its audio."""
    return item.to_bytes(4, "little") + pcm


def word_list(words: Sequence[WordTime]) -> list[dict[str, object]]:
    """Return words and their times in the form of a message."""
    return [
        {"text": word.text, "start_ms": round(word.start_ms, 1), "end_ms": round(word.end_ms, 1)}
        for word in words
    ]
