"""Fixtures of this folder: a client of an emulator that needs no engine, and a page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inworld_sync import Inworld
from inworld_sync.emulator import Emulator

from support.spelling import SpellingSynthesizer
from support.web_pages import FRAMEWORKS, Page


@pytest.fixture(scope="session")
def web_server() -> Iterator[Emulator]:
    with Emulator(synthesizer=SpellingSynthesizer()) as server:
        yield server


@pytest.fixture
def iw(web_server: Emulator) -> Iterator[Inworld]:
    with Inworld(api_key=web_server.api_key, base_url=web_server.url) as client:
        yield client


@pytest.fixture(params=FRAMEWORKS)
def page(request: pytest.FixtureRequest) -> Page:
    return Page(request.param)
