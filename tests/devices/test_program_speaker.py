"""
A speaker that plays audio with a program of the system, such as ``paplay``.

This test replaces the programs with scripts, because no sound system runs here. A script records
its arguments, and records its input as soon as the input arrives, like a player without a buffer.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import wave
from pathlib import Path
from typing import NoReturn

import pytest

from inworld_sync import AudioEncoding
from inworld_sync.devices import portaudio
from inworld_sync.devices.program_speaker import ProgramSpeaker
from inworld_sync.errors import ClosedError, ConfigError, DeadlineExceeded, DeviceError
from inworld_sync.sessions.tts.speech import Speech

RATE_HZ = 24_000
SECOND = bytes(range(240)) * 200
TWENTIETH = SECOND[:2400]

# A script that records its arguments and its input. If the last argument is a WAV file, the script
# copies this file.
RECORDER = """
import json, shutil, sys
record = {record!r}
with open(record + ".json", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
with open(record + ".raw", "ab") as file:
    while data := sys.stdin.buffer.raw.read(65536):
        file.write(data)
        file.flush()
if sys.argv[-1].endswith(".wav"):
    shutil.copy(sys.argv[-1], record + ".wav")
"""
FAILING = """
import sys
sys.stderr.write("no sound server")
sys.exit(3)
"""
NOT_READING = """
import time
time.sleep(600)
"""


class Programs:
    """A folder of scripts. It is the only folder of the PATH."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.record = folder / "record"

    def install(self, name: str, code: str = RECORDER) -> None:
        path = self._folder / name
        body = code.replace("{record!r}", repr(str(self.record)))
        path.write_text(f"#!{sys.executable} -S\n{body}")
        path.chmod(0o755)

    @property
    def arguments(self) -> list[list[str]]:
        lines = self.record.with_suffix(".json").read_text().splitlines()
        return [json.loads(line) for line in lines]

    @property
    def played(self) -> bytes:
        return self.record.with_suffix(".raw").read_bytes()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Programs(tmp_path)


pytestmark = pytest.mark.skipif(os.name != "posix", reason="the scripts are POSIX scripts")

STREAMED = [
    ("pw-play", ["--raw", "--rate=24000", "--format=s16", "--channels=1", "-"]),
    ("paplay", ["--raw", "--rate=24000", "--format=s16le", "--channels=1"]),
    ("aplay", ["-q", "-t", "raw", "-f", "S16_LE", "-c1", "-r24000", "-"]),
    (
        "ffplay",
        [
            "-loglevel",
            "error",
            "-nodisp",
            "-autoexit",
            "-f",
            "s16le",
            "-sample_rate",
            "24000",
            "-i",
            "-",
        ],
    ),
    (
        "mpv",
        [
            "--no-config",
            "--no-terminal",
            "--no-video",
            "--demuxer=rawaudio",
            "--demuxer-rawaudio-format=s16le",
            "--demuxer-rawaudio-channels=1",
            "--demuxer-rawaudio-rate=24000",
            "-",
        ],
    ),
]


@pytest.mark.parametrize(("name", "arguments"), STREAMED)
def test_samples_are_streamed(programs: Programs, name: str, arguments: list[str]) -> None:
    """A program gets the right options, and gets all samples through its standard input."""
    programs.install(name)
    with ProgramSpeaker(RATE_HZ) as speaker:
        speaker.write(TWENTIETH)
        speaker.write(TWENTIETH)
        speaker.drain(timeout=30)

        assert (name, len(TWENTIETH)) == (speaker.program, speaker.heard_samples)
    assert (TWENTIETH * 2, [arguments]) == (programs.played, programs.arguments)


@pytest.mark.parametrize("name", ["afplay", "powershell"])
def test_files_are_played(programs: Programs, name: str) -> None:
    """A program that cannot read a pipe gets a WAV file of each utterance. Each file is removed."""
    programs.install(name)
    with ProgramSpeaker(RATE_HZ) as speaker:
        for _ in range(2):
            speaker.write(TWENTIETH)
            speaker.end()
        speaker.drain(timeout=30)

        assert len(TWENTIETH) == speaker.heard_samples
    with wave.open(str(programs.record.with_suffix(".wav"))) as file:
        assert (RATE_HZ, 1, 2) == (file.getframerate(), file.getnchannels(), file.getsampwidth())
        assert TWENTIETH == file.readframes(RATE_HZ)
    paths = [arguments[-1] for arguments in programs.arguments]
    assert 2 == len(set(paths))
    assert not any(Path(path).exists() for path in paths)


def test_several_utterances(programs: Programs) -> None:
    """After a drain, the program is started again for later audio."""
    programs.install("aplay")
    with ProgramSpeaker(RATE_HZ) as speaker:
        for _ in range(2):
            speaker.write(TWENTIETH)
            speaker.drain(timeout=30)

    assert (2, TWENTIETH * 2) == (len(programs.arguments), programs.played)


def test_the_order_of_the_programs(programs: Programs) -> None:
    """Of the installed programs, the first in the order of the documentation is used."""
    for name in ("aplay", "mpv", "paplay"):
        programs.install(name)

    assert "paplay" == ProgramSpeaker().program
    assert "mpv" == ProgramSpeaker(program="mpv").program


def test_no_program(programs: Programs) -> None:
    """If no program is installed, the error names all programs. An unknown name raises an error."""
    with pytest.raises(DeviceError, match=r"none of pw-play, .* powershell is installed"):
        ProgramSpeaker()
    with pytest.raises(DeviceError, match="mpv is not installed"):
        ProgramSpeaker(program="mpv")
    with pytest.raises(ConfigError, match="program must be one of pw-play"):
        ProgramSpeaker(program="rm")


def test_a_program_that_fails(programs: Programs) -> None:
    """If a program fails, the exception has the text that it wrote to standard error."""
    programs.install("paplay", FAILING)

    def play(speaker: ProgramSpeaker) -> None:
        for _ in range(20):
            speaker.write(TWENTIETH)
        speaker.drain(timeout=30)

    with ProgramSpeaker() as speaker, pytest.raises(DeviceError, match="no sound server"):
        play(speaker)


def without_portaudio(*_: object) -> NoReturn:
    raise DeviceError("no PortAudio")


def test_speech_is_played_without_portaudio(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without PortAudio, a program plays the audio. If no program is found, an error is raised."""
    monkeypatch.setattr(portaudio, "_sounddevice", without_portaudio)
    speech = Speech(TWENTIETH, AudioEncoding.PCM, RATE_HZ)
    with pytest.raises(DeviceError, match=r"no PortAudio; none of pw-play.* is installed"):
        speech.play(timeout=30)

    programs.install("aplay")
    speech.play(timeout=30)

    assert TWENTIETH == programs.played


def test_clear_ends_the_program(programs: Programs) -> None:
    """A clear drops the audio that was not played. Later audio is played."""
    programs.install("aplay")
    with ProgramSpeaker(RATE_HZ, buffer_ms=60_000) as speaker:
        speaker.write(SECOND * 10)
        heard = speaker.clear()
        assert heard < 10 * RATE_HZ
        speaker.write(TWENTIETH)
        speaker.drain(timeout=30)

        assert heard + len(TWENTIETH) // 2 == speaker.heard_samples
    assert programs.played.endswith(TWENTIETH)


def test_a_program_that_reads_nothing(programs: Programs) -> None:
    """If a program reads nothing, a write ends at its timeout, and close() ends the program."""
    programs.install("aplay", NOT_READING)
    speaker = ProgramSpeaker(RATE_HZ, buffer_ms=60_000)
    with pytest.raises(DeadlineExceeded):
        speaker.write(SECOND * 10, timeout=0.1)
    speaker.close()

    with pytest.raises(ClosedError):
        speaker.write(SECOND)


def test_closing_wakes_a_write(programs: Programs) -> None:
    """A write that is waiting ends when another thread closes the speaker."""
    programs.install("aplay", NOT_READING)
    speaker = ProgramSpeaker(RATE_HZ, buffer_ms=60_000)
    timer = threading.Timer(0.05, speaker.close)
    timer.start()
    with pytest.raises(ClosedError):
        speaker.write(SECOND * 30)
    timer.join()
