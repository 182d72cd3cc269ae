"""Tests of transcription jobs, from the upload to the transcript, with failures and deadlines."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from inworld_sync import (
    AudioError,
    ClosedError,
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
    SttUsage,
    Word,
)
from inworld_sync.transport.http import HttpClient

from support.peers import Peer, serve
from support.rest_client import client_of, wav_file
from support.scripted import KEY

JOB = "workspaces/w/sttJobs/j/operations/o"
RUNNING = {"name": JOB, "done": False}
DOCUMENT = {
    "transcript": "Hello there. Bye.",
    "segments": [
        {
            "transcript": "Hello there.",
            "endTimeMs": "900",
            "wordTimestamps": [
                {"word": "Hello", "endTimeMs": "400", "confidence": 0.5},
                {"word": "there.", "startTimeMs": "500", "endTimeMs": "900", "speaker": 1},
            ],
        },
        {"transcript": "Bye.", "startTimeMs": "1000", "endTimeMs": "1500"},
        {"transcript": "  "},
    ],
    "language": "English",
    "usage": {"transcribedAudioMs": "2000", "modelId": "inworld/inworld-stt-1"},
}


@attrs.define
class Request:
    method: str
    target: str
    headers: str
    body: bytes

    @property
    def parts(self) -> list[tuple[str, bytes]]:
        """Return the head and the content of each part of a form."""
        boundary = self.headers.partition("boundary=")[2].split("\r\n")[0].encode()
        parts = (b"\r\n" + self.body).split(b"\r\n--" + boundary)
        assert b"--\r\n" == parts[-1]
        found = [part.partition(b"\r\n\r\n") for part in parts[1:-1]]
        return [(head.decode(), content) for head, _, content in found]


def read_request(peer: Peer) -> Request:
    """Read a request, whose body may be chunked."""
    head = peer.read_head().decode("latin-1")
    method, target, _ = head.split(" ", 2)
    body = b""
    if peer.header("transfer-encoding") == "chunked":
        while size := int(_line(peer), 16):
            body += peer.read_exactly(size)
            peer.read_exactly(2)
        peer.read_exactly(2)
    else:
        body = peer.read_exactly(int(peer.header("content-length") or 0))
    return Request(method, target, head, body)


def _line(peer: Peer) -> bytes:
    line = b""
    while not line.endswith(b"\r\n"):
        line += peer.read_exactly(1)
    return line


class Service:
    """
    A service that sends these statuses and values in turn, and then repeats the last response.
    """

    def __init__(self, *answers: tuple[str, object]) -> None:
        self.answers = answers
        self.requests: list[Request] = []
        self.port = 0

    def __call__(self, peer: Peer) -> None:
        while True:
            self.requests.append(read_request(peer))
            status, value = self.answers[min(len(self.requests), len(self.answers)) - 1]
            body = json.dumps(value).replace("PORT", str(self.port)).encode()
            peer.send(
                b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)
            )


OK = "200 OK"
DONE = {
    "name": JOB,
    "done": True,
    "response": {"resultUri": "http://127.0.0.1:PORT/t/1?sig=a%2Fb&x=", "expireTime": "later"},
}


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Skip each wait between requests. Return a list of the skipped waits, in seconds."""
    found: list[float] = []
    monkeypatch.setattr(HttpClient, "pause", lambda _, seconds: found.append(seconds))
    return found


@contextmanager
def client(service: Service) -> Iterator[Inworld]:
    """Yield a client of a service."""
    with serve(service) as server:
        service.port = server.port
        address = f"http://127.0.0.1:{server.port}"
        with Inworld(KEY, base_url=address, headers={"X-Own": "1"}) as iw:
            yield iw


