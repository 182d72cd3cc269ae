"""If a signal handler raises an exception at any point of a call, all objects stay usable."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeAlias

import pytest

from inworld_sync import (
    ConnectionLimiter,
    DeadlineExceeded,
    Inworld,
    InworldError,
    NullSpeaker,
    TtsConnection,
)
from inworld_sync.wire.tts import MAX_CONTEXTS

from support.interrupts import Interrupted, interrupted, returns

# The test raises at every seventh point of a call. tests/signal_storm.py tests random points.
_STEP = 7

# Longer than any wait of the tests.
_SECONDS = 30.0


def tts_context(iw: Inworld) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a function that uses a TTS context, and a check that must pass afterwards."""
    connection = iw.tts.connect()
    context = connection.context()

    def use() -> None:
        context.send("One.")
        context.flush()
        next(context.audio(30), None)
        with pytest.raises(DeadlineExceeded):
            next(iter(context.subscribe().get, None), context.subscribe().get(0.0))
        context.read_audio(bytearray(480))
        context.interrupt()

    def check() -> None:
        for call in (
            lambda: context.send("Two.", timeout=5),
            context.interrupt,
            context.close,
            lambda: connection.stats,
        ):
            try:
                call()
            except InworldError:
                # The connection ends if a message was perhaps sent in part.
                assert connection.ended is not None or context.ended is not None
        connection.close()
        connection.close()

    return use, check


def utterance(iw: Inworld) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a function that uses an utterance, and a check that must pass afterwards."""
    speaker = NullSpeaker(24000)
    # Threads start here and not in use(), because an exception during the start of a thread can
    # leave a lock of `threading` itself held.
    iw.tts.synthesize("Connect.")
    playback = iw.tts.speak("Two.", speaker=speaker)

    def use() -> None:
        with iw.tts.stream("One.") as stream:
            next(stream)
        with contextlib.suppress(DeadlineExceeded):
            playback.wait(0.0)
        playback.interrupt()

    def check() -> None:
        playback.interrupt()
        with contextlib.suppress(InworldError):
            playback.wait(30)
        speaker.write(bytes(480), timeout=30)
        speaker.clear()
        speaker.close()
        assert iw.tts.synthesize("Three.", timeout=30).data

    return use, check


def stt_stream(iw: Inworld) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a function that uses an STT stream, and a check that must pass afterwards."""
    stream = iw.stt.stream()

    def use() -> None:
        stream.send(bytes(3200))
        with pytest.raises(DeadlineExceeded):
            next(stream.events(0.0))
        stream.close(30)

    def check() -> None:
        try:
            stream.send(bytes(3200), timeout=5)
        except InworldError:
            assert stream.ended is not None or stream.transcript is not None
        stream.close(5)

    return use, check


def realtime_session(iw: Inworld) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a function that uses a realtime session, and a check that must pass afterwards."""
    rt = iw.realtime.connect()

    def use() -> None:
        rt.send_audio(bytes(4800))
        response = rt.send_message("Hello.")
        next(rt.events(30))
        next(iter(response.text), None)
        rt.interrupt()
        rt.close()

    def check() -> None:
        for call in (lambda: rt.send_audio(bytes(4800)), rt.cancel, rt.interrupt):
            with contextlib.suppress(InworldError):
                call()
        rt.close()

    return use, check


@pytest.mark.parametrize(
    "makes", [tts_context, utterance, stt_stream, realtime_session], ids=lambda f: f.__name__
)
def test_interrupted_anywhere(
    iw: Inworld, makes: Callable[[Inworld], tuple[Callable[[], object], Callable[[], object]]]
) -> None:
    """After the exception, another thread can use and close the objects, and no call hangs."""
    for point in itertools.count(0, _STEP):
        use, check = makes(iw)
        was_interrupted = interrupted(use, point)
        assert returns(check), f"hangs after an exception at point {point}"
        if not was_interrupted:
            break
    assert point > 100


# A function that ends an object, a thread that waits for this object, and a check that must pass
# afterwards.
Ending: TypeAlias = "tuple[Callable[[], object], threading.Thread, Callable[[], object]]"


def waiting(call: Callable[[], object]) -> threading.Thread:
    """Start a thread that waits for an object."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def waiting_context(iw: Inworld) -> Ending:
    """Return the calls for a TTS context."""
    connection = iw.tts.connect()
    context = connection.context()
    context.send("One.")

    def check() -> None:
        # Every context leaves its place, because its close was sent.
        contexts = [connection.context(timeout=_SECONDS) for _ in range(MAX_CONTEXTS)]
        connection.close()
        assert MAX_CONTEXTS == len(contexts)

    return context.interrupt, waiting(lambda: list(context.audio())), check


