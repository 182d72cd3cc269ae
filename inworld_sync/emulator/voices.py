"""
The voices of the emulator.

The names that the service's documentation uses exist here too, so that its samples run as they
are; they do not sound like the service's voices, only different from each other.
"""

from __future__ import annotations

import attrs

from inworld_sync.models import checks

__all__ = ["VOICES", "EmulatedVoice"]


# Outside this range the speech is no longer intelligible.
_NEAR_ONE = checks.number(0.5, 2)


@attrs.frozen(kw_only=True)
class EmulatedVoice:
    """
    One voice: what clients see of it, and how it differs from the engine's own voice.

    Attributes:
        voice_id: The name that clients send as ``voiceId``.
        gender: ``"female"``, ``"male"`` or ``"neutral"``.
        description: A few words for a list of voices.
        lang_code: The language, as ``GET /voices/v1/voices`` spells it.
        tags: Free words.
        pitch: The melody's height, times the engine's own.
        formant: The size of the head: below 1 a larger one, above 1 a smaller one.
        speed: Speaking speed, times the engine's own.
    """

    voice_id: str
    gender: str
    description: str
    lang_code: str = "EN_US"
    tags: tuple[str, ...] = ()
    pitch: float = attrs.field(default=1.0, validator=_NEAR_ONE)
    formant: float = attrs.field(default=1.0, validator=_NEAR_ONE)
    speed: float = attrs.field(default=1.0, validator=_NEAR_ONE)


VOICES = (
    EmulatedVoice(voice_id="Ashley", gender="female", description="Warm and even", tags=("warm",)),
    EmulatedVoice(
        voice_id="Dennis",
        gender="male",
        description="Calm and low",
        tags=("calm",),
        pitch=0.60,
        formant=0.87,
    ),
    EmulatedVoice(
        voice_id="Sarah",
        gender="female",
        description="Bright and quick",
        tags=("bright",),
        pitch=1.14,
        formant=1.04,
        speed=1.10,
    ),
    EmulatedVoice(
        voice_id="Hana",
        gender="female",
        description="Light and young",
        tags=("young",),
        pitch=1.32,
        formant=1.09,
    ),
    EmulatedVoice(
        voice_id="Aarav",
        gender="male",
        description="Clear and brisk",
        tags=("clear",),
        pitch=0.71,
        formant=0.90,
        speed=1.08,
    ),
    EmulatedVoice(
        voice_id="Alder",
        gender="male",
        description="Deep and slow",
        tags=("deep",),
        pitch=0.52,
        formant=0.82,
        speed=0.92,
    ),
    EmulatedVoice(
        voice_id="Clive",
        gender="male",
        description="Low and quick",
        tags=("quick",),
        pitch=0.64,
        formant=0.88,
        speed=1.16,
    ),
    EmulatedVoice(
        voice_id="Wren",
        gender="neutral",
        description="Between low and high",
        tags=("neutral",),
        pitch=0.83,
        formant=0.95,
    ),
)
