"""A reply that calls functions continues with the model's answer to the tool outputs."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import pytest

from inworld_sync import ClosedError, ServiceError
from inworld_sync.models.realtime import (
    FunctionTool,
    InputSpeechStarted,
    PingReceived,
    ProviderData,
    ResponseCreated,
    ResponseDone,
    Session,
    Usage,
)
from inworld_sync.sessions.realtime.events import ResponseStarted, ToolCalled, ToolOutputSent
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.tools.function import tool

from support.scripted_realtime import Service, realtime

PATIENCE_SECONDS = 30.0
SOUND = b"\1\0" * 240


@tool
def now() -> str:
    """The time."""
    return "noon"


def call(service: Service, number: int, *, said: str = "") -> None:
    """Answer the next request with some words and a call."""
    response_id, item_id = f"r{number}", f"a{number}"
    service.created(response_id, service.request())
    if said:
        service.item(response_id, item_id)
        service.transcript(response_id, item_id, said)
        service.audio(response_id, item_id, SOUND)
        service.item_done(response_id, item_id, said)
    service.call(response_id, f"f{number}", f"c{number}", "now")
    usage = {"total_tokens": 3, "input_tokens": 2, "output_tokens": 1}
    service.done(response_id, usage=usage)


def answer(service: Service, number: int = 9) -> None:
    """Answer the next request with words."""
    service.speak(service.request(), number, "It is noon.", SOUND)


def script(*steps: Callable[[Service], object]) -> Callable[[Service], None]:
    def run(service: Service) -> None:
        service.open()
        for step in steps:
            step(service)
        service.until_left()

    return run


def test_the_answer_belongs_to_the_reply() -> None:
    """
    The text and speech of a reply include the model's answer. The reply ends with this answer.
    """
    steps = script(lambda service: call(service, 1), answer)
    with realtime(steps) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        reply = rt.send_message("What time is it?")
        text = "".join(reply.text_stream(PATIENCE_SECONDS))
        sound = b"".join(chunk.data for chunk in reply.audio.stream(PATIENCE_SECONDS))

    assert ("It is noon. ", "It is noon. ", SOUND) == (text, reply.text, sound)
    assert ("completed", "resp_9", None) == (reply.status, reply.id, reply.error)


def test_several_rounds() -> None:
    """Each round with text is a line of the reply's text. The usage is the sum of all rounds."""
    steps = script(
        lambda service: call(service, 1, said="One moment."),
        lambda service: call(service, 2),
        lambda service: call(service, 3, said="Nearly."),
        answer,
    )
    with realtime(steps) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        reply = rt.respond()
        text = "".join(reply.text_stream(PATIENCE_SECONDS))
        sound = b"".join(chunk.data for chunk in reply.audio.stream(PATIENCE_SECONDS))

    assert "One moment.\nNearly.\nIt is noon. " == text == reply.text
    assert SOUND * 3 == sound
    assert Usage(total_tokens=9, input_tokens=6, output_tokens=3) == reply.usage


def test_one_event_for_all_rounds() -> None:
    """A reply that the service begins emits one ``ResponseStarted`` for all its rounds."""

    def unasked(service: Service) -> None:
        service.created("r1")
        service.call("r1", "f1", "c1", "now")
        service.done("r1")

    steps = script(unasked, answer)
    with realtime(steps) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        events = rt.subscribe()
        starts, created = [], []
        for event in iter(lambda: events.get(PATIENCE_SECONDS), None):
            if isinstance(event, ResponseStarted):
                starts.append(event.response)
            elif isinstance(event, ResponseCreated):
                created.append(event.response.id)
            elif isinstance(event, ResponseDone) and event.response.id == "resp_9":
                break

    assert ["r1", "resp_9"] == created
    assert ["It is noon. "] == [reply.text for reply in starts]


def test_a_reply_without_a_reference_continues() -> None:
    """
    A reply to which no reference exists continues, and emits one ``ResponseStarted`` in total.
    """
    steps = script(lambda service: call(service, 1), answer)
    with realtime(steps) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        events = rt.subscribe()
        rt.respond()
        gc.collect()
        starts = 0
        for event in iter(lambda: events.get(PATIENCE_SECONDS), None):
            is_start = isinstance(event, ResponseStarted)
            is_over = isinstance(event, ResponseDone) and event.response.id == "resp_9"
            del event
            if is_start:
                starts += 1
                gc.collect()
            if is_over:
                break

    assert 1 == starts


