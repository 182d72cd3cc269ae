"""The settings of a call come from a config object and from keyword arguments."""

from __future__ import annotations

import pytest

from inworld_sync.errors import ConfigError
from inworld_sync.models.options import Options
from inworld_sync.models.settings import combine_settings
from inworld_sync.models.tts import AudioConfig, ContextConfig


@pytest.mark.parametrize("config", ["Ashley", AudioConfig()])
def test_config_of_another_class(config: object) -> None:
    """An object of another class raises an error that shows how to pass one setting."""
    with pytest.raises(ConfigError, match=r"config must be a ContextConfig.*voice='Ashley'"):
        combine_settings(config, ContextConfig(), {})  # type: ignore[arg-type]


def test_name_of_the_parameter() -> None:
    """The error has the name of the parameter and the class of a right value ("an Options")."""
    with pytest.raises(ConfigError, match=r"options must be an Options, got 5; .*base_url='https"):
        combine_settings(5, Options(), {}, name="options")  # type: ignore[arg-type]


def test_settings_change_the_config() -> None:
    """A keyword argument replaces the setting of the config. The config replaces the default."""
    config = ContextConfig(voice="Dennis", temperature=1)
    given = {"voice": "Sarah", "model": None, "temperature": None}

    assert ContextConfig(voice="Sarah", temperature=1) == combine_settings(
        config, ContextConfig(temperature=2), given
    )
    assert "Mark" == combine_settings(None, ContextConfig(voice="Mark"), {}).voice


def test_other_arguments_are_ignored() -> None:
    """Arguments of the call that are not settings are ignored."""
    given = {"self": object(), "text": "Hi.", "timeout": 5.0, "voice": "Sarah"}

    assert ContextConfig(voice="Sarah") == combine_settings(None, ContextConfig(), given)
