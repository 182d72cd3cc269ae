"""
Defines the class of realtime sessions, with commands, events, and speech in both directions.

Lock rule: ``_order`` is held while several commands that belong together are queued. A thread
acquires this lock before the session's monitor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from inworld_sync.locks import make_lock
from inworld_sync.models.checks import require_finite, require_seconds
from inworld_sync.models.devices import AudioSink, AudioSource, ItemSink
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.realtime import (
    CancelResponse,
    ClearOutputAudio,
    Command,
    ConversationEntry,
    CreateItem,
    CreateResponse,
    DeleteItem,
    Item,
    ItemRetrieved,
    Message,
    RealtimeEvent,
    ResponseConfig,
    RetrieveItem,
    Session,
    SessionInfo,
    TruncateItem,
    UpdateSession,
)
from inworld_sync.sessions.event_source import EventSource
from inworld_sync.sessions.realtime.commands import new_id
from inworld_sync.sessions.realtime.converse import ConverseLoop
from inworld_sync.sessions.realtime.events import SESSION_EVENT_CLASSES, Interrupted, SessionEvent
from inworld_sync.sessions.realtime.reconnect import Reconnector
from inworld_sync.sessions.realtime.response import Response
from inworld_sync.sessions.realtime.state import SessionState
from inworld_sync.transport.deadline import Deadline, RunningDeadline
from inworld_sync.transport.websocket import LinkStats
from inworld_sync.wire.realtime.requests import PendingReply, Request
from inworld_sync.wire.text import require_text

if TYPE_CHECKING:
    from inworld_sync.audio.playout import Playout
    from inworld_sync.audio.source import AudioData

__all__ = ["RealtimeSession"]

# How long ``close`` waits for threads, and for tool functions, which cannot be stopped.
_JOIN_SECONDS = 1.0
_FUNCTION_SECONDS = 0.2


class RealtimeSession(EventSource[SessionEvent]):
    """
    A realtime conversation with a model, by speech and text. ``iw.realtime.connect()`` opens one.

    Iterate over the session for its events, or add handlers with :meth:`on`, or queues with
    :meth:`subscribe`. Leaving a ``with`` block closes the session.

    Only the newest 256 events are buffered until the first consumer attaches. While the session
    reconnects, each command waits for the new connection, up to the timeout of the command.

    Thread safety: every method may be called from any thread, and from handlers and tools.
    """

    _description = "a realtime session"
    _event_classes = SESSION_EVENT_CLASSES

    def __init__(self, state: SessionState, reconnector: Reconnector) -> None:
        super().__init__(state.events)
        self._state = state
        self._commands = state.commands
        self._reconnector = reconnector
        self._order = make_lock()
        self._input = state.input

    @property
    def id(self) -> str | None:
        """The service's id for the session."""
        return self.session.id

    @property
    def key(self) -> str | None:
        """The ``key`` in the session's address. A reconnect changes the key."""
        return self._reconnector.key

    @property
    def session(self) -> SessionInfo:
        """The session as the service describes it."""
        with self._state.monitor:
            return self._state.settings.info

    @property
    def conversation(self) -> tuple[ConversationEntry, ...]:
        """Every item of the conversation in order, with all text that has arrived so far."""
        with self._state.monitor:
            return self._state.items.conversation.entries

    def item(self, item_id: str) -> ConversationEntry | None:
        """Return the item of this id, or None if the conversation has no such item."""
        with self._state.monitor:
            return self._state.items.conversation.get(item_id)

    @property
    def stats(self) -> LinkStats | None:
        """A snapshot of the present connection's counters and times; None without a connection."""
        with self._state.monitor:
            connection = self._commands.open_connection
        return None if connection is None else connection.stats

    @property
    def is_responding(self) -> bool:
        """Whether a response is requested or in progress, or a function runs."""
        with self._state.monitor:
            return self._state.responses.is_busy or self._state.tools.is_busy

    @property
    def is_playing(self) -> bool:
        """Whether a part of the received speech was not played yet; see :meth:`play`."""
        return self._state.output.is_playing

    @property
    def unclaimed_events(self) -> int:
        """How many events were dropped because nothing read them."""
        return self._state.events.unclaimed

    # Commands.

    def update(
        self, session: Session, *, wait: bool = True, timeout: float | None = None
    ) -> SessionInfo:
        """
        Change the session's settings, and wait until the service has accepted the change.

        Args:
            session: The new settings; a setting that is None does not change. The service accepts
                or refuses an update as a whole.
            wait: With False, return at once. A refusal is then an event
                :class:`~inworld_sync.realtime.ErrorReported`.
            timeout: Seconds to wait; None means the ``request_timeout`` of ``connect``.

        Returns:
            The session after the change; without *wait*, the session before the change.

        Raises:
            LocalProtocolError: ``conversational`` or ``user_turn_mode`` changes. Both settings are
                fixed when a session opens.
            InvalidRequestError: The service refuses the update; no setting has changed.
            DeadlineExceeded: The service did not answer in time.
        """
        self._state.update(session, self._deadline(wait, timeout, "updating the session"))
        return self.session

    def send_message(self, text: str, config: ResponseConfig | None = None) -> Response:
        """
        Send a text message of the user, and request a response to it.

        Args:
            text: The text, which is not blank.
            config: Settings of the response that differ from the session's.

        Returns:
            The response. This response begins after the response in progress has ended.
        """
        require_text(text)
        with self._order:
            self._commands.create_item(Message.user(text))
            return self.respond(config)

    def respond(self, config: ResponseConfig | None = None) -> Response:
        """
        Request a response to the conversation.

        Args:
            config: Settings of the response that differ from the session's. A response with
                ``conversation='none'`` is out of band: it is requested at once and is not added
                to the conversation.
        """
        return self._state.request_response(config)

    def add(
        self,
        item: Item,
        *,
        previous_item_id: str | None = None,
        wait: bool = True,
        timeout: float | None = None,
    ) -> str:
        """
        Add an item to the conversation, and return its id.

        Args:
            item: The item, such as ``Message.user("Hi")``; an item without an id gets a new id.
            previous_item_id: The item before *item*; None means the end, ``"root"`` the start.
            wait: Whether to wait until the service has accepted the item.
            timeout: See :meth:`update`, also for the errors.
        """
        return self._add(CreateItem(item, previous_item_id), wait, timeout)

    def retrieve(self, item_id: str, *, timeout: float | None = None) -> Item:
        """
        Request an item as the service has it.

        Raises:
            ServiceError: The service refuses the command; ``NotFoundError`` for an unknown item.
            DeadlineExceeded: No answer came within *timeout* seconds; see :meth:`update`.
        """
        event = self._ask(RetrieveItem(item_id), True, timeout, "retrieving an item")
        assert isinstance(event, ItemRetrieved)
        return event.item

    def delete(self, item_id: str, *, wait: bool = True, timeout: float | None = None) -> None:
        """Delete an item from the conversation; see :meth:`update` for arguments and errors."""
        self._ask(DeleteItem(item_id), wait, timeout, "deleting an item")

    def truncate(
        self,
        item_id: str,
        audio_end_ms: float,
        *,
        content_index: int = 0,
        wait: bool = True,
        timeout: float | None = None,
    ) -> None:
        """
        Truncate an item's audio to the part that was heard.

        :meth:`interrupt` does this for all items that are played.

        Args:
            item_id: The id of the assistant's message.
            audio_end_ms: How much was heard, in milliseconds from the start of the audio.
            content_index: Which part of the item is the audio.
            wait: Whether to wait until the service has truncated the item.
            timeout: See :meth:`update`, also for the errors.
        """
        require_finite("audio_end_ms", audio_end_ms)
        with self._state.monitor:
            output_format = self._state.settings.output_format
        end_ms = self._state.endpoint.audio_end_ms(audio_end_ms, output_format)
        command = TruncateItem(item_id, content_index, end_ms)
        self._ask(command, wait, timeout, "truncating an item")

    def cancel(self, response_id: str | None = None) -> None:
        """Cancel a response; None means the response in progress. See :meth:`Response.cancel`."""
        self._state.cancel_named(response_id)

    def clear_output(self) -> None:
        """Make the service drop the audio in its output buffer, if it has such a buffer."""
        self._commands.send(ClearOutputAudio())

    def send(self, command: Command) -> None:
        """
        Send any command without waiting for an answer.

        An error of the service about the command has the command's ``event_id``. A command for
        which this class has a method is sent in the same way as by the method: a request for a
        response waits for the response in progress, and an item gets an id.
        """
        if isinstance(command, UpdateSession):
            self._state.update(command.session, None, command.event_id)
        elif isinstance(command, CreateResponse):
            self._state.request_response(command.response, command.event_id)
        elif isinstance(command, CreateItem):
            self._add(command, False, None)
        elif isinstance(command, CancelResponse):
            self._state.cancel_named(command.response_id, command.event_id)
        elif isinstance(command, (RetrieveItem, DeleteItem, TruncateItem)):
            self._ask(command, False, None, "")
        else:
            self._commands.send(command)

    def _add(self, command: CreateItem, wait: bool, timeout: float | None) -> str:
        deadline = self._deadline(wait, timeout, "adding an item")
        with self._order:
            reply = self._commands.create_item(command, is_watched=wait)
        if deadline is not None:
            self._commands.await_reply(reply, deadline)
        return reply.item_id or ""

    def _ask(
        self,
        command: RetrieveItem | DeleteItem | TruncateItem,
        wait: bool,
        timeout: float | None,
        doing: str,
    ) -> RealtimeEvent | None:
        event_id = command.event_id or new_id("evt")
        text = self._state.endpoint.write(attrs.evolve(command, event_id=event_id))
        reply = PendingReply(Request(command.type), event_id, text, item_id=command.item_id)
        return self._commands.ask(reply, self._deadline(wait, timeout, doing))

    def _deadline(self, wait: bool, timeout: float | None, doing: str) -> Deadline | None:
        seconds = self._commands.timeouts.request if timeout is None else timeout
        deadline = RunningDeadline(seconds, doing)
        return deadline if wait else None

    def submit_tool_output(self, call_id: str, output: str) -> Response | None:
        """
        Send the output of a function that the application runs.

        When the response has ended and the outputs of all its calls are sent, a further response
        is requested.

        Returns:
            The further response; None if other calls are pending or the response with the call
            goes on. In that case a later :class:`ResponseStarted` has the response.

        Raises:
            LocalProtocolError: No call of this id is pending.
        """
        return self._state.tools.submit_output(call_id, output)

    def approve(self, request_id: str, *, approve: bool = True, reason: str | None = None) -> None:
        """Answer an :class:`ApprovalRequested`, to allow or refuse the call of an MCP server."""
        self._state.tools.approve(request_id, approve=approve, reason=reason)

    def send_audio(
        self,
        audio: AudioData,
        sample_rate_hz: int | None = None,
        *,
        channels: int = 1,
        timeout: float | None = None,
        is_encoded: bool = False,
    ) -> None:
        """
        Send the user's audio.

        The audio is converted to the session's input format and sent in blocks of 100 ms. A
        shorter rest is kept until more audio follows, or until :meth:`commit`.

        Args:
            audio: 16-bit PCM as bytes, or an array of int16 or of floats in [-1, 1].
            sample_rate_hz: Samples a second; None means the session's own input rate.
            channels: The number of channels. The channels are mixed to one.
            is_encoded: Whether *audio* is bytes in the session's input format, such as mu-law,
                which are sent unchanged.
            timeout: Seconds to wait for room, and for a session that reconnects; None means
                ``send_timeout``.

        Raises:
            AudioError: ``audio`` has another type or shape.
            DeadlineExceeded: Not all audio could be queued in time; the rest was dropped.
        """
        queue = self._input
        # Most calls only add 20 ms to a block. With cold caches, a further function would be slow.
        if type(audio) is bytes and channels == 1 and timeout is None and not len(audio) & 1:
            with queue.lock:
                block = queue.usual_block
                if block is not None and (sample_rate_hz, is_encoded) in queue.usual_kinds:
                    block += audio
                    if len(block) >= queue.block_bytes:
                        queue.send_full_block()
                    return
        queue.send(audio, sample_rate_hz, channels, timeout, is_encoded=is_encoded)

    def commit(self) -> None:
        """End the user's turn, if turn detection is off. Call :meth:`respond` for the response."""
        self._input.commit()

    def clear(self) -> None:
        """Drop the audio that is not committed."""
        self._input.clear()

    # Audio from the service.

    def play(
        self,
        output: AudioSink | ItemSink | Playout | None,
        *,
        latency_ms: float = 0.0,
        backchannel: AudioSink | None = None,
    ) -> None:
        """
        Play all speech from now on, and return at once.

        When the user begins to speak, playback stops, and each item is truncated to its heard part.

        Args:
            output: A speaker, a :class:`~inworld_sync.Playout` that the application reads, or an
                :class:`~inworld_sync.ItemSink`. Only this session may write to the output. The
                session does not close a speaker or a playout. None stops playing.
            latency_ms: How many milliseconds of audio the reader of a playout has read but not
                played yet. The reader must drop this audio when playback stops.
            backchannel: Another speaker, for backchannels. Interruptions do not stop this speaker.

        Raises:
            ConfigError: The output has two channels, or needs resampling and soxr is missing.
        """
        self._state.output.play(output, backchannel, latency_ms)

    def drain(self, timeout: float | None = None) -> None:
        """
        Wait until all speech that was received has been played.

        Raises:
            ConfigError: :meth:`play` was not called.
            DeadlineExceeded: The speech was not played in time. Playback continues.
            DeviceError: The speaker failed.
        """
        self._state.output.drain(timeout)

    def interrupt(self, heard_ms: Mapping[str, float] | None = None) -> Interrupted:
        """
        Stop speech at once: in the buffers, in the speaker and at the service.

        All responses in progress and requested are cancelled, and each item is truncated to the
        part that was heard. The session does the same when the user begins to speak.

        Args:
            heard_ms: For an application that plays the audio without :meth:`play`: how many
                milliseconds of each item were heard, by the item's id.

        Returns:
            How much of each truncated item was heard, and the ids of the cancelled responses.
        """
        return self._state.output.interrupt(heard_ms)

    def converse(
        self,
        microphone: AudioSource,
        speaker: AudioSink,
        *,
        backchannel: AudioSink | None = None,
        hang_up_after: float = 3.0,
    ) -> None:
        """
        Send a microphone's audio and play the speech, until the session or the microphone ends.

        Args:
            microphone: The user's audio. If *microphone* and *speaker* are devices and the extra
                ``echo`` is installed, the echo is removed; see ``echo`` of `Microphone`.
            speaker: Plays the assistant's speech, and stops when the user begins to speak.
            backchannel: Another speaker for backchannels.
            hang_up_after: When the microphone has ended, for example at the end of a file, silence
                is sent until there has been no speech, response or tool call for this many seconds.

        Raises:
            DeviceError: The microphone or the speaker failed.
            ConnectionLost: The session ended with an error.
        """
        require_seconds("hang_up_after", hang_up_after, is_zero_allowed=True)
        self.play(speaker, backchannel=backchannel)
        try:
            ConverseLoop(self._state, self.send_audio, microphone, speaker, hang_up_after).run()
        finally:
            self._state.output.set_players(None, None)

    # The end.

    def _begin_close(self) -> None:
        """Begin to close, and return at once."""
        if self._state.monitor.in_child:
            return
        with self._state.monitor:
            self._commands.is_closing = True
            self._input.usual_block = None
            connection = self._commands.connection
            self._state.monitor.notify_all()
        if connection is not None:
            connection._begin_close()  # noqa: SLF001 - users do not need it

    def close(self) -> None:
        """
        End the session, from any thread, in any state; may be called twice.

        Playback stops. The call does not wait for tool functions that still run.
        """
        state = self._state
        if state.monitor.in_child:
            return
        self._begin_close()
        state.output.set_players(None, None)
        for connection in (self._commands.connection, state.replaced):
            if connection is not None:
                connection.close()
        self._reconnector.join(_JOIN_SECONDS)
        with state.monitor:
            state.end(StreamEnded("client", reason="closed"))
        state.executor.join(_JOIN_SECONDS)
        state.tools.runner.join(_FUNCTION_SECONDS)
        state.events.join(_JOIN_SECONDS)

    def __enter__(self) -> RealtimeSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RealtimeSession {self._state.name} {self._commands.phase.value}>"
