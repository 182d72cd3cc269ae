"""
A realtime session as users have it: commands in, events out, speech both ways.

Lock rule: ``_order`` is held while several commands that belong together are queued; it is taken
before the session's monitor, never after it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from inworld_sync.models.devices import AudioSink, AudioSource
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.realtime import (
    AlawFormat,
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
    MulawFormat,
    ResponseConfig,
    RetrieveItem,
    Session,
    SessionInfo,
    TruncateItem,
    UpdateSession,
)
from inworld_sync.sessions.event_stream import Subscription
from inworld_sync.sessions.realtime.commands import PendingReply, Request, new_id
from inworld_sync.sessions.realtime.converse import ConverseLoop
from inworld_sync.sessions.realtime.events import Interrupted, SessionEvent
from inworld_sync.sessions.realtime.input import AudioInputQueue
from inworld_sync.sessions.realtime.player import player_for
from inworld_sync.sessions.realtime.reconnect import Reconnector
from inworld_sync.sessions.realtime.response import Response
from inworld_sync.sessions.realtime.state import SessionState
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.websocket import LinkStats
from inworld_sync.wire.text import require_text

if TYPE_CHECKING:
    from inworld_sync.audio.playout import Playout
    from inworld_sync.audio.source import AudioData

__all__ = ["RealtimeSession"]

F = TypeVar("F", bound=Callable[..., object])

_ANSWER_SECONDS = 10.0

# For threads that have been stopped, and for functions, which cannot be stopped.
_JOIN_SECONDS = 1.0
_FUNCTION_SECONDS = 0.2


class RealtimeSession:
    """
    A conversation with a model that hears, speaks, reads and writes.

    Made by ``iw.realtime.connect()``. Iterate over it for its events, or add handlers with
    :meth:`on`, or queues with :meth:`subscribe`. Leaving a ``with`` block closes it.

    Events that nobody has asked for are not all kept: the newest 256 are there for the first who
    does. While the session reconnects, commands wait for it, each up to its timeout.

    Thread safety: every method may be called from any thread, and from handlers and tools.
    """

    def __init__(self, state: SessionState, reconnector: Reconnector) -> None:
        self._state = state
        self._commands = state.commands
        self._reconnector = reconnector
        self._order = threading.Lock()
        self._input = AudioInputQueue(state.commands, state.settings, state.turn)

    # What it is.

    @property
    def id(self) -> str | None:
        """The service's name for the session."""
        return self.session.id

    @property
    def key(self) -> str | None:
        """This side's name for the session in its address; another one after a reconnect."""
        return self._reconnector.key

    @property
    def session(self) -> SessionInfo:
        """What the service says that the session is."""
        with self._state.monitor:
            return self._state.settings.info

    @property
    def conversation(self) -> tuple[ConversationEntry, ...]:
        """Every item of the conversation in order, with all text that has come so far."""
        with self._state.monitor:
            return self._state.items.entries

    def item(self, item_id: str) -> ConversationEntry | None:
        """One item of the conversation, None if it has none of this id."""
        with self._state.monitor:
            return self._state.items.get(item_id)

    @property
    def ended(self) -> StreamEnded | None:
        """How the session ended, None while it goes on."""
        return self._commands.ended

    @property
    def stats(self) -> LinkStats | None:
        """Counters and times of the present socket, a snapshot; None while there is none."""
        with self._state.monitor:
            connection = self._commands.open_connection
        return None if connection is None else connection.stats

    @property
    def unclaimed_events(self) -> int:
        """How many events nobody has asked for and are forgotten."""
        return self._state.events.unclaimed

    # Commands.

    def update(self, session: Session, *, timeout: float = _ANSWER_SECONDS) -> SessionInfo:
        """
        Change the session, and wait until the service has taken the change.

        Args:
            session: What is to change; what is None in it stays. An update is taken as a whole or
                refused as a whole.
            timeout: Seconds.

        Returns:
            What the session is then.

        Raises:
            LocalProtocolError: It touches what is fixed when a session opens: ``conversational``
                and ``user_turn_mode``.
            InvalidRequestError: The service refuses it; nothing of it holds.
            DeadlineExceeded: The service said nothing in time.
        """
        self._state.update(session, Deadline(timeout, "updating the session"))
        return self.session

    def send_message(self, text: str, config: ResponseConfig | None = None) -> Response:
        """
        Say something as the user, in text, and have it responded to.

        Args:
            text: Not blank.
            config: What the response is asked to be, beyond the session's settings.

        Returns:
            The response. While another one is being given it waits for that to end.
        """
        require_text(text)
        with self._order:
            self._commands.create_item(Message.user(text))
            return self.respond(config)

    def respond(self, config: ResponseConfig | None = None) -> Response:
        """
        Ask for a response to the conversation as it is.

        Args:
            config: What it is asked to be, beyond the session's settings; ``conversation='none'``
                makes one beside the conversation, which waits for no other.
        """
        return self._state.request_response(config)

    def add(self, item: Item, *, previous_item_id: str | None = None) -> str:
        """
        Put an item into the conversation; returns its id.

        Args:
            item: Such as ``Message.user("Hi")``; it is given an id if it has none.
            previous_item_id: The item that it follows; None means the last.
        """
        with self._order:
            return self._commands.create_item(item, previous_item_id)

    def retrieve(self, item_id: str, *, timeout: float = _ANSWER_SECONDS) -> Item:
        """
        Ask for an item as the service holds it.

        Raises:
            ServiceError: The service does not give it; NotFoundError if it says that it has none.
            DeadlineExceeded: It said nothing in time.
        """
        event_id = new_id("evt")
        text = self._state.endpoint.write(RetrieveItem(item_id, event_id=event_id))
        reply = PendingReply(Request.RETRIEVE, event_id, text, item_id=item_id)
        event = self._commands.ask(reply, Deadline(timeout, "retrieving an item"))
        assert isinstance(event, ItemRetrieved)
        return event.item

    def delete(self, item_id: str) -> None:
        """Take an item out of the conversation."""
        self._commands.send(DeleteItem(item_id))

    def truncate(self, item_id: str, audio_end_ms: float, *, content_index: int = 0) -> None:
        """
        Cut what the assistant said to what was heard; :meth:`interrupt` does it by itself.

        Args:
            item_id: The assistant's message.
            audio_end_ms: Where, in real milliseconds from its start.
            content_index: Which part of it is the sound.
        """
        with self._state.monitor:
            output_format = self._state.output_format
        # The service reads the milliseconds of G.711 by the clock of 24 kHz.
        if self._state.endpoint.is_inworld and isinstance(output_format, (MulawFormat, AlawFormat)):
            audio_end_ms /= 3
        self._commands.send(TruncateItem(item_id, content_index, int(audio_end_ms)))

    def cancel(self, response_id: str | None = None) -> None:
        """Stop a response, None means the one that is being given; see :meth:`Response.cancel`."""
        with self._state.monitor:
            if response_id is not None:
                self._state.responses.cancel_named(response_id)
        self._commands.send(CancelResponse(response_id))

    def clear_output(self) -> None:
        """Have the service drop the sound that it has not yet let out, where it keeps any."""
        self._commands.send(ClearOutputAudio())

    def send(self, command: Command) -> None:
        """
        Send any command and wait for no answer.

        What has a method of its own is followed in the same way: a response that is asked for
        here waits for the one before it, and an item gets an id.
        """
        if isinstance(command, UpdateSession):
            self._state.update(command.session, None)
        elif isinstance(command, CreateResponse):
            self.respond(command.response)
        elif isinstance(command, CreateItem):
            self.add(command.item, previous_item_id=command.previous_item_id)
        elif isinstance(command, CancelResponse):
            self.cancel(command.response_id)
        else:
            self._commands.send(command)

    def submit_tool_output(self, call_id: str, output: str) -> Response | None:
        """
        Give the model the output of a function that the application runs by itself.

        Once all calls of a response are answered, and it is over, the model is asked to go on.

        Returns:
            What the model goes on with; None while it does not, as long as other calls wait or the
            calling response is not over: then :class:`ResponseStarted` tells it.

        Raises:
            LocalProtocolError: No call of this id waits for an answer.
        """
        return self._state.tools.submit_output(call_id, output)

    def approve(self, request_id: str, *, approve: bool = True, reason: str | None = None) -> None:
        """Answer an :class:`ApprovalRequested`: whether a tool server may be called."""
        self._state.tools.approve(request_id, approve=approve, reason=reason)

    # Sound in.

    def send_audio(
        self,
        audio: AudioData,
        sample_rate_hz: int | None = None,
        *,
        channels: int = 1,
        timeout: float | None = None,
    ) -> None:
        """
        Give the service sound to hear.

        It is converted to the session's input format, and leaves in blocks of 100 ms; what is less
        waits for more, or for :meth:`commit`.

        Args:
            audio: 16-bit PCM as bytes, or an array of int16 or of floats in [-1, 1].
            sample_rate_hz: Samples a second; None means the session's own input rate.
            channels: Samples a frame; they are mixed to one.
            timeout: Seconds to wait for room, and for a session that reconnects; None takes
                ``send_timeout``.

        Raises:
            AudioError: It is no sound.
            DeadlineExceeded: Not all of it could be queued in time; what could not is dropped.
        """
        self._input.send(audio, sample_rate_hz, channels, timeout)

    def commit(self) -> None:
        """End the user's turn by hand, where turn detection is off; :meth:`respond` follows."""
        self._input.commit()

    def clear(self) -> None:
        """Drop the sound that is not committed."""
        self._input.clear()

    # Sound out.

    def play(
        self,
        output: AudioSink | Playout | None,
        *,
        latency_ms: float = 0.0,
        backchannel: AudioSink | None = None,
    ) -> None:
        """
        Play all speech from now on, and return at once.

        When the user begins to speak, playing stops, and the service is told how much of each item
        was heard.

        Args:
            output: A speaker, or a :class:`~inworld_sync.Playout` that something else reads, which
                nobody else writes to; it is not closed. None plays on nothing any more.
            latency_ms: For a playout: what its reader has taken and drops when it is stopped.
            backchannel: Another speaker, for sounds of listening, which nothing interrupts.

        Raises:
            ConfigError: The output has another sample rate than the session and soxr is not
                installed, or has two channels.
        """
        logger, name = self._state.logger, self._state.name
        with self._state.monitor:
            self._commands.require_open()
        player = None if output is None else player_for(output, name, logger, latency_ms)
        second = None if backchannel is None else player_for(backchannel, name, logger, 0.0)
        self._state.output.set_players(player, second)

    def drain(self, timeout: float | None = None) -> None:
        """
        Wait until all speech that has come is heard.

        Raises:
            ConfigError: Nothing plays it.
            DeadlineExceeded: It was not after *timeout* seconds; it plays on.
            DeviceError: The speaker failed.
        """
        self._state.output.drain(timeout)

    def interrupt(self, heard_ms: Mapping[str, float] | None = None) -> Interrupted:
        """
        Stop speech at once: on the way, in the speaker and at the service.

        Everything that is being given or was asked for is cancelled, and each item is cut to what
        was heard of it. It happens by itself when the user begins to speak.

        Args:
            heard_ms: For applications that play by themselves: how many milliseconds of each item
                were heard, by its id.

        Returns:
            What was heard of the items that were cut, and the responses that were cancelled.
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
        Talk until the session is closed, by either side or another thread, or the source ends.

        Args:
            microphone: What the user says. Headphones or echo cancellation keep the assistant's
                voice out of it; see also ``mute_while`` of :class:`~inworld_sync.Microphone`.
            speaker: Where the assistant speaks; it falls silent when the user begins to.
            backchannel: Another speaker for sounds of listening.
            hang_up_after: When the source has ended, such as a file: silence is sent until
                nothing was said, heard or called for so many seconds.

        Raises:
            DeviceError: The microphone or the speaker failed.
            ConnectionLost: The session ended before its time.
        """
        self.play(speaker, backchannel=backchannel)
        try:
            ConverseLoop(self._state, self.send_audio, microphone, hang_up_after).run()
        finally:
            self._state.output.set_players(None, None)

    # Events.

    def __iter__(self) -> Iterator[SessionEvent]:
        return self.events()

    def events(self, timeout: float | None = None) -> Iterator[SessionEvent]:
        """
        Iterate over the session's events; all calls share one place among them.

        Args:
            timeout: The most seconds to wait for each event; None waits for ever.

        Raises:
            DeadlineExceeded: No event came in time; iterating again goes on.
            InworldError: The session ended before its time.
        """
        return self._state.events.events(timeout)

    def on(self, kind: type | str, handler: F) -> F:
        """Call *handler* with every event of a class or of a name; see :meth:`EventStream.on`."""
        return self._state.events.on(kind, handler)

    def subscribe(self, maxsize: int | None = None) -> Subscription[SessionEvent]:
        """Open a queue of events of its own; see :meth:`EventStream.subscribe`."""
        return self._state.events.subscribe(maxsize)

    def poll(self, budget_ms: float = 2.0) -> int:
        """Run handlers on this thread; see :meth:`EventStream.poll`."""
        return self._state.events.poll(budget_ms)

    # The end.

    def retire(self) -> None:
        """Begin to close and return at once."""
        if self._state.monitor.in_child:
            return
        with self._state.monitor:
            self._commands.is_closing = True
            connection = self._commands.connection
            self._state.monitor.notify_all()
        if connection is not None:
            connection.retire()

    def close(self) -> None:
        """
        End the session, from any thread, in any state; may be called twice.

        Speech that plays is stopped. A function of a tool that still runs is left to itself.
        """
        state = self._state
        if state.monitor.in_child:
            return
        self.retire()
        state.output.set_players(None, None)
        connection = self._commands.connection
        if connection is not None:
            connection.close()
        self._reconnector.join(_JOIN_SECONDS)
        with state.monitor:
            state.end(StreamEnded("client", reason="closed"))
        state.executor.join(_JOIN_SECONDS)
        state.tools.join(_FUNCTION_SECONDS)
        state.events.join(_JOIN_SECONDS)

    def __enter__(self) -> RealtimeSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RealtimeSession {self._state.name} {self._commands.phase.value}>"
