"""Transcription jobs of the emulator: their states, limits, refusals and end."""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from inworld_sync import ClosedError, Inworld, NotFoundError, QuotaError, ServiceError
from inworld_sync.emulator import Emulator, Settings

from support.rest_client import wav_file
from support.scripted_recognizer import ScriptedRecognizer, engine_for, sound

AUDIO = sound(10, 1, 1) + sound(40, 0) + sound(10, 1, 2) + sound(40, 0)


@pytest.fixture
def recognizer() -> ScriptedRecognizer:
    return ScriptedRecognizer("hello", "bye")


@pytest.fixture
def server(recognizer: ScriptedRecognizer) -> Iterator[Emulator]:
    settings = Settings(stt_max_jobs=2)
    with Emulator(speech_engine=engine_for(recognizer), settings=settings) as server:
        yield server


@pytest.fixture
def iw(server: Emulator) -> Iterator[Inworld]:
    with Inworld(server.api_key, base_url=server.url) as client:
        yield client


def post(server: Emulator, body: bytes, content_type: str) -> tuple[int, dict[str, Any]]:
    """
    Send an upload without the code of the package. Return the status and the body of the answer.
    """
    call = urllib.request.Request(
        f"{server.url}/stt/v1/transcribe:async",
        data=body,
        headers={"Authorization": f"Basic {server.api_key}", "Content-Type": content_type},
    )
    try:
        with urllib.request.urlopen(call) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_a_job(iw: Inworld) -> None:
    """A job runs, and its transcript has a turn for each turn of the recording."""
    job = iw.transcriptions.submit(AUDIO, sample_rate_hz=16000)
    transcript = job.wait()

    assert ["hello", "bye"] == [turn.text for turn in transcript.turns]
    first, second = transcript.turns
    assert first.start_ms is not None is not second.start_ms
    assert first.start_ms < second.start_ms
    assert transcript.usage is not None
    assert transcript.usage.audio_ms > 0
    assert transcript == iw.transcriptions.get(job.id).wait()


def test_states(iw: Inworld, recognizer: ScriptedRecognizer) -> None:
    """A job is running until its transcript is complete."""
    recognizer.may_answer.clear()
    job = iw.transcriptions.submit(AUDIO, sample_rate_hz=16000)
    assert recognizer.asked.wait(30)
    assert "running" == job.refresh() == iw.transcriptions.get(job.id).status
    recognizer.may_answer.set()
    job.wait()

    assert "succeeded" == job.status == iw.transcriptions.get(job.id).status


def test_limit_of_running_jobs(iw: Inworld, recognizer: ScriptedRecognizer) -> None:
    """A job above the limit is refused with status 429. After a job ends, a new job is accepted."""
    recognizer.may_answer.clear()
    jobs = [iw.transcriptions.submit(AUDIO, sample_rate_hz=16000) for _ in range(2)]
    with pytest.raises(QuotaError, match="limit of the plan"):
        iw.transcriptions.submit(AUDIO, sample_rate_hz=16000)
    recognizer.may_answer.set()
    for job in jobs:
        job.wait()

    assert iw.transcriptions.submit(AUDIO, sample_rate_hz=16000).wait().turns


