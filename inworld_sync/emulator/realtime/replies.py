"""
What makes a reply out of a conversation: the protocol, and how to read a conversation.

Any callable with this shape may answer; see ``rules`` for the built-in one and ``chat`` for one
that asks an OpenAI-compatible endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

import attrs

__all__ = ["ReplyMaker", "ReplyPart", "ReplyRequest", "ToolCall", "text_of"]


@attrs.frozen
class ToolCall:
    """
    A function that the client shall call.

    Attributes:
        name: Of a tool of the request.
        arguments: A JSON object as text.
    """

    name: str
    arguments: str = "{}"


ReplyPart: TypeAlias = "str | ToolCall"


@attrs.frozen(kw_only=True)
class ReplyRequest:
    """
    What a reply is made from.

    Attributes:
        items: The conversation, oldest first, in the service's JSON; what was spoken is text.
        instructions: Of the session or the response.
        tools: Those that may be called, in the service's JSON.
        tool_choice: ``auto``, ``none``, ``required``, or the name of a tool.
        model: As the client wrote it.
        temperature: None leaves it to the maker.
        max_output_tokens: None for any number; what is longer is cut.
    """

    items: Sequence[Mapping[str, object]]
    instructions: str = ""
    tools: Sequence[Mapping[str, object]] = ()
    tool_choice: str = "auto"
    model: str = ""
    temperature: float | None = None
    max_output_tokens: int | None = None


class ReplyMaker(Protocol):
    """
    Makes replies; called from several threads at once.

    It yields text in pieces of any length and calls of tools; it is left in the middle when the
    reply is interrupted. What it raises fails the response.
    """

    def __call__(self, request: ReplyRequest) -> Iterable[ReplyPart]:
        """Answer the last item."""
        ...


def text_of(item: Mapping[str, object]) -> str:
    """Return the words of a message, typed or spoken."""
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    found = [part.get("text") or part.get("transcript") for part in parts if isinstance(part, dict)]
    return " ".join(str(text) for text in found if text)
