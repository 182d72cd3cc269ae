"""A whole utterance returns all audio of its text, or an error that has the earlier audio."""

from __future__ import annotations

import contextvars
import gc
import struct
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Literal

import pytest

from inworld_sync import (
    AudioChunk,
    AudioConfig,
    AuthError,
    ClosedError,
    ConfigError,
    ConnectError,
    ConnectionLost,
    ContextConfig,
    DeadlineExceeded,
    Inworld,
    InworldError,
    LocalProtocolError,
    NotFoundError,
    ServiceError,
    Speech,
)

from support.scripted import Service, obedient, samples_of, scripted, text_of
from support.spelling import spelled, spoken_part

LONG = " ".join(f"Sentence number {number} of a rather long text." for number in range(400))


def told(chunks: Iterable[AudioChunk]) -> str:
    return text_of(b"".join(chunk.data for chunk in chunks))


# Forms of text.

TEXTS: list[tuple[str, Callable[[], object]]] = [
    ("Hello there.", lambda: "Hello there."),
    (LONG, lambda: LONG),
    ("Some tokens of a model.", lambda: iter(["Some ", "tok", "ens of", " a model."])),
    ("One. Two.", lambda: ["One.", " ", "Two."]),
    ("Spaces between.", lambda: iter(["Spaces", " ", "\n", " ", "between.", "  "])),
    ("Padded.", lambda: iter(["", " ", "Padded."])),
    (LONG, lambda: (LONG[start : start + 7] for start in range(0, len(LONG), 7))),
    (f"A{' ' * 9000}B", lambda: f"A{' ' * 9000}B"),
    ("Grüße, 你好, привет!", lambda: "Grüße, 你好, привет!"),
]


@pytest.mark.parametrize(("text", "form"), TEXTS)
def test_forms_of_text(iw: Inworld, text: str, form: Callable[[], Iterable[str]]) -> None:
    """A str of any length, a list and an iterator of tokens are all spoken whole."""
    speech = iw.tts.synthesize(form())

    assert spoken_part(text) == spelled(speech.data)


def test_white_space_is_not_lost() -> None:
    """Tokens of white space alone are sent with the next token."""
    tokens = [" ", "Spaces", " ", "\n", " ", "between", ".", "  "]
    with scripted(obedient) as iw:
        assert " Spaces \n between." == told(iw.tts.stream(iter(tokens)))


EMOJI = [
    ["A \ud83d", "\ude00 b."],
    ["A ", "\ud83d", "\ude00", " b."],
    ["A ", "\ud83d", "", "\ude00 b."],
    ["A \ud83d\ude00 b."],
]


@pytest.mark.parametrize("pieces", EMOJI)
def test_surrogate_pair_in_two_pieces(pieces: list[str]) -> None:
    """The halves of a surrogate pair are joined, wherever the pieces are cut."""
    with scripted(obedient) as iw:
        assert "A \N{GRINNING FACE} b." == told(iw.tts.stream(iter(pieces)))


@pytest.mark.parametrize("pieces", [["A \ud83d", "b."], ["A ", "\ude00 b."], ["A \ud83d"]])
def test_half_a_surrogate_pair(pieces: list[str]) -> None:
    """A lone half of a surrogate pair raises an error that shows this half."""
    with scripted(obedient) as iw, pytest.raises(ConfigError, match="the lone surrogate"):
        iw.tts.synthesize(iter(pieces))


TOKENS = ["Once", " upon", " a", " ti", "me", ".", " The", " end", "."]


@pytest.mark.parametrize(
    ("auto_mode", "sent"), [(True, ["Once upon a time. ", "The end."]), (False, TOKENS)]
)
def test_tokens_of_a_model(sent: list[str], *, auto_mode: bool) -> None:
    """With auto mode, whole sentences are sent. Without auto mode, each token is sent alone."""
    texts: list[str] = []

    def script(service: Service) -> None:
        context_id = service.until("close_context")
        texts.extend(r["send_text"]["text"] for r in service.requests if "send_text" in r)
        service.speak(context_id, samples_of(service.text_of(context_id)))
        service.until_left()

    with scripted(script) as iw:
        assert "".join(TOKENS) == told(iw.tts.stream(iter(TOKENS), auto_mode=auto_mode))
    assert sent == texts


