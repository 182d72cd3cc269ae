"""Each wrong setting of a synthesis raises an error that names the field."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from inworld_sync.errors import ConfigError
from inworld_sync.models.tts import (
    AudioConfig,
    AudioEncoding,
    ContextConfig,
    DeliveryMode,
    SynthesisContext,
)

# (class, field, value). The value has a wrong type, or is beyond a limit.
WRONG: list[tuple[Any, str, Any]] = [
    (AudioConfig, "encoding", "OPUS"),
    (AudioConfig, "encoding", None),
    (AudioConfig, "sample_rate_hz", 7999),
    (AudioConfig, "sample_rate_hz", 48_001),
    (AudioConfig, "sample_rate_hz", 16_000.0),
    (AudioConfig, "sample_rate_hz", None),
    (AudioConfig, "bit_rate_bps", 7999),
    (AudioConfig, "bit_rate_bps", "64000"),
    (AudioConfig, "speaking_rate", 0.49),
    (AudioConfig, "speaking_rate", 1.51),
    (AudioConfig, "speaking_rate", True),
    (ContextConfig, "voice", ""),
    (ContextConfig, "voice", None),
    (ContextConfig, "model", 2),
    (ContextConfig, "audio", "PCM"),
    (ContextConfig, "audio", None),
    (ContextConfig, "temperature", 2.01),
    (ContextConfig, "language", b"en"),
    (ContextConfig, "delivery_mode", "FAST"),
    (ContextConfig, "timestamp_type", "PHONE"),
    (ContextConfig, "timestamp_transport", "LATE"),
    (ContextConfig, "text_normalization", True),
    (ContextConfig, "auto_mode", 1),
    (ContextConfig, "auto_mode", None),
    (ContextConfig, "max_buffer_delay_ms", -1),
    (ContextConfig, "max_buffer_delay_ms", 0.5),
    (ContextConfig, "buffer_char_threshold", 0),
    (ContextConfig, "buffer_char_threshold", 1001),
    (ContextConfig, "pronunciation_dictionaries", "names"),
    (ContextConfig, "pronunciation_dictionaries", [1]),
    (ContextConfig, "pronunciation_dictionaries", list("abcd")),
    (ContextConfig, "enable_custom_pronunciation", "yes"),
    (ContextConfig, "synthesis_context", 5),
    (ContextConfig, "synthesis_context", "calm"),
    (ContextConfig, "viseme_set", "ARKIT"),
    (SynthesisContext, "previous_texts", "a text"),
    (SynthesisContext, "previous_texts", [1]),
    (SynthesisContext, "previous_texts", ["a" * 1000, "b" * 1001]),
    (ContextConfig, "extra", "a"),
]


@pytest.mark.parametrize(("kind", "name", "value"), WRONG)
def test_wrong(kind: Any, name: str, value: Any) -> None:
    """A wrong value raises an error that names the field."""
    with pytest.raises(ConfigError, match=name):
        kind(**{name: value})


def test_names() -> None:
    """An enumeration accepts the name of a member. A list is converted to a tuple."""
    config = ContextConfig(delivery_mode="STABLE", pronunciation_dictionaries=["a"])

    assert config == attrs.evolve(config)
    assert ("a",) == config.pronunciation_dictionaries
    assert AudioEncoding.ALAW is AudioConfig("ALAW").encoding


@pytest.mark.parametrize("rate", [8001, 11025, 12345, 12000, 47999, 16000.0, True, "16000"])
def test_sample_rates(rate: Any) -> None:
    """A sample rate that the service does not support raises an error that lists all rates."""
    rates = "8000, 16000, 22050, 24000, 32000, 44100, 48000 Hz"
    with pytest.raises(ConfigError, match=f"sample_rate_hz must be one of {rates}, got {rate!r}"):
        AudioConfig("PCM", rate)


def test_expressive() -> None:
    """``EXPRESSIVE`` is an older name of ``CREATIVE``."""
    assert DeliveryMode.CREATIVE is ContextConfig(delivery_mode="EXPRESSIVE").delivery_mode
