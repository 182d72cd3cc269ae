r"""A TTS connection of the user's own: one socket, up to five contexts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inworld_sync.models.events import StreamEnded
from inworld_sync.models.tts import ContextConfig, context_config
from inworld_sync.sessions.tts.context import TtsContext
from inworld_sync.sessions.tts.line import TtsLine
from inworld_sync.transport.websocket import LinkStats

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from inworld_sync.models.tts import ContextSettings

__all__ = ["TtsConnection"]


class TtsConnection:
    """
    One socket to the TTS service with up to five contexts.

    Made by ``iw.tts.connect()``. Leaving a ``with`` block closes it.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, line: TtsLine) -> None:
        self._line = line

    def context(
        self,
        config: ContextConfig | None = None,
        *,
        timeout: float | None = None,
        **settings: Unpack[ContextSettings],
    ) -> TtsContext:
        """
        Create a context; text may be sent at once.

        Args:
            config: All settings in one value; *settings* are changes to it.
            timeout: Seconds to wait for one of five contexts that is closing; None takes
                ``connect_timeout``.
            settings: As the attributes of :class:`~inworld_sync.ContextConfig`.

        Raises:
            ConfigError: A setting is out of its range.
            ContextLimitError: Five contexts are open, or none of them closed in time.
            TransportError: The connection is lost.
        """
        config = context_config(config, settings, ContextConfig())
        return TtsContext(self._line.context(config, timeout))

    @property
    def name(self) -> str:
        """Unique in the process; its threads, traces and recordings bear it."""
        return self._line.name

    @property
    def free_contexts(self) -> int:
        """How many contexts may be created now; those that are closing still count."""
        return self._line.free_contexts

    @property
    def ended(self) -> StreamEnded | None:
        """How the connection ended, None while it is open."""
        return self._line.ended

    @property
    def stats(self) -> LinkStats:
        """Counters and times of the socket, a snapshot."""
        return self._line.stats

    def close(self) -> None:
        """
        End the connection, from any thread, in any state; may be called twice.

        What waits to be sent is sent first, then the service has ``close_timeout`` seconds to
        answer. After this every context has ended and the threads are gone, but for a handler
        that does not return.
        """
        self._line.close()

    def __enter__(self) -> TtsConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TtsConnection {self.name} ended={self.ended}>"
