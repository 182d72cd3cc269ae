"""A new connection continues the session of a lost connection, and nothing happens twice."""

from __future__ import annotations

import base64
import threading
import time
from typing import Any

import pytest

from inworld_sync import (
    AuthError,
    ClosedError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequestError,
    QuotaError,
    StreamEnded,
)
from inworld_sync.models.realtime import (
    InputImage,
    ItemAdded,
    ItemDone,
    Message,
    PingReceived,
    ProviderData,
    ResponseConfig,
    SemanticVad,
    Session,
    SessionCreated,
    SessionUpdated,
    UpdateSession,
)
from inworld_sync.sessions.realtime.commands import Commands, Phase
from inworld_sync.sessions.realtime.events import SessionReconnected, ToolOutputSent
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.tools.function import tool

from support.counting import CountingLimiter
from support.scripted_realtime import Event, Script, Service, obedient, realtime

PATIENCE_SECONDS = 30.0


def idle(service: Service) -> None:
    service.open()
    service.until_left()


def cut(service: Service) -> None:
    """Open the session, then cut the connection."""
    service.open()
    service.hang_up()


def reconnected(rt: RealtimeSession) -> SessionReconnected:
    events = rt.events(timeout=PATIENCE_SECONDS)
    return next(event for event in events if isinstance(event, SessionReconnected))


def items_sent(service: Service) -> list[Event]:
    """Return the items that the client has sent on a connection, without their ids."""
    items = [command["item"] for command in service.said("conversation.item.create")]
    return [{k: v for k, v in item.items() if k != "id"} for item in items]


# Replay.


def test_the_settings_are_sent_again() -> None:
    """A new connection gets the accepted settings, which include all accepted updates."""
    asked: list[Event] = []
    lines: list[str] = []

    def first(service: Service) -> None:
        lines.append(service.peer.request.decode().split("\r\n")[0])
        asked.append(service.open())
        service.accept_update()
        command = service.until("session.update")
        service.error("invalid_value", event_id=command["event_id"])
        service.until("output_audio_buffer.clear")
        service.hang_up()

    def second(service: Service) -> None:
        lines.append(service.peer.request.decode().split("\r\n")[0])
        asked.append(service.open())
        service.until_left()

    session = Session(
        instructions="Be brief.",
        voice="Sarah",
        turn_detection=SemanticVad(),
        provider_data=ProviderData(user_id="u1"),
    )
    with realtime(first, second) as iw, iw.realtime.connect(session) as rt:
        rt.update(Session(voice="Ashley"))
        with pytest.raises(InvalidRequestError):
            rt.update(Session(voice="Nobody"))
        rt.clear_output()
        event = reconnected(rt)

        assert ("Be brief.", "Ashley") == (rt.session.instructions, rt.session.voice)
    expected = {**asked[0]}
    expected["audio"]["output"]["voice"] = "Ashley"
    assert expected == asked[1]
    assert lines[0] != lines[1]
    assert (1, 0, (), 0.0) == (
        event.attempts,
        event.replayed_items,
        event.lost_items,
        event.lost_input_ms,
    )


