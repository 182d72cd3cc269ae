"""Sends random and damaged requests to all endpoints of the emulator."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import random
import socket
from collections.abc import Callable
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from inworld_sync.emulator import Emulator

from support.rest_client import wav_file

__all__ = ["Fuzzer", "TracebackCounter"]

TTS = "/tts/v1/voice:streamBidirectional"
STT = "/stt/v1/transcribe:streamBidirectional"
REALTIME = ("/api/v1/realtime/session", "/v1/realtime?model=x")

# The requests that the fuzzer changes. They have all fields that the emulator reads.
_CONFIG = {
    "voiceId": "Ashley",
    "modelId": "inworld-tts-2",
    "audioConfig": {
        "audioEncoding": "PCM",
        "sampleRateHertz": 24000,
        "bitRate": 64000,
        "speakingRate": 1.0,
    },
    "temperature": 1.0,
    "language": "en-US",
    "deliveryMode": "BALANCED",
    "timestampType": "WORD",
    "timestampTransportStrategy": "ASYNC",
    "applyTextNormalization": "ON",
    "autoMode": True,
    "maxBufferDelayMs": 10,
    "bufferCharThreshold": 50,
    "synthesisContext": {"previousRequests": [{"text": "Hello."}]},
    "lipsyncConfig": {"visemeSet": "OPENXR"},
}
_TTS_REQUESTS: list[Any] = [
    {"create": _CONFIG, "contextId": "c1"},
    {"send_text": {"text": "Hello <break time='1s'/> there, *you*. ", "flush_context": {}}},
    {"flush_context": {}, "contextId": "c1"},
    {"update_config": {"voiceId": "Dennis"}, "contextId": "c1"},
    {"close_context": {}, "contextId": "c1"},
    {"cancel_context": {}, "contextId": "c1"},
]
_CHAT = {
    "model": "auto",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather in Oslo?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "temperature": 1.0,
    "max_tokens": 50,
    "stop": ["END"],
    "stream_options": {"include_usage": True},
    "audio": {"voice": "Ashley", "model": "inworld-tts-2"},
    "extra_body": {"models": ["openai/gpt-4o"], "metadata": {"tier": "gold"}},
    "user": "u1",
}
_ROUTE = {
    "route_id": "r",
    "variants": [{"variant": {"variant_id": "v", "model_id": "auto"}, "weight": 100}],
}
_ROUTER = {
    "name": "a",
    "routes": [{"route": _ROUTE, "condition": {"cel_expression": "tier == 'gold'"}}],
    "defaultRoute": {**_ROUTE, "route_id": "d"},
}
_PCM = base64.b64encode(bytes(3200)).decode()
_WAV = base64.b64encode(wav_file(0.1)).decode()
_STT_CONFIG = {
    "modelId": "inworld/inworld-stt-1",
    "audioEncoding": "LINEAR16",
    "sampleRateHertz": 16000,
    "numberOfChannels": 1,
    "language": "en-US",
    "prompts": ["word"],
    "includeWordTimestamps": True,
    "voiceProfileConfig": {"enableVoiceProfile": True, "topN": 5},
    "endOfTurnConfidenceThreshold": 0.3,
    "inworldSttV1Config": {"minEndOfTurnSilenceWhenConfident": 200, "vadThreshold": 0.15},
}
_STT_REQUESTS: list[Any] = [
    {"transcribeConfig": _STT_CONFIG},
    {"audioChunk": {"content": _PCM}},
    {"endTurn": {}},
    {"closeStream": {}},
]
_SESSION = {
    "output_modalities": ["audio", "text"],
    "instructions": "Be brief.",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "inworld/inworld-stt-1"},
            "turn_detection": {"type": "server_vad", "threshold": 0.5, "eagerness": "low"},
        },
        "output": {"format": "g711_ulaw", "voice": "Dennis", "speed": 1.0},
    },
    "tools": [
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}},
        {"type": "mcp", "server_label": "s", "server_url": "http://127.0.0.1:9/"},
    ],
    "providerData": {
        "memory": {"enabled": True, "turn_interval": 1, "max_facts": 2},
        "backchannel": {"enabled": True, "min_speech_ms": 10},
        "responsiveness": {"enabled": True, "initial_wait_timeout_ms": 1},
        "tts": {"timestamp_type": "WORD"},
        "stt": {"voice_profile": True},
    },
}
_ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}
_REALTIME_REQUESTS: list[Any] = [
    {"type": "session.update", "session": _SESSION},
    {"type": "input_audio_buffer.append", "audio": _PCM},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "output_audio_buffer.clear"},
    {"type": "conversation.item.create", "item": {**_ITEM, "id": "i1"}, "previous_item_id": None},
    {"type": "conversation.item.truncate", "item_id": "i1", "content_index": 0, "audio_end_ms": 1},
    {"type": "conversation.item.delete", "item_id": "i1"},
    {"type": "conversation.item.retrieve", "item_id": "i1"},
    {
        "type": "response.create",
        "response": {"conversation": "none", "input": [_ITEM], "metadata": {"a": "b"}},
    },
    {"type": "response.cancel", "response_id": "r1"},
]
_HTTP_BODIES: list[tuple[str, Any]] = [
    ("/tts/v1/voice", {"text": "Hello.", **_CONFIG}),
    ("/tts/v1/voice:stream", {"text": "Hello.", **_CONFIG}),
    ("/stt/v1/transcribe", {"transcribeConfig": _STT_CONFIG, "audioData": {"content": _PCM}}),
    ("/v1/chat/completions", _CHAT),
    ("/v1/chat/completions", {**_CHAT, "stream": True}),
    ("/router/v1/routers", _ROUTER),
    ("/stt/v1/transcribe:async", {"transcribeConfig": _STT_CONFIG, "audioData": {"content": _PCM}}),
    (
        "/voices/v1/voices:clone",
        {
            "displayName": "A",
            "langCode": "EN_US",
            "voiceSamples": [{"audioData": _WAV, "transcription": "a"}],
            "description": "d",
            "tags": ["t"],
            "audioProcessingConfig": {"removeBackgroundNoise": True},
        },
    ),
    (
        "/voices/v1/voices:design",
        {
            "designPrompt": "A calm, low voice of an old man",
            "langCode": "EN_US",
            "previewText": "Hi.",
            "voiceDesignConfig": {"numberOfSamples": 1},
        },
    ),
    ("/voices/v1/voices/local__a:publish", {"displayName": "A", "tags": ["t"]}),
    (
        "/pronunciations/v1/workspaces/w/pronunciationDictionaries",
        {
            "displayName": "A",
            "pronunciations": [
                {"displayHeadword": "a", "languageCode": "en-US", "phoneSymbols": ["a"]}
            ],
        },
    ),
]
_TRANSPORT = """\
a=ice-ufrag:Ztfe
a=ice-pwd:fYJiHVIfZaaTmF7TLx32ch
a=fingerprint:sha-256 BA:4E:A6:19:1D:9B:97:7A:66:CB:85:35:3C:0C:83:43:D5:24:91:96:FB:DC:31:3F
a=setup:actpass
"""
_OFFER = f"""\
v=0
o=- 4005035191 4005035191 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0 1
a=msid-semantic:WMS *
m=audio 9 UDP/TLS/RTP/SAVPF 96 9 0 8
c=IN IP4 127.0.0.1
a=sendrecv
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
a=mid:0
a=msid:8e08f745 bf6dd54f
a=rtcp:9 IN IP4 0.0.0.0
a=rtcp-mux
a=ssrc:1383156913 cname:771c16f3
a=rtpmap:96 opus/48000/2
a=fmtp:96 minptime=10;useinbandfec=1
a=candidate:f957a233 1 udp 2130706431 127.0.0.1 9 typ host
a=candidate:d0bcf3d9 1 udp 2130706431 0c0e1a2b-3c4d.local 56614 typ host
a=end-of-candidates
{_TRANSPORT}m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=mid:1
a=sctp-port:5000
a=max-message-size:262144
{_TRANSPORT}"""
_OFFERS: list[tuple[str, Any]] = [
    ("/v1/realtime/calls", {"session": _SESSION}),
    (
        "/v1/realtime/webrtc",
        {"sessionConfig": {"voice": "Ashley", "turnDetection": {"type": "none"}, "tools": []}},
    ),
]
_ODD_VALUES: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 10**30, "", "x", "\ud800", "\x00", "é" * 500, [], {}, [[]],
    {"a": None}, [1, "x"], "AUDIO_ENCODING_UNSPECIFIED", "none", "OPENXR", "MP3", 8000, 44100,
]  # fmt: skip


class Fuzzer:
    """
    Makes random requests. The same seed makes the same requests.

    Thread safety: only one thread at a time may use this object.
    """

    def __init__(self, server: Emulator, seed: int) -> None:
        self._server = server
        self._random = random.Random(seed)

    def step(self) -> None:
        """Open one connection and send some requests."""
        kinds: list[Callable[[], None]] = [
            lambda: self._websocket(TTS, _TTS_REQUESTS),
            lambda: self._websocket(STT, _STT_REQUESTS),
            lambda: self._websocket(self._random.choice(REALTIME), _REALTIME_REQUESTS),
            self._http,
            self._offer,
            self._raw,
        ]
        with contextlib.suppress(OSError, WebSocketException, EOFError):
            self._random.choice(kinds)()

    def _websocket(self, path: str, requests: list[Any]) -> None:
        headers = {"Authorization": f"Basic {self._server.api_key}"}
        with connect(
            self._server.ws_url + path,
            additional_headers=headers,
            open_timeout=30,
            close_timeout=5,
            max_queue=None,
        ) as socket_:
            for request in self._sequence(requests):
                text = json.dumps(self._changed(request))
                if self._random.random() < 0.1:
                    text = self._damaged(text)
                socket_.send(
                    text if self._random.random() < 0.97 else text.encode("utf-8", "replace")
                )
            with contextlib.suppress(TimeoutError):
                for _ in range(self._random.randrange(20)):
                    socket_.recv(timeout=0.05)

    def _sequence(self, requests: list[Any]) -> list[Any]:
        """Return the requests with some of them repeated, left out, or out of order."""
        chosen = [one for one in requests for _ in range(self._random.choice((0, 1, 1, 1, 2)))]
        if self._random.random() < 0.3:
            self._random.shuffle(chosen)
        return chosen

    def _changed(self, value: Any) -> Any:
        """Return a copy of a request in which some values are replaced by unusual values."""
        if self._random.random() < 0.04:
            return self._random.choice(_ODD_VALUES)
        if isinstance(value, dict):
            changed = {name: self._changed(inner) for name, inner in value.items()}
            if changed and self._random.random() < 0.05:
                changed.pop(self._random.choice(list(changed)))
            return changed
        if isinstance(value, list):
            return [self._changed(inner) for inner in value]
        return value

    def _damaged(self, text: str) -> str:
        at = self._random.randrange(len(text) + 1)
        return text[:at] + self._random.choice(("", "\x00", '"', "{" * 200, "9" * 5000)) + text[at:]

    def _http(self) -> None:
        path, body = self._random.choice(_HTTP_BODIES)
        self._post(path, self._changed(body))

    def _offer(self) -> None:
        """Send a WebRTC offer in which some lines are changed, missing or repeated."""
        lines = _OFFER.splitlines()
        for _ in range(self._random.choice((0, 1, 1, 2, 5))):
            at = self._random.randrange(len(lines))
            words = lines[at].split(" ")
            words[self._random.randrange(len(words))] = str(self._random.choice(_ODD_VALUES))
            instead = ([" ".join(words)], [], [lines[at]] * 2, [self._damaged(lines[at])])
            lines[at : at + 1] = self._random.choice(instead)
        path, body = self._random.choice(_OFFERS)
        self._post(path, self._changed({"sdp": "\r\n".join([*lines, ""]), **body}))

    def _post(self, path: str, body: Any) -> None:
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nAuthorization: Basic {self._server.api_key}\r\n"
            f"Content-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        )
        self._exchange(head.encode() + data)

    def _raw(self) -> None:
        path = self._random.choice((TTS, STT, *REALTIME, "/voices/v1/voices?pageSize=3", "/"))
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self._server.port}",
            f"Authorization: Basic {self._server.api_key}",
            *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
        ]
        data = bytearray("\r\n".join([*lines, "", ""]).encode())
        if self._random.random() < 0.7:
            for _ in range(self._random.randrange(1, 6)):
                data[self._random.randrange(len(data))] = self._random.randrange(256)
        data += self._random.randbytes(self._random.randrange(200))
        self._exchange(bytes(data))

    def _exchange(self, data: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self._server.port), timeout=5) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass


class TracebackCounter(logging.Handler):
    """Collects the log records that have a traceback or a level above warning."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno > logging.WARNING:
            self.records.append(logging.Formatter().format(record))
