"""
Connects calls of Telnyx media streaming: the socket of a stream, TeXML, signatures, and commands.

Sources: Telnyx, "Media Streaming over WebSockets", "TeXML Stream"; the Python package telnyx 4.189.
"""

from __future__ import annotations

import array
import json
import logging
from collections.abc import Mapping
from typing import Literal, TypeAlias

from inworld_sync.audio import base64
from inworld_sync.errors import ConfigError
from inworld_sync.secret import Secret
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.telephony.bridge import Bridge
from inworld_sync.telephony.calls import CallControl, CallStart, Connect, WrongFormat
from inworld_sync.telephony.carrier_http import TelnyxControl
from inworld_sync.telephony.codec import JsonCodec, number_of, text_of
from inworld_sync.telephony.formats import CallFormat
from inworld_sync.telephony.options import CallOptions
from inworld_sync.telephony.output import Pacing
from inworld_sync.telephony.stream_xml import require_stream_url, stream_xml
from inworld_sync.telephony.telnyx_signature import TelnyxSignature, check_stream_token
from inworld_sync.transport.framework_socket import Message, Sender

__all__ = [
    "MediaStream",
    "TelnyxCodec",
    "TelnyxControl",
    "TelnyxEncoding",
    "TelnyxSignature",
    "stream_parameters",
    "stream_texml",
]

TelnyxEncoding: TypeAlias = Literal["PCMU", "PCMA", "L16"]

_ENCODINGS: dict[str, Literal["mulaw", "alaw", "pcm"]] = {
    "PCMU": "mulaw",
    "PCMA": "alaw",
    "L16": "pcm",
}
_RATES_HZ = (8000, 16000, 22050, 24000, 48000)
_MAX_TOKEN = 4000


