"""A lost connection: another one carries the session on, and nothing happens twice."""

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
    InvalidRequestError,
    QuotaError,
    StreamEnded,
)
from inworld_sync.models.realtime import (
    InputImage,
    ItemAdded,
    ItemDone,
    ManualTurns,
    Message,
    PingReceived,
    ProviderData,
    SemanticVad,
    Session,
    SessionCreated,
    SessionUpdated,
    UpdateSession,
)
from inworld_sync.sessions.realtime.commands import Commands, Phase
from inworld_sync.sessions.realtime.events import SessionReconnected, ToolOutputSent
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.sessions.tools.function import tool

from support.counting import CountingLimiter
from support.scripted_realtime import Event, Script, Service, obedient, realtime

PATIENCE_SECONDS = 30.0


def idle(service: Service) -> None:
    service.open()
    service.until_left()


def cut(service: Service) -> None:
    """Open, and cut the connection."""
    service.open()
    service.hang_up()


def reconnected(rt: RealtimeSession) -> SessionReconnected:
    events = rt.events(timeout=PATIENCE_SECONDS)
    return next(event for event in events if isinstance(event, SessionReconnected))


def told(service: Service) -> list[Event]:
    """The items that the client has given a connection, without their ids."""
    items = [command["item"] for command in service.said("conversation.item.create")]
    return [{k: v for k, v in item.items() if k != "id"} for item in items]


# What is told again.


def test_the_settings_are_sent_again() -> None:
    """A new connection is opened with what was asked for and accepted, updates merged in."""
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


def test_the_conversation_is_told_again() -> None:
    """Items are made anew under their ids, in order; what was spoken is told as text."""
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
    # Users are told none of it a second time.
    assert [] == [each for each in later if isinstance(each, (ItemAdded, ItemDone))]
    assert [each["id"] for each in expected] == [item_id for item_id, _ in conversation][:5]


