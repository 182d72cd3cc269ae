"""Tests of speech over HTTP, with several requests, retries, errors and early ends."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from inworld_sync import (
    AudioChunk,
    AudioConfig,
    AudioError,
    AuthError,
    ConfigError,
    ConnectionLost,
    DeadlineExceeded,
    Inworld,
    InworldError,
    NotFoundError,
    QuotaError,
    RemoteProtocolError,
    ServiceError,
    Speech,
)
from inworld_sync.emulator import Emulator, Settings

from support.peers import Peer
from support.rest_client import client_of
from support.scripted import KEY
from support.spelling import SpellingSynthesizer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def line(value: object) -> bytes:
    return chunk(json.dumps(value).encode() + b"\n")


def audio(data: bytes = bytes(480), **fields: object) -> bytes:
    content = base64.b64encode(data).decode()
    return line({"result": {"audioContent": content, **fields}})


def fault(code: int, message: str = "why") -> bytes:
    return line({"error": {"code": code, "message": message, "details": []}})


def refusal(status: str, *headers: str) -> bytes:
    body = b'{"code":9,"message":"why","details":[]}'
    return (
        "\r\n".join(
            [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
        ).encode()
        + body
    )


class Service:
    """Answers each request with the next answer of a list. The last answer is repeated."""

    def __init__(self, *answers: bytes | Callable[[Peer], None]) -> None:
        self.answers = answers
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, peer: Peer) -> None:
        while True:
            head, body = peer.read_request()
            assert head.startswith(b"POST /tts/v1/voice:stream HTTP/1.1\r\n")
            self.bodies.append(json.loads(body))
            answer = self.answers[min(len(self.bodies), len(self.answers)) - 1]
            if callable(answer):
                answer(peer)
            else:
                peer.send(answer)


def lose(*before: bytes) -> Callable[[Peer], None]:
    """End the connection after a part of the response."""

    def answer(peer: Peer) -> None:
        peer.send(b"".join(before))
        peer.hang_up()
        raise EOFError

    return answer


def hold(*before: bytes) -> Callable[[Peer], None]:
    """Send a part of the response, and wait for the client to disconnect."""

    def answer(peer: Peer) -> None:
        peer.send(b"".join(before))
        peer.read_until_end()

    return answer


@pytest.mark.parametrize("encoding", ["PCM", "LINEAR16", "MULAW", "MP3"])
@pytest.mark.parametrize("text", ["Hello there. Twice.", "One two three. " * 300])
def test_same_speech_as_over_a_websocket(iw: Inworld, text: str, encoding: str) -> None:
    """HTTP and a WebSocket return the same words. For a short text, the times are the same too."""
    config = AudioConfig(encoding, 24000)
    streamed = iw.tts.synthesize(text, audio=config)
    whole = iw.tts.synthesize(text, audio=config, method="http")

    assert [word.text for word in streamed.words] == [word.text for word in whole.words]
    starts = [word.start_ms for word in whole.words]
    assert starts == sorted(starts)
    assert len(text) == whole.usage.characters
    assert "inworld-tts-2" == whole.usage.model
    if len(text) < 1000:
        assert (streamed.words, streamed.usage) == (whole.words, whole.usage)
    if encoding != "MP3":
        assert streamed.duration_ms == whole.duration_ms


def test_request() -> None:
    """A request has the settings that apply over HTTP, and the fields of ``extra`` unchanged."""
    service = Service(HEAD + audio() + END)
    with client_of(service) as iw:
        iw.tts.synthesize(
            "Hi.",
            voice="Dennis",
            audio=AudioConfig("PCM", 16000),
            delivery_mode="STABLE",
            pronunciation_dictionaries=["d"],
            extra={"seed": 5},
            method="http",
        )

    assert service.bodies == [
        {
            "text": "Hi.",
            "voiceId": "Dennis",
            "modelId": "inworld-tts-2",
            "audioConfig": {"audioEncoding": "PCM", "sampleRateHertz": 16000},
            "deliveryMode": "STABLE",
            "timestampType": "WORD",
            "pronunciationDictionarySettings": {"dictionaries": [{"dictionary": "d"}]},
            "seed": 5,
        }
    ]


def test_pieces_of_a_long_text() -> None:
    """A long text is sent in pieces of at most 2000 characters, on one connection."""
    service = Service(HEAD + audio(usage={"processedCharactersCount": 3}) + END)
    text = "A sentence of some words. " * 200
    with client_of(service) as iw:
        speech = iw.tts.synthesize(text, method="http")

    texts = [body["text"] for body in service.bodies]
    assert text.rstrip() == "".join(texts).rstrip()
    assert max(map(len, texts)) <= 2000
    assert len(texts) == 3 == speech.usage.characters // 3


def test_sentences_of_an_iterable() -> None:
    """The pieces of an iterable are joined to sentences. Each sentence is one request."""
    service = Service(HEAD + audio() + END)
    with client_of(service) as iw:
        iw.tts.synthesize(iter(["Hel", "lo the", "re. How", " are you? ", "Fine"]), method="http")

    assert ["Hello there.", "How are you?", "Fine"] == [
        body["text"].strip() for body in service.bodies
    ]


def test_times_continue_over_requests() -> None:
    """In each response, times start at 0. The client adds the duration of the earlier audio."""
    words = {"words": ["a"], "wordStartTimeSeconds": [0.1], "wordEndTimeSeconds": [0.2]}
    service = Service(HEAD + audio(bytes(48000), timestampInfo={"wordAlignment": words}) + END)
    with client_of(service) as iw:
        speech = iw.tts.synthesize(iter(["One. ", "Two. ", "Three."]), method="http")

    assert [100, 1100, 2100] == [word.start_ms for word in speech.words]
    assert 3000 == speech.duration_ms


def test_chunks_arrive_one_by_one() -> None:
    """A chunk is yielded before the service has sent the next chunk."""
    taken = threading.Event()

    def answer(peer: Peer) -> None:
        peer.send(HEAD + audio())
        assert taken.wait(30)
        peer.send(audio() + END)

    with client_of(Service(answer)) as iw:
        stream = iw.tts.stream("Hi.", method="http")
        next(stream)
        taken.set()
        assert 1 == len(list(stream))


# (first answer of the service, class of the error, number of requests that the client sends)
REFUSALS: list[tuple[bytes, type[InworldError], int]] = [
    (refusal("404 Not Found"), NotFoundError, 1),
    (refusal("401 Unauthorized"), AuthError, 1),
    (refusal("400 Bad Request"), ServiceError, 1),
    (refusal("429 Too Many Requests", "Retry-After: 0"), QuotaError, 3),
    (refusal("429 Too Many Requests", "Retry-After: 3600"), QuotaError, 1),
    (refusal("503 Service Unavailable"), ServiceError, 3),
    (HEAD + fault(3) + END, ServiceError, 1),
    (HEAD + fault(14) + END, ServiceError, 3),
]


@pytest.mark.parametrize(("answer", "kind", "attempts"), REFUSALS)
def test_refusals(answer: bytes, kind: type[InworldError], attempts: int) -> None:
    """A refused request is repeated only if a retry may succeed, at most ``max_retries`` times."""
    service = Service(answer)
    with client_of(service) as iw, pytest.raises(kind, match="why") as caught:
        iw.tts.synthesize("Hi.", method="http")

    assert attempts == len(service.bodies)
    assert caught.value.partial is None


@pytest.mark.parametrize("first", [refusal("503 Service Unavailable"), HEAD + fault(14) + END])
def test_retry_succeeds(first: bytes) -> None:
    """
    If the first answer is a temporary error, the request is repeated, and the speech is complete.
    """
    service = Service(first, HEAD + audio() + END)
    with client_of(service) as iw:
        assert 480 == len(iw.tts.synthesize("Hi.", method="http").data)

    assert 2 == len(service.bodies)


@pytest.mark.parametrize("before", [(), (HEAD,)])
def test_lost_before_the_first_line(before: tuple[bytes, ...]) -> None:
    """If the connection is lost before any audio, the request is repeated."""
    service = Service(lose(*before), HEAD + audio() + END)
    with client_of(service) as iw:
        assert 480 == len(iw.tts.synthesize("Hi.", method="http").data)

    assert 2 == len(service.bodies)


# (answer with 10 ms of audio and then a fault, class of the error, words of the error)
BROKEN: list[tuple[bytes | Callable[[Peer], None], type[InworldError], str]] = [
    (HEAD + audio() + fault(13, "engine died") + END, ServiceError, "engine died"),
    (HEAD + audio() + fault(8, "too many") + END, QuotaError, "too many"),
    (HEAD + audio() + line({"error": "plain"}) + END, ServiceError, "plain"),
    (HEAD + audio() + chunk(b"{no json\n") + END, RemoteProtocolError, "JSON"),
    (HEAD + audio() + line({"result": {"audioContent": 5}}) + END, RemoteProtocolError, "text"),
    (HEAD + audio() + line({"result": {"audioContent": "%"}}) + END, AudioError, "."),
    (lose(HEAD, audio()), ConnectionLost, "incomplete|closed|broke"),
    (lose(HEAD, audio(), audio()[:30]), ConnectionLost, "."),
    (hold(HEAD, audio()), DeadlineExceeded, "took longer than 0.4 s"),
]


@pytest.mark.parametrize(("answer", "kind", "text"), BROKEN)
def test_broken_after_the_first_chunk(
    answer: bytes | Callable[[Peer], None], kind: type[InworldError], text: str
) -> None:
    """If an error follows some audio, ``partial`` has this audio, and no request is sent again."""
    service = Service(answer)
    timeout = 0.4 if kind is DeadlineExceeded else 30
    with client_of(service) as iw, pytest.raises(kind, match=text) as caught:
        iw.tts.synthesize("Hi.", method="http", timeout=timeout)

    assert isinstance(caught.value.partial, Speech)
    assert 480 == len(caught.value.partial.data)
    assert 1 == len(service.bodies)


def test_second_request_fails() -> None:
    """The error of a later request has the audio of the earlier requests as ``partial``."""
    service = Service(HEAD + audio() + END, refusal("400 Bad Request"))
    with client_of(service) as iw, pytest.raises(ServiceError) as caught:
        iw.tts.synthesize(iter(["One. ", "Two."]), method="http")

    assert isinstance(caught.value.partial, Speech)
    assert 480 == len(caught.value.partial.data)


@pytest.mark.parametrize("lines", [b"", line({"result": {}}), line({"other": 1})])
def test_no_audio(lines: bytes) -> None:
    """A response without audio raises an error, unless the text is only punctuation."""
    service = Service(HEAD + lines + END)
    with client_of(service) as iw:
        with pytest.raises(ServiceError, match="without audio"):
            iw.tts.synthesize("Hi.", method="http")
        assert b"" == iw.tts.synthesize("...", method="http").data


def test_half_a_sample() -> None:
    """Audio that ends inside a sample raises an error."""
    service = Service(HEAD + audio(bytes(3)) + END)
    with client_of(service) as iw, pytest.raises(AudioError):
        iw.tts.synthesize("Hi.", method="http")


def test_silent_service() -> None:
    """If the service does not answer in time, the request is not sent again."""
    service = Service(hold())
    with client_of(service) as iw, pytest.raises(DeadlineExceeded):
        iw.tts.synthesize("Hi.", method="http", timeout=0.3)

    assert 1 == len(service.bodies)


@pytest.mark.parametrize("before", [(), (HEAD, audio())])
def test_close_from_another_thread(before: tuple[bytes, ...]) -> None:
    """``close`` ends an iteration that waits for the service, without an error."""
    waiting = threading.Event()

    def answer(peer: Peer) -> None:
        peer.send(b"".join(before))
        if not before:
            waiting.set()
        peer.read_until_end()

    def received() -> Iterator[AudioChunk]:
        for chunk in stream:
            waiting.set()
            yield chunk

    with client_of(Service(answer)) as iw, ThreadPoolExecutor(1) as pool:
        stream = iw.tts.stream("Hi.", method="http")
        found = pool.submit(list, received())
        assert waiting.wait(30)
        stream.close()
        assert len(before) // 2 == len(found.result(30))
        stream.close()
        assert [] == list(stream)


def test_leaving_the_loop_closes_the_connection() -> None:
    """A caller that leaves the loop frees the connection. The client can still be used."""
    ended = threading.Event()

    def answer(peer: Peer) -> None:
        peer.send(HEAD + audio())
        peer.read_until_end()
        ended.set()

    with client_of(Service(answer, HEAD + audio() + END)) as iw:
        with iw.tts.stream("Hi.", method="http") as stream:
            next(stream)
        del stream
        assert ended.wait(30)
        assert iw.tts.synthesize("Hi.", method="http").data


def test_error_of_the_iterable() -> None:
    """An error of the user's iterable reaches the caller."""

    def pieces() -> Iterator[str]:
        yield "One. "
        yield "Two"
        raise KeyError("mine")

    with client_of(Service(HEAD + audio() + END)) as iw, pytest.raises(KeyError, match="mine"):
        list(iw.tts.stream(pieces(), method="http"))


