"""
Plays a voice on a channel of pygame's mixer.

A channel plays one sound, and its queue has one more sound. :class:`VoiceChannel` refills the queue
in each frame of the game. So speech has no gaps if each frame is shorter than such a sound, which
is called a chunk::

    voice ─ pull_audio ─ Resampler ─ MixerFormat ─ Sound ─ queue ─ channel ─ mixer
      └──── report_heard ──── the sound that the channel plays, and the time since its start
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

import attrs

from inworld_sync.audio.resample import Resampler
from inworld_sync.errors import ConfigError
from inworld_sync.games.mixer_format import Gains, MixerFormat
from inworld_sync.games.spatial import Listener
from inworld_sync.games.voice import GameVoice, require_range
from inworld_sync.models.checks import require_whole

if TYPE_CHECKING:
    from types import ModuleType

    import pygame

__all__ = ["VoiceChannel"]

FADE_MS: Final = 20

# A chunk that is shorter than usual is queued only if the mixer has less audio left than this share
# of a chunk.
_LATE_SHARE = 2 / 3

# In the middle of speech, the resampler is ended only if the mixer has less audio left than this,
# because the end of a resampler can be heard.
_REST_SECONDS = 0.05

# While a chunk plays and another one waits, the mixer is asked for the present sound only when the
# chunk has less audio left than this.
_LOOK_SECONDS = 0.03

# At least this many channels are left for other sounds. A mixer has this many channels by default.
_OTHER_CHANNELS = 8

# If a sound should have ended this long ago, and the channel is not busy, the sound counts as
# ended.
_LOST_SECONDS = 1.0

_SILENCE_BYTES = 256


@attrs.frozen(eq=False)
class _Chunk:
    """
    A sound in the mixer.

    Attributes:
        sound: The sound.
        seconds: The length of the sound.
        start: The position of the first frame, counted in the frames that the voice has returned.
        end: The position after the last frame.
    """

    sound: pygame.mixer.Sound
    seconds: float
    start: int
    end: int


class VoiceChannel:
    """
    Play a voice on a channel of pygame's mixer, without gaps.

    Call :meth:`update` in each frame, after the ``update`` of the voice. This method never
    waits. The audio is converted to the sample rate, the channels and the sample format of the
    mixer.

    If the voice is cancelled or interrupted, the next :meth:`update` fades out the sound in 20 ms.
    The buffer of the mixer (12 ms by default) is added to this time.

    Args:
        voice: The voice. It may be started before or after this object is made.
        channel: The number of a channel that the caller has reserved. None reserves the first
            channel that no voice uses and that plays nothing.
        listener: The listener, for a voice with a position. A change of the volume or the distance
            is heard at once. A change of the direction is heard when the next chunk begins.
        chunk_ms: The length of a chunk, 40 to 1000 ms. A chunk must be longer than the longest
            frame of the game. At most two chunks wait in the mixer.
        latency_ms: The time from the mixer to the loudspeaker, 0 to 1000 ms. The mouth and the
            words are delayed by this time.
        clock: Returns the present time in seconds, as ``time.monotonic`` does.

    Attributes:
        voice: The voice.
        listener: The listener. It may be set at any time.
        channel: The number of the channel.
        gaps: How often the channel had nothing to play because the next audio of the speech came
            too late.

    Raises:
        ConfigError: A value is out of range, the mixer is not initialized, or no channel is free.
        ImportError: pygame is not installed.

    Thread safety: only the thread of the game may use this object.
    """

    def __init__(
        self,
        voice: GameVoice,
        *,
        channel: int | None = None,
        listener: Listener | None = None,
        chunk_ms: float = 150.0,
        latency_ms: float = 25.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(voice, GameVoice):
            raise ConfigError(
                f"voice must be a VoiceLine or a Conversation, got {type(voice).__name__}"
            )
        if listener is not None and not isinstance(listener, Listener):
            raise ConfigError(f"listener must be a Listener or None, got {type(listener).__name__}")
        if channel is not None:
            require_whole("channel", channel, 0)
        require_range("chunk_ms", chunk_ms, 40, 1000, " ms")
        require_range("latency_ms", latency_ms, 0, 1000, " ms")
        try:
            import pygame.mixer
        except ImportError as error:
            raise ImportError(
                "VoiceChannel() needs pygame-ce: pip install 'inworld-sync[pygame]'",
                name="pygame",
            ) from error
        self._mixer = pygame.mixer
        if self._mixer.get_init() is None:
            raise ConfigError("the mixer is not initialized: call pygame.mixer.init() first")
        self.voice: Final = voice
        self.listener = listener or Listener()
        self.channel: Final = _choose(self._mixer, channel)
        self.gaps = 0
        self._clock = clock
        self._chunk_seconds = chunk_ms / 1000
        self._late_seconds = self._chunk_seconds * _LATE_SHARE
        self._chunk_frames = round(voice.sample_rate_hz * self._chunk_seconds)
        self._latency_frames = voice.sample_rate_hz * latency_ms / 1000
        self._drops = voice.drops
        self._is_paused = False
        self._is_fading = False
        self._is_closed = False

        # Chunks that the mixer has not finished, and the time at which the first of them began.
        self._chunks: deque[_Chunk] = deque()
        self._began = 0.0
        # The times at which update() has last asked the mixer, and at which it was last called.
        self._updated = self._called = clock()
        # The time at which the channel has become idle.
        self._idle_since = self._updated
        # Until this time, the first chunk plays and the queue of the channel is full.
        self._full_until = 0.0
        # The position at which the channel has begun to play after it was idle.
        self._resumed_from = 0
        self._heard = 0
        # How many frames the voice has returned, and how many of these frames are in chunks so far.
        self._pulled = self._queued = 0
        # Whether the channel has nothing to play in the middle of speech.
        self._is_dry = False
        self._resampler: Resampler | None = None
        # The position at which the resampler began, in frames of the voice, and how many frames the
        # resampler has returned.
        self._resampled_from = self._resampled = 0
        self._paused_at = 0.0
        # The value of _changes of the voice, and the listener, when the volume was set.
        self._changes = -1
        self._heard_by = self.listener
        # The volume of the channel, the factors for the samples of the next chunk, and the factors
        # at the end of the last chunk.
        self._gains: Gains | None = None
        self._volume = 1.0
        self._sample_gains: Gains = (1.0, 1.0)
        self._queued_gains: Gains = (1.0, 1.0)
        self._open_format()
        # The channel may still play the sound of another voice.
        self._is_fading = self._channel.get_sound() is not None
        _taken[self.channel] = self

    def update(self) -> None:
        """
        Report what was heard, refill the queue of the channel, and set its volume.

        While the queue is full, only the volume is set. Does nothing after :meth:`close`, and while
        the mixer is not initialized.
        """
        if self._is_closed:
            return
        now, voice = self._clock(), self.voice
        if now < self._full_until and voice.drops == self._drops:
            # There is nothing to refill, and the voice counts the time since the last report.
            is_unchanged = voice._changes == self._changes  # noqa: SLF001 - not for users
            if is_unchanged and self.listener is self._heard_by:
                self._called = now
                return
            if not voice.is_paused:
                if self._is_mixer_ready():
                    self._set_volume()
                self._called = now
                return
        if not self._is_mixer_ready():
            return
        if self.voice.drops != self._drops:
            self._drops = self.voice.drops
            self._drop()
        self._set_paused(now)
        if self._is_paused:
            self.voice.report_heard(self._heard)
        else:
            self._advance(now)
            self.voice.report_heard(self._heard_at(now))
            self._is_dry = not self._chunks and self.voice.is_incomplete
            self._set_volume()
            self._fill(now)
        self._full_until = 0.0
        # Before the latency has passed, the voice must not count the time since the last report.
        if len(self._chunks) == 2 and not self._is_paused and self._heard > self._resumed_from:
            self._full_until = self._began + self._chunks[0].seconds - _LOOK_SECONDS
        self._updated = self._called = now

    def close(self) -> None:
        """
        Stop the sound with a fade and release the channel. The voice is not closed.

        May be called more than once.
        """
        if self._is_closed:
            return
        self._is_closed = True
        # A mixer that was opened again may have fewer channels; see _is_mixer_ready().
        if self._mixer.get_init() is not None and self.channel < self._mixer.get_num_channels():
            self._drop()
        if _taken.get(self.channel) is self:
            del _taken[self.channel]

    # ---- what the mixer plays ----------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Remove the chunks that the mixer has finished."""
        sound, has_begun_now = self._find_sound(now)
        while self._chunks and self._chunks[0].sound is not sound:
            chunk = self._chunks.popleft()
            # Chunks follow each other without a gap. So the end of a chunk is its start plus its
            # length, which is more exact than the time of this frame. The end is after the last
            # update, because the chunk was still playing at the last update.
            self._began = min(max(self._began + chunk.seconds, self._updated), now)
            if not self._chunks:
                self._idle_since = self._began
        if has_begun_now:
            self._began = now

    def _find_sound(self, now: float) -> tuple[pygame.mixer.Sound | None, bool]:
        """
        Return the sound that the channel plays, and whether this sound has just begun.

        While the mixer waits for the GIL to begin the next sound, get_busy() is False. So
        get_busy() alone does not show that a sound has ended.

        pygame has two races at the end of a sound. First: the queue is empty at the end of a sound,
        and queue() is called while the mixer waits for the GIL. Then the new sound is never played.
        Second: a sound has ended before queue() or play() returns. Then get_sound() returns this
        sound for ever.
        """
        sound, waiting = self._channel.get_sound(), self._channel.get_queue()
        if sound is not None and not self._channel.get_busy() and self._chunks:
            late_seconds = now - self._began - self._chunks[0].seconds
            if late_seconds > _LOST_SECONDS:
                sound = None
        if sound is None and waiting is not None:
            self._channel.play(waiting)
            return waiting, True
        return sound, False

    def _heard_at(self, now: float) -> int:
        """Return how many frames of the voice were heard."""
        mixed = float(self._queued)
        behind = self._latency_frames
        if self._chunks:
            chunk = self._chunks[0]
            share = min((now - self._began) / chunk.seconds, 1.0)
            mixed = chunk.start + share * (chunk.end - chunk.start)
        else:
            behind = max(0.0, behind - (now - self._idle_since) * self.voice.sample_rate_hz)
        self._heard = max(self._heard, round(mixed - behind))
        return self._heard

    def _left_seconds(self, now: float) -> float:
        """Return how many seconds of audio are left in the mixer."""
        if not self._chunks:
            return 0.0
        return max(0.0, self._began + sum(each.seconds for each in self._chunks) - now)

    # ---- refilling ---------------------------------------------------------------------------

    def _fill(self, now: float) -> None:
        """Queue one more chunk. A second chunk waits for the next frame, to keep this one short."""
        if self._is_fading:
            self._is_fading = self._channel.get_sound() is not None
        if len(self._chunks) < 2 and not self._is_fading:
            samples, end = self._next_samples(self._left_seconds(now))
            if samples:
                self._queue(samples, end, now)

    def _next_samples(self, left_seconds: float) -> tuple[bytes, int]:
        """
        Return the next samples at the rate of the mixer, and the position after the last sample.

        Args:
            left_seconds: How many seconds of audio are left in the mixer. While enough audio is
                left, a chunk that is not complete is not returned.
        """
        voice_hz, mixer_hz = self.voice.sample_rate_hz, self._format.sample_rate_hz
        while True:
            available = round(self.voice.queued_ms * voice_hz / 1000)
            if available < self._chunk_frames and left_seconds > self._late_seconds:
                return b"", 0
            pcm = self.voice.pull_audio(min(available, self._chunk_frames)) if available else b""
            if not pcm:
                return self._rest(left_seconds)
            if self._resampler is None:
                self._resampler = Resampler(voice_hz, mixer_hz)
                self._resampled_from, self._resampled = self._pulled, 0
            self._pulled += len(pcm) // 2
            samples = self._resampler.feed(pcm)
            self._resampled += len(samples) // 2
            if samples:
                end = self._resampled_from + self._resampled * voice_hz // mixer_hz
                return samples, min(end, self._pulled)

    def _rest(self, left_seconds: float) -> tuple[bytes, int]:
        """Return the last samples of the resampler, if the speech has ended or is late."""
        may_wait = left_seconds > _REST_SECONDS and self.voice.is_incomplete
        if self._resampler is None or may_wait:
            return b"", 0
        samples, self._resampler = self._resampler.finish(), None
        if not samples:
            self._queued = self._pulled
        return samples, self._pulled

    def _queue(self, samples: bytes, end: int, now: float) -> None:
        if not self._chunks:
            self.gaps += self._is_dry
            self._is_dry = False
            self._began = now
            self._resumed_from = self._queued
            self._queued_gains = self._sample_gains
            # A fade may have changed the volume.
            self._channel.set_volume(self._volume)
        encoded = self._format.encode(samples, self._queued_gains, self._sample_gains)
        self._queued_gains = self._sample_gains
        sound = self._mixer.Sound(buffer=encoded)
        # If the channel is idle, the sound begins at once.
        self._channel.queue(sound)
        seconds = len(samples) / 2 / self._format.sample_rate_hz
        self._chunks.append(_Chunk(sound, seconds, self._queued, end))
        self._queued = end

    # ---- volume, pause and interruption ------------------------------------------------------

    def _set_volume(self) -> None:
        """
        Set the volume of the channel, and the factors for the samples of the next chunk.

        The volume of a channel is at most 1, and the panning of a channel ends with each sound. So
        the factors for the samples contain the panning, and a volume above 1.
        """
        self._changes = self.voice._changes  # noqa: SLF001
        self._heard_by = self.listener
        gains = self.voice.gains(self.listener)
        if gains == self._gains:
            return
        self._gains = gains
        left, right = gains
        if self._format.channels == 1:
            left = right = math.sqrt((left * left + right * right) / 2)
        volume = min(max(left, right), 1.0)
        self._sample_gains = (left / volume, right / volume) if volume else (1.0, 1.0)
        if volume != self._volume:
            self._volume = volume
            self._channel.set_volume(volume)

    def _set_paused(self, now: float) -> None:
        if self.voice.is_paused == self._is_paused:
            return
        self._is_paused = self.voice.is_paused
        if self._is_paused:
            self._heard_at(self._called)
            self._advance(now)
            self._channel.pause()
            self._paused_at = now
        else:
            self._channel.unpause()
            self._began += now - self._paused_at
            self._updated = now

    def _drop(self) -> None:
        """End the sound that is playing, and forget all audio that was not heard."""
        if self._channel.get_sound() is not None:
            # Replace the sound in the queue, because it would begin when the present sound ends.
            self._channel.queue(self._silence)
            if self._is_paused:
                self._channel.stop()
            else:
                self._channel.fadeout(FADE_MS)
                self._is_fading = True
        self._forget()

    def _forget(self) -> None:
        self._chunks.clear()
        self._full_until = 0.0
        self._resampler = None
        self._heard = self._queued = self._pulled

    # ---- the mixer ---------------------------------------------------------------------------

    def _open_format(self) -> None:
        """Read the format of the mixer, which the game has just opened."""
        opened = self._mixer.get_init()
        assert opened is not None
        self._opened: tuple[int, int, int] | None = opened
        self._format = MixerFormat(*opened)
        self._gains = None
        _reserve(self._mixer)
        if self.channel >= self._mixer.get_num_channels():
            self._mixer.set_num_channels(self.channel + 1)
        self._channel = self._mixer.Channel(self.channel)
        self._silence = self._mixer.Sound(buffer=self._format.encode(bytes(_SILENCE_BYTES)))
        # Import the libraries of the resampler now, instead of in the loop of the game.
        Resampler(self.voice.sample_rate_hz, self._format.sample_rate_hz).feed(bytes(2))

    def _is_mixer_ready(self) -> bool:
        """Return whether the mixer is open. The game may close it and open it again."""
        opened = self._mixer.get_init()
        if opened is None:
            self._opened = None
            return False
        # A mixer that was opened again may have fewer channels, and pygame does not check whether a
        # channel exists.
        count = self._mixer.get_num_channels()
        if opened != self._opened or self.channel >= count:
            self._forget()
            self._open_format()
        elif count < _needed_channels():
            _reserve(self._mixer)
        return True


# The voices that play now, by channel, and the channels that this module has reserved.
_taken: WeakValueDictionary[int, VoiceChannel] = WeakValueDictionary()
_reserved: set[int] = set()


def _choose(mixer: ModuleType, channel: int | None) -> int:
    """Return the channel for a voice."""
    count = mixer.get_num_channels()
    if channel is None:
        channel = 0
        while channel in _taken or (channel < count and mixer.Channel(channel).get_busy()):
            channel += 1
        _reserved.add(channel)
    elif not 0 <= channel < count:
        raise ConfigError(f"channel must be 0 to {count - 1}, got {channel!r}")
    elif channel in _taken:
        raise ConfigError(f"channel {channel} plays another voice: close() its VoiceChannel first")
    return channel


def _needed_channels() -> int:
    """Return how many channels the mixer needs for voices and other sounds."""
    return max(_reserved) + 1 + _OTHER_CHANNELS if _reserved else 0


def _reserve(mixer: ModuleType) -> None:
    """Reserve the channels again, because a newly opened mixer has no reserved channels."""
    if _reserved:
        needed = _needed_channels()
        if mixer.get_num_channels() < needed:
            mixer.set_num_channels(needed)
        mixer.set_reserved(needed - _OTHER_CHANNELS)
