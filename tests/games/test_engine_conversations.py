"""Tests of ``games.serve``: conversations of an engine with a scripted service."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest

from inworld_sync import Session
from inworld_sync.games import serve

from support.engine import Engine
from support.scripted_realtime import Service, obedient, realtime

MS = 48


def engine_of(stack: ExitStack, script: Callable[[Service], None], **session: Any) -> Engine:
    """Return an engine whose server uses a scripted service."""
    iw = stack.enter_context(realtime(script))
    server = stack.enter_context(serve(0, client=iw, session=Session(**session)))
    engine = stack.enter_context(Engine(server.url, {"ahead_ms": 500}))
    engine.wait_for("ready")
    return engine


@pytest.fixture
def stack() -> AbstractContextManager[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_text(stack: ExitStack) -> None:
    """Each reply is a line with a negative number. The engine gets every state of the session."""
    engine = engine_of(stack, obedient)
    engine.send("start")
    engine.wait_for("state", state="listening")
    engine.send("say", text="Hi.")
    first = engine.play(-1)
    engine.send("say", text="And bye.")
    second = engine.play(-2)
    engine.send("stop")
    engine.wait_for("state", state="closed")

    assert ("You said Hi. ", 100.0) == (first.text, first.received_ms)
    assert "You said And bye. " == second.text
    assert first.end is not None
    assert ("complete", 100.0) == (first.end["reason"], first.end["ms"])
    states = [event["state"] for event in engine.events if event["type"] == "state"]
    assert ["connecting", "listening", "thinking", "responding", "listening"] == states[:5]


def test_settings(stack: ExitStack) -> None:
    """The engine can replace settings of the server's session. The other settings are kept."""
    asked: list[Any] = []

    def script(service: Service) -> None:
        asked.append(service.open())
        service.until_left()

    engine = engine_of(stack, script, instructions="Be brief.", temperature=0.5)
    engine.send("start", instructions="You are a guard.", voice="Dennis", push_to_talk=True)
    engine.wait_for("state", state="listening")

    [session] = asked
    assert "You are a guard." == session["instructions"]
    assert 0.5 == session["temperature"]
    assert "Dennis" == session["audio"]["output"]["voice"]
    assert session["audio"]["input"]["turn_detection"] is None


def speak_long(service: Service, milliseconds: int) -> None:
    request = service.request()
    service.created("resp_1", request)
    service.item("resp_1", "item_a1")
    service.audio("resp_1", "item_a1", bytes(milliseconds * MS))


def test_the_engine_interrupts(stack: ExitStack) -> None:
    """If the engine interrupts a reply, the item is truncated to the part that was heard."""
    truncated: list[Any] = []

    def script(service: Service) -> None:
        service.open()
        speak_long(service, 3000)
        truncated.append(service.until("conversation.item.truncate"))
        service.until_left()

    engine = engine_of(stack, script)
    engine.send("start")
    engine.send("say", text="Tell me a story.")
    engine.until(lambda: -1 in engine.lines and engine.lines[-1].received_ms >= 500)
    engine.send("interrupt", line=-1, heard_ms=321)
    end = engine.wait_for("end", line=-1)
    while not truncated:
        threading.Event().wait(0.01)

    assert "interrupted" == end["reason"]
    assert "item_a1" == truncated[0]["item_id"]
    # At most 300 ms of the time since the report are added to the position.
    assert 321 <= truncated[0]["audio_end_ms"] <= 621


def test_the_player_interrupts(stack: ExitStack) -> None:
    """
    When the player begins to speak, the line ends. The engine's last report gives the heard part.
    """
    truncated: list[Any] = []
    spoken = threading.Event()

    def script(service: Service) -> None:
        service.open()
        speak_long(service, 3000)
        assert spoken.wait(30)
        service.event("input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_u1")
        truncated.append(service.until("conversation.item.truncate"))
        service.until_left()

    engine = engine_of(stack, script)
    engine.send("start")
    engine.send("say", text="Tell me a story.")
    engine.until(lambda: -1 in engine.lines and engine.lines[-1].received_ms >= 500)
    engine.send("heard", line=-1, ms=250)
    engine.until(lambda: engine.lines[-1].received_ms >= 700)
    spoken.set()
    end = engine.wait_for("end", line=-1)
    engine.wait_for("state", state="hearing")
    while not truncated:
        threading.Event().wait(0.01)

    assert "interrupted" == end["reason"]
    # At most 300 ms of the time since the report are added to the position.
    assert 250 <= truncated[0]["audio_end_ms"] <= 550


def test_the_player_interrupts_audio_that_waits_in_the_engine(stack: ExitStack) -> None:
    """If the player interrupts after all audio was sent, a second ``end`` says ``interrupted``."""
    truncated: list[Any] = []
    spoken = threading.Event()

    def script(service: Service) -> None:
        service.open()
        service.speak(service.request(), 1, "A story.", bytes(400 * MS))
        assert spoken.wait(30)
        service.event("input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_u1")
        truncated.append(service.until("conversation.item.truncate"))
        service.until_left()

    engine = engine_of(stack, script)
    engine.send("start")
    engine.send("say", text="Tell me a story.")
    engine.wait_for("end", line=-1, reason="complete", ms=400)
    engine.send("interrupt", line=-9, heard_ms=1)
    spoken.set()
    engine.wait_for("end", line=-1, reason="interrupted")
    while not truncated:
        threading.Event().wait(0.01)

    assert truncated[0]["audio_end_ms"] <= 300


