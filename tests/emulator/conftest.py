"""Servers for the tests: one with tones, which is quick, and one that really speaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inworld_sync.emulator import Emulator

from support.tone import ToneSynthesizer
from support.tts_client import TtsClient, open_tts


@pytest.fixture(scope="session")
def tone_server() -> Iterator[Emulator]:
    with Emulator(synthesizer=ToneSynthesizer()) as server:
        yield server


@pytest.fixture(scope="session")
def speech_server() -> Iterator[Emulator]:
    with Emulator() as server:
        yield server


@pytest.fixture
def client(tone_server: Emulator) -> Iterator[TtsClient]:
    with open_tts(tone_server) as client:
        yield client
