"""What all realtime values share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from inworld_sync.models import checks

__all__ = ["Extensible", "RealtimeEvent"]


@attrs.frozen(kw_only=True)
class Extensible:
    """
    A value that the service may know more fields of than this version.

    Attributes:
        extra: Fields beyond those of the class, by their names on the wire: sent as they are,
            and kept as they came. Left out of a repr, for it may hold a secret.
    """

    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping, repr=False)


@attrs.frozen
class RealtimeEvent(Extensible):
    """
    A message of the service.

    Attributes:
        event_id: The service's name for the message; None where it gives none.
    """

    type: ClassVar[str]

    event_id: str | None = attrs.field(default=None, kw_only=True)
