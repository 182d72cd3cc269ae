"""
Plays several playouts on one device, such as a voice, a backchannel and short signals.

Each playout keeps its own items, marks, positions and clears. The mixer multiplies the audio of
each playout by its gain and adds the results. It attenuates a playout while another playout with a
higher priority plays.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple

from inworld_sync._native import ffi, lib
from inworld_sync.audio._arguments import require_number, require_time_ns
from inworld_sync.audio._playout_config import FORMATS, SampleFormat, check_range, choose
from inworld_sync.audio._pulled import Pulled
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.track import Track
from inworld_sync.errors import ConfigError, LocalProtocolError
from inworld_sync.models.checks import require_whole

if TYPE_CHECKING:
    from inworld_sync._native._core import CData

__all__ = ["Mixer"]

# remove() waits at most this many seconds for the end of a read. A read takes microseconds.
_TURN_TIMEOUT: Final = 1.0
_TURN_LOOK: Final = 0.001
_GAIN_MOST: Final = 4.0
_PRIORITY_MOST: Final = 1000
_DUCK_DB_MOST: Final = 100.0


class _Voice(NamedTuple):
    place: int
    track: Track
    gain: float
    duck_db: float
    priority: int


class Mixer(Pulled):
    """
    Adds up to eight playouts.

    Args:
        sample_rate_hz: The sample rate of the playouts and of the output, 8000 to 48000.
        channels: The number of channels of the playouts and of the output, 1 or 2.
        output_format: The sample format of the mixer's output, ``s16`` or ``f32``. Sums beyond full
            scale are clipped. The output of the playouts must be ``f32``.
        attack_ms: The time in which the gain of a playout decreases, 1 to 10000.
        release_ms: The time in which the gain of a playout increases, 1 to 10000.
        hold_ms: How long a playout may pause before the attenuation of the other playouts ends, 0
            to 10000.

    Attributes:
        sample_rate_hz: Samples per second of each channel.
        channels: Samples per frame.

    Raises:
        ConfigError: An argument is out of range.
        ClosedError: Raised by every method except :meth:`close` after the mixer was closed.

    Thread safety:
        One thread at a time, or a device, may call :meth:`read`. Any thread may call all other
        methods at any time.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        channels: int = 1,
        *,
        output_format: SampleFormat = "s16",
        attack_ms: int = 30,
        release_ms: int = 300,
        hold_ms: int = 250,
    ) -> None:
        config = {
            "sample_rate_hz": check_range("sample_rate_hz", sample_rate_hz, 8000, 48000),
            "channels": check_range("channels", channels, 1, 2),
            "output_format": choose("output_format", output_format, FORMATS),
            "attack_ms": check_range("attack_ms", attack_ms, 1, 10_000),
            "release_ms": check_range("release_ms", release_ms, 1, 10_000),
            "hold_ms": check_range("hold_ms", hold_ms, 0, 10_000),
        }
        super().__init__("mixer", config, output_format)
        self._voices: dict[Playout, _Voice] = {}
        # If a mixer is garbage-collected without close(), its playouts must not stay attached.
        weakref.finalize(self, _detach_all, self._voices).atexit = False

    def add(
        self, playout: Playout, *, gain: float = 1.0, duck_db: float = 0.0, priority: int = 0
    ) -> Track:
        """
        Add a playout. The mixer reads the playout from now on.

        Args:
            playout: A playout with the mixer's sample rate and channels, and ``f32`` output.
            gain: The factor by which the amplitude is multiplied, 0 to 4.
            duck_db: By how many decibels this playout is attenuated while a playout with a higher
                priority plays, and for *hold_ms* after that; 0 to 100.
            priority: 0 to 1000, for example 1 for a voice and 0 for its backchannel.

        Returns:
            A track, which counts how much of the playout was heard.

        Raises:
            ConfigError: The playout has another format, or a number is out of range.
            LocalProtocolError: The mixer has eight playouts already, or another reader reads
                *playout*.
        """
        if not isinstance(playout, Playout):
            raise ConfigError(f"playout must be a Playout, got {type(playout).__name__}")
        if (playout.sample_rate_hz, playout.channels, playout.output_format) != (
            self.sample_rate_hz,
            self.channels,
            "f32",
        ):
            raise ConfigError(
                f"the playout must have f32 output at {self.sample_rate_hz} Hz with "
                f"{self.channels} channels like the mixer, got {playout.output_format} at "
                f"{playout.sample_rate_hz} Hz with {playout.channels}"
            )
        with self._control:
            core = self._open()
            taken = {voice.place for voice in self._voices.values()}
            place = next((n for n in range(lib.IW_MIXER_VOICES) if n not in taken), None)
            if place is None:
                raise LocalProtocolError(
                    f"the mixer has {len(taken)} playouts already: remove one of them first"
                )
            voice = _Voice(place, Track(self.sample_rate_hz), gain, duck_db, priority)
            self._adjust(voice)
            _, address = playout.attach()
            self._voices[playout] = voice
            pointer = ffi.cast("struct iw_playout *", address)
            lib.iw_mixer_set(core, place, pointer, voice.track.pointer)
        return voice.track

    def adjust(
        self,
        playout: Playout,
        *,
        gain: float | None = None,
        duck_db: float | None = None,
        priority: int | None = None,
    ) -> None:
        """
        Change gain, attenuation or priority of a playout; see :meth:`add`.

        The gain changes in a ramp, not in a step.

        Args:
            playout: A playout of this mixer.
            gain: The new gain; None keeps the current gain.
            duck_db: The new attenuation; None keeps the current attenuation.
            priority: The new priority; None keeps the current priority.

        Raises:
            ConfigError: A number is out of range.
            LocalProtocolError: The mixer does not have this playout.
        """
        with self._control:
            self._open()
            voice = self._voice_of(playout)
            changed = voice._replace(
                gain=voice.gain if gain is None else gain,
                duck_db=voice.duck_db if duck_db is None else duck_db,
                priority=voice.priority if priority is None else priority,
            )
            self._adjust(changed)
            self._voices[playout] = changed

    def remove(self, playout: Playout) -> None:
        """
        Remove a playout. Another reader may then read the audio that is still in the playout.

        If the playout is playing, clear it first. Without the clear, the audio stops without a
        fade.

        Raises:
            LocalProtocolError: The mixer does not have this playout.
        """
        with self._control:
            core = self._open()
            lib.iw_mixer_set(core, self._voice_of(playout).place, ffi.NULL, ffi.NULL)
            self._wait_for_turn(core)
            del self._voices[playout]
            playout.detach()

    def unheard_frames(self, now_ns: int | None = None) -> int:
        """
        Count the frames of each playout that were read but not heard yet, and return the largest
        count.
        """
        require_time_ns(now_ns)
        with self._control:
            tracks = [voice.track for voice in self._voices.values()]
        heard = [track.taken_frames - track.heard_frames(now_ns) for track in tracks]
        return max(heard, default=0)

    # ---- inside ------------------------------------------------------------------------------

    def _let_go(self) -> None:
        _detach_all(self._voices)

    def _voice_of(self, playout: Playout) -> _Voice:
        if not isinstance(playout, Playout) or playout not in self._voices:
            raise LocalProtocolError(f"the mixer does not have {playout!r}: add it first")
        return self._voices[playout]

    def _adjust(self, voice: _Voice) -> None:
        require_number("gain", voice.gain, 0, _GAIN_MOST)
        require_number("duck_db", voice.duck_db, 0, _DUCK_DB_MOST)
        require_whole("priority", voice.priority, 0, _PRIORITY_MOST)
        ducked_gain = 10 ** (-voice.duck_db / 20)
        lib.iw_mixer_adjust(self._open(), voice.place, voice.gain, ducked_gain, voice.priority)

    def _wait_for_turn(self, core: CData) -> None:
        """Wait for the end of a read that may still use the removed playout."""
        turn = lib.iw_mixer_turn(core)
        deadline = time.monotonic() + _TURN_TIMEOUT
        while turn % 2 and lib.iw_mixer_turn(core) == turn:
            if time.monotonic() > deadline:
                raise LocalProtocolError(
                    f"a read of the mixer did not end within {_TURN_TIMEOUT:g} s: stop the device "
                    "before you remove a playout"
                )
            time.sleep(_TURN_LOOK)


def _detach_all(voices: dict[Playout, _Voice]) -> None:
    while voices:
        playout, _ = voices.popitem()
        playout.detach()
