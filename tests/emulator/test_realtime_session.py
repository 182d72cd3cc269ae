"""The session object: its first event, its updates, its formats and refused updates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from inworld_sync.emulator import Emulator

from support.realtime_client import REALTIME_PATH, RealtimeClient, open_realtime


def test_first_event(tone_server: Emulator) -> None:
    """The server sends the first event, with the service's defaults."""
    headers = {"Authorization": f"Basic {tone_server.api_key}"}
    with connect(tone_server.ws_url + REALTIME_PATH, additional_headers=headers) as connection:
        event = json.loads(connection.recv(timeout=30))

    session = event["session"]
    assert "session.created" == event["type"]
    assert isinstance(event["event_id"], str)
    assert ("realtime", "realtime.session") == (session["type"], session["object"])
    assert session["id"].startswith("sess_")
    assert "semantic_vad" == session["audio"]["input"]["turn_detection"]["type"]
    assert {"type": "audio/pcm", "rate": 24000} == session["audio"]["output"]["format"]
    assert ("Dennis", "inworld-tts-2") == (
        session["audio"]["output"]["voice"],
        session["audio"]["output"]["model"],
    )


@pytest.mark.parametrize(("headers", "status"), [({}, 401), ({"Authorization": "Basic no"}, 403)])
def test_credentials_before_the_upgrade(
    tone_server: Emulator, headers: dict[str, str], status: int
) -> None:
    """A bad credential is refused with an HTTP status."""
    with pytest.raises(InvalidStatus) as caught:
        with connect(tone_server.ws_url + REALTIME_PATH, additional_headers=headers):
            pass

    assert status == caught.value.response.status_code


def test_deep_merge(realtime: RealtimeClient) -> None:
    """A later update changes only the fields that it has."""
    realtime.update(
        instructions="Be brief.",
        audio={"output": {"voice": "Sarah"}},
        providerData={"memory": {"enabled": True}},
    )
    session = realtime.update(
        audio={"output": {"speed": 1.2}}, providerData={"memory": {"turn_interval": 3}}
    )

    assert "Be brief." == session["instructions"]
    assert ("Sarah", 1.2) == (
        session["audio"]["output"]["voice"],
        session["audio"]["output"]["speed"],
    )
    assert {"enabled": True, "turn_interval": 3} == session["providerData"]["memory"]


def test_ignored_spelling(realtime: RealtimeClient) -> None:
    """The field ``provider_data`` is ignored. The right name is ``providerData``."""
    session = realtime.update(provider_data={"memory": {"enabled": True}})

    assert {} == session["providerData"]
    assert "provider_data" not in session


def test_own_fields(realtime: RealtimeClient) -> None:
    """A client cannot change the id or the expiry of a session."""
    session = realtime.update(id="mine", object="thing", expires_at=1)

    assert session["id"].startswith("sess_")
    assert "realtime.session" == session["object"]
    assert session["expires_at"] > 1


# (the client's value, the value that the service returns)
FORMATS: list[tuple[Any, dict[str, Any]]] = [
    ("pcm16", {"type": "audio/pcm", "rate": 24000}),
    ("g711_ulaw", {"type": "audio/pcmu"}),
    ("g711_alaw", {"type": "audio/pcma"}),
    ("float32", {"type": "audio/float32", "rate": 24000}),
    ("audio/pcmu", {"type": "audio/pcmu"}),
    ({"type": "audio/pcm", "rate": 16000}, {"type": "audio/pcm", "rate": 16000}),
    ({"type": "audio/pcmu"}, {"type": "audio/pcmu"}),
]


@pytest.mark.parametrize(("written", "expected"), FORMATS)
def test_formats_are_returned_as_objects(
    realtime: RealtimeClient, written: Any, expected: dict[str, Any]
) -> None:
    """A format in any of its forms is returned as an object."""
    session = realtime.update(audio={"input": {"format": written}, "output": {"format": written}})

    assert expected == session["audio"]["input"]["format"]
    assert expected == session["audio"]["output"]["format"]


