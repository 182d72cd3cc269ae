"""If a service is silent or sends odd messages, each request ends, and the next request is sent."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable

import pytest

from inworld_sync import (
    ConfigError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequestError,
    Inworld,
    InworldError,
    NotFoundError,
    RemoteProtocolError,
    ServiceError,
)
from inworld_sync.models.realtime import (
    CancelResponse,
    CreateItem,
    CreateResponse,
    DeleteItem,
    ErrorReported,
    FunctionTool,
    Message,
    OutputAudio,
    PingReceived,
    ResponseConfig,
    ResponseDone,
    RetrieveItem,
    ServerVad,
    Session,
    TruncateItem,
    UpdateSession,
)
from inworld_sync.sessions.realtime import responses as realtime_responses
from inworld_sync.sessions.realtime.events import ResponseStarted, ToolCalled
from inworld_sync.sessions.realtime.response import Response
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.tools.function import tool
from inworld_sync.wire.realtime.endpoint import RealtimeEndpoint

from support.scripted_realtime import Event, Service, realtime

PATIENCE_SECONDS = 30.0
BUSY = "conversation_already_has_active_response"

Act = Callable[[RealtimeSession, Response], object]
Script = Callable[[Service, Event], None]


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the times that are not parameters."""
    monkeypatch.setattr(realtime_responses, "_FINISHED_SECONDS", 0.1)
    monkeypatch.setattr(realtime_responses, "_CANCEL_SECONDS", 0.1)
    monkeypatch.setattr(realtime_responses, "_FIRST_RETRY_SECONDS", 0.01)


@tool
def now() -> str:
    """The time."""
    return "noon"


def answering(first: Script) -> Callable[[Service], None]:
    """
    Return a script that handles the first request with *first*, and answers all other requests.
    """

    def script(service: Service) -> None:
        service.open()
        first(service, service.request())
        for number in itertools.count(10):
            service.speak(service.request(), number, "next")

    return script


def ignore(_service: Service, _request: Event) -> None:
    """Do not answer."""


def begin(service: Service, request: Event) -> None:
    """Begin a response and send nothing more."""
    service.created("r1", request)
    service.text("r1", "a1", "some")


def send_items(service: Service, request: Event) -> None:
    """Send a whole message, but no ``response.done``."""
    service.created("r1", request)
    service.item("r1", "a1")
    service.transcript("r1", "a1", "whole")
    service.item_done("r1", "a1", "whole")


# The deadlines of responses.


def test_a_request_that_is_ignored() -> None:
    """A request without an answer fails after its timeout, and the next request is sent."""
    with (
        realtime(answering(ignore)) as iw,
        iw.realtime.connect(response_start_timeout=1.0) as rt,
    ):
        first, second = rt.respond(), rt.respond()
        with pytest.raises(DeadlineExceeded, match="has not begun the response in 1 s"):
            first.wait()

        assert ("failed", "next") == (first.status, second.wait(PATIENCE_SECONDS).text.strip())


def test_a_response_that_stops() -> None:
    """After a timeout without messages, the client cancels a response, and the response fails."""
    commands: list[str] = []

    def first(service: Service, request: Event) -> None:
        begin(service, request)
        commands.append(service.command()["type"])
        service.error("response_cancel_not_active")

    with realtime(answering(first)) as iw, iw.realtime.connect(response_timeout=1.0) as rt:
        reply, second = rt.respond(), rt.respond()
        with pytest.raises(DeadlineExceeded, match="sent no message for 1 s"):
            list(reply.text_stream())
        with pytest.raises(DeadlineExceeded, match="sent no message for 1 s"):
            list(reply.audio)

        assert ("failed", "some") == (reply.status, reply.text)
        assert "next" == second.wait(PATIENCE_SECONDS).text.strip()
    assert ["response.cancel"] == commands


