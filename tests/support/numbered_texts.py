"""Makes a batch of short texts, and reads from the outputs which texts were spoken."""

from __future__ import annotations

import wave
from pathlib import Path

from support.spelling import spelled, spoken_part


def jobs(count: int) -> list[dict[str, str]]:
    """Return *count* jobs with different texts."""
    return [{"id": f"n{number}", "text": f"Number {number}."} for number in range(count)]


def spoken(folder: Path) -> dict[str, str]:
    """Return the text of each WAV file in a folder, by the id of the job."""
    found = {}
    for path in folder.glob("*.wav"):
        with wave.open(str(path)) as file:
            found[path.stem] = spelled(file.readframes(file.getnframes()))
    return found


def expected(count: int) -> dict[str, str]:
    """Return what :func:`spoken` returns if all jobs were done."""
    return {job["id"]: spoken_part(job["text"]) for job in jobs(count)}
