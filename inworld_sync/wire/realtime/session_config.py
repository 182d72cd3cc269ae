"""
Defines the settings of a session in the form of the REST interface.

Source: the schema ``SessionConfig`` of the OpenAPI text of the Realtime API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args
from urllib.parse import urlsplit

import attrs

from inworld_sync.errors import ConfigError, RemoteProtocolError
from inworld_sync.models import checks, realtime as rt
from inworld_sync.models.checks import optional
from inworld_sync.models.realtime.base import Setting
from inworld_sync.models.realtime.session import MAX_OUTPUT_TOKENS
from inworld_sync.models.realtime.tools import check_tool_choice, to_tools
from inworld_sync.wire.codec import Codec, camel
from inworld_sync.wire.realtime.codec import plain

__all__ = ["McpServer", "SessionConfig", "TurnDetectionConfig"]

T = TypeVar("T")

_Format: TypeAlias = Literal["pcm16", "pcmu", "pcma"]
_Turns: TypeAlias = Literal["server_vad", "semantic_vad", "none"]

_FORMATS: Final[dict[str, rt.AudioFormat]] = {
    "pcm16": rt.PcmFormat(),
    "pcmu": rt.MulawFormat(),
    "pcma": rt.AlawFormat(),
}
_TOOLS: Final = {kind.type: kind for kind in (rt.FunctionTool, rt.McpTool)}
_CHOICES: Final = {kind.type: kind for kind in (rt.FunctionChoice, rt.McpChoice)}

# The settings that a Session and a SessionConfig share. Each key is the name in a SessionConfig,
# and each value is the name in a Session.
_SAME: Final = {
    "model": "model",
    "instructions": "instructions",
    "temperature": "temperature",
    "max_tokens": "max_output_tokens",
    "voice": "voice",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "extra": "extra",
}
_CONVERTED: Final = {"input_format", "output_format", "turn_detection"}

_CODEC: Final = Codec(camel)


@attrs.frozen(kw_only=True)
class TurnDetectionConfig(Setting):
    """
    How the end of the user's turn is detected.

    Attributes:
        type: With ``server_vad``, silence alone ends a turn. With ``semantic_vad``, the meaning of
            the words counts too. With ``none``, the application ends turns.
        threshold: Audio counts as speech if the probability of speech is at least this, 0 to 1.
        silence_duration_ms: The duration of the silence that ends a turn.
    """

    type: _Turns = attrs.field(validator=checks.one_of(get_args(_Turns)))
    threshold: float | None = optional(checks.number(0, 1))
    silence_duration_ms: int | None = optional(checks.whole(0, unit=" ms"))


def _check_url(_: object, field: attrs.Attribute[str], value: object) -> None:
    # The URL may contain a password, so the error does not show the URL.
    if not isinstance(value, str) or not value.startswith(("https://", "http://")):
        raise ConfigError(f"{field.name} of an McpServer must start with https:// or http://")


@attrs.frozen(kw_only=True)
class McpServer(Setting):
    """
    An MCP server whose tools the service calls.

    Attributes:
        url: A URL with ``https://`` or ``http://``.
        transport: The transport of MCP, such as ``sse``. A :class:`Session` has no such setting.
    """

    url: str = attrs.field(validator=_check_url)
    transport: str | None = optional(checks.string)


def _servers(value: Iterable[McpServer] | None) -> tuple[McpServer, ...] | None:
    found = None if value is None else tuple(value)
    for each in found or ():
        if not isinstance(each, McpServer):
            raise ConfigError(f"mcp_servers must be McpServer objects, got {each!r}")
    return found


def _tools(value: Iterable[rt.Tool] | None) -> tuple[Mapping[str, object], ...] | None:
    found: Any = plain(to_tools(value) or ())
    return None if value is None else tuple(found)


def _choice(
    value: rt.ToolChoice | Mapping[str, object] | None,
) -> rt.ToolMode | Mapping[str, object] | None:
    found: Any = value if isinstance(value, Mapping) else plain(value)
    checked: rt.ToolMode | Mapping[str, object] | None = found
    return checked


def _check_choice(_: object, field: attrs.Attribute[T], value: T) -> None:
    if not isinstance(value, Mapping):
        check_tool_choice(_, field, value)


@attrs.frozen(kw_only=True)
class SessionConfig(Setting):
    """
    The settings of a session in the form of the REST interface, with camelCase names on the wire.

    A SessionConfig is the ``sessionConfig`` of an offer to ``POST /v1/realtime/webrtc``. A
    WebSocket session takes a :class:`Session`; :meth:`to_session` and :meth:`from_session` convert
    between both classes.

    Attributes:
        model: The language model, ``provider/model``.
        instructions: The system prompt.
        temperature: The temperature of the model, 0 to 2.
        max_tokens: The largest number of tokens of one response, 1 to 4096.
        voice: The id of the voice.
        input_audio_format: The format of sent audio: ``pcm16``, ``pcmu`` or ``pcma``.
        output_audio_format: The format of received audio: ``pcm16``, ``pcmu`` or ``pcma``.
        turn_detection: How the end of the user's turn is detected.
        tools: The tools as JSON objects; functions and tools of a :class:`Session` are converted.
        tool_choice: Whether the model calls tools: ``auto``, ``none``, ``required``, or the tool
            that must be called.
        mcp_servers: MCP servers without further settings. A server with further settings is an
            :class:`McpTool` in *tools*.
    """

    model: str | None = optional(checks.string)
    instructions: str | None = optional(checks.string)
    temperature: float | None = optional(checks.number(0, 2))
    max_tokens: int | None = optional(checks.whole(1, MAX_OUTPUT_TOKENS))
    voice: str | None = optional(checks.string)
    input_audio_format: _Format | None = optional(checks.one_of(get_args(_Format)))
    output_audio_format: _Format | None = optional(checks.one_of(get_args(_Format)))
    turn_detection: TurnDetectionConfig | None = optional(checks.instance(TurnDetectionConfig))
    tools: tuple[Mapping[str, object], ...] | None = attrs.field(default=None, converter=_tools)
    tool_choice: rt.ToolMode | Mapping[str, object] | None = attrs.field(
        default=None, converter=_choice, validator=_check_choice
    )
    mcp_servers: tuple[McpServer, ...] | None = attrs.field(default=None, converter=_servers)

    def to_json(self) -> dict[str, object]:
        """Return the settings that are not None as a JSON object, with names in camelCase."""
        body: dict[str, object] = dict(_CODEC.dump(self))
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, object]) -> SessionConfig:
        """
        Read the JSON object of :meth:`to_json`, and keep unknown fields in ``extra``.

        Raises:
            ConfigError: A field has the wrong type or a value that is not accepted.
        """
        try:
            return _CODEC.load(body, cls, "the SessionConfig")
        except RemoteProtocolError as error:
            raise ConfigError(str(error)) from error

    def to_session(self) -> rt.Session:
        """
        Return these settings for a WebSocket session.

        The label of an MCP server is its host name. If several servers have the same host, a number
        is added to the label. The ``transport`` is left out, because the service detects the
        transport.

        Raises:
            ConfigError: A tool or the tool choice has a form that a session does not have.
        """
        values: dict[str, Any] = {there: getattr(self, here) for here, there in _SAME.items()}
        if self.tools is not None or self.mcp_servers is not None:
            typed = map(_typed_tool, self.tools or ())
            values["tools"] = (*typed, *_mcp_tools(self.mcp_servers or ()))
        values["tool_choice"] = _typed_choice(self.tool_choice)
        values["turn_detection"] = _turn_detection(self.turn_detection)
        values["input_format"] = _FORMATS.get(self.input_audio_format or "")
        values["output_format"] = _FORMATS.get(self.output_audio_format or "")
        return rt.Session(**values)

    @classmethod
    def from_session(cls, session: rt.Session) -> SessionConfig:
        """
        Return the settings of a session.

        The result has the descriptions of functions for the model, but no references to the Python
        functions.

        Raises:
            ConfigError: A setting has no place in a :class:`SessionConfig`. The message names this
                setting.
        """
        known = {*_SAME.values(), *_CONVERTED}
        names = [field.name for field in attrs.fields(rt.Session)]
        lost = [name for name in names if name not in known and getattr(session, name) is not None]
        if session.max_output_tokens == "inf":
            lost.append("max_output_tokens='inf'")
        if lost:
            raise ConfigError(f"a SessionConfig has no place for {', '.join(lost)}")
        values = {here: getattr(session, there) for here, there in _SAME.items()}
        return cls(
            **values,
            turn_detection=_turn_config(session.turn_detection),
            input_audio_format=_format_name("input_format", session.input_format),
            output_audio_format=_format_name("output_format", session.output_format),
        )


def _typed_tool(tool: Mapping[str, object]) -> rt.Tool:
    kind = _TOOLS.get(str(tool.get("type")))
    return tool if kind is None else _typed(tool, kind, "a tool")


def _typed_choice(choice: str | Mapping[str, object] | None) -> Any:
    if not isinstance(choice, Mapping):
        return choice
    kind = _CHOICES.get(str(choice.get("type")))
    if kind is None:
        raise ConfigError(f"tool_choice has the unknown type {choice.get('type')!r}")
    return _typed(choice, kind, "tool_choice")


def _typed(body: Mapping[str, object], kind: type[Any], where: str) -> Any:
    """Make an object of *kind*, whose attributes have the same names as the JSON fields."""
    names = {field.name for field in attrs.fields(kind)} - {"extra"}
    known = {name: each for name, each in body.items() if name in names}
    rest = {name: each for name, each in body.items() if name not in names and name != "type"}
    try:
        return kind(**known, **({"extra": rest} if rest else {}))
    except TypeError as error:
        raise ConfigError(
            f"{where} of the type {body['type']} has missing or wrong fields"
        ) from error


def _mcp_tools(servers: Iterable[McpServer]) -> list[rt.McpTool]:
    found: dict[str, rt.McpTool] = {}
    for server in servers:
        host = label = urlsplit(server.url).hostname or "server"
        number = 1
        while label in found:
            number += 1
            label = f"{host}-{number}"
        found[label] = rt.McpTool(server_label=label, server_url=server.url, extra=server.extra)
    return list(found.values())


def _turn_detection(config: TurnDetectionConfig | None) -> rt.TurnDetection | None:
    if config is None:
        return None
    if config.type == "none":
        return rt.ManualTurns()
    silence_ms = config.silence_duration_ms
    if config.type == "server_vad":
        return rt.ServerVad(
            threshold=config.threshold, silence_duration_ms=silence_ms, extra=config.extra
        )
    given = {"threshold": config.threshold, "silence_duration_ms": silence_ms}
    kept = {name: value for name, value in given.items() if value is not None}
    return rt.SemanticVad(extra={**kept, **config.extra})


def _turn_config(detection: rt.TurnDetection | None) -> TurnDetectionConfig | None:
    if detection is None:
        return None
    if isinstance(detection, rt.ManualTurns):
        return TurnDetectionConfig(type="none")
    values: dict[str, Any] = dict(plain(detection))  # type: ignore[call-overload]
    kind, threshold = values.pop("type"), values.pop("threshold", None)
    silence_ms = values.pop("silence_duration_ms", None)
    if lost := [name for name in values if name not in detection.extra]:
        raise ConfigError(f"a SessionConfig has no place for {', '.join(lost)} of turn_detection")
    return TurnDetectionConfig(
        type=kind, threshold=threshold, silence_duration_ms=silence_ms, extra=values
    )


def _format_name(name: str, audio_format: rt.AudioFormat | None) -> Any:
    if audio_format is None:
        return None
    for found, each in _FORMATS.items():
        if each == audio_format:
            return found
    raise ConfigError(f"a SessionConfig has no place for the {name} {audio_format!r}")
