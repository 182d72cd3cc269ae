"""
Connects calls of Twilio Media Streams: the socket of a stream, TwiML, signatures, and commands.

Sources: Twilio, "Media Streams - WebSocket Messages", "TwiML <Stream>", "Security".
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from inworld_sync.audio import base64
from inworld_sync.errors import ConfigError
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.telephony.bridge import Bridge
from inworld_sync.telephony.calls import CallControl, CallStart, Connect, WrongFormat
from inworld_sync.telephony.carrier_http import TwilioControl
from inworld_sync.telephony.codec import JsonCodec, text_of
from inworld_sync.telephony.formats import MULAW
from inworld_sync.telephony.options import CallOptions
from inworld_sync.telephony.output import Pacing
from inworld_sync.telephony.stream_xml import stream_xml
from inworld_sync.telephony.twilio_signature import TwilioSignature
from inworld_sync.transport.framework_socket import Message, Sender

__all__ = ["MediaStream", "TwilioControl", "TwilioSignature", "stream_twiml"]

_MULAW_NAMES = ("audio/x-mulaw", "audio/mulaw", "audio/pcmu")
_MAX_PARAMETER = 500


class MediaStream(Bridge):
    """
    A call of Twilio that is connected by ``<Connect><Stream>``.

    Args:
        socket: The WebSocket of the stream: an object with ``send``, and ``receive`` or ``recv``.
        session: An open session, or a function that opens one; see :class:`Bridge`.
        headers: The headers of the WebSocket request, for the signature.
        path: The path of the WebSocket request.
        signature: Checks the signature. *headers*, *path* and *signature* are required, unless
            *verify* is False.
        verify: With False, the signature is not checked, so anybody who knows the address can make
            a call.
        options: The settings of the call.
        control: Sends commands to Twilio, such as :class:`TwilioControl`; needed for
            transfers.
        logger: Receives the log of the call.

    Raises:
        AuthError: The request is not signed by Twilio.
        ConfigError: A required argument is missing, or an argument is wrong.

    Thread safety: one thread calls :meth:`run`; any thread may call the other methods.
    """

    def __init__(
        self,
        socket: Sender,
        session: RealtimeSession | Connect,
        *,
        headers: Mapping[str, str] | None = None,
        path: str | None = None,
        signature: TwilioSignature | None = None,
        verify: bool = True,
        options: CallOptions | None = None,
        control: CallControl | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        if verify:
            if headers is None or path is None or signature is None:
                raise ConfigError(
                    "MediaStream() checks that Twilio made the request, and needs headers= and "
                    "path= of the WebSocket request and signature=TwilioSignature(...); "
                    "verify=False turns the check off"
                )
            signature.check_socket(path, headers)
        super().__init__(
            socket, session, TwilioCodec(), options=options, control=control, logger=logger
        )


class TwilioCodec(JsonCodec):
    """The messages of one stream of Twilio; see :class:`~inworld_sync.telephony.codec.Codec`."""

    name = "Twilio"
    pacing = Pacing(lead_ms=200, start_ms=60, delay_ms=60, pads_tails=False, reports="marks")

    def __init__(self) -> None:
        self._head = ""

    def start(self, body: Mapping[str, object]) -> CallStart | WrongFormat:
        """Read the message that starts the stream."""
        start = self.part(body, "start")
        media = self.part(start, "mediaFormat", is_required=False)
        encoding, rate = text_of(media, "encoding").lower(), text_of(media, "sampleRate")
        if encoding not in _MULAW_NAMES or rate != "8000":
            return WrongFormat(
                f"Twilio sends {encoding or 'no encoding'} at {rate or '?'} Hz; this class needs "
                "audio/x-mulaw at 8000 Hz"
            )
        stream_id = text_of(start, "streamSid") or text_of(body, "streamSid")
        self._head = f',"streamSid":{json.dumps(stream_id)}'
        given = self.part(start, "customParameters", is_required=False)
        parameters = {name: text_of(given, name) for name in given}
        return CallStart(
            text_of(start, "callSid"),
            stream_id,
            MULAW,
            MULAW,
            parameters.get("from", ""),
            parameters.get("to", ""),
            parameters,
        )

    def media(self, audio: bytes) -> Message:
        """Return the message with audio."""
        payload = base64.encode(audio).decode()
        return f'{{"event":"media"{self._head},"media":{{"payload":"{payload}"}}}}'

    def report(self, name: str) -> Message | None:
        """Return the message with a mark."""
        return f'{{"event":"mark"{self._head},"mark":{{"name":{json.dumps(name)}}}}}'

    def clear(self) -> Message | None:
        """Return the message that empties the queue."""
        return f'{{"event":"clear"{self._head}}}'

    def hang_up(self) -> Message | None:
        """
        Return None, because Twilio has no such message. When the socket closes, Twilio ends the
        stream, and executes the TwiML after ``<Connect>``.
        """
        return None


def stream_twiml(
    url: str, parameters: Mapping[str, str] | None = None, *, say_before: str | None = None
) -> str:
    """
    Return the TwiML that connects a call with a :class:`MediaStream`.

    Args:
        url: The address of the WebSocket, ``wss://`` without a query. Twilio removes a query.
        parameters: Texts for :attr:`CallStart.parameters`. The caller's number is not in the
            stream, so pass the number as ``from``.
        say_before: A text that Twilio speaks before the stream begins.

    Raises:
        ConfigError: The address has a query or is not ``wss://``, or a parameter has more than 500
            characters with its name.
    """
    for name, value in (parameters or {}).items():
        if len(name) + len(value) > _MAX_PARAMETER:
            raise ConfigError(
                f"parameter {name!r} has {len(name) + len(value)} characters with its name, "
                f"Twilio accepts at most {_MAX_PARAMETER}"
            )
    return stream_xml(url, {}, parameters, say_before)