class Gate:
    """A function that returns when the test allows it."""

    def __init__(self) -> None:
        self.called, self.may_return = threading.Event(), threading.Event()
        self.tool = tool(name="now")(self._wait)

    def _wait(self) -> str:
        """The time."""
        self.called.set()
        assert self.may_return.wait(PATIENCE_SECONDS)
        return "noon"


def test_it_is_in_progress_while_a_function_runs() -> None:
    """A reply is still in progress while a function runs between two of its rounds."""
    gate = Gate()
    steps = script(lambda service: call(service, 1, said="One moment."), answer)
    with realtime(steps) as iw, iw.realtime.connect(Session(tools=[gate.tool])) as rt:
        events = rt.subscribe()
        reply = rt.respond()
        while not isinstance(events.get(PATIENCE_SECONDS), ResponseDone):
            pass
        between = (reply.status, reply.is_final, reply.text)
        gate.may_return.set()
        reply.wait(PATIENCE_SECONDS)

    assert ("in_progress", False, "One moment.") == between
    assert "completed" == reply.status


def test_cancelling_while_a_function_runs() -> None:
    """A reply that is cancelled between two rounds ends at once. The tool output is still sent."""
    gate, seen = Gate(), []

    def after(service: Service) -> None:
        service.acknowledge(service.until("conversation.item.create"))
        while True:
            seen.append(service.command()["type"])

    steps = script(lambda service: call(service, 1, said="One moment."), after)
    with realtime(steps) as iw, iw.realtime.connect(Session(tools=[gate.tool])) as rt:
        events = rt.subscribe()
        reply = rt.respond()
        while not isinstance(events.get(PATIENCE_SECONDS), ResponseDone):
            pass
        reply.cancel()
        assert ("cancelled", None) == (reply.wait(PATIENCE_SECONDS).status, reply.error)
        gate.may_return.set()
        while not isinstance(events.get(PATIENCE_SECONDS), ToolOutputSent):
            pass
        rt.clear_output()
        while not seen:
            threading.Event().wait(0.001)

    assert ["output_audio_buffer.clear"] == seen
    assert "cancelled" == reply.status


def interrupt(service: Service, rt: RealtimeSession) -> None:
    """Interrupt with ``interrupt()``."""
    rt.interrupt()


def speak(service: Service, rt: RealtimeSession) -> None:
    """Interrupt with the user's speech. Wait until the session has handled the speech."""
    events = rt.subscribe()
    service.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    while not isinstance(events.get(PATIENCE_SECONDS), InputSpeechStarted):
        pass


def cancel(service: Service, rt: RealtimeSession) -> None:
    """Cancel the active response."""
    rt.cancel()


@pytest.mark.parametrize("act", [interrupt, speak, cancel])
@pytest.mark.parametrize("is_held", [True, False])
@pytest.mark.parametrize("is_done", [True, False])
def test_interrupting_while_a_function_runs(
    act: Callable[[Service, RealtimeSession], None], is_held: bool, is_done: bool
) -> None:
    """
    If a reply is interrupted while a function runs, the output is still sent, no response is
    requested, and the reply ends as cancelled.

    The interruption comes after the end of the response with the call, or during this response.
    In the second case, the service completes the response although the client cancels it.
    """
    gate, seen, services = Gate(), [], []

    def steps(service: Service) -> None:
        service.open()
        services.append(service)
        request = service.request() if is_held else None
        service.created("r1", request)
        service.call("r1", "f1", "c1", "now")
        if is_done:
            service.done("r1")
        service.event("ping", timestamp=1)
        while (name := service.command()["type"]) != "output_audio_buffer.clear":
            seen.append(name)
            if name == "response.cancel" and not is_done:
                service.done("r1")
        service.event("ping", timestamp=2)
        service.until_left()

    with realtime(steps) as iw, iw.realtime.connect(Session(tools=[gate.tool])) as rt:
        events = rt.subscribe()
        reply = rt.respond() if is_held else None
        while not isinstance(events.get(PATIENCE_SECONDS), PingReceived):
            pass
        act(services[0], rt)
        assert gate.called.wait(PATIENCE_SECONDS)
        gate.may_return.set()
        while not isinstance(events.get(PATIENCE_SECONDS), ToolOutputSent):
            pass
        if reply is not None:
            assert "cancelled" == reply.wait(PATIENCE_SECONDS).status
        rt.clear_output()
        while not isinstance(event := events.get(PATIENCE_SECONDS), PingReceived):
            pass

    assert event.timestamp == 2
    assert "response.create" not in seen
    assert "conversation.item.create" in seen


