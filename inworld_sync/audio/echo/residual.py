"""
Decides in each frame whether the rest of an echo or the user is heard, and attenuates this rest.

The level of the audio after the linear canceller, compared with the level of the estimated echo, is
steady while the speaker plays alone. When the user speaks, this level rises by many decibels.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from inworld_sync.audio.echo.suppressor import ResidualSuppressor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["ResidualGate"]

# The user speaks too if three differences of levels are large enough. The first is the audio
# without the linear echo, minus its usual level. The second is the same audio, minus the echo. The
# third is the output of the processor, minus its input. Each difference has two limits. At the
# first limit, the difference begins to count. From the second limit on, it counts fully.
_ABOVE_USUAL_DB: Final = (6.0, 11.0)
_ABOVE_ECHO_DB: Final = (-9.0, -4.0)
_PASSED_DB: Final = (-38.0, -30.0)
# The level of speech falls by 10 dB or more between two vowels, for up to 200 ms. In this time, the
# echo may be much louder than a user who is as loud as the echo on average. Then the second
# difference is too small, although the user continues to speak. So after all differences have
# counted fully in _CERTAIN_FRAMES frames in a row, the user counts as speaking for
# _SPEAKING_FRAMES frames. While only the speaker plays, a single frame may count fully, for example
# the first frame of an echo.
_CERTAIN_FRAMES: Final = 2
_SPEAKING_FRAMES: Final = 20
# After a gap of the speaker, the delay of the echo is uncertain, so the rest of the echo is loud.
# But the levels of the recorded audio and of the expected echo are equal if only the speaker plays.
# The user speaks too if the difference is larger than this in _LOUDER_FRAMES frames in a row.
_LOUDER_DB: Final = 6.0
_LOUDER_FRAMES: Final = 4
# The attenuation of the rest of the echo while only the speaker plays.
_ATTENUATION_DB: Final = -30.0
# If the processor has removed this much, only the rest of an echo remains.
_REMOVED_DB: Final = (-34.0, -26.0)
# The usual level is measured over this many frames.
_FRAMES: Final = 400
# Above this usual level, the linear canceller has not adapted yet.
_ADAPTED_DB: Final = -12.0
# Below this usual level, the played audio is certainly read at the right rate.
_EXACT_DB: Final = -25.0
_HIGHEST_USUAL_DB: Final = -6.0
# Until the cancellers have adapted, nothing passes while the speaker plays, for at most this many
# frames.
_HELD_FRAMES: Final = 150
_LEAST_PLAYED: Final = 30.0
# The energies are averaged with these weights.
_FAST: Final = 0.5
_SLOW: Final = 0.93
# Echoes that are quieter than this level are not compared. Samples are in units of 16-bit integers.
_LEAST_ECHO: Final = 20.0
# The time by which the processor delays the audio.
_PROCESSOR_SECONDS: Final = 0.0086


class ResidualGate:
    """
    Chooses between the audio of two cancellers in each frame.

    Until the cancellers have adapted, nothing passes while the speaker plays, for at most 1.5 s.
    While only the speaker plays, the result is the processed audio, attenuated by 30 dB. While the
    user speaks too, the result is the audio without the linear echo, in which the rest of the echo
    is reduced in each frequency band.

    Args:
        sample_rate_hz: The sample rate of all audio.

    Thread safety: only one thread at a time may use an object.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        import numpy as np

        self._suppressor = ResidualSuppressor(sample_rate_hz)
        self._delayed: npt.NDArray[np.float64] = np.zeros(
            round(_PROCESSOR_SECONDS * sample_rate_hz) - self._suppressor.delay_samples
        )
        self._played = self._echo = self._rest = self._passed = 0.0
        self._held_frames = 0
        self._ratios: deque[float] = deque(maxlen=_FRAMES)
        self._count = 0
        self._usual_db = _HIGHEST_USUAL_DB
        self._certain_frames = 0
        self._speaking_frames = 0
        self._user = 0.0
        self._gain = 1.0
        self._recorded = 0.0
        self._louder_frames = 0

    @property
    def has_user(self) -> bool:
        """Whether the user speaks in the last frame, or may speak."""
        return self._user > 0.0

    @property
    def is_exact(self) -> bool:
        """Whether the linear canceller removes so much that the measured clocks must be right."""
        return self._usual_db < _EXACT_DB

    @property
    def is_adapted(self) -> bool:
        """Whether the linear canceller removes an echo."""
        return self._usual_db < _ADAPTED_DB

    def process(
        self,
        played: npt.NDArray[np.float32],
        echo: npt.NDArray[np.float64],
        rest: npt.NDArray[np.float64],
        processed: npt.NDArray[np.float64],
        *,
        is_uncertain: bool = False,
    ) -> npt.NDArray[np.float64]:
        """
        Return a frame of the result.

        Args:
            played: The audio of the speaker.
            echo: The estimated linear echo.
            rest: The audio without the estimated echo.
            processed: The output of the processor.
            is_uncertain: Whether the expected delay of the echo may be wrong. Then nothing is
                measured, and only a user who is louder than the echo passes.
        """
        import numpy as np

        # The values decay slowly, because the linear canceller does not estimate the end of the
        # reverberation, and the processor does not pass every frame of the user.
        self._played = max(_power(played), _SLOW * self._played)
        self._echo = max(_power(echo), _SLOW * self._echo)
        self._passed = max(_power(processed), _SLOW * self._passed)
        self._rest = _FAST * self._rest + (1.0 - _FAST) * _power(rest)
        user, gain, is_echo_only = 0.0, 1.0, False
        self._speaking_frames = max(self._speaking_frames - 1, 0)
        ratio_db = _decibels(self._rest, self._echo)
        has_echo = self._echo > _LEAST_ECHO**2
        is_uncertain = is_uncertain and has_echo
        # The rest is measured only while the speaker plays. After the speaker has stopped, the
        # decaying level of the echo is above the limit for up to a second, and the user may speak.
        is_playing = _power(echo) > _LEAST_ECHO**2 and not is_uncertain
        if is_playing:
            self._measure_usual(ratio_db)
        self._recorded = _FAST * self._recorded + (1.0 - _FAST) * _power(echo + rest)
        is_louder = is_uncertain and _decibels(self._recorded, self._echo) > _LOUDER_DB
        self._louder_frames = self._louder_frames + 1 if is_louder else 0
        if is_uncertain:
            user = self._find_louder_user()
        elif has_echo and self.is_adapted:
            above_usual = _share(ratio_db - self._usual_db, _ABOVE_USUAL_DB)
            is_echo_only = is_playing and above_usual == 0.0
            user, gain = self._find_user(above_usual, ratio_db), 0.0
        else:
            self._certain_frames = 0
        removed_db = _decibels(self._passed, self._rest + self._echo)
        gain = 10 ** (_ATTENUATION_DB * (1.0 - min(gain, _share(removed_db, _REMOVED_DB))) / 20.0)
        if self._is_held():
            user = gain = 0.0
        elif is_uncertain:
            gain = 0.0
        frame = len(rest)
        reduced = self._suppressor.process(echo, rest, is_echo_only=is_echo_only)
        both = np.concatenate((self._delayed, reduced))
        clear, self._delayed = both[:frame], both[frame:]
        users = np.linspace(self._user, user, frame)
        gains = np.linspace(self._gain, gain, frame)
        self._user, self._gain = user, gain
        return np.asarray((1.0 - users) * gains * processed + users * clear, np.float64)

    def _is_held(self) -> bool:
        """Return whether the cancellers are still adapting to a speaker that plays."""
        if self._held_frames >= _HELD_FRAMES or self._played < _LEAST_PLAYED**2:
            return False
        self._held_frames = _HELD_FRAMES if self.is_adapted else self._held_frames + 1
        return not self.is_adapted

    def _measure_usual(self, ratio_db: float) -> None:
        """Measure the usual level of the audio without the linear echo, minus the echo."""
        import numpy as np

        self._ratios.append(ratio_db)
        self._count += 1
        if len(self._ratios) >= _FRAMES // 4 and self._count % 10 == 0:
            self._usual_db = min(float(np.median(self._ratios)), _HIGHEST_USUAL_DB)

    def _find_user(self, above_usual: float, ratio_db: float) -> float:
        """Return 1 if the user speaks, 0 if only the speaker plays, or a value between."""
        user = min(
            above_usual,
            _share(ratio_db, _ABOVE_ECHO_DB),
            _share(_decibels(self._passed, self._rest + self._echo), _PASSED_DB),
        )
        self._certain_frames = self._certain_frames + 1 if user == 1.0 else 0
        if self._certain_frames >= _CERTAIN_FRAMES:
            self._speaking_frames = _SPEAKING_FRAMES
        return 1.0 if self._speaking_frames else user

    def _find_louder_user(self) -> float:
        """Return 1 if the user speaks, or 0, although the delay of the echo is uncertain."""
        if self._louder_frames >= _LOUDER_FRAMES:
            self._speaking_frames = _SPEAKING_FRAMES
        # This rest is not compared with the rest after the uncertainty.
        self._certain_frames, self._rest = 0, 0.0
        return 1.0 if self._speaking_frames else 0.0


def _power(samples: npt.NDArray[np.floating[Any]]) -> float:
    return float((samples * samples).mean())


def _decibels(one: float, other: float) -> float:
    return 10.0 * math.log10((one + 1.0) / (other + 1.0))


def _share(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(max((value - low) / (high - low), 0.0), 1.0)