def test_the_conversation_is_replayed() -> None:
    """Items are created again with their ids, in order. Speech is sent as text."""
    second_has: list[Event] = []

    def first(service: Service) -> None:
        service.open()
        service.acknowledge(service.until("conversation.item.create"))
        service.event("input_audio_buffer.committed", item_id="u1")
        spoken = {"id": "u1", "type": "message", "role": "user", "status": "completed"}
        content = [{"type": "input_audio", "transcript": None}]
        service.event("conversation.item.added", item={**spoken, "content": content})
        service.event(
            "conversation.item.input_audio_transcription.completed",
            item_id="u1",
            transcript="What time is it?",
        )
        service.speak(None, 1, "It is noon.")
        call = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "f"}
        service.event("conversation.item.done", item={**call, "arguments": ""})
        output = {"id": "o1", "type": "function_call_output", "call_id": "c1", "output": "ok"}
        service.event("conversation.item.done", item=output)
        listed = {"id": "m1", "type": "mcp_list_tools", "server_label": "x", "tools": []}
        service.event("conversation.item.done", item=listed)
        service.hang_up()

    def second(service: Service) -> None:
        service.open()
        for _ in range(5):
            command = service.until("conversation.item.create")
            second_has.append(command["item"])
            service.acknowledge(command)
        service.event("ping", timestamp=1)
        service.until_left()

    with realtime(first, second) as iw, iw.realtime.connect() as rt:
        system = rt.add(Message.system("Be kind.", InputImage("data:image/png;base64,AAAA")))
        event = reconnected(rt)
        later = []
        for each in rt.events(timeout=PATIENCE_SECONDS):
            if getattr(each, "type", "") == "ping":
                break
            later.append(each)
        conversation = [(entry.item.id, entry.item.type) for entry in rt.conversation]

    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    expected: list[Event] = [
        {
            "type": "message",
            "role": "system",
            "content": [{"type": "input_text", "text": "Be kind."}, image],
            "id": system,
        },
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "What time is it?"}],
            "id": "u1",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "It is noon."}],
            "id": "item_a1",
        },
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "id": "f1"},
        {"type": "function_call_output", "call_id": "c1", "output": "ok", "id": "o1"},
    ]
    assert expected == second_has
    assert (5, ()) == (event.replayed_items, event.lost_items)
    # The replayed items emit no events.
    assert [] == [each for each in later if isinstance(each, (ItemAdded, ItemDone))]
    assert [each["id"] for each in expected] == [item_id for item_id, _ in conversation][:5]


