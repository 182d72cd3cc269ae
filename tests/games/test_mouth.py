"""Mouth shapes begin before their sounds and cross-fade. Without visemes, loudness is used."""

from __future__ import annotations

import math

import pytest

from inworld_sync import ConfigError
from inworld_sync.games import VISEMES, Mouth
from inworld_sync.games.mouth_track import MouthTrack, to_openxr
from inworld_sync.models.tts import Phoneme, Viseme

from support.game_loop import RATE_HZ, tone


def track_of(*visemes: Viseme) -> MouthTrack:
    track = MouthTrack(RATE_HZ)
    track.add_visemes(visemes, "service")
    return track


def test_the_sum_is_always_one() -> None:
    """At every position, the weights are 0 to 1 and have the sum 1."""
    track = track_of(
        Viseme("PP", 100, 150),
        Viseme("aa", 150, 300),
        Viseme("nn", 300, 360),
        Viseme("ou", 360, 500),
    )
    for position in range(-100, 800, 5):
        weights = track.weights_at(float(position))
        assert set(weights) == set(VISEMES)
        assert math.isclose(sum(weights.values()), 1.0, abs_tol=1e-9)
        assert all(0.0 <= weight <= 1.0 for weight in weights.values())


def test_an_open_shape_leads_its_sound() -> None:
    """The shape of a vowel begins before the sound, and is complete when the sound begins."""
    track = track_of(Viseme("aa", 500, 700))

    assert track.weights_at(400)["aa"] == 0.0
    assert 0.4 < track.weights_at(500 - 45)["aa"] < 0.6
    assert track.weights_at(500)["aa"] == 1.0


@pytest.mark.parametrize("closed", ["PP", "FF"])
def test_closed_lips_are_reached_at_the_onset(closed: str) -> None:
    """At the beginning of ``p`` or ``f``, the lips are closed completely, even between vowels."""
    track = track_of(Viseme("aa", 300, 500), Viseme(closed, 500, 530), Viseme("aa", 530, 700))

    assert track.weights_at(500)[closed] == 1.0
    assert track.weights_at(500)["aa"] == 0.0
    assert track.weights_at(500 + 33)[closed] == 1.0
    assert track.weights_at(440)[closed] < 0.2


def test_shapes_cross_fade() -> None:
    """
    Between two vowels, the first shape fades out while the second fades in. The mouth stays open.
    """
    track = track_of(Viseme("aa", 300, 500), Viseme("ou", 500, 700))
    weights = track.weights_at(500 - 45)

    assert 0.3 < weights["aa"] < 0.7
    assert 0.3 < weights["ou"] < 0.7
    assert weights["sil"] < 0.1


def test_a_short_movement_of_the_tongue_is_dropped() -> None:
    """A short ``d`` between two equal vowels is not shown, but a longer ``d`` is shown."""
    short = track_of(Viseme("aa", 0, 200), Viseme("DD", 200, 230), Viseme("aa", 230, 400))
    long = track_of(Viseme("aa", 0, 200), Viseme("DD", 200, 250), Viseme("aa", 250, 400))

    assert [each.name for each in short.visemes] == ["aa"]
    assert short.visemes[0].end_ms == 400
    assert [each.name for each in long.visemes] == ["aa", "DD", "aa"]


def test_visemes_may_arrive_late_and_out_of_order() -> None:
    """The result does not depend on the order in which the visemes arrive."""
    visemes = [Viseme("PP", 0, 100), Viseme("aa", 100, 300), Viseme("ou", 300, 400)]
    track = track_of(*reversed(visemes))

    assert track.visemes == tuple(visemes)


def test_quiet_speech_opens_the_mouth_less() -> None:
    """The weights of open shapes are smaller in quiet speech, but at least 0.4."""
    loud, quiet = track_of(Viseme("aa", 0, 500)), track_of(Viseme("aa", 0, 500))
    loud.add_audio(tone(500, 0.5))
    quiet.add_audio(tone(500, 0.005))

    assert loud.weights_at(250)["aa"] == 1.0
    assert quiet.weights_at(250)["aa"] == pytest.approx(0.4, abs=0.05)


