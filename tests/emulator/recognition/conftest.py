"""The real engine is loaded once for all tests."""

from __future__ import annotations

import pytest

from inworld_sync.emulator.recognition.engine import SpeechEngine


@pytest.fixture(scope="session")
def engine() -> SpeechEngine:
    """Return an engine with its models loaded: Moonshine, PocketSphinx and Silero."""
    engine = SpeechEngine()
    engine.warm()
    return engine