def test_items_that_cannot_be_replayed_are_reported() -> None:
    """A turn without a transcript is lost with the connection, and the event reports the loss."""

    def first(service: Service) -> None:
        service.open()
        item = {"id": "u1", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
        service.event("conversation.item.added", item=item)
        service.hang_up()

    with realtime(first, idle) as iw, iw.realtime.connect() as rt:
        event = reconnected(rt)

        assert (("u1",), 0) == (event.lost_items, event.replayed_items)
        assert () == rt.conversation


def test_speech_is_replayed_as_far_as_it_was_heard() -> None:
    """A truncated item is replayed with approximately the words that were heard."""
    second_has: list[Event] = []

    def first(service: Service) -> None:
        service.open()
        service.until("output_audio_buffer.clear")
        service.speak(None, 1, "one two three four five", bytes(48000))
        service.until("output_audio_buffer.clear")
        service.until("conversation.item.truncate")
        service.hang_up()

    def second(service: Service) -> None:
        service.open()
        second_has.extend([service.until("conversation.item.create")["item"]])
        service.until_left()

    with realtime(first, second) as iw, iw.realtime.connect() as rt:
        rt.clear_output()
        events = rt.events(timeout=PATIENCE_SECONDS)
        next(e for e in events if getattr(e, "type", "") == "response.done")
        rt.clear_output()
        rt.interrupt({"item_a1": 500.0})
        reconnected(rt)
        while not second_has:
            threading.Event().wait(0.001)

    # Half of the audio is about half of the 23 letters: "one two thr".
    assert "one two" == second_has[0]["content"][0]["text"]


def test_unacknowledged_items_are_not_lost() -> None:
    """An item that the old connection had not acknowledged is sent on the new connection."""
    second_has: list[Event] = []

    def first(service: Service) -> None:
        service.open()
        service.until("conversation.item.create")
        service.hang_up()

    def second(service: Service) -> None:
        service.open()
        command = service.until("conversation.item.create")
        second_has.append(command["item"])
        service.acknowledge(command)
        service.until_left()

    with realtime(first, second) as iw, iw.realtime.connect() as rt:
        item_id = rt.add(Message.user("Remember me."))
        added = next(e for e in rt.events(timeout=PATIENCE_SECONDS) if isinstance(e, ItemAdded))

        assert (item_id, item_id) == (second_has[0]["id"], added.item.id)


def test_an_update_without_wait_is_not_lost() -> None:
    """An update that was sent and not answered is sent again."""
    seen: list[str] = []

    def first(service: Service) -> None:
        service.open()
        service.until("session.update")
        service.hang_up()

    def second(service: Service) -> None:
        service.open()
        service.accept_update()
        seen.append(service.session["audio"]["output"]["voice"])
        service.until_left()

    with realtime(first, second) as iw, iw.realtime.connect(Session(voice="Sarah")) as rt:
        rt.send(UpdateSession(Session(voice="Ashley")))
        while not seen:
            threading.Event().wait(0.001)

    assert ["Ashley"] == seen


# Responses and tools.


def test_a_response_that_has_not_begun_is_requested_again() -> None:
    """
    A response that was requested just before the loss is requested again on the new connection.
    """

    def first(service: Service) -> None:
        service.open()
        service.request()
        service.hang_up()

    with realtime(first, obedient) as iw, iw.realtime.connect() as rt:
        reply = rt.send_message("Hello")

        assert "You said Hello" == reply.wait(PATIENCE_SECONDS).text.strip()


def test_a_request_that_always_loses_the_connection_ends() -> None:
    """A request is sent on three connections at most, and the session continues."""

    def losing(service: Service) -> None:
        service.open()
        request = service.request()
        if request["response"]["instructions"] != "good":
            # The client counts a connection with any response as a good connection.
            service.created("resp_other")
            service.hang_up()
        service.speak(request, 1, "hello")
        service.until_left()

    with realtime(losing) as iw, iw.realtime.connect() as rt:
        with pytest.raises(ConnectionLost):
            rt.respond(ResponseConfig(instructions="bad")).wait(PATIENCE_SECONDS)
        good = rt.respond(ResponseConfig(instructions="good")).wait(PATIENCE_SECONDS)

        assert "hello" in good.text


def test_a_response_in_progress_fails() -> None:
    """If the connection is lost, a response in progress fails, and the session continues."""

    def first(service: Service) -> None:
        service.open()
        service.created("resp_1", service.request())
        service.text("resp_1", "a1", "Once upon")
        service.hang_up()

    with realtime(first, obedient) as iw, iw.realtime.connect() as rt:
        reply = rt.send_message("Tell me a story")
        with pytest.raises(ConnectionLost):
            reply.wait(PATIENCE_SECONDS)
        # The new connection uses the response ids of the old connection again.
        again = rt.send_message("Again")

        assert ("failed", "Once upon") == (reply.status, reply.text)
        assert "You said Again" == again.wait(PATIENCE_SECONDS).text.strip()


def test_a_queued_request_is_kept() -> None:
    """A request that was still queued when the connection was lost is sent later."""

    def first(service: Service) -> None:
        service.open()
        service.created("resp_1", service.request())
        service.hang_up()

    with realtime(first, obedient) as iw, iw.realtime.connect() as rt:
        lost, waiting = rt.send_message("one"), rt.send_message("two")
        with pytest.raises(ConnectionLost):
            lost.wait(PATIENCE_SECONDS)

        assert "You said two" == waiting.wait(PATIENCE_SECONDS).text.strip()


def test_a_cancelled_request_stays_cancelled() -> None:
    """A response that was cancelled before the loss is not requested again."""

    def first(service: Service) -> None:
        service.open()
        service.request()
        service.until("output_audio_buffer.clear")
        service.hang_up()

    with realtime(first, obedient) as iw, iw.realtime.connect() as rt:
        reply = rt.send_message("Hello")
        reply.cancel()
        rt.clear_output()
        reconnected(rt)

        assert "cancelled" == reply.wait(PATIENCE_SECONDS).status
        assert "You said more" == rt.send_message("more").wait(PATIENCE_SECONDS).text.strip()


# The parameter says whether the response with the call has ended before the loss.
@pytest.mark.parametrize("is_over", [True, False])
def test_no_tool_runs_twice(is_over: bool) -> None:
    """A function runs only once. Its output is sent on the new connection."""
    runs: list[int] = []
    release = threading.Event()

    @tool
    def book(seat: int) -> str:
        """Books a seat."""
        runs.append(seat)
        release.wait(PATIENCE_SECONDS)
        return f"booked {seat}"

    seen: list[Event] = []

    def first(service: Service) -> None:
        service.open()
        service.created("resp_1", service.request())
        service.call("resp_1", "f1", "c1", "book", '{"seat": 7}')
        if is_over:
            service.done("resp_1")
        service.until("output_audio_buffer.clear")
        service.hang_up()

    def second(service: Service) -> None:
        service.open()
        # The user's message and the call are replayed, and acknowledged like other items.
        for _ in range(2):
            service.acknowledge(service.until("conversation.item.create"))
        release.set()
        request = service.request()
        seen.extend(items_sent(service))
        service.speak(request, 1, "Done.")
        service.event("ping", timestamp=1)
        service.until_left()

    with realtime(first, second) as iw, iw.realtime.connect(Session(tools=[book])) as rt:
        rt.send_message("Book seat 7")
        while not runs:
            threading.Event().wait(0.001)
        rt.clear_output()
        events = rt.events(timeout=PATIENCE_SECONDS)
        answers = []
        for event in events:
            if isinstance(event, ToolOutputSent):
                answers.append(event.output)
            if getattr(event, "type", "") == "ping":
                break

    assert ([7], ["booked 7"]) == (runs, answers)
    assert [
        ("message", None),
        ("function_call", None),
        ("function_call_output", "booked 7"),
    ] == [(item["type"], item.get("output")) for item in seen]


def test_a_call_id_may_come_again_on_a_new_connection() -> None:
    """A new connection may use the ids of earlier calls again. The new calls run too."""
    runs: list[int] = []

    @tool
    def count() -> int:
        """Counts."""
        runs.append(len(runs) + 1)
        return runs[-1]

    def first(service: Service) -> None:
        service.open()
        service.created("resp_1", service.request())
        service.call("resp_1", "f1", "c1", "count")
        service.done("resp_1")
        service.created("resp_2", service.request())
        service.done("resp_2")
        service.hang_up()

    def second(service: Service) -> None:
        service.open()
        service.created("resp_1", service.request())
        service.call("resp_1", "f9", "c1", "count")
        service.done("resp_1")
        service.speak(service.request(), 2, "Done.")
        service.event("ping", timestamp=1)
        service.until_left()

    with realtime(first, second) as iw, iw.realtime.connect(Session(tools=[count])) as rt:
        rt.respond().wait(PATIENCE_SECONDS)
        reconnected(rt)
        rt.respond()
        events = rt.events(timeout=PATIENCE_SECONDS)
        next(e for e in events if getattr(e, "type", "") == "ping")

    assert [1, 2] == runs


# Calls during the outage.


def test_commands_wait_for_the_new_connection() -> None:
    """Commands that are called while the session reconnects are sent on the new connection."""
    hold = threading.Event()
    heard: list[bytes] = []

    def second(service: Service) -> None:
        hold.wait(PATIENCE_SECONDS)
        service.open()
        command = service.until("input_audio_buffer.append")
        heard.append(base64.b64decode(command["audio"]))
        service.accept_update()
        service.until_left()

    with realtime(cut, second) as iw, iw.realtime.connect() as rt:
        while rt.stats is not None:
            threading.Event().wait(0.001)
        threading.Timer(0.1, hold.set).start()
        rt.send_audio(b"\1\0" * 2400)
        info = rt.update(Session(voice="Ashley"), timeout=PATIENCE_SECONDS)

    assert ("Ashley", [b"\1\0" * 2400]) == (info.voice, heard)


def test_a_loss_right_after_the_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    ``connect`` returns an open session, even if the session reconnects before ``connect`` returns.

    The test delays the thread of ``connect`` until another thread has reconnected.
    """
    has_reconnected = threading.Event()
    wait_for = Commands.wait_for

    def wait_longer(commands: Commands, *arguments: Any) -> None:
        wait_for(commands, *arguments)
        while not has_reconnected.is_set():
            commands.monitor.wait(0.01)

    def second(service: Service) -> None:
        has_reconnected.set()
        idle(service)

    monkeypatch.setattr(Commands, "wait_for", wait_longer)
    with realtime(cut, second) as iw, iw.realtime.connect() as rt:
        reconnected(rt)


def test_an_end_right_after_the_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    If a session opens and ends before ``connect`` returns, ``connect`` still returns the session.

    The test delays the thread of ``connect`` until the session has ended.
    """
    wait_for = Commands.wait_for

    def wait_longer(commands: Commands, *arguments: Any) -> None:
        wait_for(commands, *arguments)
        while commands.ended is None:
            commands.monitor.wait(0.01)

    monkeypatch.setattr(Commands, "wait_for", wait_longer)
    with realtime(cut) as iw, iw.realtime.connect(reconnect_timeout=0) as rt:
        with pytest.raises(ConnectionLost):
            list(rt.events(timeout=PATIENCE_SECONDS))


def test_commands_wait_until_their_timeout() -> None:
    """
    If a call times out while the session reconnects, the error says that the session reconnects.
    """
    hold = threading.Event()

    def second(service: Service) -> None:
        hold.wait(PATIENCE_SECONDS)
        idle(service)

    with realtime(cut, second) as iw, iw.realtime.connect() as rt:
        while rt.stats is not None:
            threading.Event().wait(0.001)
        with pytest.raises(TimeoutError, match="reconnects"):
            rt.send_audio(bytes(4800), timeout=0.05)
        hold.set()
        reconnected(rt)


def test_closing_while_it_reconnects() -> None:
    """A session that reconnects can be closed at once, and emits one ``StreamEnded``."""

    def second(service: Service) -> None:
        service.until_left()

    with realtime(cut, second, connect_timeout=60, ping_timeout=60) as iw:
        rt = iw.realtime.connect()
        ends: list[StreamEnded] = []
        rt.on(StreamEnded, ends.append)
        while rt.stats is not None:
            threading.Event().wait(0.001)
        began = time.monotonic()
        rt.close()
        took = time.monotonic() - began
        with pytest.raises(ClosedError):
            rt.send_message("Hi")

    assert [("client", None)] == [(each.by, each.error) for each in ends]
    assert 30 > took


# The ends after which the client reconnects, and the duration of the attempts.


def closing(code: int) -> Script:
    def script(service: Service) -> None:
        service.open()
        service.close(code, "bye")

    return script


@pytest.mark.parametrize("code", [1001, 1005, 1011, 1012, 1013])
def test_close_codes_that_reconnect(code: int) -> None:
    """If the close code shows a failure of the service, the client reconnects."""

    def first(service: Service) -> None:
        service.open()
        payload = b"" if code == 1005 else code.to_bytes(2, "big")
        service.peer.send_frame(0x88, payload)
        service.until_left()

    with realtime(first, idle) as iw, iw.realtime.connect() as rt:
        cause = reconnected(rt).cause

        assert isinstance(cause, ConnectionLost)
        assert code == cause.code


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009])
def test_close_codes_that_end_the_session(code: int) -> None:
    """If the close code shows a mistake of the client, the session ends."""
    with realtime(closing(code), idle) as iw, iw.realtime.connect() as rt:
        with pytest.raises(ConnectionLost, match="bye"):
            list(rt.events(timeout=PATIENCE_SECONDS))

        assert rt.ended is not None
        assert ("server", code) == (rt.ended.by, rt.ended.code)