# Wrong text.
WRONG: list[tuple[object, str]] = [
    ("", "something to speak"),
    (" \n", "something to speak"),
    (b"bytes", "got bytes"),
    (None, "got NoneType"),
    (5, "got int"),
    ("half \ud83d", "lone surrogate"),
    ([], "got only white space"),
    ([" ", "\n"], "got only white space"),
    ([None], "got NoneType"),
    (["fine ", b"bytes"], "got bytes, decode it first"),
    (iter(["half \ud83d"]), "lone surrogate"),
]


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_wrong_text(iw: Inworld, text: str, words: str) -> None:
    """A wrong text, or a wrong piece of a text, raises an error that shows the value."""
    with pytest.raises(ConfigError, match=words):
        iw.tts.synthesize(text)


def test_wrong_text_is_refused_by_the_call(iw: Inworld) -> None:
    """stream() checks the text when it is called, not at the first step of the iteration."""
    for text in ("", b"bytes", None):
        with pytest.raises(ConfigError):
            iw.tts.stream(text)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="sample_rate_hz must be one of 8000, 16000"):
        iw.tts.stream("Hi.", audio=AudioConfig("PCM", 5))


def test_settings(iw: Inworld) -> None:
    """Settings may be a config, keyword arguments, or both."""
    config = ContextConfig(voice="Dennis", audio=AudioConfig("LINEAR16", 24000))

    assert "Dennis" == iw.tts.stream("Hi.", config=config).config.voice
    assert "Ashley" == iw.tts.stream("Hi.", config=config, voice="Ashley").config.voice
    assert iw.tts.stream("Hi.").config.auto_mode
    assert spelled(iw.tts.synthesize("Hi.", config=config).data) == "Hi."


def test_one_after_the_other(iw: Inworld) -> None:
    """Words, times and counts of an utterance do not include those of the previous utterance."""
    iw.tts.synthesize("Before. It. All.")
    speech = iw.tts.synthesize("One two. Three.")

    assert ["One", "two.", "Three."] == [word.text for word in speech.words]
    assert 15 - 1 <= speech.usage.characters <= 15
    assert speech.words[-1].end_ms == pytest.approx(speech.duration_ms, abs=1)


# Slow text.


def test_audio_does_not_wait_for_text() -> None:
    """Audio is yielded before the user's iterator has yielded the rest of the text."""
    go_on = threading.Event()

    def tokens() -> Iterator[str]:
        yield "First. "
        assert go_on.wait(30)
        yield "Second."

    def eager(service: Service) -> None:
        context_id = service.until("send_text")
        service.audio(context_id, samples_of("1"))
        service.until("send_text")
        service.until("close_context")
        service.audio(context_id, samples_of("2"))
        service.closed(context_id)
        service.until_left()

    with scripted(eager) as iw:
        stream = iw.tts.stream(tokens())
        first = next(stream)
        go_on.set()

        assert "12" == told([first, *stream])


def test_text_that_pauses_longer_than_the_timeout() -> None:
    """While the user's iterator waits, the timeout does not run."""

    def tokens() -> Iterator[str]:
        for token in ("One ", "two"):
            time.sleep(2.1)
            yield token

    with scripted(obedient) as iw:
        assert "One two" == told(iw.tts.stream(tokens(), timeout=2))


def test_the_service_has_its_time_after_the_text() -> None:
    """
    The timeout counts from the latest text, not from the latest audio.

    Otherwise text that is sent shortly before the timeout would cause an error at once.
    """

    def tokens() -> Iterator[str]:
        yield "One "
        time.sleep(1.5)
        yield "two"

    def slow(service: Service) -> None:
        context_id = service.until("close_context")
        time.sleep(1)
        service.speak(context_id, samples_of("x"))
        service.until_left()

    with scripted(slow) as iw:
        assert "x" == told(iw.tts.stream(tokens(), timeout=2))


def test_a_service_that_falls_silent() -> None:
    """If the service sends nothing after the text, an error is raised after the timeout."""

    def silent(service: Service) -> None:
        context_id = service.until("close_context")
        service.audio(context_id, samples_of("some"))
        service.until_left()

    with scripted(silent) as iw, pytest.raises(DeadlineExceeded) as caught:
        iw.tts.synthesize("Hi.", timeout=2)

    assert isinstance(caught.value.partial, Speech)
    assert "some" == text_of(caught.value.partial.data)


