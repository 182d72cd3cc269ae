"""
The turn log emits events. It has the end of the audio that final transcripts cover. Covered audio
is not sent again on another connection.
"""

from __future__ import annotations

import pytest

from inworld_sync import (
    InworldSttConfig,
    SonioxConfig,
    SpeechStarted,
    SpeechStopped,
    SttUsage,
    TranscribeConfig,
    Transcription,
    UnknownEvent,
    Word,
)
from inworld_sync.wire.stt_turns import SttEvent, TurnLog, is_manual

SENT_MS = 10_000.0


def final(text: str, *ends_ms: int, silence_ms: int = 0) -> Transcription:
    """Return a final transcript whose words end at these times. No times means no words."""
    words = tuple(
        Word(word, end - 100, end) for word, end in zip(text.split(), ends_ms, strict=bool(ends_ms))
    )
    return Transcription(text, is_final=True, words=words, silence_ms=silence_ms)


def partial(text: str) -> Transcription:
    return Transcription(text)


def logged(*events: SttEvent, is_manual: bool = False, turn_end_ms: float | None = None) -> TurnLog:
    log = TurnLog(is_manual=is_manual)
    for event in events:
        log.handle(event, SENT_MS, turn_end_ms)
    return log


# (events, covered_ms, free_ms). covered_ms is the end of the covered audio. free_ms is the last
# position at which the audio of another connection may begin. Usually, both positions are the
# middle of the silence after the last word. If this silence is short, covered_ms is at or before
# the end of the word, and free_ms is after the end. If speech has started that has no final
# transcript yet, both positions may be later: covered_ms is half a second before the start of this
# speech, and free_ms is the start.
COVERED: list[tuple[list[SttEvent], float, float]] = [
    ([], 0, 0),
    ([SpeechStarted(1000)], 500, 1000),
    ([SpeechStarted(100)], 0, 0),
    ([SpeechStarted(1000), partial("a")], 500, 1000),
    ([SpeechStarted(1000), final("a b", 1200, 1400)], 1300, 1500),
    ([SpeechStarted(1000), SpeechStopped(300), final("a", 1200)], 1350, 1350),
    ([SpeechStarted(1000), final("a", 1200, silence_ms=200)], 1300, 1300),
    ([SpeechStarted(1000), final("a", 1200, silence_ms=100)], 1200, 1300),
    ([final("a", 1200), SpeechStarted(5000)], 4500, 5000),
    ([final("a", 1200), SpeechStarted(1500)], 1100, 1300),
    ([SpeechStarted(1000), SpeechStarted(5000)], 500, 1000),
    ([SpeechStarted(1000), partial("a"), SpeechStarted(5000)], 500, 1000),
    ([final("a")], 0, 0),
    ([SpeechStarted(1000), final("")], 500, 1000),
    ([SpeechStarted(1000), final(""), SpeechStarted(3000)], 2500, 3000),
    ([SpeechStarted(30_000)], 0, 0),
    ([final("a", 30_000)], 0, 0),
    ([SpeechStarted(5000), final("a", 700)], 4500, 5000),
    ([final("a", 2000), final("b", 1500)], 1900, 2100),
]


@pytest.mark.parametrize(("events", "covered_ms", "free_ms"), COVERED)
def test_covered(events: list[SttEvent], covered_ms: float, free_ms: float) -> None:
    """After the events of a row, the log has both positions of the row."""
    log = logged(*events)

    assert (covered_ms, free_ms) == (log.covered_ms, log.free_ms)


def test_only_sent_audio_is_covered() -> None:
    """The silence after the last word is covered only if this silence was sent."""
    log = TurnLog(is_manual=False)
    log.handle(SpeechStopped(2000), 1300)
    log.handle(final("a", 1200), 1300)

    assert 1300 == log.covered_ms


def test_manual_turns() -> None:
    """
    With manual turns, a final transcript without times covers the audio up to the end of its turn.
    """
    assert 700 == logged(final("a"), is_manual=True, turn_end_ms=700).covered_ms
    assert 0 == logged(final("a"), is_manual=False, turn_end_ms=700).covered_ms


# (settings, whether only the user ends turns)
MANUAL = [
    (TranscribeConfig(), False),
    (TranscribeConfig(inworld=InworldSttConfig(vad_threshold=0.5)), False),
    (TranscribeConfig(inworld=InworldSttConfig(vad_threshold=0.0)), True),
    (TranscribeConfig(model="soniox/stt-rt-v4", soniox=SonioxConfig()), False),
    (
        TranscribeConfig(
            model="soniox/stt-rt-v4", soniox=SonioxConfig(enable_endpoint_detection=False)
        ),
        True,
    ),
]


