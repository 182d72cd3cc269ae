"""
Compare ``iw.llm`` with OpenAI's client: ``python tests/conformance/run_chat.py``.

Both send the same requests to one emulator, and must get the same results. OpenAI's newest client
is installed from PyPI into a virtual environment in a temporary folder, or in the folder of
``--venvs``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from inworld_sync import ChatConfig, Inworld, ServiceError
from inworld_sync.emulator import Emulator
from inworld_sync.rest.llm import Llm

sys.path.insert(0, str(Path(__file__).parent))

from run_realtime import python_of

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


def cases() -> list[dict[str, Any]]:
    found = []
    for name, body in BODIES.items():
        for streamed in (False, True):
            full = {"model": "auto", **body}
            if streamed:
                full["stream_options"] = {"include_usage": True}
            found.append({"name": name, "streamed": streamed, "body": full})
    wrong = {"name": "wrong key", "body": {"model": "auto", "messages": COUNT}, "key": "d3Jvbmc6eA"}
    return [*found, {**wrong, "streamed": False}, {**wrong, "streamed": True}]


def ours(llm: Llm, case: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a case in the form of ``openai_chat.py``."""
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


def run(folder: Path) -> int:
    python = python_of(folder / "openai_chat", "openai")
    script = Path(__file__).with_name("openai_chat.py")
    failed = 0
    with Emulator() as server:
        done = subprocess.run(
            [python, script, server.url, server.api_key],
            input=json.dumps(cases()),
            capture_output=True,
            text=True,
            check=True,
        )
        for case, theirs in zip(cases(), json.loads(done.stdout), strict=True):
            key = case.get("key", server.api_key)
            with Inworld(base_url=server.url, api_key=key) as iw:
                found = ours(iw.llm, case)
            same = found == theirs
            failed += not same
            how = "streamed" if case["streamed"] else "whole"
            sys.stdout.write(f"{'ok  ' if same else 'FAIL'} {case['name']}, {how}\n")
            if not same:
                sys.stdout.write(f"  inworld_sync {found}\n  openai       {theirs}\n")
    sys.stdout.write(f"{len(cases()) - failed} of {len(cases())} results are the same\n")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venvs", type=Path, help="keep the environment in this folder")
    arguments = parser.parse_args()
    if arguments.venvs is not None:
        return run(arguments.venvs)
    with tempfile.TemporaryDirectory() as temporary:
        return run(Path(temporary))


if __name__ == "__main__":
    sys.exit(main())
