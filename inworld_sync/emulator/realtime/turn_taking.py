"""Converts the turn detection of a session to the settings of a listener."""

from __future__ import annotations

from collections.abc import Mapping

from inworld_sync.emulator.realtime.checks import lenient_number
from inworld_sync.emulator.realtime.config import SessionConfig
from inworld_sync.emulator.recognition.turns import TurnSettings

__all__ = ["turn_settings"]

# The short silence in ms, the long silence in ms, and the confidence from which the short silence
# ends a turn. The values of the service are not known.
_EAGERNESS: Mapping[object, tuple[int, int, float]] = {
    "low": (600, 2500, 0.6),
    "medium": (300, 1200, 0.4),
    "auto": (300, 1200, 0.4),
    "high": (200, 700, 0.3),
}
_MANUAL = TurnSettings(vad_threshold=0, partial_interval_ms=0, word_times=False)
_MIN_THRESHOLD = 0.01
_MAX_SILENCE_MS = 60_000


def turn_settings(config: SessionConfig) -> TurnSettings:
    """
    Return the settings of the listener.

    After a short silence, ``semantic_vad`` ends a turn that seems complete. After a long silence,
    ``semantic_vad`` ends any turn. ``server_vad`` ends all turns after a silence of the same
    length. ``providerData.stt`` has precedence over both.
    """
    detection = config.turn_detection
    if detection is None:
        return _MANUAL
    if detection["type"] == "server_vad":
        silence = int(lenient_number(detection.get("silence_duration_ms"), 500, _MAX_SILENCE_MS))
        short, long, confidence = silence, silence, 0.0
    else:
        short, long, confidence = _EAGERNESS[detection.get("eagerness") or "auto"]
    stt = config.branch("stt")
    threshold = lenient_number(detection.get("threshold"), 0.5, 1)
    threshold = lenient_number(stt.get("vad_threshold"), threshold, 1)
    short = int(lenient_number(stt.get("min_end_of_turn_silence"), short, _MAX_SILENCE_MS))
    long = int(lenient_number(stt.get("max_turn_silence"), long, _MAX_SILENCE_MS))
    return TurnSettings(
        # With zero, the client would have to end the turns.
        vad_threshold=max(threshold, _MIN_THRESHOLD),
        end_confidence=lenient_number(stt.get("end_of_turn_confidence_threshold"), confidence, 1),
        min_silence_ms=short,
        max_silence_ms=max(long, short),
        word_times=False,
    )
