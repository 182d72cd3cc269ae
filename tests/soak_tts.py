"""
Synthesize on many threads with many faults. Each utterance must be complete or raise an error.

Run this program with ``python tests/soak_tts.py --seconds 60 --seed 1``. The test suite does not
run the program. The threads of one client speak, interrupt, poll and stop early. The server breaks
every third connection in some way. At the end, no thread of the client may run, and no place of the
limiter may be in use.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

from inworld_sync import AudioChunk, FlushCompleted, Inworld, InworldError, QuotaError
from inworld_sync.emulator import Emulator, Settings

from support.counting import CountingLimiter
from support.spelling import SpellingSynthesizer, spelled, spoken_part

FAULTS = [
    "drop", "reset", "close:1000", "close:1011", "half_frame", "bad_json", "bad_utf8", "binary",
    "masked", "reserved_opcode", "stall", "pause:0.05", "fragments:9", "ping", "unknown_message",
    "error:3", "fatal_error:13",
]  # fmt: skip
SAMPLES = 48
THREADS = 40


class Soak:
    """The client, the counts and the faults that all threads share."""

    def __init__(self, iw: Inworld, seconds: float, seed: int) -> None:
        self.iw = iw
        self.until = time.monotonic() + seconds
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._seed = seed

    def run(self, number: int) -> None:
        """Perform random operations until the end of the run."""
        chance = random.Random(f"{self._seed} {number}")
        while time.monotonic() < self.until:
            use: Callable[[str, random.Random], str] = chance.choice(
                [self.whole, self.whole, self.tokens, self.left, self.stopped, self.contexts]
            )
            text = " ".join(
                f"Sentence {n} of voice {number} number {chance.randrange(1000)}."
                for n in range(chance.randrange(1, 12))
            )
            try:
                spoken = use(text, chance)
            except InworldError as error:
                self.counts[f"{use.__name__}: {type(error).__name__}"] += 1
                self._check_partial(error, text)
            except Exception as error:
                self.wrong.append(f"{use.__name__} raised {error!r}")
            else:
                self.counts[use.__name__] += 1
                if not spoken_part(text).startswith(spoken):
                    self.wrong.append(f"{use.__name__} gave {spoken!r} for {text!r}")

    def whole(self, text: str, _: random.Random) -> str:
        spoken = spelled(self.iw.tts.synthesize(text, timeout=3).data, SAMPLES)
        if spoken != spoken_part(text):
            self.wrong.append(f"not whole: {spoken!r} for {text!r}")
        return spoken

    def tokens(self, text: str, chance: random.Random) -> str:
        size = chance.randrange(1, 30)
        pieces = (text[start : start + size] for start in range(0, len(text), size))
        spoken = spelled(self.iw.tts.synthesize(pieces, timeout=3).data, SAMPLES)
        if spoken != spoken_part(text):
            self.wrong.append(f"not whole: {spoken!r} for {text!r}")
        return spoken

    def left(self, text: str, chance: random.Random) -> str:
        data = b""
        for chunk in self.iw.tts.stream(text, timeout=3):
            data += chunk.data
            if not chance.randrange(3):
                break
        return spelled(data, SAMPLES)

    def stopped(self, text: str, chance: random.Random) -> str:
        stream = self.iw.tts.stream(iter(text.split(" ")), timeout=3)
        timer = threading.Timer(chance.random() / 50, stream.close)
        timer.start()
        try:
            list(stream)
        finally:
            timer.join()
        return ""

    def contexts(self, text: str, chance: random.Random) -> str:
        data = b""
        with self.iw.tts.connect(timeout=3) as connection:
            contexts = [connection.context() for _ in range(chance.randrange(1, 6))]
            for context in contexts:
                context.send(text)
                context.flush()
            for event in contexts[0].events(3):
                if isinstance(event, FlushCompleted):
                    break
                data += event.data if isinstance(event, AudioChunk) else b""
            for context in contexts:
                context.interrupt() if chance.randrange(2) else context.close()
        return spelled(data, SAMPLES)

    def _check_partial(self, error: InworldError, text: str) -> None:
        data = getattr(error.partial, "data", b"")
        whole = data[: len(data) // (2 * SAMPLES) * 2 * SAMPLES]
        if not spoken_part(text).startswith(spelled(whole, SAMPLES)):
            self.wrong.append(f"partial speech of {error!r} is not of {text!r}")
        if isinstance(error, QuotaError) and error.status is None:
            time.sleep(0.01)


def main() -> int:
    """Run the program. Return 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tls", action="store_true")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    faults = [
        f"{chance.choice(FAULTS)}@{chance.randrange(30)}" if not number % 3 else ""
        for number in range(int(arguments.seconds * 400))
    ]
    limiter = CountingLimiter(12)
    settings = Settings(chunk_ms=20)
    with (
        Emulator(
            synthesizer=SpellingSynthesizer(SAMPLES),
            settings=settings,
            faults=faults,
            tls=arguments.tls,
        ) as server,
        Inworld(
            api_key=server.api_key,
            base_url=server.url,
            limiter=limiter,
            ssl_context=server.ssl_context,
        ) as iw,
    ):
        soak = Soak(iw, arguments.seconds, arguments.seed)
        threads = [
            threading.Thread(target=soak.run, args=(n,), daemon=True) for n in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(arguments.seconds + 60)
            if thread.is_alive():
                faulthandler.dump_traceback(all_threads=True)
                soak.wrong.append("a thread hangs")
                break
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("inworld-")]
    if left:
        soak.wrong.append(f"threads are left: {left}")
    if limiter.taken:
        soak.wrong.append(f"{limiter.taken} places are left")
    for what, count in sorted(soak.counts.items()):
        sys.stdout.write(f"{count:7} {what}\n")
    for wrong in soak.wrong[:20]:
        sys.stdout.write(f"WRONG: {wrong}\n")
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