# (wrong value, code of the error, parameter of the error)
REFUSED = [
    ({"audio": {"input": {"format": "mp3"}}}, "invalid_value", "session.audio.input.format"),
    (
        {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 12345}}}},
        "invalid_value",
        "session.audio.output.format.rate",
    ),
    (
        {"audio": {"input": {"transcription": {"model": "nobody"}}}},
        "invalid_value",
        "session.audio.input.transcription.model",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "magic"}}}},
        "invalid_value",
        "session.audio.input.turn_detection.type",
    ),
    ({"audio": {"output": {"voice": "Nobody"}}}, "invalid_value", "session.audio.output.voice"),
    ({"audio": {"output": {"speed": 9}}}, "invalid_value", "session.audio.output.speed"),
    ({"temperature": "hot"}, "invalid_type", "session.temperature"),
    ({"max_output_tokens": 5000}, "invalid_value", "session.max_output_tokens"),
    ({"output_modalities": ["smell"]}, "invalid_value", "session.output_modalities"),
    ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
]


@pytest.mark.parametrize(("session", "code", "param"), REFUSED, ids=[row[2] for row in REFUSED])
def test_refused_update(
    realtime: RealtimeClient, session: dict[str, Any], code: str, param: str
) -> None:
    """The error for a wrong value names the parameter, and the update is not applied."""
    realtime.send("session.update", event_id="mine", session={"instructions": "Lost.", **session})

    error = realtime.error()
    assert ("invalid_request_error", code) == (error["type"], error["code"])
    assert (param, "mine") == (error["param"], error["event_id"])
    assert "" == realtime.update()["instructions"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('{"type":"no.such"}', "unknown_event_type"),
        ("{}", "missing_required_parameter"),
        ("nonsense", "invalid_json"),
        (b"\x00", "invalid_json"),
    ],
)
def test_unknown_events(realtime: RealtimeClient, message: str | bytes, code: str) -> None:
    """A message that is not an event is refused, and the session continues."""
    realtime.connection.send(message)

    assert code == realtime.error()["code"]
    realtime.update()


@pytest.mark.parametrize("path", ["/v1/realtime", "/api/v1/realtime"])
def test_alias_paths(tone_server: Emulator, path: str) -> None:
    """OpenAI's paths accept a bearer token and a model, and use OpenAI's names of parts."""
    headers = {"Authorization": f"Bearer {tone_server.api_key}"}
    with open_realtime(tone_server, f"{path}?model=gpt-x", headers) as client:
        session = client.update(output_modalities=["text"])
        [part] = client.ask("Hi there!")[-1]["response"]["output"][0]["content"]

    assert "gpt-x" == session["model"]
    assert "output_text" == part["type"]


def test_beta_field_names(tone_server: Emulator) -> None:
    """A client of OpenAI's beta sends flat field names and gets the older event names."""
    headers = {"Authorization": f"Bearer {tone_server.api_key}", "OpenAI-Beta": "realtime=v1"}
    with open_realtime(tone_server, "/v1/realtime?model=gpt-x", headers) as client:
        session = client.update(
            modalities=["text", "audio"], voice="alloy", input_audio_format="g711_ulaw"
        )
        types = {event["type"] for event in client.ask("Hi there!")}

    assert "gpt-x" == session["model"]
    assert {"type": "audio/pcmu"} == session["audio"]["input"]["format"]
    assert {"response.audio.delta", "response.audio_transcript.delta"} <= types
    assert "conversation.item.created" in types
    assert "conversation.item.done" not in types


def test_legacy_name_in_an_object_is_silent(realtime: RealtimeClient) -> None:
    """The format ``{"type": "pcm16"}`` is accepted and produces no audio, as in the service."""
    realtime.update(audio={"output": {"format": {"type": "pcm16"}}})

    types = [event["type"] for event in realtime.ask("Hi there!")]
    assert "response.output_audio.delta" not in types
    assert "response.done" == types[-1]