def test_loudness_opens_and_closes_the_mouth() -> None:
    """Without visemes, the mouth opens fast, closes more slowly, and ignores noise."""
    track = MouthTrack(RATE_HZ)
    track.add_audio(tone(200, 0.4) + bytes(RATE_HZ * 2 // 5) + tone(200, 0.002))

    assert track.source == "loudness"
    assert track.weights_at(100)["aa"] > 0.5
    assert track.weights_at(240)["aa"] > 0.2
    assert track.weights_at(390)["aa"] < 0.12
    assert track.weights_at(500)["aa"] < 0.05


def test_visemes_replace_the_loudness() -> None:
    """The first visemes replace the loudness as the source of the mouth shapes."""
    track = MouthTrack(RATE_HZ)
    track.add_audio(tone(100, 0.4))
    track.add_visemes([Viseme("ou", 0, 100)], "phonemes")

    assert track.source == "phonemes"
    assert track.weights_at(50)["aa"] == 0.0


def test_audio_in_any_pieces_gives_the_same_loudness() -> None:
    """The loudness does not depend on how the audio is divided."""
    sound = tone(300, 0.3)
    whole, pieces = MouthTrack(RATE_HZ), MouthTrack(RATE_HZ)
    whole.add_audio(sound)
    for at in range(0, len(sound), 1234):
        pieces.add_audio(sound[at : at + 1234])

    assert [whole.weights_at(at) for at in range(0, 300, 10)] == [
        pieces.weights_at(at) for at in range(0, 300, 10)
    ]


def test_sources_of_visemes() -> None:
    """
    Visemes of OpenXR are kept. Other visemes are converted, by their phonemes if these are known.
    """
    phonemes = [Phoneme("m", "bmp", 0, 50, 0), Phoneme("ɛ", "aei", 50, 90, 0)]
    own = [Viseme("bmp", 0, 50), Viseme("aei", 50, 90)]

    assert to_openxr([Viseme("PP", 0, 5), Viseme("??", 5, 9)], phonemes) == (
        (Viseme("PP", 0, 5), Viseme("sil", 5, 9)),
        "service",
    )
    assert to_openxr(own, phonemes) == ((Viseme("PP", 0, 50), Viseme("E", 50, 90)), "phonemes")
    assert to_openxr(own) == ((Viseme("PP", 0, 50), Viseme("aa", 50, 90)), "phonemes")
    assert to_openxr([]) == ((), "none")


def test_the_mouth_closes_in_80_ms() -> None:
    """When speech stops, the mouth closes in 80 ms, in equal steps."""
    mouth = Mouth()
    mouth._follow(track_of(Viseme("aa", 0, 500)), 200.0)
    weights = []
    for _ in range(5):
        mouth._close(20.0)
        weights.append(mouth.weights()["aa"])

    assert weights == pytest.approx([0.75, 0.5, 0.25, 0.0, 0.0])
    assert mouth.weights()["sil"] == 1.0


def test_the_strongest_shape() -> None:
    """
    ``shape`` returns the strongest shape, or the name of the mouth at rest if there is no shape.
    """
    mouth = Mouth()
    assert (mouth.shape(), mouth.shape("preston_blair"), mouth.shape("vrm")) == ("X", "rest", "")
    assert mouth.openness == 0.0
    mouth._follow(track_of(Viseme("aa", 0, 500)), 200.0)
    assert (mouth.shape(), mouth.shape("oculus"), mouth.shape("vrm")) == ("D", "viseme_aa", "aa")
    assert mouth.openness == 1.0


def test_wrong_arguments() -> None:
    """A wrong set of shapes or a wrong lead_ms raises an error that names the argument."""
    mouth = Mouth()
    with pytest.raises(ConfigError, match="shapes must be one of"):
        mouth.weights("visage")
    with pytest.raises(ConfigError, match="lead_ms must be 0 to 200"):
        mouth.lead_ms = -1
