"""Defines the base classes of all realtime values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from inworld_sync.models import checks

__all__ = ["Extensible", "RealtimeEvent", "Setting"]


@attrs.frozen(kw_only=True)
class Extensible:
    """
    A value of the service. The value may have fields that this version does not know.

    Attributes:
        extra: The unknown fields, by their names on the wire. No repr shows these fields, because
            they may have a secret.
    """

    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class Setting(Extensible):
    """
    A value that programs make. The value is checked when the program makes it.

    Attributes:
        extra: Further fields to send, by their names on the wire.
    """

    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping, repr=False)


@attrs.frozen
class RealtimeEvent(Extensible):
    """
    A message of the service.

    Attributes:
        event_id: The service's id of the message; None if the message has none.
    """

    type: ClassVar[str]

    event_id: str | None = attrs.field(default=None, kw_only=True)
