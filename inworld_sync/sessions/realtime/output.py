"""
Passes the assistant's speech to the players, and interrupts the speech.

An interruption has two steps. The first step runs when the user begins to speak or ``interrupt`` is
called. The monitor is held during this step. After the first step, audio that was received earlier
reaches no player and no response. The second step stops the players and sends commands to the
service. The second step may wait, so it runs without the monitor. Items that begin between the two
steps are not interrupted.

Lock rule: ``_cutting`` is held while speech is pushed to a player and while players are cleared, so
that no old speech is pushed after a clear. A thread acquires ``_cutting`` before the session's
monitor, which guards the other fields. A push does not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import attrs

from inworld_sync.audio.formats import WholeSamples
from inworld_sync.errors import ConfigError
from inworld_sync.locks import Condition
from inworld_sync.models.checks import require_finite
from inworld_sync.models.devices import AudioSink, ItemSink
from inworld_sync.models.realtime import (
    AudioDelta,
    AudioDone,
    AudioFormat,
    BackchannelDelta,
    BackchannelDone,
    CancelResponse,
    ClearOutputAudio,
    OutputItemDone,
    PcmFormat,
    RealtimeEvent,
    ResponseDone,
)
from inworld_sync.sessions.realtime.commands import Commands
from inworld_sync.sessions.realtime.events import Interrupted
from inworld_sync.sessions.realtime.executor import Executor
from inworld_sync.sessions.realtime.player import Player, player_for
from inworld_sync.sessions.realtime.response import ResponsePlayer
from inworld_sync.transport.deadline import Deadline
from inworld_sync.wire.realtime.items import Items
from inworld_sync.wire.realtime.playback_ledger import Cut, PlaybackLedger
from inworld_sync.wire.realtime.timestamps import SegmentTimes

if TYPE_CHECKING:
    from inworld_sync.audio.playout import Playout

__all__ = ["END_EVENTS", "Output"]

_BACKCHANNEL_FORMAT = PcmFormat(24000)

# The time between two tries to push to a full player.
_FULL_SECONDS = 0.02

# The events that :meth:`Output.handle_end` handles.
END_EVENTS = (AudioDone, OutputItemDone, ResponseDone, BackchannelDone)


@attrs.frozen
class _Interruption:
    """
    The first step of an interruption.

    Attributes:
        ids: The ids of the responses for which ``response.cancel`` must be sent.
        begun: How many items had begun at this moment.
    """

    ids: list[str]
    begun: int


@attrs.define(eq=False)
class Output:
    """
    Plays the speech of one session, and interrupts it.

    Args:
        commands: Sends truncations.
        executor: Runs tasks that may wait.
        items: Records how much of each item was heard.
        cancel: Cancels the conversation's responses; called with the monitor held. Returns the ids
            of the responses for which ``response.cancel`` must be sent.
        emit: Emits an event to users; called with the monitor held.

    Attributes:
        player: The player of the session's speech.
        response_players: The players of single responses; interruptions stop these players too.
    """

    _commands: Commands
    _executor: Executor
    _items: Items
    _cancel: Callable[[], list[str]]
    _emit: Callable[[Interrupted], object]
    player: ItemSink | None = attrs.field(default=None, init=False)
    response_players: list[ResponsePlayer] = attrs.field(factory=list, init=False)
    _cutting: Condition = attrs.field(factory=Condition, init=False)
    _format: AudioFormat = attrs.field(factory=PcmFormat, init=False)
    _whole: WholeSamples = attrs.field(factory=WholeSamples, init=False)
    _whole_backchannel: WholeSamples = attrs.field(factory=WholeSamples, init=False)
    _ledger: PlaybackLedger = attrs.field(init=False)
    _times: SegmentTimes = attrs.field(factory=SegmentTimes, init=False)
    _backchannel: ItemSink | None = attrs.field(default=None, init=False)
    # The number of interruptions. Audio that was received before an interruption is not pushed
    # after the interruption.
    _interruptions: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._ledger = self._new_ledger()

    # The callers of these methods hold the monitor.

    def set_format(self, output_format: AudioFormat) -> None:
        """Change the format of the audio that is received."""
        if output_format != self._format:
            self._format = output_format
            self._ledger = self._new_ledger()

    def receive(self, event: AudioDelta) -> AudioDelta:
        """Play a piece of speech; return the event with whole samples."""
        received, item_id = event.audio, event.item_id
        audio = self._whole.feed(item_id, received, self._format.bytes_per_sample)
        samples = len(audio) // self._format.bytes_per_sample
        event = self._times.add(event, samples * 1000.0 / self._format.sample_rate_hz)
        if not received:
            return event
        player = self.player
        self._ledger.receive(
            item_id,
            event.response_id,
            event.content_index,
            samples,
            is_played=player is not None,
        )
        if player is not None:
            self._play(player, item_id, audio)
        return event if audio is received else attrs.evolve(event, audio=audio)

    def receive_backchannel(self, event: BackchannelDelta) -> BackchannelDelta:
        """Play a piece of a backchannel; return the event with whole samples."""
        name, received = event.backchannel_id, event.audio
        audio = self._whole_backchannel.feed(name, received, _BACKCHANNEL_FORMAT.bytes_per_sample)
        self._play_backchannel(name, audio)
        return event if audio is received else attrs.evolve(event, audio=audio)

    def handle_end(self, event: RealtimeEvent) -> None:
        """Handle an event of :data:`END_EVENTS`."""
        if isinstance(event, AudioDone):
            self._end_item(event.item_id)
        elif isinstance(event, OutputItemDone):
            self._end_item(event.item.id or "")
        elif isinstance(event, ResponseDone):
            for item_id in self._ledger.items_of(event.response.id):
                self._end_item(item_id)
        elif isinstance(event, BackchannelDone):
            self._play_backchannel(event.backchannel_id, b"", end=True)

    def end_all(self) -> None:
        """End all items, because no more speech arrives. Received speech is still played."""
        for item_id in self._ledger.items_of():
            self._end_item(item_id)

    def interrupt_later(self) -> None:
        """Interrupt speech. Do the first step now, and queue the second step on the executor."""
        first = self._begin_interruption()
        self._executor.put(lambda: self._finish_interruption(first, None))

    def remove_response_player(self, player: ResponsePlayer, *, is_heard: bool) -> None:
        """Forget a player. With *is_heard*, the items of the player are not truncated later."""
        if player in self.response_players:
            self.response_players.remove(player)
            for item_id in player.played if is_heard else ():
                self._ledger.forget(item_id)

    def _new_ledger(self) -> PlaybackLedger:
        return PlaybackLedger(self._commands.endpoint.timebase(self._format))

    def _end_item(self, item_id: str) -> None:
        if self._ledger.complete(item_id) and self.player is not None:
            self._play(self.player, item_id, b"", end=True)

    def _play_backchannel(self, name: str, audio: bytes, *, end: bool = False) -> None:
        player = self._backchannel
        if player is not None:
            push = partial(player.push, name, audio, _BACKCHANNEL_FORMAT, end=end)
            self._executor.put(push, len(audio))

    def _play(self, player: ItemSink, item_id: str, audio: bytes, *, end: bool = False) -> None:
        number, audio_format = self._interruptions, self._format

        def push() -> None:
            while True:
                with self._cutting:
                    # Audio that was interrupted in the meantime is not pushed.
                    if number != self._interruptions or player is not self.player:
                        return
                    if player.push(item_id, audio, audio_format, end=end):
                        return
                with self._commands.monitor:
                    self._commands.monitor.wait(_FULL_SECONDS)

        self._executor.put(push, len(audio))

    def _begin_interruption(self) -> _Interruption:
        self._interruptions += 1
        return _Interruption(self._cancel(), self._ledger.begun)

    # The callers of these methods do not hold the monitor.

    def play(
        self,
        output: AudioSink | ItemSink | Playout | None,
        backchannel: AudioSink | None,
        latency_ms: float,
    ) -> None:
        """Play all speech from now on; see :meth:`RealtimeSession.play`."""
        name, logger = self._commands.name, self._commands.options.logger
        with self._commands.monitor:
            self._commands.require_open()
        player = None if output is None else player_for(output, name, logger, latency_ms)
        second = None if backchannel is None else player_for(backchannel, name, logger, 0.0)
        self.set_players(player, second)

    def set_players(self, player: ItemSink | None, backchannel: ItemSink | None) -> None:
        """Use other players from now on, and close the present players."""
        with self._cutting:
            old = self.player
            played: Mapping[str, int] | None = {}
            if old is not None:
                # Closing a Player stops it, so this clear only counts how much was heard. Another
                # ItemSink, such as a phone call, may still play its audio after it was closed, so
                # it is not cleared.
                is_known = isinstance(old, Player) and not self._commands.is_over
                played = old.clear() if is_known else None
            with self._commands.monitor:
                self._ledger.change_player(played)
                olds = [old, self._backchannel]
                self.player, self._backchannel = player, backchannel
        for old in olds:
            if old is not None:
                old.close()

    @property
    def is_playing(self) -> bool:
        """Whether a part of the received speech was not played yet."""
        # The executor passes the speech to the player, so the executor is checked first.
        player = self.player
        return player is not None and not (self._executor.is_idle and player.is_idle)

    def drain(self, timeout: float | None) -> None:
        """
        Wait until all speech that was received has been played.

        Raises:
            ConfigError: The session has no player.
            DeadlineExceeded: The speech was not played within *timeout* seconds.
            InworldError: The speaker failed.
        """
        player = self.player
        if player is None:
            raise ConfigError("drain() has nothing to wait for: call play() first")
        deadline = Deadline(timeout, "playing the speech")
        self._executor.flush(deadline)
        player.drain(deadline.remaining())

    def interrupt(self, heard_ms: Mapping[str, float] | None = None) -> Interrupted:
        """
        Stop all speech, cancel the conversation's responses, and truncate their items.

        Args:
            heard_ms: How many milliseconds of each item were heard, as counted by an application
                that plays the audio itself. These values take precedence over the counts of
                players.
        """
        for item_id, each_ms in (heard_ms or {}).items():
            require_finite(f"heard_ms of {item_id!r}", each_ms)
        with self._cutting:
            with self._commands.monitor:
                first = self._begin_interruption()
            return self._finish_interruption(first, heard_ms, clears=True)

    def _finish_interruption(
        self, first: _Interruption, heard_ms: Mapping[str, float] | None, *, clears: bool = False
    ) -> Interrupted:
        ids, cut = first.ids, self._cut(heard_ms or {}, first.begun)
        # With tracks, the service has an output buffer. It may have audio of completed responses.
        # When the user begins to speak, the service itself clears this buffer.
        if clears and self._commands.endpoint.has_tracks:
            self._commands.send_now(ClearOutputAudio())
        for command in (*map(CancelResponse, ids), *cut.commands):
            self._commands.send_now(command)
        event = Interrupted(cut.heard_ms, tuple(ids))
        with self._commands.monitor:
            self._items.set_heard_share(cut.heard_share)
            if ids or cut.commands:
                self._emit(event)
        return event

    def _cut(self, heard_ms: Mapping[str, float], begun: int) -> Cut:
        """Stop all players, and find out how much of each item was heard."""
        with self._cutting:
            with self._commands.monitor:
                players = list(self.response_players)
            played = {} if self.player is None else self.player.clear()
            heard_alone = [player.clear() for player in players]
            with self._commands.monitor:
                heard = self._ledger.positions(played)
                for each in heard_alone:
                    heard.update(each)
                rate_hz = self._format.sample_rate_hz
                for item_id, each_ms in heard_ms.items():
                    heard[item_id] = round(each_ms * rate_hz / 1000.0)
                return self._ledger.interrupt(heard, begun)
