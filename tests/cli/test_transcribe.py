"""The input, the output and the failures of ``inworld-sync transcribe``."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import wave
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from inworld_sync.cli import transcribe as transcription

from support.commands import Done, Run
from support.peers import Peer, serve
from support.scripted_stt import SttConnectionScript, SttServer
from support.spoken_words import RATE_HZ, spoken_turns

PCM, SAID = spoken_turns(2, 3)
TURNS = "w1 w2\nw3 w4 w5\n"


def interleaved(*channels: bytes) -> bytes:
    """Return interleaved channels. Silence is added to the end of shorter channels."""
    frames = max(map(len, channels)) // 2
    pcm = array("h", bytes(2 * frames * len(channels)))
    for number, channel in enumerate(channels):
        pcm[number :: len(channels)] = array("h", channel.ljust(2 * frames, b"\0"))
    return pcm.tobytes()


def inverted(pcm: bytes) -> bytes:
    """Return stereo audio whose second channel is the inverted first channel."""
    return interleaved(pcm, array("h", [-each for each in array("h", pcm)]).tobytes())


def swapped(pcm: bytes) -> bytes:
    samples = array("h", pcm)
    samples.byteswap()
    return samples.tobytes()


@pytest.fixture
def stt_service() -> Iterator[tuple[str, SttServer]]:
    """Yield the address of an STT service that recognizes numbered words, and the service."""
    server = SttServer(lambda connection, name: None, {})
    with serve(server.run) as raw:
        yield f"ws://127.0.0.1:{raw.port}", server


@pytest.fixture
def transcribe(run: Run, stt_service: tuple[str, SttServer]) -> Callable[..., Done]:
    return lambda *arguments: run("transcribe", "--base-url", stt_service[0], *map(str, arguments))


def wav(path: Path, pcm: bytes = PCM, rate_hz: int = RATE_HZ) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return path


# The output.


def test_text(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """The text of each turn is printed on one line, and nothing else is printed."""
    done = transcribe(wav(tmp_path / "a.wav"))

    assert (0, TURNS.encode(), "") == (done.status, done.out, done.err)


def test_json(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """--json prints the turns, the words with their times, and the usage."""
    path = wav(tmp_path / "a.wav")
    row = json.loads(transcribe("--json", path).out)

    assert {"file": str(path), "text": SAID} == {name: row[name] for name in ("file", "text")}
    assert [(500, 1000), (1600, 2400)] == [(t["start_ms"], t["end_ms"]) for t in row["turns"]]
    word = {"text": "w1", "start_ms": 500, "end_ms": 700, "confidence": 0.8, "speaker": None}
    assert {**word, "extra": {}, "channel": None} == row["turns"][0]["words"][0]
    assert len(PCM) // 32 == row["usage"]["audio_ms"]


def test_subtitles(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """--srt prints SubRip, and --vtt prints WebVTT."""
    path = wav(tmp_path / "a.wav")

    srt = "1\n00:00:00,500 --> 00:00:01,000\nw1 w2\n\n2\n00:00:01,600 --> 00:00:02,400\nw3 w4 w5\n"
    assert srt == transcribe("--srt", path).out.decode().replace("\r\n", "\n")
    assert transcribe("--vtt", path).out.startswith(b"WEBVTT\n\n00:00:00.500 --> ")


def test_several_files(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """The results of several files are printed with the file names, in the order of the files."""
    first, second = wav(tmp_path / "a.wav"), wav(tmp_path / "b.wav", spoken_turns(1)[0])
    done = transcribe(first, second)

    assert f"{first}:\n{TURNS}{second}:\nw1\n" == done.out.decode()
    rows = json.loads(transcribe("--json", first, second).out)
    assert [str(first), str(second)] == [row["file"] for row in rows]


@pytest.mark.parametrize(("form", "suffix"), [("--srt", "srt"), ("--json", "json"), ("", "txt")])
def test_folder(transcribe: Callable[..., Done], tmp_path: Path, form: str, suffix: str) -> None:
    """With --output, the folder has one result for each file, with the name of the file."""
    files = [wav(tmp_path / f"{name}.wav") for name in "ab"]
    done = transcribe(*([form] if form else []), "-o", tmp_path / "out", *files)

    assert (0, b"") == (done.status, done.out)
    assert {f"a.{suffix}", f"b.{suffix}"} == {path.name for path in (tmp_path / "out").iterdir()}
    assert "w3" in (tmp_path / "out" / f"b.{suffix}").read_text(encoding="utf-8")


def test_each_result_when_it_is_ready(
    transcribe: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Each result is written while later files are transcribed. A file fails if its result cannot be
    written.
    """
    files = [wav(tmp_path / f"{name}.wav") for name in "abc"]
    output = tmp_path / "out"
    (output / "b.txt").mkdir(parents=True)
    opened = transcription._open

    def wait_for_first(name: str, *arguments: Any) -> Any:
        deadline = time.monotonic() + 30
        while name == str(files[2]) and not (output / "a.txt").is_file():
            assert time.monotonic() < deadline, "the first result is not written"
            threading.Event().wait(0.01)
        return opened(name, *arguments)

    monkeypatch.setattr(transcription, "_open", wait_for_first)
    done = transcribe("-o", output, "--jobs", "1", *files)

    assert 1 == done.status
    assert f"inworld-sync: {files[1]}: " in done.err
    assert str(output / "b.txt") in done.err
    assert {"a.txt", "c.txt"} == {path.name for path in output.iterdir() if path.is_file()}


