"""
Reads requests of chat completions.

Source: Inworld Router API reference, "Create chat completion". Errors have OpenAI's form.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

import attrs

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.json_text import read_json
from inworld_sync.emulator.realtime.replies import ReplyRequest

__all__ = ["ChatFailed", "ChatRequest", "read_request"]

_T = TypeVar("_T")

_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_EFFORTS: Final = ("none", "low", "minimal", "medium", "high", "xhigh")
_MAX_STOPS: Final = 4
# The smallest and the largest value of each number.
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "temperature": (0, 2),
    "top_p": (1e-9, 1),
    "max_tokens": (1, 2**31 - 1),
    "max_completion_tokens": (1, 2**31 - 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}


class ChatFailed(Exception):
    """
    A request that is refused, or an answer that failed.

    Attributes:
        status: The HTTP status.
        body: The JSON of the error.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        error = {"message": message, "type": kind, "param": None, "code": code or None}
        self.body = {"error": error}

    def response(self) -> Response:
        """Make the HTTP response."""
        return Response.of_json(self.body, status=self.status)


@attrs.frozen(kw_only=True)
class ChatRequest:
    """
    One request.

    Attributes:
        reply: The conversation, for the reply maker.
        models: The models to try, in their order.
        metadata: The values for the conditions of a router.
        user: The id of the end user; empty if there is none.
        stops: The texts at which the answer ends.
        audio: The fields of ``audio``; None if the answer is not spoken.
        is_streamed: Whether the answer is sent as events.
        shows_usage: Whether the last event of a stream has ``usage``.
    """

    reply: ReplyRequest
    models: tuple[str, ...]
    metadata: Mapping[str, object]
    user: str
    stops: tuple[str, ...]
    audio: Mapping[str, object] | None
    is_streamed: bool
    shows_usage: bool


def read_request(request: Request, cancelled: threading.Event) -> ChatRequest:
    """
    Read a request.

    Args:
        request: The request.
        cancelled: An event. When the event is set, the reply maker must end its work.

    Raises:
        ChatFailed: The request is invalid.
    """
    try:
        body = read_json(request.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ChatFailed("the body must be a JSON object")
    model = _typed(body, "model", str, "")
    if not model:
        raise ChatFailed("you must provide a model parameter")
    _check_numbers(body)
    extra = _typed(body, "extra_body", dict, {})
    messages = _objects(body, "messages")
    if not messages:
        raise ChatFailed("messages must have at least one message")
    instructions, items = _conversation(messages)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return ChatRequest(
        reply=ReplyRequest(
            items=items,
            instructions=instructions,
            tools=tuple(_tools(body)),
            tool_choice=_tool_choice(body),
            model=model,
            temperature=body.get("temperature"),
            max_output_tokens=None if limit is None else int(limit),
            cancelled=cancelled,
        ),
        models=(model, *_texts(extra, "models")),
        metadata=_typed(extra, "metadata", dict, {}),
        user=_typed(body, "user", str, ""),
        stops=_stops(body),
        audio=_typed(body, "audio", dict, {}) or None,
        is_streamed=_typed(body, "stream", bool, missing=False),
        shows_usage=_typed(body, "stream_options", dict, {}).get("include_usage") is True,
    )


def _typed(body: Mapping[str, object], name: str, kind: type[_T], missing: _T) -> _T:
    value = body.get(name)
    if value is None:
        return missing
    if not isinstance(value, kind):
        raise ChatFailed(f"invalid type for {name}: expected {kind.__name__}")
    return value


def _objects(body: Mapping[str, object], name: str) -> list[dict[str, object]]:
    values = _typed(body, name, list, [])
    if not all(isinstance(value, dict) for value in values):
        raise ChatFailed(f"invalid type for {name}: expected an array of objects")
    return values


def _texts(body: Mapping[str, object], name: str) -> list[str]:
    values = _typed(body, name, list, [])
    if not all(isinstance(value, str) for value in values):
        raise ChatFailed(f"invalid type for {name}: expected an array of strings")
    return values


def _check_numbers(body: Mapping[str, object]) -> None:
    for name, (low, high) in _RANGES.items():
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ChatFailed(f"invalid type for {name}: expected a number")
        if not low <= value <= high:
            raise ChatFailed(f"invalid value for {name}: expected {low:g} to {high:g}")
    effort = body.get("reasoning_effort")
    if effort is not None and effort not in _EFFORTS:
        raise ChatFailed(f"invalid value for reasoning_effort: expected {', '.join(_EFFORTS)}")


def _stops(body: Mapping[str, object]) -> tuple[str, ...]:
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else _texts(body, "stop")
    if len(stops) > _MAX_STOPS:
        raise ChatFailed(f"stop must have at most {_MAX_STOPS} sequences")
    return tuple(filter(None, stops))


def _tools(body: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """Yield the functions among the tools, in the JSON of Realtime."""
    for tool in _objects(body, "tools"):
        if tool.get("type") != "function":
            continue
        function = _typed(tool, "function", dict, {})
        if not _typed(function, "name", str, ""):
            raise ChatFailed("a function needs a name")
        yield {"type": "function", **function}


def _tool_choice(body: Mapping[str, object]) -> str:
    choice = body.get("tool_choice")
    if choice is None:
        return "auto"
    if isinstance(choice, str) and choice in ("auto", "none", "required"):
        return choice
    name = _typed(choice, "function", dict, {}).get("name") if isinstance(choice, dict) else None
    if not isinstance(name, str):
        raise ChatFailed("invalid value for tool_choice")
    return name


def _conversation(
    messages: Sequence[Mapping[str, object]],
) -> tuple[str, list[Mapping[str, object]]]:
    """Return the system messages at the beginning, and the other messages as items of Realtime."""
    instructions: list[str] = []
    items: list[Mapping[str, object]] = []
    for message in messages:
        role = message.get("role")
        if role not in _ROLES:
            raise ChatFailed(f"invalid role: expected one of {', '.join(_ROLES)}")
        text = _content(message)
        if role == "tool":
            call_id = _typed(message, "tool_call_id", str, "")
            if not call_id:
                raise ChatFailed("a message with the role tool needs a tool_call_id")
            items.append({"type": "function_call_output", "call_id": call_id, "output": text})
            continue
        if role in ("system", "developer") and not items:
            instructions.append(text)
            continue
        kind = "output_text" if role == "assistant" else "input_text"
        if text:
            items.append(
                {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
            )
        items += map(_call, _objects(message, "tool_calls"))
    return "\n".join(instructions), items


def _content(message: Mapping[str, object]) -> str:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    parts = _objects(message, "content")
    return " ".join(str(part["text"]) for part in parts if isinstance(part.get("text"), str))


def _call(call: Mapping[str, object]) -> Mapping[str, object]:
    function = _typed(call, "function", dict, {})
    return {
        "type": "function_call",
        "call_id": _typed(call, "id", str, ""),
        "name": _typed(function, "name", str, ""),
        "arguments": _typed(function, "arguments", str, ""),
    }
