"""Tests of ``games.serve``: lines that an engine requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from inworld_sync import Inworld
from inworld_sync.emulator import Emulator
from inworld_sync.games import EngineServer, serve
from inworld_sync.games.engines import connection as connection_module

from support.engine import Engine
from support.spelling import SpellingSynthesizer, spelled, spoken_part

# Each letter has 480 samples, which are 20 ms.
SAMPLES = 480
TEXT = "Halt! Who goes there?"
LETTERS_MS = 20.0 * len(spoken_part(TEXT))


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(synthesizer=SpellingSynthesizer(SAMPLES, has_phonemes=True)) as emulator:
        yield emulator


@pytest.fixture
def server(emulator: Emulator) -> Iterator[EngineServer]:
    with Inworld(base_url=emulator.url, api_key=emulator.api_key) as iw:
        with serve(0, client=iw, max_engines=2) as server:
            yield server


def wait_until_ended(name: str) -> None:
    """Wait until no thread has *name* in its name. The time limit of the test ends the wait."""
    while any(name in each.name for each in threading.enumerate()):
        threading.Event().wait(0.01)


def test_a_line(server: EngineServer) -> None:
    """The engine gets all audio and all words of a line, and one message ``end``."""
    with Engine(server.url, {}) as engine:
        ready = engine.wait_for("ready")
        engine.send("speak", line=7, text=TEXT)
        line = engine.play(7)

    assert (1, 24000) == (ready["version"], ready["rate_hz"])
    assert {"sil", "PP", "aa"} < set(ready["shapes"])
    assert spoken_part(TEXT) == spelled(line.pcm, SAMPLES)
    assert {"type": "end", "line": 7, "reason": "complete", "ms": LETTERS_MS} == line.end
    assert TEXT.split() == [word["text"] for word in line.words]
    assert (0.0, LETTERS_MS) == (line.words[0]["start_ms"], line.words[-1]["end_ms"])


def test_the_mouth(server: EngineServer) -> None:
    """The times of the mouth frames increase. In the last frame, the mouth is at rest."""
    with Engine(server.url, {}) as engine:
        engine.send("speak", line=1, text=TEXT)
        line = engine.play(1)

    times = [at_ms for at_ms, _ in line.mouth]
    assert sorted(set(times)) == times
    assert "service" == line.source
    assert LETTERS_MS <= times[-1] < LETTERS_MS + 20
    assert {**dict.fromkeys(engine.shapes, 0), "sil": 1} == line.mouth[-1][1]
    assert any(weights["sil"] < 0.8 for _, weights in line.mouth)
    assert {"aa", "E", "sil"} < set(line.strongest)
    for _, weights in line.mouth:
        assert all(0 <= weight <= 1 for weight in weights.values())
        assert abs(sum(weights.values()) - 1) < 0.1


def test_another_set_of_shapes(server: EngineServer) -> None:
    """The engine can choose the set of mouth shapes."""
    with Engine(server.url, {"shapes": "arkit"}) as engine:
        engine.send("speak", line=1, text=TEXT)
        line = engine.play(1)

    assert any(weights["jawOpen"] for _, weights in line.mouth)
    assert set(line.mouth[-1][1].values()) == {0}


def test_audio_is_sent_shortly_before_it_is_heard(server: EngineServer) -> None:
    """Without reports of the engine, the server sends ahead_ms to ahead_ms + 100 ms of audio."""
    text = "a" * 100  # 2 s
    with Engine(server.url, {"ahead_ms": 300}) as engine:
        engine.send("speak", line=1, text=text)
        engine.until(lambda: 1 in engine.lines and engine.lines[1].received_ms >= 300)
        # All audio that is sent without a report has arrived when no message arrives for 0.5 s.
        while engine.receive(timeout=0.5):
            pass
        line = engine.lines[1]

        assert line.end is None
        assert 300 <= line.received_ms <= 400
        engine.play(1)
    assert text == spelled(line.pcm, SAMPLES)


def test_interruption(server: EngineServer) -> None:
    """After an interruption, the line ends, and the number of the line may be used again."""
    with Engine(server.url, {"ahead_ms": 300}) as engine:
        engine.send("speak", line=1, text="a" * 500)
        engine.until(lambda: 1 in engine.lines and engine.lines[1].received_ms >= 300)
        engine.send("interrupt", line=1, heard_ms=120)
        end = engine.wait_for("end", line=1)
        del engine.lines[1]
        engine.events.clear()
        engine.send("speak", line=1, text=TEXT)
        line = engine.play(1)

    assert "interrupted" == end["reason"]
    assert spoken_part(TEXT) == spelled(line.pcm, SAMPLES)


def test_lines_at_the_same_time(server: EngineServer) -> None:
    """Two engines speak several lines at the same time. Each line has only its own audio."""
    texts = {number: f"{chr(96 + number)}" * 20 for number in range(1, 5)}
    with Engine(server.url, {}) as first, Engine(server.url, {}) as second:
        for engine in (first, second):
            for number, text in texts.items():
                engine.send("speak", line=number, text=text)
        for engine in (first, second):
            for number, text in texts.items():
                assert text == spelled(engine.play(number).pcm, SAMPLES)


def test_too_many_lines(server: EngineServer) -> None:
    """The ninth unheard line is refused. This line is accepted after another line was heard."""
    with Engine(server.url, {}) as engine:
        for number in range(1, 10):
            engine.send("speak", line=number, text="abc")
        error = engine.wait_for("error")
        engine.play(1)
        engine.send("speak", line=9, text="abc")
        line = engine.play(9)

    assert ("too_many_lines", 9) == (error["code"], error["line"])
    assert "abc" == spelled(line.pcm, SAMPLES)


def test_an_error_of_the_service(server: EngineServer) -> None:
    """If the service refuses a line, the engine gets the service's message, and the line ends."""
    with Engine(server.url, {}) as engine:
        engine.send("speak", line=3, text="Hello.", voice="Nobody")
        error = engine.wait_for("error", line=3)
        end = engine.wait_for("end", line=3)

    assert "service" == error["code"]
    assert "Nobody" in error["message"]
    assert "failed" == end["reason"]


