"""A connection, context, stream or session that is dropped without close() frees its resources."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inworld_sync import (
    AudioChunk,
    ConnectionLimiter,
    DeadlineExceeded,
    Inworld,
    InworldError,
    NullSpeaker,
)
from inworld_sync.emulator import Emulator
from inworld_sync.models.events import StreamEnded
from inworld_sync.wire.tts import MAX_CONTEXTS

from support.descriptors import open_descriptors

PATIENCE_SECONDS = 30.0


def until(is_reached: Callable[[], bool]) -> None:
    """Collect garbage until a condition is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_reached():
        assert time.monotonic() < deadline
        gc.collect()
        time.sleep(0.01)


def threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("inworld-") and "emulator" not in name]


@pytest.fixture
def limiter() -> ConnectionLimiter:
    return ConnectionLimiter(4)


@pytest.fixture
def iw(spelling_server: Emulator, limiter: ConnectionLimiter) -> Iterator[Inworld]:
    with Inworld(
        api_key=spelling_server.api_key, base_url=spelling_server.url, limiter=limiter
    ) as client:
        yield client


def a_connection(iw: Inworld) -> object:
    return iw.tts.connect()


def a_context(iw: Inworld) -> object:
    context = iw.tts.connect().context()
    context.on(AudioChunk, print)
    context.send("Hi.")
    return context


def a_stream(iw: Inworld) -> object:
    stream = iw.stt.stream(on_transcript=print)
    stream.send(bytes(3200))
    return stream


def a_session(iw: Inworld) -> object:
    rt = iw.realtime.connect()
    rt.on(StreamEnded, lambda _: None)
    rt.play(NullSpeaker(24000))
    return rt


FORGOTTEN = [a_connection, a_context, a_stream, a_session]


@pytest.mark.parametrize("make", FORGOTTEN, ids=lambda make: make.__name__)
def test_forgotten(
    iw: Inworld, limiter: ConnectionLimiter, make: Callable[[Inworld], object]
) -> None:
    """If an object is dropped, its threads and sockets end, its place is free, and Python warns."""
    before = threads(), len(open_descriptors())
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        for _ in range(4):
            make(iw)
        until(lambda: threads() == before[0])
    until(lambda: len(open_descriptors()) <= before[1] + 4)  # the emulator closes its side later

    found = [str(each.message) for each in shown if "was not closed" in str(each.message)]
    # A context is dropped together with its connection.
    assert (8 if make is a_context else 4) == len(found)
    assert [True] * 4 == [limiter.acquire(PATIENCE_SECONDS) for _ in range(4)]
    for _ in range(4):
        limiter.release()


@pytest.mark.parametrize("make", FORGOTTEN, ids=lambda make: make.__name__)
def test_closed_without_a_warning(iw: Inworld, make: Callable[[Inworld], Any]) -> None:
    """A closed object is garbage-collected without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = make(iw)
        getattr(made, "_connection", made).close()
        made.close()
        del made
        gc.collect()


def test_a_forgotten_context(iw: Inworld) -> None:
    """If a context is dropped, its place on the connection is free, and Python warns."""
    connection = iw.tts.connect()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        for _ in range(MAX_CONTEXTS):
            connection.context().send("Hi.")
        until(lambda: connection.free_contexts == MAX_CONTEXTS)
    found = [str(each.message) for each in shown if "the context" in str(each.message)]
    assert len(found) == MAX_CONTEXTS

    with connection.context() as context:
        context.send("Hello.")
        context.close()
        assert [chunk for chunk in context.audio(PATIENCE_SECONDS) if chunk.data]
    connection.close()


@pytest.mark.parametrize("is_closed", [False, True])
def test_handlers_of_a_forgotten_context(iw: Inworld, is_closed: bool) -> None:
    """The handlers of a context that is dropped get all the speech of the text that was sent."""
    connection = iw.tts.connect()
    ends: list[StreamEnded] = []
    chunks: list[AudioChunk] = []
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        context = connection.context()
        context.on(AudioChunk, chunks.append)
        context.on(StreamEnded, ends.append)
        context.send("Hello.")
        if is_closed:
            context.close()
        del context
        until(lambda: bool(ends))
    assert [None] == [end.error for end in ends]
    assert [chunk for chunk in chunks if chunk.data]
    assert is_closed == (not [each for each in shown if "the context" in str(each.message)])
    connection.close()


# The object that a user still holds after the connection, stream or session was dropped, and a call
# that uses this object.
HELD: dict[str, Callable[[Inworld], Callable[[], object]]] = {
    "an iterator of a stream": lambda iw: iw.stt.stream().events(0.01).__next__,
    "an iterator of a session": lambda iw: iw.realtime.connect().events(0.01).__next__,
    "a queue": lambda iw: iw.realtime.connect().subscribe().get,
    "a context": lambda iw: iw.tts.connect().context().flush,
}


@pytest.mark.parametrize("hold", HELD.values(), ids=HELD)
def test_held(iw: Inworld, hold: Callable[[Inworld], Callable[[], object]]) -> None:
    """An object in use is not closed, although the user has no reference to the object itself."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        before = threads()
        use = hold(iw)
        gc.collect()
        assert not [each for each in shown if "was not closed" in str(each.message)]
        # A closed object would raise another error.
        with contextlib.suppress(DeadlineExceeded):
            use()
        del use
        until(lambda: threads() == before)


def test_a_queue_of_a_forgotten_connection(iw: Inworld) -> None:
    """If the connection of a context is dropped, its consumer gets an error instead of waiting."""
    context = iw.tts.connect().context()
    queue = context.subscribe()
    queue.source = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del context
        until(lambda: not threads())
        with pytest.raises(InworldError, match=r"dropped without close\(\)"):
            while True:
                queue.get(PATIENCE_SECONDS)