def test_the_iterator_keeps_its_context(iw: Inworld) -> None:
    """The user's iterator runs with the context variables of the caller."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("seven")

    def tokens() -> Iterator[str]:
        yield f"{variable.get()}."

    assert "seven." == spelled(iw.tts.synthesize(tokens()).data)


class Mine(Exception):
    pass


@pytest.mark.parametrize("error", [Mine("gone"), KeyboardInterrupt(), InworldError("mine too")])
def test_an_iterator_that_raises(iw: Inworld, error: BaseException) -> None:
    """An exception of the user's iterator is raised by the iteration of the audio."""

    def tokens() -> Iterator[str]:
        yield "Some text. "
        raise error

    with pytest.raises(type(error)) as caught:
        iw.tts.synthesize(tokens())

    assert error is caught.value
    assert "Next." == spelled(iw.tts.synthesize("Next.").data)


def test_text_is_read_as_it_is_spoken() -> None:
    """The text is taken from the iterator while the text is spoken, not all at once."""
    taken = 0

    def tokens() -> Iterator[str]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield "x" * 499 + " "

    counts: list[int] = []

    def script(service: Service) -> None:
        context_id = service.until("send_text")
        while len(service.text_of(context_id)) < 4000:
            service.until("send_text")
        counts.append(taken)
        for _ in range(3):
            service.audio(context_id, b"\1\0", usage={"processedCharactersCount": 4000})
            seen = len(service.text_of(context_id))
            while len(service.text_of(context_id)) < seen + 4000:
                service.until("send_text")
            counts.append(taken)
        service.peer.hang_up()

    with scripted(script) as iw, pytest.raises(ConnectionLost):
        iw.tts.synthesize(tokens())

    assert all(8 * n <= count <= 8 * n + 3 for n, count in enumerate(counts, 1))


@pytest.mark.parametrize("counted", [None, 1])
def test_a_service_that_counts_less(counted: int | None) -> None:
    """
    A long text is spoken whole, although the service does not count all characters.

    Otherwise each uncounted character would reduce the amount of text that may be sent ahead, until
    nothing is sent any more.
    """
    further = {} if counted is None else {"usage": {"processedCharactersCount": counted}}

    def stingy(service: Service) -> None:
        context_id = None
        while "close_context" not in (request := service.request()):
            context_id = request["contextId"]
            if "send_text" in request:
                service.audio(context_id, b"\1\0", **further)
        service.closed(str(context_id))
        service.until_left()

    text = "A sentence of the text. " * 300
    with scripted(stingy) as iw:
        assert iw.tts.synthesize(text, timeout=30).data


# Leaving the iteration.


def loop_is_left(stream: Iterator[AudioChunk]) -> None:
    for _ in stream:
        break


def is_forgotten(stream: Iterator[AudioChunk]) -> None:
    next(stream)


@pytest.mark.parametrize("leave", [loop_is_left, is_forgotten])
def test_a_stream_that_is_left(leave: Callable[[Iterator[AudioChunk]], None]) -> None:
    """A stream without references closes its context, even without garbage collection."""
    closed = threading.Event()

    def script(service: Service) -> None:
        context_id = service.until("send_text")
        service.audio(context_id, b"\1\0")
        service.until("close_context")
        closed.set()
        service.until_left()

    def endless() -> Iterator[str]:
        yield "Hi."
        closed.wait(30)

    with scripted(script) as iw:
        gc.disable()
        try:
            leave(iw.tts.stream(endless()))
            assert closed.wait(30)
        finally:
            gc.enable()


def test_close_from_another_thread() -> None:
    """close() on another thread ends an iteration that waits, without an error."""
    waiting = threading.Event()

    def silent(service: Service) -> None:
        service.until("close_context")
        waiting.set()
        service.until_left()

    with scripted(silent) as iw:
        stream = iw.tts.stream("Hi.")
        results: list[object] = []
        thread = threading.Thread(target=lambda: results.append(list(stream)))
        thread.start()
        assert waiting.wait(30)
        stream.close()
        stream.close()
        thread.join(30)

    assert [[]] == results
    assert [] == list(stream)