def test_each_message_begins_the_time_anew() -> None:
    """Each message of a response restarts the timeout, so a slow response can complete."""

    def slow(service: Service, request: Event) -> None:
        service.created("r1", request)
        for _ in range(8):
            threading.Event().wait(0.3)
            service.text("r1", "a1", "x")
        service.done("r1")

    with realtime(answering(slow)) as iw, iw.realtime.connect(response_timeout=2.0) as rt:
        assert "x" * 8 == rt.respond().wait().text


def test_no_deadline_while_a_function_runs() -> None:
    """While a function of the user runs, the timeout of the response does not run."""
    go = threading.Event()

    @tool
    def slow() -> str:
        """Slow."""
        go.wait(PATIENCE_SECONDS)
        return "late"

    def call(service: Service, request: Event) -> None:
        service.created("r1", request)
        service.call("r1", "f1", "c1", "slow")
        service.done("r1")

    with (
        realtime(answering(call)) as iw,
        iw.realtime.connect(
            Session(tools=[slow]), response_start_timeout=1.0, response_timeout=1.0
        ) as rt,
    ):
        reply = rt.respond()
        with pytest.raises(DeadlineExceeded):
            next(reply.text_stream(timeout=2.5))
        assert "in_progress" == reply.status
        go.set()

        assert "next" == reply.wait(PATIENCE_SECONDS).text.strip()


def test_an_ignored_request_that_begins_late() -> None:
    """If a response begins after the timeout of its request, the client cancels the response."""
    cancelled: list[str] = []

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        second = service.request()
        service.created("r1", request)
        service.text("r1", "a1", "late")
        cancelled.append(service.until("response.cancel")["response_id"])
        service.done("r1", "cancelled")
        service.speak(second, 2, "next")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(response_start_timeout=1.0) as rt:
        first = rt.respond()
        with pytest.raises(DeadlineExceeded):
            first.wait()
        assert "next" == rt.respond().wait(PATIENCE_SECONDS).text.strip()
        assert ("failed", "") == (first.status, first.text)
    assert ["r1"] == cancelled


