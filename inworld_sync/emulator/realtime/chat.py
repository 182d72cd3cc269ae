"""
Gets replies from an endpoint with OpenAI's chat completions, such as a model on this machine.

Source: OpenAI API reference, "Create chat completion", streamed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from inworld_sync.emulator.json_text import read_json
from inworld_sync.emulator.realtime.http_client import HttpAnswer, HttpFailed, post_json
from inworld_sync.emulator.realtime.replies import ReplyPart, ReplyRequest, ToolCall, text_of
from inworld_sync.errors import ConfigError, ServiceError

__all__ = ["ChatReplies"]

_PATH = "/chat/completions"
_MAX_SECONDS = 600.0
_MAX_ANSWER_BYTES = 16 << 20


class ChatReplies:
    """
    A reply maker that gets its replies from a chat endpoint.

    Args:
        base_url: The URL, such as ``http://127.0.0.1:8080/v1``. ``/chat/completions`` is added.
        model: The model to request; None uses the model of the session.
        api_key: The key, which is sent as a bearer token. With None, no token is sent.
        timeout: Seconds without a byte after which the reply fails.

    Raises:
        ConfigError: *base_url* is not an HTTP URL.

    Thread safety: any thread may use this object. Replies share no state.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        try:
            parts = urlsplit(base_url)
            is_http = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            is_http = False
        if not is_http:
            raise ConfigError(
                f"base_url must be an http:// or https:// URL with a host, got {base_url!r}"
            )
        self._url = base_url.rstrip("/").removesuffix(_PATH) + _PATH
        self._model = model
        self._api_key = api_key
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"ChatReplies({self._url!r}, model={self._model!r})"

    def __call__(self, request: ReplyRequest) -> Iterator[ReplyPart]:
        """
        Reply to the last item.

        Raises:
            ServiceError: The endpoint responded with an error, or cannot be reached.
        """
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        try:
            with post_json(
                self._url,
                _body(request, self._model),
                headers,
                stopped=request.cancelled,
                timeout=self._timeout,
                total_timeout=_MAX_SECONDS,
                max_bytes=_MAX_ANSWER_BYTES,
            ) as answer:
                yield from _parts(answer)
        except HttpFailed as error:
            if not error.status:
                raise ServiceError(f"the chat endpoint gave no reply: {error}") from None
            raise ServiceError(
                f"the chat endpoint responded with {error}: {error.body}", status=error.status
            ) from None


def _body(request: ReplyRequest, model: str | None) -> dict[str, object]:
    limits = {"temperature": request.temperature, "max_tokens": request.max_output_tokens}
    body: dict[str, object] = {
        "model": model or request.model,
        "messages": list(_messages(request)),
        "stream": True,
        **{name: value for name, value in limits.items() if value is not None},
    }
    functions = [tool for tool in request.tools if tool.get("type") == "function"]
    if functions and request.tool_choice != "none":
        fields = ("name", "description", "parameters")
        body["tools"] = [
            {"type": "function", "function": {name: tool[name] for name in fields if name in tool}}
            for tool in functions
        ]
        choice = request.tool_choice
        named = {"type": "function", "function": {"name": choice}}
        body["tool_choice"] = choice if choice in ("auto", "required") else named
    return body


def _messages(request: ReplyRequest) -> Iterator[dict[str, object]]:
    """Yield the messages of the conversation."""
    outputs = {
        item["call_id"]: item["output"]
        for item in request.items
        if item["type"] == "function_call_output"
    }
    if request.instructions:
        yield {"role": "system", "content": request.instructions}
    for kind, run in itertools.groupby(request.items, key=lambda item: item["type"]):
        if kind == "message":
            for item in run:
                if text := text_of(item):
                    yield {"role": item["role"], "content": text}
        elif kind == "function_call":
            # Endpoints refuse a call without an output. They also refuse consecutive calls in
            # separate messages.
            calls = [item for item in run if item["call_id"] in outputs]
            if calls:
                yield {"role": "assistant", "content": "", "tool_calls": [*map(_call, calls)]}
            for item in calls:
                output = outputs[item["call_id"]]
                yield {"role": "tool", "tool_call_id": item["call_id"], "content": output}


def _call(item: Mapping[str, object]) -> dict[str, object]:
    function = {"name": item["name"], "arguments": item["arguments"] or "{}"}
    return {"id": item["call_id"], "type": "function", "function": function}


def _parts(answer: HttpAnswer) -> Iterator[ReplyPart]:
    """
    Read a response. The response is server-sent events, or one JSON object from an endpoint that
    does not stream.

    A tool call arrives in pieces, and is yielded as a whole at the end.
    """
    calls: dict[object, dict[str, str]] = {}
    try:
        for chunk in _chunks(answer):
            if chunk.get("error"):
                raise ServiceError(f"the chat endpoint sent an error: {chunk['error']}")
            for choice in _objects(chunk.get("choices")):
                delta = choice.get("delta") or choice.get("message")
                if not isinstance(delta, dict):
                    continue
                if text := _text(delta.get("content")):
                    yield text
                for number, piece in enumerate(_objects(delta.get("tool_calls"))):
                    _collect(calls, number, piece)
    except ValueError as error:
        raise ServiceError(f"the chat endpoint sent no valid JSON: {error}") from error
    for call in calls.values():
        yield ToolCall(call["name"], call["arguments"] or "{}")


def _chunks(answer: HttpAnswer) -> Iterator[dict[str, Any]]:
    if answer.headers.get("content-type", "").startswith("application/json"):
        value = read_json(b"".join(answer.lines))
        if isinstance(value, dict):
            yield value
        return
    for line in answer.lines:
        data = line.decode(errors="replace").strip().removeprefix("data:").strip()
        if data == "[DONE]":
            return
        # Other lines are empty, comments, or fields such as "event:".
        if data.startswith("{"):
            yield read_json(data)


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(content: object) -> str:
    """Return the text of a content, which is a string or a list of parts with text."""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or "") for part in _objects(content))


def _collect(calls: dict[object, dict[str, str]], number: int, piece: Mapping[str, Any]) -> None:
    """Add a piece to its call. Endpoints that send whole calls may omit the index."""
    index = piece.get("index")
    call = calls.setdefault(number if index is None else index, {"name": "", "arguments": ""})
    function = piece.get("function")
    if not isinstance(function, dict):
        return
    call["name"] += str(function.get("name") or "")
    arguments = function.get("arguments") or ""
    # Some endpoints send a JSON object instead of its text.
    call["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)
