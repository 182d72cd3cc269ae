"""A context that gets no answer ends in time, and the other contexts continue."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from inworld_sync import (
    AudioChunk,
    ConfigError,
    DeadlineExceeded,
    Inworld,
    NullSpeaker,
    ServiceError,
    Speech,
    TtsConnection,
    TtsContext,
)
from inworld_sync.sessions import base

from support.counting import CountingLimiter
from support.scripted import Service, obedient, samples_of, scripted, text_of


def spoken(context: TtsContext) -> str:
    return text_of(b"".join(chunk.data for chunk in context.audio()))


def confirm_and_ignore(service: Service, ignored: int = 1) -> None:
    """Confirm the first contexts and then ignore them. Speak the text of all other contexts."""
    mute = []
    while True:
        request = service.request()
        context_id = request["contextId"]
        if "create" in request:
            if len(mute) < ignored:
                mute.append(context_id)
                service.result(context_id, contextCreated={})
        elif "close_context" in request and context_id not in mute:
            service.speak(context_id, samples_of(service.text_of(context_id)))


def closes_of(service: Service) -> list[str]:
    return [request["contextId"] for request in service.requests if "close_context" in request]


def test_a_context_that_is_not_created() -> None:
    """An unconfirmed context ends with an error, and a close is sent. Other contexts continue."""
    services: list[Service] = []

    def ignoring_the_first(service: Service) -> None:
        services.append(service)
        first = service.until("create")
        while (context_id := service.until("close_context")) == first:
            pass
        service.speak(context_id, samples_of("fine"))
        # The client has given up the context, so a late answer is ignored.
        service.speak(first, samples_of("late"))
        obedient(service)

    with scripted(ignoring_the_first) as iw, iw.tts.connect() as connection:
        lost = connection.context(create_timeout=0.1)
        other = connection.context()
        with pytest.raises(DeadlineExceeded, match=r"creation of the context within 0\.1 s"):
            list(lost)
        assert 4 == connection.free_contexts
        other.send("Hi.")
        other.close()

        assert "fine" == spoken(other)
        with connection.context() as third:
            third.send("third")
        assert "third" == spoken(third)
        assert connection.ended is None
    assert [lost.id, other.id, third.id] == closes_of(services[0])


@pytest.mark.parametrize("ask", ["flush", "update", "close"])
def test_a_request_that_is_not_answered(ask: str) -> None:
    """If a flush, update or close is not answered, its context ends. Other contexts continue."""
    services: list[Service] = []

    def mute(service: Service) -> None:
        services.append(service)
        confirm_and_ignore(service)

    with scripted(mute) as iw, iw.tts.connect() as connection:
        lost, other = connection.context(message_timeout=0.1), connection.context()
        lost.send("Hi.")
        {"flush": lost.flush, "update": lambda: lost.update({}), "close": lost.close}[ask]()
        with pytest.raises(DeadlineExceeded, match=r"no message about the context for 0\.1 s"):
            list(lost)
        with pytest.raises(DeadlineExceeded):
            lost.send("more")
        assert 4 == connection.free_contexts
        other.send("other")
        other.close()

        assert "other" == spoken(other)
    assert [lost.id, other.id] == closes_of(services[0])


def test_say_that_is_not_answered() -> None:
    """say() ends with an error at the deadline of its context."""
    with scripted(confirm_and_ignore) as iw, iw.tts.connect() as connection:
        with pytest.raises(DeadlineExceeded, match="a flush"):
            list(connection.context(message_timeout=0.1).say("Hi."))


def test_no_deadline_while_text_is_awaited() -> None:
    """A context whose requests are all answered does not end, even after a long silence."""

    def silent(service: Service) -> None:
        first, second = service.until("create"), service.until("create")
        service.result(first, contextCreated={})
        service.result(second, contextCreated={})
        while service.until("close_context") != first:
            pass
        service.speak(first, samples_of("first"))
        service.until_left()

    with scripted(silent) as iw, iw.tts.connect() as connection:
        patient = connection.context(create_timeout=30, message_timeout=1.0)
        patient.send("Hi.")
        # The deadline of `ending` passes while `patient` has no unanswered request.
        with connection.context(message_timeout=1.5) as ending:
            pass
        with pytest.raises(DeadlineExceeded):
            list(ending)
        assert patient.ended is None
        patient.close()

        assert "first" == spoken(patient)


def test_no_limit() -> None:
    """A context without timeouts does not end when the timeout of another context has passed."""
    with scripted(lambda service: service.until_left()) as iw, iw.tts.connect() as connection:
        endless = connection.context(create_timeout=None, message_timeout=None)
        endless.close()
        with pytest.raises(DeadlineExceeded):
            list(connection.context(create_timeout=0.1))

        assert endless.ended is None


def test_an_interrupted_context_frees_its_place() -> None:
    """Even if the close of an interrupted context is not answered, its place becomes free."""
    with scripted(confirm_and_ignore) as iw, iw.tts.connect() as connection:
        context = connection.context(message_timeout=0.1)
        context.interrupt()
        assert 4 == connection.free_contexts
        while connection.free_contexts < 5:
            threading.Event().wait(0.001)

        assert connection.ended is None


def test_the_error_that_the_service_reported() -> None:
    """If the service reports an error and then is silent, DeadlineExceeded names this error."""

    def complaining(service: Service) -> None:
        service.result(service.until("create"), contextCreated={})
        service.error(13, "the voice server is gone")
        service.until_left()

    with scripted(complaining) as iw, iw.tts.connect() as connection:
        with connection.context(message_timeout=0.2) as context:
            while connection._fault is None:
                threading.Event().wait(0.001)
        with pytest.raises(DeadlineExceeded, match="the voice server is gone") as caught:
            list(context)
        assert isinstance(caught.value.__cause__, ServiceError)


# A deadline has no effect while the answer may be unread in the client.


def let_deadlines_pass(connection: TtsConnection, context: TtsContext) -> None:
    """Move the requests of a context so far into the past that their deadlines have passed."""
    with connection._changed:
        for request in connection._contexts._pending:
            request.sent_at -= 2000
        connection._contexts._held[context.id].heard_at -= 2000


def test_a_paused_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No deadline takes effect while the reader is paused, since the answer may wait in the socket.

    The answer about one context waits behind audio of a context that has no consumer.
    """
    monkeypatch.setattr(base, "_CATCH_UP_SECONDS", 30.0)

    def flooding(service: Service) -> None:
        first, second = service.until("create"), service.until("create")
        service.result(second, contextCreated={})
        service.until("close_context")
        for _ in range(34):
            service.audio(first, bytes(1 << 19))
        service.closed(second)
        service.until_left()

    with scripted(flooding) as iw, iw.tts.connect() as connection:
        flooded = connection.context(create_timeout=None)
        other = connection.context(message_timeout=1000)
        other.close()
        while flooded.waiting_bytes <= 16 << 20:
            threading.Event().wait(0.001)
        let_deadlines_pass(connection, other)
        connection._on_timer()
        assert other.ended is None
        assert ["ContextCreated", "ContextClosed"] == [type(event).__name__ for event in other]


