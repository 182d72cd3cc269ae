"""The TTS WebSocket reports errors, and the connection continues after most errors."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedOK

from inworld_sync.emulator import Emulator, Settings

from support.tone import ToneSynthesizer
from support.tts_client import TtsClient, kinds_of, open_tts


def refused(client: TtsClient) -> tuple[str, int, str]:
    """Return context, code and message of the next result, which must be an error."""
    result = client.result()
    assert {"contextId", "status"} == set(result)
    assert [] == result["status"]["details"]
    return result["contextId"], result["status"]["code"], result["status"]["message"]


# (request, code, message). No context is open when the request is sent.
UNKNOWN_CONTEXT = [
    ({"send_text": {"text": "Hi"}, "contextId": "X"}, 5, "context X not found (payload=SEND_TEXT)"),
    ({"flush_context": {}, "contextId": "X"}, 5, "context X not found"),
    ({"close_context": {}, "contextId": "X"}, 5, "context X not found"),
    (
        {"send_text": {"text": "Hi"}},
        3,
        "context_id is required when 0 contexts are open (payload=SEND_TEXT)",
    ),
]


@pytest.mark.parametrize(("request_", "code", "message"), UNKNOWN_CONTEXT)
def test_unknown_context(
    client: TtsClient, request_: dict[str, Any], code: int, message: str
) -> None:
    """A request for a context that is not open is refused, and the connection continues."""
    client.send(**request_)

    assert (request_.get("contextId", ""), code, message) == refused(client)
    client.create()
    assert "contextCreated" in client.result()


def test_two_contexts_need_an_id(client: TtsClient) -> None:
    """If two contexts are open, a request must have an id."""
    client.create("c1")
    client.create("c2")
    client.send(send_text={"text": "Hi"})
    client.result(), client.result()

    assert "context_id is required when 2 contexts are open" in refused(client)[2]


def test_closing_twice(client: TtsClient) -> None:
    """A second close of the same context is refused with code 5."""
    client.create()
    client.close()
    client.until("contextClosed")
    client.close()

    assert ("c1", 5, "context c1 not found") == refused(client)


def test_text_after_close(client: TtsClient) -> None:
    """A closing context accepts no text."""
    client.create()
    client.text("A long sentence, to be busy for a while. " * 10)
    client.close()
    client.text("Too late.")
    results = client.until("contextClosed")

    late = [result["status"] for result in results if set(result) == {"contextId", "status"}]
    assert ["context c1 not found (payload=SEND_TEXT)"] == [status["message"] for status in late]


def test_creating_twice(client: TtsClient) -> None:
    """An id that is in use cannot be created again."""
    client.create()
    client.create()
    client.result()

    assert ("c1", 6, "context c1 already exists") == refused(client)


def test_sixth_context(client: TtsClient) -> None:
    """A connection may have five contexts. A sixth context is refused, and the five continue."""
    for number in range(6):
        client.create(f"c{number}")
    created = [client.result() for _ in range(5)]

    assert all("contextCreated" in result for result in created)
    expected = (
        "You have reached the limit of 5 TTS contexts per connection. "
        "Please close other contexts on this connection to continue."
    )
    assert ("c5", 8, expected) == refused(client)
    client.close("c0")
    client.until("contextClosed", "c0")
    client.create("c5")
    assert "contextCreated" in client.result()


def test_context_limit_is_a_setting() -> None:
    """max_contexts limits the contexts of a connection, including contexts that are closing."""
    with (
        Emulator(synthesizer=ToneSynthesizer(), settings=Settings(max_contexts=1)) as server,
        open_tts(server) as client,
    ):
        client.create("c1")
        client.create("c2")
        client.result()

        assert 8 == refused(client)[1]


@pytest.mark.parametrize("combined", [True, False])
def test_text_above_the_limit(client: TtsClient, combined: bool) -> None:
    """2001 characters are refused with code 3, and the flush is not completed."""
    client.create()
    if combined:
        client.send(send_text={"text": "a" * 2001, "flush_context": {}}, contextId="c1")
    else:
        client.text("a" * 2001)
        client.flush()
    client.result()

    assert ("c1", 3, "text length should not exceed 2000 characters.") == refused(client)
    client.text("Short.")
    client.close()
    expected = ["audioChunk", "flushCompleted", "contextClosed"]
    assert expected == kinds_of(client.until("contextClosed"))


def test_text_at_the_limit(client: TtsClient) -> None:
    """2000 characters are spoken."""
    client.create()
    client.send(send_text={"text": "a " * 1000, "flush_context": {}}, contextId="c1")

    results = client.until("flushCompleted")

    assert 2000 == results[1]["audioChunk"]["usage"]["processedCharactersCount"]


# (fields that differ from a good create, code, a part of the message)
BAD_CONFIG = [
    ({"voiceId": "Nobody"}, 5, "Unknown voice: Nobody not found!"),
    ({"voiceId": None}, 3, "voice_id"),
    ({"audioConfig": {"sampleRateHertz": 7999}}, 3, "sample_rate_hertz"),
    ({"audioConfig": {"sampleRateHertz": 48001}}, 3, "sample_rate_hertz"),
    ({"audioConfig": {"speakingRate": 0.4}}, 3, "speakingRate"),
    ({"audioConfig": {"speakingRate": 1.6}}, 3, "speakingRate"),
    ({"audioConfig": {"audioEncoding": "OPUS"}}, 3, "audioEncoding"),
    ({"temperature": 2.5}, 3, "temperature"),
    ({"temperature": -1}, 3, "temperature"),
    ({"timestampType": "SYLLABLE"}, 3, "timestampType"),
    ({"timestampTransportStrategy": "NEVER"}, 3, "timestampTransportStrategy"),
    ({"deliveryMode": "FAST"}, 3, "deliveryMode"),
    ({"applyTextNormalization": "MAYBE"}, 3, "applyTextNormalization"),
    ({"bufferCharThreshold": 1001}, 3, "buffer_char_threshold"),
    ({"maxBufferDelayMs": -1}, 3, "max_buffer_delay_ms"),
]


@pytest.mark.parametrize(("fields", "code", "words"), BAD_CONFIG)
def test_refused_config(client: TtsClient, fields: dict[str, Any], code: int, words: str) -> None:
    """
    If a value is out of range, only the context is refused. Later requests find no such context.
    """
    client.create(**fields)
    context_id, got, message = refused(client)

    assert ("c1", code) == (context_id, got)
    assert words in message
    client.text("Hi.")
    assert 5 == refused(client)[1]


# Values at both ends of each range, and the names that mean the default.
GOOD_CONFIG = [
    {"audioConfig": {"sampleRateHertz": 8000, "audioEncoding": "PCM"}},
    {"audioConfig": {"sampleRateHertz": "48000", "audioEncoding": "PCM"}},
    {"audioConfig": {"speakingRate": 0.5, "audioEncoding": "PCM"}},
    {"audioConfig": {"speakingRate": 1.5, "audioEncoding": "PCM"}},
    {"audioConfig": {"audioEncoding": "AUDIO_ENCODING_UNSPECIFIED"}},
    {"temperature": 2, "deliveryMode": "CREATIVE", "language": "en-US"},
    {"timestampType": "TIMESTAMP_TYPE_UNSPECIFIED"},
    {"applyTextNormalization": "APPLY_TEXT_NORMALIZATION_UNSPECIFIED"},
    {"bufferCharThreshold": 1000, "maxBufferDelayMs": 0},
    {"timestampType": None, "autoMode": None},
]


@pytest.mark.parametrize("fields", GOOD_CONFIG)
def test_accepted_config(client: TtsClient, fields: dict[str, Any]) -> None:
    """The ends of each range are accepted."""
    client.create(**fields)

    assert "contextCreated" in client.result()


MALFORMED = {
    "code": 3,
    "message": "invalid WebSocket request for the selected response protocol",
    "status": "INVALID_ARGUMENT",
}


@pytest.mark.parametrize(
    "frame", ["{", "", "[]", "null", '"text"', "nonsense", b"\x00\x01", b'{"create":{}}']
)
def test_malformed_frame(client: TtsClient, frame: str | bytes) -> None:
    """Text that is not a JSON object, and every binary frame, gets an error that is not fatal."""
    client.connection.send(frame)

    assert {"error": MALFORMED} == client.receive()
    client.create()
    assert "contextCreated" in client.result()


@pytest.mark.parametrize(
    "fields",
    [
        {"applyTextNormalization": True},
        {"autoMode": "yes"},
        {"audioConfig": "PCM"},
        {"audioConfig": {"sampleRateHertz": True}},
        {"audioConfig": {"sampleRateHertz": 24000.5}},
        {"voiceId": 7},
        {"temperature": "warm"},
    ],
)
def test_wrong_json_type_breaks_create(client: TtsClient, fields: dict[str, Any]) -> None:
    """A value of the wrong type makes the request unreadable, so no context is created."""
    client.create(**fields)
    client.text("Hi.")

    assert {"error": MALFORMED} == client.receive()
    assert ("c1", 5, "context c1 not found (payload=SEND_TEXT)") == refused(client)


def test_unknown_message_is_ignored(client: TtsClient) -> None:
    """Valid JSON that is not a request gets no response."""
    client.send(foo="bar")

    assert client.is_silent(client.ask)


@pytest.mark.parametrize("model", ["gpt-9", "", None])
def test_unknown_model_is_fatal(client: TtsClient, model: str | None) -> None:
    """An unknown model gets a top-level error, and the connection is closed with 1000."""
    client.create(modelId=model)

    error = client.receive()["error"]

    assert (3, []) == (error["code"], error["details"])
    assert "model" in error["message"]
    with pytest.raises(ConnectionClosedOK) as caught:
        client.receive()
    assert caught.value.rcvd is not None
    assert 1000 == caught.value.rcvd.code


def test_half_a_surrogate_pair(client: TtsClient) -> None:
    """A context id that is not valid text does not end the connection."""
    client.connection.send('{"close_context":{},"contextId":"\\ud800"}')

    assert ("?", 5) == refused(client)[:2]