@pytest.mark.parametrize(("config", "expected"), MANUAL)
def test_is_manual(config: TranscribeConfig, expected: bool) -> None:
    """If the threshold is 0, or endpoint detection is off, only the user ends turns."""
    assert expected is is_manual(config)


def test_speech_events_are_paired() -> None:
    """Every start of speech is followed by a stop, at the latest before the final transcript."""
    log = TurnLog(is_manual=False)
    emitted = [
        event
        for each in (SpeechStarted(1), final("a"), SpeechStarted(2), SpeechStarted(3), final(""))
        for event in log.handle(each, SENT_MS)
    ]

    kinds = [type(event) for event in emitted]
    assert [SpeechStarted, SpeechStopped, Transcription] * 2 == kinds
    assert not log.is_speaking


def test_partials_are_passed_on() -> None:
    """A partial transcript is emitted unchanged, even if earlier words are corrected."""
    log = TurnLog(is_manual=False)

    assert [partial("a")] == log.handle(partial("a"), SENT_MS)
    assert [partial("b c")] == log.handle(partial("b c"), SENT_MS)
    assert [partial("")] == log.handle(partial(""), SENT_MS)


def test_clock_after_a_restart() -> None:
    """The times of a later connection are converted to times of the stream."""
    log = TurnLog(is_manual=False)
    log.restart(4000)

    assert [SpeechStarted(4500)] == log.handle(SpeechStarted(500), SENT_MS)
    log.handle(final("a", 900), SENT_MS)
    [turn] = log.transcript.turns
    assert (4800, 4900) == (turn.start_ms, turn.end_ms)
    assert 4800 == log.covered_ms


def test_start_is_emitted_once() -> None:
    """A start of speech that was emitted before a restart is not emitted again."""
    log = logged(SpeechStarted(1000), partial("a"))
    log.restart(500)

    assert [] == log.handle(SpeechStarted(500), SENT_MS)
    assert log.is_speaking


def test_untimed_repetition() -> None:
    """Without times, words that are repeated after a restart are emitted once."""
    log = logged(SpeechStarted(1000), final("One, two three."), final("Four five."))
    log.restart(500)

    assert [] == log.handle(partial("One, two"), SENT_MS)
    assert [] == log.handle(final("one two three"), SENT_MS)
    assert [partial("six")] == log.handle(partial("four five six"), SENT_MS)
    log.handle(final("Four, five. Six seven."), SENT_MS)
    log.handle(final("Four more."), SENT_MS)
    assert "One, two three. Four five. Six seven. Four more." == log.transcript.text


def test_timed_repetition_is_not_guessed() -> None:
    """With times, the same words at later times are another turn."""
    log = logged(final("no", 1000))
    log.restart(1000)
    log.handle(final("no", 500), SENT_MS)

    assert "no no" == log.transcript.text


def test_repeated_final() -> None:
    """Two final transcripts are one turn only if they have the same words at the same times."""
    log = logged(final("no", 1000))

    assert [] == log.handle(final("no", 1000), SENT_MS)
    assert "no" == log.transcript.text
    log.handle(final("no", 2000), SENT_MS)
    log.handle(final("no"), SENT_MS)
    log.handle(final("no"), SENT_MS)
    assert "no no no no" == log.transcript.text


def test_usage_and_unknown_events_are_emitted() -> None:
    """The usage and unknown events are emitted. The usage is also kept."""
    usage, unknown = SttUsage(50, "m"), UnknownEvent("sentiment", {})
    log = TurnLog(is_manual=False)

    assert [usage] == log.handle(usage, SENT_MS)
    assert [unknown] == log.handle(unknown, SENT_MS)
    assert usage is log.transcript.usage


def test_blank_finals_are_no_turns() -> None:
    """A final transcript without text is not a turn."""
    assert () == logged(final(""), final(" ")).transcript.turns


def test_turn_without_words() -> None:
    """A turn whose words have no times ends where the silence at the end of the audio begins."""
    events = [SpeechStarted(1500), SpeechStopped(400), final("a")]
    [turn] = logged(*events).transcript.turns

    assert (1500, 9600) == (turn.start_ms, turn.end_ms)


def test_turns_without_words() -> None:
    """A turn whose words have no times ends at the latest at the start of the next turn."""
    events = [SpeechStarted(1500), final("a"), SpeechStarted(4000), final("b")]
    turns = logged(*events).transcript.turns

    assert [(1500, 4000), (4000, 10_000)] == [(turn.start_ms, turn.end_ms) for turn in turns]


def test_turn_without_words_or_start() -> None:
    """If there was no start of speech, a turn whose words have no times has no times either."""
    [turn] = logged(final("a")).transcript.turns

    assert (None, None) == (turn.start_ms, turn.end_ms)
