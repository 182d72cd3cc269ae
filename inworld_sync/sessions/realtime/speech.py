"""
The speech of a session on its way to the ear, and what becomes of it when it is interrupted.

Lock rule: ``cutting`` is held while speech is given to a player and while players are cleared, so
that nothing old follows a clear; it is taken before the session's monitor, which guards the rest.
A push never waits under it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import attrs

from inworld_sync.audio.formats import WholeSamples, pcm_of
from inworld_sync.errors import ConfigError
from inworld_sync.models.realtime import (
    AudioDelta,
    AudioFormat,
    BackchannelDelta,
    PcmFormat,
    TruncateItem,
)
from inworld_sync.sessions.event_stream import Monitor
from inworld_sync.sessions.realtime.endpoint import RealtimeEndpoint
from inworld_sync.sessions.realtime.player import Player
from inworld_sync.sessions.realtime.response import ResponsePlayer
from inworld_sync.sessions.realtime.worker import Worker
from inworld_sync.transport.deadline import Deadline
from inworld_sync.wire.realtime.interruption import SpokenItems

__all__ = ["SpeechOut"]

_BACKCHANNEL_HZ = 24000
_BACKCHANNEL_SAMPLE_BYTES = 2

# Between two tries to give a full player more.
_FULL_SECONDS = 0.02


@attrs.define
class _Sounding:
    """An item that was received; *is_played* says whether the session's own player has it."""

    response_id: str
    is_played: bool
    samples: int = 0
    is_whole: bool = False


@attrs.frozen
class Cut:
    """
    What an interruption has found.

    Attributes:
        heard_ms: How much of each item was heard that was not heard to its end.
        commands: What the service is told of it.
        heard_share: The same as a part of what was received, 0 to 1.
    """

    heard_ms: Mapping[str, float]
    commands: tuple[TruncateItem, ...]
    heard_share: Mapping[str, float]


