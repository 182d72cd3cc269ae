"""
Fork a program at a random moment of its first call. Every child must be able to use the client.

Run this program with ``python tests/fork_storm.py --forks 200``. The test suite does not run it.
Each fork happens in a new process, since only the first call of a process imports modules. The
child makes a call with the client of its parent, and a call with a new client. Each call must
return or raise an ``InworldError``. If a process hangs, the program prints the stack of the process
and exits with status 1.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from inworld_sync.emulator import Emulator

from support.spelling import SpellingSynthesizer

_PROGRAM = """
import faulthandler, os, signal, sys, threading, time
from inworld_sync import InworldError

url, key, seconds, use, made = sys.argv[1:]
faulthandler.register(signal.SIGALRM, chain=True)
signal.alarm(60)

def call(iw):
    if use == "tts":
        iw.tts.synthesize("Hi.", timeout=10)
    elif use == "stt":
        iw.stt.transcribe(bytes(3200), raw_format="s16le", sample_rate_hz=16000, timeout=10)
    elif use == "realtime":
        iw.realtime.connect(timeout=10).close()
    else:
        iw.voices.list(timeout=10)

def first_call():
    call(iw or make())

def make():
    from inworld_sync import Inworld
    return Inworld(api_key=key, base_url=url)

iw = make() if made == "before" else None
thread = threading.Thread(target=first_call)
thread.start()
time.sleep(float(seconds))
child = os.fork()
if not child:
    signal.alarm(30)
    status = 0
    for client in filter(None, (iw, make())):
        try:
            call(client)
        except InworldError as error:
            print(repr(error), file=sys.stderr)
            status = 3
    os._exit(status)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

# The services whose first call is interrupted by a fork.
_USES = ("tts", "stt", "realtime", "voices")

# The first call of a process ends within this time on an idle machine.
_FIRST_CALL_SECONDS = 0.3


def main() -> None:
    """Run programs that fork. Exit with status 1 if a child hangs or crashes."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--forks", type=int, default=200)
    options.add_argument("--seed", type=int, default=int(time.time()))
    options.add_argument("--at-once", type=int, default=os.cpu_count() or 1)
    chosen = options.parse_args()
    sys.stdout.write(f"seed {chosen.seed}\n")
    chance, counts, lost = random.Random(chosen.seed), Counter[str](), 0
    with (
        Emulator(synthesizer=SpellingSynthesizer()) as server,
        tempfile.TemporaryDirectory() as bytecode,
    ):
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def fork(moment: tuple[str, str, str]) -> tuple[str, str]:
            command = [sys.executable, "-c", _PROGRAM, server.url, server.api_key, *moment]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            outcome = {0: "works", 3: "raises"}.get(done.returncode, "hangs or crashes")
            return outcome, done.stderr

        moments = [
            (
                str(chance.uniform(0.0, _FIRST_CALL_SECONDS)),
                _USES[number % len(_USES)],
                chance.choice(("before", "in the thread")),
            )
            for number in range(chosen.forks)
        ]
        with ThreadPoolExecutor(chosen.at_once) as workers:
            for moment, (outcome, errors) in zip(moments, workers.map(fork, moments), strict=True):
                counts[f"{moment[1]} {outcome}"] += 1
                if outcome not in ("works", "raises"):
                    lost += 1
                    sys.stdout.write(f"{moment}\n{errors}")
    sys.stdout.write(f"{dict(counts)}\n")
    sys.exit(min(lost, 1))


if __name__ == "__main__":
    main()
