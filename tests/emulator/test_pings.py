"""The server answers a client's pings while an engine loads or works."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from inworld_sync.emulator import (
    Emulator,
    Settings,
    server as server_module,
    shared_state as shared_module,
)
from inworld_sync.emulator.inbox import Inbox, Received
from inworld_sync.emulator.realtime import response as response_module
from inworld_sync.emulator.recognition.engine import SpeechEngine
from inworld_sync.emulator.synthesis import Synthesizer
from inworld_sync.emulator.tts import context as context_module

from support.realtime_client import open_realtime
from support.scripted_recognizer import ScriptedRecognizer, engine_for, sound
from support.stt_client import open_stt
from support.tone import ToneSynthesizer
from support.tts_client import open_tts

PATIENCE_SECONDS = 10.0


class Loading:
    """
    Engines that do not finish loading until the test sets *may_end*.

    Attributes:
        begun: An event that is set when a thread begins to load an engine.
        may_end: The engines finish loading when the test sets this event.
    """

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def wait(self) -> None:
        self.begun.set()
        assert self.may_end.wait(60)

    def synthesizer(self) -> Synthesizer:
        self.wait()
        return ToneSynthesizer()

    def speech_engine(self) -> SpeechEngine:
        self.wait()
        return engine_for(ScriptedRecognizer("hello"))


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loading]:
    loading = Loading()
    monkeypatch.setattr(shared_module, "default_synthesizer", loading.synthesizer)
    monkeypatch.setattr(shared_module, "default_engine", loading.speech_engine)
    yield loading
    loading.may_end.set()


Opened = Iterator[ClientConnection]


@contextlib.contextmanager
def speaking(server: Emulator) -> Opened:
    with open_tts(server) as client:
        client.create()
        client.text("Hello.")
        client.flush()
        yield client.connection
        client.until("flushCompleted")


@contextlib.contextmanager
def transcribing(server: Emulator) -> Opened:
    with open_stt(server) as client:
        client.configure()
        client.audio(sound(20, word=1))
        yield client.connection
        assert client.rest()


@contextlib.contextmanager
def talking(server: Emulator) -> Opened:
    with open_realtime(server) as client:
        client.update(audio={"input": {"format": {"type": "audio/pcm", "rate": 16000}}})
        client.hear(sound(20, word=1) + sound(60, likelihood=0.0))
        yield client.connection
        client.until("conversation.item.input_audio_transcription.completed")


@contextlib.contextmanager
def answering(server: Emulator) -> Opened:
    with open_realtime(server) as client:
        client.write("Hello.")
        client.send("response.create")
        yield client.connection
        client.until("response.done")


USES = [speaking, transcribing, talking, answering]
Use = Callable[[Emulator], contextlib.AbstractContextManager[ClientConnection]]


@pytest.mark.parametrize("use", USES)
def test_pings_are_answered_while_an_engine_loads(use: Use, loading: Loading) -> None:
    """Pongs are sent while an engine loads at its first use. After loading, the engine works."""
    with Emulator() as server, use(server) as connection:
        assert loading.begun.wait(PATIENCE_SECONDS)
        for _ in range(3):
            assert connection.ping().wait(PATIENCE_SECONDS)
        loading.may_end.set()


def test_pings_are_answered_while_an_engine_works() -> None:
    """Pongs are sent while a recognizer works on a turn of a realtime session."""
    recognizer = ScriptedRecognizer("hello")
    recognizer.may_answer.clear()
    engine = engine_for(recognizer)
    with (
        Emulator(synthesizer=ToneSynthesizer(), speech_engine=engine) as server,
        talking(server) as connection,
    ):
        assert recognizer.asked.wait(PATIENCE_SECONDS)
        assert connection.ping().wait(PATIENCE_SECONDS)
        recognizer.may_answer.set()


@pytest.mark.parametrize("use", USES)
def test_a_client_may_close_while_an_engine_loads(use: Use, loading: Loading) -> None:
    """The server answers the client's CLOSE while an engine loads."""
    with Emulator() as server:
        with contextlib.suppress(ConnectionClosed), use(server) as connection:
            assert loading.begun.wait(PATIENCE_SECONDS)
            connection.close()
            assert connection.close_code == 1000
        loading.may_end.set()


@pytest.mark.parametrize("use", USES)
def test_the_server_closes_while_an_engine_loads(
    use: Use,
    loading: Loading,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A closing server sends CLOSE, and does not wait for an engine that loads."""
    for module in (server_module, context_module, response_module):
        monkeypatch.setattr(module, "_JOIN_SECONDS", 0.1)
    server = Emulator(settings=Settings(close_timeout=0.1)).start()
    with contextlib.suppress(ConnectionClosed), use(server) as connection:
        assert loading.begun.wait(PATIENCE_SECONDS)
        server.close()
        assert not loading.may_end.is_set()
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                connection.recv(timeout=PATIENCE_SECONDS)
        loading.may_end.set()
        assert caught.value.rcvd is not None
        assert 1001 == caught.value.rcvd.code


def test_the_inbox_is_bounded() -> None:
    """A message waits for room in the inbox. An empty inbox accepts a message above the bound."""
    inbox = Inbox(10)
    inbox.put(Received(b"x" * 20, is_text=True))
    second = threading.Thread(target=inbox.put, args=(Received(b"y", is_text=False),))
    second.start()

    first = inbox.pop()
    second.join(PATIENCE_SECONDS)

    assert Received(b"x" * 20, is_text=True) == first
    assert Received(b"y", is_text=False) == inbox.pop()


def test_an_inbox_with_a_timeout() -> None:
    """A wait ends at its timeout. A queued message is returned even with a timeout of 0."""
    inbox = Inbox(10)
    with pytest.raises(TimeoutError):
        inbox.pop(0.0)
    inbox.put(Received(b"x", is_text=True))

    assert Received(b"x", is_text=True) == inbox.pop(0.0)


def test_the_end_of_an_inbox() -> None:
    """The end of an inbox drops queued messages, and wakes threads that wait for room."""
    inbox = Inbox(10)
    inbox.put(Received(b"x" * 10, is_text=True))
    threads = [
        threading.Thread(target=inbox.put, args=(Received(b"y", is_text=True),)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()

    inbox.end()

    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
    assert inbox.pop() is None
    inbox.put(Received(b"z", is_text=True))
    assert inbox.pop() is None
