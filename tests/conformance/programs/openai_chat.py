"""
Checks chat completions with OpenAI's own synchronous client, unmodified.

OpenAI's client and ``iw.llm`` both send each case, and both must get the same result.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checks import Check, Server, run
from openai import APIStatusError, OpenAI

sys.path.insert(0, str(Path(__file__).parents[3]))

from inworld_sync import ChatConfig, Inworld, ServiceError
from inworld_sync.rest.llm import Llm

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather for a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
ASKED = [
    {"role": "system", "content": "Be brief. My name is Ada."},
    {"role": "user", "content": "What is the weather in Oslo?"},
]
ANSWERED = [
    *ASKED,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": '{"weather": "rain"}'},
]
COUNT = [{"role": "user", "content": "Count to twenty."}]
BODIES: dict[str, dict[str, Any]] = {
    "text": {"messages": COUNT},
    "unicode": {"messages": [{"role": "user", "content": "Say grüße 🙂 \u2028 и всё."}]},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello."}]}]},
    "instructions": {"messages": [ASKED[0], {"role": "user", "content": "What is my name?"}]},
    "tool call": {"messages": ASKED, "tools": [WEATHER]},
    "required call": {"messages": COUNT, "tools": [WEATHER], "tool_choice": "required"},
    "tool output": {"messages": ANSWERED, "tools": [WEATHER]},
    "most tokens": {"messages": COUNT, "max_tokens": 7},
    "stop": {"messages": COUNT, "stop": ["Nine", "Twelve"]},
    "model": {"messages": COUNT, "model": "anthropic/claude-opus-4-6"},
    "unknown model": {"messages": COUNT, "model": "no/model"},
    "unknown router": {"messages": COUNT, "model": "inworld/none"},
    "unknown role": {"messages": [{"role": "nobody", "content": "x"}]},
}


def whole(client: OpenAI, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.chat.completions.create(**body)
    choice = answer.choices[0]
    calls = choice.message.tool_calls or []
    return {
        "text": choice.message.content or "",
        "calls": [[call.function.name, call.function.arguments] for call in calls],
        "finish_reason": choice.finish_reason,
        "model": answer.model,
        "tokens": answer.usage and answer.usage.total_tokens,
    }


def streamed(client: OpenAI, body: dict[str, Any]) -> dict[str, Any]:
    pieces, calls, tokens, reason, model = [], {}, None, None, ""
    for event in client.chat.completions.create(**body, stream=True):
        model = event.model
        tokens = event.usage.total_tokens if event.usage else tokens
        for choice in event.choices:
            reason = choice.finish_reason or reason
            if choice.delta.content:
                pieces.append(choice.delta.content)
            for part in choice.delta.tool_calls or []:
                call = calls.setdefault(part.index, ["", ""])
                call[0] += part.function.name or ""
                call[1] += part.function.arguments or ""
    return {
        "pieces": pieces,
        "text": "".join(pieces),
        "calls": list(calls.values()),
        "finish_reason": reason,
        "model": model,
        "tokens": tokens,
    }


def theirs(server: Server, case: dict[str, Any]) -> dict[str, Any]:
    """Return the result that OpenAI's client gets for a case."""
    key = case.get("key", server.api_key)
    client = OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)
    try:
        return (streamed if case["streamed"] else whole)(client, case["body"])
    except APIStatusError as error:
        return {"status": error.status_code}


def ours(llm: Llm, case: dict[str, Any]) -> dict[str, Any]:
    """Return the result that ``iw.llm`` gets for a case, with the same keys as :func:`theirs`."""
    body = dict(case["body"])
    messages = body.pop("messages")
    options = body.pop("stream_options", None)
    config = ChatConfig(**body, extra={"stream_options": options} if options else {})
    pieces = {}
    try:
        if case["streamed"]:
            stream = llm.stream(messages, config=config)
            pieces = {"pieces": list(stream)}
            answer = stream.result()
        else:
            answer = llm.chat(messages, config=config)
    except ServiceError as error:
        return {"status": error.status}
    return {
        **pieces,
        "text": answer.text,
        "calls": [[call.name, call.arguments] for call in answer.tool_calls],
        "finish_reason": answer.finish_reason,
        "model": answer.model,
        "tokens": answer.usage and answer.usage.total_tokens,
    }


def case_check(case: dict[str, Any]) -> Callable[[Server], str]:
    def check(server: Server) -> str:
        expected = theirs(server, case)
        with Inworld(base_url=server.url, api_key=case.get("key", server.api_key)) as iw:
            found = ours(iw.llm, case)
        assert found == expected, f"inworld_sync {found}, openai {expected}"
        return str(expected.get("text") or expected.get("calls") or expected)

    check.__name__ = f"{case['name']}, {'streamed' if case['streamed'] else 'whole'}"
    return check


def cases() -> list[dict[str, Any]]:
    found = []
    for name, body in BODIES.items():
        full = {"model": "auto", **body}
        usage = {"stream_options": {"include_usage": True}}
        found.append({"name": name, "streamed": False, "body": full})
        found.append({"name": name, "streamed": True, "body": {**full, **usage}})
    wrong = {"name": "wrong key", "body": {"model": "auto", "messages": COUNT}, "key": "d3Jvbmc6eA"}
    return [*found, {**wrong, "streamed": False}, {**wrong, "streamed": True}]


CHECKS: list[Check] = [("chat", case_check(case)) for case in cases()]

if __name__ == "__main__":
    run(CHECKS)
