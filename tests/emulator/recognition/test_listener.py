"""The listener makes the events of a stream from a scripted detector and recognizer."""

from __future__ import annotations

import threading
import tracemalloc

import pytest
from hypothesis import given, settings, strategies as st

from inworld_sync.emulator.recognition.events import (
    FinalTranscript,
    PartialTranscript,
    SpeechStarted,
    SpeechStopped,
)
from inworld_sync.emulator.recognition.listener import Listener
from inworld_sync.emulator.recognition.protocols import BYTES_PER_MS, HeardWord
from inworld_sync.emulator.recognition.turns import TurnSettings
from inworld_sync.errors import ClosedError

from support.scripted_recognizer import ScriptedAligner, ScriptedRecognizer, engine_for, sound

CHUNK_BYTES = 100 * BYTES_PER_MS


def listen(pcm, *texts, chunk_bytes=CHUNK_BYTES, **turns):
    """Return all events of a stream, and the recognizer."""
    recognizer = ScriptedRecognizer(*texts)
    listener = Listener(engine_for(recognizer), TurnSettings(**turns))
    events = [
        event
        for at in range(0, len(pcm), chunk_bytes)
        for event in listener.feed(pcm[at : at + chunk_bytes])
    ]
    return [*events, *listener.finish()], recognizer


def finals(events):
    return [event for event in events if isinstance(event, FinalTranscript)]


def partials(events):
    return [event.text for event in events if isinstance(event, PartialTranscript)]


def without_partials(events):
    return [event for event in events if not isinstance(event, PartialTranscript)]


def test_one_turn():
    """A turn starts and stops with the speech. Then the transcript of the turn follows."""
    pcm = sound(10, 0.0) + sound(20, 1.0, word=1) + sound(20, 0.0)

    events, _ = listen(pcm, "Yes.")

    assert [
        SpeechStarted(320, 1.0),
        SpeechStopped(960, 320),
        FinalTranscript("Yes.", (HeardWord("Yes.", 0.5, 320, 352),), 320, 960),
    ] == without_partials(events)


def test_times_are_of_the_stream():
    """The words of a later turn have times that count from the start of the stream."""
    turn = sound(20, 1.0, word=1) + sound(40, 0.0)

    events, _ = listen(sound(1000, 0.0) + turn + turn, "Yes.")

    starts = [32_000, 32_000 + 60 * 32]
    assert starts == [final.words[0].start_ms for final in finals(events)]
    assert starts == [final.start_ms for final in finals(events)]


def test_a_click_is_no_speech():
    """One loud window alone starts no turn."""
    events, recognizer = listen(sound(10, 0.0) + sound(1, 1.0, word=1) + sound(30, 0.0), "Yes.")

    assert [] == events
    assert [] == recognizer.heard


# (text so far, windows of silence that end the turn). A window lasts 32 ms. A complete text needs
# 300 ms of silence, and an incomplete text needs 1000 ms.
SILENCES = [("Yes.", 10), ("Is it?", 10), ("I", 10), ("Yes, and", 32), ("I think,", 32)]


@pytest.mark.parametrize(("text", "windows"), SILENCES)
def test_silence_that_ends_a_turn(text, windows):
    """
    A turn that seems complete ends after the short silence. Other turns need the long silence.
    """
    speech = sound(20, 1.0, word=1)
    recognizer = ScriptedRecognizer(text)
    listener = Listener(engine_for(recognizer))

    before = listener.feed(speech + sound(windows - 1, 0.0))
    after = listener.feed(sound(1, 0.0))

    assert [] == finals(before)
    assert [text] == [final.text for final in finals(after)]


def test_speech_continues_after_a_pause():
    """A turn with a pause has one start, one stop, and one final transcript with all words."""
    pcm = sound(20, 1.0, word=1) + sound(25, 0.0) + sound(20, 1.0, word=2) + sound(40, 0.0)

    events, _ = listen(pcm, "Tea and", "milk.")

    kinds = [type(event) for event in without_partials(events)]
    assert [SpeechStarted, SpeechStopped, FinalTranscript] == kinds
    assert ["Tea and milk."] == [final.text for final in finals(events)]


def test_doubt_keeps_speech_going():
    """Speech continues while the probability of speech is only slightly below the threshold."""
    pcm = sound(5, 0.8, word=1) + sound(60, 0.4, word=1) + sound(12, 0.3)

    events, _ = listen(pcm, "Yes.")

    assert [65 * 32] == [final.end_ms for final in finals(events)]


def test_nothing_understood():
    """If noise is detected as speech, the turn still ends, with an empty final transcript."""
    events, _ = listen(sound(20, 1.0) + sound(20, 0.0))

    kinds = [type(event) for event in events]
    assert [SpeechStarted, SpeechStopped, FinalTranscript] == kinds
    assert "" == events[-1].text


