"""Whole recordings are transcribed. The emulator also transcribes its own synthesized speech."""

from __future__ import annotations

import difflib
import inspect
import io
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np
import pytest
import soundfile

from inworld_sync import (
    AudioConfig,
    AudioError,
    AuthError,
    ConfigError,
    ConnectError,
    InvalidRequestError,
    Inworld,
    Options,
    PartialTranscript,
    TranscribeConfig,
    Transcript,
    Transcription,
)
from inworld_sync.emulator import Emulator
from inworld_sync.errors import ServiceError
from inworld_sync.models.stt import DEFAULT_STT_MODEL
from inworld_sync.sessions.stt.service import Stt

from support.scripted_stt import SttConnectionScript, stt_server
from support.sentences import MORE_SENTENCES, SENTENCES, TWO_CITIES, word_errors, words_of
from support.speech import recording, silence
from support.spoken_words import RATE_HZ, spoken_turns

BECKETT = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."
AUDIO = AudioConfig("PCM", 16000)
# The default model sends no times of words.
TIMED_MODEL = "soniox/stt-rt-v5"


def report(figure: str) -> None:
    """Print a line that ``pytest -rP`` shows."""
    sys.stdout.write(f"{figure}\n")


@pytest.fixture
def local(inworld_local: Emulator) -> Iterator[Inworld]:
    """Yield a client of the emulator with its speech engines."""
    with Inworld(api_key=inworld_local.api_key, base_url=inworld_local.url) as iw:
        yield iw


def transcribed(iw: Inworld, pcm: bytes, **settings: Any) -> Transcript:
    """Transcribe as fast as the emulator can."""
    with iw.stt.stream(max_chunks_per_second=2000, **settings) as stream:
        stream.send(pcm)
        return stream.close()


@pytest.mark.slow
def test_round_trip(local: Inworld) -> None:
    """
    If fifty sentences are spoken and transcribed, no sentence is lost, and few words are wrong.
    """
    errors = words = 0
    differences_ms = []
    for text in SENTENCES + MORE_SENTENCES:
        speech = local.tts.synthesize(text, audio=AUDIO)
        transcript = transcribed(local, bytes(speech.pcm) + silence(1), model=TIMED_MODEL)
        wrong = word_errors(text, transcript.text)
        assert wrong <= len(words_of(text)) / 2, (text, transcript.text)
        errors += wrong
        words += len(words_of(text))
        said = [str(words_of(word.text)) for word in speech.words]
        got = [str(words_of(word.text)) for word in transcript.words]
        matcher = difflib.SequenceMatcher(None, said, got, autojunk=False)
        for match in matcher.get_matching_blocks():
            for i in range(match.size):
                at_ms = transcript.words[match.b + i].start_ms
                differences_ms.append(at_ms - speech.words[match.a + i].start_ms)
    within = sum(abs(ms) <= 100 for ms in differences_ms) / len(differences_ms)
    report(
        f"{len(SENTENCES + MORE_SENTENCES)} sentences, {words} words, {errors} wrong "
        f"({errors / words:.1%}); word starts: median {statistics.median(differences_ms):+.0f} ms, "
        f"{within:.1%} within 100 ms"
    )

    assert errors / words <= 0.04
    assert within >= 0.95


def test_same_every_time(local: Inworld) -> None:
    """The same audio gives the same words at nearly the same times, in pieces of any size."""
    pcm = bytes(local.tts.synthesize(SENTENCES[1], audio=AUDIO).pcm) + silence(1)
    whole = transcribed(local, pcm)
    with local.stt.stream(max_chunks_per_second=2000) as stream:
        for at in range(0, len(pcm), 1234):
            stream.send(pcm[at : at + 1234])
        cut = stream.close()

    assert whole.text == cut.text
    assert whole.usage == cut.usage
    for one, other in zip(whole.words, cut.words, strict=True):
        assert abs(one.start_ms - other.start_ms) <= 30


@pytest.mark.parametrize(
    ("name", "text", "bound"), [("two_cities.wav", TWO_CITIES, 0.12), ("beckett.wav", BECKETT, 0.2)]
)
def test_human_speech(local: Inworld, name: str, text: str, bound: float) -> None:
    """If people read aloud, the share of wrong words in the transcript is at most *bound*."""
    transcript = transcribed(local, recording(name))
    errors, words = word_errors(text, transcript.text), len(words_of(text))
    report(f"{name}: {errors} of {words} words wrong, {errors / words:.1%}")

    assert errors / words <= bound
    assert transcript.usage is not None
    assert transcript.usage.audio_ms % 50 == 0


