"""
Defines the protocol of reply makers, which make a reply from a conversation.

A reply maker is any callable with the signature of :class:`ReplyMaker`. ``rules`` has the built-in
reply maker, and ``chat`` has a reply maker for OpenAI-compatible endpoints.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

import attrs

__all__ = ["ReplyMaker", "ReplyPart", "ReplyRequest", "ToolCall", "text_of"]


@attrs.frozen
class ToolCall:
    """
    A tool call.

    Attributes:
        name: The name of a tool of the request.
        arguments: A JSON object as text.
    """

    name: str
    arguments: str = "{}"


ReplyPart: TypeAlias = "str | ToolCall"


@attrs.frozen(kw_only=True)
class ReplyRequest:
    """
    The conversation and the settings for a reply.

    Attributes:
        items: The items of the conversation, oldest first, in the service's JSON. Speech is
            transcribed.
        instructions: The instructions of the session or the response.
        tools: The tools that may be called, in the service's JSON.
        tool_choice: ``auto``, ``none``, ``required``, or the name of a tool.
        model: The name of the model, as the client wrote it.
        temperature: The temperature; None for the default of the reply maker.
        max_output_tokens: The largest number of tokens of the reply, or None for no limit. A longer
            reply is cut.
        cancelled: An event that is set when the reply is interrupted. A reply maker that waits
            should check this event.
    """

    items: Sequence[Mapping[str, object]]
    instructions: str = ""
    tools: Sequence[Mapping[str, object]] = ()
    tool_choice: str = "auto"
    model: str = ""
    temperature: float | None = None
    max_output_tokens: int | None = None
    cancelled: threading.Event = attrs.field(factory=threading.Event, eq=False, repr=False)


class ReplyMaker(Protocol):
    """
    A callable that makes replies.

    A reply maker yields text in pieces of any length, and tool calls. When the reply is
    interrupted, the iteration is stopped. If the reply maker raises an exception, the response
    fails.

    Thread safety: several threads call a reply maker at the same time.
    """

    def __call__(self, request: ReplyRequest) -> Iterable[ReplyPart]:
        """Reply to the last item."""
        ...


def text_of(item: Mapping[str, object]) -> str:
    """Return the text of a message, written or spoken."""
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    found = [part.get("text") or part.get("transcript") for part in parts if isinstance(part, dict)]
    return " ".join(str(text) for text in found if text)
