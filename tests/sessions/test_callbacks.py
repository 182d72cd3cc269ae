"""A function of the user may make every call that waits. Each call returns or raises an error."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from inworld_sync import (
    AudioChunk,
    ConnectionLimiter,
    ContextCreated,
    Inworld,
    InworldError,
    LocalProtocolError,
    NullSpeaker,
    SpeechStream,
    StreamEnded,
    TraceEvent,
    tool,
)
from inworld_sync.emulator import Emulator
from inworld_sync.realtime import Interrupted, ResponseStarted, Session
from inworld_sync.sessions.playback import Playback
from inworld_sync.sessions.realtime.response import Response
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.sessions.stt.stream import SttStream
from inworld_sync.sessions.tts.connection import TtsConnection
from inworld_sync.sessions.tts.context import TtsContext

from support import scripted_realtime
from support.scripted import KEY, Service, scripted
from support.scripted_realtime import realtime

# A call that takes longer than this counts as hanging. All deadlines of the client are shorter.
HANG_SECONDS = 60.0

# The service begins its first response within this time, and does not answer later requests.
START_SECONDS = 3.0


@attrs.define
class Work:
    """The objects whose methods a function of the user calls. An unused object is None."""

    iw: Inworld | None = None
    connection: TtsConnection | None = None
    context: TtsContext | None = None
    speech: SpeechStream | None = None
    playback: Playback | None = None
    stream: SttStream | None = None
    rt: RealtimeSession | None = None
    reply: Response | None = None


# (attribute of Work, name, call) for every call that waits. The calls that end an object come last.
CALLS: list[tuple[str, str, Callable[[Any], object]]] = [
    ("context", "context.events", lambda context: list(context)),
    ("context", "context.audio", lambda context: list(context.audio())),
    ("context", "subscription.get", lambda context: list(context.subscribe())),
    ("speech", "next(speech)", lambda speech: next(speech)),
    ("playback", "playback.wait", lambda playback: playback.wait()),
    ("reply", "response.wait", lambda reply: reply.wait()),
    ("reply", "response.text_stream", lambda reply: list(reply.text_stream())),
    ("reply", "response.audio", lambda reply: reply.audio.read()),
    ("rt", "rt.update", lambda rt: rt.update(Session(instructions="Be brief."), timeout=0.2)),
    ("rt", "rt.retrieve", lambda rt: rt.retrieve("item_1", timeout=0.2)),
    ("rt", "rt.drain", lambda rt: rt.drain()),
    ("rt", "rt.interrupt", lambda rt: rt.interrupt()),
    ("iw", "synthesize", lambda iw: iw.tts.synthesize("Hi.", timeout=0.2)),
    ("iw", "speak", lambda iw: iw.tts.speak("Hi.", speaker=NullSpeaker(24000), timeout=0.2).wait()),
    ("iw", "voices.list", lambda iw: iw.voices.list(timeout=0.2)),
    ("stream", "stream.close", lambda stream: stream.close(0.2)),
    ("playback", "playback.interrupt", lambda playback: playback.interrupt()),
    ("speech", "speech.close", lambda speech: speech.close()),
    ("context", "context.close", lambda context: context.close()),
    ("context", "context.interrupt", lambda context: context.interrupt()),
    ("connection", "connection.close", lambda connection: connection.close()),
    ("rt", "rt.close", lambda rt: rt.close()),
    ("iw", "iw.close", lambda iw: iw.close()),
]


class Probe:
    """
    Makes each call once, on the thread that runs a function of the user.

    Attributes:
        work: The objects whose methods are called, as passed to :meth:`begin`.
        errors: The error of each call that raised.
        entered: Set when the function of the user runs.
    """

    def __init__(self) -> None:
        self.work = Work()
        self.errors: dict[str, InworldError] = {}
        self.entered = threading.Event()
        self._ready = threading.Event()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._running = "nothing"

    def begin(self, **work: Any) -> None:
        """Set the objects. After that, the function of the user makes the calls."""
        for name, value in work.items():
            setattr(self.work, name, value)
        self._ready.set()

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    def __call__(self, *_: object) -> None:
        self.entered.set()
        assert self._ready.wait(HANG_SECONDS)
        if not self._lock.acquire(blocking=False):
            return
        for kind, name, call in CALLS:
            used = getattr(self.work, kind)
            if used is None:
                continue
            self._running = name
            try:
                call(used)
            except InworldError as error:
                self.errors[name] = error
        self._done.set()

    def require_done(self) -> None:
        assert self._done.wait(HANG_SECONDS), f"{self._running} hangs"


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
def client(spelling_server: Emulator) -> Iterator[Callable[..., Inworld]]:
    """Return a function that makes a client with settings."""
    with contextlib.ExitStack() as stack:

        def make(**settings: Any) -> Inworld:
            given = {"api_key": spelling_server.api_key, "base_url": spelling_server.url}
            return stack.enter_context(Inworld(**{**given, **settings}))

        yield make


def all_work(iw: Inworld) -> dict[str, Any]:
    """Return one object of each kind that a client can make."""
    connection = iw.tts.connect()
    rt = iw.realtime.connect()
    rt.play(NullSpeaker(24000))
    context = connection.context()
    context.send("One. ")
    return {
        "iw": iw,
        "connection": connection,
        "context": context,
        "playback": iw.tts.speak("One.", speaker=NullSpeaker(24000)),
        "stream": iw.stt.stream(),
        "rt": rt,
        "reply": rt.send_message("Hello."),
    }


REFUSED = "must not wait"


@pytest.mark.parametrize("direction", ["in", "out"])
def test_an_observer(client: Callable[..., Inworld], probe: Probe, direction: str) -> None:
    """An observer runs on the reader or the writer, where waiting for a message is refused."""

    class Observer:
        def message(self, way: str, connection: str, _: bytes) -> None:
            if way == direction and connection.startswith("tts") and probe.is_ready:
                probe()

    work = all_work(client(observer=Observer()))
    probe.begin(**work)
    work["connection"].context().close()
    probe.require_done()

    assert REFUSED in str(probe.errors["context.events"])


@pytest.mark.parametrize("step", ["ping", "closed"])
def test_on_trace(client: Callable[..., Inworld], probe: Probe, step: str) -> None:
    """The function ``on_trace`` also runs on the reader and the writer of a connection."""

    def on_trace(event: TraceEvent) -> None:
        if event.name == step and probe.is_ready and event.connection.startswith("tts"):
            probe()

    work = all_work(client(on_trace=on_trace, ping_interval=0.05))
    probe.begin(**work)
    if step == "closed":
        work["iw"].tts.connect().close()
    probe.require_done()

    assert REFUSED in str(probe.errors["context.events"])


@pytest.mark.parametrize("kind", [ContextCreated, AudioChunk, StreamEnded])
def test_a_handler_of_a_context(
    client: Callable[..., Inworld], probe: Probe, kind: type[Any]
) -> None:
    """In a handler of a TTS context, every call returns or raises an error."""
    work = all_work(client())
    work["context"].on(kind, probe)
    work["context"].close()
    probe.begin(**work)
    probe.require_done()


def test_a_handler_of_a_stream(client: Callable[..., Inworld], probe: Probe) -> None:
    """In a handler of an STT stream, every call returns or raises an error."""
    work = all_work(client())
    work["context"].close()
    work["stream"].on(StreamEnded, probe)
    probe.begin(**work)
    work["stream"].close()
    probe.require_done()


def test_a_handler_of_a_session(client: Callable[..., Inworld], probe: Probe) -> None:
    """In a handler of a realtime session, every call returns or raises an error."""
    work = all_work(client())
    work["context"].close()
    work["rt"].on(ResponseStarted, probe)
    probe.begin(**work)
    probe.require_done()


def test_a_handler_of_words(client: Callable[..., Inworld], probe: Probe) -> None:
    """In a handler of a playback, waiting for this playback is refused."""
    iw = client()
    playback = iw.tts.speak("One two.", speaker=NullSpeaker(24000), on_word=probe)
    probe.begin(iw=iw, playback=playback)
    probe.require_done()

    assert isinstance(probe.errors["playback.wait"], LocalProtocolError)


class ProbedSpeaker(NullSpeaker):
    """A speaker that makes all calls of the probe inside one of the speaker's methods."""

    def __init__(self, probe: Probe, method: str) -> None:
        super().__init__(24000)
        self._probe = probe
        self._method = method

    def write(self, pcm: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        if self._method == "write":
            self._probe()
        super().write(pcm, timeout=timeout)

    def clear(self) -> int:
        if self._method == "clear" and self._probe.is_ready:
            self._probe()
        return super().clear()


def test_the_speaker_of_a_playback(client: Callable[..., Inworld], probe: Probe) -> None:
    """In a method of a speaker, waiting for the playback is refused."""
    iw = client()
    playback = iw.tts.speak("One two.", speaker=ProbedSpeaker(probe, "write"))
    probe.begin(iw=iw, playback=playback)
    probe.require_done()

    assert isinstance(probe.errors["playback.wait"], LocalProtocolError)


@pytest.mark.parametrize("is_played", [False, True])
def test_the_iterator_of_a_text(
    client: Callable[..., Inworld], probe: Probe, is_played: bool
) -> None:
    """In the iterator of a text, waiting for the audio of this text is refused."""
    iw = client()

    def text() -> Iterator[str]:
        yield "One. "
        probe()
        yield "Two."

    if is_played:
        probe.begin(iw=iw, playback=iw.tts.speak(text(), speaker=NullSpeaker(24000)))
        probe.require_done()
    else:
        speech = iw.tts.stream(text())
        probe.begin(iw=iw, speech=speech)
        with contextlib.suppress(InworldError):
            list(speech)
        probe.require_done()

    name = "playback.wait" if is_played else "next(speech)"
    assert isinstance(probe.errors[name], LocalProtocolError)


def test_a_token_function(
    client: Callable[..., Inworld], spelling_server: Emulator, probe: Probe
) -> None:
    """In a function that returns tokens, every call returns or raises an error."""
    with Inworld(api_key=spelling_server.api_key, base_url=spelling_server.url) as own:
        token = own.tokens.mint().token

    def renew() -> str:
        if probe.is_ready:
            probe()
        return token

    iw = client(api_key=None, token=renew)
    work = all_work(iw)
    work["context"].close()
    probe.begin(**work)
    with contextlib.suppress(InworldError):
        iw.tts.connect(timeout=5)
    probe.require_done()


@pytest.mark.parametrize("method", ["acquire", "release"])
def test_a_limiter(client: Callable[..., Inworld], probe: Probe, method: str) -> None:
    """In a method of a limiter, every call returns or raises an error."""

    class Limiter(ConnectionLimiter):
        def acquire(self, timeout: float) -> bool:
            if method == "acquire" and probe.is_ready:
                probe()
            return super().acquire(timeout)

        def release(self) -> None:
            super().release()
            if method == "release" and probe.is_ready:
                probe()

    iw = client(limiter=Limiter())
    work = all_work(iw)
    work["context"].close()
    other = iw.tts.connect()
    probe.begin(**work)
    with contextlib.suppress(InworldError):
        iw.tts.connect() if method == "acquire" else other.close()
    probe.require_done()


def test_a_refused_credential(probe: Probe) -> None:
    """The method ``rejected`` runs on the reader before the streams end."""

    class Auth:
        def header(self) -> tuple[str, str]:
            return "Authorization", f"Basic {KEY}"

        def rejected(self, _: str) -> None:
            probe()

    def refuse(service: Service) -> None:
        service.until("create")
        service.error(16, "no such key")
        service.close()

    with scripted(refuse, api_key=None, auth=Auth()) as iw:
        connection = iw.tts.connect()
        probe.begin(iw=iw, connection=connection, context=connection.context())
        probe.require_done()

        assert REFUSED in str(probe.errors["context.events"])


# Realtime sessions with a scripted service.


def calling(service: scripted_realtime.Service) -> None:
    """Call the function ``probed`` in the first response."""
    service.open()
    request = service.request()
    service.created("resp_1", request)
    service.call("resp_1", "item_1", "call_1", "probed")
    service.done("resp_1")
    service.until_left()


def speaking(service: scripted_realtime.Service) -> None:
    """Send speech. When the client requests another response, report that the user speaks."""
    service.open()
    request = service.request()
    service.speak(request, 1, "Hello there.", bytes(48000))
    service.request()
    service.event("input_audio_buffer.speech_started", item_id="item_u", audio_start_ms=0)
    service.until_left()


def test_a_tool(probe: Probe) -> None:
    """In a tool function of a realtime session, every call returns or raises an error."""

    @tool
    def probed() -> str:
        """Make the calls."""
        probe()
        return "done"

    # The reply waits for the function until tool_timeout. After that, the service does not answer.
    settings = {"tool_timeout": 0.2, "response_start_timeout": START_SECONDS}
    with realtime(calling) as iw, iw.realtime.connect(Session(tools=[probed]), **settings) as rt:
        rt.play(NullSpeaker(24000))
        probe.begin(rt=rt, reply=rt.send_message("Call it."))
        probe.require_done()


@pytest.mark.parametrize("method", ["write", "clear"])
def test_the_speaker_of_a_session(probe: Probe, method: str) -> None:
    """The player and the executor of a session call the methods of a speaker."""
    with realtime(speaking) as iw, iw.realtime.connect(response_start_timeout=START_SECONDS) as rt:
        heard = threading.Event()
        rt.on(Interrupted, lambda _: heard.set())
        rt.play(ProbedSpeaker(probe, method))
        reply = rt.send_message("Speak.")
        reply.wait(HANG_SECONDS)
        # The next message causes an interruption, which drops audio that was not written.
        assert method == "clear" or probe.entered.wait(HANG_SECONDS)
        probe.begin(rt=rt, reply=rt.send_message("Again."))
        probe.require_done()

        assert isinstance(probe.errors["rt.drain"], LocalProtocolError)
