"""Tests of the limit of contexts, failures, back-pressure and the end of a TTS connection."""

from __future__ import annotations

import itertools
import json
import os
import struct
import threading
import time
from collections.abc import Callable

import pytest

from inworld_sync import (
    AudioChunk,
    AuthError,
    ClosedError,
    ConnectionLost,
    ContextLimitError,
    InvalidMessage,
    InvalidRequestError,
    Inworld,
    InworldError,
    NotFoundError,
    ProtocolError,
    RemoteProtocolError,
    ServiceError,
    TransportError,
    TtsConnection,
    TtsContext,
    TtsUsage,
    UnknownEvent,
)
from inworld_sync.sessions import base, connection_threads, event_stream, mailbox
from inworld_sync.transport.websocket import Link

from support.peers import TEXT, frame
from support.scripted import Script, Service, obedient, samples_of, scripted, text_of
from support.spelling import spelled


@pytest.fixture
def no_safety_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn off the regular check of every wait, so that a missing notification causes a hang."""
    monkeypatch.setattr(base, "_PAUSE_SECONDS", 60.0)
    monkeypatch.setattr(event_stream, "LONGEST_WAIT_SECONDS", 60.0)


def spoken(context: TtsContext) -> str:
    return text_of(b"".join(chunk.data for chunk in context.audio()))


def opened(connection: TtsConnection, text: str = "Hi.") -> TtsContext:
    context = connection.context()
    context.send(text)
    context.flush()
    return context


def finished(connection: TtsConnection, text: str = "Hi.") -> TtsContext:
    context = opened(connection, text)
    context.close()
    return context


# The limit of contexts.


def test_five_contexts_at_once(iw: Inworld) -> None:
    """Five contexts speak at the same time. A sixth context is refused before anything is sent."""
    with iw.tts.connect() as connection:
        contexts = [connection.context() for _ in range(5)]
        with pytest.raises(ContextLimitError, match="at most 5 contexts"):
            connection.context(timeout=0)
        assert 0 == connection.free_contexts
        for number, context in enumerate(contexts):
            context.send(f"Context {number}.")
            context.close()
        texts = [spelled(b"".join(c.data for c in context.audio())) for context in contexts]
        assert 5 == connection.free_contexts

    assert [f"Context{number}." for number in range(5)] == texts


def test_a_context_that_is_closing() -> None:
    """If one of five contexts is closing, a sixth context waits for the place of this context."""
    release = threading.Event()

    def slow(service: Service) -> None:
        first = service.until("close_context")
        release.wait(30)
        service.speak(first, b"1\0")
        obedient(service)

    with scripted(slow) as iw, iw.tts.connect() as connection:
        contexts = [connection.context() for _ in range(5)]
        contexts[0].send("1")
        contexts[0].close()
        threading.Timer(0.05, release.set).start()

        assert "Sixth" == spoken(finished(connection, "Sixth"))


def test_no_context_closes() -> None:
    """If no context closes, creating a sixth context raises ContextLimitError after the timeout."""
    with scripted(lambda s: s.until_left()) as iw, iw.tts.connect() as connection:
        contexts = [connection.context() for _ in range(5)]
        contexts[0].close()
        with pytest.raises(ContextLimitError):
            connection.context(timeout=0.05)


def test_the_wait_for_a_place_keeps_the_reader_reading() -> None:
    """
    The reader does not pause while a thread waits for a place.

    If the reader paused for another consumer, no thread would read that a context has closed.
    """

    def script(service: Service) -> None:
        flooded = service.until("flush_context")
        for _ in range(20):
            service.audio(flooded, bytes(1 << 20))
        first = service.until("close_context")
        service.speak(first, b"1\0")
        obedient(service)

    with scripted(script) as iw, iw.tts.connect() as connection:
        flooded = opened(connection)
        contexts = [connection.context() for _ in range(4)]
        while flooded.waiting_bytes < 16 << 20:
            threading.Event().wait(0.001)
        contexts[0].send("1")
        contexts[0].close()

        assert "Sixth" == spoken(finished(connection, "Sixth"))


@pytest.mark.parametrize("leave", [TtsContext.interrupt, TtsContext.close])
def test_places_come_back(iw: Inworld, leave: Callable[[TtsContext], object]) -> None:
    """The place of a context is free again after the context was interrupted or closed."""
    with iw.tts.connect() as connection:
        for _ in range(30):
            context = connection.context(timeout=30)
            context.send("Hi.")
            leave(context)
        while connection.free_contexts < 5:
            threading.Event().wait(0.001)


def test_a_refused_context_gives_its_place_back() -> None:
    """If the service keeps a context after a fault, the client closes the context."""

    def refusing(service: Service) -> None:
        context_id = service.until("send_text")
        service.fault(context_id, 3, "text length")
        assert context_id == service.until("close_context")
        service.closed(context_id)
        obedient(service)

    with scripted(refusing) as iw, iw.tts.connect() as connection:
        # Any of the calls may be the first that raises the refusal.
        with pytest.raises(InvalidRequestError, match="text length"):
            list(opened(connection))
        while connection.free_contexts < 5:
            threading.Event().wait(0.001)

        assert "Next" == spoken(finished(connection, "Next"))


def test_a_create_that_is_refused_with_text_behind_it() -> None:
    """
    If a create is refused after text was sent, its context gets one error.

    The later answers of the service, which report that the context is unknown, are ignored.
    """

    def refusing(service: Service) -> None:
        context_id = service.until("close_context")
        service.fault(context_id, 8, "You have reached the limit of 5 TTS contexts")
        for payload in (" (payload=SEND_TEXT)", "", ""):
            service.fault(context_id, 5, f"context {context_id} not found{payload}")
        obedient(service)

    with scripted(refusing) as iw, iw.tts.connect() as connection:
        with pytest.raises(ContextLimitError) as caught:
            list(finished(connection))
        assert 8 == caught.value.code
        assert "Next" == spoken(finished(connection, "Next"))
        assert 5 == connection.free_contexts


# Failures of one context.


def test_a_fault_stays_with_its_context(iw: Inworld) -> None:
    """An unknown voice ends only the context that uses this voice. Another context continues."""
    with iw.tts.connect() as connection:
        good, bad = connection.context(), connection.context(voice="Nobody")
        good.send("Fine.")
        good.close()
        with pytest.raises(NotFoundError, match="Nobody"):
            bad.send("Hi.")  # the refusal may have arrived already
            bad.close()
            list(bad)

        assert "Fine." == spelled(b"".join(chunk.data for chunk in good.audio()))


def test_damage_stays_with_its_context() -> None:
    """An unreadable message about one context does not affect the other contexts."""

    def damaging(service: Service) -> None:
        bad, good = service.until("close_context"), service.until("close_context")
        service.result(bad, audioChunk={"audioContent": 5})
        service.speak(good, b"G\0")
        service.until_left()

    with scripted(damaging) as iw, iw.tts.connect() as connection:
        bad, good = finished(connection), finished(connection)
        with pytest.raises(RemoteProtocolError, match="audioContent, got int"):
            list(bad)

        assert "G" == spoken(good)


def test_messages_of_unknown_contexts() -> None:
    """Messages about unknown, closed or interrupted contexts are ignored."""

    def stray(service: Service) -> None:
        gone = service.until("close_context")
        service.speak(gone, b"1\0")
        service.audio(gone, b"X\0")
        service.closed(gone)
        service.audio("never-made", b"X\0")
        service.fault("never-made", 13)
        service.fault("", 3, "context_id is required when 2 contexts are open")
        second = service.until("close_context")
        service.speak(second, b"2\0")
        service.until_left()

    with scripted(stray) as iw, iw.tts.connect() as connection:
        assert "1" == spoken(finished(connection))
        assert "2" == spoken(finished(connection))
        assert 5 == connection.free_contexts


def test_contexts_interleave() -> None:
    """Audio goes to the context that the message names, in any order of messages."""

    def mixing(service: Service) -> None:
        ids = [service.until("close_context") for _ in range(5)]
        for character in "abc":
            for number, context_id in enumerate(ids):
                service.audio(context_id, samples_of(f"{character}{number}"))
        for context_id in reversed(ids):
            service.closed(context_id)
        service.until_left()

    with scripted(mixing) as iw, iw.tts.connect() as connection:
        contexts = [finished(connection) for _ in range(5)]

        assert [f"a{n}b{n}c{n}" for n in range(5)] == [spoken(context) for context in contexts]


# Failures of all contexts.


def closing(code: int, reason: str) -> Script:
    return lambda service: (service.until("flush_context"), service.close(code, reason), None)[-1]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going away"), (1011, "oops")])
def test_closed_in_mid_utterance(code: int, reason: str) -> None:
    """A CLOSE frame while a context is open is an error, even with code 1000."""
    with scripted(closing(code, reason)) as iw, iw.tts.connect() as connection:
        context = opened(connection)
        with pytest.raises(ConnectionLost) as caught:
            list(context)

    assert (code, reason) == (caught.value.code, caught.value.reason)
    assert connection.ended is not None
    assert ("server", code) == (connection.ended.by, connection.ended.code)


def test_every_context_ends_with_the_loss() -> None:
    """If the connection is lost, every consumer gets its own error object."""

    def script(service: Service) -> None:
        for _ in range(5):
            service.until("flush_context")
        service.peer.reset()

    caught: list[InworldError] = []

    def listen(context: TtsContext) -> None:
        with pytest.raises(TransportError) as info:
            list(context)
        caught.append(info.value)

    with scripted(script) as iw, iw.tts.connect() as connection:
        contexts = [connection.context() for _ in range(5)]
        threads = [threading.Thread(target=listen, args=(context,)) for context in contexts]
        for thread in threads:
            thread.start()
        for context in contexts:
            context.flush()
        for thread in threads:
            thread.join(30)

    assert 5 == len({id(error) for error in caught})


# (message, part of the error, type of the event). The message is unreadable, or names no request.
IGNORED: list[tuple[object, str, str]] = [
    ("", "a JSON message, got 0 characters", ""),
    ("nonsense", "a JSON message, got 8 characters", ""),
    ("[]", "an object as the message, got list", ""),
    ("null", "an object as the message, got NoneType", ""),
    ('{"result":{"x":NaN}}', "NaN is not a JSON value", ""),
    ('\ufeff{"result":{}}', "BOM", ""),
    ("[" * 100_000, "a JSON message", ""),
    ('{"result":5}', "an object as result, got int", ""),
    ('{"result":{"audioChunk":{"audioContent":"AAA="}}}', "contextId", ""),
    ('{"error":{"code":3,"message":"odd request"}}', "odd request", "error"),
    ('{"error":"out of order"}', "out of order", "error"),
]


@pytest.mark.parametrize(("message", "words", "kind"), IGNORED, ids=[row[1] for row in IGNORED])
def test_an_unreadable_message(
    message: object, words: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A message that cannot be read is an event of every context, and all contexts continue.

    In an earlier version such a message ended the connection.
    """

    def odd(service: Service) -> None:
        ids = [service.until("close_context") for _ in range(2)]
        service.send(message)
        for number, context_id in enumerate(ids):
            service.speak(context_id, samples_of(str(number)))
        service.until_left()

    with scripted(odd) as iw, iw.tts.connect() as connection:
        contexts = [connection.context(), connection.context()]
        streams = [context.events() for context in contexts]
        handled: list[InvalidMessage] = []
        contexts[0].on(InvalidMessage, handled.append)
        for context in contexts:
            context.send("Hi.")
            context.close()
        for number, stream in enumerate(streams):
            events = list(stream)

            (event,) = [event for event in events if isinstance(event, InvalidMessage)]
            assert kind == event.type
            assert words in str(event.error)
            audio = b"".join(e.data for e in events if isinstance(e, AudioChunk))
            assert str(number) == text_of(audio)
        assert {} == connection.stats.warnings
    assert 1 == len(handled)
    assert 1 == sum(words in text for text in caplog.messages)


