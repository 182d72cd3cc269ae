"""
Replies from an endpoint with OpenAI's chat completions, such as a model on this machine.

Source: OpenAI API reference, "Create chat completion", streamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from inworld_sync.emulator.json_text import read_json
from inworld_sync.emulator.realtime.http_client import HttpFailed, post_json
from inworld_sync.emulator.realtime.replies import ReplyPart, ReplyRequest, ToolCall, text_of
from inworld_sync.errors import ConfigError, ServiceError

__all__ = ["ChatReplies"]

_MAX_SECONDS = 600.0
_MAX_ANSWER_BYTES = 16 << 20


class ChatReplies:
    """
    A reply maker that gets its replies from a chat endpoint.

    Args:
        base_url: Such as ``http://127.0.0.1:8080/v1``; ``/chat/completions`` is added.
        model: The model to request; None uses the model of the session.
        api_key: Sent as a bearer token; None sends no token.
        timeout: Seconds without a byte after which the reply fails.

    Raises:
        ConfigError: *base_url* is not an HTTP URL.

    Thread safety: any thread; replies share no state.
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
        self._url = base_url.rstrip("/") + "/chat/completions"
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
                yield from _parts(answer.lines)
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
    if request.instructions:
        yield {"role": "system", "content": request.instructions}
    for item in request.items:
        if item["type"] == "message":
            yield {"role": item["role"], "content": text_of(item)}
        elif item["type"] == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"] or "{}"}
            call = {"id": item["call_id"], "type": "function", "function": function}
            yield {"role": "assistant", "content": None, "tool_calls": [call]}
        elif item["type"] == "function_call_output":
            yield {"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]}


def _parts(lines: Iterable[bytes]) -> Iterator[ReplyPart]:
    """Read server-sent events; a tool call arrives in pieces and is yielded whole, at the end."""
    calls: dict[int, dict[str, str]] = {}
    for line in lines:
        data = line.decode(errors="replace").strip().removeprefix("data:").strip()
        if data == "[DONE]":
            break
        if not data.startswith("{"):
            continue
        chunk = read_json(data)
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            if delta.get("content"):
                yield str(delta["content"])
            for piece in delta.get("tool_calls") or ():
                _collect(calls, piece)
    for _, call in sorted(calls.items()):
        yield ToolCall(call["name"], call["arguments"] or "{}")


def _collect(calls: dict[int, dict[str, str]], piece: Mapping[str, Any]) -> None:
    call = calls.setdefault(piece.get("index") or 0, {"name": "", "arguments": ""})
    function = piece.get("function") or {}
    for name in call:
        call[name] += function.get(name) or ""
