"""If a process forks at any moment, the child works, and its calls return or raise."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

import inworld_sync
from inworld_sync import Inworld, NullSpeaker
from inworld_sync.emulator import Emulator

from support.forks import all_locks_held, in_child
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


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(synthesizer=SpellingSynthesizer()) as server:
        yield server


@pytest.fixture
def iw(server: Emulator) -> Iterator[Inworld]:
    with Inworld(api_key=server.api_key, base_url=server.url) as iw:
        yield iw


# The arguments of methods that need some. The values do not matter.
_ARGUMENTS: dict[str, tuple[object, ...]] = {
    "add": (None,),
    "approve": ("x",),
    "delete": ("x",),
    "item": ("x",),
    "on": (Exception, print),
    "phoneme_at": (1.0,),
    "play": (None,),
    "read": (10,),
    "read_audio": (10,),
    "retrieve": ("x",),
    "save": (os.devnull,),
    "say": ("x",),
    "send": ("x",),
    "send_audio": (bytes(960),),
    "send_message": ("x",),
    "submit_tool_output": ("x", "y"),
    "subscribe": (Exception,),
    "truncate": ("x", 0),
    "update": ({},),
    "viseme_at": (1.0,),
    "word_at": (1.0,),
}


def use_in_children(used: object) -> dict[str, str]:
    """
    Use each public attribute of an object in a child of its own, and return what was raised.

    Other threads of the parent hold all locks during each fork.
    """

    def use(name: str) -> None:
        value = getattr(used, name)
        if callable(value):
            value = value(*_ARGUMENTS.get(name, ()))
        if hasattr(value, "__next__"):
            next(value)

    names = [name for name in dir(used) if not name.startswith("_") and name != "converse"]
    raised = {name: in_child(lambda name=name: use(name), all_locks_held()) for name in names}
    assert {} == {name: text for name, text in raised.items() if "Timeout" in text}
    return raised


def test_a_realtime_session_in_a_child(iw: Inworld) -> None:
    """No call of a child waits for a lock that a thread of the parent held during the fork."""
    with iw.realtime.connect() as rt:
        response = rt.send_message("Hello.")
        use_in_children(response)
        use_in_children(response.audio)
        raised = use_in_children(rt)
        response.wait(30)

    for name in ("clear", "commit", "interrupt", "respond", "send_audio", "send_message"):
        assert raised[name].startswith("ClosedError: "), name


def test_speech_in_a_child(iw: Inworld) -> None:
    """The same for a context, a connection, an utterance and its playback."""
    with iw.tts.connect() as connection:
        context = connection.context()
        context.send("Hello.")
        raised = use_in_children(context)
        use_in_children(connection)
        context.close()
    with iw.tts.stream("Hello.") as utterance:
        next(iter(utterance))
        use_in_children(utterance)
    with NullSpeaker() as speaker:
        playback = iw.tts.speak("Hello.", speaker=speaker)
        use_in_children(playback)
        playback.interrupt()

    for name in ("flush", "send", "update"):
        assert raised[name].startswith("ClosedError: "), name


def test_a_transcript_in_a_child(iw: Inworld) -> None:
    """The same for a stream of audio."""
    with iw.stt.stream() as stream:
        stream.send(bytes(3200))
        raised = use_in_children(stream)

    assert raised["end_turn"].startswith("ClosedError: ")


def test_a_client_in_a_child(iw: Inworld) -> None:
    """A child can use the client, even if a thread of the parent held all locks."""
    assert iw.voices.list()

    def call() -> None:
        assert iw.tts.synthesize("Hi.").pcm
        assert iw.voices.list()
        iw.realtime.connect().close()
        iw.stt.transcribe(bytes(3200), raw_format="s16le", sample_rate_hz=16000)

    assert "" == in_child(call, all_locks_held())


def test_a_child_keeps_objects_that_have_threads() -> None:
    """
    The garbage collection of a child frees no object of libavfilter.

    The threads of such an object do not exist in the child, which would wait for them forever. The
    encoder of aiortc has such an object.
    """
    frame = av.AudioFrame(samples=480)
    frame.sample_rate = 24_000
    frame.pts = 0
    frozen = gc.get_freeze_count()
    gc.disable()
    try:
        for _ in range(30):
            resampler = av.AudioResampler("s16", "mono", 48_000)
            resampler.resample(frame)
            # A cycle, which only the garbage collection frees.
            cycle: list[object] = [resampler]
            cycle.append(cycle)
        assert "" == in_child(lambda: (gc.enable(), gc.collect()))
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert frozen == gc.get_freeze_count()


_NESTED = """
import gc, os, signal, sys

def wait_for_child():
    child = os.fork()
    if not child:
        os._exit(not gc.isenabled())
    assert 0 == os.waitpid(child, 0)[1]

def interrupt():
    if signal.getsignal(signal.SIGUSR1) is not signal.SIG_IGN:
        signal.raise_signal(signal.SIGUSR1)

def handle(*_):
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    wait_for_child()

import inworld_sync
signal.signal(signal.SIGUSR1, handle)
os.register_at_fork(after_in_parent=interrupt)
if sys.argv[3] == "before":
    # The functions that run before a fork run in the reverse order.
    os.register_at_fork(before=interrupt)
from inworld_sync import locks
wait_for_child()
assert gc.isenabled()
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_signal_handler_forks_during_a_fork(server: Emulator, moment: str) -> None:
    """The garbage collector is on after the forks, in the parent and in the children."""
    assert "" == run(server, _NESTED, moment)


_PACKAGE = Path(inworld_sync.__file__).parent
_LOCK = re.compile(r"threading\.(Lock|RLock|Condition|Event|(Bounded)?Semaphore)\(")


def test_every_lock_is_free_in_a_child() -> None:
    """
    All locks of the client are made by `locks.py`, which makes them free in a child.

    The emulator and the command line are programs that no child continues to use.
    """
    others = [_PACKAGE / "emulator", _PACKAGE / "cli", _PACKAGE / "locks.py"]
    made = [
        f"{path}: {line.strip()}"
        for path in _PACKAGE.rglob("*.py")
        if not any(path.is_relative_to(other) for other in others)
        for line in path.read_text(encoding="utf-8").splitlines()
        if _LOCK.search(line)
    ]
    assert [] == made