def test_reconnecting_may_be_switched_off() -> None:
    """With ``reconnect_timeout=0`` a lost connection ends the session."""
    with realtime(cut) as iw, iw.realtime.connect(reconnect_timeout=0) as rt:
        with pytest.raises(ConnectionLost):
            list(rt.events(timeout=PATIENCE_SECONDS))


def test_several_attempts() -> None:
    """The client tries to connect until the service is back."""
    limiter = CountingLimiter(1)
    scripts = [cut, lambda service: service.hang_up(), lambda service: service.hang_up(), idle]
    with realtime(*scripts, limiter=limiter) as iw, iw.realtime.connect() as rt:
        event = reconnected(rt)

        assert (3, 1) == (event.attempts, limiter.taken)
        assert 0 < event.outage_ms
    assert 0 == limiter.taken


def test_an_outage_that_lasts() -> None:
    """If no connection opens in time, the session ends. The error names the cause."""
    scripts = [cut, lambda service: service.hang_up()]
    with realtime(*scripts) as iw, iw.realtime.connect(reconnect_timeout=0.5) as rt:
        with pytest.raises(ConnectionLost, match=r"in \d+ attempts \(reconnect_timeout=0\.5\)"):
            list(rt.events(timeout=PATIENCE_SECONDS))

        assert rt.ended is not None
        assert rt.ended.error is not None
        # The deadline may pass before the service drops the last connection.
        assert isinstance(rt.ended.error.__cause__, (ConnectionLost, DeadlineExceeded))


