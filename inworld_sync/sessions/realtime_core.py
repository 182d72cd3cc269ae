"""
The state of one realtime session, and what follows from each message of the service.

The reader follows messages with the monitor held, and leaves whatever may wait to the worker.
See ``realtime_line.py`` for the phases and the lock rule.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs

from inworld_sync.errors import (
    ClosedError,
    ConnectionLost,
    InworldError,
    ProtocolError,
    ServiceError,
    fresh,
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
    ConversationEntry,
    CreateItem,
    ErrorReported,
    InputAudioCleared,
    InputAudioCommitted,
    Item,
    ItemAdded,
    ItemDeleted,
    ItemDone,
    OutputItemDone,
    RealtimeEvent,
    ResponseConfig,
    ResponseDone,
    ResponseInfo,
    Session,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    UpdateSession,
    UserTranscriptCompleted,
    UserTranscriptUpdated,
)
from inworld_sync.sessions.dispatch import EventStream
from inworld_sync.sessions.realtime_connection import RealtimeConnection, Received
from inworld_sync.sessions.realtime_desk import Approver, ToolDesk
from inworld_sync.sessions.realtime_endpoint import RealtimeEndpoint
from inworld_sync.sessions.realtime_events import (
    Interrupted,
    MessageUnreadable,
    Reconnected,
    ResponseStarted,
    SessionEvent,
)
from inworld_sync.sessions.realtime_line import Answer, Line, Phase, new_id
from inworld_sync.sessions.realtime_replay import Replay, replay_of
from inworld_sync.sessions.realtime_replies import Replies
from inworld_sync.sessions.realtime_response import Response, ResponsePlayer
from inworld_sync.sessions.realtime_settings import Settings
from inworld_sync.sessions.realtime_speech import SpeechOut
from inworld_sync.sessions.realtime_stream import SessionStream
from inworld_sync.sessions.realtime_worker import Worker
from inworld_sync.transport.deadline import Deadline
from inworld_sync.wire.codec import JsonObject, dump_text
from inworld_sync.wire.realtime.conversation import Conversation
from inworld_sync.wire.realtime.faults import HARMLESS_CODES, SessionFault, service_error
from inworld_sync.wire.realtime.responses import ResponseState

__all__ = ["RealtimeCore"]

# The service's will, or this side's fault: another connection would end in the same way.
_FINAL_CODES = frozenset({1000, 1002, 1003, 1007, 1008, 1009, 1010})


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
        self.uncommitted_ms = 0.0
        self.had_response = False
        self.opened_at = self.lost_at = 0.0
        self.cause: InworldError | None = None
        self.opening_error: InworldError | None = None
        self._reconnects = reconnects
        self._barge_in = barge_in
        self._conversation = Conversation()
        self._heard_share: dict[str, float] = {}
        # Items that the service was given and has not said that it has, by their ids.
        self._unanswered: dict[str, CreateItem] = {}
        self._replay = Replay((), ())
        # Kinds and ids of messages that only repeat what users know from before a reconnect.
        self._echoes: set[tuple[type, str]] = set()
        self._transcripts: dict[str, str] = {}

    # ---- what the rest of the session asks for; the monitor is held

    def tell(self, event: SessionEvent) -> None:
        """Give an event to users."""
        sound = event.audio if isinstance(event, (AudioDelta, BackchannelDelta)) else b""
        self.events.append(event, len(sound))

    @property
    def output_format(self) -> AudioFormat:
        """The form of the sound that comes."""
        return self.settings.output_format

    @property
    def is_behind(self) -> bool:
        """Whether so much sound waits to be played that the reader should pause."""
        return self.worker.is_full

    @property
    def entries(self) -> tuple[ConversationEntry, ...]:
        """The conversation, as the service's messages tell it."""
        return self._conversation.entries

    def entry(self, item_id: str) -> ConversationEntry | None:
        """One item of it."""
        return self._conversation.get(item_id)

    @property
    def is_busy(self) -> bool:
        """Whether something is being given, asked for or called."""
        return self.replies.is_busy or self.desk.is_busy

    def streams_of(self, connection: RealtimeConnection) -> list[EventStream[Any]]:
        """What a connection feeds."""
        if connection is not self._connection:
            return []
        return [self.events, *self.replies.streams]


    def ask_for_answer(self, outputs: set[str]) -> None:
        """Ask for the response that follows from the outputs of tools."""
        unknown = {item_id for item_id in outputs if item_id in self._unanswered}
        self.replies.ask(None, answers=unknown)
        self._pump()

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
            self._unanswered[item_id] = command
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
                    self._unanswered.pop(item_id, None)
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
        text = self._update_text(change, event_id)
        answer = _update_answer(change, is_watched=deadline is not None)
        with self.monitor:
            self.require_open()
            self.desk.declare(session.tools)
        if deadline is not None:
            self.ask(text, event_id, answer, deadline)
            return
        with self.monitor:
            self._answers[event_id] = answer
        self.send(text)

    def await_final(self, state: ResponseState, deadline: Deadline) -> None:
        """Wait for a response's end."""
        with self.monitor:
            self.wait_for(lambda: state.is_final, deadline)

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

    def interrupt(self, heard_ms: Mapping[str, float] | None = None) -> Interrupted:
        """Stop all speech, cancel what is being given, and cut what was not heard."""
        with self.speech.cutting:
            with self.monitor:
                ids = self._begin_interruption()
            return self._interrupted(ids, heard_ms)

    def _begin_interruption(self) -> list[str]:
        self.speech.begin_cut()
        return self.replies.interrupt()

    def _interrupted(self, ids: list[str], heard_ms: Mapping[str, float] | None) -> Interrupted:
        cut = self.speech.cut(heard_ms)
        for response_id in ids:
            self.send_now(CancelResponse(response_id))
        for command in cut.commands:
            self.send_now(command)
        event = Interrupted(cut.heard_ms, tuple(ids))
        with self.monitor:
            self._heard_share.update(cut.heard_share)
            if ids or cut.commands:
                self.tell(event)
        return event

    # ---- messages; the monitor is held

    def receive(self, connection: RealtimeConnection, event: Received) -> None:
        """Follow one message of the service."""
        if connection is not self._connection or isinstance(event, SessionFault):
            return
        if isinstance(event, MessageUnreadable):
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
        if isinstance(event, UserTranscriptUpdated) and not self.endpoint.is_inworld:
            event = self._whole_transcript(event)
        takes = self.replies.takes(event)
        if takes and isinstance(event, AudioDelta):
            event = self.speech.receive(event)
        if not isinstance(event, AudioDelta):
            self._conversation.note(event)
        if not takes or self._is_echo(event):
            return
        if isinstance(event, ErrorReported):
            self._follow_error(event)
        self.tell(event)
        # Before the response ends, so that what it has called is known.
        for told in self.desk.note(event):
            self.tell(told)
        self._follow_response(event)
        self._follow_speech(event)
        self._follow_items(event)
        for answer in self._answers.values():
            if answer.update is None and not answer.is_over and answer.wants(event):
                answer.event = event
                break

    def _follow_session(self, event: SessionCreated | SessionUpdated) -> None:
        if self.settings.note(event) and isinstance(event, SessionUpdated):
            answer = self._pending_update()
            if answer is not None and answer.update is not None:
                self.settings.accept(answer.update)
                self._finish_answer(answer)
                answer.event = event
            self.settings.agree(event)
            self.speech.set_format(self.settings.output_format)
        # Users know the session; what they are told of a new connection is Reconnected.
        if self._phase is not Phase.REOPENING:
            self.tell(event)

    def _follow_error(self, event: ErrorReported) -> None:
        error = event.error
        answer = self._answers.get(error.event_id or "")
        if answer is None and error.event_id is None:
            is_opening = self._phase is not Phase.OPEN
            if is_opening or (error.param or "").startswith("session"):
                answer = self._pending_update()
        log = self.options.logger.warning
        if answer is not None:
            answer.error = service_error(error)
            self._finish_answer(answer)
            if answer.is_watched:
                return
        elif self._unanswered.pop(error.event_id or "", None) is not None:
            pass
        elif error.code in HARMLESS_CODES or self.replies.is_requested(error.event_id):
            log = self.options.logger.debug
        log("%s: the service reports %s: %s", self.name, error.code or error.type, error.message)

    def _pending_update(self) -> Answer | None:
        pending = (a for a in self._answers.values() if a.update is not None and not a.is_over)
        return next(pending, None)

    def _finish_answer(self, answer: Answer) -> None:
        if not answer.is_watched:
            self._answers = {key: a for key, a in self._answers.items() if a is not answer}

    def _follow_response(self, event: RealtimeEvent) -> None:
        began, is_cancelling = self.replies.note(event, is_quiet=self.settings.is_quiet)
        if began is not None:
            self.had_response = True
            self.tell(ResponseStarted(began))
            if is_cancelling:
                command = CancelResponse(began.id)
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
        elif isinstance(event, BackchannelDelta):
            self.speech.receive_backchannel(event)
        elif isinstance(event, BackchannelDone):
            self.speech.end_backchannel(event.backchannel_id)
        elif isinstance(event, SpeechStarted):
            if self._barge_in and self.settings.is_interruptible:
                ids = self._begin_interruption()
                self.worker.put(lambda: self._interrupted(ids, None))
        elif isinstance(event, (InputAudioCommitted, InputAudioCleared)):
            self.uncommitted_ms = 0.0

    def _follow_items(self, event: RealtimeEvent) -> None:
        if isinstance(event, (ItemAdded, ItemDone)):
            self._unanswered.pop(event.item.id or "", None)
        elif isinstance(event, UserTranscriptCompleted):
            self._transcripts.pop(event.item_id, None)

    def _is_echo(self, event: RealtimeEvent) -> bool:
        if not isinstance(event, (ItemAdded, ItemDone)):
            return False
        key = (type(event), event.item.id or "")
        is_echo = key in self._echoes
        self._echoes.discard(key)
        return is_echo

    def _whole_transcript(self, event: UserTranscriptUpdated) -> UserTranscriptUpdated:
        # The field's common protocol tells what is new, Inworld the whole turn.
        whole = self._transcripts.get(event.item_id, "") + event.transcript
        self._transcripts[event.item_id] = whole
        return attrs.evolve(event, transcript=whole)

    def _follow_unreadable(self, event: MessageUnreadable) -> None:
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
                command = None if connection is None else self.replies.requests.next()
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
        messages = [self._update_text(self.settings.opening, event_id)]
        if self._phase is Phase.LOST:
            self._phase = Phase.REOPENING
            messages += self._retell()
        self._connection = connection
        answer = self._answers[event_id] = _update_answer(self.settings.opening, is_watched=True)
        return messages, answer

    def opened(self, connection: RealtimeConnection, attempts: int) -> None:
        """
        Go on with a connection that the service has accepted.

        Raises:
            ConnectionLost: It is lost already.
        """
        if self._connection is not connection:
            self.require_open()
            raise fresh(self.opening_error or ConnectionLost("the connection was lost at once"))
        if self._phase is Phase.REOPENING:
            told = len(self._replay.commands)
            outage_ms = (time.monotonic() - self.lost_at) * 1000.0
            self.tell(
                Reconnected(
                    self.cause, attempts, outage_ms, told, self._replay.lost, self.uncommitted_ms
                )
            )
            self.uncommitted_ms = 0.0
            known = {command.item.id for command in self._replay.commands}
            for command in self._unanswered.values():
                if command.item.id not in known:
                    self.worker.put(partial(self.send_now, command))
        self._phase = Phase.OPEN
        self.opened_at = time.monotonic()
        self.had_response = False
        self._pump()
        self.monitor.notify_all()

    def connection_ended(self, connection: RealtimeConnection, ended: StreamEnded) -> StreamEnded:
        """Follow the end of a connection; say how it ended in the eyes of the session."""
        if isinstance(ended.error, ServiceError):
            ended = attrs.evolve(ended, by="server")
        if connection is not self._connection:
            return ended
        self._connection = None
        if ended.error is None and ended.by == "server" and ended.code != 1000:
            lost = ConnectionLost(
                f"the server closed the session (code {ended.code} {ended.reason!r})",
                code=ended.code,
                reason=ended.reason,
            )
            ended = attrs.evolve(ended, error=lost)
        if self._phase is Phase.OPEN and not self._may_reconnect(ended):
            self.end(ended)
        elif self._phase is Phase.OPEN:
            self._lose(ended)
            self._phase = Phase.LOST
        else:
            self.opening_error = ended.error or _unfinished(ended)
            if self._phase is Phase.REOPENING:
                self._phase = Phase.LOST
        self.monitor.notify_all()
        return ended

    def end(self, ended: StreamEnded) -> None:
        """Set the one terminal state; later calls change nothing."""
        if self.ended is not None:
            return
        self._phase, self.ended, self._connection = Phase.ENDED, ended, None
        error = ended.error or _unfinished(ended)
        self.replies.end_all(error)
        self.speech.end_all()
        self.events.end(ended)
        self.desk.stop()
        self.worker.stop()
        self.monitor.notify_all()

    def _may_reconnect(self, ended: StreamEnded) -> bool:
        if not self._reconnects or self.is_closing or ended.by == "client":
            return False
        if isinstance(ended.error, (ProtocolError, ServiceError)):
            return False
        return ended.by == "network" or ended.code not in _FINAL_CODES

    def _lose(self, ended: StreamEnded) -> None:
        self.lost_at = time.monotonic()
        self.cause = ended.error
        self.replies.lose_connection(ended.error or _unfinished(ended))
        self.desk.lose_connection()
        self.speech.end_all()
        self._transcripts.clear()

    def _retell(self) -> list[str]:
        """What a new service is told of the conversation, and what of it is not told again."""
        replay = self._replay = replay_of(
            self._conversation.entries, self._unanswered.values(), self._heard_share
        )
        known = {entry.item.id for entry in self._conversation.entries}
        self._echoes = {
            (kind, command.item.id or "")
            for command in replay.commands
            if command.item.id in known
            for kind in (ItemAdded, ItemDone)
        }
        for item_id in replay.lost:
            self._conversation.note(ItemDeleted(item_id))
        return [
            self.endpoint.write(attrs.evolve(command, event_id=command.item.id))
            for command in replay.commands
        ]

    def _update_text(self, change: JsonObject, event_id: str) -> str:
        return dump_text({"type": UpdateSession.type, "event_id": event_id, "session": change})


def _update_answer(change: JsonObject, *, is_watched: bool) -> Answer:
    return Answer(lambda event: isinstance(event, SessionUpdated), change, is_watched)


def _unfinished(ended: StreamEnded) -> InworldError:
    """The error of what a session leaves unfinished that itself ends without one."""
    if ended.by == "client":
        return ClosedError("the session was closed before it was done")
    return ConnectionLost(
        f"the {ended.by} closed the session (code {ended.code} {ended.reason!r})",
        code=ended.code,
        reason=ended.reason,
    )