class MediaStream(Bridge):
    """
    A call of Telnyx that is streamed in both directions.

    Args:
        socket: The WebSocket of the stream: an object with ``send``, and ``receive`` or ``recv``.
        session: An open session, or a function that opens one; see :class:`Bridge`.
        headers: The headers of the WebSocket request, for the token.
        auth_token: The ``stream_auth_token`` of the call. *headers* and *auth_token* are required,
            unless *verify* is False.
        verify: With False, the token is not checked, so anybody who knows the address can make a
            call.
        sent: The codec that this side sends, which is the ``stream_bidirectional_codec`` of the
            call. The codec that Telnyx sends may differ; the first message of Telnyx names this
            codec.
        sent_hz: The ``stream_bidirectional_sampling_rate``. Only L16 allows other rates than 8000.
        byte_order: The byte order of L16.
        options: The settings of the call.
        control: Sends commands to Telnyx, such as :class:`TelnyxControl`; needed for transfers.
        logger: Receives the log of the call.

    Raises:
        AuthError: The request does not have the token.
        ConfigError: A required argument is missing, or an argument is wrong.

    Thread safety: one thread calls :meth:`run`; any thread may call the other methods.
    """

    def __init__(
        self,
        socket: Sender,
        session: RealtimeSession | Connect,
        *,
        headers: Mapping[str, str] | None = None,
        auth_token: str | None = None,
        verify: bool = True,
        sent: TelnyxEncoding = "PCMU",
        sent_hz: int = 8000,
        byte_order: Literal["little", "big"] = "little",
        options: CallOptions | None = None,
        control: CallControl | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        if verify:
            if headers is None or not auth_token:
                raise ConfigError(
                    "MediaStream() checks that Telnyx made the request, and needs headers= of the "
                    "WebSocket request and auth_token=, the stream_auth_token of the call; "
                    "verify=False turns the check off"
                )
            auth_token = Secret(auth_token)
            check_stream_token(headers, auth_token)
        codec = TelnyxCodec(sent, sent_hz, byte_order)
        super().__init__(socket, session, codec, options=options, control=control, logger=logger)


class TelnyxCodec(JsonCodec):
    """
    The messages of one stream of Telnyx; see :class:`~inworld_sync.telephony.codec.Codec`.

    Args:
        sent: The codec that this side sends.
        sent_hz: The sample rate of L16.
        byte_order: The byte order of L16.
    """

    name = "Telnyx"
    # Telnyx accepts messages with 20 ms to 30 s of audio, so a shorter frame is filled to 20 ms.
    pacing = Pacing(lead_ms=200, start_ms=60, delay_ms=60, pads_tails=True, reports="marks")

    def __init__(
        self,
        sent: TelnyxEncoding = "PCMU",
        sent_hz: int = 8000,
        byte_order: Literal["little", "big"] = "little",
    ) -> None:
        self._sent = _format(sent, sent_hz)
        self._received = self._sent
        if byte_order not in ("little", "big"):
            raise ConfigError(f"byte_order must be 'little' or 'big', got {byte_order!r}")
        self._swaps = byte_order == "big"

    def start(self, body: Mapping[str, object]) -> CallStart | WrongFormat:
        """Read the message that starts the stream."""
        start = self.part(body, "start")
        name = "media_format" if "media_format" in start else "mediaFormat"
        media = self.part(start, name, is_required=False)
        encoding = text_of(media, "encoding").upper()
        rate = text_of(media, "sample_rate", "sampleRate")
        try:
            self._received = _format(encoding, number_of(rate) or 0)
        except ConfigError as error:
            return WrongFormat(f"Telnyx sends audio that cannot be used: {error}")
        given = start.get("custom_parameters")
        return CallStart(
            text_of(start, "call_control_id"),
            text_of(body, "stream_id") or text_of(start, "stream_id"),
            self._received,
            self._sent,
            text_of(start, "from"),
            text_of(start, "to"),
            _parameters(given),
        )

    def decode(self, audio: bytes) -> bytes:
        """Return whole samples in little-endian order."""
        if self._received.encoding != "pcm":
            return audio
        return _swapped(audio) if self._swaps else audio[: len(audio) // 2 * 2]

    def media(self, audio: bytes) -> Message:
        """Return the message with audio."""
        if self._swaps and self._sent.encoding == "pcm":
            audio = _swapped(audio)
        payload = base64.encode(audio).decode()
        return f'{{"event":"media","media":{{"payload":"{payload}"}}}}'

    def report(self, name: str) -> Message | None:
        """Return the message with a mark."""
        return f'{{"event":"mark","mark":{{"name":{json.dumps(name)}}}}}'

    def clear(self) -> Message | None:
        """Return the message that empties the queue."""
        return '{"event":"clear"}'

    def hang_up(self) -> Message | None:
        """Return None: an HTTP command, or the TeXML after the stream, ends the call."""
        return None


def stream_texml(
    url: str,
    parameters: Mapping[str, str] | None = None,
    *,
    codec: TelnyxEncoding = "PCMU",
    sample_rate_hz: int = 8000,
    say_before: str | None = None,
) -> str:
    """
    Return the TeXML that connects a call with a :class:`MediaStream` in both directions.

    Args:
        url: The address of the WebSocket, ``wss://`` without a query.
        parameters: Texts for :attr:`CallStart.parameters`.
        codec: The codec of both directions.
        sample_rate_hz: The sample rate of L16.
        say_before: A text that Telnyx speaks before the stream begins.

    Raises:
        ConfigError: An argument is out of its range.
    """
    _format(codec, sample_rate_hz)
    attributes = {
        "track": "inbound_track",
        "codec": codec,
        "bidirectionalMode": "rtp",
        "bidirectionalCodec": codec,
        "bidirectionalSamplingRate": str(sample_rate_hz),
    }
    return stream_xml(url, attributes, parameters, say_before)


def stream_parameters(
    url: str,
    *,
    auth_token: str,
    parameters: Mapping[str, str] | None = None,
    codec: TelnyxEncoding = "PCMU",
    sample_rate_hz: int = 8000,
) -> dict[str, object]:
    """
    Return the parameters of ``streaming_start`` that stream a call in both directions.

    The command ``dial`` accepts the same parameters, except ``custom_parameters``. Without
    ``stream_bidirectional_mode``, Telnyx would drop the audio to the caller.

    Args:
        url: The address of the WebSocket, ``wss://`` without a query.
        auth_token: A random text of at most 4000 characters, which :class:`MediaStream` checks.
        parameters: Texts for :attr:`CallStart.parameters`.
        codec: The codec of both directions.
        sample_rate_hz: The sample rate of L16.

    Raises:
        ConfigError: An argument is out of its range.
    """
    auth_token = Secret(auth_token)
    require_stream_url(url)
    _format(codec, sample_rate_hz)
    if not 0 < len(auth_token) <= _MAX_TOKEN:
        raise ConfigError(f"auth_token must have 1 to {_MAX_TOKEN} characters")
    named = [{"name": name, "value": value} for name, value in (parameters or {}).items()]
    return {
        "stream_url": url,
        "stream_track": "inbound_track",
        "stream_codec": codec,
        "stream_bidirectional_mode": "rtp",
        "stream_bidirectional_codec": codec,
        "stream_bidirectional_sampling_rate": sample_rate_hz,
        "stream_auth_token": auth_token,
        **({"custom_parameters": named} if named else {}),
    }


def _format(encoding: str, rate_hz: int) -> CallFormat:
    if encoding not in _ENCODINGS:
        names = ", ".join(_ENCODINGS)
        raise ConfigError(f"the codec must be one of {names}, got {encoding or 'nothing'}")
    allowed = _RATES_HZ if encoding == "L16" else _RATES_HZ[:1]
    if rate_hz not in allowed:
        rates = ", ".join(map(str, allowed))
        raise ConfigError(f"the sample rate of {encoding} must be one of {rates}, got {rate_hz}")
    return CallFormat(_ENCODINGS[encoding], rate_hz)


def _parameters(given: object) -> dict[str, str]:
    """Return the custom parameters. Telnyx sends an object, or a list of names and values."""
    if isinstance(given, dict):
        return {name: text_of(given, name) for name in given}
    pairs = given if isinstance(given, list) else []
    return {
        text_of(each, "name"): text_of(each, "value") for each in pairs if isinstance(each, dict)
    }


def _swapped(audio: bytes) -> bytes:
    samples = array.array("H", audio[: len(audio) // 2 * 2])
    samples.byteswap()
    return samples.tobytes()
