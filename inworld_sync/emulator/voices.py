"""
Defines the voices of the emulator.

The voices have the names that the service's documentation uses, so that the samples of the
documentation run unchanged. The voices differ from each other, but do not resemble the voices of
the service.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import attrs

from inworld_sync.models import checks

__all__ = ["DISTINCT_VOICES", "VOICES", "EmulatedVoice"]


# Speech is not intelligible outside this range.
_NEAR_ONE = checks.number(0.5, 2)


@attrs.frozen(kw_only=True)
class EmulatedVoice:
    """
    One voice, with its description for clients and its differences from the voice of the engine.

    Attributes:
        voice_id: The name that clients send as ``voiceId``.
        display_name: The name that people see. If the name is empty, the id is shown.
        source: ``"SYSTEM"``, or ``"IVC"`` for a cloned or designed voice.
        gender: ``"female"``, ``"male"`` or ``"neutral"``.
        description: A few words for a list of voices.
        lang_code: The language, as ``GET /voices/v1/voices`` spells it.
        tags: Words that describe the voice.
        pitch: The pitch as a multiple of the engine's pitch, 0.5 to 2.
        formant: The formant frequencies as a multiple of the engine's frequencies, 0.5 to 2. Below
            1 the speaker sounds larger.
        speed: The speaking speed as a multiple of the engine's speed, 0.5 to 2.
    """

    voice_id: str
    gender: str
    description: str
    lang_code: str = "EN_US"
    tags: tuple[str, ...] = ()
    display_name: str = ""
    source: str = "SYSTEM"
    pitch: float = attrs.field(default=1.0, validator=_NEAR_ONE)
    formant: float = attrs.field(default=1.0, validator=_NEAR_ONE)
    speed: float = attrs.field(default=1.0, validator=_NEAR_ONE)


# The columns are voice_id, gender, description, tag, pitch, formant and speed.
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
# Further names of the service's documentation. Each name has the sound of one of the voices above.
# The columns are language, female names and male names.
_NAMES = (
    (
        "EN_US",
        "Deborah Elizabeth Julia Luna Olivia Pixie Priya Wendy",
        "Alex Blake Carter Craig Dominus Edward Hades Jason Mark Ronald Shaun Theodore Timothy",
    ),
    ("ZH_CN", "Xiaoyin Jing", "Yichen Xinyi"),
    ("NL_NL", "Katrien Lore", "Erik Lennart"),
    ("FR_FR", "Hélène", "Alain Mathieu Étienne"),
    ("DE_DE", "Johanna", "Josef"),
    ("IT_IT", "Orietta", "Gianni"),
    ("JA_JP", "Asuka", "Satoshi"),
    ("KO_KR", "Minji Yoona", "Hyunwoo Seojun"),
    ("PL_PL", "", "Szymon Wojciech"),
    ("PT_BR", "Maitê", "Heitor"),
    ("ES_ES", "Lupita", "Diego Miguel Rafael"),
    ("RU_RU", "Svetlana Elena", "Dmitry Nikolai"),
)


def _namesakes(models: Sequence[EmulatedVoice]) -> Iterator[EmulatedVoice]:
    """Make the voices of the further names, which share the sounds of *models* in turn."""
    for lang_code, female, male in _NAMES:
        for gender, names in (("female", female), ("male", male)):
            sounds = itertools.cycle(voice for voice in models if voice.gender == gender)
            for name, model in zip(names.split(), sounds, strict=False):
                description = f"Sounds like {model.voice_id}"
                yield attrs.evolve(
                    model, voice_id=name, lang_code=lang_code, description=description
                )


DISTINCT_VOICES = tuple(
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
VOICES = (*DISTINCT_VOICES, *_namesakes(DISTINCT_VOICES))
