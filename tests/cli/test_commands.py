"""The output and the exit statuses of the commands voices, demo and emulator."""

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
from inworld_sync.cli.common import json_text
from inworld_sync.emulator import Emulator

from support.commands import Run
from support.peers import Peer, serve

Start = Callable[..., "subprocess.Popen[bytes]"]

COMMANDS = ["chat", "demo", "emulator", "models", "say", "serve-game", "token", "voices"]


def test_help(run: Run) -> None:
    """--help lists every command and every exit status."""
    done = run("--help")
    text = done.out.decode()

    assert 0 == done.status
    assert all(command in text for command in COMMANDS)
    statuses = text.partition("Exit status:\n")[2].split("\n")
    assert ["0", "1", "2", "3", "4", "5", "130"] == [line.split()[0] for line in statuses if line]


def test_exit_statuses_of_the_docs(run: Run) -> None:
    """The table in the docs has the same exit statuses as --help."""
    page = Path(__file__, "../../../docs/client.md").resolve().read_text(encoding="utf-8")
    table = page.partition("| exit status | meaning |\n|---|---|\n")[2]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("|")]
    text = run("--help").out.decode().partition("Exit status:\n")[2]

    assert [line.split() for line in text.splitlines() if line] == [
        [*status.split(), *meaning.split()] for status, meaning in rows
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_commands(run: Run, command: str) -> None:
    """Every command has a help text."""
    done = run(command, "-h")

    assert 0 == done.status
    assert f"inworld-sync {command}" in done.out.decode()


def test_version(run: Run) -> None:
    """--version prints the version of the package."""
    assert f"inworld-sync, version {__version__}\n" == run("--version").out.decode()


@pytest.mark.parametrize("arguments", [("nothing",), ("--nothing",), ("voices", "extra")])
def test_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    """Wrong usage prints a message and exits with 2."""
    done = run(*arguments)

    assert 2 == done.status
    assert "Error: " in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("emulator", "--ca-file", "a.pem"), "--ca-file needs --tls"),
        (("emulator", "--chat-model", "m"), "--chat-model needs --chat-url"),
        (("emulator", "--chat-api-key", "k"), "--chat-api-key needs --chat-url"),
        (("emulator", "--allow-remote"), "--allow-remote needs --host with"),
        (("talk", "--half-duplex", "--typed"), "--half-duplex needs the microphone"),
        (("chat", "x", "--voice", "Dennis"), "--voice needs --speak"),
    ],
)
def test_options_without_effect(run: Run, arguments: tuple[str, ...], words: str) -> None:
    """An option that would have no effect raises an error."""
    done = run(*arguments)

    assert (2, True) == (done.status, words in done.err)


def test_json_without_control_characters() -> None:
    """JSON output escapes the characters that control a terminal. The values are unchanged."""
    value = {"text": "a\x1b[31m\x9b\u202e\ud800 ü\n"}
    text = json_text(value, indent=2)

    assert value == json.loads(text)
    assert "ü" in text
    assert not set("\x1b\x9b\u202e\ud800") & set(text)


# The command voices.


def test_voices(run: Run, server: Emulator) -> None:
    """The voices are printed as a table."""
    done = run("voices", "--base-url", server.url)

    assert 0 == done.status
    assert "Ashley" in done.out.decode()


def test_voices_as_json(run: Run, server: Emulator) -> None:
    """With --json, the voices are printed as JSON."""
    voices = json.loads(run("voices", "--base-url", server.url, "--json").out)

    assert {"id", "name", "languages"} <= set(voices[0])
    assert "Ashley" in [voice["id"] for voice in voices]


def test_voices_of_a_language(run: Run, server: Emulator) -> None:
    """--language lists only voices of this language. If no voice is found, the exit status is 5."""
    german = run("voices", "--base-url", server.url, "--json", "--language", "DE_DE")
    none = run("voices", "--base-url", server.url, "--json", "--language", "XX_XX")

    assert {("DE_DE",)} >= {tuple(voice["languages"]) for voice in json.loads(german.out)}
    assert (5, b"[]\n", "no voices for --language XX_XX\n") == (none.status, none.out, none.err)


