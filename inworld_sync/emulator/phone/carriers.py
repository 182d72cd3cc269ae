"""
Writes and reads the messages of carriers, on the side of the carrier.

Sources: Twilio, "Media Streams - WebSocket Messages"; Telnyx, "Media Streaming over WebSockets";
Asterisk, "WebSocket Channel" and "AudioSocket".
"""

from __future__ import annotations

import base64
import json
import struct
import uuid
from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from inworld_sync.errors import ConfigError

__all__ = ["CARRIERS", "Carrier", "Kind", "Message", "Order"]

Message: TypeAlias = "str | bytes"
Kind: TypeAlias = Literal["twilio", "telnyx", "asterisk", "audiosocket"]

_FRAME_MS = 20


@attrs.frozen
class Order:
    """
    The meaning of a message of the program.

    Attributes:
        kind: ``audio``, ``mark``, ``clear``, ``status``, ``hang_up`` or ``other``.
        audio: The audio of an ``audio`` message; otherwise empty.
        name: The name of a mark; otherwise empty.
    """

    kind: Literal["audio", "mark", "clear", "status", "hang_up", "other"]
    audio: bytes = b""
    name: str = ""


@attrs.frozen(kw_only=True)
class CallFacts:
    """The ids of a call and the format of its audio."""

    call_id: str
    stream_id: str
    encoding: str
    sample_rate_hz: int
    parameters: Mapping[str, str]


class Carrier:
    """Writes and reads the messages of one call. The methods here are for messages in JSON."""

    def __init__(self, facts: CallFacts) -> None:
        self._facts = facts
        self._sequence = 0

    def opening(self) -> list[Message]:
        """Return the messages that begin the stream."""
        raise NotImplementedError

    def media(self, audio: bytes, chunk: int) -> Message:
        """Return the message with a piece of the caller's audio. *chunk* is its number, from 1."""
        media = {
            "track": "inbound",
            "chunk": str(chunk),
            "timestamp": str((chunk - 1) * _FRAME_MS),
            "payload": base64.b64encode(audio).decode(),
        }
        return self._message("media", media)

    def key(self, digit: str) -> Message:
        """Return the message about a key that the caller presses."""
        raise NotImplementedError

    def mark(self, name: str) -> Message:
        """Return the message about a mark that was reached."""
        return self._message("mark", {"name": name})

    def status(self, queued_frames: int) -> Message:
        """Return the message with the length of the queue, in frames of 20 ms."""
        raise NotImplementedError

    def stop(self) -> Message | None:
        """Return the message that ends the stream; None if the stream ends without one."""
        raise NotImplementedError

    def read(self, message: Message) -> Order:
        """Read a message of the program."""
        body = json.loads(message)
        event = body["event"]
        if event == "media":
            return Order("audio", base64.b64decode(body["media"]["payload"], validate=True))
        if event == "mark":
            return Order("mark", name=body["mark"]["name"])
        return Order("clear") if event == "clear" else Order("other")

    def number(self) -> int:
        """Count a message, and return its number."""
        self._sequence += 1
        return self._sequence

    def _message(self, event: str, body: Mapping[str, object]) -> Message:
        """Return an event as JSON. Only carriers with JSON messages have this method."""
        raise NotImplementedError


class Twilio(Carrier):
    """Twilio Media Streams: all numbers are texts, except in the media format."""

    def opening(self) -> list[Message]:
        facts = self._facts
        start = {
            "accountSid": "AC" + "0" * 32,
            "streamSid": facts.stream_id,
            "callSid": facts.call_id,
            "tracks": ["inbound"],
            "customParameters": dict(facts.parameters),
            "mediaFormat": {
                "encoding": "audio/x-mulaw" if facts.encoding == "mulaw" else facts.encoding,
                "sampleRate": facts.sample_rate_hz,
                "channels": 1,
            },
        }
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return [json.dumps(connected), self._message("start", start)]

    def key(self, digit: str) -> Message:
        return self._message("dtmf", {"track": "inbound_track", "digit": digit})

    def stop(self) -> Message | None:
        return self._message("stop", {"accountSid": "AC", "callSid": self._facts.call_id})

    def read(self, message: Message) -> Order:
        if json.loads(message).get("streamSid") != self._facts.stream_id:
            raise ConfigError("a message to Twilio must have the streamSid of the stream")
        return super().read(message)

    def _message(self, event: str, body: Mapping[str, object]) -> str:
        return json.dumps(
            {
                "event": event,
                "sequenceNumber": str(self.number()),
                "streamSid": self._facts.stream_id,
                event: body,
            }
        )


