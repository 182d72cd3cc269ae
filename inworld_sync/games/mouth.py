"""Computes the mouth shapes of a voice. In each frame, a game reads the weights of the shapes."""

from __future__ import annotations

from inworld_sync.errors import ConfigError
from inworld_sync.games.mouth_track import DEFAULT_LEAD_MS, MouthSource, MouthTrack, with_rest
from inworld_sync.games.shapes import jaw_of, shape_weights, strongest_shape

__all__ = ["Mouth"]

# If the mouth is open when no more speech is heard, it closes in this time.
_CLOSING_MS = 80.0


class Mouth:
    """
    The mouth of a :class:`~inworld_sync.games.GameVoice`. The method ``update`` of the voice moves
    the mouth.

    The mouth follows the audio that is heard now. So set ``latency_ms`` of the voice to the latency
    of the device.

    Thread safety: none; only the thread of the game uses a mouth.
    """

    def __init__(self) -> None:
        self._lead_ms = DEFAULT_LEAD_MS
        # The speech that was heard last, and the position in this speech.
        self._track: MouthTrack | None = None
        self._position_ms = 0.0
        # The weights of the visemes that are not 0, without "sil". None means that no caller has
        # read them in this frame.
        self._weights: dict[str, float] | None = {}
        self._closing_from: dict[str, float] | None = None
        self._closing_ms = 0.0

    def __repr__(self) -> str:
        return f"<Mouth {self.shape('openxr')} from {self.source}>"

    @property
    def source(self) -> MouthSource:
        """
        Where the present shapes come from.

        ``service``: the service has computed visemes from the audio. ``phonemes``: the shapes are
        the visemes of phonemes. ``loudness``: the mouth follows the level of the audio. ``none``:
        nothing was spoken yet.
        """
        return "none" if self._track is None else self._track.source

    @property
    def lead_ms(self) -> float:
        """The time in ms from the display of a shape until its sound, 0 to 200; 45 by default."""
        return self._lead_ms

    @lead_ms.setter
    def lead_ms(self, value: float) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 200:
            raise ConfigError(f"lead_ms must be 0 to 200 ms, got {value!r}")
        self._lead_ms = float(value)

    @property
    def openness(self) -> float:
        """How far the jaw is open, 0 to 1, for a mouth that has only one movement."""
        return jaw_of(self._shown())

    def weights(self, shapes: str = "openxr") -> dict[str, float]:
        """
        Return the weight of each shape of a set, 0 to 1.

        Args:
            shapes: The name of a set in ``SHAPE_SETS``: ``openxr``, ``oculus``, ``arkit``, ``vrm``,
                ``vrm0``, ``rhubarb``, ``preston_blair`` or ``sapi``.

        Raises:
            ConfigError: The set is unknown.
        """
        weights = with_rest(self._shown())
        return weights if shapes == "openxr" else shape_weights(weights, shapes)

    def shape(self, shapes: str = "rhubarb") -> str:
        """
        Return the strongest shape of a set, for a mouth that is drawn as pictures.

        Returns:
            The name of the shape. If the mouth is at rest, and the set has no name for the mouth at
            rest, the name is an empty text.

        Raises:
            ConfigError: The set is unknown.
        """
        return strongest_shape(self._shown(), shapes)

    # The voice calls the following methods.

    def _follow(self, track: MouthTrack, position_ms: float) -> None:
        """Show the shapes at the position that is heard now."""
        self._track = track
        self._position_ms = position_ms
        self._weights = None
        self._closing_from = None

    def _close(self, dt_ms: float) -> None:
        """Close the mouth further, because no speech is heard."""
        if self._closing_from is None:
            shown = self._shown()
            if not shown:
                return
            self._closing_from, self._closing_ms = shown, 0.0
        self._closing_ms += dt_ms
        left = 1.0 - self._closing_ms / _CLOSING_MS
        if left > 0.0:
            self._weights = {name: weight * left for name, weight in self._closing_from.items()}
        else:
            self._weights, self._closing_from = {}, None

    def _shown(self) -> dict[str, float]:
        """
        Return the weights of the visemes that are not 0, without ``sil``.

        The weights are computed at most once in each frame. The caller must not change them.
        """
        weights = self._weights
        if weights is None:
            assert self._track is not None
            self._track.lead_ms = self._lead_ms
            weights = self._weights = self._track.shown_at(self._position_ms)
        return weights
