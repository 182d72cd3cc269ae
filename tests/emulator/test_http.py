"""Speech and voices over HTTP are tested with the client of the standard library."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import soundfile

from inworld_sync.emulator import EmulatedVoice, Emulator, Settings
from inworld_sync.emulator.voices import VOICES

from support.tone import ToneSynthesizer, tone_seconds

REQUEST = {
    "text": "Hello there, my world. And more.",
    "voiceId": "Ashley",
    "modelId": "inworld-tts-2",
    "audioConfig": {"audioEncoding": "LINEAR16", "sampleRateHertz": 16000},
}


class HttpPeer:
    """One keep-alive connection, whose requests have the server's key."""

    def __init__(self, server: Emulator) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        self.headers = {"Authorization": f"Basic {server.api_key}"}

    def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any, http.client.HTTPResponse]:
        data = None if body is None else json.dumps(body)
        self.connection.request(method, path, data, {**self.headers, **headers})
        response = self.connection.getresponse()
        content = response.read()
        return response.status, json.loads(content), response


@pytest.fixture
def peer(tone_server: Emulator) -> Iterator[HttpPeer]:
    peer = HttpPeer(tone_server)
    yield peer
    peer.connection.close()


def lines(peer: HttpPeer, body: object) -> list[dict[str, Any]]:
    peer.connection.request("POST", "/tts/v1/voice:stream", json.dumps(body), peer.headers)
    content = peer.connection.getresponse().read()
    assert content.endswith(b"\n")
    return [json.loads(line)["result"] for line in content.splitlines()]


def test_whole_file(peer: HttpPeer) -> None:
    """POST /tts/v1/voice returns one WAV file, whose header has the length of the samples."""
    status, answer, _ = peer.ask("POST", "/tts/v1/voice", REQUEST)
    data = base64.b64decode(answer["audioContent"])

    assert 200 == status
    info = soundfile.info(io.BytesIO(data))
    assert (16000, 1, "PCM_16") == (info.samplerate, info.channels, info.subtype)
    assert abs(tone_seconds(str(REQUEST["text"])) - info.duration) < 0.001
    assert int.from_bytes(data[40:44], "little") == len(data) - 44
    assert {"processedCharactersCount": 32, "modelId": "inworld-tts-2"} == answer["usage"]
    assert "timestampInfo" not in answer


def test_snake_case(peer: HttpPeer) -> None:
    """Requests may be written in snake_case."""
    body = {
        "text": "Hi.",
        "voice_id": "Ashley",
        "model_id": "inworld-tts-2",
        "audio_config": {"audio_encoding": "PCM", "sample_rate_hertz": 8000},
    }
    _, answer, _ = peer.ask("POST", "/tts/v1/voice", body)

    assert 0.15 * 16000 == len(base64.b64decode(answer["audioContent"]))


@pytest.mark.parametrize("encoding", ["MP3", "OGG_OPUS", "FLAC", "WAV"])
def test_whole_containers(peer: HttpPeer, encoding: str) -> None:
    """The audio in every container is complete after decoding."""
    body = {**REQUEST, "audioConfig": {"audioEncoding": encoding, "sampleRateHertz": 24000}}
    _, answer, _ = peer.ask("POST", "/tts/v1/voice", body)
    info = soundfile.info(io.BytesIO(base64.b64decode(answer["audioContent"])))

    assert abs(tone_seconds(str(REQUEST["text"])) - info.duration) < 0.1


def test_whole_timestamps(peer: HttpPeer) -> None:
    """A request for one whole file may also have a timestampType."""
    _, answer, _ = peer.ask("POST", "/tts/v1/voice", {**REQUEST, "timestampType": "WORD"})

    words = answer["timestampInfo"]["wordAlignment"]["words"]
    assert REQUEST["text"] == "".join(words)


