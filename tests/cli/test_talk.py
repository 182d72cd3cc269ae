"""The input, the output and the end of ``inworld-sync talk``."""

from __future__ import annotations

import base64
import io
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inworld_sync import Inworld
from inworld_sync.emulator import Emulator

from support.commands import Done, Run
from support.scripted_realtime import Service, realtime
from support.sound_card import SoundCard, sound_card as sound_card
from support.spelling import spelled, spoken_part

PATIENCE_SECONDS = 30
TOOLS = '''
from inworld_sync import tool

@tool
def weather(city: str) -> str:
    """Weather for a city."""
    return f"rain in {city}"
'''


def samples(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert (1, 2, 24000) == (file.getnchannels(), file.getsampwidth(), file.getframerate())
        return file.readframes(file.getnframes())


def rows(out: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def talk(run: Run, server: Emulator) -> Callable[..., Done]:
    return lambda *arguments: run("talk", "--base-url", server.url, *map(str, arguments))


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    path = tmp_path / "tools.py"
    path.write_text(TOOLS, encoding="utf-8")
    return path


# Typed conversations.


def test_texts(talk: Callable[..., Done], tools: Path, tmp_path: Path) -> None:
    """
    The texts of several --say options are sent in order. The command prints texts and tool calls,
    and writes the speech to a file.
    """
    output = tmp_path / "a.wav"
    said = ["--say", "Hello!", "--say", "How is the weather in Oslo?"]
    done = talk(*said, "--voice", "Ashley", "--tools", tools, "-o", output)

    assert [
        "you: Hello!",
        "Ashley: Hello! How can I help you?",
        "you: How is the weather in Oslo?",
        'tool: weather {"city": "Oslo"}',
        "tool: weather -> rain in Oslo",
        "Ashley: The weather says: rain in Oslo.",
    ] == done.out.decode().splitlines()
    assert 0 == done.status
    assert f"s of speech in {output}" in done.err
    spoken = "Hello! How can I help you? The weather says: rain in Oslo."
    assert spoken_part(spoken) == spelled(samples(output))


def test_json(talk: Callable[..., Done], tools: Path, tmp_path: Path) -> None:
    """--json prints an object for each event and an object for the end. Each object is one line."""
    output = str(tmp_path / "a.wav")
    said = ["--say", "How is the weather in Oslo?", "--json"]
    printed = rows(talk(*said, "--tools", tools, "-o", output).out)

    assert ["user", "tool_called", "tool_answered", "assistant", "ended"] == [
        row["event"] for row in printed
    ]
    assert ("weather", "rain in Oslo", None) == tuple(
        printed[2][name] for name in ("name", "output", "error")
    )
    heard_ms = len(samples(Path(output))) / 48
    assert (output, round(heard_ms, 1)) == (printed[4]["output"], printed[4]["heard_ms"])


def test_standard_input(
    start: Callable[..., subprocess.Popen[bytes]], server: Emulator, tmp_path: Path
) -> None:
    """If standard input is not a terminal, each line is sent when the previous reply has ended."""
    process = start("talk", "--base-url", server.url, "-o", str(tmp_path / "a.wav"))
    out, _ = process.communicate(b"My name is Bob.\n\nWhat is my name?\n", PATIENCE_SECONDS)

    assert [
        "you: My name is Bob.",
        "assistant: Nice to meet you, Bob.",
        "you: What is my name?",
        "assistant: Your name is Bob.",
    ] == out.decode().splitlines()
    assert 0 == process.returncode


def test_settings(run: Run) -> None:
    """The service gets the voice, the instructions and the model of the options."""
    asked: list[dict[str, Any]] = []

    def script(service: Service) -> None:
        asked.append(service.open())
        service.speak(service.request(), 1, "Fine.")
        service.until_left()

    wanted = ("--voice", "Sarah", "--instructions", "Be brief.", "--model", "openai/gpt-4o-mini")
    with realtime(script) as iw:
        run("talk", "--base-url", iw.options.base_url, *wanted, "--say", "Hello")

    assert ("Sarah", "Be brief.", "openai/gpt-4o-mini") == (
        asked[0]["audio"]["output"]["voice"],
        asked[0]["instructions"],
        asked[0]["model"],
    )


# Spoken conversations.


@pytest.fixture(scope="module")
def question(inworld_local: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a recording with a spoken question."""
    path = tmp_path_factory.mktemp("talk") / "question.wav"
    with Inworld(api_key=inworld_local.api_key, base_url=inworld_local.url) as iw:
        iw.tts.synthesize("What is the weather in London?").save(path)
    return path


def test_real_speech(
    run: Run,
    inworld_local: Emulator,
    question: Path,
    tools: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The emulator recognizes a recording and replies. The speech of the reply is intelligible."""
    monkeypatch.setenv("INWORLD_API_KEY", inworld_local.api_key)
    output = tmp_path / "answer.wav"
    where = ("--base-url", inworld_local.url, "--json")
    done = run("talk", *where, "--input", str(question), "--tools", str(tools), "-o", str(output))
    printed = {row["event"]: row for row in rows(done.out)}

    assert 0 == done.status
    assert "weather in london" in printed["user"]["text"].lower()
    assert {"city": "London"} == json.loads(printed["tool_called"]["arguments"])
    with Inworld(api_key=inworld_local.api_key, base_url=inworld_local.url) as iw:
        assert "rain in london" in iw.stt.transcribe(output, language="en-US").text.lower()


def speaking(*, interrupted: bool = False) -> Callable[[Service], None]:
    """
    Return a script that replies after it has received a second of audio, and then closes the
    connection.

    With *interrupted*, the user interrupts the reply, which has 20 s of audio.
    """

    def script(service: Service) -> None:
        service.open()
        heard = b""
        while len(heard) < 48_000:
            heard += base64.b64decode(service.until("input_audio_buffer.append")["audio"])
        where = {"item_id": "u1", "content_index": 0}
        kind = "conversation.item.input_audio_transcription"
        service.event(f"{kind}.delta", **where, delta="Good")
        service.event(f"{kind}.completed", **where, transcript="Good morning.")
        service.created("r1")
        service.item("r1", "a1")
        text = "word " * 1000 if interrupted else "Good morning to you."
        service.transcript("r1", "a1", text)
        service.audio("r1", "a1", b"\xff\x1f\x00\xe0" * (240_000 if interrupted else 12_000))
        if interrupted:
            # The input arrives in real time, so a part of the reply has been played after these
            # messages.
            for _ in range(5):
                service.until("input_audio_buffer.append")
            service.event("input_audio_buffer.speech_started", audio_start_ms=0, item_id="u2")
            service.until("conversation.item.truncate")
        service.item_done("r1", "a1", "Good morning to you.")
        service.done("r1", "cancelled" if interrupted else "completed")
        for _ in range(15):
            service.until("input_audio_buffer.append")
        service.close()

    return script


@pytest.mark.usefixtures("audio_processing")
def test_microphone_and_speaker(
    run: Run, sound_card: SoundCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without options, the command uses the microphone and the speaker until the session ends."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with realtime(speaking()) as iw:
        done = run("talk", "--base-url", iw.options.base_url)

    assert ["you: Good morning.", "assistant: Good morning to you."] == (
        done.out.decode().splitlines()
    )
    assert done.err == ""
    assert (0, 2) == (done.status, len(sound_card.streams))
    assert b"\xff\x1f\x00\xe0" * 1000 in sound_card.played


def test_interruption(run: Run, question: Path, tmp_path: Path) -> None:
    """
    An interruption is printed with the duration of the played audio. The file has this duration.
    """
    output = tmp_path / "a.wav"
    with realtime(speaking(interrupted=True)) as iw:
        where = ("--base-url", iw.options.base_url, "--json")
        done = run("talk", *where, "--input", str(question), "-o", str(output))
    row = next(row for row in rows(done.out) if row["event"] == "interrupted")

    assert 0 < row["heard_ms"]["a1"] < 20_000
    assert row["heard_ms"]["a1"] == round(len(samples(output)) / 48, 1)
    heard_words = row["heard_text"].split()
    assert {"word"} == set(heard_words)
    assert 1 <= len(heard_words) < 1000


def test_no_devices(run: Run, server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any audio device, the user types and the replies are printed."""
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    monkeypatch.setattr(sys, "stdin", Terminal("Say enough.\n"))
    done = run("talk", "--base-url", server.url)

    assert b"assistant: enough.\n" == done.out.replace(b"\r\n", b"\n")
    assert "no microphone" in done.err
    assert "no speaker" in done.err


class Terminal(io.StringIO):
    """A standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


# On a terminal.


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Yield the descriptors of both sides of a terminal."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


def test_meters(
    terminal: tuple[int, int], environment: dict[str, str], question: Path, tmp_path: Path
) -> None:
    """A terminal shows a level meter for the user, one for the assistant, and the current turn."""
    ours, theirs = terminal
    with realtime(speaking()) as iw:
        arguments = ("--base-url", iw.options.base_url, "--input", str(question))
        process = subprocess.Popen(
            [sys.executable, "-m", "inworld_sync", "talk", *arguments, "-o", tmp_path / "a.wav"],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            env={**environment, "TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(theirs)
        shown = all_of(ours)
        process.wait(PATIENCE_SECONDS)

    assert 0 == process.returncode
    bars = [line.split("█") for line in shown.splitlines() if "█" in line]
    assert {"you", "assistant"} <= {word for bar in bars for word in bar[0].split()}
    assert len({len(bar) for bar in bars}) > 3
    assert "you: " in shown
    assert "Good morning to you." in shown


def all_of(descriptor: int) -> str:
    """Read from a terminal until the other side is closed."""
    data, deadline = b"", time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if not select.select([descriptor], [], [], 1)[0]:
            continue
        try:
            piece = os.read(descriptor, 65536)
        except OSError:
            break  # Linux reports the end of a terminal as an error
        if not piece:
            break
        data += piece
    return data.decode(errors="replace")


# The end of the command.


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
def test_ctrl_c(
    start: Callable[..., subprocess.Popen[bytes]], question: Path, tmp_path: Path
) -> None:
    """Ctrl-C ends the conversation at once. The output is a valid file."""
    output = tmp_path / "a.wav"
    spoken = threading.Event()

    def script(service: Service) -> None:
        service.open()
        service.until("input_audio_buffer.append")
        service.created("r1")
        service.item("r1", "a1")
        service.audio("r1", "a1", b"\1\0" * 240_000)
        for _ in range(5):
            service.until("input_audio_buffer.append")
        spoken.set()
        service.until_left()

    with realtime(script) as iw:
        arguments = ("--base-url", iw.options.base_url, "--input", str(question))
        process = start("talk", *arguments, "-o", str(output))
        assert spoken.wait(PATIENCE_SECONDS)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)

    assert (130, b"interrupted") == (process.returncode, err.strip())
    assert 0 < len(samples(output)) < 480_000


def test_a_reply_that_fails(run: Run) -> None:
    """If the reply to a text fails, the command fails with the reason of the service."""

    def script(service: Service) -> None:
        service.open()
        service.created("r1", service.request())
        service.done("r1", "failed", status_details={"reason": "server_error"})
        service.until_left()

    with realtime(script) as iw:
        done = run("talk", "--base-url", iw.options.base_url, "--say", "Hello")

    assert (1, b"you: Hello") == (done.status, done.out.strip())
    assert "server_error" in done.err


def test_a_spoken_reply_that_fails(run: Run, question: Path, tmp_path: Path) -> None:
    """If the reply to speech fails, a message is printed, and the conversation continues."""

    def script(service: Service) -> None:
        service.open()
        service.until("input_audio_buffer.append")
        service.created("r1")
        service.done("r1", "failed", status_details={"reason": "server_error"})
        for _ in range(5):
            service.until("input_audio_buffer.append")
        service.close()

    with realtime(script) as iw:
        where = ("--base-url", iw.options.base_url, "-o", str(tmp_path / "a.wav"))
        done = run("talk", *where, "--input", str(question))

    assert (0, b"") == (done.status, done.out)
    assert "the response ended with the status failed: server_error" in done.err


def test_silent_service(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    """If the service begins no response, the command prints one line and exits with 4."""

    def script(service: Service) -> None:
        service.open()
        service.until_left()

    with realtime(script) as iw:
        where = ("--base-url", iw.options.base_url, "-o", str(tmp_path / "a.wav"))
        process = start("talk", *where, "--say", "Hello")
        out, err = process.communicate(timeout=2 * PATIENCE_SECONDS)

    assert (4, b"") == (process.returncode, out)
    assert err.startswith(b"inworld-sync: the service has not begun the response in 15 s")
    assert 1 == err.count(b"\n")


# (arguments, words of the message)
WRONG = [
    (("--say", "a", "--typed"), "cannot be combined"),
    (("--say", "a", "-o", "a.mp3"), "--output must end in .wav"),
    (("--say", "a", "--tools", "none.py"), "none.py"),
    (("--say", "a", "--tools", "empty.py"), "no @tool function"),
    (("--say", "a", "--tools", "broken.py"), "ZeroDivisionError"),
    (("--say", "a", "--tools", "tools.txt"), "ends in .py"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_wrong_usage(
    talk: Callable[..., Done],
    arguments: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wrong usage prints a message and exits with 2."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("empty.py", ""), ("broken.py", "1 / 0"), ("tools.txt", "")):
        Path(name).write_text(text, encoding="utf-8")
    done = talk(*arguments)

    assert (2, b"") == (done.status, done.out)
    assert words in done.err


def test_terminal_escapes(talk: Callable[..., Done], tmp_path: Path) -> None:
    """Terminal escapes in a file name or an option are shown as text in each message."""
    odd = tmp_path / "\x1b[31m.wav"
    messages = [
        talk("--say", "Hi", "-o", odd).err,
        talk("--say", "Hi", "--tools", tmp_path / "\x1b[31m.py").err,
        talk("--\x1b[31m").err,
    ]

    assert all(r"\x1b[31m" in message for message in messages)
    assert not any("\x1b" in message for message in messages)
