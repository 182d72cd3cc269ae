"""
Reads the messages of an engine, and writes the messages to an engine.

A text message is a JSON object with ``type``. A binary message from the engine is audio of its
microphone. A binary message to the engine is the number of a line, as 4 bytes in little-endian
order, and audio of this line. ``docs/engines.md`` has a table of all messages.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import attrs

__all__ = [
    "MAX_LINE",
    "MAX_TOKEN",
    "VERSION",
    "BadMessage",
    "Command",
    "Heard",
    "Hello",
    "Interrupt",
    "Push",
    "Say",
    "Speak",
    "Start",
    "Stop",
    "audio_message",
    "is_token",
    "read_command",
    "write_event",
]

VERSION = 1

# Lines of the engine have positive numbers. Replies have negative numbers.
MAX_LINE = 2**31 - 1

MAX_TOKEN = 1000
_MAX_TEXT = 10_000
_MAX_NAME = 200
_MAX_INSTRUCTIONS = 30_000
_MAX_MS = 24 * 3600 * 1000.0
_LINE_NUMBER = struct.Struct("<i")

EventType: TypeAlias = Literal[
    "ready", "begin", "words", "mouth", "end", "player", "reply", "state", "error"
]


class BadMessage(Exception):
    """A message of the engine is wrong. The text of the exception says what was expected."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@attrs.frozen
class Hello:
    """Begin the connection, with the version of the protocol, the token and the settings."""

    version: int
    token: str | None = attrs.field(default=None, repr=False)
    shapes: str = "openxr"
    ahead_ms: float = 1000.0


@attrs.frozen
class Speak:
    """Speak a text as the line with this number."""

    line: int
    text: str
    voice: str | None = None
    model: str | None = None
    language: str | None = None


@attrs.frozen
class Heard:
    """Report that the player has heard the first *ms* milliseconds of a line."""

    line: int
    ms: float


@attrs.frozen
class Interrupt:
    """Stop a line. The player has heard the first *heard_ms* milliseconds of the line."""

    line: int
    heard_ms: float


@attrs.frozen
class Start:
    """Open a conversation."""

    instructions: str | None = None
    voice: str | None = None
    model: str | None = None
    push_to_talk: bool = False
    rate_hz: int = 24000


@attrs.frozen
class Say:
    """Send a text message of the player to the model."""

    text: str


@attrs.frozen
class Push:
    """Report that the player has pressed or released the button of push-to-talk."""

    down: bool


@attrs.frozen
class Stop:
    """Close the conversation."""


Command: TypeAlias = Hello | Speak | Heard | Interrupt | Start | Say | Push | Stop


