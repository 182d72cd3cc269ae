"""Speech plays by itself, tells its words when they sound, and stops at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inworld_sync import AudioEncoding, ConnectionLost, NullSpeaker, Playback, WavSink
from inworld_sync.errors import ClosedError, DeadlineExceeded
from inworld_sync.models.tts import Phoneme, WordTime
from inworld_sync.sessions.tts.speech import AudioChunk

from support.sound_card import PATIENCE_S, until
from support.wav_files import read_wav

RATE_HZ = 8000
MS = RATE_HZ // 1000 * 2  # bytes


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
    """A stream that the test feeds."""

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
    """A stream that goes on until it is closed."""

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
    """It is over when all of it was heard, and the stream is closed then."""
    speech = Speech(chunk(100), chunk(50))
    playback = Playback(speech, speaker)
    playback.wait(PATIENCE_S)

    assert playback.done
    assert playback.heard_ms == 150
    assert speech.closed.is_set()


def test_tells_words_when_they_sound(speaker: NullSpeaker) -> None:
    """Each word is told in order, and not before its first sample was heard."""
    told: list[tuple[str, bool]] = []

    def tell(word: WordTime) -> None:
        told.append((word.text, speaker.heard_samples > word.start_ms * RATE_HZ / 1000))

    playback = Playback(Speech(chunk(100, WORDS[:2]), chunk(60, WORDS[2:])), speaker, tell)
    playback.wait(PATIENCE_S)

    assert [("one", True), ("two", True), ("three", True)] == told
    assert WORDS == playback.heard_words


def test_tells_phones_when_they_sound(speaker: NullSpeaker) -> None:
    """The mouth's shapes come as the words do."""
    phonemes = (Phoneme("W", "wq", 0, 20, 0), Phoneme("AH", "aa", 20, 40, 0))
    told: list[Phoneme] = []
    playback = Playback(Speech(chunk(50, phonemes=phonemes)), speaker, on_phoneme=told.append)
    playback.wait(PATIENCE_S)

    assert phonemes == tuple(told)
    assert playback.phoneme_at(10) == phonemes[0]
    assert playback.phoneme_at(45) is None


def test_says_which_word_sounds(speaker: NullSpeaker) -> None:
    """A loop can ask at any time; in a gap, before and after there is no word."""
    playback = Playback(Speech(chunk(160, WORDS)), speaker)
    playback.wait(PATIENCE_S)

    assert playback.word_at() is None
    assert WORDS[0] == playback.word_at(39)
    assert playback.word_at(59) is None
    assert WORDS[2] == playback.word_at(100)


def test_words_stand_still_in_a_pause(speaker: NullSpeaker) -> None:
    """Nothing is told while the speaker pauses, and all of it afterwards."""
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


