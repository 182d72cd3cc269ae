"""
Measure batches and the cache of speech: ``python -m benchmarks.batches``.

The emulator runs in this process, with prepared speech and a latency of 50 ms. Each
client runs in a process of its own, and writes one file per text. These clients are measured with
short texts:

- a loop over ``iw.tts.synthesize`` and ``save``, as in a simple script
- the same loop with Inworld's package ``inworld-tts``, which is installed in ``build/``
- ``iw.batch``

Then the program kills a batch of ``--items`` texts twice, completes the batch, and checks every
output. Finally, the program compares the time of a cache hit with the time of a synthesis.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections import Counter
from pathlib import Path

from benchmarks.environment import ROOT, python_with
from inworld_sync import Inworld
from inworld_sync.emulator import Emulator, Settings

SETTINGS = Settings(prepared_speech=True, latency_ms=50)
TEXT = "Item {} is ready."

LOOP = """
import sys
from inworld_sync import AudioConfig, Inworld
url, key, folder, count = sys.argv[1:]
with Inworld(api_key=key, base_url=url) as iw:
    for number in range(int(count)):
        speech = iw.tts.synthesize(f"Item {number} is ready.", audio=AudioConfig("PCM", 8000))
        speech.save(f"{folder}/n{number}.wav")
"""
BATCH = """
import sys
from inworld_sync import Inworld
url, key, folder, count = sys.argv[1:]
jobs = [
    {"id": f"n{number}", "text": f"Item {number} is ready.", "sample_rate_hz": 8000}
    for number in range(int(count))
]
with Inworld(api_key=key, base_url=url) as iw:
    summary = iw.batch(jobs, folder)
assert not summary.failures, summary.failures[:3]
"""
OTHER = """
import sys
from inworld_tts import InworldTTS
url, key, folder, count = sys.argv[1:]
with InworldTTS(key, url, max_retries=0, timeout=30) as tts:
    for number in range(int(count)):
        tts.generate(
            f"Item {number} is ready.", voice="Ashley", model="inworld-tts-2", encoding="WAV",
            sample_rate=8000, output_file=f"{folder}/n{number}.wav",
        )
"""


def start(
    program: str, server: Emulator, folder: Path, count: int, python: str | Path = sys.executable
) -> subprocess.Popen[bytes]:
    """Start a client in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [server.url, server.api_key, str(folder), str(count)]
    return subprocess.Popen([str(python), "-c", program, *arguments], cwd=ROOT)


def measured(
    program: str, server: Emulator, place: Path, count: int, python: str | Path = sys.executable
) -> float:
    """
    Return how many texts a client speaks per second.

    The time includes the start of its process.
    """
    folder = place / "measured"
    began = time.perf_counter()
    status = start(program, server, folder, count, python).wait(600)
    seconds = time.perf_counter() - began
    assert status == 0, f"a client has ended with status {status}"
    assert len(list(folder.glob("*.wav"))) == count, "outputs are missing"
    shutil.rmtree(folder)
    return count / seconds


def throughput(server: Emulator, place: Path, count: int) -> None:
    """Compare the throughput of the clients."""
    other = python_with("inworld-tts", "inworld-tts\n")
    rates = {
        "loop with inworld-tts": measured(OTHER, server, place, count, other),
        "loop with iw.tts.synthesize": measured(LOOP, server, place, count),
        "iw.batch": measured(BATCH, server, place, count),
    }
    for name, rate in rates.items():
        ratio = rate / rates["loop with inworld-tts"]
        report(f"{name:30} {rate:8.1f} texts per second {ratio:6.1f} times inworld-tts")


def killed_twice(server: Emulator, place: Path, count: int) -> None:
    """Kill a batch twice, complete it, and check every output."""
    folder = place / "out"
    began = time.perf_counter()
    for part in (1, 2):
        process = start(BATCH, server, folder, count)
        journal = folder / "journal.jsonl"
        while not journal.exists() or journal.read_bytes().count(b"\n") < count * part // 3:
            assert process.poll() is None, "the batch has ended before it was killed"
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert start(BATCH, server, folder, count).wait(3600) == 0
    seconds = time.perf_counter() - began
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
    recorded = Counter(line["output"] for line in lines if "bytes" in line)
    sizes = Counter()
    for number in range(count):
        with wave.open(str(folder / f"n{number}.wav")) as file:
            sizes[file.getnframes() > 0] += 1
    left = [path.name for path in folder.iterdir() if path.suffix != ".wav"]
    assert left == ["journal.jsonl"], left
    assert set(recorded.values()) == {1}, "an output was recorded twice"
    assert (len(recorded), sizes[True]) == (count, count), "outputs are missing"
    report(
        f"{count} texts, killed twice: every output exists and was recorded once; {seconds:.0f} s"
    )


def cache(server: Emulator, place: Path, rounds: int) -> None:
    """Compare the time of a cache hit with the time of a synthesis."""
    times: dict[bool, list[float]] = {False: [], True: []}
    settings = {"api_key": server.api_key, "base_url": server.url, "cache": place / "cache"}
    with Inworld(**settings) as iw:  # type: ignore[arg-type]
        iw.tts.synthesize("The first one connects.")
        for number in range(rounds):
            for _ in range(2):
                began = time.perf_counter()
                speech = iw.tts.synthesize(TEXT.format(number))
                times[speech.from_cache].append(time.perf_counter() - began)
    miss, hit = (statistics.median(times[is_hit]) * 1000 for is_hit in (False, True))
    report(f"synthesis {miss:.1f} ms, hit in the cache {hit:.2f} ms, ratio {miss / hit:.0f}")


def report(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batches", description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--measured", type=int, default=200, help="count of texts for throughput")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Emulator(settings=SETTINGS) as server:
        with Inworld(api_key=server.api_key, base_url=server.url) as iw:
            iw.tts.synthesize("The engine is loaded.")
        throughput(server, Path(name), chosen.measured)
        cache(server, Path(name), 50)
        killed_twice(server, Path(name), chosen.items)


if __name__ == "__main__":
    main()
