"""Functions run once, their outputs are sent, and the next response is requested."""

from __future__ import annotations

import contextvars
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from inworld_sync import ConfigError, LocalProtocolError
from inworld_sync.models.realtime import (
    FunctionTool,
    McpApprovalRequest,
    McpTool,
    PingReceived,
    ProviderData,
    ResponseConfig,
    Session,
    WebSearchTool,
)
from inworld_sync.sessions.realtime.events import (
    ApprovalRequested,
    ToolCalled,
    ToolOutputSent,
)
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.tools.function import tool

from support.scripted_realtime import Event, Script, Service, realtime

PATIENCE_SECONDS = 30.0


@tool
def weather(city: str) -> str:
    """Weather for a city."""
    return f"sunny in {city}"


@tool
def now() -> dict[str, int]:
    """The time."""
    return {"hour": 12}


@tool
def broken() -> str:
    """Always fails."""
    raise ValueError("no luck")


@tool
def unspeakable() -> str:
    """Returns half a character."""
    return "\ud800"


@tool
def leave() -> str:
    """Tries to end the program."""
    raise SystemExit(3)


def outputs(service: Service) -> dict[str, str]:
    """Return the outputs that the client has sent, by call."""
    return {
        command["item"]["call_id"]: command["item"]["output"]
        for command in service.said("conversation.item.create")
        if command["item"]["type"] == "function_call_output"
    }


class Run:
    """
    A service that makes some calls in one response and waits for the next request.

    Attributes:
        outputs: The outputs of the calls.
        requests: How many responses were requested after the first response.
    """

    def __init__(self, *calls: Callable[[Service], None], status: str = "completed") -> None:
        self.calls = calls
        self.status = status
        self.outputs: dict[str, str] = {}
        self.tools: list[Event] = []
        self.requests = 0
        self.done = threading.Event()

    def script(self, service: Service) -> None:
        self.tools = service.open().get("tools", [])
        service.created("r1", service.request())
        for call in self.calls:
            call(service)
        service.done("r1", self.status)
        request = service.request()
        self.outputs = outputs(service)
        self.requests += 1
        service.speak(request, 2, "Well.")
        self.done.set()
        service.until_left()


def called(name: str, arguments: str = "{}", number: int = 1) -> Callable[[Service], None]:
    return lambda service: service.call("r1", f"f{number}", f"c{number}", name, arguments)


def outcome(run: Run, *tools: Any, **settings: Any) -> dict[str, str]:
    """Return the outputs that a session with some tools sends."""
    with realtime(run.script) as iw, iw.realtime.connect(Session(tools=tools), **settings) as rt:
        rt.respond()
        assert run.done.wait(PATIENCE_SECONDS)
    return run.outputs


# (calls, expected outputs) of functions that succeed.
CALLS = [
    ([called("weather", '{"city": "Oslo"}')], {"c1": "sunny in Oslo"}),
    ([called("now")], {"c1": '{"hour": 12}'}),
    ([called("now", "")], {"c1": '{"hour": 12}'}),
    (
        [called("weather", '{"city": "Rome"}', 1), called("now", "", 2)],
        {"c1": "sunny in Rome", "c2": '{"hour": 12}'},
    ),
]


@pytest.mark.parametrize(("calls", "answers"), CALLS)
def test_functions_are_run(calls: list[Callable[[Service], None]], answers: Event) -> None:
    """Called functions run, their outputs are sent, and one further response is requested."""
    run = Run(*calls)

    assert answers == outcome(run, weather, now)
    assert (1, {"weather", "now"}) == (run.requests, {each["name"] for each in run.tools})


# (call, a part of the output). An error is an output that the model can read.
FAILURES = [
    (called("broken"), "the function failed"),
    (called("leave"), "the function failed"),
    (called("unspeakable"), "the function ran, but its result cannot be shown"),
    (called("weather", "{}"), "city is missing"),
    (called("weather", '{"city": 7}'), "city"),
    (called("weather", '{"city"'), "not JSON"),
    (called("nothing"), "no function 'nothing'"),
]


