"""In a context, all text is spoken once, all audio is received, and the end is reported."""

from __future__ import annotations

import itertools
import struct
import threading
from collections.abc import Iterator

import pytest

from inworld_sync import (
    AudioChunk,
    AudioConfig,
    ClosedError,
    ConfigError,
    ContextClosed,
    ContextCreated,
    ContextUpdated,
    DeadlineExceeded,
    FlushCompleted,
    InvalidRequestError,
    Inworld,
    LocalProtocolError,
    RemoteProtocolError,
    ServiceError,
    StreamEnded,
    TtsConnection,
    UnknownEvent,
)

from support.scripted import Service, obedient, scripted, text_of
from support.spelling import spelled, spoken_part

LONG = " ".join(f"Sentence number {number} of a rather long text." for number in range(200))


@pytest.fixture
def connection(iw: Inworld) -> Iterator[TtsConnection]:
    with iw.tts.connect() as connection:
        yield connection


def words_of(chunks: list[AudioChunk]) -> str:
    return spelled(b"".join(chunk.data for chunk in chunks))


# Text and audio.


def test_a_conversation(connection: TtsConnection) -> None:
    """The service answers text with audio and events, in order."""
    with connection.context() as context:
        context.send("Hello ")
        context.send("there. And more.")
        context.flush()
    events = list(context)
    kinds = [kind for kind, _ in itertools.groupby(type(event) for event in events)]

    assert [ContextCreated, AudioChunk, FlushCompleted, ContextClosed] == kinds
    assert "Hellothere.Andmore." == words_of([e for e in events if isinstance(e, AudioChunk)])
    assert 22 == context.usage.characters
    assert StreamEnded("client", reason="closed") == context.ended


def test_a_long_text(connection: TtsConnection) -> None:
    """A text of any length is split into pieces that the service accepts. Nothing is lost."""
    with connection.context() as context:
        context.send(LONG)
        context.close()

        assert spoken_part(LONG) == words_of(list(context.audio()))
    assert len(LONG) == context.usage.characters


def test_a_text_with_much_white_space(connection: TtsConnection) -> None:
    """If white space between two words is longer than one message, both words are spoken."""
    with connection.context() as context:
        context.send(f"Before.{' ' * 3000}After.")
        context.close()

        assert "Before.After." == words_of(list(context.audio()))


def test_unsplit_text(connection: TtsConnection) -> None:
    """With split=False the error of the service for a long text reaches the caller."""
    with connection.context() as context:
        context.send(LONG, split=False)
        with pytest.raises(InvalidRequestError, match="should not exceed 2000 characters"):
            context.flush()  # the refusal may have arrived already
            list(context)


def test_update(connection: TtsConnection) -> None:
    """Text that was sent before an update is spoken before the settings change."""
    with connection.context() as context:
        context.send("One.")
        context.update({"temperature": 0.5})
        context.send("Two.")
        context.close()
        events = list(context)
    updated = next(index for index, e in enumerate(events) if isinstance(e, ContextUpdated))
    before = [event for event in events[:updated] if isinstance(event, AudioChunk)]

    assert "One." == words_of(before)
    assert "One.Two." == words_of([event for event in events if isinstance(event, AudioChunk)])