def test_a_slow_handler_holds_up_no_sound(speaker: NullSpeaker) -> None:
    """While a handler works, the sound goes on, and the other words follow later."""
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
    """An error of a handler is logged once and counted, and the speech goes on."""

    def tell(word: WordTime) -> None:
        raise error(word.text)

    playback = Playback(Speech(chunk(160, WORDS)), speaker, tell)
    with caplog.at_level(logging.ERROR, "inworld_sync"):
        playback.wait(PATIENCE_S)

    assert playback.handler_errors == 3
    assert ["one"] == [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert playback.heard_ms == 160


def test_an_interruption_tells_what_was_heard(tmp_path: Path) -> None:
    """What is reported is what the listener's ear got, to the sample."""
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


def test_only_heard_words_are_told(speaker: NullSpeaker) -> None:
    """Words behind an interruption are neither told nor counted as heard."""
    told: list[WordTime] = []
    words = (WordTime("one", 0, 40), WordTime("later", 50_000, 50_100))
    playback = Playback(Speech(chunk(60_000, words)), speaker, told.append)
    until(lambda: told)
    playback.interrupt()

    assert words[:1] == tuple(told) == playback.heard_words


def test_a_handler_may_interrupt(speaker: NullSpeaker) -> None:
    """An interruption may come from the handler that hears a word."""
    made: list[Playback] = []

    def stop(word: WordTime) -> None:
        until(lambda: made)
        made[0].interrupt()

    made.append(Playback(Speech(chunk(60_000, WORDS)), speaker, stop))
    made[0].wait(PATIENCE_S)

    assert 0 < made[0].heard_ms < 60_000


def test_speech_that_fails_is_heard_as_far_as_it_came(speaker: NullSpeaker) -> None:
    """A connection that is lost does not take back what came before, and is an error at the end."""
    playback = Playback(Speech(chunk(120), error=ConnectionLost("gone")), speaker)

    with pytest.raises(ConnectionLost, match="gone"):
        playback.wait(PATIENCE_S)
    assert playback.heard_ms == 120


@pytest.mark.parametrize("error", [KeyError("mine"), SystemExit(3)])
def test_what_the_text_raises(
    speaker: NullSpeaker, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """What a text's own iterator raises reaches whoever waits, of whatever kind it is."""
    playback = Playback(Speech(chunk(20), error=error), speaker)

    with pytest.raises(type(error)) as caught:
        playback.wait(PATIENCE_S)
    assert error is caught.value
    assert "playback failed" in caplog.text


def test_a_closed_speaker_is_an_error(speaker: NullSpeaker) -> None:
    """Whoever closes the speaker in the middle is told that the speech was cut."""
    playback = Playback(EndlessSpeech(), speaker)
    until(lambda: playback.heard_ms > 10)
    speaker.close()

    with pytest.raises(ClosedError):
        playback.wait(PATIENCE_S)


def test_waiting_is_bounded(speaker: NullSpeaker) -> None:
    """Waiting for the end gives up at its deadline, and the speech plays on."""
    playback = Playback(EndlessSpeech(), speaker)
    with pytest.raises(DeadlineExceeded):
        playback.wait(0.01)

    assert not playback.done
    playback.interrupt()


def test_its_own_speaker_is_closed(speaker: NullSpeaker) -> None:
    """A speaker that was opened for one utterance is closed after it."""
    playback = Playback(Speech(chunk(10)), speaker, closes_speaker=True)
    playback.wait(PATIENCE_S)

    with pytest.raises(ClosedError):
        speaker.write(b"")
    assert playback.heard_ms == 10


# ---- one speaker, several playbacks ----------------------------------------------------------


def test_one_after_another(tmp_path: Path) -> None:
    """Utterances that share a speaker are not mixed, and each counts its own time."""
    path = tmp_path / "heard.wav"
    chunks = [chunk(30), chunk(40), chunk(50)]
    with WavSink(path, RATE_HZ, realtime=True) as sink:
        playbacks = [Playback(Speech(each), sink) for each in chunks]
        for playback in playbacks:
            playback.wait(PATIENCE_S)

    assert b"".join(each.data for each in chunks) == read_wav(path).pcm
    assert [30, 40, 50] == [playback.heard_ms for playback in playbacks]


def test_the_next_one_is_ready(speaker: NullSpeaker) -> None:
    """While one plays, the next one has its first sound already."""
    first = Playback(EndlessSpeech(), speaker)
    speech = Speech(chunk(10))
    second = Playback(speech, speaker)
    until(lambda: speech.taken)
    assert second.heard_ms == 0
    first.interrupt()
    second.wait(PATIENCE_S)

    assert second.heard_ms == 10


def test_interrupting_one_spares_the_others(speaker: NullSpeaker) -> None:
    """An utterance that waits can be dropped, and one that is over cuts nobody off."""
    # Until then the first is not over, however slow this thread is.
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


def test_what_was_written_before_is_heard_first(speaker: NullSpeaker) -> None:
    """Sound that the program wrote itself is not counted as speech."""
    speaker.write(chunk(50).data)
    playback = Playback(Speech(chunk(20)), speaker)
    playback.wait(PATIENCE_S)

    assert playback.heard_ms == 20
    assert speaker.heard_samples == 70 * RATE_HZ // 1000


# ---- interruptions at any time ---------------------------------------------------------------

# After how many blocks of 20 ms have been taken; 0 is at once.
EARLY = [0, 1, 2, 5, 6, 9]


@pytest.mark.parametrize("taken", EARLY)
def test_an_interruption_is_final(tmp_path: Path, taken: int) -> None:
    """At whatever moment it comes, nothing is heard after it and nothing is counted twice."""
    path = tmp_path / "heard.wav"
    with WavSink(path, RATE_HZ, realtime=True, buffer_ms=60) as sink:
        speech = EndlessSpeech()
        playback = Playback(speech, sink)
        until(lambda: speech.taken >= taken)
        heard_ms = playback.interrupt()
        sink.drain(timeout=0)

    assert round(heard_ms * MS) == len(read_wav(path).pcm)


def test_what_is_written_late_is_dropped_too() -> None:
    """A chunk that was on its way to the speaker when the interruption came is not heard."""
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


def test_the_last_word_is_told() -> None:
    """A word is told though the speech was over when somebody looked for it."""
    made: list[Playback] = []

    class Stale(NullSpeaker):
        """Tells the thread of the words what was so before the end, after the end."""

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


# What is done to a playback by whom, in any order, without an error or a thread that stays.
ACTIONS: list[Callable[[Playback], object]] = [
    lambda playback: playback.interrupt(),
    lambda playback: playback.wait(PATIENCE_S),
    lambda playback: playback.word_at(),
    lambda playback: playback.heard_words,
]


def test_from_many_threads(speaker: NullSpeaker) -> None:
    """Interrupting, waiting and asking may happen at once."""
    playback = Playback(EndlessSpeech(), speaker, lambda word: None)
    threads = [threading.Thread(target=act, args=(playback,)) for act in ACTIONS * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert not any(thread.is_alive() for thread in threads)
    assert playback.done