def test_a_file_is_uploaded_unchanged(tmp_path: Path, delays: list[float]) -> None:
    """A file is sent unchanged after the settings, and the transcript has the file's turns."""
    content = wav_file()
    path = tmp_path / "call.wav"
    path.write_bytes(content)
    service = Service((OK, RUNNING), (OK, RUNNING), (OK, RUNNING), (OK, DONE), (OK, DOCUMENT))
    with client(service) as iw:
        job = iw.transcriptions.submit(path, language="en-US", enable_speaker_diarization=True)
        assert (JOB, "running") == (job.id, job.status)
        transcript = job.wait()
        assert "succeeded" == job.status
        assert transcript is job.wait()

    upload = service.requests[0]
    assert ("POST", "/stt/v1/transcribe:async") == (upload.method, upload.target)
    (config_head, config), (file_head, file) = upload.parts
    assert 'name="transcribeConfig"' in config_head
    assert json.loads(config) == {
        "modelId": "inworld/inworld-stt-1",
        "audioEncoding": "AUTO_DETECT",
        "sampleRateHertz": 16000,
        "numberOfChannels": 1,
        "language": "en-US",
        "includeWordTimestamps": True,
        "enableSpeakerDiarization": True,
    }
    assert ('name="file"' in file_head, file) == (True, content)
    assert [f"/lro/v1alpha/{JOB}"] * 3 + ["/t/1?sig=a%2Fb&x="] == [
        each.target for each in service.requests[1:]
    ]
    assert delays == [0.5, 0.75, 1.125]
    assert "Hello there. Bye." == transcript.text
    assert [(0, 900), (1000, 1500)] == [(t.start_ms, t.end_ms) for t in transcript.turns]
    assert transcript.turns[0].words == (
        Word("Hello", 0, 400, confidence=0.5, speaker="0"),
        Word("there.", 500, 900, speaker="1"),
    )
    assert SttUsage(2000, "inworld/inworld-stt-1") == transcript.usage


def test_the_credential_is_not_sent_with_the_download(delays: list[float]) -> None:
    """The signed address of a transcript is requested without the key and the client's headers."""
    service = Service((OK, DONE), (OK, DOCUMENT))
    with client(service) as iw:
        iw.transcriptions.get(JOB).wait()

    assert f"Authorization: Basic {KEY}" in service.requests[0].headers
    assert "x-own: 1" in service.requests[0].headers.lower()
    assert "authorization" not in service.requests[1].headers.lower()
    assert KEY not in service.requests[1].headers
    assert "x-own" not in service.requests[1].headers.lower()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x",
        "ftp://example.com/x",
        "file:///etc/x",
        "https://[x",
        "https://ex\u2100mple.com/x",
        "https:///x",
        "https://example.com:99999/x",
        "https://user:password@example.com/x",
        "https://example.com/\u00e9",
    ],
)
def test_address_of_another_server(url: str) -> None:
    """A transcript is fetched only with https, or from the address of the service itself."""
    service = Service((OK, {**DONE, "response": {"resultUri": url}}))
    with client(service) as iw, pytest.raises(RemoteProtocolError, match="https://"):
        iw.transcriptions.get(JOB).wait()


def test_samples_are_converted() -> None:
    """Arrays and raw samples are sent as 16-bit samples at the rate of the settings."""
    service = Service((OK, RUNNING))
    samples = np.zeros((32000, 2), np.float32)
    with client(service) as iw:
        iw.transcriptions.submit(samples, sample_rate_hz=32000)
        iw.transcriptions.submit(samples.astype("<i2").tobytes(), sample_rate_hz=32000, channels=2)

    for request in service.requests:
        config = json.loads(request.parts[0][1])
        assert ("LINEAR16", 16000, 1) == (
            config["audioEncoding"],
            config["sampleRateHertz"],
            config["numberOfChannels"],
        )
        assert 32000 == len(request.parts[1][1])


