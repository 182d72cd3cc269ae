"""``inworld-sync chat`` and ``inworld-sync models``."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import wave
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from inworld_sync.cli import chat
from inworld_sync.devices.wav_file import WavSink
from inworld_sync.emulator import Emulator

from support.commands import Done, Run
from support.peers import Peer, serve
from support.spelling import spelled

Start = Callable[..., "subprocess.Popen[bytes]"]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def part(text: str) -> bytes:
    body = b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(body), body)


def answering(*parts: bytes) -> Callable[[Peer], None]:
    """Return a service that sends these parts, and then nothing."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(HEAD + b"".join(parts))
        peer.read_until_end()

    return script


@pytest.fixture
def ask(run: Run, server: Emulator) -> Callable[..., Done]:
    return lambda *arguments: run("chat", "--base-url", server.url, *arguments)


def test_answer(ask: Callable[..., Done]) -> None:
    """The answer is printed on standard output. Nothing else is printed."""
    done = ask("Count to five.")

    assert (0, b"One. Two. Three. Four. Five.\n", "") == (done.status, done.out, done.err)


def test_system(ask: Callable[..., Done]) -> None:
    """The text of --system is sent as the first message."""
    done = ask("What is my name?", "--system", "My name is Ada.")

    assert b"Your name is Ada.\n" == done.out


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_standard_input(
    ask: Callable[..., Done], arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a prompt, or with -, the prompt is read from standard input."""
    text = io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfCount to two.\n"))
    monkeypatch.setattr(sys, "stdin", text)

    assert b"One. Two.\n" == ask(*arguments).out


def test_json(ask: Callable[..., Done]) -> None:
    """--json prints one JSON value with the answer, the finish reason and the token counts."""
    answer = json.loads(ask("Count to two.", "--json").out)

    assert ("One. Two.", "stop", "openai/gpt-4o-mini") == (
        answer["text"],
        answer["finish_reason"],
        answer["model"],
    )
    assert answer["usage"]["total_tokens"] > 0


def test_cut_answer(ask: Callable[..., Done]) -> None:
    """If the answer was cut at --max-tokens, a message says so."""
    done = ask("Count to fifty.", "--max-tokens", "3")

    assert (0, b"One. Two. Th\n", True) == (done.status, done.out, "was cut" in done.err)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((" ",), 2, "only white space"),
        (("x", "--temperature", "7"), 2, "--temperature must be 0 to 2"),
        (("x", "--max-tokens", "0"), 2, "--max-tokens must be 1 or more"),
        (("x", "--model", "no/x"), 1, "'no/x' does not exist"),
    ],
)
def test_failures(
    ask: Callable[..., Done], arguments: tuple[str, ...], status: int, words: str
) -> None:
    """A failure has the right exit status, and its message says what is wrong."""
    done = ask(*arguments)

    assert (status, b"", True) == (done.status, done.out, words in done.err)


def test_refused_key(run: Run, server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the key is refused, the exit status is 3 and the key is not printed."""
    monkeypatch.setenv("INWORLD_API_KEY", "d3Jvbmc6c2VjcmV0")
    done = run("chat", "x", "--base-url", server.url)

    assert (3, False) == (done.status, "d3Jvb" in done.err)


def test_control_characters(run: Run) -> None:
    """Terminal escapes from the service are shown as text, even if they arrive in parts."""
    end = part("\x1b") + part("[2J\x07\r\u202e!") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    with serve(answering(end)) as server:
        done = run("chat", "x", "--base-url", f"http://127.0.0.1:{server.port}")

    assert (0, "\\x1b[2J\\x07\\r\\u202e!\n") == (done.status, done.out.decode())


def test_cut_connection(run: Run) -> None:
    """If the connection is lost, the received text is printed, and then an error."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(HEAD + part("Once upon"))

    with serve(script) as server:
        done = run("chat", "x", "--base-url", f"http://127.0.0.1:{server.port}")

    assert (4, b"Once upon\n") == (done.status, done.out)
    assert "the connection broke" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to another process")
def test_interrupt(start: Start) -> None:
    """Ctrl-C ends the command at once. A line end is printed after the partial answer."""
    with serve(answering(part("Once"))) as server:
        process = start("chat", "x", "--base-url", f"http://127.0.0.1:{server.port}")
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"Once" == process.stdout.read(4)
        process.send_signal(signal.SIGINT)
        rest, err = process.stdout.read(), process.stderr.read()

        assert (130, b"\n", b"\ninterrupted\n") == (process.wait(30), rest, err)


def test_speak(ask: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --speak, the speaker plays the printed answer."""
    monkeypatch.setattr(
        chat, "open_default_speaker", lambda rate_hz: WavSink(tmp_path / "a.wav", rate_hz)
    )
    done = ask("Count to three.", "--speak")
    with closing(wave.open(str(tmp_path / "a.wav"))) as file:
        samples = file.readframes(file.getnframes())

    assert (0, b"One. Two. Three.\n", "") == (done.status, done.out, done.err)
    assert "One.Two.Three." == spelled(samples)


def test_speak_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that has only white space is printed and not spoken."""
    monkeypatch.setattr(
        chat, "open_default_speaker", lambda rate_hz: WavSink(tmp_path / "a.wav", rate_hz)
    )
    end = part(" \n") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    with serve(answering(end)) as server:
        done = run("chat", "x", "--speak", "--base-url", f"http://127.0.0.1:{server.port}")

    assert (0, b" \n", "") == (done.status, done.out, done.err)


# models


def test_models(run: Run, server: Emulator) -> None:
    """``models`` prints the models as a table or as JSON."""
    table = run("models", "--base-url", server.url)
    value = json.loads(run("models", "--base-url", server.url, "--json").out)

    assert 0 == table.status
    for name in ("openai/gpt-4o-mini", "inworld-tts-2", "inworld/inworld-stt-1"):
        assert name in table.out.decode()
    assert "openai/gpt-4o-mini" in [model["id"] for model in value["llm"]]
    assert ["functionCalling"] == value["llm"][0]["capabilities"]
    assert "inworld-tts-2" in value["tts"]
    assert "inworld/inworld-stt-1" in value["stt"]
