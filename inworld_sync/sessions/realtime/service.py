"""Opens realtime sessions. This module has the class of ``iw.realtime``."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.locks import imports
from inworld_sync.models.checks import require_seconds
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.sessions.connector import Connector
from inworld_sync.transport.forgotten import close_if_forgotten

if TYPE_CHECKING:
    from inworld_sync.models.realtime import Session
    from inworld_sync.sessions.realtime.reconnect import OpenLink
    from inworld_sync.sessions.realtime.session import RealtimeSession
    from inworld_sync.sessions.realtime.tool_runner import Approver
    from inworld_sync.wire.realtime.endpoint import RealtimeEndpoint

__all__ = ["Realtime", "SessionOptions", "open_session"]

_numbers = itertools.count(1)


@attrs.frozen(kw_only=True)
class SessionOptions:
    """The settings of the client for one session; :meth:`Realtime.connect` describes them."""

    reconnect_timeout: float
    barge_in: bool
    tool_timeout: float | None
    max_tools_at_once: int
    on_approval: Approver | None
    tool_errors: Literal["neutral", "text"]
    request_timeout: float
    response_start_timeout: float
    response_timeout: float
    max_session_age: float | None

    def __attrs_post_init__(self) -> None:
        require_seconds("reconnect_timeout", self.reconnect_timeout, is_zero_allowed=True)
        for name in ("tool_timeout", "max_session_age"):
            if getattr(self, name) is not None:
                require_seconds(name, getattr(self, name))
        for name in ("request_timeout", "response_start_timeout", "response_timeout"):
            require_seconds(name, getattr(self, name))
        if self.tool_errors not in ("neutral", "text"):
            raise ConfigError(f"tool_errors must be 'neutral' or 'text', got {self.tool_errors!r}")
        if self.max_tools_at_once < 1:
            raise ConfigError(
                f"max_tools_at_once must be at least 1, got {self.max_tools_at_once!r}"
            )


def open_session(
    connector: Connector,
    session: Session | None,
    endpoint: RealtimeEndpoint | None,
    options: SessionOptions,
    *,
    timeout: float | None,
    key: str | None = None,
    open_link: OpenLink | None = None,
) -> RealtimeSession:
    """
    Open a session; see :meth:`Realtime.connect`.

    Args:
        connector: Opens connections for the client.
        session: The settings of the session.
        endpoint: The service; None means Inworld.
        options: The client's settings for this session.
        timeout: Seconds for the whole call.
        key: The key of the first connection.
        open_link: Opens a link that is not a WebSocket.
    """
    if timeout is not None:
        require_seconds("timeout", timeout)
    # The classes of a session are imported when the first session opens.
    with imports:
        from inworld_sync.models.events import StreamEnded
        from inworld_sync.models.realtime import Session
        from inworld_sync.sessions.realtime.commands import Timeouts
        from inworld_sync.sessions.realtime.reconnect import Reconnector
        from inworld_sync.sessions.realtime.session import RealtimeSession
        from inworld_sync.sessions.realtime.state import SessionState
        from inworld_sync.sessions.realtime.tool_runner import ToolOptions
        from inworld_sync.wire.realtime.endpoint import RealtimeEndpoint

    state = SessionState(
        f"realtime-session-{next(_numbers)}",
        connector.options,
        endpoint or RealtimeEndpoint(),
        session or Session(),
        reconnects=options.reconnect_timeout > 0,
        barge_in=options.barge_in,
        tool_options=ToolOptions(
            options.tool_timeout,
            options.max_tools_at_once,
            options.on_approval,
            sends_errors=options.tool_errors == "text",
        ),
        timeouts=Timeouts(
            request=options.request_timeout,
            response_start=options.response_start_timeout,
            response=options.response_timeout,
        ),
        max_session_age=options.max_session_age,
    )
    reconnector = Reconnector(state, connector, key, options.reconnect_timeout, open_link)
    try:
        state.executor.start()
        reconnector.open(timeout)
        opened = RealtimeSession(state, reconnector)
    except BaseException:
        # A signal handler may raise an exception at any point.
        with state.monitor:
            state.end(StreamEnded("client", reason="not opened"))
        raise
    state.tools.runner.bind(opened)
    connector.adopt(opened)
    close_if_forgotten(
        opened,
        f"the session {state.name}",
        lambda: not state.commands.is_over,
        lambda: RealtimeSession(state, reconnector).close(),
    )
    return opened


class Realtime:
    """
    Opens realtime conversations. ``iw.realtime`` is an object of this class.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    @with_keyword_hints
    def connect(
        self,
        session: Session | None = None,
        *,
        timeout: float | None = None,
        endpoint: RealtimeEndpoint | None = None,
        key: str | None = None,
        reconnect_timeout: float = 30.0,
        barge_in: bool = True,
        tool_timeout: float | None = 60.0,
        max_tools_at_once: int = 8,
        on_approval: Approver | None = None,
        tool_errors: Literal["neutral", "text"] = "neutral",
        request_timeout: float = 10.0,
        response_start_timeout: float = 15.0,
        response_timeout: float = 60.0,
        max_session_age: float | None = 3300.0,
    ) -> RealtimeSession:
        """
        Open a session and wait until the service has accepted its settings.

        Args:
            session: The settings; None uses the defaults of the service.
            timeout: Seconds for the whole call; None means ``connect_timeout``.
            endpoint: The service; None means Inworld. See :class:`~inworld_sync.RealtimeEndpoint`.
            key: A unique text by which the session can be found in the logs of the service; None
                generates a key.
            reconnect_timeout: For how many seconds the client tries to replace a lost connection
                before the session ends; 0 turns reconnecting off.
            barge_in: Whether the assistant stops speaking when the user begins to speak. The
                setting ``interrupt_response=False`` of the turn detection has the same effect as
                ``barge_in=False``.
            tool_timeout: The timeout in seconds of a function that has no timeout of its own. After
                this time, an error is sent as the output of the function. None means no timeout.
            max_tools_at_once: How many functions may run at the same time.
            on_approval: A function that gets each MCP call that needs approval. The function runs
                on a thread of its own, and returns True to allow the call. With None, the
                application calls ``approve``.
            tool_errors: The output that the model gets if a function raises an exception.
                ``neutral`` says only that the function failed. ``text`` has the type and the text
                of the exception.
            request_timeout: Seconds for the service's answer to a command: an update, or the
                creation, retrieval, truncation or deletion of an item.
            response_start_timeout: Seconds from the request of a response to its beginning.
            response_timeout: Seconds between two messages of a response. If this time or
                *response_start_timeout* passes, the response fails with ``DeadlineExceeded``, and
                the next request is sent.
            max_session_age: The age in seconds at which the client renews the session, before the
                service ends it. To renew a session, the client replaces its connection. The client
                first waits for 2 s without a response, speech of the user or a tool call. If there
                are no such 2 s within 4 minutes, the client only waits until no response is in
                progress. Sessions are not renewed if *max_session_age* is None or
                *reconnect_timeout* is 0.

        Raises:
            ConfigError: An argument is out of its range.
            AuthError: The credential is not accepted.
            QuotaError: The account or this client's limit allows no further connection.
            InvalidRequestError: The service refuses the settings.
            TransportError: Could not connect, or the service did not answer in time.
        """
        options = SessionOptions(
            reconnect_timeout=reconnect_timeout,
            barge_in=barge_in,
            tool_timeout=tool_timeout,
            max_tools_at_once=max_tools_at_once,
            on_approval=on_approval,
            tool_errors=tool_errors,
            request_timeout=request_timeout,
            response_start_timeout=response_start_timeout,
            response_timeout=response_timeout,
            max_session_age=max_session_age,
        )
        return open_session(self._connector, session, endpoint, options, timeout=timeout, key=key)
