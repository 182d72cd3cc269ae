"""
Plays a voice as a sound of Panda3D, and moves the morph sliders of an actor.

::

    voice ─ pull_audio ─ UserDataAudio ─ AudioSound ─ AudioManager
      └──── report_heard ──── the time of the sound

After each gap in the speech, a new sound begins. The time of a sound continues while the sound has
nothing to play, so this time would be wrong after a gap. A sound that was stopped cannot continue.
So after a pause, a new sound begins with the audio that was not heard.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final, Protocol

from inworld_sync.errors import ConfigError
from inworld_sync.games.mouth import Mouth
from inworld_sync.games.spatial import Position
from inworld_sync.games.voice import GameVoice, require_range

__all__ = ["Actor", "Joint", "MorphMouth", "SoundManager", "VoiceSound"]

# A slider has one of this many positions above 0.
_LEVELS: Final = 256

# The sound gets more audio when this share of its buffer is free.
_FREE_SHARE = 1 / 4

# The time of a sound increases in steps of about this length.
_PERIOD_SECONDS = 0.02

# If the game does not update the manager, a sound that has no more audio counts as ended after this
# time.
_ENDING_SECONDS = 0.5


class SoundManager(Protocol):
    """The methods of ``panda3d.core.AudioManager`` that :class:`VoiceSound` needs."""

    def get_sound(self, source: object, positional: bool, /) -> object:
        """Make the sound that plays *source*."""

    def update(self) -> object:
        """Pass the audio of all sounds to the engine, and read their positions."""


class Joint(Protocol):
    """The method of a joint or slider of an actor that :class:`MorphMouth` needs."""

    def get_name(self) -> str:
        """Return the name."""
        ...


class Actor(Protocol):
    """The methods of ``direct.actor.Actor.Actor`` that :class:`MorphMouth` needs."""

    def get_joints(self, part: str, /) -> Sequence[Joint]:
        """List the joints and sliders of a part."""
        ...

    def control_joint(self, node: object, part: str, joint: str, /) -> object:
        """Let a node control a joint or slider."""


class VoiceSound:
    """
    Play a voice as a sound of Panda3D, without gaps.

    Call :meth:`update` in each frame, after the ``update`` of the voice. This method never
    waits. Panda3D converts the sample rate. The game must update the manager in each frame too;
    ``ShowBase`` does this for its own managers. When OpenAL needs more audio, :meth:`update` also
    updates the manager, so that a long frame makes no gap.

    If the voice is cancelled or interrupted, the next :meth:`update` stops the sound. OpenAL fades
    out the sound within its own buffer, which has 20 ms by default.

    Args:
        voice: The voice. It may be started before or after this object is made.
        manager: The manager of the sounds, such as ``base.sfxManagerList[0]``.
        positional: Whether OpenAL computes the loudness and the direction of the sound. OpenAL uses
            the position of the voice, in the coordinates of Panda3D, and the listener of the
            manager. If *positional* is False, only the volume of the voice counts.
        buffer_ms: How many milliseconds of audio wait in OpenAL, 50 to 1000. This buffer is filled
            again when a quarter of it is free. So three quarters of this time must be longer than
            the longest frame of the game. An interruption does not wait for this buffer.
        latency_ms: The time from OpenAL to the loudspeaker, 0 to 1000 ms. The mouth and the words
            are delayed by this time.

    Attributes:
        voice: The voice.
        gaps: How often the sound had nothing to play because the next audio of the speech came too
            late.

    Raises:
        ConfigError: A value is out of range.
        ImportError: Panda3D is not installed.

    Thread safety: only the thread of the game may use this object.
    """

    def __init__(
        self,
        voice: GameVoice,
        manager: SoundManager,
        *,
        positional: bool = False,
        buffer_ms: float = 400.0,
        latency_ms: float = 40.0,
    ) -> None:
        require_range("buffer_ms", buffer_ms, 50, 1000, " ms")
        require_range("latency_ms", latency_ms, 0, 1000, " ms")
        try:
            core = import_module("panda3d.core")
        except ImportError as error:
            raise ImportError(
                "VoiceSound() needs Panda3D: pip install 'inworld-sync[panda3d]'", name="panda3d"
            ) from error
        self._core = core
        self.voice: Final = voice
        self.gaps = 0
        self._manager = manager
        self._positional = positional
        self._rate_hz = voice.sample_rate_hz
        self._buffer_frames = round(voice.sample_rate_hz * buffer_ms / 1000)
        self._latency_frames = voice.sample_rate_hz * latency_ms / 1000
        self._drops = voice.drops
        self._is_closed = False

        # The sound that plays now, and the object from which the sound reads its audio.
        self._sound: Any = None
        self._audio: Any = None
        # The value of _changes of the voice when the sound was placed.
        self._changes = -1
        # The volume and the position of the sound.
        self._placed: tuple[float, Position | None] | None = None
        # The previous sound; None after OpenAL has played the last sample of this sound.
        self._ending: Any = None
        # Positions, counted in the frames that the voice has returned.
        self._pulled = self._heard = 0
        self._sound_from = self._played = 0.0
        # The time of the sound at the last update.
        self._sound_seconds = 0.0
        # The audio from _unplayed_from to _pulled. _unplayed_from is _played, rounded down.
        self._unplayed = bytearray()
        self._unplayed_from = 0
        # Whether a sound has ended in the middle of speech.
        self._is_dry = False
        self._updated = self._idle_since = time.monotonic()
        # Until this time, the free part of the buffer is small.
        self._full_until = 0.0

    def update(self) -> None:
        """
        Report what was heard, give audio to the sound, and set its volume and position.

        While the buffer is full, only the volume and the position are set.
        Does nothing after :meth:`close`.
        """
        if self._is_closed:
            return
        now = time.monotonic()
        voice = self.voice
        if now < self._full_until and voice.drops == self._drops:
            # The buffer is full, and the voice counts the time since the last report.
            if voice._changes == self._changes:  # noqa: SLF001 - not for users
                return
            if not voice.is_paused:
                self._place()
                return
        if self.voice.drops != self._drops:
            self._drops = self.voice.drops
            self._drop(now)
        self._advance(now)
        self.voice.report_heard(self._heard_at(now))
        self._is_dry = self._is_dry and self.voice.is_incomplete
        if self.voice.is_paused:
            self._stop(now)
        else:
            self._feed()
            self._place()
        self._full_until = 0.0
        # Before the latency has passed, the voice must not count the time since the last report.
        if self._sound is not None and self._heard > self._sound_from:
            # OpenAL needs no more audio before it has played this many frames.
            left = self._pulled - self._played - self._buffer_frames * (1.0 - _FREE_SHARE)
            self._full_until = now + left / self._rate_hz - _PERIOD_SECONDS
        self._updated = now

    def close(self) -> None:
        """Stop the sound. The voice is not closed. May be called more than once."""
        if not self._is_closed:
            self._is_closed = True
            self._drop(time.monotonic())

    # ---- what OpenAL plays -------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Find the position of the sound, and end the sound if it has nothing more to play."""
        if self._ending is not None and (
            not self._plays(self._ending) or now - self._idle_since > _ENDING_SECONDS
        ):
            self._ending = None
        if self._sound is None:
            return
        # get_time() returns the time of the last update of the manager. After a long frame, this
        # time would be old, and the sound would get too little audio.
        self._manager.update()
        seconds = self._sound.get_time()
        left = self._pulled - self._played
        elapsed = (now - self._updated) * self._rate_hz
        if elapsed >= left:
            # Since the last update, the sound has had time to play all its audio. get_time() may
            # not show this, because Panda3D sets this time back after more than half a second.
            played = float(self._pulled)
        elif seconds == self._sound_seconds and not self._plays(self._sound):
            # There is no device, or the game has switched sounds off. The voice continues.
            played = self._played + elapsed
        else:
            played = self._sound_from + seconds * self._rate_hz
        self._sound_seconds = seconds
        self._played = min(max(played, self._played), float(self._pulled))
        done = int(self._played) - self._unplayed_from
        del self._unplayed[: done * 2]
        self._unplayed_from += done
        if self._played >= self._pulled:
            self._audio.done()
            self._ending, self._sound = self._sound, None
            self._idle_since = now
            self._is_dry = True

    def _plays(self, sound: Any) -> bool:
        return bool(sound.status() == self._core.AudioSound.PLAYING)

    def _heard_at(self, now: float) -> int:
        """Return how many frames of the voice were heard."""
        behind = self._latency_frames
        if self._sound is None:
            behind = max(0.0, behind - (now - self._idle_since) * self._rate_hz)
        self._heard = max(self._heard, int(self._played - behind))
        return self._heard

    # ---- feeding -----------------------------------------------------------------------------

    def _feed(self) -> None:
        if self._ending is not None:
            return
        pcm = self._next_audio()
        self._pulled += len(pcm) // 2
        self._unplayed += pcm
        if self._sound is None and self._unplayed:
            self._start()
        elif pcm:
            self._audio.append(pcm)
            # The game may have updated the manager in this frame already. Then OpenAL would get the
            # audio after the next frame, which may be long.
            self._manager.update()

    def _next_audio(self) -> bytes:
        """Return audio for the free part of the buffer. Return no audio if this part is small."""
        wanted = self._buffer_frames - (self._pulled - int(self._played))
        if wanted < self._buffer_frames * _FREE_SHARE:
            return b""
        available = round(self.voice.queued_ms * self._rate_hz / 1000)
        return self.voice.pull_audio(min(wanted, available)) if available else b""

    def _start(self) -> None:
        self.gaps += self._is_dry
        self._is_dry = False
        # With remove_after_read=False, Panda3D would end the process.
        self._audio = self._core.UserDataAudio(self._rate_hz, 1, True)
        self._audio.append(bytes(self._unplayed))
        self._sound = self._manager.get_sound(self._audio, self._positional)
        self._sound_from = self._played = float(self._unplayed_from)
        self._sound_seconds = 0.0
        self._placed = None
        self._place()
        self._sound.play()

    def _place(self) -> None:
        """Set the volume and the position of the sound, if they have changed."""
        self._changes = self.voice._changes  # noqa: SLF001 - not for users
        volume, position = self.voice.volume, self.voice.position
        if self._sound is None or self._placed == (volume, position):
            return
        self._placed = (volume, position)
        self._sound.set_volume(volume)
        if self._positional and position is not None:
            self._sound.set_3d_attributes(*position, 0.0, 0.0, 0.0)

    # ---- pause and interruption --------------------------------------------------------------

    def _stop(self, now: float) -> None:
        """Stop the sound. The next sound begins with the audio that was not played."""
        for sound in (self._sound, self._ending):
            if sound is not None:
                sound.stop()
        if self._sound is not None:
            self._idle_since = now
        self._sound = self._ending = None

    def _drop(self, now: float) -> None:
        """Stop the sound, and forget all audio that was not heard."""
        self._stop(now)
        self._is_dry = False
        self._unplayed.clear()
        self._unplayed_from = self._heard = self._pulled
        self._played = float(self._pulled)