def test_stream(peer: HttpPeer) -> None:
    """POST /tts/v1/voice:stream returns one JSON object per line. The first line has the usage."""
    results = lines(peer, {**REQUEST, "audioConfig": {"audioEncoding": "PCM"}})

    counts = [result["usage"]["processedCharactersCount"] for result in results]
    assert [32] + [0] * (len(results) - 1) == counts
    size = sum(len(base64.b64decode(result["audioContent"])) for result in results)
    assert abs(tone_seconds(str(REQUEST["text"])) * 96000 - size) <= 2


def test_stream_is_not_buffered(tone_server: Emulator) -> None:
    """The lines are sent one by one. With a fault after two lines, two lines are received."""
    tone_server.faults.add("drop@2")
    peer = HttpPeer(tone_server)
    peer.connection.request("POST", "/tts/v1/voice:stream", json.dumps(REQUEST), peer.headers)
    with pytest.raises(http.client.IncompleteRead) as caught:
        peer.connection.getresponse().read()
    peer.connection.close()

    assert 2 == len(caught.value.partial.splitlines())


def test_stream_with_trailing_timestamps(peer: HttpPeer) -> None:
    """ASYNC sends the times on a last line without audio."""
    results = lines(
        peer, {**REQUEST, "timestampType": "WORD", "timestampTransportStrategy": "ASYNC"}
    )

    assert all("timestampInfo" not in result for result in results[:-1])
    assert "audioContent" not in results[-1]


# (change of a good request, status, code, a part of the message)
BAD = [
    ({"text": ""}, 400, 3, "Text cannot be empty"),
    ({"text": None}, 400, 3, "Text cannot be empty"),
    ({"text": "a" * 2001}, 400, 3, "text length should not exceed 2000 characters."),
    ({"voiceId": "Nobody"}, 404, 5, "Unknown voice: Nobody not found!"),
    ({"modelId": "gpt-9"}, 400, 3, "gpt-9"),
    ({"audioConfig": {"sampleRateHertz": 4000}}, 400, 3, "sample_rate_hertz"),
    ({"applyTextNormalization": True}, 400, 3, "applyTextNormalization"),
]


@pytest.mark.parametrize(("change", "status", "code", "words"), BAD)
def test_errors(peer: HttpPeer, change: dict[str, Any], status: int, code: int, words: str) -> None:
    """
    The whole-file endpoint returns the error as the body. The stream has the error in "error".
    """
    for path, unwrap in (
        ("/tts/v1/voice", lambda body: body),
        ("/tts/v1/voice:stream", lambda body: body["error"]),
    ):
        got, body, _ = peer.ask("POST", path, {**REQUEST, **change})
        error = unwrap(body)

        assert (status, code, []) == (got, error["code"], error["details"])
        assert words in error["message"]


def test_unknown_names_in_enums_are_ignored(peer: HttpPeer) -> None:
    """Over HTTP, an unknown name of an enum is treated as a missing field."""
    status, _, _ = peer.ask("POST", "/tts/v1/voice", {**REQUEST, "timestampType": "SYLLABLE"})

    assert 200 == status


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b""])
def test_body_is_not_a_request(peer: HttpPeer, body: bytes) -> None:
    """A body that is not a JSON object is refused with 400."""
    peer.connection.request("POST", "/tts/v1/voice", body, peer.headers)

    assert 400 == peer.connection.getresponse().status


def test_no_credential(tone_server: Emulator) -> None:
    """Without a credential, the response is 401 with code 16 and a challenge in the headers."""
    peer = HttpPeer(tone_server)
    peer.headers = {}
    status, body, response = peer.ask("GET", "/tts/v1/voices")
    peer.connection.close()

    assert (401, 16) == (status, body["code"])
    assert "authentication is required" == response.headers["www-authenticate"]


def test_bad_key(peer: HttpPeer) -> None:
    """With a bad key, the response is 403 with code 7, and has only the start of the key."""
    status, body, _ = peer.ask("GET", "/tts/v1/voices", Authorization="Basic abcdefgh")

    assert (403, 7) == (status, body["code"])
    assert 'API key does not exist or was deleted: "abcd***"' == body["message"]