def test_settings_of_a_websocket(iw: Inworld) -> None:
    """A setting that has no effect over HTTP raises an error."""
    with pytest.raises(ConfigError, match="max_buffer_delay_ms is for a WebSocket"):
        iw.tts.stream("Hi.", max_buffer_delay_ms=5, method="http")
    with pytest.raises(ConfigError, match="buffer_char_threshold is for a WebSocket"):
        iw.tts.stream("Hi.", buffer_char_threshold=5, method="http")
    with pytest.raises(ConfigError, match="method must be 'stream' or 'http', got 'ws'"):
        iw.tts.stream("Hi.", method="ws")  # type: ignore[arg-type]


def test_no_secrets() -> None:
    """No error shows the key or a part of the key, even if the service repeats that part."""
    echo = f'Invalid key \\"{KEY[:4]}***\\"'
    for answer in (HEAD + audio() + fault(7, echo) + END, refusal("403 Forbidden")):
        with client_of(Service(answer)) as iw, pytest.raises(AuthError) as caught:
            iw.tts.synthesize("Hi.", method="http")

        assert KEY not in repr(caught.value) + str(caught.value)
        assert KEY[:4] + "*" not in str(caught.value)


@pytest.mark.parametrize(
    "faults", ["drop@1", "reset@1", "half_frame@1", "bad_json@1", "error:13@1"]
)
def test_faults_of_the_emulator(faults: str) -> None:
    """Every fault of a streamed response raises an InworldError with the audio before the fault."""
    settings, synthesizer = Settings(chunk_ms=20), SpellingSynthesizer(samples=200)
    with (
        Emulator(synthesizer=synthesizer, settings=settings, faults=[faults]) as server,
        Inworld(server.api_key, base_url=server.url) as iw,
        pytest.raises(InworldError) as caught,
    ):
        iw.tts.synthesize("Hello there, this has many chunks.", method="http")

    assert isinstance(caught.value.partial, Speech)
    assert caught.value.partial.data
