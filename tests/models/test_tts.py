"""Settings of a TTS context: refused where they are given, with the name and what came."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inworld_sync import AudioConfig, ConfigError, ContextConfig
from inworld_sync.models.tts import context_config

# (settings, words): wrong types and wrong values.
WRONG: list[tuple[Mapping[str, object], str]] = [
    ({"voice": None}, "voice must be a text"),
    ({"model": " "}, "model must be a text"),
    ({"audio": "PCM"}, r"audio must be an AudioConfig, such as .*got 'PCM'"),
    ({"audio": None}, "audio must be an AudioConfig.*got None"),
    ({"temperature": float("nan")}, "temperature must be 0 to 2, got nan"),
    ({"language": 5}, "language must be a str, got 5"),
    ({"synthesis_context": 5}, "synthesis_context must be a str, got 5"),
    ({"enable_custom_pronunciation": "yes"}, "enable_custom_pronunciation must be True or False"),
    ({"pronunciation_dictionaries": "names"}, "pronunciation_dictionaries must be texts"),
    ({"pronunciation_dictionaries": [1]}, "pronunciation_dictionaries must be texts"),
    ({"pronunciation_dictionaries": 5}, "pronunciation_dictionaries must be texts"),
    ({"pronunciation_dictionaries": list("abcd")}, "takes up to 3, got 4"),
    ({"extra": None}, "extra must be a mapping of names to values, got None"),
    ({"delivery_mode": "calm"}, "delivery_mode must be one of STABLE, BALANCED, CREATIVE"),
]


@pytest.mark.parametrize(("settings", "words"), WRONG)
def test_wrong(settings: Mapping[str, object], words: str) -> None:
    """A setting that makes no sense is refused before anything is sent."""
    with pytest.raises(ConfigError, match=words):
        ContextConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("config", ["Ashley", AudioConfig()])
def test_config_of_another_kind(config: object) -> None:
    """A voice's name in the place of a whole configuration is refused with the way to give it."""
    with pytest.raises(ConfigError, match=r"config must be a ContextConfig.*voice='Ashley'"):
        context_config(config, {}, ContextConfig())  # type: ignore[arg-type]


def test_settings_change_the_config() -> None:
    """What is given by name goes before the configuration, and that before the default."""
    given = ContextConfig(voice="Dennis", temperature=1)

    assert ContextConfig(voice="Sarah", temperature=1) == context_config(
        given, {"voice": "Sarah"}, ContextConfig(temperature=2)
    )
    assert "Mark" == context_config(None, {}, ContextConfig(voice="Mark")).voice
