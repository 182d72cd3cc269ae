"""
Has the table of mouth shapes: the 15 visemes of OpenXR, and their names and weights in other sets.

A set is a list of names that an engine or a format uses for mouth shapes. Most sets have one name
for each viseme. In the set ``arkit``, several blend shapes together form a viseme.

Sources: the visemes of OpenXR (``XR_META_face_tracking_visemes``), the documentation of Rhubarb Lip
Sync, the viseme ids of SAPI, the expressions of VRM, and the blend shapes of ARKit. The weights for
ARKit and VRM are choices of this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from inworld_sync.errors import ConfigError

__all__ = [
    "CLOSED_VISEMES",
    "SHAPE_SETS",
    "VISEMES",
    "jaw_of",
    "require_set",
    "rest_shape",
    "shape_weights",
    "strongest_shape",
    "viseme_of",
]

VISEMES: Final[tuple[str, ...]] = (
    "sil",
    "PP",
    "FF",
    "TH",
    "DD",
    "kk",
    "CH",
    "SS",
    "nn",
    "RR",
    "aa",
    "E",
    "ih",
    "oh",
    "ou",
)
"""The names of the 15 visemes of OpenXR. ``sil`` is the closed mouth at rest."""

CLOSED_VISEMES: Final = frozenset({"PP", "FF"})
"""The visemes that close the lips. These shapes must be reached exactly when their sound begins."""

# The columns after the viseme: Rhubarb, Preston Blair, SAPI id, VRM 1.0 expression with its weight.
_ONE_FOR_EACH: Final = {
    "sil": ("X", "rest", "0", "", 0.0),
    "PP": ("A", "MBP", "21", "", 0.0),
    "FF": ("G", "FV", "18", "", 0.0),
    "TH": ("B", "etc", "17", "ih", 0.3),
    "DD": ("B", "etc", "19", "ih", 0.3),
    "kk": ("B", "etc", "20", "ih", 0.3),
    "CH": ("B", "etc", "16", "ou", 0.3),
    "SS": ("B", "etc", "15", "ih", 0.3),
    "nn": ("H", "L", "14", "aa", 0.3),
    "RR": ("E", "etc", "13", "ou", 0.3),
    "aa": ("D", "AI", "2", "aa", 1.0),
    "E": ("C", "E", "4", "ee", 1.0),
    "ih": ("C", "E", "6", "ih", 1.0),
    "oh": ("E", "O", "3", "oh", 1.0),
    "ou": ("F", "U", "7", "ou", 1.0),
}

# The blend shapes of ARKit. A name that ends in LR stands for the left and the right shape.
_ARKIT: Final = {
    "sil": {},
    "PP": {"mouthClose": 0.3, "mouthPressLR": 0.5, "mouthRollLower": 0.3},
    "FF": {"mouthRollLower": 0.5, "mouthUpperUpLR": 0.3, "jawOpen": 0.08},
    "TH": {"tongueOut": 0.3, "jawOpen": 0.15},
    "DD": {"jawOpen": 0.12, "mouthStretchLR": 0.2},
    "kk": {"jawOpen": 0.12, "mouthStretchLR": 0.2},
    "CH": {"mouthFunnel": 0.5, "jawOpen": 0.1},
    "SS": {"jawOpen": 0.12, "mouthStretchLR": 0.2},
    "nn": {"jawOpen": 0.2},
    "RR": {"mouthFunnel": 0.3, "jawOpen": 0.15},
    "aa": {"jawOpen": 0.6},
    "E": {"jawOpen": 0.35},
    "ih": {"mouthSmileLR": 0.3, "mouthStretchLR": 0.3, "jawOpen": 0.12},
    "oh": {"mouthFunnel": 0.5, "jawOpen": 0.4},
    "ou": {"mouthPucker": 0.7, "jawOpen": 0.15},
}

# The suffixes of the blend shapes ``viseme_...`` of Oculus avatars and Ready Player Me.
_OCULUS: Final = {
    "sil": "sil",
    "PP": "PP",
    "FF": "FF",
    "TH": "TH",
    "DD": "DD",
    "kk": "kk",
    "CH": "CH",
    "SS": "SS",
    "nn": "nn",
    "RR": "RR",
    "aa": "aa",
    "E": "E",
    "ih": "I",
    "oh": "O",
    "ou": "U",
}

_VRM0: Final = {"aa": "a", "ih": "i", "ou": "u", "ee": "e", "oh": "o"}

# The visemes of the service's phonemes. The vowels depend on the symbol of the phoneme.
_OF_NAME: Final = {
    "sil": "sil",
    "bmp": "PP",
    "fv": "FF",
    "th": "TH",
    "cdgknstxyz": "DD",
    "chjsh": "CH",
    "l": "nn",
    "r": "RR",
    "ee": "ih",
    "aei": "aa",
    "o": "oh",
    "u": "ou",
    "qw": "ou",
}
_OF_SYMBOL: Final = {
    symbol: viseme
    for viseme, symbols in {
        "DD": "d t ɾ",
        "nn": "n l ɫ",
        "kk": "k g ɡ ŋ x ʔ",
        "SS": "s z",
        "aa": "a æ ɑ ʌ ɐ",
        "E": "e ɛ ɜ ɝ",
        "ih": "ɪ ə ɚ h j i",
        "oh": "ɔ o ɒ",
        "ou": "u ʊ w",
    }.items()
    for symbol in symbols.split()
}
# For these viseme names of the service, the symbol of the phoneme selects the viseme.
_SYMBOL_DECIDES: Final = frozenset({"cdgknstxyz", "aei"})
_SILENCES: Final = frozenset({"sil", "[silence]"})
_UNKNOWN_WEIGHT: Final = 0.5

# A mouth that is drawn as one of several pictures is at rest if the sum of all weights is below
# this number.
_LEAST_SHAPE: Final = 0.15


def _arkit(viseme: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, weight in _ARKIT[viseme].items():
        if name.endswith("LR"):
            found[f"{name[:-2]}Left"] = found[f"{name[:-2]}Right"] = weight
        else:
            found[name] = weight
    return found


def _parts() -> dict[str, dict[str, dict[str, float]]]:
    """Return, for each set, the names and weights that form each viseme."""
    sets: dict[str, dict[str, dict[str, float]]] = {
        "openxr": {viseme: {viseme: 1.0} for viseme in VISEMES},
        "oculus": {viseme: {f"viseme_{_OCULUS[viseme]}": 1.0} for viseme in VISEMES},
        "arkit": {viseme: _arkit(viseme) for viseme in VISEMES},
        "vrm": {},
        "vrm0": {},
        "rhubarb": {},
        "preston_blair": {},
        "sapi": {},
    }
    for viseme, (rhubarb, preston_blair, sapi, vrm, weight) in _ONE_FOR_EACH.items():
        sets["rhubarb"][viseme] = {rhubarb: 1.0}
        sets["preston_blair"][viseme] = {preston_blair: 1.0}
        sets["sapi"][viseme] = {sapi: 1.0}
        sets["vrm"][viseme] = {vrm: weight} if vrm else {}
        sets["vrm0"][viseme] = {_VRM0[vrm]: weight} if vrm else {}
    return sets


_PARTS: Final = _parts()

SHAPE_SETS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        name: tuple(dict.fromkeys(shape for parts in table.values() for shape in parts))
        for name, table in _PARTS.items()
    }
)
"""The names of each set: ``openxr``, ``oculus``, ``arkit``, ``vrm``, ``vrm0``, and so on."""

# The name of the mouth at rest in each set. A set with an empty name has only weights of 0 at rest.
_REST: Final = {name: next(iter(table["sil"]), "") for name, table in _PARTS.items()}


# How far each viseme opens the jaw, compared with the viseme that opens the jaw most.
_JAW: Final = {
    viseme: parts.get("jawOpen", 0.0) / _ARKIT["aa"]["jawOpen"] for viseme, parts in _ARKIT.items()
}


def require_set(shapes: str) -> None:
    """Raise :class:`ConfigError` if *shapes* is not the name of a set."""
    if not isinstance(shapes, str) or shapes not in SHAPE_SETS:
        raise ConfigError(f"shapes must be one of {', '.join(SHAPE_SETS)}, got {shapes!r}")


def rest_shape(shapes: str) -> str:
    """Return the name of the mouth at rest, or an empty text if the set has no such name."""
    require_set(shapes)
    return _REST[shapes]


def shape_weights(weights: Mapping[str, float], shapes: str = "openxr") -> dict[str, float]:
    """
    Convert weights of the OpenXR visemes to the weights of another set.

    Args:
        weights: The weights, 0 to 1, by the names of :data:`VISEMES`. A missing name means 0.
        shapes: The name of a set in :data:`SHAPE_SETS`.

    Returns:
        A weight of 0 to 1 for each name of the set.

    Raises:
        ConfigError: The set is unknown.
    """
    require_set(shapes)
    found = dict.fromkeys(SHAPE_SETS[shapes], 0.0)
    table = _PARTS[shapes]
    for viseme, weight in weights.items():
        if weight > 0.0:
            for name, part in table[viseme].items():
                found[name] = min(found[name] + weight * part, 1.0)
    return found


def jaw_of(weights: Mapping[str, float]) -> float:
    """Return how far the jaw is open, 0 to 1, for weights of the OpenXR visemes."""
    jaw = 0.0
    for viseme, weight in weights.items():
        if weight > 0.0:
            jaw += weight * _JAW[viseme]
    return min(jaw, 1.0)


def strongest_shape(weights: Mapping[str, float], shapes: str = "rhubarb") -> str:
    """
    Return the strongest shape of a set, for a mouth that is drawn as pictures.

    Args:
        weights: The weights of the OpenXR visemes.
        shapes: The name of a set in :data:`SHAPE_SETS`.

    Returns:
        The name of the shape. If the mouth is at rest, and the set has no name for the mouth at
        rest, the name is an empty text.

    Raises:
        ConfigError: The set is unknown.
    """
    require_set(shapes)
    spoken = {name: weight for name, weight in weights.items() if name != "sil"}
    if sum(spoken.values()) < _LEAST_SHAPE:
        return rest_shape(shapes)
    found = shape_weights(spoken, shapes)
    return max(found, key=lambda name: found[name])


def viseme_of(name: str, symbol: str = "") -> tuple[str, float]:
    """
    Return the OpenXR viseme of a phoneme of the service, and its weight.

    Args:
        name: The service's name of the viseme, such as ``bmp``.
        symbol: The phoneme. For vowels and most consonants, the phoneme selects the viseme.

    Returns:
        The viseme and the weight 1. An unknown name gets ``DD`` and the weight 0.5.
    """
    if name in _SILENCES:
        return "sil", 1.0
    plain = symbol.strip("ˈˌː")
    if name in _SYMBOL_DECIDES or name not in _OF_NAME:
        found = _OF_SYMBOL.get(plain) or _OF_SYMBOL.get(plain[:1])
        if found is not None:
            return found, 1.0
    known = _OF_NAME.get(name)
    return (known, 1.0) if known is not None else ("DD", _UNKNOWN_WEIGHT)