def test_a_service_that_accepts_and_drops() -> None:
    """If the service drops each session right after its opening, the client gives up in time."""
    with realtime(cut) as iw, iw.realtime.connect(reconnect_timeout=0.8) as rt:
        with pytest.raises(ConnectionLost, match="attempts"):
            list(rt.events(timeout=PATIENCE_SECONDS))


def test_the_limits_start_anew_after_a_good_connection() -> None:
    """A session may lose any number of connections if each new connection was good."""

    def good(service: Service) -> None:
        service.open()
        service.until("output_audio_buffer.clear")
        service.speak(None, 1, "Still here.")
        service.hang_up()

    count = 6
    scripts: list[Any] = [good] * count + [idle]
    attempts = []
    with realtime(*scripts) as iw, iw.realtime.connect(reconnect_timeout=5) as rt:
        for _ in range(count):
            rt.clear_output()
            attempts.append(reconnected(rt).attempts)

    assert [1] * count == attempts


def test_no_thread_can_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the interpreter ends, no thread can start. The session ends without a log message."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("inworld-reconnect"):
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with realtime(cut) as iw, iw.realtime.connect() as rt:
        with pytest.raises(ConnectionLost, match="no thread could start"):
            list(rt.events(timeout=PATIENCE_SECONDS))

    assert "ERROR" not in {record.levelname for record in caplog.records}