def test_a_cancelled_request_that_is_known_late() -> None:
    """
    A cancel of a request also cancels a response that has begun without the id of the request.

    If the end of the response is lost, the response ends soon, and the next request is sent.
    """
    cancelled: list[str] = []
    is_cancelled = threading.Event()

    def script(service: Service, request: Event) -> None:
        service.item("r1", "a1")
        assert is_cancelled.wait(PATIENCE_SECONDS)
        service.created("r1", request)
        cancelled.append(service.until("response.cancel")["response_id"])

    with realtime(answering(script)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()
        next(e for e in rt.events(timeout=PATIENCE_SECONDS) if isinstance(e, ResponseStarted))
        reply.cancel()
        is_cancelled.set()
        assert "next" == rt.respond().wait(PATIENCE_SECONDS).text.strip()
        assert "cancelled" == reply.status
    assert ["r1"] == cancelled


# Fields of an error that refuses the first request.
REFUSALS = [
    {"code": "invalid_value", "param": "response.voice"},
    {"code": "invalid_value"},
    {"code": None},
]


@pytest.mark.parametrize("fields", REFUSALS)
def test_a_refusal_without_an_event_id(fields: Event) -> None:
    """An error without an event id refuses the only request that is pending."""

    def refuse(service: Service, _request: Event) -> None:
        service.error(message="no such voice", **fields)

    with realtime(answering(refuse)) as iw, iw.realtime.connect() as rt:
        with pytest.raises(InvalidRequestError, match="no such voice"):
            rt.send_message("Hello").wait(PATIENCE_SECONDS)
        assert "next" == rt.send_message("Bye").wait(PATIENCE_SECONDS).text.strip()


def test_an_error_about_something_else() -> None:
    """An error about another command does not end a request."""

    def first(service: Service, request: Event) -> None:
        service.error("input_audio_buffer_commit_empty")
        service.error("item_delete_invalid_item_id")
        service.speak(request, 1, "first")

    with realtime(answering(first)) as iw, iw.realtime.connect() as rt:
        assert "first" == rt.respond().wait(PATIENCE_SECONDS).text.strip()


@pytest.mark.parametrize("has_event_id", [True, False])
def test_busy_with_an_unknown_response(has_event_id: bool) -> None:
    """
    A request that is refused as busy is sent again, even if the client knows no active response.
    """

    def script(service: Service) -> None:
        service.open()
        for _ in range(5):
            request = service.request()
            service.error(BUSY, event_id=request["event_id"] if has_event_id else None)
        service.speak(service.request(), 1, "at last")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        assert "at last" == rt.respond().wait(PATIENCE_SECONDS).text.strip()


def test_busy_for_too_long() -> None:
    """If a request is refused as busy until its timeout, it fails with the service's error."""

    def script(service: Service) -> None:
        service.open()
        while True:
            request = service.request()
            service.error(BUSY, event_id=request["event_id"])

    with realtime(script) as iw, iw.realtime.connect(response_start_timeout=2.0) as rt:
        with pytest.raises(ServiceError) as caught:
            rt.respond().wait()

        assert (BUSY, 0) == (caught.value.code, len(rt._commands.requests.table.of_kind(RESPONSE)))


RESPONSE = realtime_responses.Request.RESPONSE


# Messages that contradict each other.


ACTS: list[Act] = [
    lambda _rt, reply: reply.cancel(),
    lambda rt, _reply: rt.cancel(),
    lambda rt, _reply: rt.interrupt(),
]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("first", [ignore, begin, send_items])
@pytest.mark.parametrize("is_refused", [True, False])
def test_cancelling_a_response_that_never_ends(act: Act, first: Script, is_refused: bool) -> None:
    """A cancel ends a response in any state, even if the service refuses or ignores the cancel."""

    def script(service: Service, request: Event) -> None:
        first(service, request)
        service.event("ping", timestamp=1)
        if is_refused and first is not ignore:
            command = service.until("response.cancel")
            service.error("response_cancel_not_active", event_id=command.get("event_id"))

    with realtime(answering(script)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()
        next(e for e in rt.events(timeout=PATIENCE_SECONDS) if isinstance(e, PingReceived))
        act(rt, reply)

        assert "cancelled" == reply.wait(PATIENCE_SECONDS).status
        assert "next" == rt.respond().wait(PATIENCE_SECONDS).text.strip()


@pytest.mark.parametrize("act", [*ACTS, lambda rt, _reply: rt.send(CancelResponse("r1"))])
def test_cancelling_a_call_without_an_end(act: Act) -> None:
    """A cancel ends a response whose end is lost, even if the response waits for a tool."""

    def script(service: Service, request: Event) -> None:
        service.created("r1", request)
        service.call("r1", "i1", "c1", "look")
        command = service.until("response.cancel")
        service.error("response_cancel_not_active", event_id=command.get("event_id"))

    session = Session(tools=[FunctionTool(name="look")])
    with realtime(answering(script)) as iw, iw.realtime.connect(session) as rt:
        reply = rt.respond()
        next(e for e in rt.events(timeout=PATIENCE_SECONDS) if isinstance(e, ToolCalled))
        deadline = time.monotonic() + PATIENCE_SECONDS
        # The response is presumed over, and has no deadline.
        while rt._state.responses._active:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
        act(rt, reply)

        assert "cancelled" == reply.wait(PATIENCE_SECONDS).status


@pytest.mark.parametrize("is_late", [False, True])
def test_the_end_after_a_refused_cancel(is_late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    If a cancel is refused before the end of the response arrives, users get one end.

    The service's end is used, unless the end is later than 1 s after the cancel.
    """
    if not is_late:
        monkeypatch.setattr(realtime_responses, "_CANCEL_SECONDS", PATIENCE_SECONDS)
    is_ended = threading.Event()

    def script(service: Service, request: Event) -> None:
        begin(service, request)
        command = service.until("response.cancel")
        service.error("response_cancel_not_active", event_id=command.get("event_id"))
        if is_late:
            assert is_ended.wait(PATIENCE_SECONDS)
        service.done("r1", status="cancelled", usage={"total_tokens": 7})

    with realtime(answering(script)) as iw, iw.realtime.connect() as rt:
        ends: list[ResponseDone] = []

        def note(event: ResponseDone) -> None:
            ends.append(event)
            is_ended.set()

        rt.on(ResponseDone, note)
        reply = rt.respond()
        next(reply.text_stream())
        reply.cancel()
        assert "cancelled" == reply.wait(PATIENCE_SECONDS).status
        assert "next" == rt.respond().wait(PATIENCE_SECONDS).text.strip()

    assert ["r1", "resp_10"] == [event.response.id for event in ends]
    assert is_late == (ends[0].response.usage is None)


def test_a_late_end_and_a_busy_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that was refused is sent again as soon as the late end of a response arrives."""
    monkeypatch.setattr(realtime_responses, "_FIRST_RETRY_SECONDS", 2 * PATIENCE_SECONDS)
    monkeypatch.setattr(realtime_responses, "_MAX_RETRY_SECONDS", 2 * PATIENCE_SECONDS)

    def script(service: Service, request: Event) -> None:
        begin(service, request)
        service.until("response.cancel")
        refused = service.until("response.create")
        service.error(BUSY, event_id=refused["event_id"])
        service.done("r1", status="cancelled")

    with realtime(answering(script)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()
        next(reply.text_stream())
        reply.cancel()
        reply.wait(PATIENCE_SECONDS)
        assert "next" == rt.respond().wait(PATIENCE_SECONDS).text.strip()


def test_replaced_by_another_response() -> None:
    """If the service begins another response, the earlier response ends with an error."""

    def script(service: Service, request: Event) -> None:
        begin(service, request)
        service.speak(None, 2, "another")

    with realtime(answering(script)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()
        with pytest.raises(RemoteProtocolError, match="did not report the end"):
            reply.wait(PATIENCE_SECONDS)

        assert ("incomplete", "some") == (reply.status, reply.text)
        assert "next" == rt.respond().wait(PATIENCE_SECONDS).text.strip()


def test_whole_items_without_an_end() -> None:
    """
    If all items of a response are done, the next request does not wait for ``response.done``.

    The response to the next request ends the first response.
    """
    with realtime(answering(send_items)) as iw, iw.realtime.connect() as rt:
        first, second = rt.respond(), rt.respond()

        assert "next" == second.wait(PATIENCE_SECONDS).text.strip()
        assert ("completed", "whole") == (first.wait(PATIENCE_SECONDS).status, first.text)


def test_whole_items_of_a_response_that_continues() -> None:
    """
    A response may continue although all its items so far are done.

    The service then refuses the next request as busy, and the client sends the request again.
    """

    def script(service: Service) -> None:
        service.open()
        send_items(service, service.request())
        request = service.request()
        service.error(BUSY, event_id=request["event_id"])
        service.item("r1", "a2")
        service.transcript("r1", "a2", " and more")
        service.item_done("r1", "a2", " and more")
        service.done("r1")
        service.speak(service.request(), 2, "next")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        first, second = rt.respond(), rt.respond()

        assert "whole and more" == first.wait(PATIENCE_SECONDS).text
        assert "next" == second.wait(PATIENCE_SECONDS).text.strip()


def test_a_call_without_an_end() -> None:
    """
    If the service never ends a response with a call, the model still answers the call's output.
    """

    def call(service: Service, request: Event) -> None:
        service.created("r1", request)
        service.call("r1", "f1", "c1", "now")

    with realtime(answering(call)) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        reply = rt.respond().wait(PATIENCE_SECONDS)

        assert ("next", "completed") == (reply.text.strip(), reply.status)


def test_local_ends_are_events() -> None:
    """If the service never reports the end of a response, the client emits ``ResponseDone``."""
    with realtime(answering(begin)) as iw, iw.realtime.connect(response_timeout=0.1) as rt:
        rt.respond()
        events = rt.events(timeout=PATIENCE_SECONDS)
        done = next(event for event in events if isinstance(event, ResponseDone))

        assert ("r1", "failed") == (done.response.id, done.response.status)


# Services that do not repeat metadata.


@pytest.mark.parametrize("session", [None, Session(turn_detection=ServerVad())])
def test_no_metadata(session: Session | None) -> None:
    """With an OpenAI-compatible service, a response without metadata answers the oldest request."""

    def script(service: Service) -> None:
        service.open()
        for number in itertools.count(1):
            service.request()
            service.speak(None, number, f"reply {number}")

    with realtime(script) as iw:
        endpoint = RealtimeEndpoint.openai("m")
        with iw.realtime.connect(session, endpoint=endpoint) as rt:
            texts = [rt.respond().wait(PATIENCE_SECONDS).text.strip() for _ in range(3)]

    assert ["reply 1", "reply 2", "reply 3"] == texts


def test_metadata_is_used_once_it_was_repeated() -> None:
    """After a service has repeated metadata, a response without metadata answers no request."""

    def script(service: Service) -> None:
        service.open()
        service.speak(service.request(), 1, "first")
        request = service.request()
        service.speak(None, 2, "its own")
        service.speak(request, 3, "second")
        service.until_left()

    with realtime(script) as iw:
        with iw.realtime.connect(endpoint=RealtimeEndpoint.openai("m")) as rt:
            texts = [rt.respond().wait(PATIENCE_SECONDS).text.strip() for _ in range(2)]

    assert ["first", "second"] == texts


# Commands.

COMMANDS: list[tuple[Callable[[RealtimeSession], object], str, str]] = [
    (lambda rt: rt.update(Session(voice="x")), "session.update", "cannot_update_voice"),
    (lambda rt: rt.add(Message.user("Hi")), "conversation.item.create", "item_create_invalid"),
    (lambda rt: rt.retrieve("i1"), "conversation.item.retrieve", "item_retrieve_invalid_item_id"),
    (lambda rt: rt.truncate("i1", 5), "conversation.item.truncate", "item_truncate_invalid"),
    (lambda rt: rt.delete("i1"), "conversation.item.delete", "item_delete_invalid_item_id"),
]


@pytest.mark.parametrize(("act", "name", "code"), COMMANDS)
@pytest.mark.parametrize("is_named", ["event_id", "code", "nothing"])
def test_a_refused_command(
    act: Callable[[RealtimeSession], object], name: str, code: str, is_named: str
) -> None:
    """A refused command raises the service's error, even if the error does not name the command."""

    def script(service: Service) -> None:
        service.open()
        command = service.until(name)
        event_id = command["event_id"] if is_named == "event_id" else None
        service.error(code if is_named == "code" else None, "not so", event_id=event_id)
        service.speak(service.request(), 1, "fine")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        with pytest.raises(InvalidRequestError, match="not so"):
            act(rt)

        assert rt.conversation == ()
        assert "fine" == rt.respond().wait(PATIENCE_SECONDS).text.strip()


@pytest.mark.parametrize(("act", "name", "code"), COMMANDS)
def test_a_command_without_an_answer(
    act: Callable[[RealtimeSession], object], name: str, code: str
) -> None:
    """If a command is not answered, the call raises an error after ``request_timeout``."""

    def script(service: Service) -> None:
        service.open()
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(request_timeout=0.1) as rt:
        with pytest.raises(DeadlineExceeded, match=r"took longer than 0\.1 s"):
            act(rt)
        assert 0 == len(rt._commands.requests.table.of_kind(realtime_responses.Request(name)))


@pytest.mark.parametrize(("act", "name", "code"), COMMANDS)
def test_a_command_whose_connection_is_lost(
    act: Callable[[RealtimeSession], object], name: str, code: str
) -> None:
    """
    If the connection is lost, a command that adds or deletes an item succeeds.

    The client replays the items on the next connection, without the deleted item. All other
    commands raise an error.
    """

    def first(service: Service) -> None:
        service.open()
        service.until(name)
        service.hang_up()

    def second(service: Service) -> None:
        service.open()
        service.acknowledge(service.until("conversation.item.create"))
        service.until_left()

    with realtime(first, second) as iw, iw.realtime.connect() as rt:
        if name == "conversation.item.create":
            assert act(rt) == rt.conversation[0].item.id
        elif name == "conversation.item.delete":
            # The new session does not get the item.
            act(rt)
        else:
            with pytest.raises(ConnectionLost, match="before the service answered"):
                act(rt)


def test_answered_commands() -> None:
    """Commands about items return when the service has confirmed them."""

    def script(service: Service) -> None:
        service.open()
        command = service.until("conversation.item.create")
        service.acknowledge(command)
        service.until("conversation.item.truncate")
        service.event(
            "conversation.item.truncated", item_id="i1", content_index=0, audio_end_ms=500
        )
        service.until("conversation.item.delete")
        service.event("conversation.item.deleted", item_id="i1")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        part = OutputAudio(transcript="Hello")
        rt.add(Message(role="assistant", content=(part,), id="i1"))
        assert ["i1"] == [entry.item.id for entry in rt.conversation]
        rt.truncate("i1", 500)
        assert [500] == [entry.truncated_ms for entry in rt.conversation]
        rt.delete("i1")
        assert () == rt.conversation


# (command with a user's event id, type of the command).
OWN_IDS = [
    (UpdateSession(Session(voice="x"), event_id="mine"), "session.update"),
    (CreateItem(Message.user("Hi"), event_id="mine"), "conversation.item.create"),
    (RetrieveItem("i1", event_id="mine"), "conversation.item.retrieve"),
    (TruncateItem("i1", 0, 5, event_id="mine"), "conversation.item.truncate"),
    (DeleteItem("i1", event_id="mine"), "conversation.item.delete"),
    (CreateResponse(ResponseConfig(voice="x"), event_id="mine"), "response.create"),
]


@pytest.mark.parametrize(("command", "name"), OWN_IDS)
def test_a_users_event_id(command: object, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A command is sent with the user's event id, and its ``ErrorReported`` has the same id."""

    def script(service: Service) -> None:
        service.open()
        service.error("invalid", "not so", event_id=service.until(name)["event_id"])
        service.speak(service.request(), 1, "fine")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt, caplog.at_level(logging.WARNING):
        rt.send(command)  # type: ignore[arg-type]
        events = rt.events(timeout=PATIENCE_SECONDS)
        event = next(event for event in events if isinstance(event, ErrorReported))

        assert ("mine", "not so") == (event.error.event_id, event.error.message)
        assert "fine" == rt.respond().wait(PATIENCE_SECONDS).text.strip()


def test_without_waiting(caplog: pytest.LogCaptureFixture) -> None:
    """With ``wait=False`` a call returns at once. A command that is never answered is logged."""

    def script(service: Service) -> None:
        service.open()
        service.until("conversation.item.delete")
        service.event("ping", timestamp=1)
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(request_timeout=0.1) as rt:
        rt.update(Session(voice="x"), wait=False)
        rt.add(Message.user("Hi", id="i1"), wait=False)
        rt.truncate("i1", 5, wait=False)
        rt.delete("i1", wait=False)
        events = rt.events(timeout=PATIENCE_SECONDS)
        next(event for event in events if isinstance(event, PingReceived))
        with rt._state.monitor:
            table = rt._commands.requests.table
            assert rt._state.monitor.wait_for(lambda: len(table) <= 1, PATIENCE_SECONDS)

    texts = [record.getMessage() for record in caplog.records]
    for name in ("session.update", *(f"conversation.item.{x}" for x in ("create", "delete"))):
        assert any(f"has not answered {name} in 0.1 s" in text for text in texts)


def test_a_response_shows_that_items_were_accepted() -> None:
    """Commands are handled in order, so a response shows that earlier items were accepted."""

    def script(service: Service) -> None:
        service.open()
        service.speak(service.until("response.create"), 1, "fine")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        added: list[str] = []
        adding = threading.Thread(target=lambda: added.append(rt.add(Message.user("Hi", id="i1"))))
        adding.start()
        with rt._state.monitor:
            table = rt._commands.requests.table
            item = realtime_responses.Request.ITEM
            assert rt._state.monitor.wait_for(lambda: table.of_kind(item), PATIENCE_SECONDS)
        assert "fine" == rt.respond().wait(PATIENCE_SECONDS).text.strip()
        adding.join(PATIENCE_SECONDS)

        assert ["i1"] == added


# (connect's argument, wrong values).
ARGUMENTS = [
    *(("timeout", value) for value in (-1, 0, float("nan"))),
    *(("reconnect_timeout", value) for value in (-1, float("nan"))),
    *(("request_timeout", value) for value in (-1, 0, float("nan"), None)),
    *(("response_start_timeout", value) for value in (-1, 0, float("nan"))),
    *(("response_timeout", value) for value in (-1, 0, float("nan"))),
    *(("tool_timeout", value) for value in (-1, 0, float("nan"))),
]


@pytest.mark.parametrize(("name", "value"), ARGUMENTS)
def test_wrong_timeouts_of_connect(name: str, value: float) -> None:
    """If a timeout of ``connect`` is out of its range, the error names the argument."""
    with Inworld(local=False, api_key="a2V5OnNlY3JldA==", base_url="ws://127.0.0.1:9") as iw:
        with pytest.raises(ConfigError, match=f"^{name} must be"):
            iw.realtime.connect(**{name: value})


CALLS: list[Callable[[RealtimeSession, Response, float], object]] = [
    lambda rt, _, seconds: rt.update(Session(voice="x"), timeout=seconds),
    lambda rt, _, seconds: rt.add(Message.user("Hi"), timeout=seconds),
    lambda rt, _, seconds: rt.retrieve("i1", timeout=seconds),
    lambda rt, _, seconds: rt.truncate("i1", 5, timeout=seconds),
    lambda rt, _, seconds: rt.delete("i1", timeout=seconds),
    lambda rt, _, seconds: rt.send_audio(bytes(9600), timeout=seconds),
    lambda rt, _, seconds: rt.events(timeout=seconds),
    lambda _, reply, seconds: reply.wait(seconds),
    lambda _, reply, seconds: next(reply.text_stream(seconds)),
    lambda _, reply, seconds: next(reply.audio.stream(seconds)),
    lambda _, reply, seconds: reply.audio.read(seconds),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("seconds", [-1, float("nan"), "1"])
def test_wrong_timeouts_of_calls(
    call: Callable[[RealtimeSession, Response, float], object], seconds: float
) -> None:
    """A timeout that is negative or not a number is refused."""
    with realtime(answering(ignore)) as iw, iw.realtime.connect() as rt:
        with pytest.raises(ConfigError, match="timeout must be a number of seconds"):
            call(rt, rt.respond(), seconds)


@pytest.mark.parametrize("call", CALLS)
def test_long_timeouts_of_calls(
    call: Callable[[RealtimeSession, Response, float], object],
) -> None:
    """A timeout of many years is accepted, and the call ends with the session."""
    with realtime(answering(ignore)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()
        raised: list[BaseException | None] = []

        def run() -> None:
            try:
                call(rt, reply, 1e12)
            except InworldError as error:
                raised.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        rt.close()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
        assert all(not isinstance(error, (ConfigError, NotFoundError)) for error in raised)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "5"])
def test_wrong_milliseconds(value: float) -> None:
    """Milliseconds that are not a finite number are refused."""
    with realtime(answering(ignore)) as iw, iw.realtime.connect() as rt:
        with pytest.raises(ConfigError, match="audio_end_ms must be"):
            rt.truncate("i1", value)
        with pytest.raises(ConfigError, match="heard_ms of 'i1' must be"):
            rt.interrupt({"i1": value})