def test_partials_grow():
    """Each partial transcript has all words of the turn so far, not only the new words."""
    words = [sound(20, 1.0, word=number) for number in (1, 2, 3)]

    events, _ = listen(b"".join(words) + sound(40, 0.0), "One", "two", "three.")

    told = partials(events)
    assert {"One", "One two", "One two three."} >= set(told)
    assert told == sorted(set(told), key=len)
    assert 2 <= len(told)


def test_partials_hold_earlier_segments():
    """A partial transcript after a pause begins with the words before the pause."""
    pcm = sound(20, 1.0, word=1) + sound(25, 0.0) + sound(30, 1.0, word=2)

    events, _ = listen(pcm, "Tea and", "milk.")

    assert "Tea and milk." == partials(events)[-1]


def test_interval_of_partials_grows():
    """
    The interval between partial transcripts grows with the length of the segment. So the recognizer
    processes less than six times the audio of the stream.
    """
    pcm = sound(300, 1.0, word=1)

    _, recognizer = listen(pcm, "Yes.")

    assert 6 * len(pcm) > sum(len(piece) for piece in recognizer.heard)


def test_no_partials_on_request():
    """With an interval of 0, there are only final transcripts."""
    events, _ = listen(sound(60, 1.0, word=1) + sound(20, 0.0), "Yes.", partial_interval_ms=0)

    assert [] == partials(events)


def test_partials_are_skipped_while_the_engine_is_busy():
    """A partial transcript is skipped while the engine is used by another stream."""
    recognizer = ScriptedRecognizer("Yes.")
    engine = engine_for(recognizer)
    listener = Listener(engine)
    recognizer.may_answer.clear()
    other = threading.Thread(target=engine.recognize, args=(b"",))
    other.start()
    try:
        assert recognizer.asked.wait(30)
        events = listener.feed(sound(30, 1.0, word=1))
    finally:
        recognizer.may_answer.set()
        other.join(30)

    assert [SpeechStarted(0, 1.0)] == events
    assert ["Yes."] == partials(listener.feed(sound(1, 1.0, word=1)))


def test_partials_end_with_a_word():
    """A partial transcript omits an unfinished word, which would be recognized wrongly."""
    pcm = sound(20, 1.0, word=1) + sound(1, 0.4) + sound(6, 1.0, word=2)

    events, _ = listen(pcm, "Yes", "you", chunk_bytes=len(pcm))

    assert ["Yes"] == partials(events)


def test_manual_turns():
    """With a threshold of 0, only the caller ends a turn, and there are no speech events."""
    recognizer = ScriptedRecognizer("Yes.", "No.")
    listener = Listener(engine_for(recognizer), TurnSettings(vad_threshold=0))

    fed = listener.feed(sound(20, 1.0, word=1) + sound(100, 0.0) + sound(20, 1.0, word=2))
    ended = listener.end_turn()

    assert [] == without_partials(fed)
    assert ["Yes. No."] == [event.text for event in ended]


def test_manual_turn_without_speech():
    """A manual turn always ends with a final transcript, which is empty if there are no words."""
    listener = Listener(engine_for(ScriptedRecognizer()), TurnSettings(vad_threshold=0))

    listener.feed(sound(20, 0.0))

    assert [FinalTranscript("", (), 640, 640)] == listener.end_turn()


def test_end_turn_without_a_turn():
    """Without an open turn, end_turn returns nothing."""
    listener = Listener(engine_for(ScriptedRecognizer()))

    listener.feed(sound(20, 0.0))

    assert [] == listener.end_turn()


def test_end_turn_while_speaking():
    """If a turn is ended during speech, its silence is 0 ms, and all words so far are final."""
    recognizer = ScriptedRecognizer("Yes.")
    listener = Listener(engine_for(recognizer))

    listener.feed(sound(20, 1.0, word=1) + sound(1, 1.0, word=1)[:100])
    events = listener.end_turn()

    assert [SpeechStopped(643, 0), "Yes."] == [events[0], events[1].text]
    assert 20 * 32 * BYTES_PER_MS + 100 == len(recognizer.heard[-1])


def test_recognized_audio():
    """The recognizer gets the speech with 200 ms of audio before it and 150 ms after it."""
    silent, spoken = sound(20, 0.0), sound(20, 1.0, word=1)

    _, recognizer = listen(
        (silent + spoken) * 2 + silent, "Yes, and", partial_interval_ms=0, max_silence_ms=5000
    )

    expected = silent[-200 * BYTES_PER_MS :] + spoken + silent[: 150 * BYTES_PER_MS]
    assert {expected} == set(recognizer.heard)


