"""
Several playouts into one device: a voice, a back-channel, short signals.

Each keeps its own items, marks, positions and clears. The mixer adds their sound, each at its
gain, and ducks some of them while a more important one sounds.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from inworld_sync._native import ffi, lib
from inworld_sync.audio._playout_config import FORMATS, SampleFormat, check_range, choose
from inworld_sync.audio._pulled import Pulled
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.track import Track
from inworld_sync.errors import ConfigError, LocalProtocolError

if TYPE_CHECKING:
    from inworld_sync._native._core import CData

__all__ = ["Mixer"]

# For a read that is under way to end; one takes microseconds.
_TURN_TIMEOUT: Final = 1.0
_TURN_LOOK: Final = 0.001
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
        sample_rate_hz: Of the playouts and of what is read, 8000 to 48000.
        channels: 1 or 2, the same.
        output_format: Of what is read, ``s16`` or ``f32``; the playouts give ``f32``. Sums beyond
            full scale are held there.
        attack_ms: Within it a playout gets softer, when it is ducked or adjusted, 1 to 10000.
        release_ms: Within it one gets louder, 1 to 10000.
        hold_ms: How long a playout may pause and still ducks the others, 0 to 10000.

    Attributes:
        sample_rate_hz: Samples a second of each channel.
        channels: Samples a frame.

    Raises:
        ConfigError: An argument is out of its range.
        ClosedError: By every method but :meth:`close`, once the mixer is closed.

    Thread safety:
        :meth:`read` belongs to one thread at a time, or to a device. All other methods may be
        called from any thread at once.
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

    def add(
        self, playout: Playout, *, gain: float = 1.0, duck_db: float = 0.0, priority: int = 0
    ) -> Track:
        """
        Mix a playout in; the mixer reads it from now on.

        Args:
            playout: Of the mixer's rate and channels, with ``f32`` output.
            gain: How loud it is, 0 to 4.
            duck_db: By how much it is taken back while a playout of a higher priority sounds, and
                for *hold_ms* after it, 0 to 100.
            priority: 0 to 1000, for example 1 for a voice and 0 for its back-channel.

        Returns:
            What of the playout is heard when.

        Raises:
            ConfigError: The playout does not fit, or a number is out of its range.
            LocalProtocolError: Eight playouts are mixed, or something else reads this one.
        """
        if (playout.sample_rate_hz, playout.channels, playout.output_format) != (
            self.sample_rate_hz,
            self.channels,
            "f32",
        ):
            raise ConfigError(
                f"the mixer takes f32 of {self.sample_rate_hz} Hz with {self.channels} "
                f"channels, got {playout.output_format} of {playout.sample_rate_hz} Hz with "
                f"{playout.channels}"
            )
        with self._control:
            core = self._open()
            taken = {voice.place for voice in self._voices.values()}
            place = next((n for n in range(lib.IW_MIXER_VOICES) if n not in taken), None)
            if place is None:
                raise LocalProtocolError(
                    f"{len(taken)} playouts are mixed: remove one of them first"
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
        Change how loud a playout is; see :meth:`add`. The change is a ramp, not a step.

        Args:
            playout: One that is mixed.
            gain: None leaves it as it is; so do the others.
            duck_db: The same.
            priority: The same.

        Raises:
            ConfigError: A number is out of its range.
            LocalProtocolError: The playout is not mixed.
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
        Take a playout out; what it still holds may be read from it elsewhere.

        Clear it first if it sounds, else it stops short.

        Raises:
            LocalProtocolError: The playout is not mixed.
        """
        with self._control:
            core = self._open()
            lib.iw_mixer_set(core, self._voice_of(playout).place, ffi.NULL, ffi.NULL)
            self._wait_for_turn(core)
            del self._voices[playout]
            playout.detach()

    def unheard_frames(self, now_ns: int | None = None) -> int:
        """How much of the playout that is furthest ahead was read and is not heard."""
        with self._control:
            tracks = [voice.track for voice in self._voices.values()]
        heard = [track.taken_frames - track.heard_frames(now_ns) for track in tracks]
        return max(heard, default=0)

    # ---- inside ------------------------------------------------------------------------------

    def _let_go(self) -> None:
        for playout in self._voices:
            playout.detach()
        self._voices.clear()

    def _voice_of(self, playout: Playout) -> _Voice:
        if playout not in self._voices:
            raise LocalProtocolError(f"{playout!r} is not mixed: add it first")
        return self._voices[playout]

    def _adjust(self, voice: _Voice) -> None:
        known = 0 <= voice.priority <= _PRIORITY_MOST and 0 <= voice.duck_db <= _DUCK_DB_MOST
        ducked_gain = 10 ** (-voice.duck_db / 20) if known else 0.0
        if not known or lib.iw_mixer_adjust(
            self._open(), voice.place, voice.gain, ducked_gain, voice.priority
        ):
            raise ConfigError(
                f"gain must be 0 to 4, duck_db 0 to {_DUCK_DB_MOST:g} and priority 0 to "
                f"{_PRIORITY_MOST}, got {voice.gain!r}, {voice.duck_db!r} and {voice.priority!r}"
            )

    def _wait_for_turn(self, core: CData) -> None:
        """A read that began before may still use what was taken out."""
        turn = lib.iw_mixer_turn(core)
        deadline = time.monotonic() + _TURN_TIMEOUT
        while turn % 2 and lib.iw_mixer_turn(core) == turn:
            if time.monotonic() > deadline:
                raise LocalProtocolError("the device stands still within a read: stop it first")
            time.sleep(_TURN_LOOK)
