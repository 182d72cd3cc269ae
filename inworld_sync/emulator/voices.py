"""
The voices of the emulator.

They have the names that the service's documentation uses, so that its samples run unchanged. They
differ from each other, but do not resemble the voices of the service.
"""

from __future__ import annotations

import attrs

from inworld_sync.models import checks

__all__ = ["VOICES", "EmulatedVoice"]


# Speech is not intelligible outside this range.
_NEAR_ONE = checks.number(0.5, 2)


@attrs.frozen(kw_only=True)
class EmulatedVoice:
    """
    One voice: its description for clients, and how it differs from the voice of the engine.

    Attributes:
        voice_id: The name that clients send as ``voiceId``.
        gender: ``"female"``, ``"male"`` or ``"neutral"``.
        description: A few words for a list of voices.
        lang_code: The language, as ``GET /voices/v1/voices`` spells it.
        tags: Words that describe the voice.
        pitch: The pitch as a multiple of the engine's, 0.5 to 2.
        formant: The formant frequencies as a multiple of the engine's, 0.5 to 2; below 1 the
            speaker sounds larger.
        speed: The speaking speed as a multiple of the engine's, 0.5 to 2.
    """

    voice_id: str
    gender: str
    description: str
    lang_code: str = "EN_US"
    tags: tuple[str, ...] = ()
    pitch: float = attrs.field(default=1.0, validator=_NEAR_ONE)
    formant: float = attrs.field(default=1.0, validator=_NEAR_ONE)
    speed: float = attrs.field(default=1.0, validator=_NEAR_ONE)


# voice_id, gender, description, tag, pitch, formant, speed
_TABLE = (
    ("Ashley", "female", "Warm and even", "warm", 1.0, 1.0, 1.0),
    ("Dennis", "male", "Calm and low", "calm", 0.60, 0.87, 1.0),
    ("Sarah", "female", "Bright and quick", "bright", 1.14, 1.04, 1.10),
    ("Hana", "female", "Light and young", "young", 1.32, 1.09, 1.0),
    ("Aarav", "male", "Clear and brisk", "clear", 0.71, 0.90, 1.08),
    ("Alder", "male", "Deep and slow", "deep", 0.52, 0.82, 0.92),
    ("Clive", "male", "Low and quick", "quick", 0.64, 0.88, 1.16),
    ("Wren", "neutral", "Between low and high", "neutral", 0.83, 0.95, 1.0),
)
VOICES = tuple(
    EmulatedVoice(
        voice_id=voice_id,
        gender=gender,
        description=description,
        tags=(tag,),
        pitch=pitch,
        formant=formant,
        speed=speed,
    )
    for voice_id, gender, description, tag, pitch, formant, speed in _TABLE
)
