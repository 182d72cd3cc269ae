"""The STT endpoints recognize speech in every encoding, in a stream and over HTTP."""

from __future__ import annotations

import base64
import http.client
import io
import json
from typing import Any

import lameenc
import numpy as np
import pytest
import soundfile
import soxr

from inworld_sync.audio.g711 import encode_ulaw
from inworld_sync.emulator import Emulator, Settings

from support.sentences import word_errors
from support.speech import RATE_HZ, pcm_of, say, silence
from support.stt_client import finals_of, open_stt

TEXT = "The museum opens at ten and closes at six in the evening."


def pcm(rate_hz: int = RATE_HZ) -> bytes:
    """Return the sentence with silence before and after the speech."""
    wave = np.frombuffer(silence(0.5) + say(TEXT).pcm + silence(1.0), "<i2") / 32768
    return pcm_of(wave if rate_hz == RATE_HZ else soxr.resample(wave, RATE_HZ, rate_hz))


def stereo() -> bytes:
    """Return stereo audio with the sentence in both channels."""
    return np.frombuffer(pcm(48_000), "<i2").repeat(2).tobytes()


def file_of(kind: str, subtype: str | None = None) -> bytes:
    """Return the sentence as an audio file."""
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(pcm(24_000), "<i2"), 24_000, format=kind, subtype=subtype)
    return file.getvalue()


def mp3() -> bytes:
    encoder = lameenc.Encoder()
    encoder.set_bit_rate(64)
    encoder.set_in_sample_rate(24_000)
    encoder.set_channels(1)
    encoder.silence()
    return bytes(encoder.encode(pcm(24_000)) + encoder.flush())


# (fields of the configuration, function that makes the audio). The audio is raw samples of several
# rates and channels, and files of every kind. The encoding of the audio is given or detected.
AUDIO: list[tuple[dict[str, Any], Any]] = [
    ({}, pcm),
    ({"sampleRateHertz": 8000}, lambda: pcm(8000)),
    ({"sampleRateHertz": 48000, "numberOfChannels": 2}, stereo),
    ({"audioEncoding": "MULAW", "sampleRateHertz": 8000}, lambda: encode_ulaw(pcm(8000))),
    ({"audioEncoding": "FLAC"}, lambda: file_of("FLAC")),
    ({"audioEncoding": "MP3"}, mp3),
    ({"audioEncoding": "OGG_OPUS"}, lambda: file_of("OGG", "OPUS")),
    ({"audioEncoding": "AUTO_DETECT"}, pcm),
    ({"audioEncoding": "AUTO_DETECT"}, lambda: file_of("WAV")),
    ({"audioEncoding": "AUTO_DETECT"}, lambda: file_of("FLAC")),
    ({"audioEncoding": "AUTO_DETECT"}, mp3),
]


@pytest.mark.parametrize(("fields", "make"), AUDIO)
def test_streamed(speech_server: Emulator, fields: dict[str, Any], make: Any) -> None:
    """A stream in any encoding is transcribed."""
    with open_stt(speech_server) as client:
        client.configure(**fields)
        client.audio(make(), chunk_bytes=1001)

        text = " ".join(finals_of(client.rest()))
    assert 1 >= word_errors(TEXT, text), text


def test_partials_of_compressed_audio(speech_server: Emulator) -> None:
    """Compressed audio is transcribed while the server receives the audio, not only at the end."""
    with open_stt(speech_server) as client:
        client.configure(audioEncoding="FLAC")
        client.audio(file_of("FLAC"))

        assert "speechStarted" in client.result()


@pytest.mark.parametrize("encoding", ["MP3", "FLAC", "OGG_OPUS"])
def test_not_the_encoding(speech_server: Emulator, encoding: str) -> None:
    """Bytes that do not have the configured encoding end the stream with code 3."""
    with open_stt(speech_server) as client:
        client.configure(audioEncoding=encoding)
        client.audio(b"no sound at all " * 600)
        client.close_stream()

        error = client.receive()["error"]
    assert (3, f"the audio is not {encoding}, or is damaged") == (error["code"], error["message"])