def waiting_utterance(iw: Inworld) -> Ending:
    """Return the calls for an utterance whose text does not end."""
    is_read, ended = threading.Event(), threading.Event()

    def text() -> Iterator[str]:
        yield "One."
        is_read.set()
        ended.wait(_SECONDS)

    def check() -> None:
        ended.set()
        for _ in range(MAX_CONTEXTS):
            assert iw.tts.synthesize("Two.", timeout=_SECONDS).data

    stream = iw.tts.stream(text())
    thread = waiting(lambda: list(stream))
    assert is_read.wait(_SECONDS)
    return stream.close, thread, check


def waiting_playback(iw: Inworld) -> Ending:
    """Return the calls for a playback that lasts about ten minutes."""
    speaker = NullSpeaker(24000, buffer_ms=1000)
    playback = iw.tts.speak("word " * 1500, speaker=speaker)
    return playback.interrupt, waiting(lambda: playback.wait(_SECONDS)), speaker.close


def waiting_stt_stream(iw: Inworld) -> Ending:
    """Return the calls for an STT stream."""
    stream = iw.stt.stream()
    return stream.close, waiting(lambda: list(stream)), lambda: None


def waiting_session(iw: Inworld) -> Ending:
    """Return the calls for a realtime session."""
    rt = iw.realtime.connect()
    return rt.close, waiting(lambda: list(rt)), lambda: None


@pytest.mark.parametrize(
    "makes",
    [waiting_context, waiting_utterance, waiting_playback, waiting_stt_stream, waiting_session],
    ids=lambda f: f.__name__,
)
def test_an_interrupted_end_can_be_repeated(
    iw: Inworld, makes: Callable[[Inworld], Ending]
) -> None:
    """The second call ends the object, and every thread that waits for the object continues."""
    for point in itertools.count():
        end, thread, check = makes(iw)
        was_interrupted = interrupted(end, point)
        assert returns(end), f"the second call hangs after an exception at point {point}"
        thread.join(_SECONDS)
        assert not thread.is_alive(), f"a thread waits after an exception at point {point}"
        check()
        if not was_interrupted:
            break
    assert point > 20


def raise_after_creation(frame: FrameType, event: str, context: object) -> None:
    """Raise an exception when a new context is returned, before a variable refers to it."""
    if event == "return" and frame.f_code is inspect.unwrap(TtsConnection.context).__code__:
        sys.setprofile(None)
        # Otherwise the traceback would refer to the context.
        del context
        raise Interrupted


def test_an_exception_when_a_context_is_returned(iw: Inworld) -> None:
    """A context that the caller never gets leaves its place."""
    connection = iw.tts.connect()
    for _ in range(MAX_CONTEXTS + 1):
        sys.setprofile(raise_after_creation)
        with pytest.warns(ResourceWarning, match="context"), pytest.raises(Interrupted):
            connection.context(timeout=_SECONDS)
        # A thread closes the context.
        until = time.monotonic() + _SECONDS
        while connection.free_contexts < MAX_CONTEXTS:
            assert time.monotonic() < until
            threading.Event().wait(0.001)
    connection.close()


def refused(iw: Inworld) -> None:
    """Open connections, which the server refuses."""
    for call in (iw.tts.connect, lambda: iw.tts.synthesize("Hi."), iw.stt.stream):
        with contextlib.suppress(InworldError):
            call()


def test_a_place_is_not_lost() -> None:
    """
    If an exception is raised while a connection opens, all places of the limiter are free again.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    limiter = ConnectionLimiter(2)
    for point in itertools.count(0, _STEP):
        with Inworld(api_key="key", base_url=url, max_retries=0, limiter=limiter) as iw:
            was_interrupted = interrupted(lambda: refused(iw), point)
        taken = [limiter.acquire(0.0) for _ in range(3)]
        assert [True, True, False] == taken, f"a place is lost at point {point}"
        limiter.release()
        limiter.release()
        if not was_interrupted:
            break
    assert point > 100