class Telnyx(Carrier):
    """Telnyx media streaming."""

    def opening(self) -> list[Message]:
        facts = self._facts
        encodings = {"mulaw": "PCMU", "alaw": "PCMA", "pcm": "L16"}
        start = {
            "user_id": "user",
            "call_control_id": facts.call_id,
            "from": "+15550100",
            "to": "+15550101",
            "client_state": "",
            "custom_parameters": dict(facts.parameters),
            "media_format": {
                "encoding": encodings.get(facts.encoding, facts.encoding),
                "sample_rate": facts.sample_rate_hz,
                "channels": 1,
            },
        }
        connected = {"event": "connected", "version": "1.0.0"}
        return [json.dumps(connected), self._message("start", start)]

    def key(self, digit: str) -> Message:
        return self._message("dtmf", {"digit": digit})

    def stop(self) -> Message | None:
        return self._message("stop", {"user_id": "user", "call_control_id": self._facts.call_id})

    def read(self, message: Message) -> Order:
        order = super().read(message)
        frame_bytes = self._facts.sample_rate_hz * _FRAME_MS // 1000
        if order.kind == "audio" and len(order.audio) < frame_bytes:
            raise ConfigError("a message to Telnyx must have 20 ms of audio or more")
        return order

    def _message(self, event: str, body: Mapping[str, object]) -> str:
        return json.dumps(
            {
                "event": event,
                "sequence_number": str(self.number()),
                "stream_id": self._facts.stream_id,
                event: body,
            }
        )


class Asterisk(Carrier):
    """The channel driver ``chan_websocket``. Audio is binary; commands and events are text."""

    def opening(self) -> list[Message]:
        facts = self._facts
        names = {"mulaw": "ulaw", "alaw": "alaw", "pcm": "slin"}
        name = names.get(facts.encoding, facts.encoding)
        if name == "slin" and facts.sample_rate_hz > 8000:
            name += str(facts.sample_rate_hz // 1000)
        channel = f"WebSocket/INCOMING/{facts.call_id}"
        ids = f"connection_id:{facts.call_id} channel:{channel}"
        return [f"MEDIA_START {ids} format:{name} optimal_frame_size:160"]

    def media(self, audio: bytes, chunk: int) -> Message:  # noqa: ARG002 - it has no number
        return audio

    def key(self, digit: str) -> Message:
        return f"DTMF_END digit:{digit}"

    def status(self, queued_frames: int) -> Message:
        return (
            f"STATUS queue_length:{queued_frames} xon_level:800 xoff_level:900 queue_full:false "
            "bulk_media:false media_paused:false"
        )

    def stop(self) -> Message | None:
        return None

    def read(self, message: Message) -> Order:
        if isinstance(message, bytes):
            return Order("audio", message)
        kinds: dict[str, Literal["clear", "status", "hang_up"]] = {
            "FLUSH_MEDIA": "clear",
            "GET_STATUS": "status",
            "HANGUP": "hang_up",
        }
        return Order(kinds.get(message, "other"))


class AudioSocket(Carrier):
    """AudioSocket. Each frame has a type and a length. The audio has 16 bits per sample."""

    def opening(self) -> list[Message]:
        return [_frame(0x01, uuid.UUID(self._facts.call_id).bytes)]

    def media(self, audio: bytes, chunk: int) -> Message:  # noqa: ARG002 - it has no number
        return _frame(self._kind, audio)

    def key(self, digit: str) -> Message:
        return _frame(0x03, digit.encode())

    def stop(self) -> Message | None:
        return _frame(0x00, b"")

    def read(self, message: Message) -> Order:
        assert isinstance(message, bytes)
        kind, length = struct.unpack_from("!BH", message)
        if kind == 0x00:
            return Order("hang_up")
        if kind != self._kind or length == 0 or length + 3 != len(message):
            raise ConfigError("Asterisk accepts only whole frames of audio, and 0x00")
        return Order("audio", message[3:])

    @property
    def _kind(self) -> int:
        return {8000: 0x10, 16000: 0x12}.get(self._facts.sample_rate_hz, 0x10)


def _frame(kind: int, payload: bytes) -> bytes:
    return struct.pack("!BH", kind, len(payload)) + payload


CARRIERS: dict[Kind, type[Carrier]] = {
    "twilio": Twilio,
    "telnyx": Telnyx,
    "asterisk": Asterisk,
    "audiosocket": AudioSocket,
}
