"""If a process forks during its first call, the child works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from inworld_sync.emulator import Emulator

from support.spelling import SpellingSynthesizer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run(server: Emulator, program: str, *arguments: str) -> str:
    """Run a program with the address and the key of a server, and return its output."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, server.url, server.api_key, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    return done.stdout


# A thread imports the module of a service, slowly. The import begins before the fork. Without the
# lock that a fork waits for, the child would inherit the unfinished import and hang in iw.realtime.
_SLOW_IMPORT = """
import importlib.abc, logging, os, signal, sys, threading, time
from inworld_sync import Inworld

iw = Inworld(api_key=sys.argv[2], base_url=sys.argv[1])
has_begun, forks = threading.Event(), threading.Event()

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "inworld_sync.sessions.realtime.service" and not has_begun.is_set():
            has_begun.set()
            forks.wait(60)
            time.sleep(0.3)
            logging.getLogger("a module that makes its logger")
        return None

sys.meta_path.insert(0, Slow())
os.register_at_fork(before=forks.set)
threading.Thread(target=lambda: iw.realtime).start()
has_begun.wait(60)
signal.alarm(100)
child = os.fork()
if not child:
    signal.alarm(60)
    iw.realtime.connect().close()
    Inworld(api_key=sys.argv[2], base_url=sys.argv[1]).realtime.connect().close()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_waits_for_an_import() -> None:
    """If another thread imports a module of this package, the fork waits for the import."""
    with Emulator(synthesizer=SpellingSynthesizer()) as server:
        run(server, _SLOW_IMPORT)


# This program prints the name of each module that is imported without the lock.
_CALLS = """
import importlib.abc, sys
from inworld_sync import Inworld, tool
from inworld_sync.locks import imports
from inworld_sync.realtime import Session

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if not imports._is_owned():
            print(name, flush=True)
        return None

watch = Watch()
sys.meta_path.insert(0, watch)
iw = Inworld(api_key=sys.argv[2], base_url=sys.argv[1])

@tool
def now() -> str:
    "The time."
    return "noon"

def converse():
    with iw.realtime.connect(Session(tools=[now])) as rt:
        rt.send_audio(bytes(4800))
        rt.send_message("Hello.").wait(30)

calls = {
    "tts": lambda: iw.tts.synthesize("Hi."),
    "http": lambda: iw.tts.synthesize("Hi.", method="http"),
    "stt": lambda: iw.stt.transcribe(bytes(3200), raw_format="s16le", sample_rate_hz=16000),
    "realtime": converse,
    "voices": lambda: iw.voices.list(),
}
calls[sys.argv[3]]()
iw.close()
sys.meta_path.remove(watch)
"""


@pytest.mark.parametrize("first", ["tts", "http", "stt", "realtime", "voices"])
def test_no_import_without_the_lock(first: str) -> None:
    """The first call of a process imports modules only while its thread holds the lock."""
    with Emulator(synthesizer=SpellingSynthesizer()) as server:
        assert "" == run(server, _CALLS, first)