def test_a_stalled_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that passes during a stall of this process takes effect soon after the stall."""
    monkeypatch.setattr(base, "_CATCH_UP_SECONDS", 0.5)
    with scripted(confirm_and_ignore) as iw, iw.tts.connect() as connection:
        context = connection.context(message_timeout=1000)
        assert next(iter(context))
        context.close()
        let_deadlines_pass(connection, context)
        with connection._changed:
            connection._timer_at = time.monotonic() - 1000
            connection._on_timer()
            assert context.ended is None
        with pytest.raises(DeadlineExceeded):
            list(context)


# Whole utterances.


def test_an_utterance_that_stops() -> None:
    """If the service falls silent within an utterance, the error has the earlier speech."""

    def stopping(service: Service) -> None:
        service.result(service.until("create"), contextCreated={})
        service.audio(service.until("close_context"), samples_of("Hal"))
        service.until_left()

    with scripted(stopping) as iw:
        with pytest.raises(DeadlineExceeded) as caught:
            iw.tts.synthesize("Half.", timeout=2.0)
    assert isinstance(caught.value.partial, Speech)
    assert "Hal" == text_of(caught.value.partial.data)


def test_an_utterance_that_is_not_created() -> None:
    """If the service is silent, an utterance fails after create_timeout. Its connection closes."""
    limiter = CountingLimiter()
    with scripted(lambda service: service.until_left(), obedient, limiter=limiter) as iw:
        with pytest.raises(DeadlineExceeded, match="creation"):
            iw.tts.synthesize("Hi.", create_timeout=0.1)
        while limiter.taken:
            threading.Event().wait(0.001)

        assert "Next." == text_of(iw.tts.synthesize("Next.").data)


def test_an_interrupted_utterance_on_a_silent_connection() -> None:
    """If the close of an interrupted utterance is not answered, its connection is closed."""
    used: list[int] = []

    def mute(service: Service) -> None:
        used.append(service.number)
        confirm_and_ignore(service)

    limiter = CountingLimiter()
    with scripted(mute, obedient, limiter=limiter) as iw:
        stream = iw.tts.stream(iter(["Hi."]), timeout=2.0)
        threading.Thread(target=list, args=(stream,)).start()
        while stream._utterance.context is None:
            threading.Event().wait(0.001)
        stream.close()
        while limiter.taken:
            threading.Event().wait(0.001)

        assert "Next." == text_of(iw.tts.synthesize("Next.").data)
    assert [1] == used


# Wrong timeouts and very long timeouts.

WRONG = [-1, -0.001, math.nan, "5", True]


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("name", ["timeout", "create_timeout", "message_timeout"])
def test_wrong_timeouts_of_a_context(iw: Inworld, name: str, value: object) -> None:
    """If a timeout of a context is not a number of seconds, the error names the timeout."""
    with iw.tts.connect() as connection:
        with pytest.raises(ConfigError, match=f"^{name} must be a number of seconds"):
            connection.context(**{name: value})  # type: ignore[arg-type]
        assert 5 == connection.free_contexts


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("name", ["timeout", "create_timeout"])
@pytest.mark.parametrize("method", ["synthesize", "stream", "stream_bytes", "speak"])
def test_wrong_timeouts_of_an_utterance(iw: Inworld, method: str, name: str, value: object) -> None:
    """If a timeout of an utterance is not a number of seconds, the call raises an error."""
    settings = {"speaker": NullSpeaker(24000)} if method == "speak" else {}
    with pytest.raises(ConfigError, match=f"^{name} must be a number of seconds"):
        getattr(iw.tts, method)("Hi.", **{name: value}, **settings)


@pytest.mark.parametrize("value", WRONG)
def test_wrong_timeouts_of_a_wait(iw: Inworld, value: object) -> None:
    """If the timeout of a wait is not a number of seconds, an error is raised."""
    with iw.tts.connect() as connection, connection.context() as context:
        waits: list[Callable[[Any], object]] = [
            context.events,
            lambda timeout: next(context.audio(timeout)),
            lambda timeout: context.subscribe().get(timeout),
            lambda timeout: context.send("Hi.", timeout=timeout),
            lambda timeout: iw.tts.connect(timeout=timeout),
        ]
        for wait in waits:
            with pytest.raises(ConfigError, match=r"^timeout must be a number of seconds"):
                wait(value)


@pytest.mark.parametrize("value", [1e12, math.inf, 2.0**40])
def test_very_long_timeouts(iw: Inworld, value: float) -> None:
    """A very long timeout is honored."""
    speech = iw.tts.synthesize("Long.", timeout=value, create_timeout=value)
    with iw.tts.connect(timeout=value) as connection:
        context = connection.context(timeout=value, create_timeout=value, message_timeout=value)
        queue = context.subscribe()
        context.send("Long.", timeout=value)
        context.close()
        first = queue.get(value)
        said = first.data if isinstance(first, AudioChunk) else b""
        # The rest is read from the queue: a new iteration would not get earlier events.
        said += b"".join(event.data for event in queue if isinstance(event, AudioChunk))

    assert speech.data == said
    iw.tts.speak("Long.", speaker=NullSpeaker(24000)).wait(value)
