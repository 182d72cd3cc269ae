"""
The state of one realtime session, and what follows from each message of the service.

The reader follows messages with the monitor held, and leaves whatever may wait to the worker.
See ``line.py`` for the phases and the lock rule.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

import attrs

from inworld_sync.errors import (
    ClosedError,
    ConnectionLost,
    InworldError,
    fresh,
    redact,
)
from inworld_sync.models.events import StreamEnded, UnknownEvent
from inworld_sync.models.options import Options
from inworld_sync.models.realtime import (
    AudioDelta,
    AudioDone,
    AudioFormat,
    BackchannelDelta,
    BackchannelDone,
    CancelResponse,
    CreateItem,
    ErrorInfo,
    ErrorReported,
    Item,
    OutputItemDone,
    RealtimeEvent,
    ResponseConfig,
    ResponseDone,
    ResponseInfo,
    Session,
    SessionCreated,
    SessionUpdated,
    UpdateSession,
)
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.realtime.connection import (
    RealtimeConnection,
    Received,
    is_passing,
    told,
    unfinished,
)
from inworld_sync.sessions.realtime.desk import Approver, ToolDesk
from inworld_sync.sessions.realtime.endpoint import RealtimeEndpoint
from inworld_sync.sessions.realtime.events import (
    InvalidMessage,
    ResponseStarted,
    SessionEvent,
    SessionReconnected,
    SessionStream,
)
from inworld_sync.sessions.realtime.interruption import Interruption
from inworld_sync.sessions.realtime.line import Answer, Line, Phase, new_id
from inworld_sync.sessions.realtime.replies import Replies
from inworld_sync.sessions.realtime.reply import Reply
from inworld_sync.sessions.realtime.response import Response, ResponsePlayer
from inworld_sync.sessions.realtime.sound_in import UserTurn
from inworld_sync.sessions.realtime.speech import SpeechOut
from inworld_sync.sessions.realtime.worker import Worker
from inworld_sync.transport.deadline import Deadline
from inworld_sync.wire.codec import JsonObject, dump_text
from inworld_sync.wire.realtime.faults import HARMLESS_CODES, SessionFault
from inworld_sync.wire.realtime.items import Items
from inworld_sync.wire.realtime.settings import Settings
from inworld_sync.wire.realtime.tool_calls import CallBatch

__all__ = ["RealtimeCore"]


class RealtimeCore(Line):
    """
    One session, over all its connections.

    Args:
        name: For threads, logs and errors.
        options: The client's settings.
        endpoint: Where the session is opened.
        session: What it is asked to be.
        reconnects: Whether a lost connection is followed by another.
        barge_in: Whether the user's speech interrupts.
        tool_timeout: See :class:`ToolDesk`, as the next two.
        max_tools_at_once: As there.
        on_approval: As there.
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
        tool_timeout: float | None,
        max_tools_at_once: int,
        on_approval: Approver | None,
    ) -> None:
        super().__init__(name, options, endpoint)
        self.events: SessionStream[SessionEvent] = SessionStream(
            self.monitor, name=name, dispatch=options.dispatch, logger=options.logger
        )
        self.worker = Worker(self.monitor, name, options.logger)
        self.settings = Settings(session, is_inworld=endpoint.is_inworld)
        self.speech = SpeechOut(self.monitor, self.worker, endpoint)
        self.replies = Replies(self, options)
        self.desk = ToolDesk(
            self,
            tool_timeout=tool_timeout,
            max_tools_at_once=max_tools_at_once,
            on_approval=on_approval,
        )
        self.desk.declare(session.tools)
        self.interruption = Interruption(self, barge_in=barge_in)
        # Kept as long as a thread of the session runs, so that the client can close it.
        self.session: object = None
        self.had_response = False
        self.opened_at = self.lost_at = 0.0
        self.cause: InworldError | None = None
        self.opening_error: InworldError | None = None
        self._reconnects = reconnects
        self.turn = UserTurn()
        # What a new connection has said before users know of it.
        self._early: list[SessionEvent] = []
        self.items = Items(is_inworld=endpoint.is_inworld)

    # ---- what the rest of the session asks for; the monitor is held

    def tell(self, event: SessionEvent) -> None:
        """Give an event to users; of a new connection they learn first that it is one."""
        if self._phase is Phase.REOPENING:
            self._early.append(event)
        else:
            self._give(event)

    def _give(self, event: SessionEvent) -> None:
        sound = event.audio if isinstance(event, (AudioDelta, BackchannelDelta)) else b""
        self.events.append(event, len(sound))

    @property
    def output_format(self) -> AudioFormat:
        """The form of the sound that comes."""
        return self.settings.output_format

    @property
    def is_busy(self) -> bool:
        """Whether something is being heard, given, asked for or called."""
        return self.turn.is_heard or self.replies.is_busy or self.desk.is_busy

    def streams_of(self, connection: RealtimeConnection) -> list[EventStream[Any]]:
        """What a connection feeds."""
        if connection is not self._connection:
            return []
        return [self.events, *self.replies.streams]

    def ask_for_answer(self, batch: CallBatch, reply: Reply | None) -> Response:
        """Ask for the response that follows from the outputs of tools."""
        response = self.replies.ask_for_answer(
            reply, self.items.unacknowledged(batch.outputs), is_continued=batch.is_continued
        )
        self._pump()
        return response

    # ---- the same; the monitor is not held

    def create_item(self, item: Item, previous_item_id: str | None = None) -> str:
        """Give the service an item, now or when it is connected again."""
        if item.id is None:
            item = attrs.evolve(item, id=new_id("item"))
        item_id = item.id or ""
        command = CreateItem(item, previous_item_id, event_id=item_id)
        text = self.endpoint.write(command)
        with self.monitor:
            self.require_open()
            self.items.add(command)
            connection = self._connection if self._phase is Phase.OPEN else None
        if connection is not None:
            try:
                connection.send(text)
            except (ClosedError, ConnectionLost):
                with self.monitor:
                    if self._phase is Phase.ENDED or self.is_closing:
                        raise
                # It is told to the connection that follows.
            except BaseException:
                with self.monitor:
                    self.items.remove(item_id)
                raise
        return item_id

    def ask_for_response(self, config: ResponseConfig | None) -> Response:
        """Ask for a response, now or as soon as none is being given."""
        with self.monitor:
            self.require_open()
            if config is not None:
                self.desk.declare(config.tools)
            response = self.replies.ask(config)
        self._send_requests()
        return response

    def update(self, session: Session, deadline: Deadline | None) -> None:
        """Change the session; wait for the service's answer if there is a deadline."""
        event_id = new_id("evt")
        change = self.settings.change(session)
        answer = _update(change, event_id, is_watched=deadline is not None)
        with self.monitor:
            self.require_open()
            self.desk.declare(session.tools)
        if deadline is not None:
            self.ask(event_id, answer, deadline)
            return
        with self.monitor:
            self.expect(event_id, answer)
        self.send(answer.text)

    def await_final(self, response: Response, deadline: Deadline) -> None:
        """Wait for a reply's end."""
        with self.monitor:
            self.wait_for(lambda: response.is_final, deadline)

    def cancel_response(self, response: Response) -> None:
        """Cancel a response in whatever state."""
        with self.monitor:
            response_id = self.replies.cancel(response)
            self._pump()
        if response_id is not None:
            self.send_now(CancelResponse(response_id))

    def add_player(self, player: ResponsePlayer) -> None:
        """Have a player of one response stopped by interruptions."""
        with self.monitor:
            self.speech.add_response_player(player)

    def remove_player(self, player: ResponsePlayer, *, is_heard: bool) -> None:
        """Forget a player of one response."""
        with self.monitor:
            self.speech.remove_response_player(player, is_heard=is_heard)

    # ---- messages; the monitor is held

    def receive(self, connection: RealtimeConnection, event: Received) -> None:
        """Follow one message of the service."""
        if connection is not self._connection or isinstance(event, SessionFault):
            return
        if isinstance(event, InvalidMessage):
            self._follow_unreadable(event)
        elif isinstance(event, UnknownEvent):
            self.tell(event)
        else:
            self._follow(event)
        self._pump()

    def _follow(self, event: RealtimeEvent) -> None:
        if isinstance(event, (SessionCreated, SessionUpdated)):
            self._follow_session(event)
            return
        takes = self.replies.takes(event)
        if takes and isinstance(event, AudioDelta):
            event = self.speech.receive(event)
        elif isinstance(event, BackchannelDelta):
            event = self.speech.receive_backchannel(event)
        news = self.items.handle(event)
        if news is None or not takes:
            return
        event = news
        if isinstance(event, ErrorReported):
            self._follow_error(event.error)
        self.tell(event)
        # Before the response ends, so that what it has called is known.
        for further in self.desk.note(event, is_beside=self.replies.is_beside(event)):
            self.tell(further)
        self._follow_response(event)
        self._follow_speech(event)
        self.turn.note(event)
        self.interruption.note(event)
        self.answer_by(event)

    def _follow_session(self, event: SessionCreated | SessionUpdated) -> None:
        if self.settings.handle(event) and isinstance(event, SessionUpdated):
            change = self.accept_update(event)
            if change is not None:
                self.settings.accept(change)
            self.settings.adopt_formats(event)
            self.speech.set_format(self.settings.output_format)
            if self._phase is Phase.OPENING:
                self._open()
        # Users know the session; what they are told of a new connection is SessionReconnected.
        if self._phase is not Phase.REOPENING:
            self.tell(event)

    def _follow_error(self, error: ErrorInfo) -> None:
        answer = self.blame(error)
        if answer is None:
            self.items.remove(error.event_id)
            is_known = error.code in HARMLESS_CODES or self.replies.is_requested(error.event_id)
        else:
            is_known = answer.is_watched
        self.options.logger.log(
            logging.DEBUG if is_known else logging.WARNING,
            "%s: the service reports %s: %s",
            self.name,
            error.code or error.type,
            redact(error.message),
        )

    def _follow_response(self, event: RealtimeEvent) -> None:
        began, unwanted = self.replies.note(event, has_manual_turns=self.settings.has_manual_turns)
        if began is not None:
            self.had_response = True
            self.tell(ResponseStarted(began))
        if unwanted is not None:
            command = CancelResponse(unwanted)
            self.worker.put(lambda: self.send_now(command))
        if isinstance(event, AudioDelta):
            self.replies.add_audio(event)

    def _follow_speech(self, event: RealtimeEvent) -> None:
        if isinstance(event, AudioDone):
            self.speech.end_item(event.item_id)
        elif isinstance(event, OutputItemDone):
            self.speech.end_item(event.item.id or "")
        elif isinstance(event, ResponseDone):
            self.speech.end_response(event.response.id)
        elif isinstance(event, BackchannelDone):
            self.speech.end_backchannel(event.backchannel_id)

    def _follow_unreadable(self, event: InvalidMessage) -> None:
        self.options.logger.warning("%s: %s", self.name, event.error)
        self.replies.damage(event.response_id, event.error)
        self.tell(event)
        if event.type == ResponseDone.type:
            # That a response is over is known all the same, and somebody may wait for it.
            active = [state.id for state in self.replies.requests.responses.active]
            for response_id in active:
                if response_id is not None and event.response_id in (None, response_id):
                    self._follow(ResponseDone(ResponseInfo(id=response_id, status="failed")))

    def _pump(self) -> None:
        if self._phase is Phase.OPEN and self.replies.requests.has_waiting:
            self.worker.put(self._send_requests)

    def _send_requests(self) -> None:
        while True:
            with self.monitor:
                connection = self._connection if self._phase is Phase.OPEN else None
                command = None if connection is None else self.replies.requests.pop()
            if connection is None or command is None:
                return
            try:
                connection.send(self.endpoint.write(command), needs_room=False)
            except (ClosedError, ConnectionLost):
                # What is lost with its connection is asked for again, or fails with the session.
                return

    # ---- the life of connections; the monitor is held

    def begin(self, connection: RealtimeConnection) -> tuple[list[str], Answer]:
        """
        Take a connection that has just been made.

        Returns:
            What to send on it, and what will say that the service accepts it.
        """
        event_id = new_id("evt")
        answer = _update(self.settings.opening, event_id, is_watched=True)
        messages = [answer.text]
        if self._phase is Phase.LOST:
            self._phase = Phase.REOPENING
            messages += map(self.endpoint.write, self.items.replay())
        self._connection = connection
        self.expect_first(event_id, answer)
        return messages, answer

    def opened(self, connection: RealtimeConnection, answer: Answer, attempts: int) -> None:
        """
        Go on with a connection that was told everything, if it has accepted the session.

        Args:
            connection: Of this moment, or lost again.
            answer: What :meth:`begin` gave.
            attempts: How often the session was dialled again; 0 for its first connection.

        Raises:
            InworldError: It is not open, for this reason.
        """
        if answer.error is not None:
            raise fresh(answer.error)
        if answer.event is not None and not attempts:
            # Open since it was accepted: what has become of it since is told by its events.
            return
        self.require_open()
        if answer.event is None or self._connection is not connection:
            raise fresh(self.opening_error or ConnectionLost("the connection was lost at once"))
        self._tell_reconnected(attempts)
        self._open()

    def _open(self) -> None:
        self._phase = Phase.OPEN
        self.opened_at = time.monotonic()
        self.had_response = False
        self._pump()
        self.monitor.notify_all()

    def connection_ended(self, connection: RealtimeConnection, ended: StreamEnded) -> StreamEnded:
        """Follow the end of a connection; say how it ended in the eyes of the session."""
        ended = told(ended)
        if connection is not self._connection:
            return ended
        self._connection = None
        if self._phase is Phase.OPEN and not (
            self._reconnects and not self.is_closing and is_passing(ended)
        ):
            self.end(ended)
        elif self._phase is Phase.OPEN:
            self._lose(ended)
            self._phase = Phase.LOST
        else:
            self.opening_error = ended.error or unfinished(ended)
            if self._phase is Phase.REOPENING:
                self._phase = Phase.LOST
        self.monitor.notify_all()
        return ended

    def end(self, ended: StreamEnded) -> None:
        """Set the one terminal state; later calls change nothing."""
        if self.ended is not None:
            return
        self._phase, self.ended, self._connection = Phase.ENDED, ended, None
        error = ended.error or unfinished(ended)
        self.replies.end_all(error)
        self.speech.end_all()
        self._give_early()
        self.events.end(ended)
        self.desk.stop()
        self.worker.stop()
        self.monitor.notify_all()

    def _lose(self, ended: StreamEnded) -> None:
        self.lost_at = time.monotonic()
        self.cause = ended.error
        self.replies.lose_connection(ended.error or unfinished(ended))
        self.desk.lose_connection()
        self.speech.end_all()

    def _give_early(self) -> None:
        for event in self._early:
            self._give(event)
        self._early.clear()

    def _tell_reconnected(self, attempts: int) -> None:
        replay = self.items.replayed
        self._give(
            SessionReconnected(
                self.cause,
                attempts,
                (time.monotonic() - self.lost_at) * 1000.0,
                len(replay.commands),
                replay.lost,
                self.turn.sent_ms if self.turn.is_open or self.settings.has_manual_turns else 0.0,
            )
        )
        self._give_early()
        self.turn.end()
        for command in self.items.not_replayed():
            self.worker.put(partial(self.send_now, command))
        for text in self.unheeded():
            self.worker.put(partial(self.send, text))


def _update(change: JsonObject, event_id: str, *, is_watched: bool) -> Answer:
    command = {"type": UpdateSession.type, "event_id": event_id, "session": change}
    return Answer(
        lambda event: isinstance(event, SessionUpdated), dump_text(command), change, is_watched
    )
