"""A speech becomes visemes, key frames and files for animation programs."""

from __future__ import annotations

import itertools
import json
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from inworld_sync import AudioEncoding, ConfigError, Speech
from inworld_sync.games import SHAPE_SETS, mouth_timeline
from inworld_sync.models.tts import Phoneme, Viseme, WordTime

from support.game_loop import RATE_HZ, tone

VISEMES = (
    Viseme("PP", 0, 100),
    Viseme("aa", 100, 400),
    Viseme("sil", 400, 500),
    Viseme("DD", 500, 700),
    Viseme("SS", 700, 720),
    Viseme("ou", 720, 900),
)
SPEECH = Speech(
    tone(1000, 0.4),
    AudioEncoding.PCM,
    RATE_HZ,
    words=(WordTime("Pa", 0, 400), WordTime("du", 500, 900)),
    visemes=VISEMES,
)


def test_tsv_of_rhubarb() -> None:
    """The first line is at 0 s, and the last line is at the end of the sound."""
    assert mouth_timeline(SPEECH).to_rhubarb_tsv() == (
        "0.00\tA\n0.10\tD\n0.40\tX\n0.50\tB\n0.72\tF\n0.90\tX\n1.00\tX\n"
    )


def test_json_of_rhubarb() -> None:
    """The cues have no gaps, and the metadata has the file name and the duration."""
    found = json.loads(mouth_timeline(SPEECH).to_rhubarb_json("hello.wav"))
    cues = found["mouthCues"]

    assert found["metadata"] == {"soundFile": "hello.wav", "duration": 1.0}
    assert cues[0] == {"start": 0.0, "end": 0.1, "value": "A"}
    assert [cue["end"] for cue in cues[:-1]] == [cue["start"] for cue in cues[1:]]
    assert cues[-1] == {"start": 0.9, "end": 1.0, "value": "X"}


def test_xml_of_rhubarb() -> None:
    """The XML has the same cues as the JSON. The name of the sound file is escaped."""
    timeline = mouth_timeline(SPEECH)
    root = ElementTree.fromstring(timeline.to_rhubarb_xml("a<b>&.wav").encode())
    cues = json.loads(timeline.to_rhubarb_json())["mouthCues"]

    assert root.findtext("metadata/soundFile") == "a<b>&.wav"
    assert root.findtext("metadata/duration") == "1.00"
    assert [
        {"start": float(cue.attrib["start"]), "end": float(cue.attrib["end"]), "value": cue.text}
        for cue in root.iterfind("mouthCues/mouthCue")
    ] == cues


def test_switch_file_of_moho() -> None:
    """The first frame has the number 1, and each line changes the shape."""
    assert mouth_timeline(SPEECH).to_moho() == (
        "MohoSwitch1\n1 MBP\n3 AI\n11 rest\n13 etc\n18 U\n23 rest\n"
    )


def test_json_of_this_package() -> None:
    """The JSON has words and visemes with times in seconds."""
    found = json.loads(mouth_timeline(SPEECH).to_json())

    assert (found["version"], found["duration"], found["source"]) == (1, 1.0, "service")
    assert found["words"][1] == {"t": 0.5, "d": 0.4, "text": "du"}
    assert found["visemes"][1] == {"t": 0.1, "d": 0.3, "name": "aa", "weight": 1.0}
    assert len(found["visemes"]) == len(VISEMES)


@pytest.mark.parametrize("shapes", SHAPE_SETS)
def test_keyframes_restore_the_weights(shapes: str) -> None:
    """Linear interpolation between the key frames gives the weights of every frame."""
    timeline = mouth_timeline(SPEECH)
    found = timeline.keyframes(30, shapes)

    assert set(found) == set(SHAPE_SETS[shapes])
    for name, keys in found.items():
        assert [frame for frame, _ in keys] == sorted({frame for frame, _ in keys})
        for (first, before), (second, after) in itertools.pairwise(keys):
            for frame in range(first, second):
                share = (frame - first) / (second - first)
                expected = timeline.weights_at(frame * 1000 / 30, shapes)[name]
                assert before + share * (after - before) == pytest.approx(expected, abs=0.02)