def test_texts_of_two_threads_do_not_mix(connection: TtsConnection) -> None:
    """A long text of one thread is not interrupted by the text of another thread."""
    texts = ["a" * 2500 + ". ", "b" * 2500 + ". "]
    with connection.context() as context:
        threads = [threading.Thread(target=context.send, args=(text,)) for text in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        context.close()
        spoken = words_of(list(context.audio()))

    assert spoken in (spoken_part("".join(texts)), spoken_part("".join(reversed(texts))))


# Texts that are refused before anything is sent.
WRONG = [None, b"bytes", 5, "half \ud83d"]


@pytest.mark.parametrize("text", WRONG)
def test_wrong_text(connection: TtsConnection, text: str) -> None:
    """A text that cannot be spoken is refused at once, and the context continues."""
    with connection.context() as context:
        with pytest.raises(ConfigError, match="text must"):
            context.send(text)
        context.send("Fine.")
        context.close()

        assert "Fine." == words_of(list(context.audio()))


def test_tokens_of_white_space() -> None:
    """White space alone is sent together with the next text."""
    with scripted(obedient) as iw, iw.tts.connect() as connection, connection.context() as context:
        for token in ("", "Two", " ", "\n", "words", " ", ""):
            context.send(token)
        context.close()

        assert "Two \nwords" == text_of(b"".join(chunk.data for chunk in context.audio()))


def test_after_close(connection: TtsConnection) -> None:
    """A closed context refuses text. A second close() does nothing."""
    context = connection.context()
    context.send("Last.")
    context.close()
    context.close()
    with pytest.raises(LocalProtocolError, match="is closing and cannot accept text"):
        context.send("More.")
    assert "Last." == words_of(list(context.audio()))
    with pytest.raises(ClosedError, match="has ended, create another"):
        context.flush()
    context.close()


def test_error_in_the_block(connection: TtsConnection) -> None:
    """An exception that leaves the ``with`` block interrupts the context and frees its place."""
    with pytest.raises(KeyboardInterrupt), connection.context() as context:
        context.send(LONG)
        raise KeyboardInterrupt

    assert "interrupted" == context.ended.reason if context.ended else False
    assert [] == list(context)
    for _ in range(6):
        with connection.context(timeout=30) as other:
            other.send("Hi.")
        assert "Hi." == words_of(list(other.audio()))


# Times.


def test_times_run_on(connection: TtsConnection) -> None:
    """Word times never decrease, although the service starts each generation at time 0."""
    with connection.context(timestamp_type="WORD") as context:
        for text in ("One two.", "Three four.", "Five six."):
            context.send(text)
            context.flush()
        context.close()
        chunks = list(context.audio())
    words = [word for chunk in chunks for word in chunk.words]
    # Each character has four samples at 24 kHz.
    ends = list(itertools.accumulate(len(word.text) * 4 / 24 for word in words))

    assert ["One", "two.", "Three", "four.", "Five", "six."] == [word.text for word in words]
    assert pytest.approx(ends, abs=1.0) == [word.end_ms for word in words]
    assert sorted(word.start_ms for word in words) == [word.start_ms for word in words]


# say().


def test_say(connection: TtsConnection) -> None:
    """One context speaks several texts. Each iteration ends with the audio of its own text."""
    with connection.context() as context:
        for text in ("One.", LONG, "Three."):
            assert spoken_part(text) == words_of(list(context.say(text)))


def test_say_of_just_the_threshold(connection: TtsConnection) -> None:
    """
    A text as long as the threshold of the service is spoken whole.

    If the service spoke the text before the flush, it would send two FlushCompleted. Then the
    iteration of the next text would end before the audio of this text.
    """
    texts = ["x" * 999 + ".", "y" * 1999 + ".", "Short."]
    with connection.context() as context:
        for text in texts:
            assert text == words_of(list(context.say(text)))


def test_say_that_was_left(connection: TtsConnection) -> None:
    """If an iteration is left early, the next iteration yields no audio of the earlier text."""
    with connection.context() as context:
        for _ in context.say(LONG):
            break

        assert "Next." == words_of(list(context.say("Next.")))


def test_say_that_was_never_begun(connection: TtsConnection) -> None:
    """
    A say() that is not iterated sends nothing.

    If this say() were counted, the next say() would wait for audio of a text that was not sent.
    """
    with connection.context() as context:
        context.say("Never.")

        assert "Next." == words_of(list(context.say("Next.")))


def test_say_replaced(connection: TtsConnection) -> None:
    """An iteration that a later say() has replaced ends with an error."""
    with connection.context() as context:
        first = context.say(LONG)
        next(first)
        assert "Next." == words_of(list(context.say("Next.")))
        with pytest.raises(LocalProtocolError, match="has replaced this one"):
            next(first)


# (settings, whether send() is called before say()). In these cases, the end of a text is unknown.
UNSAYABLE: list[tuple[dict[str, object], bool]] = [
    ({"auto_mode": True}, False),
    ({"buffer_char_threshold": 100}, False),
    ({}, True),
]


@pytest.mark.parametrize(("settings", "sent"), UNSAYABLE)
def test_say_where_it_cannot_work(
    connection: TtsConnection, settings: dict[str, object], sent: bool
) -> None:
    """say() is refused if the service may speak before the flush."""
    with connection.context(**settings) as context:  # type: ignore[arg-type]
        if sent:
            context.send("Plain.")
        with pytest.raises(LocalProtocolError, match=r"say\(\)"):
            list(context.say("Said."))


def test_send_after_say(connection: TtsConnection) -> None:
    """send() is refused on a context that uses say()."""
    with connection.context() as context:
        list(context.say("Said."))
        with pytest.raises(LocalProtocolError, match=r"after say\(\)"):
            context.send("Plain.")


def test_say_interrupted(connection: TtsConnection) -> None:
    """interrupt() ends the iteration without an error."""
    context = connection.context()
    said = context.say(LONG)
    next(said)
    context.interrupt()

    assert [] == list(said)


def test_say_without_audio() -> None:
    """If the service sends no audio for a text, an error is raised."""

    def silent(service: Service) -> None:
        context_id = service.until("send_text")
        service.flushed(context_id)
        service.until_left()

    with scripted(silent) as iw, iw.tts.connect() as connection:
        context = connection.context()
        with pytest.raises(ServiceError, match="without audio for 3 characters") as caught:
            list(context.say("Hi."))

    assert caught.value.retryable


# Interruption.


def test_interrupt(connection: TtsConnection) -> None:
    """interrupt() returns the duration of the audio that was taken. No event follows afterwards."""
    context = connection.context()
    context.send(LONG)
    context.flush()
    chunks = list(itertools.islice(context.audio(), 2))

    assert sum(chunk.duration_ms or 0 for chunk in chunks) == context.interrupt()
    assert [] == list(context)
    assert StreamEnded("client", reason="interrupted") == context.ended
    with pytest.raises(ClosedError):
        context.send("More.")


def test_two_threads_take_audio() -> None:
    """interrupt() counts all audio, even if two threads take the audio at the same time."""
    chunks = 4000

    def speaking(service: Service) -> None:
        context_id = service.until("close_context")
        service.result(context_id, contextCreated={})
        for _ in range(chunks):
            service.audio(context_id, bytes(48))
        service.closed(context_id)
        service.until_left()

    with scripted(speaking) as iw, iw.tts.connect() as connection, connection.context() as context:
        context.send("Hi.")
        context.close()
        takers = [threading.Thread(target=list, args=(context.audio(30),)) for _ in range(2)]
        for taker in takers:
            taker.start()
        for taker in takers:
            taker.join()

        # Each chunk has 1 ms.
        assert chunks == context.interrupt()


def test_interrupt_reaches_every_consumer(connection: TtsConnection) -> None:
    """interrupt() also drops the audio that waits in the queues of subscribe()."""
    context = connection.context()
    queue = context.subscribe()
    context.send("Hi.")
    context.flush()
    while not isinstance(queue.get(10), AudioChunk):
        pass
    context.interrupt()

    assert [] == list(queue)


def test_interrupt_does_not_wait() -> None:
    """
    interrupt() returns at once while another thread waits in send().

    This send() may wait as long as send_timeout, and interrupt() does not wait for it.
    """
    stuck, go_on = threading.Event(), threading.Event()

    def deaf(service: Service) -> None:
        service.request()
        stuck.set()
        go_on.wait(120)
        service.until("close_context")
        service.until_left()

    def flood() -> None:
        with pytest.raises((ClosedError, LocalProtocolError)):
            while True:
                context.send("word " * 10_000)

    with (
        # The service answers no ping, so the ping timeout must not pass while the queue fills.
        scripted(
            deaf, max_queued_bytes=10_000, send_timeout=120, ping_interval=120, ping_timeout=120
        ) as iw,
        iw.tts.connect() as connection,
    ):
        context = connection.context(create_timeout=None)
        assert stuck.wait(30)
        sender = threading.Thread(target=flood)
        sender.start()
        while not context._order.locked() or connection.stats.queued_bytes < 9000:
            assert sender.is_alive()
            threading.Event().wait(0.001)
        context.interrupt()
        assert context._order.locked()
        assert [] == list(context)
        go_on.set()
        sender.join(120)
        assert not sender.is_alive()


def test_interrupt_twice(connection: TtsConnection) -> None:
    """interrupt() may be called a second time, and after the end of the context."""
    context = connection.context()
    context.interrupt()
    context.interrupt()
    other = connection.context()
    other.send("Hi.")
    other.close()
    taken = sum(chunk.duration_ms or 0 for chunk in other.audio())

    assert taken == other.interrupt()


# Other ways to receive events.


def test_handlers(connection: TtsConnection) -> None:
    """Handlers run on their own thread. They get the audio, and then the end."""
    data: list[bytes] = []
    threads: set[str] = set()
    done = threading.Event()
    with connection.context() as context:
        context.on(AudioChunk, lambda chunk: data.append(chunk.data))
        context.on(AudioChunk, lambda _: threads.add(threading.current_thread().name))
        context.on(StreamEnded, lambda _: done.set())
        context.send("Heard by a handler.")
    assert done.wait(30)

    assert "Heardbyahandler." == spelled(b"".join(data))
    assert 1 == len(threads)
    assert threads.pop().startswith("inworld-dispatch-")
    assert 0 == context.handler_errors


@pytest.mark.parametrize("lowered", [False, True], ids=["class", "wire"])
def test_handlers_by_name(connection: TtsConnection, lowered: bool) -> None:
    """A handler can be added by the name of the event's class or by the name on the wire."""
    names = ["ContextCreated", "AudioChunk", "FlushCompleted", "ContextClosed", "StreamEnded"]
    asked = [name[0].lower() + name[1:] if lowered else name for name in names]
    called: list[str] = []
    done = threading.Event()
    with connection.context() as context:
        for name in asked:
            context.on(name, lambda event: called.append(type(event).__name__))
        context.on(StreamEnded, lambda _: done.set())
        context.send("Hi.")
    assert done.wait(30)

    assert names == list(dict.fromkeys(called))


def test_handler_that_closes_the_connection(iw: Inworld) -> None:
    """A handler may close its own connection."""
    ends: list[StreamEnded] = []
    done = threading.Event()
    connection = iw.tts.connect()
    context = connection.context()
    context.on(AudioChunk, lambda _: connection.close())
    context.on(StreamEnded, ends.append)
    context.on(StreamEnded, lambda _: done.set())
    context.send("Hi.")
    context.flush()
    assert done.wait(30)

    assert ["client"] == [ended.by for ended in ends]
    assert connection.ended is not None


def test_handler_that_closes_the_client(iw: Inworld) -> None:
    """A handler may close the client."""
    done = threading.Event()
    context = iw.tts.connect().context()
    context.on(AudioChunk, lambda _: iw.close())
    context.on(StreamEnded, lambda _: done.set())
    context.send("Hi.")
    context.flush()
    assert done.wait(30)

    with pytest.raises(ClosedError):
        _ = iw.tts


def test_handler_that_blocks(iw: Inworld) -> None:
    """A handler that does not return delays neither other contexts nor close()."""
    release = threading.Event()
    with iw.tts.connect() as connection:
        stuck, other = connection.context(), connection.context()
        stuck.on(AudioChunk, lambda _: release.wait(30))
        stuck.send("Stuck.")
        stuck.flush()
        other.send("Heard.")
        other.close()
        assert "Heard." == words_of(list(other.audio()))
    release.set()


def test_poll(spelling_client_polled: Inworld) -> None:
    """With dispatch='poll', handlers run on the thread that polls. The end is handled last."""
    seen: list[object] = []
    with spelling_client_polled.tts.connect() as connection, connection.context() as context:
        context.on(AudioChunk, seen.append)
        context.on(StreamEnded, seen.append)
        context.send("Polled.")
        context.close()
        while not seen or not isinstance(seen[-1], StreamEnded):
            context.poll()

    assert "Polled." == words_of([chunk for chunk in seen if isinstance(chunk, AudioChunk)])


def test_read_audio(connection: TtsConnection) -> None:
    """read_audio() returns every sample, in buffers of any size, without waiting."""
    buffer, read = bytearray(14), b""
    with connection.context() as context:
        assert 0 == context.read_audio(buffer)
        context.send("Read in small portions.")
        context.close()
        over = False
        while not over:
            over = context.ended is not None
            while count := context.read_audio(buffer):
                read += buffer[:count]

    assert "Readinsmallportions." == spelled(read)


def test_read_audio_into_half_a_sample(connection: TtsConnection) -> None:
    """A buffer with an odd number of bytes is refused."""
    with connection.context() as context, pytest.raises(ConfigError, match="whole 16-bit samples"):
        context.read_audio(bytearray(3))


def test_read_audio_returns_all_before_the_error() -> None:
    """
    read_audio() returns all samples before it raises the error.

    The error does not replace samples that were not read yet.
    """

    def failing(service: Service) -> None:
        context_id = service.until("flush_context")
        service.audio(context_id, struct.pack("<3h", 1, 2, 3))
        service.fault(context_id, 13, "engine failed")
        service.until_left()

    buffer = bytearray(100)
    with scripted(failing) as iw, iw.tts.connect() as connection, connection.context() as context:
        context.send("Hi.")
        context.flush()
        while context.ended is None:
            threading.Event().wait(0.001)

        assert 6 == context.read_audio(buffer)
        assert (1, 2, 3) == struct.unpack_from("<3h", buffer)
        with pytest.raises(ServiceError, match="engine failed"):
            context.read_audio(buffer)


# Ends with an error.


def test_closed_by_the_service() -> None:
    """If the service closes a context that the client has not closed, an error is raised."""

    def hasty(service: Service) -> None:
        context_id = service.until("send_text")
        service.audio(context_id, b"\1\0")
        service.closed(context_id)
        service.until_left()

    with scripted(hasty) as iw, iw.tts.connect() as connection, connection.context() as context:
        context.send("Hi.")
        with pytest.raises(ServiceError, match="before it was asked to"):
            list(context)
        assert "server" == context.ended.by if context.ended else False


def answering(*, then: object) -> object:
    def script(service: Service) -> None:
        context_id = service.until("close_context")
        then(service, context_id)  # type: ignore[operator]
        service.until_left()

    return script


# (messages of the service, class of the error, words of the error)
INCOMPLETE = [
    (lambda s, c: s.closed(c), ServiceError, "without audio for 3 characters"),
    (lambda s, c: (s.audio(c, b""), s.closed(c)), ServiceError, "without audio"),
    (lambda s, c: (s.audio(c, b"\1\0\2"), s.closed(c)), ValueError, "cut"),
    (lambda s, c: s.result(c, audioChunk={"audioContent": "A*=="}), ValueError, "base64"),
    (lambda s, c: s.result(c, audioChunk={"audioContent": 7}), RemoteProtocolError, "got int"),
    (lambda s, c: s.fault(c, 13, "engine"), ServiceError, "engine"),
    (lambda s, c: s.fault(c, 5, "context not found"), LookupError, "not found"),
]


@pytest.mark.parametrize(("then", "error", "words"), INCOMPLETE)
def test_incomplete(then: object, error: type[Exception], words: str) -> None:
    """If the speech of a text is incomplete, an error is raised."""
    with scripted(answering(then=then)) as iw, iw.tts.connect() as connection:  # type: ignore[arg-type]
        context = connection.context()
        context.send("Hi.")
        context.close()
        with pytest.raises(error, match=words):
            list(context)


def test_never_answered() -> None:
    """If the service sends no answer, the iteration raises an error after its timeout."""
    with scripted(lambda s: s.until_left()) as iw, iw.tts.connect() as connection:
        context = connection.context()
        context.send("Hi.")
        context.close()
        with pytest.raises(DeadlineExceeded, match=r"no event came within 0\.05 s"):
            list(context.events(0.05))


def test_split_samples() -> None:
    """A sample that is cut between two chunks is joined."""

    def cutting(service: Service) -> None:
        context_id = service.until("close_context")
        service.audio(context_id, b"H\0i")
        service.audio(context_id, b"\0")
        service.closed(context_id)
        service.until_left()

    with scripted(cutting) as iw, iw.tts.connect() as connection:
        context = connection.context()
        context.send("Hi")
        context.close()

        assert ["H", "i"] == [text_of(chunk.data) for chunk in context.audio()]


def test_unknown_events_are_data() -> None:
    """Unknown messages reach the user unchanged, and the context continues."""

    def newer(service: Service) -> None:
        context_id = service.until("close_context")
        service.result(context_id, mouthMoved={"to": "left"})
        service.send({"result": {"unrelated": {}}})
        service.speak(context_id, b"H\0")
        service.until_left()

    with scripted(newer) as iw, iw.tts.connect() as connection:
        context = connection.context()
        context.send("Hi")
        context.close()
        unknown = [event for event in context if isinstance(event, UnknownEvent)]

    assert ["mouthMoved"] == [event.type for event in unknown]
    assert {"to": "left"} == unknown[0].raw["result"]["mouthMoved"]  # type: ignore[index]


def test_compressed_audio() -> None:
    """Compressed audio is passed on unchanged. ``pcm`` of a compressed chunk raises an error."""
    with scripted(obedient) as iw, iw.tts.connect() as connection:
        context = connection.context(audio=AudioConfig("MP3"))
        context.send("Hi")
        context.close()
        (chunk,) = context.audio()

    assert "Hi" == text_of(chunk.data)
    assert chunk.duration_ms is None
    with pytest.raises(ValueError, match="MP3 audio is compressed"):
        _ = chunk.pcm


@pytest.mark.parametrize("is_closed", [False, True])
@pytest.mark.parametrize(
    ("settings", "verbs"),
    [({}, ["close_context"]), ({"sends_cancel_context": True}, ["cancel_context"])],
)
def test_message_of_an_interruption(
    settings: dict[str, bool], verbs: list[str], *, is_closed: bool
) -> None:
    """With ``sends_cancel_context``, interrupt() sends ``cancel_context``, even after close()."""
    sent: list[str] = []

    def script(service: Service) -> None:
        context_id = service.until("send_text")
        service.audio(context_id, b"\1\0" * 100)
        while True:
            verb = next(name for name in service.request() if name != "contextId")
            sent.append(verb)
            if verb == "create":
                return service.until_left()

    with scripted(script, **settings) as iw, iw.tts.connect() as connection:
        context = connection.context()
        context.send("One two.")
        next(context.audio(5))
        if is_closed:
            context.close()
        context.interrupt()
        context.interrupt()
        # When this later request is answered, all earlier requests have reached the service.
        connection.context().close()

    closed = ["close_context"] if is_closed else []
    expected = closed + (verbs if verbs != closed else [])
    assert [*expected, "create"] == sent
