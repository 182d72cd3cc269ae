"""A voice of ElevenLabs is cloned with requests to both services. A failure makes no voice."""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from inworld_sync import (
    AudioError,
    AuthError,
    ConfigError,
    DeadlineExceeded,
    Inworld,
    InworldError,
    NotFoundError,
    RemoteProtocolError,
)
from inworld_sync.emulator import Emulator

from support.peers import Peer, serve
from support.rest_client import wav_file

SECRET = "sk_elevenlabs_secret"


class ElevenLabs:
    """A service with one voice. ``requests`` has the head of each request."""

    def __init__(self, facts: dict[str, Any], audio: bytes, status: str = "200 OK") -> None:
        self.facts = facts
        self.audio = audio
        self.status = status
        self.requests: list[str] = []
        self.url = ""

    def __call__(self, peer: Peer) -> None:
        while True:
            head = peer.read_head().decode()
            self.requests.append(head)
            body = json.dumps(self.facts).replace("URL", self.url).encode()
            if "audio" in head.split(" ")[1] or "preview" in head.split(" ")[1]:
                body = self.audio
            peer.send(
                b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%b"
                % (self.status.encode(), len(body), body)
            )


@contextmanager
def serving(other: ElevenLabs) -> Iterator[str]:
    with serve(other) as server:
        other.url = f"http://127.0.0.1:{server.port}"
        yield other.url


FACTS = {
    "name": "Rachel",
    "labels": {"language": "de-DE"},
    "samples": [{"sample_id": "s/1"}, {"sample_id": "s2"}],
}


def test_first_sample(tone_server: Emulator) -> None:
    """
    The first sample is cloned with the name and the language. Each key is sent only to its own
    service.
    """
    other = ElevenLabs(FACTS, wav_file())
    with (
        serving(other) as url,
        Inworld(tone_server.api_key, base_url=tone_server.url, headers={"X-Own": "1"}) as iw,
    ):
        cloned = iw.voices.clone_from_elevenlabs("v/1", api_key=SECRET, base_url=url)
        again = iw.voices.clone(wav_file(), name="Rachel", language="DE_DE")

    assert ("Rachel", ("DE_DE",)) == (cloned.voice.name, cloned.voice.languages)
    assert again.voice.gender == cloned.voice.gender
    assert ["/v1/voices/v%2F1", "/v1/voices/v%2F1/samples/s%2F1/audio"] == [
        head.split(" ")[1] for head in other.requests
    ]
    assert all(f"xi-api-key: {SECRET}" in head for head in other.requests)
    assert all("authorization" not in head.lower() for head in other.requests)
    assert all("x-own" not in head.lower() for head in other.requests)


def test_preview(iw: Inworld) -> None:
    """A voice without samples is cloned from its preview. The preview is fetched without a key."""
    other = ElevenLabs({"name": "R", "preview_url": "URL/preview.mp3?a=b"}, wav_file())
    with serving(other) as url:
        cloned = iw.voices.clone_from_elevenlabs("v", api_key=SECRET, base_url=url)

    assert ("R", ("EN_US",)) == (cloned.voice.name, cloned.voice.languages)
    assert "/preview.mp3?a=b" == other.requests[1].split(" ")[1]
    assert SECRET not in other.requests[1]


def test_long_sample_is_cut(monkeypatch: pytest.MonkeyPatch, iw: Inworld) -> None:
    """A sample that is too large is cut to 30 s, because the service uses only 30 s."""
    sent: list[bytes] = []
    request = iw.voices._http.request

    def record(method: str, path: str, **arguments: Any) -> Any:
        sent.append(base64.b64decode(arguments["json"]["voiceSamples"][0]["audioData"]))
        return request(method, path, **arguments)

    monkeypatch.setattr(iw.voices._http, "request", record)
    with serving(ElevenLabs(FACTS, wav_file(60, 44100))) as url:
        iw.voices.clone_from_elevenlabs("v", api_key=SECRET, base_url=url)

    with wave.open(io.BytesIO(sent[0])) as file:
        assert (44100, 30 * 44100) == (file.getframerate(), file.getnframes())


FAILURES: list[tuple[dict[str, Any], bytes, str, type[InworldError], str]] = [
    ({"detail": {"message": "no"}}, b"", "401 Unauthorized", AuthError, "127.0.0.1"),
    ({"detail": {"message": "no"}}, b"", "404 Not Found", NotFoundError, "127.0.0.1"),
    ({"name": "R"}, b"", "200 OK", RemoteProtocolError, "neither samples nor a preview"),
    ({"preview_url": "file:///etc/passwd"}, b"", "200 OK", RemoteProtocolError, "preview_url"),
    ({"preview_url": "https://[x"}, b"", "200 OK", RemoteProtocolError, "preview_url"),
    ({"preview_url": "http://h:99999/"}, b"", "200 OK", RemoteProtocolError, "preview_url"),
    (FACTS, b"<html>no audio</html>", "200 OK", AudioError, "not in a known audio format"),
    (FACTS, b"", "200 OK", AudioError, "empty"),
]


@pytest.mark.parametrize(("facts", "audio", "status", "kind", "words"), FAILURES)
def test_failures(
    iw: Inworld,
    facts: dict[str, Any],
    audio: bytes,
    status: str,
    kind: type[InworldError],
    words: str,
) -> None:
    """
    The class of the error depends on the failure. The error does not show the key, and no voice is
    made.
    """
    with serving(ElevenLabs(facts, audio, status)) as url, pytest.raises(kind) as caught:
        iw.voices.clone_from_elevenlabs("v", api_key=SECRET, base_url=url)

    assert words in str(caught.value)
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert [] == iw.voices.list(source="IVC")


def test_arguments(iw: Inworld) -> None:
    """A wrong argument raises an error that does not show the key."""
    with pytest.raises(ConfigError, match="voice must be"):
        iw.voices.clone_from_elevenlabs(" ", api_key=SECRET)
    with pytest.raises(ConfigError, match="voice must be valid Unicode"):
        iw.voices.clone_from_elevenlabs("\ud800", api_key=SECRET)
    with pytest.raises(ConfigError, match="api_key must be"):
        iw.voices.clone_from_elevenlabs("v", api_key="")


def test_one_timeout(iw: Inworld) -> None:
    """The timeout covers the requests to both services."""
    with serve(lambda peer: peer.hold()) as server, pytest.raises(DeadlineExceeded):
        iw.voices.clone_from_elevenlabs(
            "v", api_key=SECRET, base_url=f"http://127.0.0.1:{server.port}", timeout=0.3
        )
