"""
Speaks backchannels. A backchannel is a short phrase, such as "uh-huh", that is spoken while the
user speaks.

Backchannels belong to no response and no turn, and have their own events.
Source for the fields: Inworld Realtime reference, ``providerData.backchannel``.
"""

from __future__ import annotations

import base64
import time
from array import array

from inworld_sync.emulator.realtime import checks
from inworld_sync.emulator.realtime.config import Json, SessionConfig
from inworld_sync.emulator.realtime.events import EventSender, new_id
from inworld_sync.emulator.realtime.response_options import speaking_voice
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.tts.speech import speak

__all__ = ["Backchannel"]

_PHRASES = ("uh-huh", "mm-hmm", "I see", "right")
_DEFAULTS = {
    "eval_interval_ms": 800,
    "min_speech_ms": 800,
    "min_gap_ms": 4000,
    "max_per_turn": 3,
    "hard_deadline_ms": 1500,
    "volume_gain": 0.6,
    "rule_fire_probability": 0.5,
}
_RATE_HZ = 24000


class Backchannel:
    """
    Decides when to speak a phrase, and speaks it.

    Times are positions in the user's audio, so the same audio gets the same phrases.

    Thread safety: only the connection's thread uses the object.
    """

    def __init__(self, shared: SharedState, events: EventSender) -> None:
        self._shared = shared
        self._events = events
        self._started_ms = 0
        self._evaluated_ms = 0
        self._spoken_ms: float | None = None
        self._in_turn = 0
        self._urge = 0.0
        self._count = 0

    def start_turn(self, now_ms: int) -> None:
        """Handle the start of the user's speech."""
        self._started_ms = self._evaluated_ms = now_ms
        self._in_turn = 0

    def listen(self, now_ms: int, pause_ms: int, config: SessionConfig) -> None:
        """
        Handle the user's audio up to *now_ms*. Speak a phrase if a phrase is due.

        The audio ends with *pause_ms* of silence; 0 means that the user speaks now.
        """
        options = config.branch("backchannel")
        if options.get("enabled") is not True:
            return
        if now_ms - self._evaluated_ms < _option(options, "eval_interval_ms"):
            return
        self._evaluated_ms = now_ms
        if self._may_speak(now_ms, pause_ms, options) and self._decide(options):
            self._spoken_ms = now_ms
            self._in_turn += 1
            self._speak(options, config)

    def _may_speak(self, now_ms: int, pause_ms: int, options: Json) -> bool:
        last_ms = self._spoken_ms
        return (
            now_ms - self._started_ms >= _option(options, "min_speech_ms")
            and self._in_turn < _option(options, "max_per_turn")
            and (last_ms is None or now_ms - last_ms >= _option(options, "min_gap_ms"))
            and (pause_ms > 0 or options.get("require_pause") is not True)
        )

    def _decide(self, options: Json) -> bool:
        """Return whether to speak. With the kind ``rule``, phrases come at even intervals."""
        if options.get("decider_kind") != "rule":
            return True
        self._urge += _option(options, "rule_fire_probability")
        is_due = self._urge >= 1
        self._urge -= is_due
        return is_due

    def _speak(self, options: Json, config: SessionConfig) -> None:
        allowed = options.get("allowed_phrases")
        phrases = allowed if isinstance(allowed, list) and allowed else _PHRASES
        phrase = str(phrases[self._count % len(phrases)])
        self._count += 1
        place = {"backchannel_id": new_id("bc")}
        began = time.monotonic()
        voice = speaking_voice(config, self._shared.settings, "PCM", _RATE_HZ)
        pieces = [piece.audio for piece in speak(phrase, voice, self._shared)]
        if (time.monotonic() - began) * 1000 > _option(options, "hard_deadline_ms"):
            self._events.send("response.backchannel.skipped", **place, reason="deadline_missed")
            return
        gain = _option(options, "volume_gain")
        for pcm in pieces:
            delta = base64.b64encode(_scaled(pcm, gain)).decode()
            self._events.send("response.backchannel.audio.delta", **place, delta=delta)
        self._events.send("response.backchannel.audio.done", **place, phrase=phrase)


def _scaled(pcm: bytes, gain: float) -> bytes:
    gain = min(max(gain, 0.0), 1.0)
    return array("h", (int(sample * gain) for sample in memoryview(pcm).cast("h"))).tobytes()


def _option(options: Json, name: str) -> float:
    return checks.lenient_number(options.get(name), _DEFAULTS[name])
