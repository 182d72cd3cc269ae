"""Voices are cloned, designed, changed and deleted. Bad input and failures raise errors."""

from __future__ import annotations

import base64
import io
import socket
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from inworld_sync import (
    AudioError,
    AuthError,
    ConfigError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequestError,
    Inworld,
    InworldError,
    NotFoundError,
    QuotaError,
    RemoteProtocolError,
    ServiceError,
    Voice,
)
from inworld_sync.rest.samples import MAX_SAMPLE_BYTES

from support.peers import Peer
from support.rest_client import answering, client_of, wav_file
from support.scripted import KEY

PROMPT = "A calm, low voice of a man who tells stories"
OK = "200 OK"
VOICE = {"voiceId": "w__anna", "displayName": "Anna", "source": "IVC"}


def audio_of(sample: dict[str, Any]) -> bytes:
    return base64.b64decode(sample["audioData"])


def test_clone_request() -> None:
    """A clone request has every argument. WAV files are sent unchanged."""
    file = wav_file()
    report = {"langCode": "DE_DE", "transcription": "hallo", "warnings": [{"text": "noise"}]}
    answer = {"voice": VOICE, "audioSamplesValidated": [report, {"errors": ["no speech"]}]}
    with answering((OK, answer)) as (iw, sent):
        cloned = iw.voices.clone(
            [file, file],
            name="Anna",
            language="de-DE",
            transcriptions=["hallo", None],
            description="warm",
            tags=["calm"],
            remove_background_noise=True,
        )

    assert [("POST", "/voices/v1/voices:clone")] == [(each.method, each.target) for each in sent]
    samples = sent[0].body.pop("voiceSamples")
    assert [file, file] == [audio_of(each) for each in samples]
    assert ["hallo", None] == [each.get("transcription") for each in samples]
    assert sent[0].body == {
        "displayName": "Anna",
        "langCode": "DE_DE",
        "description": "warm",
        "tags": ["calm"],
        "audioProcessingConfig": {"removeBackgroundNoise": True},
    }
    assert Voice("w__anna", "Anna", source="IVC") == cloned.voice
    assert ("hallo", "DE_DE", ("noise",)) == (
        cloned.samples[0].transcription,
        cloned.samples[0].language,
        cloned.samples[0].warnings,
    )
    assert ("no speech",) == cloned.samples[1].errors


def test_smallest_clone_request() -> None:
    """A clone request has only the given fields, and asks the service to detect the language."""
    with answering((OK, {"voice": VOICE})) as (iw, sent):
        assert () == iw.voices.clone(wav_file(), name="Anna").samples

    assert {"displayName", "langCode", "voiceSamples"} == set(sent[0].body)
    assert "AUTO" == sent[0].body["langCode"]
    assert {"audioData"} == set(sent[0].body["voiceSamples"][0])


def test_forms_of_recordings(tmp_path: Path) -> None:
    """Paths, files and bytes are sent unchanged. Arrays and raw samples become WAV."""
    content = wav_file()
    path = tmp_path / "anna.wav"
    path.write_bytes(content)
    samples = np.frombuffer(content[44:], "<i2")
    with answering((OK, {"voice": VOICE})) as (iw, sent), path.open("rb") as file:
        for audio in (str(path), path, file, content, bytearray(content)):
            iw.voices.clone(audio, name="Anna")
        for audio in (samples, samples.tobytes(), [samples]):
            iw.voices.clone(audio, name="Anna", sample_rate_hz=16000)

    assert {content} == {audio_of(each.body["voiceSamples"][0]) for each in sent}


def test_other_formats_become_wav() -> None:
    """A file of an undocumented format is converted to WAV, and stereo becomes mono."""
    flac = io.BytesIO()
    soundfile.write(flac, np.zeros((48000, 2), np.int16), 16000, format="FLAC")
    with answering((OK, {"voice": VOICE})) as (iw, sent):
        iw.voices.clone(flac.getvalue(), name="Anna")

    with wave.open(io.BytesIO(audio_of(sent[0].body["voiceSamples"][0]))) as found:
        assert (1, 16000, 48000) == (
            found.getnchannels(),
            found.getframerate(),
            found.getnframes(),
        )