def test_two_threads_iterate() -> None:
    """A second thread that iterates gets an error. The first thread gets all audio."""

    def script(service: Service) -> None:
        context_id = service.until("close_context")
        asked.wait(30)
        service.speak(context_id, samples_of("Hi."))

    asked = threading.Event()
    results: list[str] = []
    with scripted(script) as iw:
        stream = iw.tts.stream("Hi.")
        first = threading.Thread(target=lambda: results.append(told(stream)))
        first.start()
        while not stream._steps:
            threading.Event().wait(0.001)
        with pytest.raises(LocalProtocolError, match="another thread iterates"):
            next(stream)
        asked.set()
        first.join(30)

    assert ["Hi."] == results


def test_close_while_the_iterator_waits(iw: Inworld) -> None:
    """
    close() ends the iteration without an error while text is still being sent.

    The thread that sends the text must not report the closed context as a failure.
    """
    for _ in range(20):
        stream = iw.tts.stream(f"{number} " for number in range(100_000))
        next(stream)
        closer = threading.Thread(target=stream.close)
        closer.start()
        for _ in stream:
            pass
        closer.join(30)


def test_close_before_the_first_step(iw: Inworld) -> None:
    """A stream that was closed before its first step yields nothing and opens no connection."""
    stream = iw.tts.stream("Hi.")
    stream.close()

    assert [] == list(stream)


def test_stream_as_a_context(iw: Inworld) -> None:
    """Leaving the ``with`` block stops the utterance."""
    with iw.tts.stream(LONG) as stream:
        next(stream)

    assert [] == list(stream)


def test_an_error_in_the_loop(iw: Inworld) -> None:
    """An exception in the consumer's loop, such as Ctrl-C, ends the utterance."""
    with pytest.raises(KeyboardInterrupt):
        for _ in iw.tts.stream(LONG):
            raise KeyboardInterrupt

    assert "Next." == spelled(iw.tts.synthesize("Next.").data)


# Failures.


def test_partial_speech() -> None:
    """If an utterance breaks off, ``partial`` of the error has the audio that had arrived."""

    def breaking(service: Service) -> None:
        context_id = service.until("close_context")
        service.audio(context_id, samples_of("some"), usage={"processedCharactersCount": 9})
        service.close(1000)

    with scripted(breaking) as iw, pytest.raises(ConnectionLost, match="1000") as caught:
        iw.tts.synthesize("Something.")
    speech = caught.value.partial

    assert isinstance(speech, Speech)
    assert ("some", 9) == (text_of(speech.data), speech.usage.characters)


def test_partial_speech_of_each() -> None:
    """
    Each utterance on a lost connection gets an error with its own audio.

    With a shared error object, all errors would have the audio of the last utterance.
    """

    def breaking(service: Service) -> None:
        ids = [service.until("close_context") for _ in range(5)]
        for context_id in ids:
            service.audio(context_id, samples_of(service.text_of(context_id)))
        service.close(1011)

    partials: dict[str, object] = {}

    def speak(text: str) -> None:
        with pytest.raises(ConnectionLost) as caught:
            iw.tts.synthesize(text)
        partials[text] = caught.value.partial

    with scripted(breaking) as iw:
        texts = [f"text {number}" for number in range(5)]
        threads = [threading.Thread(target=speak, args=(text,)) for text in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    for text in texts:
        speech = partials[text]
        assert isinstance(speech, Speech)
        assert text == text_of(speech.data)


def test_no_partial_speech_without_audio() -> None:
    """If an utterance fails before any audio, ``partial`` of the error is None."""

    def refusing(service: Service) -> None:
        service.fault(service.until("close_context"), 13, "engine failed")
        service.until_left()

    with scripted(refusing, max_retries=0) as iw:
        with pytest.raises(ServiceError, match="engine failed") as caught:
            iw.tts.synthesize("Hi.")

    assert caught.value.partial is None


def test_an_error_while_text_is_sent() -> None:
    """An error of the service ends an utterance whose text is still being sent."""

    def refusing(service: Service) -> None:
        service.fault(service.until("send_text"), 13, "engine failed")
        service.until_left()

    def tokens() -> Iterator[str]:
        while True:
            yield "more "

    with scripted(refusing, max_retries=0) as iw:
        with pytest.raises(ServiceError, match="engine failed"):
            iw.tts.synthesize(tokens())


def test_a_closed_client(iw: Inworld) -> None:
    """Closing the client ends an unfinished utterance with an error."""
    stream = iw.tts.stream(f"{number} " for number in range(1_000_000))
    next(stream)
    iw.close()
    with pytest.raises(ClosedError):
        list(stream)


def test_usage_grows_with_the_stream() -> None:
    """The usage can be read during the stream."""
    with scripted(obedient) as iw:
        stream = iw.tts.stream("Hi")
        assert 0 == stream.usage.characters
        list(stream)
        assert 0 == stream.usage.characters


def test_linear16_without_its_headers() -> None:
    """The WAV headers in a LINEAR16 stream are removed from the audio."""
    header = (
        b"RIFF"
        + struct.pack("<I", 40)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 24000, 48000, 2, 16)
    )

    def headed(service: Service) -> None:
        context_id = service.until("close_context")
        for text in ("He", "ll", "o"):
            data = samples_of(text)
            service.audio(context_id, header + b"data" + struct.pack("<I", len(data)) + data)
        service.closed(context_id)
        service.until_left()

    with scripted(headed) as iw:
        speech = iw.tts.synthesize("Hello", audio=AudioConfig("LINEAR16"))

    assert "Hello" == text_of(speech.data)