@pytest.mark.parametrize("message", ["nonsense", '{"error":{"code":3,"message":"odd"}}'])
def test_unreadable_messages_are_bounded(
    message: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If many messages cannot be read, their events fill a queue, and then the reader pauses."""
    monkeypatch.setattr(mailbox, "MAX_WAITING_BYTES", 100 * 256)

    def flooding(service: Service) -> None:
        context_id = service.until("close_context")
        service.peer.send(frame(TEXT, message.encode()) * 300)
        service.speak(context_id, b"!\0")
        service.until_left()

    with scripted(flooding) as iw, iw.tts.connect() as connection:
        context = finished(connection)
        while context.waiting_bytes <= 100 * 256:
            threading.Event().wait(0.001)
        assert connection.stats.messages_in <= 102

        assert 300 == sum(isinstance(event, InvalidMessage) for event in context)
    assert 10 == sum(record.levelname == "WARNING" for record in caplog.records)


def test_a_message_that_is_too_long() -> None:
    """A message that is longer than the limit ends the connection."""

    def endless(service: Service) -> None:
        service.until("flush_context")
        service.until("flush_context")
        service.send("[" + "1," * 600_000 + "1]")
        service.until_left()

    with scripted(endless, max_message_bytes=1 << 20) as iw, iw.tts.connect() as connection:
        contexts = [opened(connection), opened(connection)]
        for context in contexts:
            with pytest.raises(ProtocolError, match="1048576"):
                list(context)
        with pytest.raises(ConnectionLost, match="the connection has ended"):
            connection.context()


def test_wrong_types_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Optional fields of a wrong type are ignored, counted and logged. The audio is kept."""

    def odd(service: Service) -> None:
        context_id = service.until("close_context")
        service.result(context_id, contextCreated=7)
        for number in range(5):
            times = {"wordAlignment": {"words": ["a", "b"], "wordStartTimeSeconds": [0]}}
            service.audio(context_id, samples_of(str(number)), timestampInfo=times, usage="12")
        service.closed(context_id)
        service.until_left()

    with scripted(odd) as iw, iw.tts.connect() as connection:
        context = finished(connection)

        assert "01234" == spoken(context)
        assert {"contextCreated": 1, "usage": 5, "words": 5} == connection.stats.warnings
        assert TtsUsage() == context.usage
    assert 3 == sum("could not be read" in text for text in caplog.messages)


def test_a_large_message() -> None:
    """A message of almost 16 MiB is received whole."""
    data = os.urandom(9 << 20)

    def generous(service: Service) -> None:
        context_id = service.until("close_context")
        service.audio(context_id, data)
        service.closed(context_id)
        service.until_left()

    with scripted(generous) as iw, iw.tts.connect() as connection:
        context = finished(connection)

        assert data == b"".join(chunk.data for chunk in context.audio())


def test_fatal_error() -> None:
    """If a CLOSE frame follows an error of the connection, every context gets this error."""

    def refusing(service: Service) -> None:
        service.until("flush_context")
        service.error(7, 'Invalid credentials provided for API key "a2V5***"')
        service.close(1000)

    with scripted(refusing) as iw, iw.tts.connect() as connection:
        with pytest.raises(AuthError, match="Invalid credentials") as caught:
            list(opened(connection))

    assert "a2V5" not in str(caught.value)
    assert 7 == caught.value.code


def test_error_that_is_not_fatal(caplog: pytest.LogCaptureFixture) -> None:
    """
    If no CLOSE frame follows an error of the connection, the error is logged, and contexts
    continue.
    """

    def grumbling(service: Service) -> None:
        service.until("flush_context")
        service.error(3, "invalid WebSocket request")
        obedient(service)

    with scripted(grumbling) as iw, iw.tts.connect() as connection:
        assert "Hi." == spoken(finished(connection))

    assert "the service reported: invalid WebSocket request" in caplog.text


def test_error_that_is_fatal_is_raised_alone(caplog: pytest.LogCaptureFixture) -> None:
    """An error that ends the connection is raised, but not logged."""

    def refusing(service: Service) -> None:
        service.until("flush_context")
        service.error(13, "out of order")
        service.close()

    with scripted(refusing) as iw, iw.tts.connect() as connection:
        context = opened(connection)
        with pytest.raises(ServiceError, match="out of order"):
            spoken(context)

    assert not [record for record in caplog.records if record.levelname != "DEBUG"]


def test_an_old_error_is_not_the_reason_of_a_later_close() -> None:
    """An error that was logged is not kept as the cause of a later CLOSE frame."""

    def grumbling(service: Service) -> None:
        service.until("flush_context")
        service.error(3, "invalid WebSocket request")
        service.audio(service.until("flush_context"), b"1\0")
        service.close(1001, "maintenance")

    with scripted(grumbling) as iw, iw.tts.connect() as connection:
        first = opened(connection)
        with pytest.raises(ConnectionLost, match="maintenance"):
            list(opened(connection))
        assert first.ended is not None


def test_a_bad_key(spelling_server_url: str) -> None:
    """The service checks the key at the first context. This context gets the error."""
    with Inworld(api_key="d3Jvbmc6a2V5", base_url=spelling_server_url) as iw:
        with iw.tts.connect() as connection:
            # Any of the calls may be the first that raises the refusal.
            with pytest.raises(AuthError) as caught:
                list(opened(connection))
            assert 7 == caught.value.code
            while connection.ended is None:
                threading.Event().wait(0.001)
            with pytest.raises(ConnectionLost) as after:
                connection.context()

    assert isinstance(after.value.__cause__, AuthError)


def test_no_key(spelling_server_url: str) -> None:
    """A request without a credential is refused with code 16 and must not be retried."""

    class Nobody:
        def header(self) -> tuple[str, str]:
            return "X-Nothing", "at all"

    with Inworld(auth=Nobody(), base_url=spelling_server_url) as iw:
        with iw.tts.connect() as connection, pytest.raises(AuthError) as caught:
            list(opened(connection))

    assert (16, False) == (caught.value.code, caught.value.retryable)


# Back-pressure.


@pytest.mark.usefixtures("no_safety_net")
def test_a_consumer_that_continues() -> None:
    """A paused reader continues as soon as the mailbox has room."""
    chunks = 50

    def flooding(service: Service) -> None:
        context_id = service.until("close_context")
        for _ in range(chunks):
            service.audio(context_id, bytes(1 << 19))
        service.closed(context_id)
        service.until_left()

    with scripted(flooding) as iw, iw.tts.connect() as connection:
        context = finished(connection)
        while context.waiting_bytes < 16 << 20:
            threading.Event().wait(0.001)

        assert chunks == len(list(context.audio(10)))


@pytest.mark.usefixtures("no_safety_net")
def test_unknown_events_are_bounded() -> None:
    """
    An event of any kind takes as much room in a mailbox as the message of this event.

    In an earlier version, unknown events of 969 MiB in memory counted as 68 KB.
    """
    texts = [str(number) for number in range(50_000)]
    size_bytes = len(json.dumps({"result": {"contextId": "-" * 32, "odd": texts}}))
    limit = (16 << 20) // size_bytes + 1
    sent = 3 * limit

    def flooding(service: Service) -> None:
        context_id = service.until("close_context")
        for _ in range(sent):
            service.send({"result": {"contextId": context_id, "odd": texts}})
        service.speak(context_id, b"!\0")
        service.until_left()

    with scripted(flooding) as iw, iw.tts.connect() as connection:
        context = finished(connection)
        while context.waiting_bytes <= 16 << 20:
            time.sleep(0.001)
        # The reader has paused, so no more messages than the limit were received.
        assert limit >= connection.stats.messages_in
        events = list(context)

        assert sent == sum(isinstance(event, UnknownEvent) for event in events)
        assert 0 == context.waiting_bytes


def test_close_with_a_paused_reader() -> None:
    """close() wakes a paused reader, and all threads end."""

    def flooding(service: Service) -> None:
        context_id = service.until("flush_context")
        for _ in range(40):
            service.audio(context_id, bytes(1 << 19))
        service.until_left()

    with scripted(flooding) as iw:
        connection = iw.tts.connect()
        context = opened(connection)
        while context.waiting_bytes < 16 << 20:
            threading.Event().wait(0.001)
        connection.close()

        assert connection.ended is not None
        assert not [thread for thread in connection._threads.threads if thread.is_alive()]


@pytest.mark.usefixtures("no_safety_net")
def test_a_consumer_that_stops_for_good() -> None:
    """A context without a consumer makes the service wait, and other contexts continue."""
    sent = 0

    def flooding(service: Service) -> None:
        nonlocal sent
        flooded = service.until("flush_context")
        stop = threading.Event()

        def flood() -> None:
            nonlocal sent
            while not stop.is_set() and sent < 200:
                service.audio(flooded, bytes(1 << 19))
                sent += 1

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            context_id = service.until("close_context")
            stop.set()
            thread.join()
            service.speak(context_id, b"H\0")
            service.until_left()
        finally:
            stop.set()

    with scripted(flooding) as iw, iw.tts.connect() as connection:
        # Both contexts are made before the reader pauses, so only a waiting consumer can wake the
        # reader.
        other, flooded = connection.context(), opened(connection)
        while flooded.waiting_bytes < 16 << 20:
            threading.Event().wait(0.001)
        # The reader pauses here. Nothing more is received, although the service sends.
        settled = flooded.waiting_bytes
        for _ in range(20):
            threading.Event().wait(0.005)
        assert settled == flooded.waiting_bytes

        other.send("Hi.")
        other.close()
        assert "H" == spoken(other)
        total = sum(len(chunk.data) for chunk in itertools.islice(flooded.audio(), sent))
        assert sent << 19 == total


# Closing.


def test_close_ends_every_wait(iw: Inworld) -> None:
    """close() ends every wait of every context, with an error for unfinished work."""
    connection = iw.tts.connect()
    contexts = [connection.context() for _ in range(3)]
    results: list[type] = []

    def listen(context: TtsContext) -> None:
        with pytest.raises(ClosedError) as caught:
            list(context)
        results.append(type(caught.value))

    threads = [threading.Thread(target=listen, args=(context,)) for context in contexts]
    for thread in threads:
        thread.start()
    connection.close()
    connection.close()
    for thread in threads:
        thread.join(30)

    assert [ClosedError] * 3 == results
    assert connection.ended is not None
    assert "client" == connection.ended.by


def test_after_close(iw: Inworld) -> None:
    """Calls on a closed connection or its contexts raise ClosedError."""
    with iw.tts.connect() as connection:
        context = connection.context()
    for use in (connection.context, lambda: context.send("Hi."), context.flush):
        with pytest.raises(ClosedError, match="closed"):
            use()  # type: ignore[operator]
    context.close()
    context.interrupt()


def test_close_from_many_threads(iw: Inworld) -> None:
    """Several threads may call close() at the same time."""
    connection = iw.tts.connect()
    threads = [threading.Thread(target=connection.close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert connection.ended is not None


def test_close_ends_the_threads(iw: Inworld) -> None:
    """After close() no thread of the connection or of its contexts is left."""
    with iw.tts.connect() as connection:
        context = connection.context()
        context.on(AudioChunk, lambda _: threading.Event().wait(0.01))
        context.send("Hi. " * 10)
        context.close()
        while context.ended is None:
            threading.Event().wait(0.001)
        name = connection.name

    assert not [t.name for t in threading.enumerate() if name in t.name]


def test_a_dead_link_ends_a_paused_reader() -> None:
    """
    A paused reader notices that the link is dead.

    Otherwise the connection would keep two threads and a socket until the consumer continues.
    """

    def flooding(service: Service) -> None:
        context_id = service.until("flush_context")
        for _ in range(20):
            service.audio(context_id, bytes(1 << 20))
        service.until_left()

    with scripted(flooding) as iw:
        connection = iw.tts.connect()
        context = opened(connection)
        while context.waiting_bytes < 16 << 20:
            threading.Event().wait(0.001)
        connection._link.abort("cut")
        while connection.ended is None:
            threading.Event().wait(0.01)


def test_messages_before_the_close_are_given(iw: Inworld) -> None:
    """A consumer gets the events before the close, then the error."""
    with iw.tts.connect() as connection:
        context = opened(connection, "Received.")
        while context.usage.characters == 0:
            threading.Event().wait(0.001)
    data = b""
    with pytest.raises(ClosedError):
        for chunk in context.audio():
            data += chunk.data

    assert struct.unpack_from("<h", data)[0] == ord("R")


def test_service_errors_are_inworld_errors(iw: Inworld) -> None:
    """For an unknown model, the context gets an error of the service that names the model."""
    with iw.tts.connect() as connection:
        context = connection.context(model="inworld-tts-0")
        with pytest.raises(ServiceError, match="inworld-tts-0"):
            context.send("Hi.")  # the refusal may have arrived already
            list(context)


# Exceptions in the client itself.


@pytest.mark.parametrize("thread", ["reader", "writer"])
def test_a_thread_that_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, thread: str
) -> None:
    """An exception in the reader or writer ends every wait with an error that names the thread."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    def service(service: Service) -> None:
        service.until("flush_context")
        service.flushed("x")
        service.until_left()

    # The next frame that the writer thread sends is a ping.
    with scripted(service, ping_interval=0.1) as iw:
        connection = iw.tts.connect()
        target, name = (TtsConnection, "_parse") if thread == "reader" else (Link, "_write")
        monkeypatch.setattr(target, name, fail)
        with pytest.raises((ProtocolError, ClosedError)) as caught:
            # The deadline of the new context wakes the writer, which may fail at once.
            context = connection.context()
            context.flush()
            list(context.events(30))
        monkeypatch.undo()
        while connection.ended is None:
            threading.Event().wait(0.001)

    assert f"the {thread} failed: ZeroDivisionError" == str(connection.ended.error)
    assert isinstance(connection.ended.error.__cause__, ZeroDivisionError)  # type: ignore[union-attr]
    assert f"the {thread} failed" in caplog.text
    assert caught.value is not connection.ended.error


def test_a_writer_that_ends_late(iw: Inworld, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The last thread to end closes the socket, even if the reader has not waited for the writer.

    In an earlier version, only the garbage collector closed the socket.
    """
    monkeypatch.setattr(connection_threads, "JOIN_SECONDS", 0.0)
    entered, leave = threading.Event(), threading.Event()
    released: list[str] = []
    release, timer = Link.release, TtsConnection._on_timer

    def recorded(link: Link) -> None:
        released.append(threading.current_thread().name)
        release(link)

    def stuck(connection: TtsConnection) -> None:
        entered.set()
        leave.wait(30)
        timer(connection)

    monkeypatch.setattr(Link, "release", recorded)
    monkeypatch.setattr(TtsConnection, "_on_timer", stuck)
    connection = iw.tts.connect()
    writer, reader = connection._threads.threads
    connection._link.set_timer(0.0)
    assert entered.wait(30)
    connection.abort()
    reader.join(30)
    assert not reader.is_alive()
    assert [] == released
    leave.set()
    writer.join(30)

    assert [writer.name] == released


def test_an_exception_while_the_end_is_interpreted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception while the end is interpreted still ends every wait."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(TtsConnection, "_conclude", fail)
    with scripted(closing(1011, "oops")) as iw, iw.tts.connect() as connection:
        context = opened(connection)
        with pytest.raises(ProtocolError, match="the reader failed: ZeroDivisionError"):
            list(context.events(30))
        assert connection.ended is not None
        assert ("server", 1011) == (connection.ended.by, connection.ended.code)

    assert "the end was not handled" in caplog.text
