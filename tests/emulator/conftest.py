"""Servers for the tests. The server with a tone generator is faster than the server with speech."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inworld_sync.emulator import Emulator, Settings

from support.realtime_client import RealtimeClient, open_realtime
from support.tone import ToneSynthesizer
from support.tts_client import TtsClient, open_tts


@pytest.fixture(scope="session")
def tone_server() -> Iterator[Emulator]:
    with Emulator(synthesizer=ToneSynthesizer()) as server:
        yield server


@pytest.fixture(scope="session")
def speech_server() -> Iterator[Emulator]:
    settings = Settings(stt_compressed_streams=True)
    with Emulator(settings=settings) as server:
        yield server


@pytest.fixture(scope="session")
def rtc_server() -> Iterator[Emulator]:
    """
    Yield a server that had a WebRTC call. The server's event loop runs until the server is closed.

    On a busy machine, the last packet of a client may be lost. Then the idle timeout ends the call.
    """
    from support.rtc_client import open_rtc  # this import is slow

    with Emulator(synthesizer=ToneSynthesizer(), settings=Settings(idle_timeout=5)) as server:
        with open_rtc(server):
            pass
        yield server


@pytest.fixture
def client(tone_server: Emulator) -> Iterator[TtsClient]:
    with open_tts(tone_server) as client:
        yield client


@pytest.fixture(scope="session")
def paced_server() -> Iterator[Emulator]:
    with Emulator(synthesizer=ToneSynthesizer(), settings=Settings(pace=1)) as server:
        yield server


@pytest.fixture
def realtime(tone_server: Emulator) -> Iterator[RealtimeClient]:
    with open_realtime(tone_server) as client:
        yield client


@pytest.fixture
def paced(paced_server: Emulator) -> Iterator[RealtimeClient]:
    """Yield a client of a server that sends audio in real time, so replies can be interrupted."""
    with open_realtime(paced_server) as client:
        yield client
