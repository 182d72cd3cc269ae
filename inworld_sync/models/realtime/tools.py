"""
Defines the tools that the model of a realtime session may call, and the choice of a tool.

Sources: Inworld Realtime reference, ``tools`` and ``tool_choice``; OpenAI Realtime reference for
MCP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal, Protocol, TypeAlias, TypeVar, get_args, runtime_checkable

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models import checks
from inworld_sync.models.checks import optional
from inworld_sync.models.realtime.base import Setting

__all__ = [
    "FunctionChoice",
    "FunctionTool",
    "HasDefinition",
    "McpChoice",
    "McpTool",
    "Tool",
    "ToolChoice",
    "ToolMode",
    "WebSearchTool",
    "check_tool_choice",
    "to_tools",
]

_T = TypeVar("_T")

# The usual rule for function names in APIs of language models.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

ToolMode: TypeAlias = Literal["auto", "none", "required"]


def _plain_name(_: object, field: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ConfigError(
            f"a tool's {field.name} must be 1 to 64 letters, digits, _ and -, got {value!r}"
        )


def _object_schema(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    checks.mapping(_, field, value)
    if not isinstance(value, Mapping) or value.get("type") != "object":
        raise ConfigError(f"{field.name} must be a JSON schema of type 'object', got {value!r}")


def _server_url(_: object, field: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not value.startswith(("https://", "http://")):
        raise ConfigError(f"{field.name} must start with https:// or http://")


@attrs.frozen(kw_only=True)
class FunctionTool(Setting):
    """
    A function that the program runs.

    Attributes:
        name: The name, 1 to 64 letters, digits, ``_`` and ``-``.
        description: Describes for the model what the function does and when to call it.
        parameters: The JSON schema of the arguments; the type of the schema must be ``object``.
    """

    type: ClassVar[str] = "function"

    name: str = attrs.field(validator=_plain_name)
    description: str | None = optional(checks.string)
    parameters: Mapping[str, object] = attrs.field(
        factory=lambda: {"type": "object", "properties": {}}, validator=_object_schema
    )


@attrs.frozen(kw_only=True)
class McpTool(Setting):
    """
    An MCP server (Model Context Protocol) whose tools the service calls.

    Attributes:
        server_label: The server's name in events and in a tool choice.
        server_url: A URL with ``https://`` or ``http://``.
        server_description: A description of the server for the model.
        authorization: A token for the server. No repr shows it.
        headers: HTTP headers for the server. No repr shows them.
        allowed_tools: The only tools that may be called.
        require_approval: ``never``, ``always``, or a filter as in the OpenAI Realtime reference.
    """

    type: ClassVar[str] = "mcp"

    server_label: str = attrs.field(validator=checks.text)
    server_url: str = attrs.field(validator=_server_url)
    server_description: str | None = optional(checks.string)
    authorization: str | None = optional(checks.string, repr=False)
    headers: Mapping[str, str] | None = optional(checks.string_map, repr=False)
    allowed_tools: tuple[str, ...] | None = attrs.field(
        default=None, converter=checks.to_tuple, validator=checks.texts
    )
    require_approval: Literal["never", "always"] | Mapping[str, object] | None = None


@attrs.frozen(kw_only=True)
class WebSearchTool(Setting):
    """
    A web search, which the service runs.

    Attributes:
        engine: The search engine, such as ``google``.
        max_results: The maximum number of results of one search.
        max_steps: The maximum number of searches in one response.
    """

    type: ClassVar[str] = "web_search"

    engine: str | None = optional(checks.string)
    max_results: int | None = optional(checks.whole(1))
    max_steps: int | None = optional(checks.whole(1))


@runtime_checkable
class HasDefinition(Protocol):
    """A function with a description for the model. The ``tool`` decorator makes such functions."""

    @property
    def definition(self) -> FunctionTool:
        """The description for the model."""
        ...


# A mapping is a tool of a kind that this version does not know. The mapping is sent unchanged.
Tool: TypeAlias = FunctionTool | McpTool | WebSearchTool | HasDefinition | Mapping[str, object]


@attrs.frozen
class FunctionChoice:
    """The model must call this function."""

    type: ClassVar[str] = "function"

    name: str = attrs.field(validator=checks.text)


@attrs.frozen
class McpChoice:
    """The model must call the tool *name* of this MCP server; None means any tool."""

    type: ClassVar[str] = "mcp"

    server_label: str = attrs.field(validator=checks.text)
    name: str | None = optional(checks.string)


ToolChoice: TypeAlias = ToolMode | FunctionChoice | McpChoice


def check_tool_choice(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a tool choice."""
    if value is None or value in get_args(ToolMode):
        return
    if not isinstance(value, (FunctionChoice, McpChoice)):
        raise ConfigError(
            f"{field.name} must be one of {', '.join(get_args(ToolMode))}, a FunctionChoice or"
            f" an McpChoice, got {value!r}"
        )


def to_tools(value: Iterable[Tool] | None) -> tuple[Tool, ...] | None:
    """Return tools as a tuple. Require that all values are tools and that their names differ."""
    if value is None:
        return None
    found = tuple(value)
    names = [name for name in map(_name, found) if name is not None]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"tools must have different names, got {name!r} twice")
    return found


def _name(tool: object) -> object:
    if isinstance(tool, HasDefinition):
        return tool.definition.name
    if isinstance(tool, FunctionTool):
        return tool.name
    if isinstance(tool, (McpTool, WebSearchTool)):
        return None
    if isinstance(tool, Mapping) and isinstance(tool.get("type"), str):
        return tool.get("name")
    raise ConfigError(
        "tools must be functions decorated with tool, FunctionTool, McpTool, WebSearchTool or"
        f" mappings with a type, got {tool!r}"
    )