# (the message on the new connection, the error).
REFUSALS = [
    ({"errorType": "SESSION_RESOURCES_EXHAUSTED", "message": "full"}, QuotaError),
    ({"errorType": "SESSION_TOKEN_EXPIRED", "message": "old"}, AuthError),
]


@pytest.mark.parametrize(("fault", "kind"), REFUSALS)
def test_a_refusal_ends_the_attempts(fault: Event, kind: type[Exception]) -> None:
    """A refusal that another attempt cannot change ends the session with the refusal's error."""

    def second(service: Service) -> None:
        service.until("session.update")
        service.send(fault)
        service.until_left()

    with realtime(cut, second) as iw, iw.realtime.connect() as rt, pytest.raises(kind):
        list(rt.events(timeout=PATIENCE_SECONDS))


def test_settings_that_are_refused_on_the_new_connection() -> None:
    """If the new connection refuses the settings, the session ends with the service's error."""

    def second(service: Service) -> None:
        service.until("session.update")
        service.error("invalid_value", "no such model")
        service.until_left()

    with realtime(cut, second) as iw, iw.realtime.connect() as rt:
        with pytest.raises(InvalidRequestError, match="no such model"):
            list(rt.events(timeout=PATIENCE_SECONDS))


def test_one_event_for_each_reconnect() -> None:
    """A reconnect emits one event. Opening the new connection emits no further events."""

    def second(service: Service) -> None:
        service.open()
        service.event("ping", timestamp=1)
        service.until_left()

    with realtime(cut, second) as iw, iw.realtime.connect() as rt:
        events = []
        for event in rt.events(timeout=PATIENCE_SECONDS):
            events.append(type(event))
            if getattr(event, "type", "") == "ping":
                break

    assert [SessionCreated, SessionUpdated, SessionReconnected] == events[:3]
    assert 4 == len(events)


def test_the_reconnect_is_emitted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    SessionReconnected precedes all other events of the new connection.

    The test delays the thread that connects, so that a wrong order would be visible.
    """
    wait_for = Commands.wait_for

    def wait_longer(commands: Commands, *arguments: Any) -> None:
        wait_for(commands, *arguments)
        while commands.phase is Phase.REOPENING and not commands.items.conversation.entries:
            commands.monitor.wait(0.01)

    def second(service: Service) -> None:
        service.open()
        service.event("ping", timestamp=1)
        item = {"id": "i1", "type": "message", "role": "system", "content": []}
        service.event("conversation.item.added", item=item, previous_item_id=None)
        service.until_left()

    monkeypatch.setattr(Commands, "wait_for", wait_longer)
    with realtime(cut, second) as iw, iw.realtime.connect() as rt:
        events = rt.events(timeout=PATIENCE_SECONDS)
        kinds = [type(next(events)) for _ in range(5)]

    assert [SessionCreated, SessionUpdated, SessionReconnected, PingReceived, ItemAdded] == kinds