def test_the_limit_of_engines(server: EngineServer) -> None:
    """The third engine is refused. This engine may connect after another engine has left."""
    with Engine(server.url, {}) as first, Engine(server.url, {}) as second:
        first.wait_for("ready")
        second.wait_for("ready")
        with Engine(server.url) as third:
            assert 1013 == third.until_closed()
        first.close()
        while server.engines > 1:
            threading.Event().wait(0.01)
        with Engine(server.url, {}) as third:
            third.wait_for("ready")


def test_the_server_closes(server: EngineServer) -> None:
    """If the server closes during a line, the engine gets close code 1001, and all threads end."""
    with Engine(server.url, {}) as engine:
        engine.send("speak", line=1, text="a" * 2000)
        engine.until(lambda: 1 in engine.lines)
        server.close()

        assert 1001 == engine.until_closed()
    assert 0 == server.engines
    wait_until_ended("inworld-engine")


def test_the_engine_vanishes(server: EngineServer) -> None:
    """If an engine disappears without a close frame, its lines end, and its place becomes free."""
    engine = Engine(server.url, {})
    engine.send("speak", line=1, text="a" * 2000)
    engine.until(lambda: 1 in engine.lines)
    engine.vanish()
    while server.engines:
        threading.Event().wait(0.01)

    wait_until_ended("-line")


def test_an_engine_that_reads_nothing(
    server: EngineServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server closes the connection of an engine that accepts no more data."""
    for name in ("_STALL_SECONDS", "_FLUSH_SECONDS", "_JOIN_SECONDS"):
        monkeypatch.setattr(connection_module, name, 0.3)
    engine = Engine(server.url, {"ahead_ms": 60_000}, max_queue=1)
    try:
        with caplog.at_level(logging.WARNING):
            # Eight minutes of audio are more than the buffers of the network hold.
            for number in range(1, 9):
                engine.send("speak", line=number, text="a" * 3000)
            while "reads no messages" not in caplog.text or server.engines:
                threading.Event().wait(0.01)
    finally:
        engine.vanish()

    wait_until_ended("-line")
