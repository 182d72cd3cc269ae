"""The client: its arguments, its services, its end, and its use after a fork."""

from __future__ import annotations

import logging
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable

import attrs
import pytest

from inworld_sync import (
    ClosedError,
    ConfigError,
    ConnectError,
    ConnectionLimiter,
    Inworld,
    NotFoundError,
    Options,
)
from inworld_sync.emulator import Emulator

from support.needs import NEEDS_GEVENT
from support.spelling import SpellingSynthesizer, spelled


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INWORLD_API_KEY", "INWORLD_SYNC_LOCAL", "INWORLD_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


# (arguments, words of the error): missing, wrong and contradictory arguments.
WRONG: list[tuple[dict[str, object], str]] = [
    ({}, "INWORLD_API_KEY"),
    ({"api_key": ""}, "the API key is empty"),
    ({"api_key": "k", "token": "t"}, "expected one credential"),
    ({"local": True, "api_key": "k"}, "local=True uses the emulator.*omit api_key"),
    ({"local": True, "base_url": "http://localhost:1"}, "omit base_url"),
    ({"api_key": "k", "base_url": "ftp://x"}, "base_url must be a URL"),
    ({"api_key": "k", "connect_timeout": 0}, "connect_timeout must be above 0"),
    ({"auth": "k"}, "auth must have the method header.*api_key="),
    ({"token": 5}, "the token must be a str, got int"),
    ({"api_key": "k", "options": {"base_url": "http://x"}}, "options must be an Options, got"),
    ({"local": True, "options": Options(base_url="http://x")}, "omit base_url"),
    ({"api_key": "k", "proxy": "ftp://x"}, "proxy= must start with http://"),
    ({"api_key": "k", "base_url": "https://a..b"}, r"base_url has the host 'a\.\.b'"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_wrong(arguments: dict[str, object], words: str) -> None:
    """Wrong arguments raise an error before a connection is opened."""
    with pytest.raises(ConfigError, match=words):
        Inworld(**arguments)  # type: ignore[arg-type]


def test_local_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """INWORLD_SYNC_LOCAL=1 selects the emulator. Errors about the emulator name the variable."""
    monkeypatch.setenv("INWORLD_SYNC_LOCAL", "1")
    with Inworld() as iw:
        assert iw.options.base_url.startswith("http://127.0.0.1:")
        assert "local" in repr(iw)
    with pytest.raises(ConfigError, match=r"INWORLD_SYNC_LOCAL=1 uses.*local=False"):
        Inworld(api_key="k")
    with Inworld(api_key="k", local=False) as iw:
        assert iw.options.base_url == "https://api.inworld.ai"


def test_base_url_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """INWORLD_BASE_URL replaces the default address. Arguments and the emulator have priority."""
    monkeypatch.setenv("INWORLD_BASE_URL", " http://localhost:9/ ")
    with Inworld(api_key="k") as iw:
        assert "http://localhost:9/" == iw.options.base_url
        assert "ws://localhost:9/tts" == iw.options.endpoint("/tts", websocket=True)
    with Inworld(api_key="k", base_url="https://other") as iw:
        assert "https://other" == iw.options.base_url
    with Inworld(api_key="k", options=Options(base_url="https://other")) as iw:
        assert "https://other" == iw.options.base_url
    with Inworld(local=True) as iw:
        assert iw.options.base_url.startswith("http://127.0.0.1:")
    monkeypatch.setenv("INWORLD_BASE_URL", "")
    with Inworld(api_key="k") as iw:
        assert "https://api.inworld.ai" == iw.options.base_url


@pytest.mark.parametrize("value", ["localhost:9", "ftp://x", "https://x/path", "https://a..b"])
def test_wrong_base_url_of_the_environment(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A wrong address raises an error that names the variable."""
    monkeypatch.setenv("INWORLD_BASE_URL", value)

    with pytest.raises(ConfigError, match="the environment variable INWORLD_BASE_URL"):
        Inworld(api_key="k")


def test_local_without_its_extra() -> None:
    """If the emulator is not installed, the error says what to install."""
    program = (
        "import sys; sys.modules['websockets'] = None\n"
        "from inworld_sync import ConfigError, Inworld\n"
        "try: Inworld(local=True)\n"
        "except ConfigError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert (
        "the emulator needs the extra 'local' (websockets is missing): "
        "pip install 'inworld-sync[local]'\n" == done.stdout
    )


def test_the_emulator_without_its_extra() -> None:
    """If the extra is missing, importing Emulator raises an error that names the extra."""
    program = (
        "import sys; sys.modules['websockets'] = None\n"
        "import inworld_sync.emulator\n"
        "try: from inworld_sync.emulator import Emulator\n"
        "except ImportError as error: print(error.name, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.startswith("websockets")
    assert "the emulator needs the extra 'local' (websockets is missing)" in done.stdout


def test_options_and_settings() -> None:
    """Keyword arguments replace settings of the options object."""
    options = Options(base_url="http://localhost:9", close_timeout=1.0)
    with Inworld(api_key="k", options=options, close_timeout=2.0) as iw:
        assert Options(base_url="http://localhost:9", close_timeout=2.0) == iw.options


def test_services_are_made_once() -> None:
    """All threads that share a client get the same service objects."""
    with Inworld(api_key="k") as iw:
        barrier = threading.Barrier(8)
        found: list[object] = []

        def look() -> None:
            barrier.wait(30)
            found.append(iw.tts)

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert [iw.tts] * 8 == found
        assert iw.voices is iw.voices


def test_close(inworld_local: Emulator) -> None:
    """After close(), the services of the client raise an error. A second close has no effect."""
    iw = Inworld(api_key=inworld_local.api_key, base_url=inworld_local.url)
    iw.close()
    iw.close()
    for service in ("tts", "voices"):
        with pytest.raises(ClosedError, match="make another"):
            getattr(iw, service)


def test_repr() -> None:
    """The repr of a client shows its address, but no credential."""
    with Inworld(api_key="c2VjcmV0") as iw:
        assert "<Inworld https://api.inworld.ai>" == repr(iw)


def test_repr_of_a_client_that_failed() -> None:
    """If the constructor has raised an error, the repr of the client still works."""
    for arguments in ({"options": "x"}, {"api_keys": "k"}, {"timeout": 5}):
        iw = Inworld.__new__(Inworld)
        with pytest.raises((ConfigError, TypeError)):
            iw.__init__(**arguments)  # type: ignore[misc, arg-type]

        assert "<Inworld, not initialized>" == repr(iw)


class Observer:
    def message(self, *_: object) -> None: ...


# For each option, a value that differs from the default.
OPTIONS: dict[str, object] = {
    "base_url": "http://localhost:9",
    "connect_timeout": 1.0,
    "send_timeout": 2.0,
    "close_timeout": 3.0,
    "ping_interval": 4.0,
    "ping_timeout": 6.0,
    "max_retries": 5,
    "proxy": False,
    "ssl_context": ssl.create_default_context(),
    "headers": {"X-One": "1"},
    "credential_in": "query",
    "max_message_bytes": 1000,
    "max_queued_bytes": 1001,
    "limiter": ConnectionLimiter(3),
    "cache": "folder",
    "cache_max_bytes": 1 << 21,
    "observer": Observer(),
    "logger": logging.getLogger("another"),
    "on_trace": print,
    "sends_cancel_context": True,
    "dispatch": "poll",
}


def test_every_option_arrives() -> None:
    """Each option can be passed by name. The other options keep their defaults."""

    logger = logging.getLogger("inworld_sync")
    assert list(OPTIONS) == [field.name for field in attrs.fields(Options)]
    for name, value in OPTIONS.items():
        assert getattr(Options(logger=logger), name) != value
        with Inworld(api_key="k", **{name: value}) as iw:  # type: ignore[arg-type]
            assert attrs.evolve(Options(logger=logger), **{name: value}) == iw.options


def test_an_unknown_option() -> None:
    """An unknown keyword argument raises an error that names the most similar argument."""
    with pytest.raises(TypeError, match=r"Inworld\(\).*'apikey'.*'api_key'"):
        Inworld(apikey="k")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Inworld\(\).*'timeout'.*'connect_timeout'"):
        Inworld("k", timeout=5)  # type: ignore[call-arg]


def test_voices(inworld_local: Emulator) -> None:
    """Voices are listed and are found by id. An unknown id raises NotFoundError."""
    with Inworld(api_key=inworld_local.api_key, base_url=inworld_local.url) as iw:
        voices = iw.voices.list()
        assert "Ashley" in {voice.id for voice in voices}
        assert voices[0] == iw.voices.get(voices[0].id)
        with pytest.raises(NotFoundError):
            iw.voices.get("Nobody/../../at all")


# Forks, as in servers with worker processes.

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

_FORK = """
import os, sys
from inworld_sync import ClosedError, Inworld

url, key, what = sys.argv[1:]
iw = Inworld(api_key=key, base_url=url)
{before}
pid = os.fork()
if pid == 0:
    try:
        {child}
    except BaseException as error:
        print("child:", type(error).__name__, error, flush=True)
        os._exit(1)
    os._exit(0)
_, status = os.waitpid(pid, 0)
{after}
iw.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


def forked(server: Emulator, before: str, child: str, after: str = "") -> str:
    """Run a program that forks. Return its output. Fail if the program fails."""
    source = _FORK.format(before=before, child=child, after=after)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", source, server.url, server.api_key, ""],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    return done.stdout


@pytest.fixture
def server() -> object:
    with Emulator(synthesizer=SpellingSynthesizer()) as server:
        yield server


@needs_fork
def test_a_child_opens_its_own_connections(server: Emulator) -> None:
    """A client that was created or used before a fork works in the child and in the parent."""
    before = "iw.tts.synthesize('Before.')"
    child = "print(len(iw.tts.synthesize('Child.').data)); iw.close()"

    assert "48\n48\n" == forked(
        server, before, child, "print(len(iw.tts.synthesize('After.').data))"
    )


@needs_fork
def test_a_child_cannot_use_objects_of_its_parent(server: Emulator) -> None:
    """In a child, objects of the parent raise an error and do not hang."""
    before = """
tts = iw.tts
connection = tts.connect()
context = connection.context()
stream = tts.stream("Hi. " * 1000)
next(stream)
used = [
    connection.context, lambda: context.send("Hi."), context.flush, lambda: list(context),
    lambda: context.subscribe(), lambda: context.on(object, print),
    lambda: list(stream), lambda: tts.synthesize("Hi."),
]
"""
    child = """
        for number, use in enumerate(used):
            try:
                use()
            except ClosedError as error:
                print(number, "forked child" in str(error))
            else:
                print(number, "went on")
        context.interrupt(); connection.close(); stream.close(); iw.close()
"""
    expected = "".join(f"{number} True\n" for number in range(8))

    assert expected == forked(server, before, child, "connection.close()")


@needs_fork
def test_a_fork_while_a_lock_is_held(server: Emulator) -> None:
    """If another thread held a lock at the fork, no call of the child waits for this lock."""
    before = """
import threading
connection = iw.tts.connect()
context = connection.context()
held = threading.Event()
def hold():
    with iw._lock, connection._changed:
        held.set()
        threading.Event().wait(1)
threading.Thread(target=hold).start()
held.wait()
"""
    child = """
        context.interrupt(); connection.close()
        print(len(iw.tts.synthesize("Hi.").data)); iw.close()
"""

    assert "24\n" == forked(server, before, child)


# The end of the process.

_EXIT = """
import sys
from inworld_sync import AudioChunk, Inworld
iw = Inworld(api_key=sys.argv[2], base_url=sys.argv[1])
def endless():
    while True:
        yield "more and "
{left}
"""

# Each value is code that leaves an object open when the program ends.
LEFT = {
    "an idle client": "iw.tts.synthesize('Hi.')",
    "an open connection": "connection = iw.tts.connect(); context = connection.context()",
    "a stream": "stream = iw.tts.stream(endless()); next(stream)",
    "a stream after a break": "for _ in iw.tts.stream(endless()): break",
    "a handler": (
        "context = iw.tts.connect().context(); context.on(AudioChunk, lambda _: None); "
        "context.send('Hi.')"
    ),
    "a thread that takes audio": (
        "import threading; s = iw.tts.stream(endless()); next(s); "
        "threading.Thread(target=list, args=(s,), daemon=True).start()"
    ),
    "an STT stream": "stream = iw.stt.stream(on_transcript=print); stream.send(bytes(3200))",
    "a session that plays": (
        "from inworld_sync import NullSpeaker; rt = iw.realtime.connect(); "
        "rt.play(NullSpeaker(24000)); rt.send_message('Hi.')"
    ),
    "a playback": (
        "from inworld_sync import NullSpeaker; "
        "playback = iw.tts.speak(endless(), speaker=NullSpeaker(24000))"
    ),
    "an exit function": (
        "import atexit; connection = iw.tts.connect(); atexit.register(connection.close); "
        "atexit.register(iw.close)"
    ),
    "an emulator": "local = Inworld(local=True); local.voices.list()",
}


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT)
def test_exit(server: Emulator, left: str) -> None:
    """Even if an object is open, a program ends without output when its main thread ends."""
    done = subprocess.run(
        [sys.executable, "-c", _EXIT.format(left=left), server.url, server.api_key],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


_GEVENT = """
from gevent import monkey; monkey.patch_all()
import sys
import gevent
from inworld_sync import Inworld, NullSpeaker
with Inworld(api_key=sys.argv[2], base_url=sys.argv[1]) as iw:
    jobs = [gevent.spawn(lambda: iw.tts.synthesize("Hi.")) for _ in range(30)]
    gevent.joinall(jobs, timeout=30, raise_error=True)
    words = []
    playback = iw.tts.speak("Hi.", speaker=NullSpeaker(24000), on_word=words.append)
    playback.wait(30)
    with iw.tts.connect() as connection, connection.context() as context:
        context.send("Hi.")
        context.close()
        chunks = list(context.audio(timeout=30))
    voices = iw.voices.list()
    print(len({job.value.data for job in jobs}), len(words), bool(chunks), bool(voices))
"""


@NEEDS_GEVENT
def test_gevent(server: Emulator) -> None:
    """The client works with gevent, for example in a gevent worker of gunicorn."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _GEVENT, server.url, server.api_key],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (0, "1 1 True True\n", "") == (done.returncode, done.stdout, done.stderr)


def test_import_is_fast() -> None:
    """Importing the package imports neither numpy nor ssl nor the WebSocket library."""
    heavy = ["numpy", "ssl", "websocket", "urllib3", "attrs", "cattrs", "websockets"]
    program = f"import inworld_sync, sys; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert "[]\n" == done.stdout


def work_in_threads(count: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def test_shared_by_threads(server: Emulator) -> None:
    """Many threads use one client at the same time. Each thread gets the speech it requested."""
    results: dict[int, str] = {}
    with Inworld(api_key=server.api_key, base_url=server.url) as iw:
        work_in_threads(
            16, lambda n: results.update({n: spelled(iw.tts.synthesize(f"T{n}.").data)})
        )

    assert {number: f"T{number}." for number in range(16)} == results


def test_prewarm() -> None:
    """prewarm() opens one connection for utterances. The first utterance uses this connection."""
    steps: list[str] = []
    with (
        Emulator(synthesizer=SpellingSynthesizer()) as server,
        Inworld(
            server.api_key, base_url=server.url, on_trace=lambda event: steps.append(event.name)
        ) as iw,
    ):
        iw.prewarm(timeout=30)
        iw.prewarm(timeout=30)
        assert 1 == steps.count("connected")
        assert "One." == spelled(iw.tts.synthesize("One.").data)

        assert 1 == steps.count("connected")
    with pytest.raises(ClosedError):
        iw.prewarm()


def test_prewarm_without_a_server() -> None:
    """If no connection can be opened, prewarm() raises ConnectError."""
    with (
        Inworld("k", base_url="http://127.0.0.1:1", proxy=False, max_retries=0) as iw,
        pytest.raises(ConnectError),
    ):
        iw.prewarm(timeout=30)


MAKE_CLIENT = "from inworld_sync import Inworld; iw = Inworld('a2V5OmtleQ==')"

# (statement, modules that the statement must not import). Only one service, or only the code for
# errors, needs such a module.
LATE_IMPORTS = [
    (
        MAKE_CLIENT,
        [
            "cattrs",
            "email.utils",
            "inworld_sync.devices",
            "inworld_sync.rest.voices",
            "socket",
            "inworld_sync.sessions.tts.service",
            "inworld_sync.transport.websocket",
            "ssl",
        ],
    ),
    (
        f"{MAKE_CLIENT}; iw.tts; iw.stt; iw.realtime",
        [
            "cattrs",
            "inworld_sync.devices",
            "inworld_sync.models.realtime.events",
            "subprocess",
            "inworld_sync.sessions.realtime.session",
            "tempfile",
        ],
    ),
]


@pytest.mark.parametrize(("statement", "late"), LATE_IMPORTS)
def test_late_imports(statement: str, late: list[str]) -> None:
    """The client and its services import their modules when they are first used."""
    # The module platform of Python 3.10 imports subprocess.
    early = {"subprocess"} if sys.version_info < (3, 11) else set()
    names = set(late) - early
    program = f"import sys; {statement}; print(sorted({names!r} & set(sys.modules)))"
    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    ).stdout

    assert "[]" == shown.strip()
