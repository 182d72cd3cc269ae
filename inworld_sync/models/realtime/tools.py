"""
What the model of a realtime session may call, and which of it.

Source: Inworld Realtime reference, ``tools`` and ``tool_choice``; MCP as the common
realtime protocol has it.
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

# The field's common rule for names of functions.
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
    A function that this side runs.

    Attributes:
        name: 1 to 64 letters, digits, ``_`` and ``-``.
        description: What it does and when to call it, for the model.
        parameters: The JSON schema of its arguments, an object's.
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
    An MCP server (Model Context Protocol), which the service calls.

    Attributes:
        server_label: Its name in events and in a tool choice.
        server_url: ``https://`` or ``http://``.
        server_description: For the model.
        authorization: A token for the server; never in a repr.
        headers: Sent to the server; never in a repr.
        allowed_tools: The only ones that may be called.
        require_approval: ``never``, ``always``, or a filter as in the common realtime protocol.
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
    The service searches the web by itself.

    Attributes:
        engine: Such as ``google``.
        max_results: The most results of one search.
        max_steps: The most searches of one response.
    """

    type: ClassVar[str] = "web_search"

    engine: str | None = optional(checks.string)
    max_results: int | None = optional(checks.whole(1))
    max_steps: int | None = optional(checks.whole(1))


@runtime_checkable
class HasDefinition(Protocol):
    """A function that can describe itself, as the ``tool`` decorator makes them."""

    @property
    def definition(self) -> FunctionTool:
        """The description for the model."""
        ...


# A mapping is a tool that this version does not know, sent as it is.
Tool: TypeAlias = FunctionTool | McpTool | WebSearchTool | HasDefinition | Mapping[str, object]


@attrs.frozen
class FunctionChoice:
    """The model must call this function."""

    type: ClassVar[str] = "function"

    name: str = attrs.field(validator=checks.text)


@attrs.frozen
class McpChoice:
    """The model must call a tool of this server, the one of this name if there is one."""

    type: ClassVar[str] = "mcp"

    server_label: str = attrs.field(validator=checks.text)
    name: str | None = optional(checks.string)


ToolChoice: TypeAlias = ToolMode | FunctionChoice | McpChoice


def check_tool_choice(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a choice of tools."""
    if value is None or value in get_args(ToolMode):
        return
    if not isinstance(value, (FunctionChoice, McpChoice)):
        raise ConfigError(
            f"{field.name} must be one of {', '.join(get_args(ToolMode))}, a FunctionChoice or"
            f" an McpChoice, got {value!r}"
        )


def to_tools(value: Iterable[Tool] | None) -> tuple[Tool, ...] | None:
    """Turn tools into a tuple; each must be one, and their names must differ."""
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