def test_old_jobs_are_dropped(
    iw: Inworld, server: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of jobs that are kept is limited."""
    monkeypatch.setattr("inworld_sync.emulator.jobs._MAX_KEPT", 2)
    jobs = []
    for _ in range(4):
        jobs.append(iw.transcriptions.submit(AUDIO, sample_rate_hz=16000))
        jobs[-1].wait()

    assert "succeeded" == iw.transcriptions.get(jobs[3].id).status
    with pytest.raises(NotFoundError):
        iw.transcriptions.get(jobs[0].id)


def test_failed_jobs(iw: Inworld) -> None:
    """If a recording cannot be decoded, the job fails, but the request succeeds."""
    job = iw.transcriptions.submit(b"OggS" + bytes(5000))

    with pytest.raises(ServiceError, match="damaged"):
        job.wait()


def test_an_engine_that_fails(iw: Inworld, recognizer: ScriptedRecognizer) -> None:
    """If the speech engine raises an exception, the job fails."""
    recognizer.recognize = None  # type: ignore[assignment, method-assign]
    job = iw.transcriptions.submit(AUDIO, sample_rate_hz=16000)

    with pytest.raises(ServiceError, match="internal error"):
        job.wait()


def test_closing_ends_the_jobs(recognizer: ScriptedRecognizer) -> None:
    """No thread of a job is left when the emulator is closed."""
    with (
        Emulator(speech_engine=engine_for(recognizer)) as server,
        Inworld(server.api_key, base_url=server.url) as iw,
    ):
        iw.transcriptions.submit(AUDIO * 200, sample_rate_hz=16000)

    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("inworld-emulator-job")]


def test_a_transcript_needs_its_ticket(server: Emulator, iw: Inworld) -> None:
    """The address of a transcript needs no credential, and cannot be guessed."""
    job = iw.transcriptions.submit(AUDIO, sample_rate_hz=16000)
    job.wait()
    url = job._operation.result_url

    assert b"hello" in urllib.request.urlopen(url).read()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url[:-1])
    with caught.value as error:
        assert 404 == error.code


CONFIG = b'{"modelId":"inworld/inworld-stt-1"}'


def form(*parts: tuple[str, bytes]) -> bytes:
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), content)
        for name, content in parts
    )
    return body + b"--b--\r\n"


FORM = "multipart/form-data; boundary=b"
JSON = "application/json"
REFUSED: list[tuple[bytes, str, int, str]] = [
    (form(("file", wav_file()), ("transcribeConfig", CONFIG)), FORM, 400, "must come before"),
    (form(("file", wav_file())), FORM, 400, "must come before"),
    (form(("transcribeConfig", CONFIG)), FORM, 400, "Audio cannot be empty"),
    (form(("transcribeConfig", CONFIG), ("file", b"")), FORM, 400, "Audio cannot be empty"),
    (form(("transcribeConfig", b"{"), ("file", b"a")), FORM, 400, "not JSON"),
    (form(("transcribeConfig", b"[]"), ("file", b"a")), FORM, 400, "transcribe_config"),
    (b"", FORM, 400, "transcribe_config"),
    (b"[]", JSON, 400, "JSON object"),
    (b'{"transcribeConfig":{},"audioUri":"https://a/b"}', JSON, 400, "fetches no address"),
    (b'{"transcribeConfig":{},"audioData":{"content":"%"}}', JSON, 400, "content"),
    (b'{"transcribeConfig":{"modelId":"none/none"},"audioData":{"content":"AAAA"}}', JSON, 400, ""),
]


@pytest.mark.parametrize(("body", "content_type", "status", "reason"), REFUSED)
def test_refusals(
    server: Emulator, body: bytes, content_type: str, status: int, reason: str
) -> None:
    """Each wrong upload gets a status for the kind of mistake, and a reason."""
    found, answer = post(server, body, content_type)

    assert (found, reason in answer["message"]) == (status, True), answer


@pytest.mark.parametrize("is_form", [True, False])
def test_uploads_of_other_clients(server: Emulator, iw: Inworld, is_form: bool) -> None:
    """A job can be started with a form, or with JSON whose audio is base64."""
    if is_form:
        body, kind = form(("transcribeConfig", CONFIG), ("file", wav_file(1))), FORM
    else:
        content = base64.b64encode(wav_file(1)).decode()
        fields = {"transcribeConfig": json.loads(CONFIG), "audioData": {"content": content}}
        body, kind = json.dumps(fields).encode(), JSON
    status, answer = post(server, body, kind)

    assert (200, False) == (status, answer["done"])
    iw.transcriptions.get(answer["name"]).wait()


def test_waiting_on_a_closed_emulator(recognizer: ScriptedRecognizer) -> None:
    """If a client with its own emulator is closed, a wait for a job raises an error."""
    with Inworld(local=True) as iw:
        job = iw.transcriptions.submit(wav_file(1))
    with pytest.raises(ClosedError):
        job.wait()