def test_keyframes_end_at_rest() -> None:
    """At the last key frame, the mouth is at rest."""
    cut = Speech(tone(300, 0.4), AudioEncoding.PCM, RATE_HZ, visemes=(Viseme("aa", 0, 300),))
    found = mouth_timeline(cut).keyframes(24, "arkit")

    assert {keys[-1][1] for keys in found.values()} == {0.0}


def test_phonemes_and_loudness() -> None:
    """
    Without visemes, the mouth follows the phonemes.
    Without visemes and phonemes, the mouth follows the loudness.
    """
    phonemes = (Phoneme("m", "bmp", 0, 100, 0), Phoneme("u", "u", 100, 300, 0))
    spoken = Speech(tone(300, 0.4), AudioEncoding.PCM, RATE_HZ, phonemes=phonemes)
    sound = Speech(bytes(9600) + tone(300, 0.4) + bytes(24000), AudioEncoding.PCM, RATE_HZ)

    assert mouth_timeline(spoken).source == "phonemes"
    assert mouth_timeline(spoken).to_rhubarb_tsv() == "0.00\tA\n0.10\tF\n0.30\tX\n"
    found = mouth_timeline(sound)
    assert found.source == "loudness"
    assert [cue.shape for cue in found.cues()] == ["X", "D", "X"]
    assert 180 <= found.cues()[1].start_ms <= 260


@pytest.mark.parametrize(("gap_ms", "shapes"), [(40, "DF"), (120, "DXF")])
def test_a_short_gap_does_not_close_the_mouth(gap_ms: float, shapes: str) -> None:
    """A gap between two visemes becomes a cue at rest only if the gap is long enough."""
    visemes = (Viseme("aa", 0, 300), Viseme("ou", 300 + gap_ms, 1000))
    spoken = Speech(tone(1000, 0.4), AudioEncoding.PCM, RATE_HZ, visemes=visemes)

    cues = mouth_timeline(spoken).cues()
    assert "".join(cue.shape for cue in cues) == shapes
    assert cues[-1].start_ms == (300 if gap_ms < 80 else 300 + gap_ms)


def test_silence_is_one_closed_cue() -> None:
    """A speech without sound gives one shape, the mouth at rest."""
    silence = Speech(bytes(4800), AudioEncoding.PCM, RATE_HZ)

    assert mouth_timeline(silence).to_rhubarb_tsv() == "0.00\tX\n0.10\tX\n"


@pytest.mark.parametrize(
    ("name", "kind", "begins"),
    [
        ("a.json", None, '{\n "version": 1'),
        ("a.json", "rhubarb", '{\n  "metadata"'),
        ("a.tsv", None, "0.00\tA\n"),
        ("a.xml", None, "<?xml"),
        ("a.dat", None, "MohoSwitch1\n"),
        ("shapes", "tsv", "0.00\tA\n"),
    ],
)
def test_files(name: str, kind: str | None, begins: str, tmp_path: Path) -> None:
    """The suffix of the name or the argument *format* selects the file format."""
    mouth_timeline(SPEECH).save(tmp_path / name, kind)  # type: ignore[arg-type]

    assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)


def test_wrong_arguments(tmp_path: Path) -> None:
    """
    An unknown format, a wrong frame rate, and a set of shapes without a shape for rest are refused.
    """
    timeline = mouth_timeline(SPEECH)
    with pytest.raises(ConfigError, match="format must be one of json, tsv"):
        timeline.save(tmp_path / "a.txt")
    with pytest.raises(ConfigError, match="fps must be above 0"):
        timeline.keyframes(0)
    with pytest.raises(ConfigError, match="position_ms must be a finite number"):
        timeline.weights_at(math.nan)
    with pytest.raises(ConfigError, match="a name for the mouth at rest"):
        timeline.cues("arkit")
    assert list(tmp_path.iterdir()) == []
