r"""
The contexts of one TTS connection: what may be said, and what an answer means for whom.

Each context is in one state. Commands are ours; the rest are answers::

    state      create  text, flush, update  close    closed answer, fault 5 or 8  other answers
    -          OPEN    error                -        -                            -
    OPEN       error   OPEN                 CLOSING  -                            OPEN
    CLOSING    error   error                CLOSING  -                            CLOSING

A context counts against the limit until it is gone, since the service still holds it.
A fault other than 5 (not found) and 8 (limit) leaves the service holding the context, so the
owner closes it: text was lost, and going on would hide that.

Pure: no clock, no lock; the owner serialises calls.
Source: Inworld TTS WebSocket reference; fault behaviour from captures of September 2026.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from inworld_sync.errors import ContextLimitError, LocalProtocolError
from inworld_sync.models.tts import ContextClosed, ContextConfig
from inworld_sync.wire import tts

__all__ = ["ContextState", "Contexts"]

# After these the service holds no such context and will never say that it closed.
_GONE_CODES = frozenset({5, 8})


class ContextState(enum.Enum):
    """Where a context is between its create and the service's last word about it."""

    OPEN = enum.auto()
    CLOSING = enum.auto()


class Contexts:
    """The contexts that one connection holds; gives the text to send for every command."""

    def __init__(self, limit: int = tts.MAX_CONTEXTS) -> None:
        self._limit = limit
        self._states: dict[str, ContextState] = {}

    def __len__(self) -> int:
        return len(self._states)

    @property
    def free(self) -> int:
        """How many more contexts may be created now."""
        return self._limit - len(self._states)

    @property
    def closing(self) -> int:
        """How many are on their way out, so that a place will come free."""
        return sum(state is ContextState.CLOSING for state in self._states.values())

    def state(self, context_id: str) -> ContextState | None:
        """The context's state, None once it is gone."""
        return self._states.get(context_id)

    def create(self, context_id: str, config: ContextConfig) -> str:
        """
        Open a context.

        Raises:
            LocalProtocolError: The id is taken.
            ContextLimitError: The connection holds as many as the service allows.
        """
        if context_id in self._states:
            raise LocalProtocolError(f"context {context_id!r} exists, choose another id")
        if self.free <= 0:
            raise ContextLimitError(
                f"a connection holds at most {self._limit} contexts, close one or open another"
                " connection",
                code=8,
            )
        message = tts.create(context_id, config)
        self._states[context_id] = ContextState.OPEN
        return message

    def send_text(self, context_id: str, text: str, *, flush: bool = False) -> str:
        """Give text to an open context."""
        self._require_open(context_id, "take text")
        return tts.send_text(context_id, text, flush=flush)

    def flush(self, context_id: str) -> str:
        """Have an open context speak what it has."""
        self._require_open(context_id, "flush")
        return tts.flush_context(context_id)

    def update(self, context_id: str, changes: Mapping[str, object]) -> str:
        """Change settings of an open context."""
        self._require_open(context_id, "change its settings")
        return tts.update_config(context_id, changes)

    def close(self, context_id: str) -> str | None:
        """End a context; None if that was said before or the service ended it."""
        if self._states.get(context_id) is not ContextState.OPEN:
            return None
        self._states[context_id] = ContextState.CLOSING
        return tts.close_context(context_id)

    def forget(self, context_id: str) -> None:
        """Drop a context whose create never left this side."""
        self._states.pop(context_id, None)

    def note(self, message: tts.TtsMessage) -> bool:
        """Follow an answer; return whether its context is gone with it."""
        if isinstance(message, ContextClosed):
            return self._states.pop(message.context_id, None) is not None
        if isinstance(message, tts.ContextFault) and message.code in _GONE_CODES:
            return self._states.pop(message.context_id, None) is not None
        return False

    def _require_open(self, context_id: str, what: str) -> None:
        state = self._states.get(context_id)
        if state is ContextState.OPEN:
            return
        now = "gone" if state is None else "closing"
        raise LocalProtocolError(
            f"context {context_id!r} is {now} and cannot {what}; create another"
        )