def test_long_manual_turns_are_cut():
    """A manual turn with many pauses ends before 30 s, at one of the pauses."""
    listener = Listener(engine_for(ScriptedRecognizer("Yes.")), TurnSettings(vad_threshold=0))
    pcm = sound(150, 1.0, word=1) + sound(30, 0.0)

    told = finals([event for _ in range(20) for event in listener.feed(pcm)])

    assert 3 <= len(told)
    assert all(final.end_ms - final.start_ms <= 30_000 for final in told)


@pytest.mark.parametrize("threshold", [0, 0.5])
def test_long_turns_are_cut(threshold):
    """Speech without pauses is divided into turns of at most 30 s, and no audio is lost."""
    listener = Listener(
        engine_for(ScriptedRecognizer("Yes.")), TurnSettings(vad_threshold=threshold)
    )
    events = [event for _ in range(200) for event in listener.feed(sound(20, 1.0, word=1))]
    events += listener.finish()

    told = finals(events)
    assert all(final.end_ms - final.start_ms <= 30_000 for final in told)
    assert [0, *(final.end_ms for final in told)] == [
        *(final.start_ms for final in told),
        200 * 20 * 32,
    ]


def test_segments_are_bounded():
    """No segment is longer than 10 s, and each sample is in exactly one final segment."""
    pcm = b"".join(sound(10, 1.0, word=1 + number % 90) for number in range(100))

    _, recognizer = listen(pcm, *["Yes."] * 90, partial_interval_ms=0, chunk_bytes=len(pcm))

    assert 10_000 * BYTES_PER_MS + 1024 >= max(len(piece) for piece in recognizer.heard)
    assert pcm == b"".join(recognizer.heard)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=30))
def test_chunks_do_not_matter(sizes):
    """The same audio gives the same turns, even if chunks are cut inside samples."""
    pcm = sound(7, 0.0) + sound(20, 1.0, word=1) + sound(25, 0.0) + sound(9, 0.9, word=2)
    pcm += sound(40, 0.0) + sound(30, 0.7, word=3) + sound(15, 0.0)
    listener = Listener(engine_for(ScriptedRecognizer("Tea and", "milk.", "Please.")))
    whole = Listener(engine_for(ScriptedRecognizer("Tea and", "milk.", "Please.")))

    events, at = [], 0
    while at < len(pcm):
        size = sizes[len(events) % len(sizes)]
        events += listener.feed(pcm[at : at + size])
        at += size
    events += listener.finish()

    expected = without_partials([*whole.feed(pcm), *whole.finish()])
    assert expected == without_partials(events)


def test_settings_may_change():
    """New settings apply from the next audio on."""
    recognizer = ScriptedRecognizer("Yes.")
    listener = Listener(engine_for(recognizer), TurnSettings(vad_threshold=0))

    listener.feed(sound(20, 1.0, word=1) + sound(9, 0.0))
    listener.settings = TurnSettings()

    assert ["Yes."] == [final.text for final in finals(listener.feed(sound(2, 0.0)))]


def test_usage():
    """The usage is the duration of all turns, with the silence at each end, in steps of 50 ms."""
    listener = Listener(engine_for(ScriptedRecognizer("Yes.")))

    listener.feed(sound(100, 0.0) + sound(20, 1.0, word=1) + sound(100, 0.0))

    assert 1000 == listener.transcribed_ms  # 640 ms of speech, 320 ms of silence
    assert 220 * 32 == listener.heard_ms


@pytest.mark.parametrize("word_times", [True, False])
def test_word_times(word_times):
    """Words without times are aligned, once for each turn, if times are requested."""
    recognizer, aligner = ScriptedRecognizer("Yes."), ScriptedAligner(((40, 90),))
    recognizer.gives_times = False
    listener = Listener(engine_for(recognizer, aligner), TurnSettings(word_times=word_times))

    listener.feed(sound(100, 0.0))
    events = listener.feed(sound(50, 1.0, word=1) + sound(20, 0.0))

    # The segment begins 200 ms before the speech.
    span = (3040, 3090) if word_times else (None, None)
    assert [(*span, "Yes.")] == [
        (word.start_ms, word.end_ms, word.text) for word in finals(events)[0].words
    ]
    assert int(word_times) == aligner.asked


def test_finished():
    """After ``finish``, no audio can be fed, and a second ``finish`` does nothing."""
    listener = Listener(engine_for(ScriptedRecognizer("Yes.")))
    listener.feed(sound(20, 1.0, word=1))

    assert 2 == len(listener.finish())
    assert [] == listener.finish()
    with pytest.raises(ClosedError):
        listener.feed(b"")


def test_memory_of_silence():
    """The memory does not grow during an hour of silence."""
    listener = Listener(engine_for(ScriptedRecognizer()))
    minute = sound(60 * 1000 // 32, 0.0)
    listener.feed(minute)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(60):
            listener.feed(minute)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 50_000 > after - before