def test_key_as_bearer(peer: HttpPeer, tone_server: Emulator) -> None:
    """Over HTTP, the key works as a bearer token too."""
    status, _, _ = peer.ask("GET", "/tts/v1/voices", Authorization=f"Bearer {tone_server.api_key}")

    assert 200 == status


def test_request_id(peer: HttpPeer) -> None:
    """Every response has a request id and the elapsed time."""
    _, _, response = peer.ask("GET", "/tts/v1/voices")

    assert 32 == len(response.headers["x-inworld-request-id"])
    assert response.headers["x-envoy-upstream-service-time"].isdigit()


@pytest.mark.parametrize("path", ["/", "/v1/models", "/openapi.json", "/tts/v1/voice/x"])
def test_unknown_path(peer: HttpPeer, path: str) -> None:
    """An unknown path gets a 404 in JSON, and the connection can be used again."""
    status, body, _ = peer.ask("GET", path)

    assert (404, 5) == (status, body["code"])
    assert 200 == peer.ask("GET", "/tts/v1/voices")[0]


def test_wrong_method(peer: HttpPeer) -> None:
    """A known path with another method gets a 404."""
    assert 404 == peer.ask("GET", "/tts/v1/voice")[0]


def test_older_list(peer: HttpPeer) -> None:
    """GET /tts/v1/voices returns the older list of voices, filtered by language."""
    everyone = peer.ask("GET", "/tts/v1/voices")[1]["voices"]
    english = peer.ask("GET", "/tts/v1/voices?filter=language%3Den")[1]["voices"]
    french = peer.ask("GET", "/tts/v1/voices?filter=language=fr")[1]["voices"]

    assert {"Ashley", "Dennis", "Aarav", "Hana", "Sarah"} <= {v["voiceId"] for v in everyone}
    assert {"Jason", "Alex", "Hélène"} <= {voice["voiceId"] for voice in everyone}
    assert {"fr"} == {language for voice in french for language in voice["languages"]}
    assert {"en"} == {language for voice in english for language in voice["languages"]}


@pytest.mark.parametrize("size", [1, 3, len(VOICES), len(VOICES) + 1])
def test_list_in_pages(peer: HttpPeer, size: int) -> None:
    """GET /voices/v1/voices returns full pages until nextPageToken is empty."""
    names, token = [], ""
    while True:
        page = peer.ask("GET", f"/voices/v1/voices?pageSize={size}&pageToken={token}")[1]
        assert 1 <= len(page["voices"]) <= size
        names += [voice["voiceId"] for voice in page["voices"]]
        token = page["nextPageToken"]
        if not token:
            break

    assert [voice.voice_id for voice in VOICES] == names


def test_list_by_language() -> None:
    """languages=FR_FR selects the voices of that language."""
    voices = (
        EmulatedVoice(voice_id="A", gender="female", description=""),
        EmulatedVoice(voice_id="B", gender="male", description="", lang_code="FR_FR"),
    )
    with Emulator(synthesizer=ToneSynthesizer(), settings=Settings(voices=voices)) as server:
        peer = HttpPeer(server)
        page = peer.ask("GET", "/voices/v1/voices?languages=FR_FR")[1]
        peer.connection.close()

    assert ["B"] == [voice["voiceId"] for voice in page["voices"]]


@pytest.mark.parametrize("query", ["pageSize=x", "pageToken=x", "pageSize=-1"])
def test_bad_page(peer: HttpPeer, query: str) -> None:
    """A page size or a page token that is not a valid number is refused."""
    assert 400 == peer.ask("GET", f"/voices/v1/voices?{query}")[0]


def test_one_voice(peer: HttpPeer) -> None:
    """GET /voices/v1/voices/{id} describes one voice."""
    _, voice, _ = peer.ask("GET", "/voices/v1/voices/Dennis")

    fields = ("voiceId", "langCode", "displayName", "gender", "source")
    assert ["Dennis", "EN_US", "Dennis", "male", "SYSTEM"] == [voice[name] for name in fields]
    assert voice["name"].endswith("/voices/Dennis")
    assert 404 == peer.ask("GET", "/voices/v1/voices/Nobody")[0]


