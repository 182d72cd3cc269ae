"""The thread of the game never waits for the service."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from inworld_sync import Inworld
from inworld_sync.games import Conversation, GameVoice, VoiceLine, prepare

from support.game_loop import FRAME_SECONDS, no_waiting_calls, run_frames, run_until, tone
from support.peers import Peer, serve
from support.scripted import KEY
from support.scripted_realtime import Service as RealtimeService, realtime
from support.sound_card import until

Make = Callable[[Inworld], GameVoice]


def line(client: Inworld) -> VoiceLine:
    made = VoiceLine(client, "Hello there.")
    made.start()
    return made


def conversation(client: Inworld) -> Conversation:
    made = Conversation(client)
    made.start()
    made.say("Hello")
    return made


def no_answer(peer: Peer) -> None:
    """Accept the connection, and send nothing."""
    peer.hold()


def silent(peer: Peer) -> None:
    """Upgrade the connection, and send nothing more."""
    peer.upgrade()
    peer.hold()


def unread(peer: Peer) -> None:
    """Open the session, and read nothing more."""
    RealtimeService(peer, 1).open()
    peer.hold()


@pytest.mark.parametrize(
    ("make", "script"),
    [
        (line, no_answer),
        (line, silent),
        (conversation, no_answer),
        (conversation, silent),
        (conversation, unread),
    ],
)
def test_a_service_that_does_not_answer(make: Make, script: Callable[[Peer], None]) -> None:
    """
    If the service does not answer, no call of the loop waits. cancel() and close() return at once.
    """
    with serve(script) as server:
        client = Inworld(
            api_key=KEY, base_url=f"ws://127.0.0.1:{server.port}", connect_timeout=20, max_retries=0
        )
        with client:
            prepare(client)
            with no_waiting_calls():
                voice = make(client)
                for _ in range(200):
                    voice.read_audio(400)
                    voice.update(FRAME_SECONDS)
                    if isinstance(voice, Conversation):
                        voice.send_audio(bytes(9600))
                assert not voice.is_over
                voice.cancel()
                voice.pause()
                voice.fade_out()
                voice.update(FRAME_SECONDS)
                voice.close()
                voice.update(FRAME_SECONDS)
            assert voice.is_over


def test_an_interruption_does_not_send() -> None:
    """When a character is interrupted, the thread of the game sends nothing."""
    truncated = threading.Event()

    def script(service: RealtimeService) -> None:
        service.open()
        service.created("resp_1", service.request())
        service.item("resp_1", "item_1")
        service.audio("resp_1", "item_1", tone(1000, 0.4))
        service.until("conversation.item.truncate")
        truncated.set()
        service.until_left()

    with realtime(script) as client, Conversation(client) as talk:
        talk.start()
        talk.say("Hello")
        run_until(talk, lambda: talk.heard_ms > 100)
        with no_waiting_calls():
            talk.cancel()
            talk.say("Wait")
            talk.send_audio(bytes(9600))
            run_frames(talk, 3)
        run_until(talk, truncated.is_set)


def test_closing_ends_a_command_that_waits() -> None:
    """A command that waits for a new connection ends when the conversation is closed."""
    lost = threading.Event()

    def first(service: RealtimeService) -> None:
        service.open()
        lost.wait(30)
        service.hang_up()

    with realtime(first, lambda service: service.peer.hold(), send_timeout=120) as client:
        talk = Conversation(client, reconnect_timeout=120)
        talk.start()
        run_until(talk, lambda: talk.state == "open")
        lost.set()
        run_until(talk, lambda: talk.state == "reconnecting")
        talk.say("Hello?")
        until(lambda: not talk._thread._commands)
        talk.close()
        until(lambda: not threads_of("session"))


def threads_of(kind: str) -> list[str]:
    """Return the names of the threads of this kind that voices have started."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(f"inworld-game-{kind}")]


def test_a_stalled_name_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow lookup of a host name does not stop the loop."""
    looks, release = threading.Event(), threading.Event()

    def lookup(*_: object, **__: object) -> None:
        looks.set()
        release.wait(30)
        raise OSError("no such name")

    monkeypatch.setattr("socket.getaddrinfo", lookup)
    with Inworld(api_key=KEY, base_url="ws://voice.example", max_retries=0) as client:
        prepare(client)
        with no_waiting_calls():
            voice = line(client)
            for _ in range(100):
                voice.update(FRAME_SECONDS)
        assert looks.wait(30)
        with no_waiting_calls():
            voice.update(FRAME_SECONDS)
            voice.close()
        release.set()


def test_a_call_that_waits_is_found() -> None:
    """``no_waiting_calls`` finds a call that may wait."""
    import time

    with pytest.raises(AssertionError, match="sleep in"), no_waiting_calls():
        time.sleep(0)