def test_a_wav_for_a_web_response(iw: Inworld) -> None:
    """The blocks of a web response form a WAV file of unknown length."""
    blocks = list(iw.tts.stream_bytes("Hello there."))

    assert (b"RIFF", b"WAVE") == (blocks[0][:4], blocks[0][8:12])
    assert 24000 == struct.unpack_from("<I", blocks[0], 24)[0]
    assert "Hellothere." == spelled(b"".join(blocks)[44:])


@pytest.mark.parametrize(
    ("file_format", "magic"), [("wav", b"RIFF"), ("mp3", b"\xff"), ("opus", b"OggS")]
)
def test_formats_of_a_web_response(
    iw: Inworld, file_format: Literal["wav", "mp3", "opus"], magic: bytes
) -> None:
    """``format`` replaces the encoding of the settings. The sample rate stays the same."""
    audio = AudioConfig("FLAC", 16000)
    data = b"".join(iw.tts.stream_bytes("Hello.", format=file_format, audio=audio))

    assert data.startswith(magic)
    if file_format == "wav":
        assert 16000 == struct.unpack_from("<I", data, 24)[0]


def test_an_unknown_format(iw: Inworld) -> None:
    """The error for an unknown format names the known formats."""
    with pytest.raises(ConfigError, match="format must be wav or mp3 or opus, got 'flac'"):
        iw.tts.stream_bytes("Hello.", format="flac")  # type: ignore[arg-type]


def test_errors_before_the_first_byte(iw: Inworld) -> None:
    """An unknown voice, a wrong key or a failed connection raises an error in the call itself."""
    with pytest.raises(NotFoundError):
        iw.tts.stream_bytes("Hello.", voice="Nobody")
    with (
        Inworld("d3Jvbmc6a2V5", base_url=iw.options.base_url) as wrong_key,
        pytest.raises(AuthError),
    ):
        wrong_key.tts.stream_bytes("Hello.")
    with (
        Inworld("d3Jvbmc6a2V5", base_url="http://127.0.0.1:9", max_retries=0) as offline,
        pytest.raises(ConnectError),
    ):
        offline.tts.stream_bytes("Hello.")


@pytest.mark.parametrize("count", [0, 1])
def test_closing_a_web_response(count: int) -> None:
    """Closing the iterator, as a web server does, stops the synthesis."""
    closed = threading.Event()
    left = threading.Event()

    def script(service: Service) -> None:
        context_id = service.until("send_text")
        service.audio(context_id, b"\1\0")
        service.until("close_context")
        closed.set()
        service.until_left()

    def endless() -> Iterator[str]:
        yield "Hi."
        left.wait(30)

    with scripted(script) as iw:
        blocks = iw.tts.stream_bytes(endless())
        for _ in range(count):
            next(blocks)
        assert isinstance(blocks, Generator)
        gc.disable()
        try:
            blocks.close()
            assert closed.wait(30)
        finally:
            gc.enable()
            left.set()
