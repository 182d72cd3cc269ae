"""The table of mouth shapes has the names and weights of each set."""

from __future__ import annotations

import pytest

from inworld_sync import ConfigError
from inworld_sync.games import SHAPE_SETS, VISEMES, shape_weights
from inworld_sync.games.shapes import jaw_of, viseme_of

# Each row has the viseme, its names in Rhubarb and Preston Blair, its SAPI id, its VRM shape with a
# weight, and the weight of jawOpen in ARKit.
TABLE = """
sil X rest 0  -      0
PP  A MBP  21 -      0
FF  G FV   18 -      0.08
TH  B etc  17 ih:0.3 0.15
DD  B etc  19 ih:0.3 0.12
kk  B etc  20 ih:0.3 0.12
SS  B etc  15 ih:0.3 0.12
CH  B etc  16 ou:0.3 0.1
nn  H L    14 aa:0.3 0.2
RR  E etc  13 ou:0.3 0.15
aa  D AI   2  aa:1   0.6
E   C E    4  ee:1   0.35
ih  C E    6  ih:1   0.12
oh  E O    3  oh:1   0.4
ou  F U    7  ou:1   0.15
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]


def only(weights: dict[str, float]) -> dict[str, float]:
    return {name: weight for name, weight in weights.items() if weight}


def test_the_table_has_every_viseme() -> None:
    """The table of this test has all 15 visemes."""
    assert sorted(row[0] for row in ROWS) == sorted(VISEMES)
    assert len(VISEMES) == 15


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_names_and_weights(row: list[str]) -> None:
    """Each viseme has the names and weights of the table."""
    viseme, rhubarb, preston_blair, sapi, vrm, jaw = row
    name, _, weight = vrm.partition(":")
    full = {viseme: 1.0}

    assert only(shape_weights(full, "rhubarb")) == {rhubarb: 1.0}
    assert only(shape_weights(full, "preston_blair")) == {preston_blair: 1.0}
    assert only(shape_weights(full, "sapi")) == {sapi: 1.0}
    assert only(shape_weights(full, "vrm")) == ({name: float(weight)} if weight else {})
    assert shape_weights(full, "arkit")["jawOpen"] == float(jaw)
    assert jaw_of(full) == pytest.approx(float(jaw) / 0.6)


def test_names_of_the_sets() -> None:
    """The sets have the names that avatars use."""
    same = ["sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E"]
    assert set(SHAPE_SETS["oculus"]) == {f"viseme_{name}" for name in [*same, "I", "O", "U"]}
    assert set(SHAPE_SETS["vrm"]) == {"aa", "ih", "ou", "ee", "oh"}
    assert set(SHAPE_SETS["vrm0"]) == {"a", "i", "u", "e", "o"}
    assert set(SHAPE_SETS["rhubarb"]) == set("ABCDEFGHX")
    assert {"mouthPressLeft", "mouthPressRight", "tongueOut"} <= set(SHAPE_SETS["arkit"])
    assert not [name for name in SHAPE_SETS["arkit"] if name.endswith("LR")]


def test_both_sides_of_the_face() -> None:
    """A shape of ARKit with two sides has the same weight on both sides."""
    weights = shape_weights({"PP": 0.5}, "arkit")

    assert weights["mouthPressLeft"] == weights["mouthPressRight"] == 0.25


def test_sums_are_limited() -> None:
    """A weight is never above 1, even if several visemes use the same shape."""
    weights = shape_weights({"DD": 1.0, "kk": 1.0, "TH": 1.0}, "rhubarb")

    assert weights["B"] == 1.0


@pytest.mark.parametrize(
    ("name", "symbol", "viseme"),
    [
        ("bmp", "p", "PP"),
        ("fv", "f", "FF"),
        ("th", "θ", "TH"),
        ("cdgknstxyz", "t", "DD"),
        ("cdgknstxyz", "n", "nn"),
        ("cdgknstxyz", "ŋ", "kk"),
        ("cdgknstxyz", "s", "SS"),
        ("cdgknstxyz", "j", "ih"),
        ("cdgknstxyz", "", "DD"),
        ("chjsh", "ʃ", "CH"),
        ("l", "l", "nn"),
        ("r", "ɹ", "RR"),
        ("ee", "i", "ih"),
        ("aei", "ɑː", "aa"),
        ("aei", "ˈɛ", "E"),
        ("aei", "ə", "ih"),
        ("aei", "aɪ", "aa"),
        ("aei", "", "aa"),
        ("o", "ɔ", "oh"),
        ("u", "ʊ", "ou"),
        ("qw", "w", "ou"),
        ("sil", "", "sil"),
        ("[silence]", "", "sil"),
    ],
)
def test_phonemes_of_the_service(name: str, symbol: str, viseme: str) -> None:
    """Each viseme name of the service becomes an OpenXR viseme, which may depend on the phoneme."""
    assert viseme_of(name, symbol) == (viseme, 1.0)


def test_an_unknown_name_gets_half_the_weight() -> None:
    """An unknown name becomes the viseme DD with half the weight, unless the phoneme is known."""
    assert viseme_of("zz", "ʢ") == ("DD", 0.5)
    assert viseme_of("zz", "u") == ("ou", 1.0)


def test_an_unknown_set_is_refused() -> None:
    """The error for an unknown set lists the known sets."""
    with pytest.raises(ConfigError, match="shapes must be one of openxr, oculus"):
        shape_weights({}, "visage")
