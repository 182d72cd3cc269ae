"""Tests of ``games.serve``: a conversation ends at once, even if its session ends later."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from inworld_sync import Inworld
from inworld_sync.games import serve

from support.engine import Engine
from support.peers import Peer, serve as serve_peer
from support.scripted_realtime import Service, obedient, realtime
from support.sound_card import until


def silent(peer: Peer) -> None:
    """Accept a connection, and answer nothing."""
    peer.hold()


@pytest.fixture
def engine() -> Iterator[Engine]:
    """Return an engine whose service is silent."""
    with (
        serve_peer(silent) as service,
        Inworld(api_key="a2V5OnNlY3JldA==", base_url=f"ws://127.0.0.1:{service.port}") as iw,
        serve(0, client=iw) as server,
        Engine(server.url, {}) as engine,
    ):
        engine.wait_for("ready")
        yield engine


def threads(ending: str) -> int:
    names = [thread.name for thread in threading.enumerate()]
    return sum(name.startswith("inworld-engine-") and name.endswith(ending) for name in names)


def test_an_engine_without_hello_does_not_delay_the_close() -> None:
    """If the server closes while it waits for ``hello``, the engine gets the close code 1001."""
    with (
        Inworld(api_key="a2V5OnNlY3JldA==", base_url="http://127.0.0.1:9") as iw,
        serve(0, client=iw) as server,
        Engine(server.url) as engine,
    ):
        until(lambda: server.engines == 1)
        server.close()
        assert engine.until_closed() == 1001


def states(engine: Engine) -> list[str]:
    return [event["state"] for event in engine.events if event["type"] == "state"]


def test_a_conversation_that_connects_is_closed_at_once(engine: Engine) -> None:
    """The state ``closed`` is sent before the next conversation, even if the service is silent."""
    engine.send("start")
    engine.send("stop")
    engine.send("start")
    engine.until(lambda: len(states(engine)) >= 3)
    assert states(engine) == ["connecting", "closed", "connecting"]


def test_a_conversation_follows_another_one() -> None:
    """The states of two conversations do not mix."""
    with (
        realtime(obedient, obedient) as iw,
        serve(0, client=iw) as server,
        Engine(server.url, {}) as engine,
    ):
        engine.wait_for("ready")
        engine.send("start")
        engine.wait_for("state", state="listening")
        engine.send("stop")
        engine.send("start")
        engine.until(lambda: states(engine).count("listening") == 2)
        assert states(engine) == ["connecting", "listening", "closed", "connecting", "listening"]


def test_conversations_that_still_end_are_limited(engine: Engine) -> None:
    """If an engine starts and stops many conversations, the number of threads is limited."""
    for _ in range(30):
        engine.send("start")
        engine.send("stop")
    error = engine.wait_for("error", code="bad_message")
    engine.send("heard", line=0, ms=-1)  # the error for this message arrives after all other errors
    engine.until(lambda: "ms of heard" in str(engine.events[-1].get("message")))

    assert "earlier conversations are still closing" in error["message"]
    assert threads("-talk") == 5


def test_a_connection_that_is_replaced() -> None:
    """While the server replaces a lost connection, the state is ``reconnecting``."""
    again = threading.Event()

    def first(service: Service) -> None:
        service.open()
        service.hang_up()

    def second(service: Service) -> None:
        assert again.wait(30)
        service.open()
        service.until_left()

    with (
        realtime(first, second) as iw,
        serve(0, client=iw) as server,
        Engine(server.url, {}) as engine,
    ):
        engine.wait_for("ready")
        engine.send("start")
        engine.wait_for("state", state="reconnecting")
        again.set()
        engine.until(lambda: states(engine)[-1] == "listening")
        assert states(engine) == ["connecting", "listening", "reconnecting", "listening"]


def test_a_connection_that_is_replaced_at_once() -> None:
    """After a fast reconnect, the state of the old connection does not stay."""

    def first(service: Service) -> None:
        service.open()
        service.until("input_audio_buffer.append")
        service.event("input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_u")
        service.hang_up()

    def second(service: Service) -> None:
        service.open()
        service.until_left()

    with (
        realtime(first, second) as iw,
        serve(0, client=iw) as server,
        Engine(server.url, {}) as engine,
    ):
        engine.wait_for("ready")
        engine.send("start")
        engine.wait_for("state", state="listening")
        engine.send_audio(bytes(4800))
        engine.wait_for("state", state="hearing")
        engine.until(lambda: states(engine)[-1] == "listening")
