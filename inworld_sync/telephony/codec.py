"""
Defines the methods that read and write a carrier's messages (:class:`Codec`), and implements the
JSON messages that Twilio and Telnyx have in common.

A codec reads and writes the messages of one call. A codec has no clock, lock or thread. One thread
reads and one thread writes.
Sources: Twilio Media Streams, "WebSocket Messages"; Telnyx, "Media Streaming".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol

from inworld_sync.audio import base64
from inworld_sync.errors import AudioError, RemoteProtocolError
from inworld_sync.telephony.calls import (
    CallAudio,
    CallStart,
    CallStopped,
    CarrierFault,
    CarrierMessage,
    KeyPressed,
    MarkReturned,
    WrongFormat,
)
from inworld_sync.telephony.output import Pacing
from inworld_sync.transport.framework_socket import Message
from inworld_sync.wire.codec import load_object

__all__ = ["KEYS", "Codec", "JsonCodec", "number_of", "text_of"]

KEYS = frozenset("0123456789ABCD*#")

# A number with more digits cannot be a count or a time of a call.
_MAX_DIGITS = 15

# The tracks with the audio that the caller hears.
_OUTBOUND = ("outbound", "outbound_track")


class Codec(Protocol):
    """
    The messages of one carrier, for one call.

    Attributes:
        name: The name of the carrier, for errors and logs.
        pacing: How audio is sent.
        closing_ends_call: Whether the carrier ends a call by closing the socket.
    """

    name: str
    pacing: Pacing
    closing_ends_call: bool

    def begin(self) -> Message | None:
        """Return the message that is sent when the audio begins, or None."""
        ...

    def read(self, message: Message) -> CarrierMessage | None:
        """
        Read a message; return None for a message without meaning.

        Raises:
            RemoteProtocolError: The message cannot be read.
        """
        ...

    def media(self, audio: bytes) -> Message:
        """Return the message with this audio of at most 20 ms."""
        ...

    def report(self, name: str) -> Message | None:
        """Return the message that requests a report: a mark of this name, or a status request."""
        ...

    def clear(self) -> Message | None:
        """Return the message that empties the carrier's queue; None if there is no queue."""
        ...

    def hang_up(self) -> Message | None:
        """Return the message that ends the call; None if the carrier has no such message."""
        ...


def text_of(values: Mapping[str, object], *names: str) -> str:
    """Return the first of the named fields that exists, as text; "" if there is none."""
    for name in names:
        value = values.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return str(value)
    return ""


def number_of(text: str) -> int | None:
    """Return a whole number of at most 15 digits; None for any other text."""
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else None


class JsonCodec:
    """The JSON messages that Twilio and Telnyx have in common."""

    name = ""
    closing_ends_call = False
    _has_started = False

    def begin(self) -> Message | None:
        """Return None: the carrier has answered the call."""
        return None

    def start(self, body: Mapping[str, object]) -> CallStart | WrongFormat:
        """Read the message that starts the stream."""
        raise NotImplementedError

    def read(self, message: Message) -> CarrierMessage | None:
        """Read a message; see :class:`Codec`."""
        body = load_object(message)
        event = body.get("event")
        if event == "media":
            return self._audio(self.part(body, "media"))
        if event == "mark":
            return MarkReturned(text_of(self.part(body, "mark"), "name"))
        if event == "dtmf":
            digit = text_of(self.part(body, "dtmf"), "digit").upper()
            return KeyPressed(digit) if digit in KEYS else None
        if event == "start":
            if self._has_started:
                return CarrierFault("the call was started twice")
            self._has_started = True
            return self.start(body)
        if event == "stop":
            return CallStopped()
        if event == "error":
            return CarrierFault(json.dumps(self.part(body, "payload", is_required=False)))
        return None

    def part(
        self, body: Mapping[str, object], name: str, *, is_required: bool = True
    ) -> Mapping[str, object]:
        """Return the object *name* of a message; {} if it is missing and not required."""
        value = body.get(name)
        if isinstance(value, dict):
            return value
        if is_required:
            raise RemoteProtocolError(
                f"{name} of a message of {self.name} must be an object, got {type(value).__name__}"
            )
        return {}

    def decode(self, audio: bytes) -> bytes:
        """Return audio of the carrier in the format of :attr:`CallStart.received`."""
        return audio

    def _audio(self, media: Mapping[str, object]) -> CallAudio:
        payload = media.get("payload")
        if not isinstance(payload, str):
            raise RemoteProtocolError(
                f"payload of {self.name} must be text, got {type(payload).__name__}"
            )
        try:
            audio = self.decode(base64.decode(payload))
        except AudioError as error:
            raise RemoteProtocolError(f"payload of {self.name} cannot be read: {error}") from None
        return CallAudio(
            audio,
            number_of(text_of(media, "chunk")),
            number_of(text_of(media, "timestamp")),
            is_caller=media.get("track") not in _OUTBOUND,
        )
