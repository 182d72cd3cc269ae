"""
Stream hours of audio as fast as the service accepts it, and lose the connection several times.

The server is scripted and recognizes words that are encoded in the samples. The server runs in
another process, so the memory in the output is the memory of the client.

Run this program with ``python tests/soak_stt.py --hours 1``. The program prints a line for every
ten minutes of audio, and exits with 1 if a word is lost or repeated, if audio is missing in the
usage, or if the memory grows. ``--cuts 20`` loses the connection twenty times. ``--rate 50`` sends
at most 50 messages per second, which is five times real time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from inworld_sync import Inworld, Transcript

from support.peers import serve as serve_peers
from support.scripted import KEY
from support.scripted_stt import SttConnectionScript, SttServer
from support.spoken_words import RATE_HZ, spoken_turns

BLOCK, BLOCK_TEXT = spoken_turns(4, 7, 1, 12)
BLOCK_SECONDS = len(BLOCK) / 2 / RATE_HZ
PATIENCE_SECONDS = 60.0
# The memory may grow by at most this many bytes after the start.
GROWTH_BYTES = 8 << 20


def serve(cut_every: int) -> None:
    """Run the server until standard input ends. Cut each connection after *cut_every* chunks."""

    def hook(connection: SttConnectionScript, name: str) -> None:
        connection.requests.clear()
        if cut_every and name == "chunk" and connection.counts[name] == cut_every:
            connection.reset()

    server = SttServer(hook, {}, keeps_audio=False)
    with serve_peers(server.run) as raw:
        sys.stdout.write(f"{raw.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


def resident_bytes() -> int:
    """Return the resident memory of this process, or 0 if the system does not report it."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0


class Soak:
    """One run of the program, and its results."""

    def __init__(self, hours: float) -> None:
        self.blocks = round(hours * 3600 / BLOCK_SECONDS)
        self.started = time.monotonic()
        self.memory: list[int] = []

    def audio(self) -> Iterator[bytes]:
        """Yield the same block of audio again and again."""
        reported = 0
        for number in range(self.blocks):
            yield BLOCK
            minutes = int(number * BLOCK_SECONDS / 600)
            if minutes > reported:
                reported = minutes
                self.report(f"{minutes * 10} min")

    def report(self, where: str) -> None:
        self.memory.append(resident_bytes())
        took = time.monotonic() - self.started
        sys.stdout.write(f"{where:>8}  {took:7.1f} s  {self.memory[-1] / (1 << 20):6.1f} MiB\n")
        sys.stdout.flush()

    def check(self, transcript: Transcript, reconnects: int) -> list[str]:
        """Return a description of each fault."""
        faults = []
        expected = " ".join([BLOCK_TEXT] * self.blocks).split()
        said = transcript.text.split()
        if expected != said:
            faults.append(f"expected {len(expected)} words, got {len(said)}, or other words")
        seconds = self.blocks * BLOCK_SECONDS
        counted = transcript.usage.audio_ms / 1000 if transcript.usage else 0.0
        if not reconnects and abs(counted - seconds) > 0.05:
            faults.append(f"{seconds:.2f} s were sent and {counted:.2f} s counted")
        if self.memory and max(self.memory) - self.memory[0] > GROWTH_BYTES + 200 * len(said):
            faults.append("the memory grows")
        return faults


def soak(port: int, hours: float, rate: float) -> int:
    """Stream the audio. Return the count of faults."""
    run = Soak(hours)
    with Inworld(api_key=KEY, base_url=f"ws://127.0.0.1:{port}") as iw:
        stream = iw.stt.stream(max_chunks_per_second=rate)
        # Without a consumer, the events of the stream would fill the mailbox.
        stream.on("nothing", print)
        stream.feed(run.audio())
        transcript = stream.close(PATIENCE_SECONDS)
    run.report("end")
    reconnects = stream.stats.reconnects
    faults = run.check(transcript, reconnects)
    counted = transcript.usage.audio_ms / 1000 if transcript.usage else 0.0
    sys.stdout.write(
        f"{run.blocks * BLOCK_SECONDS:.2f} s of audio, {counted:.2f} s in the usage, "
        f"{len(transcript.text.split())} words in {len(transcript.turns)} turns, "
        f"{reconnects} reconnects, {len(faults)} faults\n"
    )
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    return len(faults)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=5000.0, help="limit of chunks per second")
    parser.add_argument("--cuts", type=int, default=0, help="how many times to cut the connection")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        serve(arguments.serve)
        return 0
    chunks = int(arguments.hours * 36_000)
    cut_every = chunks // (arguments.cuts + 1) if arguments.cuts else 0
    command = [sys.executable, __file__, "--serve", str(cut_every)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        return soak(int(server.stdout.readline()), arguments.hours, arguments.rate)


if __name__ == "__main__":
    sys.exit(main())