class _Fields:
    """The fields of a message that were not read yet. A method that returns a field removes it."""

    def __init__(self, message: Mapping[str, object]) -> None:
        self._left = dict(message)
        self.kind = self._left.pop("type", None)

    def text(self, name: str, most: int) -> str:
        value = self._left.pop(name, None)
        if not isinstance(value, str) or not value.strip() or len(value) > most:
            raise self._wrong(name, f"a text of 1 to {most} characters that is not blank", value)
        # A lone surrogate, which JSON can express, cannot be sent to the service.
        if not _is_unicode(value):
            raise self._wrong(name, "valid Unicode", value)
        return value

    def text_or_none(self, name: str, most: int) -> str | None:
        if self._left.get(name) is None:
            self._left.pop(name, None)
            return None
        return self.text(name, most)

    def flag(self, name: str, default: bool | None = None) -> bool:
        value = self._left.pop(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return value

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        value = self._left.pop(name, default)
        # Some engines write every number as a float.
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._wrong(name, f"a whole number from {low} to {high}", value)
        return value

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        value = self._left.pop(name, default)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        raise self._wrong(name, f"a number from {low:g} to {high:g}", value)

    def end(self) -> None:
        """Raise :class:`BadMessage` if the message has a field that no method has read."""
        if self._left:
            names = ", ".join(repr(name)[:40] for name in sorted(self._left)[:5])
            raise BadMessage(f"{self.kind} has no field {names}")

    def _wrong(self, name: str, expected: str, value: object) -> BadMessage:
        # The error does not repeat a token, because a token is secret.
        got = "another value" if name == "token" else _shortened(value)
        return BadMessage(f"{name} of {self.kind} must be {expected}, got {got}")


def read_command(message: str, shape_sets: Sequence[str]) -> Command:
    """
    Read a text message of the engine.

    Args:
        message: The message.
        shape_sets: The names that the field ``shapes`` may have.

    Raises:
        BadMessage: The message is not a JSON object, has an unknown type, or has a wrong field.
    """
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        raise BadMessage(f"expected a JSON object, got {_shortened(message)}") from None
    if not isinstance(value, dict):
        raise BadMessage(f"expected a JSON object, got {_shortened(value)}")
    fields = _Fields(value)
    read = _READERS.get(fields.kind) if isinstance(fields.kind, str) else None
    if read is None:
        known = ", ".join(_READERS)
        raise BadMessage(f"type must be one of {known}, got {_shortened(fields.kind)}")
    try:
        command = read(fields)
        fields.end()
        _require_shapes(command, shape_sets)
    except BadMessage as error:
        line = value.get("line")
        is_number = isinstance(line, int) and not isinstance(line, bool) and abs(line) <= MAX_LINE
        error.line = line if is_number else None
        raise
    return command


def _require_shapes(command: Command, shape_sets: Sequence[str]) -> None:
    if isinstance(command, Hello) and command.shapes not in shape_sets:
        known = ", ".join(shape_sets)
        raise BadMessage(f"shapes of hello must be one of {known}, got {command.shapes[:40]!r}")


def _hello(fields: _Fields) -> Hello:
    return Hello(
        fields.whole("version", VERSION, VERSION),
        fields.text_or_none("token", MAX_TOKEN),
        fields.text_or_none("shapes", _MAX_NAME) or "openxr",
        fields.number("ahead_ms", 200, 60_000, 1000),
    )


def _speak(fields: _Fields) -> Speak:
    return Speak(
        fields.whole("line", 1, MAX_LINE),
        fields.text("text", _MAX_TEXT),
        fields.text_or_none("voice", _MAX_NAME),
        fields.text_or_none("model", _MAX_NAME),
        fields.text_or_none("language", _MAX_NAME),
    )


def _start(fields: _Fields) -> Start:
    return Start(
        fields.text_or_none("instructions", _MAX_INSTRUCTIONS),
        fields.text_or_none("voice", _MAX_NAME),
        fields.text_or_none("model", _MAX_NAME),
        fields.flag("push_to_talk", default=False),
        fields.whole("rate_hz", 8000, 48000, 24000),
    )


def _any_line(fields: _Fields) -> int:
    return fields.whole("line", -MAX_LINE, MAX_LINE)


_READERS: dict[str, Callable[[_Fields], Command]] = {
    "hello": _hello,
    "speak": _speak,
    "heard": lambda fields: Heard(_any_line(fields), fields.number("ms", 0, _MAX_MS)),
    "interrupt": lambda fields: Interrupt(_any_line(fields), fields.number("heard_ms", 0, _MAX_MS)),
    "start": _start,
    "say": lambda fields: Say(fields.text("text", _MAX_TEXT)),
    "push": lambda fields: Push(fields.flag("down")),
    "stop": lambda _: Stop(),
}


def write_event(kind: EventType, **fields: object) -> str:
    """Return a text message to the engine as JSON. Fields that are None are left out."""
    present = {name: value for name, value in fields.items() if value is not None}
    return json.dumps({"type": kind, **present}, separators=(",", ":"))


def audio_message(line: int, pcm: bytes) -> bytes:
    """Return a binary message that sends audio of a line to the engine."""
    return _LINE_NUMBER.pack(line) + pcm


def is_token(value: object) -> bool:
    """Return whether an engine can send this token."""
    is_text = isinstance(value, str) and value.strip() != "" and len(value) <= MAX_TOKEN
    return is_text and _is_unicode(str(value))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shortened(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