def test_forms_of_files(tmp_path: Path) -> None:
    """Bytes, open files and pipes are sent unchanged."""

    class Pipe(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self._content = io.BytesIO(content)

        def readable(self) -> bool:
            return True

        def readinto(self, out: Any) -> int:
            found = self._content.read(min(len(out), 1000))
            out[: len(found)] = found
            return len(found)

    content = wav_file()
    service = Service((OK, RUNNING))
    with client(service) as iw:
        for audio in (content, io.BytesIO(content), Pipe(content)):
            iw.transcriptions.submit(audio)

    assert [content] * 3 == [request.parts[1][1] for request in service.requests]


def test_url() -> None:
    """The address of a recording is sent instead of the audio."""
    service = Service((OK, RUNNING))
    with client(service) as iw:
        iw.transcriptions.submit(url="https://example.com/a.mp3", prompts=["Inworld"])

    body = json.loads(service.requests[0].body)
    assert "https://example.com/a.mp3" == body["audioUri"]
    assert "AUTO_DETECT" == body["transcribeConfig"]["audioEncoding"]


WRONG: list[tuple[dict[str, Any], type[InworldError], str]] = [
    ({}, ConfigError, "either audio or url"),
    ({"audio": wav_file(), "url": "https://a/b"}, ConfigError, "either audio or url"),
    ({"url": "http://a/b"}, ConfigError, "must begin with https://"),
    ({"url": "https://[a/b"}, ConfigError, "url must be an https:// address"),
    ({"url": "https://a/\ud800"}, ConfigError, "must be valid Unicode"),
    ({"audio": wav_file(), "extra": {"x": float("nan")}}, ConfigError, "written as JSON"),
    ({"url": "https://a/b", "extra": {"x": object()}}, ConfigError, "written as JSON"),
    ({"audio": b""}, AudioError, r"audio is empty \(0 bytes\)"),
    ({"audio": b"no audio" * 50}, AudioError, "not in a known audio format"),
    ({"audio": np.zeros(5, np.int16)}, ConfigError, "sample rate of an array is not known"),
    ({"audio": wav_file(), "timeout": -1}, ConfigError, "timeout must be"),
    ({"audio": wav_file(), "groq": 5}, ConfigError, "groq must be"),
]


@pytest.mark.parametrize(("arguments", "kind", "reason"), WRONG)
def test_wrong_arguments(arguments: dict[str, Any], kind: type[InworldError], reason: str) -> None:
    """A wrong argument raises an error before anything is sent."""
    service = Service((OK, RUNNING))
    with client(service) as iw, pytest.raises(kind, match=reason):
        iw.transcriptions.submit(**arguments)

    assert not service.requests


def test_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file above the limit of the service is refused, and is not sent."""
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(wav_file(1))
        file.truncate(513 << 20)
    service = Service((OK, RUNNING))
    with client(service) as iw:
        with pytest.raises(AudioError, match=r"\(long.wav\) may have at most 536870912 bytes"):
            iw.transcriptions.submit(path)
    assert not service.requests


@pytest.mark.parametrize("job", ["", "a//b", "../x", "a/./b", "/a", "\ud800", 5])
def test_wrong_ids(job: Any) -> None:
    """An id that would change the path of the request is refused."""
    service = Service((OK, RUNNING))
    with client(service) as iw, pytest.raises(ConfigError, match="job must be"):
        iw.transcriptions.get(job)

    assert not service.requests


STATUSES: list[tuple[str, type[InworldError], bool]] = [
    ("400 Bad Request", InvalidRequestError, False),
    ("409 Conflict", ServiceError, False),
    ("429 Too Many Requests", QuotaError, False),
    ("503 Service Unavailable", ServiceError, True),
]


@pytest.mark.parametrize(("status", "kind", "may_run"), STATUSES)
def test_refused_submit(status: str, kind: type[InworldError], may_run: bool) -> None:
    """A refused upload is sent once. The error says whether a job may run."""
    service = Service((status, {"code": 9, "message": "why", "details": []}))
    with client(service) as iw, pytest.raises(kind, match="why") as caught:
        iw.transcriptions.submit(wav_file())

    assert 1 == len(service.requests)
    assert may_run == ("may or may not" in str(caught.value))


def test_cut_upload() -> None:
    """If the connection is cut during the upload, the error says that a job may or may not run."""
    attempts = []

    def script(peer: Peer) -> None:
        attempts.append(peer)
        peer.read_head()
        peer.read_exactly(2000)
        peer.reset()

    with client_of(script) as iw, pytest.raises(ConnectionLost, match="may or may not") as caught:
        iw.transcriptions.submit(wav_file(400))

    assert 1 == len(attempts)
    assert KEY not in str(caught.value)


def test_error_of_the_audio_during_the_upload() -> None:
    """An error of the caller's audio is raised unchanged, not as an error of the connection."""

    def blocks() -> Iterator[bytes]:
        yield bytes(3200)
        raise OSError("the disk failed")

    def script(peer: Peer) -> None:
        peer.read_until_end()

    with client_of(script) as iw, pytest.raises(OSError, match="the disk failed"):
        iw.transcriptions.submit(blocks(), sample_rate_hz=16000)


def test_failed_job(delays: list[float]) -> None:
    """If a job fails, every ``wait`` raises the error of the job."""
    failed = {"name": JOB, "done": True, "error": {"code": 3, "message": "no speech"}}
    with client(Service((OK, RUNNING), (OK, failed))) as iw:
        job = iw.transcriptions.submit(wav_file())
        for _ in range(2):
            with pytest.raises(InvalidRequestError, match="no speech"):
                job.wait()
        assert ("failed", "failed") == (job.status, job.refresh())


WRONG_ANSWERS: list[object] = [
    {},
    [],
    {"name": ""},
    {"name": "a//b"},
    {"name": "../a"},
    {"name": JOB, "done": True},
    {"name": JOB, "done": True, "response": {}},
    {"name": JOB, "done": True, "response": {"resultUri": ""}},
]


@pytest.mark.parametrize("answer", WRONG_ANSWERS)
def test_wrong_operations(answer: object) -> None:
    """An operation that cannot be read raises a protocol error."""
    with client(Service((OK, answer))) as iw, pytest.raises(RemoteProtocolError):
        iw.transcriptions.get(JOB)


# Transcripts of unusual forms, and their turns.
DOCUMENTS: list[tuple[object, list[str]]] = [
    ({"transcript": "All."}, ["All."]),
    ({"transcript": "All.", "segments": []}, ["All."]),
    ({"transcript": "", "segments": 5}, []),
    ({}, []),
    ({"segments": [{"transcript": "A", "startTimeMs": "x", "wordTimestamps": 5}]}, ["A"]),
]


@pytest.mark.parametrize(("document", "texts"), DOCUMENTS)
def test_documents(document: object, texts: list[str]) -> None:
    """Optional fields of a transcript may be missing or have a wrong type."""
    with client(Service((OK, DONE), (OK, document))) as iw:
        assert texts == [turn.text for turn in iw.transcriptions.get(JOB).wait().turns]


@pytest.mark.parametrize("document", [[], {"segments": [5]}, {"transcript": 5}])
def test_wrong_documents(document: object) -> None:
    """A transcript whose words cannot all be read raises a protocol error."""
    with client(Service((OK, DONE), (OK, document))) as iw, pytest.raises(RemoteProtocolError):
        iw.transcriptions.get(JOB).wait()


def test_unknown_job() -> None:
    """An unknown id raises NotFoundError."""
    answer = ("404 Not Found", {"code": 5, "message": "operation not found"})
    with client(Service(answer)) as iw, pytest.raises(NotFoundError, match="operation not found"):
        iw.transcriptions.get(JOB)


def test_wait_has_a_deadline() -> None:
    """``wait`` raises at its deadline. The error names the job, and the job continues."""
    with client(Service((OK, RUNNING))) as iw:
        job = iw.transcriptions.submit(wav_file())
        with pytest.raises(DeadlineExceeded, match=f"waiting for the job {JOB} took longer"):
            job.wait(timeout=0.2)
        assert "running" == job.status


def test_silent_service_ends_in_time() -> None:
    """A status request without an answer ends at the deadline of ``wait``."""
    answered = []

    def script(peer: Peer) -> None:
        read_request(peer)
        body = json.dumps(RUNNING).encode()
        if answered:
            peer.hold()
        answered.append(peer)
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        peer.send(body)

    with client_of(script) as iw:
        job = iw.transcriptions.submit(wav_file())
        with pytest.raises(DeadlineExceeded, match="waiting for the job"):
            job.wait(timeout=1)


def test_polling_survives_a_lost_connection(delays: list[float]) -> None:
    """A status request is repeated after HTTP status 503. An upload is not repeated."""
    busy = ("503 Service Unavailable", {"message": "busy"})
    service = Service((OK, RUNNING), busy, (OK, DONE), (OK, DOCUMENT))
    with client(service) as iw:
        assert iw.transcriptions.submit(wav_file()).wait().turns

    assert ["POST", "GET", "GET", "GET"] == [each.method for each in service.requests]


def test_closing_the_client_ends_a_wait() -> None:
    """If the client is closed, ``wait`` raises an error."""
    with client(Service((OK, RUNNING))) as iw:
        job = iw.transcriptions.submit(wav_file())
        iw.close()
        with pytest.raises(ClosedError):
            job.wait()


def test_unreachable_service() -> None:
    """If an upload could not connect, the error does not say that a job may run."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with Inworld(KEY, base_url=f"http://127.0.0.1:{port}", max_retries=1) as iw:
        with pytest.raises(InworldError) as caught:
            iw.transcriptions.submit(wav_file())

    assert "may or may not" not in str(caught.value)