def test_interrupting_while_an_output_waits() -> None:
    """If the request for the model's answer was not sent yet, an interruption drops the request."""
    seen: list[str] = []

    def steps(service: Service) -> None:
        service.open()
        service.created("r1", service.request())
        service.call("r1", "f1", "c1", "now")
        service.until("conversation.item.create")
        # The request waits for a response that the service begins before the output arrives.
        service.created("r2")
        service.done("r1")
        service.event("ping", timestamp=1)
        while (name := service.command()["type"]) != "output_audio_buffer.clear":
            seen.append(name)
            if name == "response.cancel":
                service.done("r2", "cancelled")
        service.event("ping", timestamp=2)
        service.until_left()

    with realtime(steps) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        events = rt.subscribe()
        reply = rt.respond()
        while not isinstance(events.get(PATIENCE_SECONDS), PingReceived):
            pass
        rt.interrupt()
        assert "cancelled" == reply.wait(PATIENCE_SECONDS).status
        rt.clear_output()
        while not isinstance(events.get(PATIENCE_SECONDS), PingReceived):
            pass

    assert ["response.cancel"] == seen


def test_cancelling_the_second_round() -> None:
    """A reply may be cancelled in any round."""

    def begun(service: Service) -> None:
        service.created("r2", service.request())
        service.item("r2", "a2")
        service.transcript("r2", "a2", "It is")
        assert "r2" == service.until("response.cancel")["response_id"]
        service.done("r2", "cancelled")

    steps = script(lambda service: call(service, 1), begun)
    with realtime(steps) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        reply = rt.respond()
        assert "It is" == next(reply.text_stream(PATIENCE_SECONDS))
        reply.cancel()

        assert "cancelled" == reply.wait(PATIENCE_SECONDS).status


def test_a_round_that_fails() -> None:
    """If the last round of a reply fails, the reply fails and keeps the text of earlier rounds."""

    def failing(service: Service) -> None:
        service.created("r2", service.request())
        service.done("r2", "failed", status_details={"reason": "server_error"})

    steps = script(lambda service: call(service, 1, said="One moment."), failing)
    with realtime(steps) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        reply = rt.respond()
        with pytest.raises(ServiceError, match="server_error"):
            reply.wait(PATIENCE_SECONDS)

    assert ("failed", "One moment.") == (reply.status, reply.text)


def test_closing_while_a_function_runs() -> None:
    """If the session is closed between two rounds of a reply, the reply raises an error."""
    gate = Gate()
    steps = script(lambda service: call(service, 1, said="One moment."))
    with realtime(steps) as iw, iw.realtime.connect(Session(tools=[gate.tool])) as rt:
        events = rt.subscribe()
        reply = rt.respond()
        while not isinstance(events.get(PATIENCE_SECONDS), ResponseDone):
            pass
        rt.close()
        gate.may_return.set()
        with pytest.raises(ClosedError):
            reply.wait(PATIENCE_SECONDS)

    assert "failed" == reply.status


def test_a_lost_connection_while_a_function_runs() -> None:
    """If the connection is lost between two rounds, the reply continues on the next connection."""
    gate = Gate()

    def first(service: Service) -> None:
        service.open()
        call(service, 1, said="One moment.")
        assert gate.called.wait(PATIENCE_SECONDS)
        service.hang_up()

    def second(service: Service) -> None:
        service.open()
        gate.may_return.set()
        answer(service)
        service.until_left()

    with realtime(first, second) as iw, iw.realtime.connect(Session(tools=[gate.tool])) as rt:
        reply = rt.respond().wait(PATIENCE_SECONDS)

    assert "One moment.\nIt is noon. " == reply.text