def test_live(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """With --live, each turn is printed when it arrives, as a line of text or of JSON."""
    path = wav(tmp_path / "a.wav", spoken_turns(1, 1, pause_ms=300)[0])

    assert b"w1\nw2\n" == transcribe("--live", path).out
    rows = [json.loads(line) for line in transcribe("--live", "--json", path).out.splitlines()]
    assert ["w1", "w2"] == [row["text"] for row in rows]
    assert transcribe("--live", "--srt", path).out.startswith(b"1\n00:00:00,300")


def http_service(answer: dict[str, Any]) -> Callable[[Peer], None]:
    """Return a script that answers one HTTP request for a transcript."""

    def run(peer: Peer) -> None:
        peer.read_request()
        body = json.dumps(answer).encode()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        peer.read_until_end()

    return run


def test_live_with_http(run: Run, tmp_path: Path) -> None:
    """With --live --http, the result of the HTTP request is printed."""
    path = wav(tmp_path / "a.wav")
    with serve(http_service({"transcription": {"transcript": "Good morning."}})) as raw:
        where = ("--base-url", f"http://127.0.0.1:{raw.port}")
        done = run("transcribe", *where, "--live", "--http", str(path))

    assert (0, b"Good morning.\n", "") == (done.status, done.out, done.err)


def test_subtitles_without_times_of_words(
    transcribe: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without times of words, subtitles use the times of turns. A message says so."""
    send = SttConnectionScript.send_results

    def without_words(script: SttConnectionScript, results: list[dict[str, Any]]) -> None:
        for result in results:
            result.get("transcription", {}).pop("wordTimestamps", None)
        send(script, results)

    monkeypatch.setattr(SttConnectionScript, "send_results", without_words)
    path = wav(tmp_path / "a.wav")
    done = transcribe("--srt", path)

    assert 0 == done.status
    assert "w3 w4 w5\n" in done.out.decode().replace("\r\n", "\n")
    assert done.err.startswith(f"inworld-sync: {path}: the model sent no times of words, so --srt")
    assert "assemblyai, soniox and deepgram models" in done.err


def test_subtitles_without_any_times(run: Run, tmp_path: Path) -> None:
    """Without any times, the error names the file and the models that send times of words."""
    path = wav(tmp_path / "a.wav")
    with serve(http_service({"transcription": {"transcript": "Good morning."}})) as raw:
        where = ("--base-url", f"http://127.0.0.1:{raw.port}")
        done = run("transcribe", *where, "--http", "--srt", str(path))

    assert (2, b"") == (done.status, done.out)
    assert done.err.startswith(f"inworld-sync: {path}: subtitles need times")
    assert "assemblyai, soniox and deepgram models" in done.err
    assert 1 == done.err.count("inworld-sync")


def test_terminal_escapes(run: Run, tmp_path: Path) -> None:
    """Control characters and markup in a transcript are printed as text."""
    path = wav(tmp_path / "a.wav")
    text = "\x1b[31m[bold]red[/bold]\x9b"
    with serve(http_service({"transcription": {"transcript": text}})) as raw:
        where = ("--base-url", f"http://127.0.0.1:{raw.port}")
        done = run("transcribe", *where, "--http", str(path))

    assert b"\\x1b[31m[bold]red[/bold]\\x9b\n" == done.out


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return the buffer that replaces standard error, and acts as a terminal of 20 columns."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=20, color_system=None)
    monkeypatch.setattr(transcription, "ERRORS", console)
    return screen


def test_partials_on_a_terminal(
    transcribe: Callable[..., Done], tmp_path: Path, screen: io.StringIO
) -> None:
    """With --live, each partial transcript is replaced by the next transcript of the turn."""
    done = transcribe("--live", wav(tmp_path / "a.wav", spoken_turns(2)[0]))

    assert b"w1 w2\n" == done.out
    erased = "\r\x1b[2K"
    assert f"{erased}w1{erased}w1 w2{erased}" == screen.getvalue()


def test_progress_on_a_terminal(
    transcribe: Callable[..., Done], tmp_path: Path, screen: io.StringIO
) -> None:
    """On a terminal, a line for each file shows how much of the file was sent."""
    files = [wav(tmp_path / f"{name}.wav") for name in "ab"]
    done = transcribe(*files)

    assert 0 == done.status
    assert "3/3 s" in screen.getvalue()


# The input.


def test_raw_file(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """A raw file without --rate raises an error that names the option."""
    path = tmp_path / "a.pcm"
    path.write_bytes(PCM)

    assert TURNS.encode() == transcribe("--rate", RATE_HZ, path).out
    done = transcribe(path)
    assert 2 == done.status
    assert "is not known: pass --rate\n" in done.err


def test_unknown_format(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """The message about a file of an unknown format names the options for raw samples."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"\x01\x02 no header")
    done = transcribe(path)

    assert 1 == done.status
    assert "raw samples need --rate, and --raw-format if" in done.err


def test_raw_format(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """Raw samples are read in the format that --raw-format declares."""
    path = tmp_path / "a.bin"
    path.write_bytes(swapped(PCM))

    assert TURNS.encode() == transcribe("--rate", RATE_HZ, "--raw-format", "s16be", path).out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rate", "8000"], "--rate cannot be combined with a file that has a header"),
        (["--rate", "8000", "--channels", "2"], "--rate and --channels cannot be combined"),
    ],
)
def test_options_of_raw_samples(
    transcribe: Callable[..., Done], tmp_path: Path, options: list[str], words: str
) -> None:
    """Options for raw samples raise an error for a file with a header."""
    done = transcribe(*options, wav(tmp_path / "a.wav"))

    assert (2, b"") == (done.status, done.out)
    assert words in done.err


# Channels.


CALL = interleaved(PCM, spoken_turns(1, 2)[0])


def call(path: Path, pcm: bytes = CALL) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm)
    return path


