"""The model calls a function with arguments in deltas, and the reply has the function's output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inworld_sync.emulator import Emulator, Settings
from inworld_sync.emulator.realtime.settings import RealtimeSettings

from support.realtime_client import Event, RealtimeClient, kinds_of, open_realtime
from support.tone import ToneSynthesizer

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather for a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
TIMER = {
    "type": "function",
    "name": "set_timer",
    "description": "Set a timer for some minutes.",
    "parameters": {"type": "object", "properties": {"minutes": {"type": "integer"}}},
}
CLOCK = {"type": "function", "name": "current_time", "description": "The time.", "parameters": {}}


def call_of(events: list[Event]) -> dict[str, Any]:
    item = events[-1]["response"]["output"][0]
    assert item["type"] == "function_call", item
    return dict(item)


def answer(client: RealtimeClient, call: dict[str, Any], output: str) -> None:
    item = {"type": "function_call_output", "call_id": call["call_id"], "output": output}
    client.send("conversation.item.create", item=item)


@pytest.fixture
def with_tools(realtime: RealtimeClient) -> RealtimeClient:
    realtime.update(
        tools=[WEATHER, TIMER, CLOCK],
        output_modalities=["text"],
        providerData={"auto_tool_response": False},
    )
    return realtime


def test_call(with_tools: RealtimeClient) -> None:
    """A call is added without arguments. The arguments follow in pieces, and then as a whole."""
    with_tools.write("What is the weather in Oslo?")
    with_tools.until("conversation.item.done")
    with_tools.send("response.create")

    events = with_tools.until("response.done")

    expected = [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "deltas",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert expected == kinds_of(events)
    assert "" == events[1]["item"]["arguments"]
    pieces = [event["delta"] for event in events if event["type"].endswith(".delta")]
    done = next(event for event in events if event["type"].endswith("arguments.done"))
    assert {"city": "Oslo"} == json.loads("".join(pieces)) == json.loads(done["arguments"])
    assert ("get_weather", call_of(events)["call_id"]) == (done["name"], done["call_id"])


def test_previous_item_of_a_call_is_null(with_tools: RealtimeClient) -> None:
    """``previous_item_id`` of a call is null, although an item precedes the call."""
    events = with_tools.ask("What is the weather in Oslo?")
    call = call_of(events)

    added = [event for event in events if event["type"] == "conversation.item.added"]
    assert call["id"] == added[-1]["item"]["id"]
    assert added[-1]["previous_item_id"] is None


# (the user's words, the call)
CALLS = [
    ("What's the weather like in New York today?", "get_weather", {"city": "New York"}),
    ("Set a timer for 5 minutes.", "set_timer", {"minutes": 5}),
    ("set a timer for ten minutes", "set_timer", {"minutes": 10}),
    ("What time is it?", "current_time", {}),
]


@pytest.mark.parametrize(("said", "name", "arguments"), CALLS)
def test_rules(with_tools: RealtimeClient, said: str, name: str, arguments: dict[str, Any]) -> None:
    """The tool that matches the user's words is called, and its arguments come from these words."""
    call = call_of(with_tools.ask(said))

    assert (name, arguments) == (call["name"], json.loads(call["arguments"]))


def test_output_is_used(with_tools: RealtimeClient) -> None:
    """The next reply has the output of the tool."""
    call = call_of(with_tools.ask("What is the weather in Oslo?"))
    answer(with_tools, call, '{"temperature": "4 degrees"}')
    with_tools.send("response.create")

    item = with_tools.next("response.done")["response"]["output"][0]
    assert "The weather says: temperature 4 degrees." == item["content"][0]["text"]


def test_server_continues_by_itself(with_tools: RealtimeClient) -> None:
    """With auto_tool_response, the server responds to a tool output without a request."""
    with_tools.update(providerData={"auto_tool_response": True})
    call = call_of(with_tools.ask("What is the weather in Oslo?"))
    answer(with_tools, call, "rain")

    response = with_tools.next("response.done")["response"]
    assert "The weather says: rain." == response["output"][0]["content"][0]["text"]


def test_server_waits_for_all_outputs(realtime: RealtimeClient) -> None:
    """After two calls, the server continues when it has the outputs of both calls."""
    names = ("garden_light", "garden_water")
    tools = [{"type": "function", "name": name, "parameters": {}} for name in names]
    realtime.update(tools=tools, output_modalities=["text"])
    calls = realtime.ask("How is the garden?")[-1]["response"]["output"]
    assert list(names) == [call["name"] for call in calls]
    answer(realtime, calls[0], "on")
    realtime.send("input_audio_buffer.clear")
    before = [event["type"] for event in realtime.until("input_audio_buffer.cleared")]
    answer(realtime, calls[1], "off")

    said = realtime.next("response.done")["response"]["output"][0]["content"][0]["text"]
    assert "response.created" not in before
    assert "The garden light says: on. The garden water says: off." == said


def test_unknown_call(with_tools: RealtimeClient) -> None:
    """The output of an unknown call is refused."""
    answer(with_tools, {"call_id": "call_nobody"}, "rain")

    assert "invalid_tool_call_id" == with_tools.error()["code"]


def test_tool_choice(with_tools: RealtimeClient) -> None:
    """A response may forbid tools, or require a tool."""
    weather = "What is the weather in Oslo?"
    none = with_tools.ask(weather, tool_choice="none")[-1]["response"]["output"][0]
    chosen = {"type": "function", "name": "current_time"}
    named = call_of(with_tools.ask(weather, tool_choice=chosen))

    assert "message" == none["type"]
    assert "current_time" == named["name"]


# (setting, expected fields in the events of a call without arguments)
VARIANTS: list[tuple[dict[str, bool], dict[str, Any]]] = [
    ({}, {"arguments": "{}", "name": "current_time", "has_id": True}),
    ({"named_calls": False}, {"arguments": "{}", "name": None, "has_id": True}),
    ({"identified_calls": False}, {"arguments": "{}", "name": "current_time", "has_id": False}),
    ({"empty_arguments": True}, {"arguments": "", "name": "current_time", "has_id": True}),
]


@pytest.mark.parametrize(("settings", "expected"), VARIANTS)
def test_variants(settings: dict[str, bool], expected: dict[str, Any]) -> None:
    """With some settings, the name or the id is missing, or the arguments are an empty string."""
    server_settings = Settings(realtime=RealtimeSettings(**settings))
    with Emulator(synthesizer=ToneSynthesizer(), settings=server_settings) as server:
        with open_realtime(server) as client:
            client.update(tools=[CLOCK])
            events = client.ask("What time is it?")

    done = next(event for event in events if event["type"].endswith("arguments.done"))
    told = {"arguments": done["arguments"], "name": done.get("name"), "has_id": "call_id" in done}
    assert expected == told


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        (
            "Say hello and introduce yourself.",
            "Hello! I am the emulator, and I follow simple rules.",
        ),
        ("Please introduce yourself briefly.", "Hello! I am the emulator"),
        ("Greet the user warmly.", "Hello! How can I help you?"),
        ("Say hi to the caller.", "Hello! How can I help you?"),
        ("Say good morning.", "good morning."),
        ("Repeat after me: one two.", "one two."),
    ],
)
def test_greeting(realtime: RealtimeClient, text: str, reply: str) -> None:
    """A request for a greeting gets a greeting. A request to say another text gets this text."""
    realtime.update(output_modalities=["text"])
    output = realtime.ask(text)[-1]["response"]["output"]

    assert output[0]["content"][0]["text"].startswith(reply)
