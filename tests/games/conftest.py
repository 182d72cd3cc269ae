"""Clients of an emulator that speaks each word as a tone of 50 ms per character."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inworld_sync import Inworld
from inworld_sync.emulator import Emulator

from support.tone import ToneSynthesizer


@pytest.fixture(scope="session")
def tone_server() -> Iterator[Emulator]:
    with Emulator(synthesizer=ToneSynthesizer()) as server:
        yield server


@pytest.fixture
def iw(tone_server: Emulator) -> Iterator[Inworld]:
    with Inworld(api_key=tone_server.api_key, base_url=tone_server.url) as client:
        yield client
