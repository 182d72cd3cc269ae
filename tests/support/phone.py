"""Runs the bridge of a phone call on a thread, against a scripted model and a simulated caller."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from websockets.sync.server import ServerConnection, serve

from inworld_sync import AlawFormat, MulawFormat, PcmFormat, Session
from inworld_sync.emulator.phone import SimulatedCall
from inworld_sync.models.realtime import AudioFormat
from inworld_sync.telephony import Bridge, CallOptions, CallSummary, telnyx, twilio
from inworld_sync.telephony.asterisk import WebSocketChannel
from inworld_sync.telephony.audiosocket import AudioSocketCodec

from support.scripted_realtime import Service
from support.websocket_server import close_server

__all__ = [
    "RATE_HZ",
    "Running",
    "answer",
    "bridge_of",
    "in_call",
    "mulaw",
    "serve_call",
    "session",
    "websocket_server",
]

RATE_HZ = 8000
PATIENCE_SECONDS = 90.0


def session(audio_format: AudioFormat | None = None) -> Session:
    """Return the settings of a session with one format in both directions, mu-law by default."""
    audio_format = audio_format or MulawFormat()
    return Session(input_format=audio_format, output_format=audio_format)


def session_of(call: SimulatedCall) -> Session:
    """Return the settings of a session with the format of a call."""
    formats: dict[str, AudioFormat] = {
        "mulaw": MulawFormat(),
        "alaw": AlawFormat(),
        "pcm": PcmFormat(8000),
    }
    return session(formats[call.encoding])


def mulaw(milliseconds: int, first: int = 0) -> bytes:
    """Return mu-law audio in which successive samples differ and no sample is silence."""
    return bytes((first + index) % 120 + 1 for index in range(milliseconds * 8))


class Running:
    """A bridge that runs on a thread."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self._summary: list[CallSummary] = []
        self._thread = threading.Thread(target=self._run, name="test-call", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._summary.append(self.bridge.run())

    def summary(self) -> CallSummary:
        """Wait for the end of the call, and return its summary."""
        self._thread.join(PATIENCE_SECONDS)
        assert self._summary, "the call did not end"
        return self._summary[0]


def bridge_of(
    call: SimulatedCall, source: Any, options: CallOptions | None = None, **more: Any
) -> Bridge:
    """Make the bridge for a simulated call of any carrier."""
    if call.carrier == "twilio":
        return twilio.MediaStream(call.socket, source, verify=False, options=options, **more)
    if call.carrier == "telnyx":
        more.setdefault("sent", {"alaw": "PCMA", "pcm": "L16"}.get(call.encoding, "PCMU"))
        return telnyx.MediaStream(call.socket, source, verify=False, options=options, **more)
    if call.carrier == "asterisk":
        return WebSocketChannel(call.socket, source, options=options, **more)
    codec = AudioSocketCodec(call.call_id, 8000)
    return Bridge(call.socket, source, codec, options=options, **more)


@contextlib.contextmanager
def in_call(
    call: SimulatedCall, source: Any, options: CallOptions | None = None, **more: Any
) -> Iterator[Running]:
    """Run the bridge of a call during the block, and end the call afterwards."""
    running = Running(bridge_of(call, source, options, **more))
    try:
        call.start()
        yield running
    finally:
        call.hang_up()
        running.summary()


def answer(
    service: Service, number: int, audio: bytes, *, text: str = "Yes.", request: Any = None
) -> None:
    """Send one response, with audio in pieces of 100 ms, to *request* or to a turn of the user."""
    response_id, item_id = f"resp_{number}", f"item_a{number}"
    service.created(response_id, request)
    service.item(response_id, item_id)
    for start in range(0, len(audio), 800):
        service.audio(response_id, item_id, audio[start : start + 800])
    service.transcript(response_id, item_id, text)
    service.item_done(response_id, item_id, text)
    service.done(response_id)


def speech_started(service: Service, item_id: str = "u1") -> None:
    """Report that the caller has begun to speak."""
    service.event("input_audio_buffer.speech_started", audio_start_ms=0, item_id=item_id)


def received(service: Service, size_bytes: int) -> bytes:
    """Return the next audio of the caller, at least *size_bytes* bytes."""
    audio = b""
    while len(audio) < size_bytes:
        audio += base64.b64decode(service.until("input_audio_buffer.append")["audio"])
    return audio


def connected(service: Service) -> None:
    """Wait for audio of the caller. It shows that the bridge now plays audio of the service."""
    received(service, 800)


def serve_call(*steps: Callable[[Service], object]) -> Callable[[Service], None]:
    """Return a script that opens a session, runs the steps, and reads messages until the end."""

    def script(service: Service) -> None:
        service.open()
        for step in steps:
            step(service)
        service.until_left()

    return script


@contextlib.contextmanager
def websocket_server(
    run: Callable[[ServerConnection], CallSummary],
) -> Iterator[tuple[str, list[CallSummary]]]:
    """Serve calls on a free port. Yield the server's address and the summaries of the calls."""
    summaries: list[CallSummary] = []

    def handle(connection: ServerConnection) -> None:
        summaries.append(run(connection))

    server = serve(handle, "127.0.0.1", 0, compression=None)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/media", summaries
    finally:
        close_server(server, thread)