# (bytes that are not a request, status of the response)
BROKEN = [
    (b"nonsense\r\n\r\n", 400),
    (b"GET / HTTP/1.0\r\n\r\n", 505),
    (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nContent-Length: ten\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
    (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"GET / HTTP/1.1\r\nA: " + b"a" * (1 << 17), 431),
]


@pytest.mark.parametrize(("data", "status"), BROKEN, ids=range(len(BROKEN)))
def test_broken_request(tone_server: Emulator, data: bytes, status: int) -> None:
    """A request that cannot be read gets a response, and the connection ends."""
    with socket.create_connection(("127.0.0.1", tone_server.port), timeout=30) as sock:
        sock.sendall(data)
        answer = b""
        while part := sock.recv(65536):
            answer += part

    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_chunked_request(peer: HttpPeer) -> None:
    """A request body may be chunked."""
    data = json.dumps(REQUEST).encode()
    peer.connection.request(
        "POST",
        "/tts/v1/voice",
        iter([data[:20], data[20:]]),
        {**peer.headers, "Transfer-Encoding": "chunked"},
        encode_chunked=True,
    )

    assert 200 == peer.connection.getresponse().status


def test_requests_in_one_packet(tone_server: Emulator) -> None:
    """Two requests in one packet get their responses in order."""
    head = f"HTTP/1.1\r\nAuthorization: Basic {tone_server.api_key}\r\n"
    data = f"GET /nowhere {head}\r\nGET /tts/v1/voices {head}Connection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", tone_server.port), timeout=30) as sock:
        sock.sendall(data.encode())
        answer = b""
        while part := sock.recv(65536):
            answer += part

    assert answer.index(b"404") < answer.index(b"200 OK")


PAGE = "http://localhost:5173"


def preflight(peer: HttpPeer, path: str, **headers: str) -> http.client.HTTPResponse:
    """Send the preflight request of a page. A preflight has no credential."""
    asked = {"Access-Control-Request-Method": "POST", "Origin": PAGE, **headers}
    peer.connection.request("OPTIONS", path, headers=asked)
    response = peer.connection.getresponse()
    response.read()
    return response


def test_preflight(peer: HttpPeer) -> None:
    """The response to a preflight allows a page to send the request with certain headers."""
    asked = "authorization,content-type"
    response = preflight(peer, "/tts/v1/voice:stream", **{"Access-Control-Request-Headers": asked})

    assert 200 == response.status
    assert PAGE == response.headers["Access-Control-Allow-Origin"]
    assert "POST" == response.headers["Access-Control-Allow-Methods"]
    assert asked == response.headers["Access-Control-Allow-Headers"]


def test_preflight_of_an_unknown_path(peer: HttpPeer) -> None:
    """A preflight for an unknown path, or for a method that the path does not have, gets a 404."""
    assert 404 == preflight(peer, "/nowhere").status
    assert 404 == preflight(peer, "/tts/v1/voices").status


@pytest.mark.parametrize("path", ["/tts/v1/voices", "/nowhere"])
def test_response_to_a_page(peer: HttpPeer, path: str) -> None:
    """A page of this machine may read responses and errors."""
    _, _, response = peer.ask("GET", path, Origin=PAGE)

    assert PAGE == response.headers["Access-Control-Allow-Origin"]


def test_preflight_of_a_foreign_page(peer: HttpPeer) -> None:
    """A page of another site gets no permission."""
    response = preflight(peer, "/tts/v1/voice", Origin="https://evil.example")

    assert 403 == response.status
    assert "Access-Control-Allow-Origin" not in response.headers


def test_no_cors() -> None:
    """With cors=False, responses have no CORS headers."""
    with Emulator(synthesizer=ToneSynthesizer(), settings=Settings(cors=False)) as server:
        peer = HttpPeer(server)
        response = preflight(peer, "/tts/v1/voice")
        peer.connection.close()

    assert 404 == response.status
    assert "Access-Control-Allow-Origin" not in response.headers
