"""The input, the output and the failures of ``inworld-sync say``."""

from __future__ import annotations

import base64
import io
import json
import signal
import subprocess
import sys
import threading
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from inworld_sync.cli import output as speech_output
from inworld_sync.devices.wav_file import WavSink
from inworld_sync.emulator import Emulator, Settings

from support.commands import Done, Run
from support.peers import Peer, serve
from support.scripted import Service, scripted
from support.spelling import SpellingSynthesizer, spelled, spoken_part

TEXT = "Grüße aus der Konsole."
LONG = " ".join(f"Sentence number {number} of a rather long text." for number in range(100))


def samples(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert (1, 2) == (file.getnchannels(), file.getsampwidth())
        return file.readframes(file.getnframes())


@pytest.fixture
def say(run: Run, server: Emulator) -> Callable[..., Done]:
    return lambda *arguments: run("say", "--base-url", server.url, *arguments)


# The input.


def test_argument(say: Callable[..., Done], tmp_path: Path) -> None:
    """The text of the argument is written as speech to a WAV file."""
    done = say(TEXT, "-o", str(tmp_path / "a.wav"))

    assert (0, b"") == (done.status, done.out)
    assert f"s of speech in {tmp_path / 'a.wav'}" in done.err
    assert spoken_part(TEXT) == spelled(samples(tmp_path / "a.wav"))


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_file(say: Callable[..., Done], tmp_path: Path, start: bytes) -> None:
    """With --file, the content of the file is spoken. The file may be long or begin with a BOM."""
    (tmp_path / "text.txt").write_bytes(start + LONG.encode())
    done = say("-f", str(tmp_path / "text.txt"), "-o", str(tmp_path / "a.wav"))

    assert 0 == done.status
    assert spoken_part(LONG) == spelled(samples(tmp_path / "a.wav"))


def test_text_that_is_a_file_name(
    say: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text argument is spoken, even if a file with this name exists."""
    monkeypatch.chdir(tmp_path)
    Path("Hello").write_text("Other", encoding="utf-8")

    assert "Hello" == spelled(say("Hello", "-o", "-").out)


class Speaker(WavSink):
    """A speaker that records its audio, and counts the calls of drain()."""

    file = io.BytesIO()
    drained = 0

    def __init__(self, sample_rate_hz: int) -> None:
        super().__init__(Speaker.file, sample_rate_hz)

    def drain(self, *, timeout: float | None = None) -> None:
        super().drain(timeout=timeout)
        Speaker.drained += 1


@pytest.fixture
def speaker(monkeypatch: pytest.MonkeyPatch) -> type[Speaker]:
    monkeypatch.setattr(Speaker, "file", io.BytesIO())
    monkeypatch.setattr(Speaker, "drained", 0)
    monkeypatch.setattr(speech_output, "open_default_speaker", Speaker)
    return Speaker


def test_speaker(say: Callable[..., Done], speaker: type[Speaker]) -> None:
    """Without --output, the speaker plays all of the speech."""
    done = say(TEXT)

    assert (0, b"", "") == (done.status, done.out, done.err)
    assert spoken_part(TEXT) == spelled(speaker.file.getvalue()[44:])
    assert 1 == speaker.drained


def test_verbose(say: Callable[..., Done], environment: dict[str, str]) -> None:
    """-v prints all sent and received messages, without audio and without the key."""
    done = say(TEXT, "-o", "-", "-v")

    assert spoken_part(TEXT) == spelled(done.out)
    assert "> tts" in done.err
    assert "< tts" in done.err
    assert "Konsole" in done.err
    assert "characters>" in done.err
    assert base64.b64encode(done.out[:48]).decode() not in done.err
    assert environment["INWORLD_API_KEY"] not in done.err


def test_timeout(run: Run, tmp_path: Path) -> None:
    """--timeout ends the wait for a service that sends nothing."""

    def silent(service: Service) -> None:
        service.until_left()

    with scripted(silent) as iw:
        where = ("--base-url", iw.options.base_url, "-o", str(tmp_path / "a.wav"))
        done = run("say", TEXT, *where, "--timeout", "0.2")

    assert 4 == done.status
    assert "0.2 s" in done.err


def test_language(run: Run) -> None:
    """The service gets the language of --language."""
    created: list[object] = []

    def script(service: Service) -> None:
        context_id = service.until("close_context")
        created.append(service.requests[0]["create"]["language"])
        service.speak(context_id, b"\1\0")
        service.until_left()

    with scripted(script) as iw:
        where = ("--base-url", iw.options.base_url, "-o", "-")
        assert 0 == run("say", TEXT, *where, "--language", "de-DE").status

    assert ["de-DE"] == created


def test_terminal_escapes(say: Callable[..., Done], tmp_path: Path) -> None:
    """The error for a path with control characters shows these characters as escapes."""
    done = say(TEXT, "-o", str(tmp_path / "\x1b[31m" / "a.wav"))

    assert 2 == done.status
    assert "\x1b" not in done.err
    assert r"\x1b[31m" in done.err


def test_standard_input(
    say: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With -, the text is read from standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert 0 == say("-", "-o", str(tmp_path / "a.wav")).status

    assert spoken_part(TEXT) == spelled(samples(tmp_path / "a.wav"))


def test_invalid_utf8(
    say: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text that is not UTF-8 raises an error, and no file is created."""
    (tmp_path / "text.txt").write_bytes(b"caf\xe9")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9")))
    for text in (["-f", str(tmp_path / "text.txt")], ["-"], ["caf\udce9"]):
        done = say(*text, "-o", str(tmp_path / "a.wav"))

        assert 2 == done.status
        assert "must be" in done.err
        assert "Traceback" not in done.err
    assert not (tmp_path / "a.wav").exists()


@pytest.mark.parametrize("text", ["x" * 5000, "a\0b"])
def test_text_that_is_no_file_name(say: Callable[..., Done], tmp_path: Path, text: str) -> None:
    """A text that cannot be the name of a file is spoken."""
    assert 0 == say(text, "-o", str(tmp_path / "a.wav")).status


# The output.

KINDS = {
    "a.wav": b"RIFF",
    "a.mp3": b"\xff",
    "a.ogg": b"OggS",
    "a.opus": b"OggS",
    "a.flac": b"fLaC",
    "a.pcm": b"G\0",
    "A.RAW": b"G\0",
}


@pytest.mark.parametrize(("name", "magic"), KINDS.items())
def test_kinds_of_files(say: Callable[..., Done], tmp_path: Path, name: str, magic: bytes) -> None:
    """The suffix of the output file selects the requested encoding."""
    done = say(TEXT, "-o", str(tmp_path / name))

    assert 0 == done.status, done.err
    assert (tmp_path / name).read_bytes().startswith(magic)


def test_standard_output(say: Callable[..., Done]) -> None:
    """With -o -, only samples are written to standard output."""
    done = say(TEXT, "-o", "-")

    assert (0, "") == (done.status, done.err)
    assert spoken_part(TEXT) == spelled(done.out)


@pytest.mark.parametrize(
    ("file_format", "magic"), [("wav", b"RIFF"), ("mp3", b"\xff"), ("opus", b"OggS")]
)
def test_format(say: Callable[..., Done], tmp_path: Path, file_format: str, magic: bytes) -> None:
    """--format selects the encoding for standard output and for a file with an unknown suffix."""
    path = tmp_path / "speech"

    assert say(TEXT, "-o", "-", "--format", file_format).out.startswith(magic)
    assert 0 == say(TEXT, "-o", str(path), "--format", file_format).status
    assert path.read_bytes().startswith(magic)


def test_terminal(say: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """Audio is never written to a terminal."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    done = say(TEXT, "-o", "-")

    assert (2, b"") == (done.status, done.out)
    assert "does not write audio to a terminal" in done.err


def test_json(say: Callable[..., Done], tmp_path: Path) -> None:
    """With --json, one object with the times and the words of the speech is printed."""
    done = say("One two.", "-o", str(tmp_path / "a.wav"), "--json")
    facts = json.loads(done.out)

    assert (0, "") == (done.status, done.err)
    assert ["output", "characters", "first_audio_ms", "duration_ms", "words"] == list(facts)
    assert 8 == facts["characters"]
    assert ["One", "two."] == [word["text"] for word in facts["words"]]
    assert 1.2 == facts["duration_ms"]
    assert facts["first_audio_ms"] == round(facts["first_audio_ms"], 1)


@pytest.mark.parametrize(
    ("name", "begins"),
    [("a.json", "{"), ("a.tsv", "0.00\t"), ("a.xml", "<?xml"), ("a.dat", "MohoSwitch1")],
)
def test_visemes(say: Callable[..., Done], tmp_path: Path, name: str, begins: str) -> None:
    """
    The suffix of the --visemes file selects the format of the mouth shapes. The audio may be
    compressed.
    """
    for audio in ("a.wav", "a.mp3"):
        done = say("One two.", "-o", str(tmp_path / audio), "--visemes", str(tmp_path / name))

        assert 0 == done.status, done.err
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)
        (tmp_path / name).unlink()


def test_visemes_are_those_of_the_service(say: Callable[..., Done], tmp_path: Path) -> None:
    """The file of --visemes has the visemes of the service. The output of --json names the file."""
    path = tmp_path / "a.json"
    done = say("One two.", "-o", str(tmp_path / "a.wav"), "--visemes", str(path), "--json")
    found = json.loads(path.read_text(encoding="utf-8"))

    assert str(path) == json.loads(done.out)["visemes"]
    assert ("service", 0.001) == (found["source"], found["duration"])
    assert ["One", "two."] == [word["text"] for word in found["words"]]


def test_wrong_suffix_of_visemes(say: Callable[..., Done], tmp_path: Path) -> None:
    """A file of mouth shapes with an unknown suffix is refused before anything is sent."""
    done = say("One two.", "-o", str(tmp_path / "a.wav"), "--visemes", "shapes.txt")

    assert 2 == done.status
    assert "--visemes must end in .json, .tsv, .xml, .dat" in done.err
    assert [] == list(tmp_path.iterdir())


def test_settings(say: Callable[..., Done], tmp_path: Path) -> None:
    """The service gets the voice, the model and the sample rate of the options."""
    path = tmp_path / "a.wav"
    options = ("--voice", "Dennis", "--model", "inworld-tts-1.5-mini", "--rate", "48000")
    assert 0 == say(TEXT, *options, "-o", str(path)).status
    with wave.open(str(path)) as file:
        assert 48000 == file.getframerate()


# (arguments, exit status, words of the message)
FAILURES = [
    (("--format", "mp3", TEXT), 2, "--format needs --output"),
    ((TEXT, "-o", "a.wav", "--format", "mp3"), 2, "--format mp3 cannot be combined with -o"),
    ((TEXT, "-f", "a.txt"), 2, "TEXT and --file cannot be combined"),
    (("-f", "none.txt", "-o", "-"), 1, "none.txt"),
    ((TEXT, "--timeout", "0"), 2, "0.0 is not in the range"),
    ((TEXT, "-o", "a.txt"), 2, "--output must end in .wav"),
    ((TEXT, "-o", "-", "--json"), 2, "--json and -o - cannot be combined"),
    ((TEXT, "-o", "-", "--speed", "9"), 2, "--speed must be 0.5 to 1.5"),
    (
        (TEXT, "--rate", "1"),
        2,
        "--rate must be one of 8000, 16000, 22050, 24000, 32000, 44100, 48000 Hz, got 1",
    ),
    ((TEXT, "--rate", "fast"), 2, "not a valid integer"),
    ((" ", "-o", "-"), 2, "TEXT must"),
    ((), 2, "Missing argument 'TEXT'"),
    ((TEXT, "-o", "-", "--voice", "Nobody"), 1, "Unknown voice"),
    ((TEXT, "--local"), 2, "--local and --base-url cannot be combined"),
    ((TEXT, "-o", "-", "--base-url", "http://127.0.0.1:9"), 4, "127.0.0.1"),
    ((TEXT, "-o", "no/such/folder/a.wav"), 2, "does not exist"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), FAILURES)
def test_failures(
    say: Callable[..., Done],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    status: int,
    words: str,
) -> None:
    """A failure prints a message, exits with the documented status, and creates no file."""
    monkeypatch.chdir(tmp_path)
    done = say(*arguments)

    assert (status, b"") == (done.status, done.out)
    assert words in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert [] == list(tmp_path.iterdir())


def test_a_failure_keeps_an_older_file(say: Callable[..., Done], tmp_path: Path) -> None:
    """A failure before any speech has arrived does not change an existing file."""
    (tmp_path / "a.wav").write_bytes(b"older")
    assert 1 == say(TEXT, "--voice", "Nobody", "-o", str(tmp_path / "a.wav")).status

    assert b"older" == (tmp_path / "a.wav").read_bytes()


def test_bad_key(say: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the service refuses the key, the exit status is 3, and the key is not printed."""
    monkeypatch.setenv("INWORLD_API_KEY", "d3Jvbmc6a2V5")
    done = say(TEXT, "-o", str(tmp_path / "a.wav"))

    assert 3 == done.status
    assert "Invalid credentials" in done.err
    assert "d3Jv" not in done.err


def test_no_key(say: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key, the error names the environment variable and --local."""
    monkeypatch.delenv("INWORLD_API_KEY")
    done = say(TEXT, "-o", str(tmp_path / "a.wav"))

    assert 2 == done.status
    assert "set the environment variable INWORLD_API_KEY, or use --local" in done.err


def half_spoken(service: Service) -> None:
    """Send half a second of speech, then close the connection."""
    context_id = service.until("close_context")
    service.result(context_id, contextCreated={})
    service.audio(context_id, bytes(24_000))
    service.peer.end_sending()
    service.peer.read_until_end()


def partial_of(path: Path) -> Path:
    """Return the only partial file that a command has written for the output path."""
    (partial,) = path.parent.glob(f"{path.stem}.partial-*{path.suffix}")
    return partial


@pytest.mark.parametrize("name", ["a.wav", "a.pcm"])
def test_lost_connection(run: Run, tmp_path: Path, name: str) -> None:
    """If the connection ends during the speech, a partial file has the audio that has arrived."""
    path = tmp_path / name
    path.write_bytes(b"older")
    with scripted(half_spoken) as iw:
        where = ("--base-url", iw.options.base_url, "-o", str(path))
        done = run("say", TEXT, *where)
        partial = partial_of(path)
        assert (4, b"") == (done.status, done.out)
        assert done.err.startswith(
            f"inworld-sync: the first 0.50 s of speech are in {partial}\ninworld-sync: "
        )
        assert b"older" == path.read_bytes()
        assert 24_000 == partial.stat().st_size - (44 if name == "a.wav" else 0)
        partial.unlink()
        facts = json.loads(run("say", TEXT, *where, "--json").out)

    assert (500.0, str(partial_of(path))) == (facts["duration_ms"], facts["output"])
    assert facts["error"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device exists on Linux only")
def test_full_disk(say: Callable[..., Done], tmp_path: Path) -> None:
    """If the disk is full, the message names the file."""
    path = tmp_path / "a.wav"
    path.symlink_to("/dev/full")
    done = say(TEXT, "-o", str(path))

    assert 1 == done.status
    assert "No space left" in done.err
    assert str(path) in done.err


# Interruptions.

Start = Callable[..., "subprocess.Popen[bytes]"]


def test_ctrl_c(start: Start, tmp_path: Path, environment: dict[str, str]) -> None:
    """Ctrl-C ends the command at once. A partial file has the audio that has arrived."""
    settings = Settings(pace=1.0, chunk_ms=20)
    key = environment["INWORLD_API_KEY"]
    with Emulator(synthesizer=SpellingSynthesizer(480), settings=settings, api_key=key) as server:
        path = tmp_path / "a.wav"
        process = start("say", LONG, "--base-url", server.url, "-o", str(path))
        while sum(each.stat().st_size for each in tmp_path.iterdir()) < 5000:
            assert process.poll() is None
            threading.Event().wait(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    partial = partial_of(path)
    heard = samples(partial)

    assert 130 == process.returncode
    assert err.decode().split()[-2:] == [str(partial), "interrupted"]
    assert not path.exists()
    assert len(heard) >= 4000
    assert spoken_part(LONG).startswith(spelled(heard[: len(heard) // 960 * 960], 480))


def test_ctrl_c_while_the_service_is_silent(start: Start, environment: dict[str, str]) -> None:
    """Ctrl-C ends a command while the service sends nothing."""
    asked = threading.Event()

    def silent(peer: Peer) -> None:
        service = Service(peer, 1)
        service.until("close_context")
        asked.set()
        service.until_left()

    with serve(silent) as server:
        where = ("--base-url", f"http://127.0.0.1:{server.port}", "-o", "-")
        process = start("say", TEXT, *where)
        assert asked.wait(30)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)

    assert (130, b"interrupted") == (process.returncode, err.strip())


def test_broken_pipe(start: Start, server: Emulator) -> None:
    """If the program that reads the output ends, as head does, the command prints no message."""
    process = start("say", LONG * 20, "--base-url", server.url, "-o", "-")
    assert process.stdout is not None
    assert process.stdout.read(100)
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()

    assert (1, b"") == (process.wait(30), err)