def test_cut_file(speech_server: Emulator) -> None:
    """The audio of a truncated file is transcribed up to the end of the file."""
    data = file_of("FLAC")
    with open_stt(speech_server) as client:
        client.configure(audioEncoding="FLAC")
        client.audio(data[: len(data) // 2])

        text = " ".join(finals_of(client.rest()))
    assert text.startswith("The museum opens")


def ask(server: Emulator, **body: Any) -> tuple[int, dict[str, Any]]:
    """Send a request over HTTP. Return the status and the JSON of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Basic {server.api_key}"}
    connection.request("POST", "/stt/v1/transcribe", json.dumps(body), headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


@pytest.mark.parametrize(("fields", "make"), AUDIO[:6])
def test_whole(speech_server: Emulator, fields: dict[str, Any], make: Any) -> None:
    """A recording that is sent in one request gets a transcript with words, times and usage."""
    config = {
        "modelId": "groq/whisper-large-v3",
        "audioEncoding": "LINEAR16",
        "includeWordTimestamps": True,
        **fields,
    }
    content = base64.b64encode(make()).decode()
    status, answer = ask(speech_server, transcribeConfig=config, audioData={"content": content})

    assert 200 == status
    said = answer["transcription"]
    assert said["isFinal"]
    assert 1 >= word_errors(TEXT, said["transcript"]), said
    starts = [word["startTimeMs"] for word in said["wordTimestamps"]]
    assert len(said["transcript"].split()) == len(starts)
    assert sorted(starts) == starts
    assert "groq/whisper-large-v3" == answer["usage"]["modelId"]
    assert 0 == answer["usage"]["transcribedAudioMs"] % 50


def test_whole_in_snake_case(speech_server: Emulator) -> None:
    """The body may be in snake_case, and an encoding that is not given is detected."""
    status, answer = ask(
        speech_server,
        transcribe_config={"model_id": "inworld/inworld-stt-1"},
        audio_data={"content": base64.b64encode(file_of("WAV")).decode()},
    )

    assert 200 == status
    assert 1 >= word_errors(TEXT, answer["transcription"]["transcript"])


def test_profile_at_the_top() -> None:
    """stt_profile_at_top puts the voice profile next to the transcription."""
    config = {
        "modelId": "inworld/inworld-stt-1",
        "voiceProfileConfig": {"enableVoiceProfile": True},
    }
    content = base64.b64encode(pcm()).decode()
    with Emulator(settings=Settings(stt_profile_at_top=True)) as server:
        _, answer = ask(server, transcribeConfig=config, audioData={"content": content})

    assert "age" in answer["voiceProfile"]
    assert "voiceProfile" not in answer["transcription"]


MODEL = {"modelId": "groq/whisper-large-v3"}
# (body, a part of the message)
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "transcribe_config and audio_data are required"),
    ({"transcribeConfig": MODEL}, "transcribe_config and audio_data are required"),
    ({"transcribeConfig": MODEL, "audioData": {}}, "Audio cannot be empty"),
    ({"transcribeConfig": MODEL, "audioData": {"content": "?"}}, "invalid value for content"),
    ({"transcribeConfig": {"modelId": 1}, "audioData": {}}, "invalid value for modelId"),
    ({"transcribeConfig": {"modelId": "a/b"}, "audioData": {}}, 'Unsupported model "a/b"'),
    (
        {"transcribeConfig": {**MODEL, "language": "fr"}, "audioData": {"content": "AAAA"}},
        "supports en only",
    ),
    (
        {"transcribeConfig": {**MODEL, "audioEncoding": "MP3"}, "audioData": {"content": "AAAA"}},
        "the audio is not MP3",
    ),
]


@pytest.mark.parametrize(("body", "words"), REFUSED)
def test_whole_refused(speech_server: Emulator, body: dict[str, Any], words: str) -> None:
    """A refused request gets the HTTP status 400 and code 3."""
    status, answer = ask(speech_server, **body)

    assert (400, 3) == (status, answer["code"])
    assert words in answer["message"]


def test_silence_over_http(speech_server: Emulator) -> None:
    """A recording of silence has an empty transcript."""
    content = base64.b64encode(silence(2)).decode()
    config = {**MODEL, "audioEncoding": "LINEAR16"}
    status, answer = ask(speech_server, transcribeConfig=config, audioData={"content": content})

    assert (200, "", 0) == (
        status,
        answer["transcription"]["transcript"],
        answer["usage"]["transcribedAudioMs"],
    )