# Recordings that are refused, and the reason.
BAD_RECORDINGS: list[tuple[object, str]] = [
    (b"", r"samples\[0\] is empty \(0 bytes\)"),
    (b"this is no audio at all" * 10, r"samples\[0\] is not in a known audio format \(230 bytes\)"),
    (wav_file(0), r"samples\[0\] has no audio in it"),
    (b"RIFF" + bytes(60_000_000), r"have at most 4194304 bytes \(4 MB\), got at least 60000004"),
    (np.zeros(3_000_000, np.int16), "the sample rate of an array is not known"),
    ([wav_file(), b""], r"samples\[1\] is empty"),
    ([], "at least one recording"),
    (5, "audio must be a path"),
]


@pytest.mark.parametrize(("samples", "reason"), BAD_RECORDINGS)
def test_bad_recordings(samples: Any, reason: str) -> None:
    """A recording that cannot be used raises an error before anything is sent."""
    with answering((OK, {"voice": VOICE})) as (iw, sent):
        with pytest.raises((AudioError, ConfigError), match=reason):
            iw.voices.clone(samples, name="Anna")

    assert not sent


def test_large_recordings(tmp_path: Path) -> None:
    """Files and converted samples above the service's size limit are refused, and not sent."""
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(wav_file(1))
        file.truncate(60_000_000)
    seconds = (MAX_SAMPLE_BYTES - 44) // 32000
    with answering((OK, {"voice": VOICE})) as (iw, sent):
        with pytest.raises(AudioError, match=r"samples\[0\] \(long.wav\).*at least 60000000"):
            iw.voices.clone(path, name="Anna")
        with pytest.raises(AudioError, match="4 MB"):
            iw.voices.clone(np.zeros(3_000_000, np.int16), sample_rate_hz=16000, name="Anna")
        assert not sent
        iw.voices.clone(wav_file(seconds), name="Anna")

    assert 1 == len(sent)


BAD_ARGUMENTS: list[tuple[Callable[[Inworld], object], str]] = [
    (lambda iw: iw.voices.clone(wav_file(), name=" "), "name must be a string that is not blank"),
    (
        lambda iw: iw.voices.clone(wav_file(), name="A", transcriptions=["a", "b"]),
        "one text for each of the 1 samples",
    ),
    (
        lambda iw: iw.voices.clone(wav_file(), name="A", transcriptions="hello"),
        "transcriptions must be a list of strings, got 'hello'",
    ),
    (
        lambda iw: iw.voices.clone(wav_file(), name="A", transcriptions=5),  # type: ignore[arg-type]
        "transcriptions must be a list of strings, got 5",
    ),
    (lambda iw: iw.voices.clone(wav_file(), name="A\ud800"), "text must be valid Unicode"),
    (lambda iw: iw.voices.clone(wav_file(), name="A", tags="calm"), "tags must be a list"),
    (lambda iw: iw.voices.clone(wav_file(), name="A", language=""), "language must be"),
    (lambda iw: iw.voices.design("x" * 29, preview_text="Hi"), "30 to 250 characters, got 29"),
    (lambda iw: iw.voices.design("x" * 251, preview_text="Hi"), "30 to 250 characters, got 251"),
    (lambda iw: iw.voices.design(PROMPT, preview_text=""), "preview_text must be"),
    (
        lambda iw: iw.voices.design(PROMPT, preview_text="Hi", preview_count=4),
        "preview_count must be 1 to 3",
    ),
    (lambda iw: iw.voices.publish(""), "voice must be the id"),
    (lambda iw: iw.voices.publish("a", name=""), "name must be"),
    (lambda iw: iw.voices.update("a"), "at least one of name, description and tags"),
    (lambda iw: iw.voices.update("a", name=""), "name must be"),
    (lambda iw: iw.voices.update("a", tags="b"), "tags must be a list"),
    (lambda iw: iw.voices.delete(" "), "voice must be the id"),
    (lambda iw: iw.voices.list(source="ivc"), "source must be one of"),  # type: ignore[arg-type]
    (lambda iw: iw.voices.list(gender=5), "gender must be a string"),  # type: ignore[arg-type]
    (lambda iw: iw.voices.list(language="\ud800"), "query must be valid Unicode"),
    (lambda iw: iw.voices.get("\ud800"), "voice must be valid Unicode"),
    (lambda iw: iw.voices.delete(".."), "voice must be an id"),
    (lambda iw: iw.voices.list(tags="calm"), "tags must be a list"),
    (lambda iw: iw.voices.list(language=["EN_US", ""]), "language must be"),
    (lambda iw: iw.voices.get("a", timeout=-1), "timeout must be"),
]