class SpeechOut:
    """
    Gives a session's speech to its players.

    Args:
        monitor: The session's.
        worker: Does what may wait.
        endpoint: Whose clock cuts are measured by.

    Attributes:
        cutting: Held while players are cleared; who interrupts may take it before.
    """

    def __init__(self, monitor: Monitor, worker: Worker, endpoint: RealtimeEndpoint) -> None:
        self._monitor = monitor
        self._worker = worker
        self._endpoint = endpoint
        self.cutting = threading.RLock()
        self._format: AudioFormat = PcmFormat()
        self._whole = WholeSamples()
        self._whole_backchannel = WholeSamples()
        self._spoken = SpokenItems(endpoint.timebase(self._format))
        self._sounding: dict[str, _Sounding] = {}
        self._player: Player | None = None
        self._backchannel: Player | None = None
        self._responses: list[ResponsePlayer] = []
        # Counts interruptions: what was received before one is not given to a player after it.
        self._epoch = 0

    # The monitor is held.

    @property
    def output_format(self) -> AudioFormat:
        """The form of what comes now."""
        return self._format

    def set_format(self, output_format: AudioFormat) -> None:
        """Follow a change of the session."""
        if output_format != self._format:
            self._format = output_format
            self._forget()

    def receive(self, event: AudioDelta) -> AudioDelta:
        """Take a piece of speech; give it with whole samples."""
        audio = self._whole.feed(event.item_id, event.audio, self._format.bytes_per_sample)
        samples = len(audio) // self._format.bytes_per_sample
        sounding = self._sounding.get(event.item_id)
        if sounding is None:
            sounding = _Sounding(event.response_id, self._player is not None)
            self._sounding[event.item_id] = sounding
        sounding.samples += samples
        self._spoken.received(event.item_id, event.content_index, samples)
        if self._player is not None:
            self._play(self._player, event.item_id, audio)
        return event if audio is event.audio else attrs.evolve(event, audio=audio)

    def end_item(self, item_id: str) -> None:
        """Note that all of an item's speech was received."""
        sounding = self._sounding.get(item_id)
        if sounding is not None and not sounding.is_whole:
            sounding.is_whole = True
            self._spoken.whole(item_id)
            if self._player is not None:
                self._play(self._player, item_id, b"", end=True)

    def end_response(self, response_id: str) -> None:
        """Note that all of a response's speech was received."""
        for item_id, sounding in self._sounding.items():
            if sounding.response_id == response_id:
                self.end_item(item_id)

    def end_all(self) -> None:
        """Note that no more speech will come; what has come is played out."""
        for item_id in self._sounding:
            self.end_item(item_id)

    def receive_backchannel(self, event: BackchannelDelta) -> BackchannelDelta:
        """Play a piece of a backchannel; give it with whole samples."""
        name = event.backchannel_id
        pcm = self._whole_backchannel.feed(name, event.audio, _BACKCHANNEL_SAMPLE_BYTES)
        player = self._backchannel
        if player is not None:
            view = memoryview(pcm)
            self._worker.put(lambda: player.push(name, view, _BACKCHANNEL_HZ), len(pcm))
        return event if pcm is event.audio else attrs.evolve(event, audio=pcm)

    def end_backchannel(self, backchannel_id: str) -> None:
        """Note that a sound of listening is whole."""
        player = self._backchannel
        if player is not None:
            empty = memoryview(b"")
            self._worker.put(lambda: player.push(backchannel_id, empty, _BACKCHANNEL_HZ, end=True))

    def begin_cut(self) -> None:
        """Give no player what was received until now; :meth:`cut` must follow."""
        self._epoch += 1

    def add_response_player(self, player: ResponsePlayer) -> None:
        """Have a player stopped by interruptions too."""
        self._responses.append(player)

    def remove_response_player(self, player: ResponsePlayer, *, is_heard: bool) -> None:
        """Forget a player; *is_heard* says that nothing of its items is to be cut any more."""
        if player in self._responses:
            self._responses.remove(player)
            for item_id in player.items if is_heard else ():
                self._spoken.heard_out(item_id)
                self._sounding.pop(item_id, None)

    def _play(self, player: Player, item_id: str, audio: bytes, *, end: bool = False) -> None:
        epoch, audio_format = self._epoch, self._format

        def push() -> None:
            pcm = pcm_of(audio, audio_format)
            while not self._push(player, epoch, item_id, pcm, audio_format.sample_rate_hz, end=end):
                with self._monitor:
                    self._monitor.wait(_FULL_SECONDS)

        self._worker.put(push, len(audio))

    def _forget(self) -> None:
        self._spoken = SpokenItems(self._endpoint.timebase(self._format))
        self._sounding.clear()

    # The monitor is not held.

    def _push(
        self, player: Player, epoch: int, item_id: str, pcm: memoryview, rate_hz: int, *, end: bool
    ) -> bool:
        """Give a player sound, unless it was cut meanwhile; False to be tried again."""
        with self.cutting:
            if epoch != self._epoch or player is not self._player:
                return True
            return player.push(item_id, pcm, rate_hz, end=end)

    def set_players(self, player: Player | None, backchannel: Player | None) -> None:
        """Play on other players from now on; the ones before are closed."""
        with self.cutting, self._monitor:
            olds = [self._player, self._backchannel]
            self._player, self._backchannel = player, backchannel
        for old in olds:
            if old is not None:
                old.close()

    @property
    def player(self) -> Player | None:
        """What plays the session's speech."""
        return self._player

    @property
    def is_sounding(self) -> bool:
        """Whether speech is still to be heard."""
        return self._player is not None and not self._player.is_idle

    def drain(self, timeout: float | None) -> None:
        """
        Wait until all speech that has come is heard.

        Raises:
            ConfigError: Nothing plays it.
            DeadlineExceeded: It was not after *timeout* seconds.
            InworldError: The speaker failed.
        """
        player = self._player
        if player is None:
            raise ConfigError("there is no speech to wait for: call play() first")
        deadline = Deadline(timeout, "hearing the speech out")
        self._worker.flush(deadline)
        player.drain(deadline.remaining())

    def cut(self, heard_ms: Mapping[str, float] | None = None) -> Cut:
        """
        Stop all speech that was received before :meth:`begin_cut`.

        Args:
            heard_ms: How much of each item was heard, where the application plays by itself; it
                counts more than what players say.
        """
        with self.cutting:
            heard: dict[str, int] = {}
            if self._player is not None:
                heard.update(self._player.clear())
            with self._monitor:
                responses = list(self._responses)
            for each in responses:
                heard.update(each.clear())
            with self._monitor:
                rate_hz = self._format.sample_rate_hz
                for item_id, each_ms in (heard_ms or {}).items():
                    heard[item_id] = round(each_ms * rate_hz / 1000.0)
                return self._measured(heard, rate_hz)

    def _measured(self, heard: Mapping[str, int], rate_hz: int) -> Cut:
        for item_id, sounding in self._sounding.items():
            if item_id not in heard and not sounding.is_played:
                # Nobody here knows who plays it, so nobody knows that it was not heard.
                self._spoken.heard_out(item_id)
        commands = self._spoken.interrupt(heard)
        cut_ms, share = {}, {}
        for command in commands:
            item_id = command.item_id
            received = self._sounding[item_id].samples
            samples = min(max(heard.get(item_id, 0), 0), received)
            cut_ms[item_id] = samples * 1000.0 / rate_hz
            share[item_id] = samples / received if received else 0.0
        self._sounding.clear()
        return Cut(cut_ms, commands, share)
