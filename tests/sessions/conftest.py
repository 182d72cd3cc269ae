"""Clients of an emulator whose audio spells the text, so that each sample is known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inworld_sync import Inworld
from inworld_sync.emulator import Emulator

from support.spelling import SpellingSynthesizer


@pytest.fixture(scope="session")
def spelling_server() -> Iterator[Emulator]:
    with Emulator(synthesizer=SpellingSynthesizer()) as server:
        yield server


@pytest.fixture
def iw(spelling_server: Emulator) -> Iterator[Inworld]:
    with Inworld(api_key=spelling_server.api_key, base_url=spelling_server.url) as client:
        yield client


@pytest.fixture
def spelling_client_polled(spelling_server: Emulator) -> Iterator[Inworld]:
    with Inworld(
        api_key=spelling_server.api_key, base_url=spelling_server.url, dispatch="poll"
    ) as client:
        yield client


@pytest.fixture
def spelling_server_url(spelling_server: Emulator) -> str:
    return spelling_server.url