def test_what_cannot_be_told_is_named() -> None:
    """A turn that was not yet written down is lost with its connection, and said to be."""

    def first(service: Service) -> None:
        service.open()
        item = {"id": "u1", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
        service.event("conversation.item.added", item=item)
        service.hang_up()

    with realtime(first, idle) as iw, iw.realtime.connect() as rt:
        event = reconnected(rt)

        assert (("u1",), 0) == (event.lost_items, event.replayed_items)
        assert () == rt.conversation


def test_speech_is_told_as_far_as_it_was_heard() -> None:
    """An item that was cut is told again with about the words that were heard."""
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

    # Half of the sound is about half of the 23 letters: "one two thr".
    assert "one two" == second_has[0]["content"][0]["text"]


def test_items_on_their_way_are_not_lost() -> None:
    """An item that the old connection had not acknowledged is given to the new one."""
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


def test_an_update_that_nobody_waits_for_is_not_lost() -> None:
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


# Replies and tools.


def test_a_reply_that_had_not_begun_is_asked_for_again() -> None:
    """A reply that was asked for just before the loss is given by the new connection."""

    def first(service: Service) -> None:
        service.open()
        service.request()
        service.hang_up()

    with realtime(first, obedient) as iw, iw.realtime.connect() as rt:
        reply = rt.send_message("Hello")

        assert "You said Hello" == reply.wait(PATIENCE_SECONDS).text.strip()


def test_a_reply_under_way_has_failed() -> None:
    """A reply that had begun fails with the connection, and the session goes on."""

    def first(service: Service) -> None:
        service.open()
        service.created("resp_1", service.request())
        service.text("resp_1", "a1", "Once upon")
        service.hang_up()

    with realtime(first, obedient) as iw, iw.realtime.connect() as rt:
        reply = rt.send_message("Tell me a story")
        with pytest.raises(ConnectionLost):
            reply.wait(PATIENCE_SECONDS)
        # The new connection gives its replies the same names.
        again = rt.send_message("Again")

        assert ("failed", "Once upon") == (reply.status, reply.text)
        assert "You said Again" == again.wait(PATIENCE_SECONDS).text.strip()


def test_a_reply_that_waits_for_another_is_asked_for() -> None:
    """A reply that was not yet asked for when the connection was lost is asked for later."""

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
    """A reply that was cancelled before the loss is not asked for again."""

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


# (whether the reply that calls is over before the loss).
@pytest.mark.parametrize("is_over", [True, False])
def test_no_tool_runs_twice(is_over: bool) -> None:
    """A function that runs while the connection is lost is answered on the new one, once."""
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
        # The user's words and the call are told again, and acknowledged like anything else.
        for _ in range(2):
            service.acknowledge(service.until("conversation.item.create"))
        release.set()
        request = service.request()
        seen.extend(told(service))
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


def test_a_call_of_the_same_name_on_a_new_connection_is_another_one() -> None:
    """A new connection may count its calls from one again; they are run like any others."""
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


# While it is away.


def test_commands_wait_for_the_new_connection() -> None:
    """What is called while the session reconnects is done by the new connection."""
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
    A session that was opened is a session, also if it reconnects before ``connect`` returns.

    Once connect failed with "the connection was lost at once" if its thread woke up after the one
    that dials again; here it is made to.
    """
    dialled_again = threading.Event()
    wait_for = Commands.wait_for

    def wait_longer(commands: Commands, *arguments: Any) -> None:
        wait_for(commands, *arguments)
        while not dialled_again.is_set():
            commands.monitor.wait(0.01)

    def second(service: Service) -> None:
        dialled_again.set()
        idle(service)

    monkeypatch.setattr(Commands, "wait_for", wait_longer)
    with realtime(cut, second) as iw, iw.realtime.connect() as rt:
        reconnected(rt)


def test_an_end_right_after_the_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A session that was opened is a session, also if it ends before ``connect`` returns.

    It depended on which thread woke up first whether connect raised that end, or the session's
    events did; here the one that connects is late.
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


def test_commands_wait_no_longer_than_they_may() -> None:
    """A call that may not wait so long says that the session reconnects."""
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


def test_sound_of_a_turn_that_is_lost_is_counted() -> None:
    """What the user was saying when the connection was lost is told to be lost."""

    def first(service: Service) -> None:
        service.open()
        for _ in range(3):
            service.until("input_audio_buffer.append")
        service.hang_up()

    with (
        realtime(first, idle) as iw,
        iw.realtime.connect(Session(turn_detection=ManualTurns())) as rt,
    ):
        rt.send_audio(bytes(3 * 4800))

        assert 300.0 == reconnected(rt).lost_input_ms


def test_closing_while_it_reconnects() -> None:
    """A session that reconnects can be closed at once, and ends once."""

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


# When it is tried, and for how long.


def closing(code: int) -> Script:
    def script(service: Service) -> None:
        service.open()
        service.close(code, "bye")

    return script


@pytest.mark.parametrize("code", [1001, 1005, 1011, 1012, 1013])
def test_a_close_that_is_no_farewell(code: int) -> None:
    """A service that goes away or fails is dialled again."""

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
def test_a_close_that_is_this_sides_fault(code: int) -> None:
    """A service that refuses what this side does is not dialled again."""
    with realtime(closing(code), idle) as iw, iw.realtime.connect() as rt:
        with pytest.raises(ConnectionLost, match="bye"):
            list(rt.events(timeout=PATIENCE_SECONDS))

        assert rt.ended is not None
        assert ("server", code) == (rt.ended.by, rt.ended.code)


def test_reconnecting_may_be_switched_off() -> None:
    """With no time for it a lost connection ends the session."""
    with realtime(cut) as iw, iw.realtime.connect(reconnect_timeout=0) as rt:
        with pytest.raises(ConnectionLost):
            list(rt.events(timeout=PATIENCE_SECONDS))


def test_several_attempts() -> None:
    """A service that is away for a while is dialled until it is back."""
    limiter = CountingLimiter(1)
    scripts = [cut, lambda service: service.hang_up(), lambda service: service.hang_up(), idle]
    with realtime(*scripts, limiter=limiter) as iw, iw.realtime.connect() as rt:
        event = reconnected(rt)

        assert (3, 1) == (event.attempts, limiter.taken)
        assert 100 < event.outage_ms
    assert 0 == limiter.taken


def test_an_outage_that_lasts() -> None:
    """A session that finds no service within its time ends, and says what was lost and tried."""
    scripts = [cut, lambda service: service.hang_up()]
    with realtime(*scripts) as iw, iw.realtime.connect(reconnect_timeout=0.5) as rt:
        with pytest.raises(ConnectionLost, match=r"in \d+ attempts \(reconnect_timeout=0\.5\)"):
            list(rt.events(timeout=PATIENCE_SECONDS))

        assert rt.ended is not None
        assert rt.ended.error is not None
        assert isinstance(rt.ended.error.__cause__, ConnectionLost)


def test_a_service_that_accepts_and_drops() -> None:
    """A service that opens each session and drops it at once is given up too."""
    with realtime(cut) as iw, iw.realtime.connect(reconnect_timeout=0.8) as rt:
        with pytest.raises(ConnectionLost, match="attempts"):
            list(rt.events(timeout=PATIENCE_SECONDS))


def test_time_begins_anew_after_a_good_connection() -> None:
    """A session may be lost any number of times, if it was good in between."""

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
    """When the interpreter ends, no thread can start; the session ends without a log message."""
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


# (what the new connection says, the error).
REFUSALS = [
    ({"errorType": "SESSION_RESOURCES_EXHAUSTED", "message": "full"}, QuotaError),
    ({"errorType": "SESSION_TOKEN_EXPIRED", "message": "old"}, AuthError),
]


@pytest.mark.parametrize(("fault", "kind"), REFUSALS)
def test_a_refusal_ends_the_attempts(fault: Event, kind: type[Exception]) -> None:
    """A refusal that no further attempt can change ends the session with it."""

    def second(service: Service) -> None:
        service.until("session.update")
        service.send(fault)
        service.until_left()

    with realtime(cut, second) as iw, iw.realtime.connect() as rt, pytest.raises(kind):
        list(rt.events(timeout=PATIENCE_SECONDS))


def test_settings_that_are_refused_on_the_new_connection() -> None:
    """A new connection that refuses the settings ends the session with its reason."""

    def second(service: Service) -> None:
        service.until("session.update")
        service.error("invalid_value", "no such model")
        service.until_left()

    with realtime(cut, second) as iw, iw.realtime.connect() as rt:
        with pytest.raises(InvalidRequestError, match="no such model"):
            list(rt.events(timeout=PATIENCE_SECONDS))


def test_users_are_told_once() -> None:
    """Of a reconnect users see one event, and none of the new connection's beginnings."""

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


def test_users_are_told_first_of_the_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What a new connection says at once is told after the reconnect.

    It came before it if the thread that dials was late, as it is here.
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