@pytest.mark.parametrize(("call", "text"), FAILURES)
def test_a_failure_is_an_output(call: Callable[[Service], None], text: str) -> None:
    """If a function fails or does not exist, the output of the call describes the error."""
    answers = outcome(Run(call), weather, broken, leave, unspeakable)

    assert text in json.loads(answers["c1"])["error"]


@pytest.mark.parametrize(
    ("call", "text"),
    [(called("broken"), "ValueError: no luck"), (called("leave"), "raised SystemExit")],
)
def test_text_of_an_exception(call: Callable[[Service], None], text: str) -> None:
    """With ``tool_errors="text"`` the model gets the text of the exception."""
    answers = outcome(Run(call), broken, leave, tool_errors="text")

    assert text in json.loads(answers["c1"])["error"]


@pytest.mark.parametrize("value", ["", "TEXT", None, True])
def test_tool_errors_is_checked(value: Any) -> None:
    """A wrong value of ``tool_errors`` raises an error before anything is sent."""
    with realtime(lambda service: None) as iw, pytest.raises(ConfigError, match="tool_errors"):
        iw.realtime.connect(tool_errors=value)


def test_a_result_that_cannot_be_sent(caplog: pytest.LogCaptureFixture) -> None:
    """An unsendable result counts as an error of the user's code, not as a failed function."""
    with (
        realtime(Run(called("unspeakable")).script) as iw,
        iw.realtime.connect(Session(tools=[unspeakable])) as rt,
    ):
        rt.respond()
        events = rt.events(timeout=PATIENCE_SECONDS)
        answer = next(e for e in events if isinstance(e, ToolOutputSent))

        assert isinstance(answer.error, ConfigError)
        assert 1 == rt.handler_errors
    assert "failed" not in caplog.text
    assert "tool unspeakable must return a str" in caplog.text


def arguments_as_object(service: Service) -> None:
    """Send an item whose arguments are an object, not the JSON text of the object."""
    item = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "weather"}
    item["arguments"] = {"city": "Oslo"}  # type: ignore[assignment]
    service.event("response.output_item.done", response_id="r1", output_index=0, item=item)


def arguments_event_with_object(service: Service) -> None:
    """Send an event whose arguments are an object, not the JSON text of the object."""
    service.event(
        "response.function_call_arguments.done",
        response_id="r1",
        output_index=0,
        item_id="f1",
        call_id="c1",
        name="weather",
        arguments={"city": "Oslo"},
    )


@pytest.mark.parametrize("call", [arguments_as_object, arguments_event_with_object])
def test_arguments_as_object(call: Callable[[Service], None]) -> None:
    """Arguments that the service sends as an object are read."""
    assert {"c1": "sunny in Oslo"} == outcome(Run(call), weather)


