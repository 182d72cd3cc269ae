"""Defines the address of a realtime service, and the differences between services."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import ClassVar

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models.realtime import (
    AlawFormat,
    AudioFormat,
    Command,
    MulawFormat,
    OutputAudio,
    OutputText,
    PcmFormat,
)
from inworld_sync.wire.codec import JsonObject, dump_text
from inworld_sync.wire.realtime import commands

__all__ = ["RealtimeEndpoint", "TrackEndpoint"]

# The names of the assistant's parts in the common realtime protocol differ from Inworld's names.
_COMMON_PARTS = {OutputText.type: "output_text", OutputAudio.type: "output_audio"}


def _path(_: object, field: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not value.startswith("/") or "?" in value:
        raise ConfigError(f"{field.name} must start with / and have no query, got {value!r}")


@attrs.frozen(kw_only=True)
class RealtimeEndpoint:
    """
    The address of a realtime service below a client's ``base_url``.

    Attributes:
        path: The path, such as ``/api/v1/realtime/session``.
        query: Parameters that are added to the address, such as a model's name.
        is_inworld: Whether the service is Inworld's. If so, each session has a ``key`` in the
            address, the service knows ``providerData``, each transcript of the user has the whole
            turn, and truncations of G.711 audio are counted at 24 kHz. The value is False for a
            service that has only the common realtime protocol.
    """

    path: str = attrs.field(default=commands.PATH, validator=_path)
    query: Mapping[str, str] = attrs.field(factory=dict)
    is_inworld: bool = True
    # Whether audio is in the tracks of a WebRTC connection instead of messages.
    has_tracks: ClassVar[bool] = False

    @classmethod
    def openai(cls, model: str, path: str = "/v1/realtime") -> RealtimeEndpoint:
        """
        Return the endpoint of a service that is compatible with OpenAI's service.

        Use this endpoint with a client whose ``base_url`` is the address of the service and whose
        ``token`` is the key of the service.
        """
        return cls(path=path, query={"model": model}, is_inworld=False)

    def parameters(self, key: str | None) -> dict[str, str]:
        """Return the query of the address of one session. If *key* is None, a key is generated."""
        if not self.is_inworld:
            return dict(self.query)
        return {"key": key or uuid.uuid4().hex, "protocol": "realtime", **self.query}

    def write(self, command: Command) -> str:
        """
        Write a command in the spelling of this service.

        Raises:
            ConfigError: A value of the command cannot be written as JSON in UTF-8.
        """
        body = commands.write_object(command)
        if not self.is_inworld:
            _rename_parts(body)
        return dump_text(body)

    def audio_end_ms(self, duration_ms: float, output_format: AudioFormat) -> int:
        """
        Convert a duration in milliseconds to the ``audio_end_ms`` with which this service truncates
        an item.
        """
        # For G.711, the service counts ``audio_end_ms`` on a timebase of 24 kHz.
        if self.is_inworld and isinstance(output_format, (MulawFormat, AlawFormat)):
            duration_ms /= 3
        return int(duration_ms)

    def timebase(self, output_format: AudioFormat) -> AudioFormat:
        """Return the format whose sample rate this service uses for ``audio_end_ms``."""
        if not self.is_inworld and isinstance(output_format, (MulawFormat, AlawFormat)):
            return PcmFormat(output_format.sample_rate_hz)
        return output_format


@attrs.frozen(kw_only=True)
class TrackEndpoint(RealtimeEndpoint):
    """Inworld's service over WebRTC, whose audio is in tracks."""

    path: str = attrs.field(default=commands.CALLS_PATH, validator=_path)
    has_tracks: ClassVar[bool] = True


def _rename_parts(body: JsonObject) -> None:
    response = body.get("response")
    context = response.get("input") if isinstance(response, dict) else None
    for item in [body.get("item"), *(context if isinstance(context, list) else ())]:
        content = item.get("content") if isinstance(item, dict) else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and part.get("type") in _COMMON_PARTS:
                part["type"] = _COMMON_PARTS[str(part["type"])]