class MorphMouth:
    """
    Move the morph sliders of an actor as the mouth of a voice moves.

    Call :meth:`update` in each frame, after the ``update`` of the voice.

    Args:
        actor: The actor whose sliders are moved.
        mouth: The mouth of a voice.
        shapes: The name of the set of shapes that the sliders of the model have, such as ``openxr``
            or ``arkit``; see :data:`~inworld_sync.games.SHAPE_SETS`.
        names: The name of the slider of each shape, if the model has other names. Shapes that the
            model does not have are left out.
        part: The part of the actor that has the sliders.

    Attributes:
        sliders: The names of the sliders that are moved.

    Raises:
        ConfigError: *shapes* is unknown, or the actor has none of the sliders.

    Thread safety: only the thread of the game may use this object.
    """

    def __init__(
        self,
        actor: Actor,
        mouth: Mouth,
        shapes: str = "openxr",
        *,
        names: Mapping[str, str] | None = None,
        part: str = "modelRoot",
    ) -> None:
        found = {joint.get_name() for joint in actor.get_joints(part)}
        wanted = {shape: (names or {}).get(shape, shape) for shape in mouth.weights(shapes)}
        sliders = {shape: slider for shape, slider in wanted.items() if slider in found}
        if not sliders:
            raise ConfigError(
                f"part {part!r} of the actor has none of the sliders "
                f"{', '.join(wanted.values())}; it has {', '.join(sorted(found)) or 'no sliders'}. "
                "Pass names= with the names of your sliders, or another set of shapes"
            )
        self.sliders: Final = tuple(sliders.values())
        self._mouth = mouth
        self._shapes = shapes
        # Only "sil" is not a shape that _shown() of the mouth returns.
        self._is_plain = shapes == "openxr" and "sil" not in sliders
        # The value of a slider is the x coordinate of a node. These nodes are not in the scene, so
        # that a change does not concern the nodes above. The states are made here, because a new
        # state in each frame would take longer.
        core = import_module("panda3d.core")
        make_state = core.TransformState.make_pos
        self._states = [make_state((level / _LEVELS, 0.0, 0.0)) for level in range(_LEVELS + 1)]
        self._nodes: dict[str, Any] = {}
        for shape, slider in sliders.items():
            self._nodes[shape] = core.PandaNode(slider)
            actor.control_joint(core.NodePath(self._nodes[shape]), part, slider)
        # The levels of the sliders that are not at 0.
        self._moved: dict[str, int] = {}

    def update(self) -> None:
        """Set each slider to the weight of its shape, 0 to 1, in steps of 1/256."""
        weights = (
            self._mouth._shown()  # noqa: SLF001 - not for users
            if self._is_plain
            else self._mouth.weights(self._shapes)
        )
        nodes, moved = self._nodes, {}
        for shape, weight in weights.items():
            level = round(weight * _LEVELS)
            if level and shape in nodes:
                moved[shape] = level
                if self._moved.pop(shape, 0) != level:
                    nodes[shape].set_transform(self._states[level])
        for shape in self._moved:
            nodes[shape].set_transform(self._states[0])
        self._moved = moved