def test_failures_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The event and the log have the exception of a function that raises."""
    run = Run(called("broken"))
    with realtime(run.script) as iw, iw.realtime.connect(Session(tools=[broken])) as rt:
        rt.respond()
        events = rt.events(timeout=PATIENCE_SECONDS)
        call = next(e for e in events if isinstance(e, ToolCalled))
        answer = next(e for e in events if isinstance(e, ToolOutputSent))

    assert ("broken", "r1", True) == (call.call.name, call.response_id, call.is_ours)
    assert isinstance(answer.error, ValueError)
    assert "no luck" in caplog.text


def test_calls_run_in_parallel() -> None:
    """Calls of one response run at the same time, and each output is sent when it is ready."""
    first_waits = threading.Barrier(2, timeout=PATIENCE_SECONDS)

    @tool
    def meet(name: str) -> str:
        """Meets the other one."""
        first_waits.wait()
        return name

    run = Run(called("meet", '{"name": "a"}', 1), called("meet", '{"name": "b"}', 2))

    assert {"c1": "a", "c2": "b"} == outcome(run, meet)
    assert 1 == run.requests


def test_max_tools_at_once() -> None:
    """With ``max_tools_at_once=1`` calls run one after another."""
    lock = threading.Lock()

    @tool
    def alone(name: str) -> str:
        """Wants to be alone."""
        assert lock.acquire(blocking=False)
        threading.Event().wait(0.01)
        lock.release()
        return name

    calls = [called("alone", '{"name": "x"}', number) for number in range(1, 6)]
    answers = outcome(Run(*calls), alone, max_tools_at_once=1)

    assert ["x"] * 5 == list(answers.values())


def test_a_function_that_takes_too_long() -> None:
    """If a function exceeds its timeout, its output is an error. The late result is dropped."""
    release = threading.Event()

    @tool(timeout=0.05)
    def slow() -> str:
        """Takes its time."""
        release.wait(PATIENCE_SECONDS)
        return "late"

    run = Run(called("slow"))
    try:
        answers = outcome(run, slow)
    finally:
        release.set()

    assert "slow took longer than 0.05 s" in json.loads(answers["c1"])["error"]


def test_the_timeout_of_a_session() -> None:
    """A function without its own timeout has the timeout of the session."""
    release = threading.Event()

    @tool
    def slow() -> str:
        """Takes its time."""
        release.wait(PATIENCE_SECONDS)
        return "late"

    try:
        answers = outcome(Run(called("slow")), slow, tool_timeout=0.05)
    finally:
        release.set()

    assert "took longer" in answers["c1"]


def test_functions_see_context_variables() -> None:
    """A function runs with the context variables of the thread that opened the session."""
    user = contextvars.ContextVar("user", default="nobody")

    @tool
    def who() -> str:
        """Says who asks."""
        return user.get()

    user.set("Ada")

    assert {"c1": "Ada"} == outcome(Run(called("who")), who)


def test_functions_may_use_the_session() -> None:
    """A function may call methods of the session that runs the function, even ``close``."""
    sessions: list[RealtimeSession] = []

    @tool
    def hang_up() -> str:
        """Ends the call."""
        sessions[0].close()
        return "bye"

    run = Run(called("hang_up"))
    with realtime(run.script) as iw:
        rt = iw.realtime.connect(Session(tools=[hang_up]))
        sessions.append(rt)
        rt.respond()
        list(rt.events(timeout=PATIENCE_SECONDS))

        assert rt.ended is not None
        assert "client" == rt.ended.by
        rt.close()


# Messages that are missing or in another order.


def without_name(service: Service) -> None:
    """Send a call whose name is only in the item, and whose arguments arrive in pieces."""
    where = {"response_id": "r1", "output_index": 0}
    item = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "weather"}
    service.event("response.output_item.added", **where, item={**item, "arguments": ""})
    for delta in ('{"city":', '"Oslo"}'):
        service.event("response.function_call_arguments.delta", **where, item_id="f1", delta=delta)
    service.event(
        "response.function_call_arguments.done",
        **where,
        item_id="f1",
        arguments='{"city":"Oslo"}',
    )
    service.event("response.output_item.done", **where, item={**item, "arguments": ""})


def arguments_after_item(service: Service) -> None:
    """Send a call whose item ends before the message that ends the arguments."""
    where = {"response_id": "r1", "output_index": 0}
    item = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "weather"}
    done = {**item, "arguments": '{"city":"Oslo"}', "status": "completed"}
    service.event("response.output_item.added", **where, item={**item, "arguments": ""})
    service.event("response.output_item.done", **where, item=done)
    service.event(
        "response.function_call_arguments.done",
        **where,
        item_id="f1",
        call_id="c1",
        arguments='{"city":"Oslo"}',
    )


def arguments_alone(service: Service) -> None:
    """Send the arguments of a call without an item."""
    service.event(
        "response.function_call_arguments.done",
        response_id="r1",
        output_index=0,
        item_id="f1",
        call_id="c1",
        name="weather",
        arguments='{"city":"Oslo"}',
    )


def twice(service: Service) -> None:
    """Send every message of a call twice."""
    called("weather", '{"city":"Oslo"}')(service)
    called("weather", '{"city":"Oslo"}')(service)


ORDERS = [without_name, arguments_after_item, arguments_alone, twice]


@pytest.mark.parametrize("call", ORDERS)
def test_order_of_messages(call: Callable[[Service], None]) -> None:
    """In every order of messages a function runs once, with its arguments."""
    runs: list[str] = []

    @tool(name="weather")
    def counted(city: str) -> str:
        """Weather for a city."""
        runs.append(city)
        return "sunny"

    assert {"c1": "sunny"} == outcome(Run(call), counted)
    assert ["Oslo"] == runs


def test_a_call_without_a_name() -> None:
    """An output is sent even for a call without a name."""

    def nameless(service: Service) -> None:
        service.event(
            "response.function_call_arguments.done",
            response_id="r1",
            item_id="f1",
            call_id="c1",
            arguments="{}",
        )

    assert "names no function" in outcome(Run(nameless), weather)["c1"]


# The next response.


def test_a_cancelled_response_is_not_continued() -> None:
    """If a response with a call is cancelled, the output is sent, and no response is requested."""
    answered = threading.Event()
    seen: list[str] = []

    def script(service: Service) -> None:
        service.open()
        service.created("r1", service.request())
        called("now")(service)
        service.done("r1", "cancelled")
        command = service.until("conversation.item.create")
        service.acknowledge(command)
        answered.set()
        while True:
            seen.append(service.command()["type"])

    with realtime(script) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        rt.respond()
        assert answered.wait(PATIENCE_SECONDS)
        next(e for e in rt.events(timeout=PATIENCE_SECONDS) if isinstance(e, ToolOutputSent))
        rt.clear_output()
        while not seen:
            threading.Event().wait(0.001)

    assert ["output_audio_buffer.clear"] == seen


def test_the_request_waits_for_the_calling_response() -> None:
    """The next response is not requested before the calling response has ended."""
    order: list[str] = []

    def script(service: Service) -> None:
        service.open()
        service.created("r1", service.request())
        called("now")(service)
        service.acknowledge(service.until("conversation.item.create"))
        order.append("answered")
        service.event("ping", timestamp=1)
        service.done("r1")
        order.append("done")
        service.until("response.create")
        order.append("asked")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        rt.respond()
        while len(order) < 3:
            threading.Event().wait(0.001)

    assert ["answered", "done", "asked"] == order


def test_a_response_that_knows_the_outputs() -> None:
    """If the service itself begins a response to the outputs, the client requests no response."""
    seen: list[str] = []

    def script(service: Service) -> None:
        service.open()
        service.created("r1", service.request())
        called("now")(service)
        service.done("r1")
        request = service.request()
        service.created("r2")
        service.error("conversation_already_has_active_response", event_id=request["event_id"])
        service.done("r2")
        service.event("ping", timestamp=1)
        while True:
            seen.append(service.command()["type"])

    with realtime(script) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        rt.respond()
        events = rt.events(timeout=PATIENCE_SECONDS)
        next(e for e in events if isinstance(e, PingReceived))
        rt.clear_output()
        while not seen:
            threading.Event().wait(0.001)

    assert ["output_audio_buffer.clear"] == seen


def test_auto_tool_response_is_on() -> None:
    """If ``auto_tool_response`` is on, the client requests no further response."""
    seen: list[str] = []

    def script(service: Service) -> None:
        service.open()
        service.created("r1", service.request())
        called("now")(service)
        service.done("r1")
        service.acknowledge(service.until("conversation.item.create"))
        while True:
            seen.append(service.command()["type"])

    session = Session(tools=[now], provider_data=ProviderData(auto_tool_response=True))
    with realtime(script) as iw, iw.realtime.connect(session) as rt:
        rt.respond()
        next(e for e in rt.events(timeout=PATIENCE_SECONDS) if isinstance(e, ToolOutputSent))
        rt.clear_output()
        while not seen:
            threading.Event().wait(0.001)

    assert ["output_audio_buffer.clear"] == seen


def test_functions_of_one_response() -> None:
    """A function may be declared for one response only."""
    run = Run(called("now"))
    with realtime(run.script) as iw, iw.realtime.connect() as rt:
        rt.respond(ResponseConfig(tools=[now]))
        assert run.done.wait(PATIENCE_SECONDS)

    assert {"c1": '{"hour": 12}'} == run.outputs


def test_functions_of_an_update() -> None:
    """An update may declare other functions. The newest function of a name is used."""

    @tool(name="now")
    def later() -> str:
        """The time, later."""
        return "later"

    run = Run(called("now"))

    def script(service: Service) -> None:
        service.open()
        service.accept_update()
        service.created("r1", service.request())
        called("now")(service)
        service.done("r1")
        request = service.request()
        run.outputs = outputs(service)
        service.speak(request, 2, "Well.")
        run.done.set()
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        rt.update(Session(tools=[later]))
        rt.respond()
        assert run.done.wait(PATIENCE_SECONDS)

    assert {"c1": "later"} == run.outputs


def test_an_application_that_answers_by_itself() -> None:
    """The application sends the output of a declared function, and the model continues."""
    run = Run(called("outside", '{"x": 1}'))
    described = FunctionTool(name="outside", description="Somewhere else.")
    with realtime(run.script) as iw, iw.realtime.connect(Session(tools=[described])) as rt:
        rt.respond()
        call = next(e for e in rt.events(timeout=PATIENCE_SECONDS) if isinstance(e, ToolCalled))
        with pytest.raises(LocalProtocolError, match="no call 'c9'"):
            rt.submit_tool_output("c9", "?")
        rt.submit_tool_output(call.call.call_id, "from outside")
        with pytest.raises(LocalProtocolError, match="no call 'c1'"):
            rt.submit_tool_output("c1", "again")
        assert run.done.wait(PATIENCE_SECONDS)

    assert (False, '{"x": 1}') == (call.is_ours, call.call.arguments)
    assert {"c1": "from outside"} == run.outputs


def test_out_of_band_calls_are_not_run() -> None:
    """A call of an out-of-band response is emitted, but not run."""

    def script(service: Service) -> None:
        service.open()
        service.created("r1", service.request())
        called("now")(service)
        service.done("r1")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(Session(tools=[now])) as rt:
        rt.respond(ResponseConfig(conversation="none")).wait(PATIENCE_SECONDS)
        call = next(e for e in rt.events(timeout=PATIENCE_SECONDS) if isinstance(e, ToolCalled))

        assert (False, "now") == (call.is_ours, call.call.name)


# Tools that the service runs.


def test_tools_of_the_service_are_described() -> None:
    """Web search and MCP servers are declared to the service."""
    run = Run()
    tools = [
        WebSearchTool(max_results=3),
        McpTool(server_label="docs", server_url="https://x.test/mcp", require_approval="always"),
    ]

    def script(service: Service) -> None:
        run.tools = service.open()["tools"]
        service.until_left()

    with realtime(script) as iw:
        iw.realtime.connect(Session(tools=tools)).close()

    assert [
        {"type": "web_search", "providerData": {"max_results": 3}},
        {
            "type": "mcp",
            "server_label": "docs",
            "server_url": "https://x.test/mcp",
            "require_approval": "always",
        },
    ] == run.tools


REQUEST = {
    "id": "mcpr_1",
    "type": "mcp_approval_request",
    "server_label": "docs",
    "name": "search",
    "arguments": '{"q": "x"}',
}


def asking(answers: list[Event]) -> Script:
    """Return a script that asks for approval in the conversation and again in a response."""

    def script(service: Service) -> None:
        service.open()
        service.event("conversation.item.added", item=REQUEST, previous_item_id=None)
        service.event("response.output_item.done", response_id="r1", output_index=0, item=REQUEST)
        item = service.until("conversation.item.create")["item"]
        item.pop("id")
        answers.append(item)
        service.until_left()

    return script


def fails(_: McpApprovalRequest) -> bool:
    raise RuntimeError("cannot decide")


# (on_approval, the decision that is sent).
DECISIONS = [
    (lambda request: request.name == "search", {"approve": True}),
    (lambda request: False, {"approve": False}),
    (lambda request: "yes", {"approve": False}),
    (fails, {"approve": False, "reason": "the client could not decide"}),
]


@pytest.mark.parametrize(("decide", "expected"), DECISIONS)
def test_approval(decide: Any, expected: Event) -> None:
    """Only ``True`` approves a call of an MCP server, and the decision is sent once."""
    answers: list[Event] = []
    with realtime(asking(answers)) as iw, iw.realtime.connect(on_approval=decide) as rt:
        while not answers:
            threading.Event().wait(0.001)
        asked = [
            event
            for _, event in zip(range(5), rt.events(timeout=PATIENCE_SECONDS), strict=False)
            if isinstance(event, ApprovalRequested)
        ]

    named = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1"}
    assert [{**named, **expected}] == answers
    assert [True] == [event.is_ours for event in asked]


def test_approval_by_hand() -> None:
    """Without ``on_approval`` the application decides with ``approve``."""
    answers: list[Event] = []
    with realtime(asking(answers)) as iw, iw.realtime.connect() as rt:
        events = rt.events(timeout=PATIENCE_SECONDS)
        event = next(e for e in events if isinstance(e, ApprovalRequested))
        rt.approve(event.request.id or "", reason="fine")
        while not answers:
            threading.Event().wait(0.001)

    assert (False, True, "fine") == (event.is_ours, answers[0]["approve"], answers[0]["reason"])


# Twenty sessions at the same time.


def test_twenty_sessions_at_once() -> None:
    """Parallel sessions do not mix their voices, tools and turns."""
    spoken: dict[str, str] = {}
    lock = threading.Lock()

    def script(service: Service) -> None:
        voice = service.open()["audio"]["output"]["voice"]
        for number in range(1, 6):
            service.created(f"r{number}", service.request())
            arguments = json.dumps({"step": number})
            service.call(f"r{number}", f"f{number}", f"c{number}", "where", arguments)
            service.done(f"r{number}")
            request = service.request()
            answer = outputs(service)[f"c{number}"]
            with lock:
                spoken[f"{voice}-{number}"] = answer
            service.speak(request, number + 10, f"{voice}: {answer}", bytes(480))
        service.until_left()

    def talk(number: int) -> None:
        voice = f"voice{number}"

        @tool
        def where(step: int) -> str:
            """Says where it runs."""
            time.sleep(0.001)
            return f"{voice} at {step}"

        with iw.realtime.connect(Session(voice=voice, tools=[where])) as rt:
            for step in range(1, 6):
                replies = rt.subscribe()
                rt.respond().wait(30)
                while not isinstance(event := replies.get(30), ToolOutputSent):
                    pass
                texts = [event.output]
                while getattr(event := replies.get(30), "type", "") != "response.done" or (
                    event.response.id != f"resp_{step + 10}"  # type: ignore[union-attr]
                ):
                    pass
                replies.close()
                results.append((voice, step, texts[0]))

    results: list[tuple[str, int, str]] = []
    with realtime(script) as iw:
        threads = [threading.Thread(target=talk, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    expected = {(f"voice{n}", s, f"voice{n} at {s}") for n in range(20) for s in range(1, 6)}
    assert expected == set(results)
    assert {f"{v}-{s}": text for v, s, text in expected} == spoken