@pytest.mark.parametrize(("call", "reason"), BAD_ARGUMENTS)
def test_bad_arguments(call: Callable[[Inworld], object], reason: str) -> None:
    """A wrong argument raises an error before anything is sent."""
    with answering((OK, {"voice": VOICE})) as (iw, sent):
        with pytest.raises(ConfigError, match=reason):
            call(iw)

    assert not sent


def test_design_publish_update_and_delete_requests() -> None:
    """A request has no field for an omitted argument, except the default language."""
    file = wav_file(1)
    preview = {
        "voiceId": "p1",
        "previewText": "Hi",
        "previewAudio": base64.b64encode(file).decode(),
    }
    with answering(
        (OK, {"langCode": "EN_US", "previewVoices": [preview]}), (OK, VOICE), (OK, VOICE), (OK, {})
    ) as (iw, sent):
        (found,) = iw.voices.design(PROMPT, preview_text="Hi", preview_count=2)
        iw.voices.publish("p1", name="Anna")
        iw.voices.update("w/anna", description="", tags=[])
        iw.voices.delete("w/anna")

    assert ("p1", "Hi", file, "EN_US", ".wav") == (
        found.id,
        found.text,
        found.audio,
        found.language,
        found.suffix,
    )
    assert 1000 == found.speech().duration_ms
    assert [(each.method, each.target, each.body) for each in sent] == [
        (
            "POST",
            "/voices/v1/voices:design",
            {
                "designPrompt": PROMPT,
                "previewText": "Hi",
                "langCode": "EN_US",
                "voiceDesignConfig": {"numberOfSamples": 2},
            },
        ),
        ("POST", "/voices/v1/voices/p1:publish", {"voiceId": "p1", "displayName": "Anna"}),
        ("PATCH", "/voices/v1/voices/w%2Fanna", {"description": "", "tags": []}),
        ("DELETE", "/voices/v1/voices/w%2Fanna", {}),
    ]


def test_preview_is_saved(tmp_path: Path) -> None:
    """The saved file has exactly the bytes of the preview."""
    preview = {"voiceId": "p1", "previewAudio": base64.b64encode(b"ID3 mp3").decode()}
    with answering((OK, {"previewVoices": [preview]})) as (iw, _):
        (found,) = iw.voices.design(PROMPT, preview_text="Hi")
    path = tmp_path / f"preview{found.suffix}"
    found.save(path)

    assert ("preview.mp3", b"ID3 mp3") == (path.name, path.read_bytes())
    with pytest.raises(AudioError):
        found.speech()


def test_filters_of_the_list() -> None:
    """The service filters the list by language. The client applies all other filters."""
    voices = [
        {"voiceId": "A", "gender": "female", "tags": ["calm", "Low"], "source": "SYSTEM"},
        {"voiceId": "B", "gender": "male", "tags": ["calm"], "source": "IVC"},
        {"voiceId": "C", "source": "IVC"},
    ]
    with answering((OK, {"voices": voices})) as (iw, sent):
        iw.voices.list(language=["en-US", "DE_DE"])
        found = [
            iw.voices.list(source="IVC"),
            iw.voices.list(gender="Female"),
            iw.voices.list(tags=["calm"]),
            iw.voices.list(tags=["calm", "low"], source="SYSTEM", gender="female"),
        ]

    assert "/voices/v1/voices?pageSize=200&languages=EN_US&languages=DE_DE" == sent[0].target
    assert [["B", "C"], ["A"], ["A", "B"], ["A"]] == [[v.id for v in each] for each in found]


WRONG_ANSWERS: list[tuple[object, str]] = [
    ({}, "expected a voice"),
    ({"voice": {"name": "x"}}, "expected a voice"),
    ({"voice": VOICE, "audioSamplesValidated": [1]}, "audioSamplesValidated"),
    ([], "the answer to"),
]