@pytest.mark.parametrize(
    ("is_timed", "after"), [pytest.param(True, 30, marks=pytest.mark.slow), (False, 22)]
)
def test_lost_connection_in_human_speech(
    local: Inworld, inworld_local: Emulator, is_timed: bool, after: int
) -> None:
    """
    Human speech that is sent again is not transcribed twice, even without times of words.
    """
    inworld_local.faults.add(f"drop@{after}")
    model = TIMED_MODEL if is_timed else DEFAULT_STT_MODEL
    with local.stt.stream(max_chunks_per_second=2000, model=model) as stream:
        stream.send(recording("two_cities.wav") + silence(1))
        text = stream.close().text
    errors, words = word_errors(TWO_CITIES, text), len(words_of(TWO_CITIES))
    report(f"two_cities.wav: {errors} of {words} words wrong after a lost connection")

    assert 1 == stream.stats.reconnects
    assert abs(len(words_of(text)) - words) <= 4
    assert errors / words <= 0.12


def file_of(kind: str, rate_hz: int = 24_000) -> bytes:
    """Return the recording of six short sentences as a file of another kind."""
    import soxr

    wave = np.frombuffer(recording("beckett.wav"), "<i2") / 32768
    file = io.BytesIO()
    soundfile.write(file, soxr.resample(wave, RATE_HZ, rate_hz), rate_hz, format=kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "AIFF"])
def test_files(local: Inworld, tmp_path: Path, kind: str) -> None:
    """The path or the bytes of an audio file, of any format and rate, give the same words."""
    path = tmp_path / f"speech.{kind.lower()}"
    path.write_bytes(file_of(kind))
    transcript = local.stt.transcribe(path, method="http")

    assert word_errors(BECKETT, transcript.text) <= 2
    again = local.stt.transcribe(path.read_bytes(), method="http")
    assert transcript.text == again.text


def test_transcribe(local: Inworld) -> None:
    """A recording is streamed at five times real time, and the callback gets all transcripts."""
    seen: list[Transcription] = []
    pcm = recording("beckett.wav")
    started = time.monotonic()
    transcript = local.stt.transcribe(pcm, sample_rate_hz=RATE_HZ, on_transcript=seen.append)
    took = time.monotonic() - started

    assert word_errors(BECKETT, transcript.text) <= 2
    assert [turn.text for turn in transcript.turns] == [t.text for t in seen if t.is_final]
    assert any(not t.is_final for t in seen)
    assert took >= len(pcm) / 32_000 / 5 - 0.2
    assert 6 == transcript.to_srt().count(" --> ")
    assert transcript.to_vtt().startswith("WEBVTT\n\n00:00:00.")


def test_http(local: Inworld) -> None:
    """With method="http" a recording is one turn, with words and usage."""
    model = "groq/whisper-large-v3"
    transcript = local.stt.transcribe(
        recording("beckett.wav"), sample_rate_hz=RATE_HZ, model=model, method="http"
    )

    [turn] = transcript.turns
    assert word_errors(BECKETT, turn.text) <= 2
    assert len(turn.text.split()) == len(turn.words)
    assert (turn.words[0].start_ms, turn.words[-1].end_ms) == (turn.start_ms, turn.end_ms)
    assert transcript.usage is not None
    assert model == transcript.usage.model


@pytest.mark.parametrize("method", ["stream", "http"])
@pytest.mark.parametrize("seconds", [0, 1])
def test_silence(local: Inworld, seconds: float, method: Literal["stream", "http"]) -> None:
    """Silence and empty audio have no turns."""
    transcript = local.stt.transcribe(silence(seconds), sample_rate_hz=RATE_HZ, method=method)

    assert () == transcript.turns


