"""Commands escape the control characters in texts of a service, and print no traceback."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import Done, Run
from support.peers import Peer, RawServer, serve
from support.rest_client import wav_file
from support.scripted import ScriptEnded, Service
from support.untrusted import CONTROL, ESCAPES, HOSTILE

# The arguments of each command that reads from the service by HTTP.
COMMANDS = {
    "voices": ("voices",),
    "voices as JSON": ("voices", "list", "--json"),
    "voice": ("voices", "get", "v"),
    "voice as JSON": ("voices", "get", "v", "--json"),
    "update": ("voices", "update", "v", "--name", "x"),
    "publish": ("voices", "publish", "v"),
    "delete": ("voices", "delete", "v"),
    "design": ("voices", "design", "A calm, low voice of a man who tells", "--text", "Hi there."),
    "models": ("models",),
    "models as JSON": ("models", "--json"),
    "chat": ("chat", "Hi."),
    "chat as JSON": ("chat", "Hi.", "--json"),
    "token": ("token", "--kind", "single_use"),
}
E = ESCAPES
VOICE = {"voiceId": E, "displayName": E, "langCode": E, "description": E, "tags": [E], "source": E}
DELTA = {"choices": [{"delta": {"content": E}, "finish_reason": E}], "model": E, "id": E}
# A response body with all fields that the commands read.
BODY = {
    "voice": VOICE,
    "voices": [VOICE, VOICE],
    "previewVoices": [{"voiceId": E, "previewText": E, "previewAudio": "AAAA"}],
    "models": [{"model": E, "provider": E, "modelCreator": E, "spec": {"inputModalities": [E]}}],
    **VOICE,
    "choices": [{"message": {"content": E}, "finish_reason": E}],
    "token": E,
    "sessionId": E,
}
ERROR = {"code": E, "message": E, "details": [E]}
ANSWERS: dict[str, tuple[str, str]] = {
    "texts": ("200 OK", json.dumps(BODY)),
    "error": (f"400 {E[:9]}", json.dumps(ERROR)),
    "nested error": ("503 Busy", json.dumps({"error": ERROR})),
    "page": ("502 Bad Gateway", f"<html><title>{E}</title>"),
    "text": ("500 Oops", E),
    **{name: ("200 OK", HOSTILE[name]) for name in ("escapes", "far too deep", "huge")},
    "voices too deep": ("200 OK", f'{{"voices":{HOSTILE["too deep"]},"models":{HOSTILE["deep"]}}}'),
}


def check(done: Done) -> None:
    """Require that the output has no control characters and no traceback."""
    for text in (done.out.decode(), done.err):
        assert not CONTROL.search(text), text
        assert "Traceback" not in text


@pytest.mark.parametrize("answer", ANSWERS)
def test_http(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """
    Control characters in results and errors of the service have no effect on a terminal or a file
    name.
    """
    monkeypatch.chdir(tmp_path)
    status, body = ANSWERS[answer]

    def script(peer: Peer) -> None:
        while True:
            peer.read_request()
            head = f"HTTP/1.1 {status}\r\nX-Request-Id: {E[:20]}\r\nRetry-After: 0"
            peer.send(f"{head}\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}".encode())

    with serve(script) as server:
        for arguments in COMMANDS.values():
            done = run(*arguments, "--base-url", f"http://localhost:{server.port}")
            check(done)
            if answer != "texts":
                assert done.status in (0, 1, 3, 4, 5)

    assert {path.name for path in tmp_path.iterdir()} <= {"preview-1.wav", "preview-1.mp3"}


def test_chat_stream(run: Run) -> None:
    """Control characters in the deltas of a streamed answer are shown as escapes."""
    data = f"data: {json.dumps(DELTA)}\n\ndata: [DONE]\n\n".encode()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%b"
            % (len(data), data)
        )

    with serve(script) as server:
        done = run("chat", "Hi.", "--base-url", f"http://localhost:{server.port}")

    check(done)
    assert 0 == done.status
    assert "\\x1b]0;owned\\x07" in done.out.decode()


@pytest.fixture
def hostile_service() -> Iterator[RawServer]:
    """Return a WebSocket service whose answer to the first request has hostile texts."""

    def script(peer: Peer) -> None:
        service = Service(peer, 1)
        try:
            service.request()
            service.send({"error": {"code": 3, "message": E, "details": [E]}})
            service.send({"result": {"status": {"code": 3, "message": E, "details": [E]}}})
            service.send({"type": "error", "error": {"code": E, "message": E, "type": E}})
            service.send({"type": E, "result": {E: E}})
            service.close(1008, "\x1b[2J\x9b\u202e")
        except ScriptEnded:
            pass

    with serve(script) as server:
        yield server


@pytest.mark.parametrize("command", ["say", "transcribe", "talk"])
def test_websockets(run: Run, hostile_service: RawServer, tmp_path: Path, command: str) -> None:
    """Control characters in errors, messages and CLOSE reasons have no effect on a terminal."""
    recording = tmp_path / "a.wav"
    recording.write_bytes(wav_file(0.2))
    arguments = {
        "say": ("say", "Hi.", "-o", str(tmp_path / "out.wav")),
        "transcribe": ("transcribe", str(recording)),
        "talk": ("talk", "--say", "Hi.", "-o", str(tmp_path / "out.wav")),
    }[command]

    done = run(*arguments, "-v", "--base-url", f"ws://localhost:{hostile_service.port}")

    check(done)
    assert done.status in (1, 4)
    assert "\\x1b" in done.err


@pytest.mark.parametrize("form", ["text", "json", "srt", "vtt"])
def test_transcripts(run: Run, tmp_path: Path, form: str) -> None:
    """A transcript with escapes and HTML is shown as text in every output format."""
    recording = tmp_path / "a.wav"
    recording.write_bytes(wav_file(0.5))
    word = {"word": E, "startTimeMs": 0, "endTimeMs": 400, "speaker": E}
    said = {"transcript": f"{E} {E}", "isFinal": True, "wordTimestamps": [word, word]}

    def script(peer: Peer) -> None:
        service = Service(peer, 1)
        try:
            while "closeStream" not in service.request():
                pass
            service.send({"result": {"transcription": said}})
            service.send({"result": {"usage": {"transcribedAudioMs": 500}}})
            service.until_left()
        except ScriptEnded:
            pass

    with serve(script) as server:
        option = () if form == "text" else (f"--{form}",)
        done = run(
            *("transcribe", str(recording), "-v", *option),
            *("--base-url", f"ws://localhost:{server.port}"),
        )

    check(done)
    assert 0 == done.status, done.err
    assert "owned" in done.out.decode()
    if form == "vtt":
        assert "<script" not in done.out.decode()
        lines = [line for line in done.out.decode().splitlines() if "-->" in line]
        assert all(re.fullmatch(r"00:00:00\.\d{3} --> 00:00:00\.\d{3}", line) for line in lines)
