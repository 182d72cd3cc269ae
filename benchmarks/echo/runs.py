"""Simulates an assistant and a user who speak in a room, and measures the remaining echo."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.echo.room import NOISE, START_S, Room, cancel, record
from benchmarks.echo.speech import ASSISTANT, USER, say, word_errors
from inworld_sync.emulator.recognition.engine import SpeechEngine
from inworld_sync.emulator.recognition.events import SpeechStarted
from inworld_sync.emulator.recognition.listener import Listener

__all__ = ["RATE_HZ", "Conversation", "Outcome", "Words", "converse", "double_talk"]

RATE_HZ = 16_000
# The level of the echo at the microphone in 16-bit samples, which is -30 dBFS.
ECHO_LEVEL = 1000.0
# The devices run for this time before the assistant speaks for the first time.
FIRST_S = 4.0
ALONE_S = 9.0
# The assistant is interrupted this long after the user has begun to speak.
REACTION_S = 0.5
PAUSE_S = 2.0
FADE_S = 0.005


class Outcome(NamedTuple):
    """The measurements of one room."""

    removed_db: float  # while only the assistant speaks, without the first second of each speech
    worst_db: float  # the smallest number of removed dB in one speech
    detected_ms: list[float]  # delay until the user's speech is detected; infinity if never
    false: int  # interruptions without speech of the user
    false_before: int  # the same number without echo cancellation
    took: float  # CPU time, as a share of the duration
    skew_ppm: float  # the difference of the clocks that the canceller has estimated

    def faults(self) -> list[str]:
        """Return the goals that were missed."""
        found = []
        if self.worst_db < 35:
            found.append(f"{self.worst_db:.1f} dB of echo removed in a speech, expected 35 or more")
        if max(self.detected_ms) > 500:
            took_ms = max(self.detected_ms)
            found.append(f"an interruption took {took_ms:.0f} ms, expected at most 500 ms")
        if self.false:
            found.append(f"{self.false} false interruptions")
        return found


class _NoWords:
    """A recognizer that recognizes nothing, since only the detection of speech matters."""

    languages = ("en",)

    def recognize(self, _: bytes) -> tuple[()]:
        return ()


class Conversation:
    """
    An assistant that speaks and is interrupted, again and again.

    Attributes:
        recorded: The audio that the microphone records.
        alone: Start and end of each part in which only the assistant speaks, in seconds by the
            clock of the microphone. A part starts 1 s after the start of the speech.
        turns: Start and end of each speech of the user, in seconds by the same clock.
    """

    def __init__(self, room: Room, *, keeps_talking: bool = False) -> None:
        chance = np.random.default_rng(room.seed + 2000)
        rate = room.speaker_hz
        pieces = [np.zeros(int(FIRST_S * rate), np.int16)]
        # The start of each speech of the assistant, and the start of the user's speech in it.
        speeches: list[tuple[int, int]] = []
        self.texts: list[str] = []
        at, index = len(pieces[0]), int(chance.integers(100))
        while at < room.seconds * rate:
            text = USER[len(self.texts) % len(USER)]
            turn_s = len(say(text, 3, RATE_HZ)) / RATE_HZ
            talk_s = ALONE_S + (turn_s + 0.5 if keeps_talking else REACTION_S)
            speech = np.zeros(0, np.int16)
            while len(speech) < talk_s * rate:
                said = say(ASSISTANT[index % len(ASSISTANT)], 0, rate)
                speech = np.concatenate((speech, said, np.zeros(rate // 5, np.int16)))
                index += 1
            speech = speech[: int(talk_s * rate)].copy()
            fade = int(FADE_S * rate)
            speech[-fade:] = (speech[-fade:] * np.linspace(1, 0, fade)).astype(np.int16)
            quiet_s = PAUSE_S if keeps_talking else turn_s - REACTION_S + PAUSE_S
            speeches.append((at, at + int(ALONE_S * rate)))
            self.texts.append(text)
            pieces += [speech, np.zeros(int(quiet_s * rate), np.int16)]
            at += len(pieces[-2]) + len(pieces[-1])
        self.recording = record(room, np.concatenate(pieces))
        self._place(room, speeches, chance)

    def _place(
        self, room: Room, speeches: list[tuple[int, int]], chance: np.random.Generator
    ) -> None:
        recording = self.recording
        echo = recording.echo
        level = np.sqrt((echo[np.abs(echo) > 1] ** 2).mean())
        echo *= np.float32(ECHO_LEVEL / level)
        real_hz = room.microphone_hz * (1.0 + room.microphone_ppm * 1e-6)
        self.alone: list[tuple[float, float]] = []
        self.turns: list[tuple[float, float]] = []
        self._count = len(echo) // 160 * 160
        near = np.zeros(self._count, np.float32)
        for (begin, user), text in zip(speeches, self.texts, strict=True):
            begin_s, user_s = (float(recording.heard_s[each]) - START_S for each in (begin, user))
            said = say(text, 3, room.microphone_hz).astype(np.float32)
            said *= np.float32(ECHO_LEVEL * 10 ** (room.near_db / 20) / _level(said))
            at = int(user_s * real_hz)
            near[at : at + len(said)] = said[: max(len(near) - at, 0)]
            clock = real_hz / room.microphone_hz
            self.alone.append(((begin_s + room.delay_ms / 1000.0 + 1.0) * clock, user_s * clock))
            self.turns.append((user_s * clock, user_s * clock + len(said) / room.microphone_hz))
        noise = chance.normal(0, NOISE, self._count)
        mixed = echo[: self._count] + near + noise
        self.recorded = mixed.round().clip(-32768, 32767).astype(np.int16)


def _level(wave: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt((wave.astype(np.float64) ** 2).mean()))


def converse(room: Room) -> Outcome:
    """Measure a conversation in which the user interrupts the assistant again and again."""
    conversation = Conversation(room)
    begin = time.process_time()
    cleaned, canceller = cancel(room, conversation.recording, conversation.recorded)
    took = (time.process_time() - begin) / (len(cleaned) / RATE_HZ)
    before = after = 0.0
    worst = np.inf
    for start_s, end_s in conversation.alone:
        one = _energy(conversation.recorded, start_s, end_s, room.microphone_hz)
        other = _energy(cleaned, start_s, end_s, RATE_HZ)
        before, after = before + one, after + other
        worst = min(worst, _ratio_db(one, other))
    starts = _starts(cleaned)
    detected = [
        min(((at - begin) * 1000 for at in starts if begin <= at <= end), default=np.inf)
        for begin, end in conversation.turns
    ]
    return Outcome(
        removed_db=_ratio_db(before, after),
        worst_db=float(worst),
        detected_ms=detected,
        false=_false(starts, conversation.turns),
        false_before=_false(_starts(_at_rate(conversation.recorded, room)), conversation.turns),
        took=took,
        skew_ppm=canceller.stats.skew_ppm,
    )


def _at_rate(recorded: npt.NDArray[np.int16], room: Room) -> npt.NDArray[np.int16]:
    import soxr

    return np.asarray(soxr.resample(recorded, room.microphone_hz, RATE_HZ), np.int16)


def _ratio_db(before: float, after: float) -> float:
    """Return a ratio of energies. Digital silence counts as one tenth of the last bit."""
    return float(10 * np.log10(before / max(after, 0.01)))


def _energy(wave: npt.NDArray[np.int16], start_s: float, end_s: float, rate_hz: int) -> float:
    part = wave[int(start_s * rate_hz) : int(end_s * rate_hz)].astype(np.float64)
    return float((part * part).mean())


def _starts(wave: npt.NDArray[np.int16]) -> list[float]:
    """Return the times in seconds at which the emulator detects a start of speech."""
    listener = Listener(SpeechEngine(_NoWords()))
    found = []
    for at in range(0, len(wave), RATE_HZ // 100):
        events = listener.feed(wave[at : at + RATE_HZ // 100].tobytes())
        found += [at / RATE_HZ + 0.01 for each in events if isinstance(each, SpeechStarted)]
    return found


def _false(starts: list[float], turns: list[tuple[float, float]]) -> int:
    return sum(not any(begin <= at <= end + 0.5 for begin, end in turns) for at in starts)


class Words(NamedTuple):
    """How many of the user's words are recognized wrongly, in percent."""

    with_cancellation: float  # while both speak
    without: float  # while both speak, without echo cancellation
    alone: float  # while only the user speaks


def double_talk(room: Room, engine: SpeechEngine) -> Words:
    """Recognize the user's sentences while the assistant continues to speak."""
    conversation = Conversation(room, keeps_talking=True)
    cleaned, _ = cancel(room, conversation.recording, conversation.recorded)
    errors = np.zeros(3)
    words = 0
    for text, (begin, end) in zip(conversation.texts, conversation.turns, strict=True):
        span = slice(int((begin - 0.2) * RATE_HZ), int((end + 0.3) * RATE_HZ))
        pieces = [cleaned[span], conversation.recorded[span], say(text, 3, RATE_HZ)]
        for index, piece in enumerate(pieces):
            found = " ".join(word.text for word in engine.recognize(piece.tobytes()))
            wrong, count = word_errors(text, found)
            errors[index] += wrong
        words += count
    return Words(*(float(each) for each in 100.0 * errors / words))