# With these sessions, the model's answer to the output is a separate response.
BY_ITSELF = [
    Session(tools=[FunctionTool(name="now")]),
    Session(tools=[now], provider_data=ProviderData(auto_tool_response=True)),
]


@pytest.mark.parametrize("session", BY_ITSELF)
def test_the_reply_ends_with_the_call(session: Session) -> None:
    """If the application or the service answers the call itself, the reply ends with the call."""

    def next_reply(service: Service) -> None:
        service.until("conversation.item.create")
        service.speak(None, 9, "It is noon.")

    steps = script(lambda service: call(service, 1, said="One moment."), next_reply)
    with realtime(steps) as iw, iw.realtime.connect(session) as rt:
        events = rt.subscribe()
        reply = rt.respond().wait(PATIENCE_SECONDS)
        starts = []
        for event in iter(lambda: events.get(PATIENCE_SECONDS), None):
            if isinstance(event, ToolCalled) and not event.is_ours:
                rt.submit_tool_output(event.call.call_id, "noon")
            elif isinstance(event, ResponseStarted):
                starts.append(event.response)
            elif isinstance(event, ResponseDone) and event.response.id == "resp_9":
                break

    assert ("completed", "One moment.") == (reply.status, reply.text)
    assert ["One moment.", "It is noon. "] == [each.text for each in starts]


def test_auto_tool_response_is_switched_on_meanwhile() -> None:
    """If ``auto_tool_response`` is turned on during a call, the reply ends with this call."""
    gate = Gate()
    steps = script(
        lambda service: call(service, 1, said="One moment."),
        lambda service: service.accept_update(),
    )
    with realtime(steps) as iw, iw.realtime.connect(Session(tools=[gate.tool])) as rt:
        events = rt.subscribe()
        reply = rt.respond()
        while not isinstance(events.get(PATIENCE_SECONDS), ResponseDone):
            pass
        rt.update(Session(provider_data=ProviderData(auto_tool_response=True)))
        gate.may_return.set()

        assert ("completed", "One moment.") == (reply.wait(PATIENCE_SECONDS).status, reply.text)


def test_submitting_the_last_output_returns_the_response() -> None:
    """For the last output, submit_tool_output() returns the response that follows."""

    def two_calls(service: Service) -> None:
        service.created("r1", service.request())
        for number in (1, 2):
            service.call("r1", f"f{number}", f"c{number}", "now")
        service.done("r1")

    described = Session(tools=[FunctionTool(name="now")])
    with realtime(script(two_calls, answer)) as iw, iw.realtime.connect(described) as rt:
        reply = rt.respond().wait(PATIENCE_SECONDS)
        assert rt.submit_tool_output("c2", "noon") is None
        following = rt.submit_tool_output("c1", "noon")
        assert following is not None
        assert following is not reply
        following.wait(PATIENCE_SECONDS)

    assert ("", "It is noon. ") == (reply.text, following.text)


def test_a_response_that_knows_the_outputs_ends_the_reply() -> None:
    """If another response answers the outputs, the reply is cancelled, without an error."""

    def overtaken(service: Service) -> None:
        request = service.request()
        service.created("r2")
        service.error("conversation_already_has_active_response", event_id=request["event_id"])
        service.done("r2")

    steps = script(lambda service: call(service, 1, said="One moment."), overtaken)
    with realtime(steps) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        reply = rt.respond().wait(PATIENCE_SECONDS)

    assert ("cancelled", "One moment.", None) == (reply.status, reply.text, reply.error)


def test_a_completed_reply_stays_completed() -> None:
    """The end of a session does not change a reply that has ended."""
    with realtime(script(answer)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond().wait(PATIENCE_SECONDS)
        rt.close()

    assert ("completed", None) == (reply.status, reply.error)
    assert "It is noon. " == reply.wait().text