def test_a_reader_that_has_gone(start: Start, server: Emulator) -> None:
    """If the program that reads the output has ended, the command ends without a message."""
    process = start("voices", "--base-url", server.url, "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()

    assert (1, b"") == (process.wait(30), err)


# The command demo.


def test_demo(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo needs no account, and writes a file with speech."""
    monkeypatch.delenv("INWORLD_API_KEY")
    path = tmp_path / "demo.wav"
    done = run("demo", "--text", "Hello there.", "-o", str(path))

    assert 0 == done.status, done.err
    assert "first audio after" in done.out.decode()
    assert re.match(r"Ashley at http://127\.0\.0\.1:\d+\n", done.err)
    with wave.open(str(path)) as file:
        assert file.getnframes() > 12_000


def test_demo_as_json(run: Run, tmp_path: Path) -> None:
    """With --json, the demo prints its times and words as JSON."""
    done = run("demo", "--text", "Hello there.", "-o", str(tmp_path / "demo.wav"), "--json")
    facts = json.loads(done.out)

    assert (0, "") == (done.status, done.err)
    assert ["Hello", "there."] == [word["text"] for word in facts["words"]]
    assert 0 < facts["first_audio_ms"] <= facts["total_ms"]


def test_demo_of_the_cloud_without_a_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """--cloud without a key raises an error that names the environment variable."""
    monkeypatch.delenv("INWORLD_API_KEY")
    done = run("demo", "--cloud")

    assert 2 == done.status
    assert "INWORLD_API_KEY" in done.err


# The command emulator.


def read_object(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """Return the JSON object that a running process prints first."""
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
    """The emulator prints its address, and runs until a signal ends it."""
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
    """SIGINT ends a command that a test starts, even if pytest was started to ignore SIGINT."""
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
    """Without --json, the emulator prints the same values as lines of text."""
    process = start("emulator")
    assert process.stdout is not None
    lines = [process.stdout.readline().decode().split() for _ in range(5)]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    assert ["url", "ws_url", "api_key", "recognizer"] == [line[0] for line in lines[:4]]
    assert urllib.request.Request(lines[0][1]).host
    assert ["Press", "Ctrl-C", "to", "stop"] == lines[4]


def test_emulator_with_a_chat_endpoint(start: Start) -> None:
    """If the endpoint of --chat-url refuses a request, the client gets its error."""
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
    """With --tls, the emulator writes a certificate to a file, and prints the path of the file."""
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
    """Without --allow-remote, a --host that other machines can reach raises an error."""
    done = run("emulator", "--host", "0.0.0.0")

    assert 2 == done.status
    assert "pass --allow-remote" in done.err


# The program.


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_extra(missing: str) -> None:
    """If a library of the command line is missing, the error names the extra to install."""
    program = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['inworld-sync', 'voices']\n"
        "from inworld_sync.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert 1 == done.returncode
    assert f"({missing} is missing): pip install 'inworld-sync[cli]'" in done.stderr


def test_ctrl_c_during_the_imports() -> None:
    """Ctrl-C during the imports ends the program in the same way as later, without a traceback."""
    program = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from inworld_sync.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert (130, "interrupted\n") == (done.returncode, done.stderr)


def test_help_imports_no_large_module() -> None:
    """--help imports neither numpy nor a WebSocket library, which the emulator needs."""
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


def answer(status: str, kind: str, body: bytes) -> Callable[[Peer], None]:
    """Return a script that answers one HTTP request."""

    def script(peer: Peer) -> None:
        peer.read_head()
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        peer.send(head.encode() + body)

    return script


PAGE = b"<html><head><title>400 No such host</title></head><body><h1>nginx</h1></body></html>"

# Invalid answers: (script of the service, exit status, words of the message).
INVALID_ANSWERS = [
    (answer("400 Bad", "text/html", PAGE), 1, "400 No such host"),
    (answer("200 OK", "text/html", PAGE), 1, "JSON"),
    (answer("200 OK", "application/json", b"[]"), 1, ""),
    (answer("200 OK", "application/json", b'{"voices": 5}'), 1, ""),
    (lambda peer: peer.send(b"hello\r\n\r\n"), 4, "check the network and --base-url"),
    (lambda peer: peer.hang_up(), 4, "check the network and --base-url"),
]


@pytest.mark.parametrize(("script", "status", "words"), INVALID_ANSWERS)
def test_invalid_answers(run: Run, script: Callable[[Peer], None], status: int, words: str) -> None:
    """An invalid answer of a service causes one line on standard error, without markup."""
    with serve(script) as server:
        done = run("voices", "--base-url", f"http://127.0.0.1:{server.port}")

    assert (status, b"") == (done.status, done.out)
    assert done.err.startswith("inworld-sync: ")
    assert words in done.err
    assert 1 == done.err.count("\n")
    assert "<" not in done.err


# (arguments, exit status, words of the message)
FAILURES = [
    (["voices", "--base-url", "http://127.0.0.1:1"], 4, "cannot be reached"),
    (["voices", "--base-url", "ftp://x"], 2, "--base-url must be a URL"),
    (["emulator", "--port", "99999"], 2, "--port must be 0 to 65535"),
    (["emulator", "--host", "0.0.0.0"], 2, "--allow-remote"),
    (["emulator", "--host", "1.2.3.4", "--allow-remote"], 1, "choose another --host or --port"),
    (["emulator", "--chat-url", "foo://x"], 2, "--chat-url must be an http"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), FAILURES)
def test_failures(run: Run, arguments: list[str], status: int, words: str) -> None:
    """A failure prints one line on standard error and exits with the documented status."""
    done = run(*arguments)

    assert status == done.status
    assert done.err.startswith("inworld-sync: ")
    assert words in done.err
    assert 1 == done.err.count("\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", "-o", "none/a.wav"),
        ("emulator", "--tls", "--ca-file", "none/a.pem"),
        ("say", "Hi.", "-o", "none/a.wav"),
        ("say", "Hi.", "-o", "a.wav", "--visemes", "none/a.json"),
        ("talk", "--say", "Hi.", "-o", "none/a.wav"),
    ],
    ids=" ".join,
)
def test_a_file_in_a_folder_that_does_not_exist(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """If the folder of an output file is missing, a command names the option and does nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INWORLD_BASE_URL", "http://127.0.0.1:9")
    done = run(*arguments)

    assert 2 == done.status
    assert f"'{arguments[-2]}'" in done.err
    assert "the folder 'none' does not exist" in done.err
    assert [] == list(tmp_path.iterdir())
