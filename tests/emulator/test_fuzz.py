"""Random and damaged requests cause no traceback. ``tests/fuzz_emulator.py`` runs for longer."""

from __future__ import annotations

import logging

import pytest

from inworld_sync.emulator import Emulator, Settings
from inworld_sync.emulator.recognition.engine import SpeechEngine

from support.fuzzer import Fuzzer, TracebackCounter
from support.spoken_words import NumberedRecognizer, NumberedVad
from support.tone import ToneSynthesizer
from support.tts_client import open_tts


@pytest.mark.parametrize("seed", [1, 2])
def test_fuzz(seed: int) -> None:
    """After 150 connections with random requests, the log has no traceback. The server works."""
    counter = TracebackCounter()
    logger = logging.getLogger("inworld_sync")
    logger.addHandler(counter)
    engine = SpeechEngine(NumberedRecognizer(), new_vad=NumberedVad)
    settings = Settings(prepared_speech=True)
    try:
        with Emulator(
            synthesizer=ToneSynthesizer(), speech_engine=engine, settings=settings
        ) as server:
            fuzzer = Fuzzer(server, seed)
            for _ in range(150):
                fuzzer.step()
            with open_tts(server) as client:
                client.create()
                assert "contextCreated" in client.result()
    finally:
        logger.removeHandler(counter)

    assert not counter.records