@pytest.mark.parametrize("answer", WRONG_ANSWERS)
def test_wrong_answers(answer: tuple[object, str]) -> None:
    """If the answer to a clone request cannot be read, an error is raised."""
    with answering((OK, answer[0])) as (iw, _):
        with pytest.raises(RemoteProtocolError, match=answer[1]):
            iw.voices.clone(wav_file(), name="Anna")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"previewVoices": []},
        {"previewVoices": [{}]},
        {"previewVoices": [{"voiceId": 5}]},
        {"previewVoices": [{"voiceId": "a"}]},
    ],
)
def test_wrong_answers_of_a_design(answer: object) -> None:
    """A design without a usable preview raises an error."""
    with answering((OK, answer)) as (iw, _), pytest.raises(RemoteProtocolError):
        iw.voices.design(PROMPT, preview_text="Hi")


# (status of the service, class of the error, whether the voice may exist after the error)
STATUSES: list[tuple[str, type[InworldError], bool]] = [
    ("400 Bad Request", InvalidRequestError, False),
    ("401 Unauthorized", AuthError, False),
    ("404 Not Found", NotFoundError, False),
    ("409 Conflict", ServiceError, False),
    ("413 Content Too Large", ServiceError, False),
    ("429 Too Many Requests", QuotaError, False),
    ("500 Internal Server Error", ServiceError, True),
    ("503 Service Unavailable", ServiceError, True),
]


@pytest.mark.parametrize(("status", "kind", "may_exist"), STATUSES)
def test_refused_clone(status: str, kind: type[InworldError], may_exist: bool) -> None:
    """A refused clone request is sent once. The error says whether the voice may exist."""
    with answering((status, {"code": 9, "message": "why", "details": []})) as (iw, sent):
        with pytest.raises(kind, match="why") as caught:
            iw.voices.clone(wav_file(), name="Anna")

    assert 1 == len(sent)
    assert int(status[:3]) == getattr(caught.value, "status", None)
    assert may_exist == ("may or may not" in str(caught.value))


def cut(peer: Peer) -> None:
    """Reset the connection in the middle of the upload."""
    peer.read_head()
    peer.read_exactly(5000)
    peer.reset()


def drop(peer: Peer) -> None:
    """End the connection after the whole request."""
    peer.read_request()
    peer.hang_up()


@pytest.mark.parametrize("script", [cut, drop])
def test_lost_upload(script: Callable[[Peer], None]) -> None:
    """If the connection is lost during a clone, the error says how to find the voice."""
    attempts = []

    def counted(peer: Peer) -> None:
        attempts.append(peer)
        script(peer)

    with client_of(counted) as iw:
        with pytest.raises(ConnectionLost) as caught:
            iw.voices.clone(wav_file(100), name="Anna")

    assert 1 == len(attempts)
    assert "may or may not have made the voice" in str(caught.value)
    assert "look for 'Anna' in iw.voices.list(source='IVC')" in str(caught.value)
    assert 1006 == caught.value.code
    assert KEY not in repr(caught.value) + str(caught.value)


LATE_CALLS: list[tuple[Callable[[Inworld], object], str]] = [
    (lambda iw: iw.voices.clone(wav_file(), name="Anna", timeout=0.3), "cloning the voice took"),
    (lambda iw: iw.voices.publish("p", timeout=0.3), "publishing the voice took"),
    (lambda iw: iw.voices.update("v", name="A", timeout=0.3), "updating the voice took"),
    (lambda iw: iw.voices.delete("v", timeout=0.3), "deleting the voice took"),
]


@pytest.mark.parametrize(("call", "reason"), LATE_CALLS)
def test_late_answer(call: Callable[[Inworld], object], reason: str) -> None:
    """If a call times out, the error says that the change may or may not have been made."""
    with client_of(lambda peer: peer.hold()) as iw:
        with pytest.raises(DeadlineExceeded, match=f"{reason} longer than 0.3 s; .*may or may not"):
            call(iw)


def test_slow_upload() -> None:
    """The timeout covers the upload too: the call ends even if the server reads nothing."""
    with client_of(lambda peer: peer.hold()) as iw, pytest.raises(DeadlineExceeded):
        iw.voices.clone([wav_file(130)] * 8, name="Anna", timeout=0.5)


def test_connection_is_retried() -> None:
    """If no attempt could connect, the error does not say that a voice may have been made."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with (
        Inworld(KEY, base_url=f"http://127.0.0.1:{port}", max_retries=1) as iw,
        pytest.raises(InworldError) as caught,
    ):
        iw.voices.clone(wav_file(), name="Anna")

    assert "may or may not" not in str(caught.value)