TALK = "channel 0: w1 w2\nchannel 1: w1\nchannel 1: w2 w3\nchannel 0: w3 w4 w5\n"


def test_separate_channels(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """--channels separate prints each turn with its channel, in every output format."""
    path = call(tmp_path / "a.wav")
    separate = ("--channels", "separate", path)

    assert (0, TALK, "") == (lambda d: (d.status, d.out.decode(), d.err))(transcribe(*separate))
    row = json.loads(transcribe("--json", *separate).out)
    assert row["text"] + "\n" == TALK
    assert [0, 1, 1, 0] == [turn["channel"] for turn in row["turns"]]
    assert {(0, "channel 0"), (1, "channel 1")} == {
        (word["channel"], word["speaker"]) for turn in row["turns"] for word in turn["words"]
    }
    assert "\nchannel 1: w2 w3\n" in transcribe("--srt", *separate).out.decode()
    assert "\n<v channel 1>w2 w3\n" in transcribe("--vtt", *separate).out.decode()


def test_separate_channels_live(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """--live prints each turn, with its channel, when the turn is final."""
    path = call(tmp_path / "a.wav")
    lines = transcribe("--live", "--channels", "separate", path).out.decode().splitlines()
    rows = transcribe("--live", "--json", "--channels", "separate", path).out.splitlines()

    assert sorted(TALK.splitlines()) == sorted(lines)
    assert [0, 0, 1, 1] == sorted(json.loads(row)["channel"] for row in rows)


@pytest.mark.parametrize(("channel", "said"), [("0", TURNS), ("1", "w1\nw2 w3\n")])
def test_one_channel(
    transcribe: Callable[..., Done], tmp_path: Path, channel: str, said: str
) -> None:
    """--channel transcribes one channel of a WAV file or of raw samples."""
    path = tmp_path / "a.pcm"
    path.write_bytes(CALL)
    raw = ("--rate", RATE_HZ, "--channels", "2", path)

    assert said.encode() == transcribe("--channel", channel, call(tmp_path / "a.wav")).out
    assert said.encode() == transcribe("--channel", channel, *raw).out


def test_missing_channel(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """If the file lacks the selected channel, the exit status is 2 and the error says why."""
    done = transcribe("--channel", "7", call(tmp_path / "a.wav"))

    assert (2, b"") == (done.status, done.out)
    assert "--channel must be a channel of the recording, which has the channels 0 to 1" in done.err


def test_raw_call(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """With --channels separate, raw samples are read as two channels."""
    path = tmp_path / "a.raw"
    path.write_bytes(CALL)

    assert TALK == transcribe("--rate", RATE_HZ, "--channels", "separate", path).out.decode()


def test_inverted_channels(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """If the channels cancel each other, one channel is transcribed, and a warning is printed."""
    loud = array("h", [0] * 8000 + [100] * 3200 + [0] * 8000).tobytes()
    done = transcribe(call(tmp_path / "a.wav", inverted(loud)))

    assert (0, b"w100\n") == (done.status, done.out)
    assert "inworld-sync: the mix of the 2 channels is 20 dB or more below channel 0" in done.err
    assert "pass --channel to choose one\n" in done.err


def test_standard_input(
    start: Callable[..., subprocess.Popen[bytes]],
    stt_service: tuple[str, SttServer],
    tmp_path: Path,
) -> None:
    """With -, an audio file or raw samples are read from standard input."""
    command = ["transcribe", "--base-url", stt_service[0], "-"]
    for data, more in ((wav(tmp_path / "a.wav").read_bytes(), []), (PCM, ["--rate", str(RATE_HZ)])):
        process = start(*command, *more)
        out, _ = process.communicate(data, timeout=30)

        assert TURNS.encode() == out.replace(b"\r\n", b"\n")


def test_settings(
    transcribe: Callable[..., Done], stt_service: tuple[str, SttServer], tmp_path: Path
) -> None:
    """The service gets the model and the language of the options."""
    transcribe("--model", "soniox/stt-rt-v5", "--language", "en-GB", wav(tmp_path / "a.wav"))
    config: dict[str, Any] = stt_service[1].connections[0].requests[0]["transcribeConfig"]

    assert ("soniox/stt-rt-v5", "en-GB") == (config["modelId"], config["language"])


# Failures.


def test_one_file_of_several_fails(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """If one file fails, a message says so. The other files are transcribed. The status is 1."""
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    done = transcribe(tmp_path / "none.wav", wav(tmp_path / "a.wav"), tmp_path / "bad.wav")

    assert 1 == done.status
    assert f"{tmp_path / 'a.wav'}:\n{TURNS}" == done.out.decode()
    assert "none.wav" in done.err
    assert "bad.wav cannot be decoded" in done.err


def test_no_words(transcribe: Callable[..., Done], tmp_path: Path) -> None:
    """A message is printed for a file without words. If no file has words, the status is 5."""
    silent, spoken = wav(tmp_path / "silent.wav", bytes(32_000)), wav(tmp_path / "a.wav")
    message = f"inworld-sync: {silent}: no words were recognized\n"
    alone, both = transcribe(silent), transcribe(silent, spoken)

    assert (5, b"", message) == (alone.status, alone.out, alone.err)
    assert (0, message) == (both.status, both.err)
    assert "" == json.loads(transcribe("--json", silent).out)["text"]


LOUD = spoken_turns(1)[0] + array("h", [3000, -3000]).tobytes() * RATE_HZ


@pytest.fixture
def stopping(run: Run) -> Iterator[Callable[..., Done]]:
    """Return a function that transcribes. Its service sends nothing after one final transcript."""

    def hook(connection: SttConnectionScript, name: str) -> None:
        if name == "final_sent":
            connection.until_left()

    server = SttServer(hook, {})
    with serve(server.run) as raw:
        url = f"ws://127.0.0.1:{raw.port}"
        where = ("--base-url", url, "--timeout", "0.3")
        yield lambda *arguments: run("transcribe", *where, *map(str, arguments))


def test_service_stops(stopping: Callable[..., Done], tmp_path: Path) -> None:
    """
    If the service sends no more, the finished turns are printed, then one message. The status is 4.
    """
    path = wav(tmp_path / "a.wav", LOUD)
    done = stopping(path)

    assert (4, b"w1\n") == (done.status, done.out)
    assert done.err.startswith(f"inworld-sync: {path}: the service sent nothing new within 0.3 s")
    assert done.err.endswith("(finished turns in the result: 1)\n")
    assert 1 == done.err.count("\n")


def test_service_stops_with_several_files(stopping: Callable[..., Done], tmp_path: Path) -> None:
    """If the service sends no more, each file's result has the finished turns and the error."""
    path, output = wav(tmp_path / "a.wav", LOUD), tmp_path / "out"
    rows = json.loads(stopping("--json", path, wav(tmp_path / "b.wav", LOUD)).out)
    assert ["w1", "w1"] == [row["text"] for row in rows]
    assert "within 0.3 s" in rows[0]["error"]
    done = stopping("--srt", "-o", output, path)

    assert 4 == done.status
    assert "w1" in (output / "a.srt").read_text(encoding="utf-8")


# (arguments, exit status, words of the message)
WRONG = [
    (("--http", "-v", "a.wav"), 2, "-v shows the messages of a WebSocket"),
    ((), 2, "Missing argument"),
    (("none.wav",), 1, "none.wav"),
    (("--srt", "--vtt", "a.wav"), 2, "--srt and --vtt cannot be combined"),
    (("--srt", "a.wav", "b.wav"), 2, "pass --output"),
    (("--live", "a.wav", "b.wav"), 2, "--live accepts one file"),
    (("-", "-"), 2, "standard input (-) can be read only once"),
    (("-o", "out", "x/a.wav", "y/a.mp3"), 2, "same name"),
    (("--model", "whisper", "a.wav"), 2, "--model must be provider/model"),
    (("--channels", "0", "--rate", "8000", "a.pcm"), 2, "must be 1 to 64 or separate, got '0'"),
    (("--channels", "both", "a.wav"), 2, "must be 1 to 64 or separate, got 'both'"),
    (("--channels", "separate", "--channel", "0", "a.wav"), 2, "cannot be combined"),
    (("--channels", "separate", "--jobs", "11", "a.wav", "b.wav"), 2, "may be at most 10"),
    (("--channel", "-1", "a.wav"), 2, "-1 is not in the range"),
    (("--raw-format", "s12", "a.pcm"), 2, "'s12' is not one of 's16le'"),
    (("--jobs", "2", "a.wav"), 2, "--jobs needs several files"),
    (("--jobs", "0", "a.wav"), 2, "0 is not in the range"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), WRONG)
def test_wrong_usage(
    transcribe: Callable[..., Done], arguments: tuple[str, ...], status: int, words: str
) -> None:
    """Wrong usage prints a message and exits with the documented status."""
    done = transcribe(*arguments)

    assert (status, b"") == (done.status, done.out)
    assert words in done.err


def test_no_key(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a key, the error names the environment variable."""
    monkeypatch.delenv("INWORLD_API_KEY")
    done = run("transcribe", str(wav(tmp_path / "a.wav")))

    assert 2 == done.status
    assert "INWORLD_API_KEY" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
@pytest.mark.parametrize("separate", [False, True], ids=["files", "channels"])
def test_interrupt(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, separate: bool
) -> None:
    """Ctrl-C ends the command at once, even while it transcribes several files or channels."""
    files = [str(wav(tmp_path / f"{name}.wav", PCM * 100)) for name in "abc"]
    if separate:
        files = ["--channels", "separate", str(call(tmp_path / "a.wav", CALL * 100))]

    def hook(connection: SttConnectionScript, name: str) -> None:
        if (name, connection.counts[name]) == ("chunk", 3):
            process.send_signal(signal.SIGINT)

    server = SttServer(hook, {})
    with serve(server.run) as raw:
        process = start("transcribe", "--base-url", f"ws://127.0.0.1:{raw.port}", *files)
        _, err = process.communicate(timeout=30)

    assert 130 == process.returncode
    assert b"interrupted" in err
    assert b"Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFO")
def test_interrupt_while_a_pipe_is_silent(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """Ctrl-C ends the command although the program that writes the audio sends nothing."""
    fifo = tmp_path / "audio"
    os.mkfifo(fifo)
    process = start("transcribe", "--base-url", "ws://127.0.0.1:9", "--rate", "16000", str(fifo))
    # The call of open() returns when the command has opened the FIFO for reading.
    with fifo.open("wb"):
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)

    assert 130 == process.returncode
    assert b"interrupted" in err
    assert b"Traceback" not in err
