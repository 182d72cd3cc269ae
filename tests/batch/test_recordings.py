"""A batch transcribes recordings to texts, JSON and subtitles."""

from __future__ import annotations

import json
from pathlib import Path

from inworld_sync.audio.wav import WavWriter

from support.scripted_stt import stt_server
from support.spoken_words import RATE_HZ, number_names, spoken_turns


def write_recording(path: Path) -> str:
    with WavWriter(path, RATE_HZ) as file:
        file.write(spoken_turns(2)[0])
    return str(path)


def test_recordings(tmp_path: Path) -> None:
    """The suffix of an output determines the format of the transcript."""
    audio = write_recording(tmp_path / "call.wav")
    rows = [{"audio": audio, "form": form} for form in ("txt", "json", "srt")]
    text = number_names(1, 2)
    with stt_server() as (iw, _):
        summary = iw.batch(rows, tmp_path / "out", template="{stem}.{form}")

    assert (3, ()) == (summary.done, summary.failures)
    results = {path.suffix: path.read_text("utf-8") for path in (tmp_path / "out").glob("call.*")}
    assert text == results[".txt"].replace("\n", " ").strip()
    assert text == json.loads(results[".json"])["text"]
    assert "-->" in results[".srt"]


def test_a_missing_recording(tmp_path: Path) -> None:
    """If a recording cannot be read, only the item of this recording fails."""
    rows = [{"audio": str(tmp_path / "none.wav")}, {"audio": write_recording(tmp_path / "a.wav")}]
    with stt_server() as (iw, _):
        summary = iw.batch(rows, tmp_path / "out")

    [failure] = summary.failures
    assert ("000001", "FileNotFoundError", 1) == (failure.id, failure.kind, summary.done)
