"""
Keeps the state of one realtime session over all its connections, and handles each message.

The reader thread handles messages with the monitor held. The executor does everything that may
wait. ``commands.py`` has the phases of a session and the lock rule.

Events of a class may have steps. A step that runs before users get an event returns this event,
another event, or None to drop the event. Other steps run after users have got the event.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias, get_args

from inworld_sync.errors import ConnectionLost, InworldError, fresh
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.options import Options
from inworld_sync.models.realtime import (
    AudioDelta,
    BackchannelDelta,
    CancelResponse,
    ErrorReported,
    InputSpeechStarted,
    ItemDeleted,
    RealtimeEvent,
    ResponseConfig,
    ResponseCreated,
    ResponseDone,
    Session,
    SessionCreated,
    SessionUpdated,
    TextDelta,
    TranscriptDelta,
)
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.monitor import Monitor
from inworld_sync.sessions.realtime.commands import Commands, Phase, Timeouts, new_id
from inworld_sync.sessions.realtime.connection import (
    RealtimeConnection,
    Received,
    error_of,
    session_end,
)
from inworld_sync.sessions.realtime.events import (
    InvalidMessage,
    ResponseStarted,
    SessionEvent,
    SessionReconnected,
    SessionStream,
)
from inworld_sync.sessions.realtime.executor import Executor
from inworld_sync.sessions.realtime.input import TURN_EVENTS, AudioInputQueue, UserTurn
from inworld_sync.sessions.realtime.output import END_EVENTS, Output
from inworld_sync.sessions.realtime.pending import ANSWERS, PendingRequests
from inworld_sync.sessions.realtime.response import Response, ResponsePlayer
from inworld_sync.sessions.realtime.responses import RESPONSE_EVENTS, SessionResponses
from inworld_sync.sessions.realtime.tool_calls import ToolCalls
from inworld_sync.sessions.realtime.tool_runner import ToolOptions
from inworld_sync.transport.deadline import Deadline
from inworld_sync.wire.realtime.conversation import CONVERSATION_EVENTS
from inworld_sync.wire.realtime.endpoint import RealtimeEndpoint
from inworld_sync.wire.realtime.events import ITEM_EVENTS
from inworld_sync.wire.realtime.faults import SessionFault
from inworld_sync.wire.realtime.items import Items
from inworld_sync.wire.realtime.requests import PendingReply, Request
from inworld_sync.wire.realtime.settings import Settings
from inworld_sync.wire.realtime.tool_calls import FunctionEvent

__all__ = ["SessionState"]

# The service ends a session at 60 minutes. An old session is renewed after _IDLE_SECONDS without
# response, speech or tool call. After _RENEWAL_SECONDS more, only a response delays the renewal.
_IDLE_SECONDS = 2.0
_RENEWAL_SECONDS = 240.0
_RENEWAL_POLL_SECONDS = 0.5

_Step: TypeAlias = Callable[[Any], Any]


def _routes(*rows: tuple[tuple[type, ...], _Step]) -> Mapping[type, list[_Step]]:
    routes: dict[type, list[_Step]] = defaultdict(list)
    for kinds, step in rows:
        for kind in kinds:
            routes[kind].append(step)
    return routes


class SessionState:
    """
    One session, over all its connections.

    Args:
        name: The name of the session, for threads, logs and errors.
        options: The client's settings.
        endpoint: The endpoint of the service.
        session: The settings with which the session opens.
        reconnects: Whether a lost connection is replaced.
        barge_in: Whether the user's speech interrupts the assistant's speech.
        tool_options: How tools are called.
        timeouts: The timeouts for the answers of the service.
        max_session_age: Seconds after which the session is renewed; None for never.
    """

    def __init__(
        self,
        name: str,
        options: Options,
        endpoint: RealtimeEndpoint,
        session: Session,
        *,
        reconnects: bool,
        barge_in: bool,
        tool_options: ToolOptions,
        timeouts: Timeouts,
        max_session_age: float | None,
    ) -> None:
        self.name = name
        self.logger = options.logger
        self.endpoint = endpoint
        self.items = Items(is_inworld=endpoint.is_inworld)
        self.commands = Commands(name, options, endpoint, self.items, timeouts)
        self.monitor: Monitor = self.commands.monitor
        self.events = SessionStream(
            self.monitor, name=name, dispatch=options.dispatch, logger=options.logger
        )
        self.executor = Executor(self.monitor, name, options.logger)
        self.settings = Settings(
            session, is_inworld=endpoint.is_inworld, has_tracks=endpoint.has_tracks
        )
        self.turn = UserTurn()
        self.input = AudioInputQueue(self.commands, self.settings, self.turn)
        self.responses = SessionResponses(self, self.commands, self.executor)
        self.output = Output(
            self.commands, self.executor, self.items, self._cancel_responses, self.emit
        )
        self.tools = ToolCalls(
            self.emit,
            self.events.count_error,
            self.commands,
            self.executor,
            self.settings,
            self.responses,
            tool_options,
        )
        self.tools.runner.declare(session.tools)
        self.pending = PendingRequests(
            self.commands, self.responses, self.tools, self.items, self.executor, self._handle
        )
        self.had_response = False
        self.opened_at = self.lost_at = self._busy_at = 0.0
        self.cause: InworldError | None = None
        self.opening_error: InworldError | None = None
        # The connection that a renewal replaces, while it closes.
        self.replaced: RealtimeConnection | None = None
        self._reconnects = reconnects
        self._max_session_age = max_session_age if reconnects else None
        # Events of a new connection, until SessionReconnected is emitted.
        self._early: list[SessionEvent] = []
        self._before = _routes(
            # The fault ends the connection, see RealtimeConnection._after.
            ((SessionFault,), lambda _: None),
            ((InvalidMessage,), self.pending.handle_invalid),
            ((SessionCreated, SessionUpdated), self._handle_session),
            ((ResponseCreated,), self.pending.end_replaced),
            (ANSWERS, self.pending.match),
            ((BackchannelDelta,), self.output.receive_backchannel),
            (CONVERSATION_EVENTS, self.items.handle),
            ((TextDelta, TranscriptDelta, ResponseDone), self.responses.drop_late),
            ((ErrorReported,), self.pending.refuse),
        )
        self._after = _routes(
            ((InvalidMessage,), self.pending.end_unreadable),
            # The calls of a response are handled before the end of the response.
            (get_args(FunctionEvent), self.tools.handle),
            (ITEM_EVENTS, self.tools.handle_item),
            (RESPONSE_EVENTS, self._handle_response),
            (END_EVENTS, self.output.handle_end),
            (TURN_EVENTS, self.turn.handle),
            ((InputSpeechStarted,) if barge_in else (), self._interrupt),
        )

    # ---- for the parts of the session; the monitor is held

    def emit(self, event: SessionEvent) -> None:
        """Emit an event to users. Events of a new connection follow SessionReconnected."""
        if self.commands.phase is Phase.REOPENING:
            self._early.append(event)
        else:
            self.events.emit(event)

    @property
    def is_busy(self) -> bool:
        """Whether the user speaks, or a response or a call is in progress."""
        return self.turn.is_active or self.responses.is_busy or self.tools.is_busy

    @property
    def has_waiting_threads(self) -> bool:
        """Whether a thread waits for an answer, so that the reader must not pause."""
        return self.commands.has_waiting_threads

    def streams_of(self, connection: RealtimeConnection) -> list[EventStream[Any]]:
        """Return the streams that a connection feeds."""
        if connection is not self.commands.connection:
            return []
        return [self.events, *self.responses.streams]

    # ---- the monitor is not held

    def request_response(
        self, config: ResponseConfig | None, event_id: str | None = None
    ) -> Response:
        """Request a response, now or as soon as no other response is in progress."""
        with self.monitor:
            self.commands.require_open()
            if config is not None:
                self.tools.runner.declare(config.tools)
            response = self.responses.request(config, event_id)
        self.responses.send()
        return response

    def update(
        self, session: Session, deadline: Deadline | None, event_id: str | None = None
    ) -> None:
        """Change the session; with a deadline, wait for the service's answer."""
        change = self.settings.change(session)
        reply = PendingReply.to_update(
            Request.UPDATE, change, event_id or new_id("evt"), is_watched=deadline is not None
        )
        with self.monitor:
            self.commands.require_open()
            self.tools.runner.declare(session.tools)
        self.commands.ask(reply, deadline)

    def await_final(self, response: Response, deadline: Deadline) -> None:
        """Wait for the end of a response."""
        with self.monitor:
            self.commands.wait_for(lambda: response.is_final, deadline)

    def cancel_response(self, response: Response) -> None:
        """Cancel a response in any state."""
        with self.monitor:
            response_id = self.responses.cancel(response)
            self.responses.send_waiting()
        if response_id is not None:
            self.commands.send_now(CancelResponse(response_id))

    def cancel_named(self, response_id: str | None, event_id: str | None = None) -> None:
        """Cancel the response with an id, or the active response of the conversation."""
        with self.monitor:
            self.commands.require_open()
            if response_id is not None:
                self.responses.cancel_named(response_id)
            else:
                self.responses.cancel_present()
                self.tools.interrupt()
        self.commands.send(CancelResponse(response_id, event_id=event_id))

    def add_player(self, player: ResponsePlayer) -> None:
        """Add a player of one response, so that interruptions stop it too."""
        with self.monitor:
            self.output.response_players.append(player)

    def remove_player(self, player: ResponsePlayer, *, is_heard: bool) -> None:
        """Forget a player of one response."""
        with self.monitor:
            self.output.remove_response_player(player, is_heard=is_heard)

    # ---- messages; the monitor is held

    def receive(self, connection: RealtimeConnection, event: Received) -> None:
        """Handle one message of the service."""
        if connection is self.commands.connection:
            if type(event) is AudioDelta:
                self._handle_audio(event)
            else:
                self._handle(event)

    def _handle(self, event: Any) -> None:
        kind, seen = type(event), event
        for step in self._before.get(kind, ()):
            seen = step(seen)
            if seen is None:
                break
        else:
            self.emit(seen)
            for step in self._after.get(kind, ()):
                step(seen)
        has_response = kind in (ResponseCreated, ResponseDone)
        response_id = event.response.id if has_response else getattr(event, "response_id", None)
        if response_id is not None:
            self.responses.update_deadline(response_id)

    def _handle_audio(self, event: AudioDelta) -> None:
        """Handle a piece of speech. No other part of the session needs this event."""
        is_accepted = self.responses.accepts(event.response_id)
        if is_accepted:
            event = self.output.receive(event)
            self.emit(event)
        self.responses.handle_audio(event, is_accepted=is_accepted)

    def _handle_session(
        self, event: SessionCreated | SessionUpdated
    ) -> SessionCreated | SessionUpdated | None:
        is_cycle = self.settings.handle(event)
        if isinstance(event, SessionUpdated):
            change = self.commands.requests.match_update(event, is_cycle=is_cycle)
            if change is not None:
                self.settings.accept(change)
            if change is not None or not is_cycle:
                self.settings.adopt_formats(event)
                self.input.usual_block = None
                self.output.set_format(self.settings.output_format)
                if self.commands.phase is Phase.OPENING:
                    self._open()
        # After a reconnect, users get SessionReconnected instead.
        return None if self.commands.phase is Phase.REOPENING else event

    def _cancel_responses(self) -> list[str]:
        self.tools.interrupt()
        return self.responses.interrupt()

    def _handle_response(self, event: RealtimeEvent) -> None:
        began, cancelled_id = self.responses.handle(
            event, has_manual_turns=self.settings.has_manual_turns
        )
        if began is not None:
            self.had_response = True
            self.emit(ResponseStarted(began))
        if cancelled_id is not None:
            self.executor.put(partial(self.commands.send_now, CancelResponse(cancelled_id)))
        # The end of a response makes room for the next response.
        self.responses.send_waiting()

    def _interrupt(self, _: InputSpeechStarted) -> None:
        if self.settings.is_interruptible:
            self.output.interrupt_later()

    # ---- deadlines and the session's age; the monitor is held

    def expire(self, connection: RealtimeConnection, now: float) -> float:
        """End the requests whose deadline has passed, and return the next deadline."""
        if connection is not self.commands.connection:
            return math.inf
        table = self.commands.requests.table
        for entry in table.expire(now):
            if entry.kind is Request.RENEWAL:
                self._renew_if_idle(now)
            else:
                self.pending.expire(entry)
        return table.next_deadline()

    def _renew_if_idle(self, now: float) -> None:
        """Replace the connection of an old session, at a moment when nothing is in progress."""
        assert self._max_session_age is not None
        is_speaking = self.settings.has_manual_turns and self.turn.sent_ms > 0
        is_asking = len(self.commands.requests.table) > 0 or self.has_waiting_threads
        if self.is_busy or is_speaking or is_asking:
            self._busy_at = now
        is_late = now - self.opened_at >= self._max_session_age + _RENEWAL_SECONDS
        is_idle = now - self._busy_at >= _IDLE_SECONDS
        connection = self.commands.connection
        if connection is None or not (is_idle or (is_late and not self.responses.is_busy)):
            self.commands.add_entry(Request.RENEWAL, _RENEWAL_POLL_SECONDS)
            return
        self.replaced, self.commands.connection = connection, None
        self._lose(StreamEnded("client", reason="renewed"))
        self.commands.phase = Phase.LOST
        # The end of this connection begins the reconnect.
        self.executor.put(connection._begin_close)  # noqa: SLF001 - users do not need it

    # ---- the life of connections; the monitor is held

    def begin(self, connection: RealtimeConnection) -> tuple[list[str], PendingReply]:
        """
        Use a connection that has just been opened.

        Returns:
            The messages to send on the connection, and the pending answer to its settings.
        """
        settings, event_id = self.settings.opening, new_id("evt")
        reply = PendingReply.to_update(Request.OPEN, settings, event_id, is_watched=True)
        messages = [reply.text]
        self.commands.connection = connection
        if self.commands.phase is Phase.LOST:
            self.commands.phase = Phase.REOPENING
            replay = self.items.replay()
            messages += map(self.endpoint.write, replay)
            self.commands.expect_items(replay)
        self.commands.register(reply)
        return messages, reply

    def opened(self, connection: RealtimeConnection, reply: PendingReply, attempts: int) -> None:
        """
        Use a connection after the messages of :meth:`begin` were sent. Raise a refusal's error.

        Args:
            connection: The present connection, or a connection that was lost again.
            reply: The pending answer that :meth:`begin` returned.
            attempts: The number of attempts to reconnect; 0 for the first connection.
        """
        if reply.error is not None:
            raise fresh(reply.error)
        if reply.event is not None and not attempts:
            # The session has opened. Its events report what happened since then.
            return
        self.commands.require_open()
        if reply.event is None or self.commands.connection is not connection:
            raise fresh(self.opening_error or ConnectionLost("the connection was lost at once"))
        self._emit_reconnected(attempts)
        self._open()

    def _open(self) -> None:
        self.commands.phase = Phase.OPEN
        self.opened_at = self._busy_at = time.monotonic()
        self.had_response = False
        if self._max_session_age is not None:
            self.commands.add_entry(Request.RENEWAL, self._max_session_age)
        self.responses.send_waiting()
        self.monitor.notify_all()

    def connection_ended(self, connection: RealtimeConnection, ended: StreamEnded) -> StreamEnded:
        """Handle the end of a connection, and return the description of the end for users."""
        ended = session_end(ended)
        commands = self.commands
        if connection is not commands.connection:
            return ended
        commands.connection = None
        if commands.phase is Phase.OPEN and not (
            self._reconnects and not commands.is_closing and connection.is_passing(ended)
        ):
            self.end(ended)
        elif commands.phase is Phase.OPEN:
            self._lose(ended)
            commands.phase = Phase.LOST
        else:
            self.opening_error = error_of(ended)
            if commands.phase is Phase.REOPENING:
                commands.phase = Phase.LOST
        self.monitor.notify_all()
        return ended

    def end(self, ended: StreamEnded) -> None:
        """Set the terminal state. Later calls change nothing."""
        commands = self.commands
        if commands.ended is not None:
            return
        commands.phase, commands.ended, commands.connection = Phase.ENDED, ended, None
        self.input.usual_block = None
        commands.requests.end_all(error_of(ended))
        self.responses.end_all(error_of(ended))
        self.output.end_all()
        self._emit_early()
        self.events.end(ended)
        self.tools.runner.stop()
        self.executor.stop()
        self.monitor.notify_all()

    def _lose(self, ended: StreamEnded) -> None:
        self.lost_at = time.monotonic()
        self.cause = ended.error
        lost = ConnectionLost("the connection was lost before the service answered")
        lost.__cause__ = ended.error
        for item_id in self.commands.requests.lose_connection(lost):
            self.items.handle(ItemDeleted(item_id))
        self.responses.lose_connection(error_of(ended))
        self.tools.lose_connection()
        self.output.end_all()

    def _emit_early(self) -> None:
        for event in self._early:
            self.events.emit(event)
        self._early.clear()

    def _emit_reconnected(self, attempts: int) -> None:
        replay = self.items.last_replay
        lost_input_ms = self.turn.move(
            is_renewed=self.cause is None, is_manual=self.settings.has_manual_turns
        )
        self.events.emit(
            SessionReconnected(
                self.cause,
                attempts,
                (time.monotonic() - self.lost_at) * 1000.0,
                len(replay.commands),
                replay.lost,
                lost_input_ms,
            )
        )
        self._emit_early()
        late = self.items.not_replayed()
        self.commands.expect_items(late)
        for command in late:
            self.executor.put(partial(self.commands.send_now, command))
        for text in self.commands.updates_to_send_again():
            self.executor.put(partial(self.commands.send, text))
