"""
Connects calls of Asterisk: ``chan_websocket`` and AudioSocket.

``chan_websocket`` is in Asterisk 20.16, 21.11, 22.6, 23.0 and later. This channel passes G.711
through unchanged, and a program can empty the queue of the channel. With older versions of
Asterisk, use AudioSocket; see ``audiosocket.py``. Source: Asterisk, "WebSocket Channel".
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from inworld_sync.errors import RemoteProtocolError
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.telephony.audiosocket import AudioSocketServer
from inworld_sync.telephony.bridge import Bridge
from inworld_sync.telephony.calls import (
    CallAudio,
    CallControl,
    CallStart,
    CarrierFault,
    CarrierMessage,
    Connect,
    FlowChanged,
    KeyPressed,
    QueueReported,
    WrongFormat,
)
from inworld_sync.telephony.codec import KEYS, number_of
from inworld_sync.telephony.formats import ALAW, MULAW, CallFormat
from inworld_sync.telephony.options import CallOptions
from inworld_sync.telephony.output import FRAME_MS, Pacing
from inworld_sync.transport.framework_socket import Message, Sender
from inworld_sync.wire.codec import load_object

__all__ = ["AudioSocketServer", "WebSocketChannel", "WebSocketCodec"]

_FORMATS = {
    "ulaw": MULAW,
    "alaw": ALAW,
    "slin": CallFormat("pcm", 8000),
    "slin12": CallFormat("pcm", 12000),
    "slin16": CallFormat("pcm", 16000),
    "slin24": CallFormat("pcm", 24000),
    "slin32": CallFormat("pcm", 32000),
    "slin44": CallFormat("pcm", 44100),
    "slin48": CallFormat("pcm", 48000),
    "slin96": CallFormat("pcm", 96000),
    "slin192": CallFormat("pcm", 192000),
}


class WebSocketChannel(Bridge):
    """
    A call of Asterisk that is connected by ``Dial(WebSocket/...)``.

    Asterisk does not sign its requests. So bind the server to an address that only Asterisk can
    reach, or check the user and password of ``websocket_client.conf``.

    Args:
        socket: The WebSocket: an object with ``send``, and ``receive`` or ``recv``.
        session: An open session, or a function that opens one; see :class:`Bridge`.
        answers: Whether this object answers the call with ``ANSWER``, its first message. With
            False, something else must answer the call, such as the dialplan.
        options: The settings of the call.
        control: Your own commands to Asterisk; needed for transfers.
        logger: Receives the log of the call.

    Thread safety: one thread calls :meth:`run`; any thread may call the other methods.
    """

    def __init__(
        self,
        socket: Sender,
        session: RealtimeSession | Connect,
        *,
        answers: bool = True,
        options: CallOptions | None = None,
        control: CallControl | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        codec = WebSocketCodec(answers=answers)
        super().__init__(socket, session, codec, options=options, control=control, logger=logger)


class WebSocketCodec:
    """
    The messages of one channel; see :class:`~inworld_sync.telephony.codec.Codec`.

    Args:
        answers: Whether :meth:`begin` returns the command that answers the call.
    """

    name = "Asterisk"
    closing_ends_call = True
    # Asterisk drops an incomplete frame at the end of a message.
    pacing = Pacing(lead_ms=200, start_ms=60, delay_ms=60, pads_tails=True, reports="queue")

    def __init__(self, *, answers: bool = True) -> None:
        self._answers = answers
        # The size of a sample of the caller's audio; 0 until the call has started.
        self._sample_bytes = 0

    def begin(self) -> Message | None:
        """Return the command that answers the call."""
        return "ANSWER" if self._answers else None

    def read(self, message: Message) -> CarrierMessage | None:
        """Read audio, or an event as plain text or JSON."""
        if isinstance(message, bytes):
            return CallAudio(message[: len(message) - len(message) % (self._sample_bytes or 1)])
        name, fields = _event(message)
        if name == "MEDIA_START":
            if self._sample_bytes:
                return CarrierFault("the call was started twice")
            start = _start(fields)
            if isinstance(start, CallStart):
                self._sample_bytes = start.received.bytes_per_sample
            return start
        if name in ("DTMF_END", "DTMF"):
            digit = fields.get("digit", "").upper()
            return KeyPressed(digit) if digit in KEYS else None
        if name in ("MEDIA_XOFF", "MEDIA_XON"):
            return FlowChanged(name == "MEDIA_XOFF")
        if name == "STATUS":
            text = fields.get("queue_length", "")
            if (frames := number_of(text)) is None:
                raise RemoteProtocolError(
                    f"queue_length of Asterisk's STATUS must be a number, got {text!r:.100}"
                )
            # The frame that is being played is not in the queue.
            return QueueReported((frames + 1) * FRAME_MS)
        if name == "ERROR":
            return CarrierFault(message)
        return None

    def media(self, audio: bytes) -> Message:
        """Return the audio unchanged."""
        return audio

    def report(self, name: str) -> Message | None:  # noqa: ARG002 - Asterisk has no marks
        """Return the command that requests the length of the queue."""
        return "GET_STATUS"

    def clear(self) -> Message | None:
        """Return the command that empties the queue."""
        return "FLUSH_MEDIA"

    def hang_up(self) -> Message | None:
        """Return the command that ends the channel."""
        return "HANGUP"


def _event(text: str) -> tuple[str, dict[str, str]]:
    """Return the name and the fields of an event: ``NAME key:value ...`` or a JSON object."""
    if text.lstrip().startswith("{"):
        body = load_object(text)
        fields = {name: str(value) for name, value in body.items()}
        return fields.pop("event", fields.pop("command", "")), fields
    name, *words = text.split() or [""]
    pairs = (word.partition(":") for word in words)
    return name, {key: value for key, _, value in pairs}


def _start(fields: Mapping[str, str]) -> CallStart | WrongFormat:
    name = fields.get("format", "")
    found = _FORMATS.get(name)
    if found is None:
        return WrongFormat(
            f"the channel has {f'the format {name}' if name else 'no format'}: in the dialplan, "
            "pass c(ulaw), c(alaw) or c(slin16) to Dial(). The supported formats are: "
            f"{', '.join(_FORMATS)}"
        )
    channel = fields.get("channel", "")
    call_id = fields.get("connection_id") or fields.get("channel_id") or channel
    return CallStart(call_id, channel, found, found, parameters=fields)
