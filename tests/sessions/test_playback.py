"""A playback reports each word when the word is heard, and can be interrupted at any time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from inworld_sync import AudioEncoding, ConnectionLost, Inworld, NullSpeaker, Playback, WavSink
from inworld_sync.emulator import Emulator
from inworld_sync.errors import ClosedError, DeadlineExceeded, LocalProtocolError
from inworld_sync.models.tts import Phoneme, WordTime
from inworld_sync.sessions.tts.speech import AudioChunk

from support.sound_card import PATIENCE_S, until
from support.wav_files import read_wav

RATE_HZ = 8000
MS = RATE_HZ // 1000 * 2  # bytes in one millisecond


def chunk(
    milliseconds: int, words: tuple[WordTime, ...] = (), phonemes: tuple[Phoneme, ...] = ()
) -> AudioChunk:
    return AudioChunk(
        "context",
        bytes(range(1, 101)) * (milliseconds * MS // 100) + bytes(milliseconds * MS % 100),
        AudioEncoding.PCM,
        RATE_HZ,
        words=words,
        phonemes=phonemes,
    )


class Speech:
    """A stream that yields the given chunks, and then raises the error if one is given."""

    def __init__(self, *chunks: AudioChunk, error: BaseException | None = None) -> None:
        self.chunks = list(chunks)
        self.error = error
        self.taken = 0
        self.more = threading.Event()
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[AudioChunk]:
        for each in self.chunks:
            self.taken += 1
            yield each
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed.set()


class EndlessSpeech(Speech):
    """A stream that continues until it is closed."""

    def __iter__(self) -> Iterator[AudioChunk]:
        while not self.closed.is_set():
            self.taken += 1
            yield chunk(20)


@pytest.fixture
def speaker() -> Iterator[NullSpeaker]:
    with NullSpeaker(RATE_HZ, buffer_ms=100) as speaker:
        yield speaker


WORDS = (WordTime("one", 0, 40), WordTime("two", 60, 90), WordTime("three", 100, 150))


def test_plays_to_the_end(speaker: NullSpeaker) -> None:
    """The playback is done when all audio was heard. Then the stream is closed."""
    speech = Speech(chunk(100), chunk(50))
    playback = Playback(speech, speaker)
    playback.wait(PATIENCE_S)

    assert playback.done
    assert playback.heard_ms == 150
    assert speech.closed.is_set()


def test_words_are_reported_when_they_are_heard(speaker: NullSpeaker) -> None:
    """Each word is reported in order, and not before its first sample was heard."""
    told: list[tuple[str, bool]] = []

    def tell(word: WordTime) -> None:
        told.append((word.text, speaker.heard_samples > word.start_ms * RATE_HZ / 1000))

    playback = Playback(Speech(chunk(100, WORDS[:2]), chunk(60, WORDS[2:])), speaker, tell)
    playback.wait(PATIENCE_S)

    assert [("one", True), ("two", True), ("three", True)] == told
    assert WORDS == playback.heard_words


def test_heard_text(speaker: NullSpeaker) -> None:
    """The heard text ends with the last heard word and the punctuation after this word."""
    first = attrs.evolve(
        chunk(50, (WordTime("One", 0, 20), WordTime("two", 25, 40))), tokens=("One", " ", "two")
    )
    second = attrs.evolve(chunk(20), tokens=(",", " "))
    third = attrs.evolve(chunk(20, (WordTime("three.", 50_000, 50_001),)), tokens=("three", "."))
    playback = Playback(Speech(first, second, third), speaker)
    playback.wait(PATIENCE_S)

    assert "One two," == playback.heard_text


def test_heard_text_without_tokens(speaker: NullSpeaker) -> None:
    """Without tokens, the script of the words decides whether spaces separate the words."""
    words = tuple(WordTime(text, at, at + 5) for at, text in enumerate("我们去"))
    playback = Playback(Speech(chunk(50, words)), speaker)
    playback.wait(PATIENCE_S)

    assert "我们去" == playback.heard_text


def test_phonemes_are_reported_when_they_are_heard(speaker: NullSpeaker) -> None:
    """Each phoneme is reported with its viseme when the phoneme is heard."""
    phonemes = (Phoneme("W", "wq", 0, 20, 0), Phoneme("AH", "aa", 20, 40, 0))
    told: list[Phoneme] = []
    playback = Playback(Speech(chunk(50, phonemes=phonemes)), speaker, on_phoneme=told.append)
    playback.wait(PATIENCE_S)

    assert phonemes == tuple(told)
    assert playback.phoneme_at(10) == phonemes[0]
    assert playback.phoneme_at(45) is None


def test_the_current_word(speaker: NullSpeaker) -> None:
    """word_at() returns the current word, or None in a gap and outside the words."""
    playback = Playback(Speech(chunk(160, WORDS)), speaker)
    playback.wait(PATIENCE_S)

    assert playback.word_at() is None
    assert WORDS[0] == playback.word_at(39)
    assert playback.word_at(59) is None
    assert WORDS[2] == playback.word_at(100)


def test_no_words_in_a_pause(speaker: NullSpeaker) -> None:
    """No word is reported while the speaker pauses. The remaining words follow afterwards."""
    told: list[WordTime] = []
    speaker.pause()
    playback = Playback(Speech(chunk(160, WORDS)), speaker, told.append)
    until(lambda: playback.word_at(0))
    with pytest.raises(DeadlineExceeded):
        playback.wait(0.3)

    assert told == []
    speaker.resume()
    playback.wait(PATIENCE_S)
    assert WORDS == tuple(told)


def test_a_slow_handler_does_not_delay_audio(speaker: NullSpeaker) -> None:
    """While a handler runs, the audio continues. The other words are reported later."""
    go_on = threading.Event()
    told: list[WordTime] = []

    def tell(word: WordTime) -> None:
        assert go_on.wait(PATIENCE_S)
        told.append(word)

    playback = Playback(Speech(chunk(160, WORDS)), speaker, tell)
    until(lambda: playback.heard_ms == 160)
    assert not playback.done
    go_on.set()
    playback.wait(PATIENCE_S)

    assert WORDS == tuple(told)


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_raising_handler_stops_nothing(
    speaker: NullSpeaker, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    """A handler's first exception is logged, each exception is counted, and speech continues."""

    def tell(word: WordTime) -> None:
        raise error(word.text)

    playback = Playback(Speech(chunk(160, WORDS)), speaker, tell)
    with caplog.at_level(logging.ERROR, "inworld_sync"):
        playback.wait(PATIENCE_S)

    assert playback.handler_errors == 3
    assert ["one"] == [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert playback.heard_ms == 160


def test_wait_in_a_handler(speaker: NullSpeaker, caplog: pytest.LogCaptureFixture) -> None:
    """wait() in a handler of the same playback raises an error instead of waiting forever."""
    errors: list[BaseException] = []
    started = threading.Event()

    def wait(_: WordTime) -> None:
        assert started.wait(PATIENCE_S)
        try:
            playback.wait()
        except LocalProtocolError as error:
            errors.append(error)

    playback = Playback(Speech(chunk(160, WORDS)), speaker, wait)
    started.set()
    playback.wait(PATIENCE_S)

    assert 3 == len(errors)
    assert 0 == playback.handler_errors


class Unplugged(NullSpeaker):
    """A speaker whose clear() and close() raise an error."""

    def clear(self) -> int:
        raise OSError("unplugged")

    def close(self) -> None:
        super().close()
        raise OSError("unplugged")


def test_a_speaker_that_cannot_be_cleared() -> None:
    """interrupt() ends the synthesis and the playback, and raises the speaker's error."""
    speech, speaker = EndlessSpeech(), Unplugged(RATE_HZ, buffer_ms=100)
    playback = Playback(speech, speaker, closes_speaker=True)
    until(lambda: playback.heard_ms > 0)
    with pytest.raises(OSError, match="unplugged"):
        playback.interrupt()

    assert playback.done
    assert speech.closed.is_set()
    with pytest.raises(OSError, match="unplugged"):
        playback.wait(PATIENCE_S)


def test_the_logger_of_the_client(
    spelling_server: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """The exception of a handler goes to the logger of the client, not to the default logger."""
    logger = logging.getLogger("the client's")

    def fail(_: WordTime) -> None:
        raise ValueError("no")

    with Inworld(
        api_key=spelling_server.api_key, base_url=spelling_server.url, logger=logger
    ) as iw:
        playback = iw.tts.speak("One.", speaker=NullSpeaker(24000), on_word=fail)
        playback.wait(PATIENCE_S)

    assert 1 == playback.handler_errors
    assert ["the client's"] == [record.name for record in caplog.records if record.exc_info]


def test_an_interruption_returns_the_heard_time(tmp_path: Path) -> None:
    """interrupt() returns exactly the milliseconds that the speaker played."""
    path = tmp_path / "heard.wav"
    with WavSink(path, RATE_HZ, realtime=True) as sink:
        speech = EndlessSpeech()
        playback = Playback(speech, sink)
        until(lambda: playback.heard_ms > 150)
        heard_ms = playback.interrupt()

        assert playback.done
        assert heard_ms == playback.heard_ms
    assert len(read_wav(path).pcm) == round(heard_ms * MS)
    assert speech.closed.is_set()


def test_only_heard_words_are_reported(speaker: NullSpeaker) -> None:
    """Words after an interruption are neither reported nor counted as heard."""
    told: list[WordTime] = []
    words = (WordTime("one", 0, 40), WordTime("later", 50_000, 50_100))
    playback = Playback(Speech(chunk(60_000, words)), speaker, told.append)
    until(lambda: told)
    playback.interrupt()

    assert words[:1] == tuple(told) == playback.heard_words


def test_a_handler_may_interrupt(speaker: NullSpeaker) -> None:
    """A handler may interrupt its playback."""
    made: list[Playback] = []

    def stop(word: WordTime) -> None:
        until(lambda: made)
        made[0].interrupt()

    made.append(Playback(Speech(chunk(60_000, WORDS)), speaker, stop))
    made[0].wait(PATIENCE_S)

    assert 0 < made[0].heard_ms < 60_000


def test_audio_before_a_failure_is_heard(speaker: NullSpeaker) -> None:
    """If the connection is lost, the received audio is played, then wait() raises the error."""
    playback = Playback(Speech(chunk(120), error=ConnectionLost("gone")), speaker)

    with pytest.raises(ConnectionLost, match="gone"):
        playback.wait(PATIENCE_S)
    assert playback.heard_ms == 120


@pytest.mark.parametrize("error", [KeyError("mine"), SystemExit(3)])
def test_an_exception_of_the_text(
    speaker: NullSpeaker, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """wait() raises any exception of the user's iterator of text."""
    playback = Playback(Speech(chunk(20), error=error), speaker)

    with pytest.raises(type(error)) as caught:
        playback.wait(PATIENCE_S)
    assert error is caught.value
    assert "playback failed" in caplog.text


def test_a_closed_speaker_is_an_error(speaker: NullSpeaker) -> None:
    """If the speaker is closed during the playback, wait() raises an error."""
    playback = Playback(EndlessSpeech(), speaker)
    until(lambda: playback.heard_ms > 10)
    speaker.close()

    with pytest.raises(ClosedError):
        playback.wait(PATIENCE_S)


def test_waiting_is_bounded(speaker: NullSpeaker) -> None:
    """wait(timeout) raises an error after the timeout, and the playback continues."""
    playback = Playback(EndlessSpeech(), speaker)
    with pytest.raises(DeadlineExceeded):
        playback.wait(0.01)

    assert not playback.done
    playback.interrupt()


def test_its_own_speaker_is_closed(speaker: NullSpeaker) -> None:
    """A speaker that was opened for one utterance is closed after this utterance."""
    playback = Playback(Speech(chunk(10)), speaker, closes_speaker=True)
    playback.wait(PATIENCE_S)

    with pytest.raises(ClosedError):
        speaker.write(b"")
    assert playback.heard_ms == 10


# ---- one speaker, several playbacks ----------------------------------------------------------


def test_one_after_another(tmp_path: Path) -> None:
    """Playbacks on one speaker play one after another. Each playback counts only its own audio."""
    path = tmp_path / "heard.wav"
    chunks = [chunk(30), chunk(40), chunk(50)]
    with WavSink(path, RATE_HZ, realtime=True) as sink:
        playbacks = [Playback(Speech(each), sink) for each in chunks]
        for playback in playbacks:
            playback.wait(PATIENCE_S)

    assert b"".join(each.data for each in chunks) == read_wav(path).pcm
    assert [30, 40, 50] == [playback.heard_ms for playback in playbacks]


def test_the_next_one_is_ready(speaker: NullSpeaker) -> None:
    """While one playback plays, the next playback already has its first audio."""
    first = Playback(EndlessSpeech(), speaker)
    speech = Speech(chunk(10))
    second = Playback(speech, speaker)
    until(lambda: speech.taken)
    assert second.heard_ms == 0
    first.interrupt()
    second.wait(PATIENCE_S)

    assert second.heard_ms == 10


def test_interrupting_one_spares_the_others(speaker: NullSpeaker) -> None:
    """Interrupting a waiting or a finished playback does not affect other playbacks."""
    # While the speaker is paused, the first playback cannot end, even if this thread is slow.
    speaker.pause()
    first = Playback(Speech(chunk(20)), speaker)
    second = Playback(EndlessSpeech(), speaker)
    third = Playback(Speech(chunk(30)), speaker)
    assert second.interrupt() == 0
    speaker.resume()
    first.wait(PATIENCE_S)
    first.interrupt()
    third.wait(PATIENCE_S)
    third.interrupt()

    assert [20, 0, 30] == [each.heard_ms for each in (first, second, third)]
    assert speaker.heard_samples == 50 * RATE_HZ // 1000


def test_audio_of_the_program_is_not_counted(speaker: NullSpeaker) -> None:
    """Audio that the program wrote to the speaker earlier is played first and is not counted."""
    speaker.write(chunk(50).data)
    playback = Playback(Speech(chunk(20)), speaker)
    playback.wait(PATIENCE_S)

    assert playback.heard_ms == 20
    assert speaker.heard_samples == 70 * RATE_HZ // 1000


# ---- interruptions at any time ---------------------------------------------------------------

# The number of blocks of 20 ms that the speaker takes before the interruption.
EARLY = [0, 1, 2, 5, 6, 9]


@pytest.mark.parametrize("taken", EARLY)
def test_an_interruption_is_final(tmp_path: Path, taken: int) -> None:
    """After an interruption at any moment nothing is heard, and nothing is counted twice."""
    path = tmp_path / "heard.wav"
    with WavSink(path, RATE_HZ, realtime=True, buffer_ms=60) as sink:
        speech = EndlessSpeech()
        playback = Playback(speech, sink)
        until(lambda: speech.taken >= taken)
        heard_ms = playback.interrupt()
        sink.drain(timeout=0)

    assert round(heard_ms * MS) == len(read_wav(path).pcm)


def test_a_late_write_is_dropped() -> None:
    """A chunk that is written to the speaker during the interruption is not heard."""
    writing, go_on, cleared = threading.Event(), threading.Event(), threading.Event()

    class Late(NullSpeaker):
        def write(self, pcm: bytes | bytearray | memoryview, **keywords: float | None) -> None:
            writing.set()
            assert go_on.wait(PATIENCE_S)
            super().write(pcm, **keywords)

        def clear(self) -> int:
            cleared.set()
            return super().clear()

    with Late(RATE_HZ) as speaker:
        playback = Playback(Speech(chunk(1000)), speaker)
        assert writing.wait(PATIENCE_S)
        thread = threading.Thread(target=playback.interrupt)
        thread.start()
        assert cleared.wait(PATIENCE_S)
        go_on.set()
        thread.join(PATIENCE_S)

        speaker.drain(timeout=0)
        assert speaker.heard_samples == round(playback.heard_ms * RATE_HZ / 1000)


def test_the_last_word_is_reported() -> None:
    """The last word is reported even if the playback ends while the words are checked."""
    made: list[Playback] = []

    class Stale(NullSpeaker):
        """Delays the thread that reports words until the playback has ended."""

        @property
        def heard_samples(self) -> int:
            heard = super().heard_samples
            if threading.current_thread().name == "inworld-words" and heard > 0:
                until(lambda: made and made[0]._final_samples is not None)
            return heard

    told: list[WordTime] = []
    with Stale(RATE_HZ) as speaker:
        made.append(Playback(Speech(chunk(160, WORDS)), speaker, told.append))
        made[0].wait(PATIENCE_S)

    assert WORDS == tuple(told)


# Methods and attributes that several threads use at the same time.
ACTIONS: list[Callable[[Playback], object]] = [
    lambda playback: playback.interrupt(),
    lambda playback: playback.wait(PATIENCE_S),
    lambda playback: playback.word_at(),
    lambda playback: playback.heard_words,
]


def test_from_many_threads(speaker: NullSpeaker) -> None:
    """Several threads may interrupt, wait and read attributes at the same time."""
    playback = Playback(EndlessSpeech(), speaker, lambda word: None)
    threads = [threading.Thread(target=act, args=(playback,)) for act in ACTIONS * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert not any(thread.is_alive() for thread in threads)
    assert playback.done
