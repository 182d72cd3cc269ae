"""
Measure echo cancellation in simulated rooms: ``python -m benchmarks.echo [--quick]``.

The program needs the extras ``echo`` and ``local``. It exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import sys

from benchmarks.echo.room import Room
from benchmarks.echo.runs import RATE_HZ, Outcome, converse, double_talk
from inworld_sync.emulator.recognition.engine import SpeechEngine

__all__: list[str] = []

ROOMS = [
    Room(seed=1),
    Room(seed=2, delay_ms=0),
    Room(seed=3, delay_ms=2, reverberation_s=0.15),
    Room(seed=4, delay_ms=60, distortion=0.3),
    Room(seed=5, delay_ms=120, distortion=0.6),
    Room(seed=6, delay_ms=200, reverberation_s=0.4),
    Room(seed=7, delay_ms=300),
    Room(seed=8, delay_ms=300, distortion=0.5, reverberation_s=0.35),
    Room(seed=9, delay_ms=20, distortion=1.0, near_db=0),
    Room(seed=10, delay_ms=10, speaker_hz=48_000, microphone_hz=48_000),
    Room(seed=11, delay_ms=30, speaker_hz=44_100, microphone_hz=16_000),
    Room(seed=12, delay_ms=15, late_ms=5),
    Room(seed=13, delay_ms=15, late_ms=5, is_reported=False),
    Room(seed=14, delay_ms=80, underruns=6),
    Room(seed=15, delay_ms=40, replaced=True, seconds=90),
    Room(seed=16, delay_ms=25, speaker_ppm=80, microphone_ppm=-40, near_db=0, seconds=120),
    Room(seed=17, delay_ms=50, speaker_ppm=-100, microphone_ppm=50, near_db=10, seconds=120),
    Room(seed=18, speaker_ppm=200, seconds=1800),
    Room(seed=19, speaker_ppm=1000, seconds=300, late_ms=2),
    Room(seed=20, speaker_ppm=-500, microphone_ppm=500, seconds=300, late_ms=3, is_reported=False),
]
LEVELS_DB = (10, 6, 0)


def main() -> int:
    """Simulate the rooms in up to four processes, and print the figures of each room."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="simulate at most 60 s of each room")
    parser.add_argument("--room", type=int, help="run only the room with this number")
    arguments = parser.parse_args()
    rooms = [each for each in ROOMS if arguments.room in (None, each.seed)]
    met = True
    with concurrent.futures.ProcessPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        if arguments.quick:
            rooms = [_shortened(each) for each in rooms]
        # The longest simulations start first, so that all processes end at about the same time.
        begun = sorted(rooms, key=lambda room: -room.seconds)
        outcomes = {room: pool.submit(converse, room) for room in begun}
        for room in rooms:
            met &= _report(room, outcomes[room].result())
    if arguments.room is None:
        _report_words(arguments.quick)
    print("all goals are met" if met else "a goal is NOT met")
    return 0 if met else 1


def _shortened(room: Room) -> Room:
    import attrs

    return attrs.evolve(room, seconds=min(room.seconds, 60.0))


def _report(room: Room, outcome: Outcome) -> bool:
    faults = outcome.faults()
    print(
        f"room {room.seed:2}: {outcome.removed_db:.1f} dB of echo removed, at least "
        f"{outcome.worst_db:.1f} dB in each speech; {len(outcome.detected_ms)} interruptions, "
        f"slowest {max(outcome.detected_ms):.0f} ms; {outcome.false} false interruptions, "
        f"{outcome.false_before} without cancellation; difference of the clocks "
        f"{outcome.skew_ppm:+.0f} ppm; {100 * outcome.took:.1f} % of a core "
        f"({room.describe()})" + "".join(f"\n    NOT MET: {fault}" for fault in faults),
        flush=True,
    )
    return not faults


def _report_words(is_quick: bool) -> None:
    engine = SpeechEngine()
    for level_db in LEVELS_DB:
        room = Room(seed=30, near_db=level_db, seconds=60.0 if is_quick else 170.0, delay_ms=40)
        words = double_talk(room, engine)
        print(
            f"both speak, user {level_db:+} dB above the echo; words of the user that are wrong: "
            f"{words.with_cancellation:.0f} %, without cancellation {words.without:.0f} %, "
            f"if only the user speaks {words.alone:.0f} % ({RATE_HZ} Hz)",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
