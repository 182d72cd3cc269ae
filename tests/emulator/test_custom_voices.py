"""Cloned and designed voices of the emulator: stable sound, limits and refusals."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from inworld_sync import (
    AuthError,
    ConnectionLost,
    Inworld,
    InworldError,
    NotFoundError,
    QuotaError,
    ServiceError,
    Session,
)
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.models.options import Options
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient

from support.rest_client import wav_file
from support.tone import ToneSynthesizer

PROMPT = "A calm, low voice of a man who tells stories"


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(synthesizer=ToneSynthesizer(), settings=Settings(max_custom_voices=3)) as server:
        yield server


@pytest.fixture
def iw(server: Emulator) -> Iterator[Inworld]:
    with Inworld(server.api_key, base_url=server.url) as client:
        yield client


def request(
    server: Emulator, method: str, path: str, body: object = None
) -> tuple[int, dict[str, Any]]:
    """Send a request without the code of the package. Return the status and the answer."""
    call = urllib.request.Request(
        f"{server.url}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {server.api_key}"},
        method=method,
    )
    try:
        with urllib.request.urlopen(call) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def sample(content: bytes) -> dict[str, str]:
    return {"audioData": base64.b64encode(content).decode()}


def test_a_cloned_voice_is_a_voice(iw: Inworld) -> None:
    """A cloned voice speaks and is listed as IVC. It can be changed and deleted."""
    voice = iw.voices.clone(wav_file(), name="My Voice!", tags=["x"]).voice

    assert ("local__my-voice", "My Voice!", "IVC", ("x",)) == (
        voice.id,
        voice.name,
        voice.source,
        voice.tags,
    )
    assert [voice] == iw.voices.list(source="IVC")
    assert iw.tts.synthesize("Hello.", voice=voice.id).data
    assert "Other" == iw.voices.update(voice.id, name="Other").name
    assert ("Other", ("x",)) == (iw.voices.get(voice.id).name, iw.voices.get(voice.id).tags)
    iw.voices.delete(voice.id)
    assert [] == iw.voices.list(source="IVC")
    with pytest.raises(NotFoundError):
        iw.tts.synthesize("Hello.", voice=voice.id)


def test_realtime_accepts_a_cloned_voice(iw: Inworld) -> None:
    """A realtime session can use a cloned voice."""
    voice = iw.voices.clone(wav_file(), name="Anna").voice
    with iw.realtime.connect(Session(voice=voice.id)) as session:
        assert "".join(session.send_message("Hi").text_stream())


def test_the_recordings_choose_the_sound(server: Emulator, iw: Inworld) -> None:
    """Voices from the same recordings sound the same. Other recordings give another sound."""
    ids = [
        iw.voices.clone(audio, name="Anna").voice.id
        for audio in (wav_file(4), wav_file(4), wav_file(5))
    ]
    sounds = [
        (each.gender, each.pitch, each.formant, each.speed)
        for each in map(server._shared.voice, ids)
        if each is not None
    ]

    assert ["local__anna", "local__anna-2", "local__anna-3"] == ids
    assert sounds[0] == sounds[1] != sounds[2]


def test_the_answer_says_that_it_does_not_imitate(iw: Inworld) -> None:
    """The description and the warnings say that the voice does not imitate the recordings."""
    cloned = iw.voices.clone(wav_file(1), name="Anna")
    (preview,) = iw.voices.design(PROMPT, preview_text="Hi")

    assert "does not imitate" in cloned.voice.description
    assert "does not imitate" in cloned.samples[0].warnings[0]
    assert any("shorter than 3 s" in warning for warning in cloned.samples[0].warnings)
    assert "does not follow the prompt" in iw.voices.publish(preview.id).description


def test_a_designed_voice(server: Emulator, iw: Inworld) -> None:
    """A designed voice can be used after it is published. The prompt chooses the sound."""
    previews = iw.voices.design(PROMPT, preview_text="Hello there.", preview_count=3)
    again = iw.voices.design(PROMPT, preview_text="Hello there.", preview_count=3)

    assert 3 == len({preview.audio for preview in previews})
    assert [each.audio for each in previews] == [each.audio for each in again]
    with pytest.raises(NotFoundError):
        iw.tts.synthesize("Hello.", voice=previews[1].id)
    voice = iw.voices.publish(previews[1].id, name="Teller", tags=["story"])
    assert ("Teller", "male", ("story",), "IVC") == (
        voice.name,
        voice.gender,
        voice.tags,
        voice.source,
    )
    assert voice == iw.voices.publish(previews[1].id)
    assert iw.tts.synthesize("Hello.", voice=voice.id).data


def test_limits(server: Emulator, iw: Inworld) -> None:
    """The emulator limits the numbers of voices and previews, so its memory is limited."""
    for _ in range(3):
        iw.voices.clone(wav_file(), name="Anna")
    with pytest.raises(QuotaError, match="limit") as caught:
        iw.voices.clone(wav_file(), name="Anna")
    assert 429 == caught.value.status
    iw.voices.delete("local__anna")
    iw.voices.clone(wav_file(), name="Anna")

    first = iw.voices.design(PROMPT, preview_text="Hi", preview_count=3)
    for _ in range(10):
        iw.voices.design(PROMPT, preview_text="Hi", preview_count=3)
    with pytest.raises(NotFoundError):
        iw.voices.publish(first[0].id)


def test_voices_of_the_service_stay(iw: Inworld) -> None:
    """A voice of the service cannot be changed or deleted."""
    with pytest.raises(AuthError, match="belongs to the service"):
        iw.voices.update("Ashley", name="Mine")
    with pytest.raises(AuthError, match="belongs to the service"):
        iw.voices.delete("Ashley")
    assert "Ashley" == iw.voices.get("Ashley").name


CLONE = "/voices/v1/voices:clone"
DESIGN = "/voices/v1/voices:design"
PREVIEW = {"designPrompt": PROMPT, "previewText": "Hi"}
REFUSED: list[tuple[str, str, object, int, str]] = [
    ("POST", CLONE, [], 400, "JSON object"),
    ("POST", CLONE, {"voiceSamples": [sample(wav_file())]}, 400, "displayName is required"),
    ("POST", CLONE, {"displayName": "A"}, 400, "voice_samples is required"),
    ("POST", CLONE, {"displayName": "A", "voiceSamples": []}, 400, "voice_samples is required"),
    ("POST", CLONE, {"displayName": "A", "voiceSamples": [1]}, 400, "voice_samples 1"),
    ("POST", CLONE, {"displayName": "A", "voiceSamples": [sample(b"")]}, 400, "1 is empty"),
    ("POST", CLONE, {"displayName": "A", "voiceSamples": [{"audioData": "%"}]}, 400, "content"),
    (
        "POST",
        CLONE,
        {"displayName": "A", "voiceSamples": [sample(wav_file()), sample(b"no audio")]},
        400,
        "sample 2 is not audio",
    ),
    ("POST", CLONE, {"displayName": "A", "voiceSamples": [sample(wav_file(140))]}, 400, "4 MB"),
    ("POST", CLONE, {"displayName": 5}, 400, "displayName"),
    (
        "POST",
        CLONE,
        {"displayName": "A", "voiceSamples": [sample(wav_file())], "tags": [1]},
        400,
        "tags",
    ),
    ("POST", DESIGN, {**PREVIEW, "designPrompt": "short"}, 400, "30 to 250"),
    ("POST", DESIGN, {**PREVIEW, "previewText": " "}, 400, "previewText is required"),
    ("POST", DESIGN, {**PREVIEW, "previewText": "x" * 501}, 400, "at most 500"),
    ("POST", DESIGN, {**PREVIEW, "voiceDesignConfig": {"numberOfSamples": 4}}, 400, "1 to 3"),
    ("POST", DESIGN, {**PREVIEW, "voiceDesignConfig": 4}, 400, "voiceDesignConfig"),
    ("POST", "/voices/v1/voices/none:publish", {}, 404, "none not found"),
    ("PATCH", "/voices/v1/voices/none", {"displayName": "A"}, 404, "none not found"),
    ("DELETE", "/voices/v1/voices/none", None, 404, "none not found"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "reason"), REFUSED)
def test_refusals(
    server: Emulator, method: str, path: str, body: object, status: int, reason: str
) -> None:
    """A wrong request gets the right status and a reason, and makes no voice."""
    found, answer = request(server, method, path, body)

    assert (found, True) == (status, reason in answer["message"])
    assert server.settings.voices == server._shared.settings.voices


def test_a_body_of_60_megabytes(server: Emulator) -> None:
    """A body that is larger than the limit gets 413, and the client raises an error."""
    http = HttpClient(Options(base_url=server.url))
    with pytest.raises(ServiceError, match="exceeds") as caught:
        http.request(
            "POST",
            CLONE,
            headers={"Authorization": f"Basic {server.api_key}"},
            json={"displayName": "A", "voiceSamples": [{"audioData": "A" * 60_000_000}]},
            deadline=Deadline(60, "cloning"),
        )
    http.close()

    assert 413 == caught.value.status


FAULTS: list[tuple[str, type[InworldError], bool, int | None]] = [
    ("cut_upload:5000", ConnectionLost, True, None),
    ("drop_request", ConnectionLost, True, None),
    ("http_status:409", ServiceError, False, 409),
    ("http_status:429", QuotaError, False, 429),
    ("http_status:503", ServiceError, True, 503),
]


@pytest.mark.parametrize(("fault", "kind", "may_exist", "status"), FAULTS)
def test_faults_of_an_upload(
    server: Emulator,
    iw: Inworld,
    fault: str,
    kind: type[InworldError],
    may_exist: bool,
    status: int | None,
) -> None:
    """A failed request for a clone raises a typed error, is not repeated, and makes no voice."""
    server.faults.add(fault)
    with pytest.raises(kind) as caught:
        iw.voices.clone(wav_file(100), name="Anna")

    assert status == getattr(caught.value, "status", None)
    assert may_exist == ("may or may not have made the voice" in str(caught.value))
    assert server.api_key not in str(caught.value)
    assert [] == iw.voices.list(source="IVC")


def test_paths_with_a_workspace(server: Emulator) -> None:
    """The older paths of the documentation, which name the workspace, are supported."""
    body = {"displayName": "A", "voiceSamples": [sample(wav_file())]}
    status, answer = request(server, "POST", "/voices/v1/workspaces/w/voices:clone", body)
    assert 200 == status
    path = f"/voices/v1/workspaces/w/voices/{answer['voice']['voiceId']}"
    assert answer["voice"] == request(server, "GET", path)[1]
    assert (200, {}) == request(server, "DELETE", path)
