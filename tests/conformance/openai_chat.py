"""
OpenAI's own synchronous client, unmodified, with the cases of ``run_chat.py``.

Runs in a separate environment with ``openai``. Arguments: base URL, key. Reads the cases as JSON
from standard input, and prints the results as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from openai import APIStatusError, OpenAI


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


def main() -> None:
    base_url, key = sys.argv[1:]
    results = []
    for case in json.load(sys.stdin):
        client = OpenAI(base_url=f"{base_url}/v1", api_key=case.get("key", key), max_retries=0)
        try:
            results.append((streamed if case["streamed"] else whole)(client, case["body"]))
        except APIStatusError as error:
            results.append({"status": error.status_code})
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