# (function that makes the audio, arguments that this form of audio needs)
SOURCES: dict[str, tuple[Any, dict[str, Any]]] = {
    "bytes": (lambda pcm: pcm, {"sample_rate_hz": RATE_HZ}),
    "array": (lambda pcm: np.frombuffer(pcm, "<i2"), {"sample_rate_hz": RATE_HZ}),
    "floats": (lambda pcm: np.frombuffer(pcm, "<i2") / 32768, {"sample_rate_hz": RATE_HZ}),
    "stereo": (
        lambda pcm: np.frombuffer(pcm, "<i2").repeat(2).tobytes(),
        {"sample_rate_hz": RATE_HZ, "channels": 2},
    ),
    "pieces": (
        lambda pcm: (pcm[at : at + 5000] for at in range(0, len(pcm), 5000)),
        {"sample_rate_hz": RATE_HZ},
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_sources(name: str) -> None:
    """Every form of the same audio sends the same samples."""
    make, arguments = SOURCES[name]
    pcm, said = spoken_turns(2, 1)
    with stt_server() as (iw, server):
        transcript = iw.stt.transcribe(make(pcm), **arguments)
        sent = bytes(server.connections[0].pcm)

    assert said == transcript.text
    assert pcm == sent


def test_raw_file(tmp_path: Path) -> None:
    """A file whose name ends in .pcm is read as raw samples."""
    pcm, said = spoken_turns(1)
    (tmp_path / "a.pcm").write_bytes(pcm)
    with stt_server() as (iw, _):
        assert said == iw.stt.transcribe(tmp_path / "a.pcm", sample_rate_hz=RATE_HZ).text


@pytest.mark.parametrize("method", [Stt.stream, Stt.transcribe])
def test_settings_are_parameters(method: Callable[..., object]) -> None:
    """
    Each setting is a keyword-only parameter with a line in the docstring.

    channels and sample_rate_hz are exceptions: in a call they describe the caller's audio.
    """
    parameters = inspect.signature(method).parameters
    names = {field.name for field in attrs.fields(TranscribeConfig)} - {
        "channels",
        "sample_rate_hz",
    }

    assert names <= parameters.keys()
    for name in names:
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default is None
    documented = re.findall(r"^    (\w+): ", inspect.getdoc(method) or "", re.MULTILINE)
    assert parameters.keys() - {"self"} <= set(documented)


def test_settings_replace_those_of_the_config() -> None:
    """A setting of the call replaces the config's setting, but None replaces nothing."""
    config = TranscribeConfig(language="de-DE", prompts=["Inworld"])
    with stt_server() as (iw, _), iw.stt.stream(config=config, language="en-US") as stream:
        assert attrs.evolve(config, language="en-US") == stream.config


# (a wrong name, the right name)
WRONG_NAMES = [
    ("lang", "language"),
    ("modelId", "model"),
    ("sample_rate", "sample_rate_hz"),
    ("format", "encoding"),
    ("include_word_timestamp", "include_word_timestamps"),
]


@pytest.mark.parametrize(("wrong", "right"), WRONG_NAMES)
def test_wrong_keyword(wrong: str, right: str) -> None:
    """The error for a wrong keyword names the method and the right keyword."""
    ending = rf"got an unexpected keyword argument '{wrong}'; did you mean '{right}'\?$"
    with stt_server() as (iw, server):
        arguments: dict[str, Any] = {wrong: "en"}
        with pytest.raises(TypeError, match=rf"^Stt\.stream\(\) {ending}"):
            iw.stt.stream(**arguments)
        with pytest.raises(TypeError, match=rf"^Stt\.transcribe\(\) {ending}"):
            iw.stt.transcribe(b"", **arguments)

        assert [] == server.connections


# (audio, arguments, error, words of the error). Each error is raised before a connection opens.
BAD: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (bytes(10), {}, ConfigError, "sample rate of .* is not known: pass sample_rate_hz$"),
    (iter([b""]), {}, ConfigError, "sample rate of .* is not known"),
    ("no such file.wav", {}, FileNotFoundError, "no such file"),
    (b"RIFF....", {}, AudioError, "cannot be decoded"),
    (None, {}, AudioError, "must be a path, a binary file, bytes, an array"),
    (bytes(10), {"sample_rate_hz": RATE_HZ, "method": "ftp"}, ConfigError, "method must be"),
    (bytes(10), {"config": "en"}, ConfigError, "config must be a TranscribeConfig, got 'en'"),
    (bytes(10), {"sample_rate_hz": 0}, ConfigError, "sample_rate_hz must be 1 to 768000, got 0"),
    (bytes(10), {"sample_rate_hz": "16000"}, ConfigError, "sample_rate_hz must be an integer"),
    (bytes(10), {"sample_rate_hz": 16000, "channels": 0}, ConfigError, "channels must be 1 to 64"),
    (
        bytes(16_000_000),
        {"sample_rate_hz": RATE_HZ, "method": "http"},
        ConfigError,
        "16000000 bytes",
    ),
]


@pytest.mark.parametrize(("audio", "arguments", "kind", "words"), BAD)
def test_bad_input(
    audio: Any, arguments: dict[str, Any], kind: type[Exception], words: str
) -> None:
    """Input that is not audio raises an error before anything is sent."""
    with stt_server() as (iw, server):
        with pytest.raises(kind, match=words):
            iw.stt.transcribe(audio, **arguments)

        assert [] == server.connections


def test_bad_sample_in_the_middle() -> None:
    """A NaN in a recording raises an error that has the position of the NaN. The stream closes."""
    samples = np.zeros(32_000)
    samples[20_000] = np.nan
    with stt_server() as (iw, _):
        with pytest.raises(AudioError, match="got nan at sample 20000"):
            iw.stt.transcribe(samples, sample_rate_hz=RATE_HZ)


def test_wrong_rate(local: Inworld) -> None:
    """A wrong rate raises no error. All audio is sent, but words are lost."""
    pcm = recording("beckett.wav")
    transcript = transcribed(local, pcm, sample_rate_hz=48_000)

    assert transcript.usage is not None
    assert transcript.usage.audio_ms <= len(pcm) / 96
    assert word_errors(BECKETT, transcript.text) >= 6


def test_unknown_model(local: Inworld) -> None:
    """An unknown model raises InvalidRequestError with the message of the service."""
    with pytest.raises(InvalidRequestError, match='Unsupported model "inworld/none"') as caught:
        local.stt.transcribe(silence(1), sample_rate_hz=RATE_HZ, model="inworld/none")
    assert isinstance(caught.value.partial, PartialTranscript)
    with pytest.raises(InvalidRequestError, match='Unsupported model "inworld/none"'):
        local.stt.transcribe(
            silence(1), sample_rate_hz=RATE_HZ, model="inworld/none", method="http"
        )


def test_bad_key() -> None:
    """A refused key raises an AuthError that does not show the key."""
    key = "bm9ib2R5Om5vdGhpbmc="
    with Emulator() as server, Inworld(api_key=key, base_url=server.url) as iw:
        for method in ("stream", "http"):
            with pytest.raises(AuthError) as caught:
                iw.stt.transcribe(silence(1), sample_rate_hz=RATE_HZ, method=method)  # type: ignore[arg-type]
            assert key[:4] not in str(caught.value)


def test_partial_of_a_recording() -> None:
    """If a recording fails, the error has the earlier turns and the audio without a transcript."""
    pcm, _ = spoken_turns(2, 2)

    def hook(connection: SttConnectionScript, name: str) -> None:
        if name == "final" and connection.counts[name] == 2:
            connection.fail(5)

    with stt_server(hook) as (iw, _):
        with pytest.raises(ServiceError) as caught:
            iw.stt.transcribe(pcm, sample_rate_hz=RATE_HZ)

    left = caught.value.partial
    assert isinstance(left, PartialTranscript)
    assert "w1 w2" == left.transcript.text
    assert RATE_HZ == left.sample_rate_hz


def test_recordings_share_the_rate() -> None:
    """The recordings of one client share the limit of messages per second."""
    import threading

    pcm = bytes(3200 * 20)
    with stt_server() as (iw, _):
        threads = [
            threading.Thread(
                target=iw.stt.transcribe, args=(pcm,), kwargs={"sample_rate_hz": RATE_HZ}
            )
            for _ in range(3)
        ]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        took = time.monotonic() - started

    # Sixty messages are sent at fifty per second. Only the first few are sent without a delay.
    assert took >= 1.0


def test_no_server() -> None:
    """If no service listens, the first connection fails at once, without further attempts."""
    with Emulator() as server:
        url, key = server.url, server.api_key
    with Inworld(api_key=key, options=Options(base_url=url)) as iw:
        with pytest.raises(ConnectError, match="cannot be reached"):
            iw.stt.stream()
