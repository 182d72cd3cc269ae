"""The other commands: what they print, as text and as JSON, and with which status they end."""

from __future__ import annotations

import json
import re
import signal
import ssl
import subprocess
import sys
import urllib.request
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from inworld_sync import Inworld, ServiceError, __version__
from inworld_sync.emulator import Emulator

from support.commands import Run

Start = Callable[..., "subprocess.Popen[bytes]"]

COMMANDS = ["demo", "emulator", "say", "voices"]


def test_help(run: Run) -> None:
    """Help names every command."""
    done = run("--help")

    assert 0 == done.status
    assert all(command in done.out.decode() for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_commands(run: Run, command: str) -> None:
    """Every command explains itself."""
    done = run(command, "-h")

    assert 0 == done.status
    assert f"inworld-sync {command}" in done.out.decode()


def test_version(run: Run) -> None:
    """The version is that of the package."""
    assert f"inworld-sync, version {__version__}\n" == run("--version").out.decode()


@pytest.mark.parametrize("arguments", [("nothing",), ("--nothing",), ("voices", "extra")])
def test_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    """Wrong usage has status 2 and says what is wrong."""
    done = run(*arguments)

    assert 2 == done.status
    assert "Error: " in done.err


# voices


def test_voices(run: Run, server: Emulator) -> None:
    """Voices are listed as a table."""
    done = run("voices", "--base-url", server.url)

    assert 0 == done.status
    assert "Ashley" in done.out.decode()


def test_voices_as_json(run: Run, server: Emulator) -> None:
    """Voices are listed as JSON, all of them or those of a language."""
    voices = json.loads(run("voices", "--base-url", server.url, "--json").out)
    none = json.loads(run("voices", "--base-url", server.url, "--json", "--language", "XX_XX").out)

    assert {"id", "name", "languages"} <= set(voices[0])
    assert "Ashley" in [voice["id"] for voice in voices]
    assert len(none) < len(voices)


def test_a_reader_that_has_gone(start: Start, server: Emulator) -> None:
    """A small output that nobody reads ends the command without a word too."""
    process = start("voices", "--base-url", server.url, "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()

    assert (1, b"") == (process.wait(30), err)


# demo


def test_demo(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first minute needs no account and leaves a file with speech."""
    monkeypatch.delenv("INWORLD_API_KEY")
    path = tmp_path / "demo.wav"
    done = run("demo", "--text", "Hello there.", "-o", str(path))

    assert 0 == done.status, done.err
    assert "first audio after" in done.out.decode()
    assert re.match(r"Ashley at http://127\.0\.0\.1:\d+\n", done.err)
    with wave.open(str(path)) as file:
        assert file.getnframes() > 12_000


def test_demo_as_json(run: Run, tmp_path: Path) -> None:
    """The demo's figures are there as JSON."""
    done = run("demo", "--text", "Hello there.", "-o", str(tmp_path / "demo.wav"), "--json")
    facts = json.loads(done.out)

    assert (0, "") == (done.status, done.err)
    assert ["Hello", "there."] == [word["text"] for word in facts["words"]]
    assert 0 < facts["first_audio_ms"] <= facts["total_ms"]


def test_demo_of_the_cloud_without_a_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inworld itself needs a key, and the command says which variable."""
    monkeypatch.delenv("INWORLD_API_KEY")
    done = run("demo", "--cloud")

    assert 2 == done.status
    assert "INWORLD_API_KEY" in done.err


# emulator


def read_object(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """The JSON object that a process prints first and goes on after."""
    assert process.stdout is not None
    lines: list[bytes] = []
    for line in process.stdout:
        lines.append(line)
        if line == b"}\n":
            break
    facts: dict[str, str] = json.loads(b"".join(lines))
    return facts


@pytest.mark.parametrize(("end", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_emulator(start: Start, end: signal.Signals, status: int) -> None:
    """The emulator says where it is and runs until it is told to end."""
    process = start("emulator", "--api-key", "a2V5OnNlY3JldA==", "--json")
    facts = read_object(process)
    with Inworld(api_key=facts["api_key"], base_url=facts["url"]) as iw:
        assert iw.voices.list()
    process.send_signal(end)
    _, err = process.communicate(timeout=30)

    assert status == process.returncode
    assert "a2V5OnNlY3JldA==" == facts["api_key"]
    assert facts["ws_url"].startswith("ws://127.0.0.1:")
    assert err.strip() in (b"", b"interrupted")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
def test_signals_arrive_under_nohup(start: Start) -> None:
    """A command that a test starts is ended by SIGINT, also where the tests ignore it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start("emulator", "--json")
        assert signal.SIG_IGN == signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    read_object(process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)

    assert 130 == process.returncode


def test_emulator_as_text(start: Start) -> None:
    """Without --json the same is printed for people."""
    process = start("emulator")
    assert process.stdout is not None
    lines = [process.stdout.readline().decode().split() for _ in range(5)]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    assert ["url", "ws_url", "api_key", "recognizer"] == [line[0] for line in lines[:4]]
    assert urllib.request.Request(lines[0][1]).host
    assert ["Ctrl-C", "ends", "it"] == lines[4]


def test_emulator_with_a_chat_endpoint(start: Start) -> None:
    """With --chat-url realtime replies come from there, and its refusal is told."""
    with Emulator() as not_a_chat:
        process = start("emulator", "--chat-url", not_a_chat.url, "--json")
        facts = read_object(process)
        with Inworld(api_key=facts["api_key"], base_url=facts["url"]) as iw:
            with iw.realtime.connect() as session:
                with pytest.raises(ServiceError, match="404"):
                    session.send_message("Hello.").wait(30)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def test_emulator_over_tls(start: Start, tmp_path: Path) -> None:
    """With --tls the certificate to trust is written where it says."""
    ca_file = tmp_path / "ca.pem"
    process = start("emulator", "--tls", "--ca-file", str(ca_file), "--json")
    facts = read_object(process)
    trusting = ssl.create_default_context(cafile=facts["ca_file"])
    with Inworld(api_key=facts["api_key"], base_url=facts["url"], ssl_context=trusting) as iw:
        assert iw.voices.list()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    assert str(ca_file) == facts["ca_file"]


def test_emulator_for_other_machines(run: Run) -> None:
    """An address that others can reach is refused without --allow-remote."""
    done = run("emulator", "--host", "0.0.0.0")

    assert 2 == done.status
    assert "allow_remote=True" in done.err


# The command itself.


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_extra(missing: str) -> None:
    """Where the libraries of the command line are missing, it says what to install."""
    program = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['inworld-sync', 'voices']\n"
        "from inworld_sync.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert 1 == done.returncode
    assert f"({missing} is missing): pip install 'inworld-sync[cli]'" in done.stderr


def test_help_is_quick() -> None:
    """Help loads neither the emulator nor numpy."""
    program = (
        "import sys; from inworld_sync.cli import run\n"
        "try: run(['--help'])\n"
        "except SystemExit: pass\n"
        "print([n for n in ('numpy', 'websockets', 'websocket') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert "[]" == done.stdout.splitlines()[-1]


# (arguments, status, words): each way to fail that a script can tell apart.
FAILURES = [
    (["voices", "--base-url", "http://127.0.0.1:1"], 4, "cannot be reached"),
    (["voices", "--base-url", "ftp://x"], 2, "base_url must be like"),
    (["emulator", "--port", "99999"], 2, "port must be 0 to 65535"),
    (["emulator", "--host", "0.0.0.0"], 2, "--allow-remote on the command line"),
]


@pytest.mark.parametrize(
    ("option", "needed"),
    [
        (["--chat-model", "x"], "--chat-url"),
        (["--chat-api-key", "x"], "--chat-url"),
        (["--ca-file", "x.pem"], "--tls"),
        (["--allow-remote"], "--host"),
    ],
)
def test_emulator_option_without_effect(run: Run, option: list[str], needed: str) -> None:
    """An option that has no effect without another one is refused."""
    done = run("emulator", *option)

    assert 2 == done.status
    assert f"{option[0]} has no effect without {needed}" in done.err


@pytest.mark.parametrize(("arguments", "status", "words"), FAILURES)
def test_failures(run: Run, arguments: list[str], status: int, words: str) -> None:
    """A failure is one line on standard error and a status of its kind."""
    done = run(*arguments)

    assert status == done.status
    assert done.err.startswith("inworld-sync: ")
    assert words in done.err
    assert 1 == done.err.count("\n")
