"""Opens realtime sessions: the class behind ``iw.realtime``."""

from __future__ import annotations

import itertools

from inworld_sync.errors import ConfigError
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.realtime import Session
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.realtime.endpoint import RealtimeEndpoint
from inworld_sync.sessions.realtime.reconnect import Reconnector
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.sessions.realtime.state import SessionState
from inworld_sync.sessions.realtime.tool_runner import Approver, ToolOptions

__all__ = ["Realtime"]

_INWORLD = RealtimeEndpoint()


class Realtime:
    """
    Realtime conversations. Reached as ``iw.realtime``.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._sessions = itertools.count(1)

    @with_keyword_hints
    def connect(
        self,
        session: Session | None = None,
        *,
        timeout: float | None = None,
        endpoint: RealtimeEndpoint = _INWORLD,
        key: str | None = None,
        reconnect_timeout: float = 30.0,
        barge_in: bool = True,
        tool_timeout: float | None = 60.0,
        max_tools_at_once: int = 8,
        on_approval: Approver | None = None,
    ) -> RealtimeSession:
        """
        Open a session and wait until the service has accepted its settings.

        Args:
            session: The settings; None uses the defaults of the service.
            timeout: Seconds for the whole call; None means ``connect_timeout``.
            endpoint: Another service than Inworld's, see :class:`~inworld_sync.RealtimeEndpoint`.
            key: A unique text by which the session can be found in the logs of the service; None
                generates one.
            reconnect_timeout: For how many seconds the client tries to replace a lost connection
                before the session ends; 0 turns reconnecting off.
            barge_in: Whether the user's speech stops the assistant's. Turn detection's
                ``interrupt_response=False`` switches it off too.
            tool_timeout: Seconds for a function that has no timeout of its own, after which an
                error is sent as its output; None for no timeout.
            max_tools_at_once: How many functions run at the same time.
            on_approval: Called with each call of an MCP server that needs approval, on a thread of
                its own; returns True to allow the call. With None, the application calls
                ``approve``.

        Raises:
            AuthError: The credential is not accepted.
            QuotaError: The account or this client's limit allows no further connection.
            InvalidRequestError: The service refuses the settings.
            TransportError: Could not connect, or the service did not answer in time.
        """
        if reconnect_timeout < 0:
            raise ConfigError(f"reconnect_timeout must be 0 or more, got {reconnect_timeout!r}")
        if max_tools_at_once < 1:
            raise ConfigError(f"max_tools_at_once must be at least 1, got {max_tools_at_once!r}")
        state = SessionState(
            f"realtime-session-{next(self._sessions)}",
            self._connector.options,
            endpoint,
            session or Session(),
            reconnects=reconnect_timeout > 0,
            barge_in=barge_in,
            tool_options=ToolOptions(tool_timeout, max_tools_at_once, on_approval),
        )
        reconnector = Reconnector(state, self._connector, key, reconnect_timeout)
        state.executor.start()
        reconnector.open(timeout)
        opened = state.session = RealtimeSession(state, reconnector)
        self._connector.adopt(opened)
        return opened