def test_push_to_talk(stack: ExitStack) -> None:
    """Audio is sent only while the button is pressed. After the release, a reply is requested."""
    received: list[bytes] = []

    def script(service: Service) -> None:
        service.open()
        service.until("input_audio_buffer.commit")
        received.extend(service.said("input_audio_buffer.append"))
        service.acknowledge({"item": {"id": "item_u1", "type": "message", "role": "user"}})
        service.speak(service.request(), 1, "Yes?", bytes(4800))
        service.until_left()

    engine = engine_of(stack, script)
    engine.send("start", push_to_talk=True, rate_hz=24000)
    engine.wait_for("state", state="listening")
    engine.send_audio(b"\1\0" * 2400)
    engine.send("push", down=True)
    engine.send_audio(b"\2\0" * 2400)
    engine.send("push", down=False)
    engine.send_audio(b"\3\0" * 2400)
    line = engine.play(-1)

    assert "Yes? " == line.text
    audio = "".join(command["audio"] for command in received)
    assert "AgAC" in audio
    assert "AQAB" not in audio
    assert "AwAD" not in audio


def test_a_button_without_audio(stack: ExitStack) -> None:
    """If no audio was sent while the button was pressed, the engine gets an error."""
    engine = engine_of(stack, obedient)
    engine.send("start", push_to_talk=True)
    engine.send("push", down=True)
    engine.send("push", down=False)
    assert "no_audio" == engine.wait_for("error")["code"]


def test_a_button_without_push_to_talk(stack: ExitStack) -> None:
    """Without push_to_talk, the message push causes an error."""
    engine = engine_of(stack, obedient)
    engine.send("start")
    engine.send("push", down=True)
    assert "push_to_talk" in engine.wait_for("error")["message"]


def test_transcripts_of_the_player(stack: ExitStack) -> None:
    """The engine gets partial and final transcripts of the player's speech."""

    def script(service: Service) -> None:
        service.open()
        name = "conversation.item.input_audio_transcription"
        service.event(f"{name}.delta", item_id="u", content_index=0, delta="Open the")
        service.event(
            f"{name}.completed", item_id="u", content_index=0, transcript="Open the gate."
        )
        service.until_left()

    engine = engine_of(stack, script)
    engine.send("start")
    final = engine.wait_for("player", final=True)

    assert "Open the gate." == final["text"]
    assert "Open the" == engine.wait_for("player", final=False)["text"]


def test_the_service_refuses_the_session(stack: ExitStack) -> None:
    """If the session cannot be opened, the engine gets an error, and may start again."""

    def refusing(service: Service) -> None:
        service.event("session.created", session=service.session)
        service.until("session.update")
        service.error("invalid_value", "there is no such voice")
        service.until_left()

    iw = stack.enter_context(realtime(refusing, obedient))
    server = stack.enter_context(serve(0, client=iw))
    engine = stack.enter_context(Engine(server.url, {}))
    engine.send("start", voice="Nobody")
    error = engine.wait_for("error")
    engine.wait_for("state", state="closed")
    engine.events.clear()
    engine.send("start")
    engine.wait_for("state", state="listening")
    engine.send("say", text="Hi.")
    engine.play(-1)

    assert "service" == error["code"]
    assert "no such voice" in error["message"]


def test_two_conversations(stack: ExitStack) -> None:
    """A second start is refused while the first conversation is open."""
    engine = engine_of(stack, obedient)
    engine.send("start")
    engine.send("start")
    error = engine.wait_for("error")
    engine.wait_for("state", state="listening")

    assert "already" in error["message"]


def test_the_numbers_of_replies_never_repeat(stack: ExitStack) -> None:
    """The replies of a second conversation have new numbers."""
    iw = stack.enter_context(realtime(obedient, obedient))
    server = stack.enter_context(serve(0, client=iw))
    engine = stack.enter_context(Engine(server.url, {}))
    for number in (-1, -2):
        engine.events.clear()
        engine.send("start")
        engine.send("say", text="Hi.")
        engine.play(number)
        engine.send("stop")
        engine.wait_for("state", state="closed")


def test_stop_during_a_reply(stack: ExitStack) -> None:
    """If the engine stops a conversation, the line of the current reply is interrupted."""

    def script(service: Service) -> None:
        service.open()
        speak_long(service, 3000)
        service.until_left()

    engine = engine_of(stack, script)
    engine.send("start")
    engine.send("say", text="Tell me a story.")
    engine.until(lambda: -1 in engine.lines and engine.lines[-1].received_ms >= 400)
    engine.send("stop")
    end = engine.wait_for("end", line=-1)
    engine.wait_for("state", state="closed")

    assert "interrupted" == end["reason"]


def test_the_service_ends_the_session(stack: ExitStack) -> None:
    """If the service ends the session, the engine plays the audio so far and gets the error."""

    def script(service: Service) -> None:
        service.open()
        speak_long(service, 1000)
        service.error("insufficient_quota", "the quota is exhausted", type="quota_exceeded")
        service.close(1008, "quota")

    engine = engine_of(stack, script)
    engine.send("start")
    engine.send("say", text="Tell me a story.")
    line = engine.play(-1)
    engine.wait_for("state", state="closed")
    error = engine.wait_for("error")

    assert 1000 == line.received_ms
    assert line.end is not None
    assert "complete" == line.end["reason"]
    assert "service" == error["code"]
