"""
Has the base class of all voices of a game. A voice has audio for the engine, words, a mouth, a
volume and a position.

Threads: the thread of the game calls every method. The engine may call the methods that read audio
on another thread. No method waits.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from inworld_sync.errors import ConfigError, InworldError
from inworld_sync.games.mouth import Mouth
from inworld_sync.games.output import HeardItem, SpeechOutput, ramped
from inworld_sync.games.spatial import Listener, Position, Rolloff, require_position, stereo_gains
from inworld_sync.games.spoken_words import SpokenWords
from inworld_sync.models.checks import require_finite, require_whole
from inworld_sync.models.tts import WordTime
from inworld_sync.sessions.event_stream import require_callable

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["GameVoice"]

_logger = logging.getLogger("inworld_sync")

_T = TypeVar("_T")

_MAX_LATENCY_MS = 60_000.0
_MAX_VOLUME = 4.0
_SAMPLE_BYTES = 2
# A minute at 48 kHz.
_MAX_READ_FRAMES = 2_880_000
_FADE_PATIENCE_SECONDS = 1.0


def require_range(name: str, value: float, least: float, most: float, unit: str = "") -> float:
    """Return a number; raise :class:`ConfigError` if it is out of its range."""
    require_finite(name, value)
    if not least <= value <= most:
        raise ConfigError(f"{name} must be {least:g} to {most:g}{unit}, got {value!r}")
    return float(value)


class GameVoice:
    """
    A voice of a game: the base class of `VoiceLine` and `Conversation`.

    The loop of the game calls :meth:`update` in each frame, and the engine reads audio with one of
    the methods for audio. These methods raise no error of the network, the service or the audio.
    Such an error ends the voice, and is in :attr:`error`. The methods raise an exception only for a
    wrong argument or a call in a wrong state.

    Attributes:
        mouth: The mouth shapes.
        volume: A factor for :meth:`gains` and :meth:`read_stereo`, 0 to 4.
        position: The position of the voice, for :meth:`gains`. None means that the voice has no
            position, such as the voice of a narrator.
        rolloff: How the voice becomes quieter with the distance.
        handler_errors: How many exceptions the handlers have raised. The first exception is logged.

    Thread safety: only the thread of the game may use this object, but the engine may read audio on
    another thread.
    """

    def __init__(self, sample_rate_hz: int, latency_ms: float) -> None:
        require_whole("sample_rate_hz", sample_rate_hz, 8000, 48000, " Hz")
        latency_ms = require_range("latency_ms", latency_ms, 0, _MAX_LATENCY_MS, " ms")
        self.mouth = Mouth()
        self._rolloff = Rolloff()
        self.handler_errors = 0
        self._volume = 1.0
        self._position: Position | None = None
        self._output = SpeechOutput(sample_rate_hz, latency_ms)
        self._words = SpokenWords(self._output)
        self._heard = HeardItem()
        self._on_word: list[Callable[[WordTime], object]] = []
        self._on_end: list[Callable[[], object]] = []
        self._calls: deque[Callable[[], object]] = deque()
        self._has_ended = False
        self._is_paused = False
        self._time_scale = 1.0
        self._gains: tuple[float, float] | None = None
        # How often the game has changed the volume, the position, the rolloff or the pause. An
        # adapter compares this number in each frame, because to read all of them takes longer.
        self._changes = 0
        # Seconds until a fade counts as complete, even if the engine reads no more audio.
        self._fade_seconds: float | None = None

    # ---- state -------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """The state as a word; see the subclass."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether the voice has ended, and all its audio was heard or dropped."""
        raise NotImplementedError

    @property
    def error(self) -> InworldError | None:
        """The error that ended the voice, or None."""
        raise NotImplementedError

    @property
    def sample_rate_hz(self) -> int:
        """Samples per second of the audio."""
        return self._output.sample_rate_hz

    @property
    def latency_ms(self) -> float:
        """The time in milliseconds from the read of a sample until the sample is heard."""
        return self._output.latency_ms

    @latency_ms.setter
    def latency_ms(self, value: float) -> None:
        self._output.latency_ms = require_range("latency_ms", value, 0, _MAX_LATENCY_MS, " ms")

    @property
    def is_speaking(self) -> bool:
        """Whether speech is heard now."""
        return self._output.is_speaking

    @property
    def queued_ms(self) -> float:
        """How many milliseconds of speech have arrived that the engine has not read."""
        return self._output.queued_ms

    @property
    def is_incomplete(self) -> bool:
        """Whether the engine has read the beginning of an item of speech, but not its end."""
        return self._output.is_incomplete

    @property
    def drops(self) -> int:
        """
        How many times the voice dropped speech that the engine had read, but not yet played.

        When this number increases, an engine that queues audio must stop its channel, so that the
        queued audio is not heard.
        """
        return self._output.drops

    @property
    def starved_frames(self) -> int:
        """How many frames of silence were read inside speech, because audio was missing."""
        return self._output.starved_frames

    # ---- the loop of the game ----------------------------------------------------------------

    def update(self, dt: float, budget_ms: float = 1.0) -> int:
        """
        Handle what has arrived, call handlers, and move the mouth. Call this once in each frame.

        Args:
            dt: Real seconds since the last call, not scaled by the time scale of the game.
            budget_ms: After this many milliseconds, no further event or handler is started. The
                rest is done in the next frame.

        Returns:
            How many events and handlers were processed.

        Raises:
            ConfigError: *dt* or *budget_ms* is negative or not a number.
        """
        if type(dt) is not float or not 0.0 <= dt < math.inf:
            require_range("dt", dt, 0, math.inf)
        if type(budget_ms) is not float or not 0.0 <= budget_ms < math.inf:
            require_range("budget_ms", budget_ms, 0, math.inf)
        until = time.perf_counter() + budget_ms / 1000.0
        processed = 0
        output, heard = self._output, self._heard
        while self._handle_next():
            processed += 1
            output.steady_seconds = 0.0
            if time.perf_counter() >= until:
                break
        if dt < output.steady_seconds and heard.track is not None:
            # In most frames, only the position in the speech changes.
            output.steady_seconds -= dt
            output.late_seconds += dt
            heard.heard_ms = heard.position_ms = heard.position_ms + dt * heard.ms_per_second
            self.mouth._follow(heard.track, heard.position_ms)  # noqa: SLF001 - not for users
            return processed
        if self._fade_seconds is not None:
            self._fade_seconds -= dt
            if not self._output.is_fading:  # the speech was stopped before the end of the fade
                self._fade_seconds = None
            elif self._output.has_faded or self._fade_seconds <= 0.0:
                self._fade_seconds = None
                self.cancel()
        self._heard = heard = output.advance(dt)
        for word in self._words.reach(heard):
            self._calls.extend(self._call_of(handler, word) for handler in self._on_word)
        if heard.track is not None:
            self.mouth._follow(heard.track, heard.position_ms)  # noqa: SLF001
            quiet_ms = self._words.quiet_until_ms - heard.heard_ms
            if quiet_ms < output.steady_seconds * heard.ms_per_second:
                output.steady_seconds = quiet_ms / heard.ms_per_second
        else:
            self.mouth._close(dt * 1000.0)  # noqa: SLF001
        if self._after_update() and not self._has_ended:
            self._has_ended = True
            self._calls.extend(self._on_end)
        while self._calls:
            self._run(self._calls.popleft())
            processed += 1
            if time.perf_counter() >= until:
                break
        if self._calls or self._fade_seconds is not None:
            output.steady_seconds = 0.0
        return processed

    def on_word(self, handler: Callable[[WordTime], object]) -> Callable[[WordTime], object]:
        """
        Call *handler* inside :meth:`update` with each word when the word is heard.

        Returns:
            *handler*.
        """
        require_callable(handler, "handler")
        self._on_word.append(handler)
        return handler

    def on_end(self, handler: Callable[[], object]) -> Callable[[], object]:
        """
        Call *handler* inside :meth:`update`, once, without arguments, when :attr:`is_over` is True.

        Returns:
            *handler*.
        """
        require_callable(handler, "handler")
        self._on_end.append(handler)
        return handler

    @property
    def heard_ms(self) -> float:
        """How many milliseconds of the present item of speech were heard."""
        return max(0.0, self._heard.position_ms)

    @property
    def word(self) -> WordTime | None:
        """The word that is heard now; None between words."""
        return self._words.at(self._heard)

    @property
    def heard_text(self) -> str:
        """The text of the present item of speech up to the last word that was heard."""
        return self._words.text(self._heard)

    # ---- audio for the engine ----------------------------------------------------------------

    def read_audio(self, frames: int) -> bytes:
        """
        Return the next frames of audio, with silence where there is no speech. Never waits.

        This method is for a mixer that needs a block at a fixed rate, such as in a callback.

        Args:
            frames: The number of samples, 0 to 2880000.

        Returns:
            ``2 * frames`` bytes of 16-bit little-endian mono PCM.
        """
        require_whole("frames", frames, 0, _MAX_READ_FRAMES)
        out = bytearray(frames * _SAMPLE_BYTES)
        if frames:
            self._output.read(out, only_speech=False)
        return bytes(out)

    def pull_audio(self, frames: int) -> bytes:
        """
        Return the next frames if there is speech to play now. Never waits.

        This method is for a mixer that queues blocks, and that needs no blocks of silence.

        Returns:
            ``2 * frames`` bytes of 16-bit little-endian mono PCM; empty if there is no speech.
        """
        require_whole("frames", frames, 0, _MAX_READ_FRAMES)
        out = bytearray(frames * _SAMPLE_BYTES)
        return bytes(out) if frames and self._output.read(out, only_speech=True) else b""

    def read_into(self, buffer: bytearray | memoryview) -> int:
        """
        Fill a buffer as :meth:`read_audio` does, and return how many frames are speech.

        Raises:
            ConfigError: The buffer is not writable, or does not have whole samples.
        """
        try:
            out = memoryview(buffer)
        except TypeError:
            out = memoryview(b"")
        if out.readonly or not out.contiguous or out.nbytes % _SAMPLE_BYTES:
            raise ConfigError("buffer must be writable and have whole 16-bit samples")
        return self._output.read(out.cast("B"), only_speech=False) if out.nbytes else 0

    def read_stereo(self, frames: int, listener: Listener | None = None) -> bytes:
        """
        Return the next frames as stereo, with :meth:`gains` applied. Never waits.

        A change of the gains is spread over the block, so that no click is heard.

        Args:
            frames: The number of frames, 0 to 2880000.
            listener: The listener; None ignores the position of the voice.

        Returns:
            ``4 * frames`` bytes of 16-bit little-endian PCM, interleaved.
        """
        mono = self.read_audio(frames)
        gains = self.gains(listener)
        before = self._gains or gains
        self._gains = gains
        out = bytearray(2 * len(mono))
        view = memoryview(out).cast("H")
        for channel in (0, 1):
            scaled = ramped(mono, before[channel], gains[channel])
            view[channel::2] = memoryview(scaled).cast("H")
        view.release()
        return bytes(out)

    def report_heard(self, frames: int) -> None:
        """
        Set the number of frames that the device has played or dropped since the first read.

        Without reports, the position is estimated from the reads, :attr:`latency_ms` and *dt*. With
        reports, the position is the last report, plus the time since this report.

        Args:
            frames: The number of frames. Frames of silence count too.
        """
        require_whole("frames", frames, 0)
        self._output.report_heard(frames)

    # ---- volume and position -----------------------------------------------------------------

    @property
    def volume(self) -> float:
        """A factor for the amplitude, 0 to 4; 1 by default."""
        return self._volume

    @volume.setter
    def volume(self, value: float) -> None:
        self._volume = require_range("volume", value, 0, _MAX_VOLUME)
        self._changes += 1

    @property
    def position(self) -> Position | None:
        """The position of the voice in the game; None means no position."""
        return self._position

    @position.setter
    def position(self, value: Iterable[float] | None) -> None:
        self._position = None if value is None else require_position("position", value)
        self._changes += 1

    @property
    def rolloff(self) -> Rolloff:
        """How the voice becomes quieter with the distance."""
        return self._rolloff

    @rolloff.setter
    def rolloff(self, value: Rolloff) -> None:
        if not isinstance(value, Rolloff):
            raise ConfigError(f"rolloff must be a Rolloff, got {type(value).__name__}")
        self._rolloff = value
        self._changes += 1

    def gains(self, listener: Listener | None = None) -> tuple[float, float]:
        """
        Return the factors for the left and the right channel. They depend on the volume, the
        distance and the direction.

        A voice without a position, or without a listener, has its volume in both channels.
        """
        if listener is None or self._position is None:
            return self._volume, self._volume
        return stereo_gains(self._position, listener, self._rolloff, self._volume)

    # ---- pause, fade, end --------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """Whether the voice is paused, by :meth:`pause` or a time scale of 0."""
        return self._is_paused or self._time_scale == 0.0

    def pause(self) -> None:
        """Stop speaking until :meth:`resume`. Audio that arrives meanwhile is kept."""
        self._is_paused = True
        self._set_paused()

    def resume(self) -> None:
        """Continue after :meth:`pause`."""
        self._is_paused = False
        self._set_paused()

    @property
    def time_scale(self) -> float:
        """
        The time scale of the game, 0 or more.

        0 pauses the voice. With any other value, speech keeps its normal speed and pitch.
        """
        return self._time_scale

    @time_scale.setter
    def time_scale(self, value: float) -> None:
        self._time_scale = require_range("time_scale", value, 0, 1e6)
        self._set_paused()

    def fade_out(self, duration_ms: float = 300.0) -> None:
        """
        Reduce the volume to 0, and then call :meth:`cancel`. Use this at the end of a scene.

        Args:
            duration_ms: The length of the fade, 0 to 60000 ms.
        """
        require_range("duration_ms", duration_ms, 0, 60_000, " ms")
        if duration_ms == 0 or self.is_paused or not self._output.has_speech:
            self.cancel()
            return
        self._output.fade_out(duration_ms)
        self._fade_seconds = duration_ms / 1000.0 + _FADE_PATIENCE_SECONDS

    @property
    def is_fading(self) -> bool:
        """Whether :meth:`fade_out` was called, and the fade has not ended."""
        return self._fade_seconds is not None

    def cancel(self) -> None:
        """Stop speaking at once."""
        raise NotImplementedError

    def close(self) -> None:
        """End the voice, and return at once. May be called twice."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> Any:
        raise TypeError(
            f"a {type(self).__name__} cannot be saved or copied: it has threads and a connection. "
            "Save the text of the line, and make a new voice when the game is loaded"
        )

    @property
    def _is_done(self) -> bool:
        """Whether the voice is over, and all handlers were called."""
        return self.is_over and self._has_ended and not self._calls

    # ---- for subclasses ----------------------------------------------------------------------

    def _handle_next(self) -> bool:
        """Handle one event that has arrived; return False if there is none."""
        raise NotImplementedError

    def _after_update(self) -> bool:
        """Change the state after the position has moved. Return :attr:`is_over`."""
        return self.is_over

    def _set_paused(self) -> None:
        self._output.pause(is_paused=self.is_paused)
        self._changes += 1

    def _call_of(self, handler: Callable[[_T], object], value: _T) -> Callable[[], object]:
        return lambda: handler(value)

    def _run(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            self.handler_errors += 1
            if self.handler_errors == 1:
                _logger.exception("a handler of %r raised; later errors are only counted", self)
