"""The TTS WebSocket sends the same messages as the service in recorded conversations."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from inworld_sync.emulator import Emulator, Settings

from support.tone import ToneSynthesizer
from support.tts_client import TtsClient, kinds_of, open_tts

OK = {"code": 0, "message": "", "details": []}


def test_whole_conversation(client: TtsClient) -> None:
    """A context gets contextCreated, audio, flushCompleted, and at last contextClosed."""
    client.create()
    client.text("Hello. ")
    client.text("World.")
    client.flush()
    client.close()

    results = client.until("contextClosed")

    expected = ["contextCreated", "audioChunk", "flushCompleted", "contextClosed"]
    assert expected == kinds_of(results)
    assert all(result["status"] == OK for result in results)


def test_empty_bodies(client: TtsClient) -> None:
    """The bodies of flushCompleted and contextClosed are empty objects."""
    client.create()
    client.text("Hi.")
    client.close()

    results = client.until("contextClosed")

    assert {"contextId": "c1", "flushCompleted": {}, "status": OK} == results[-2]
    assert {"contextId": "c1", "contextClosed": {}, "status": OK} == results[-1]


def test_context_created_has_the_captured_fields(client: TtsClient) -> None:
    """contextCreated has the request's fields, and the fields that the service always sends."""
    config = {
        "voiceId": "Aarav",
        "modelId": "inworld-tts-1.5-mini",
        "audioConfig": {"audioEncoding": "LINEAR16", "sampleRateHertz": 16000},
        "maxBufferDelayMs": 3000,
        "bufferCharThreshold": 120,
        "autoMode": True,
    }
    client.send(create=config, contextId="c1")

    expected = {
        **config,
        "applyTextNormalization": "ON",
        "synthesisContext": None,
        "pronunciationDictionarySettings": None,
    }
    assert {"contextId": "c1", "contextCreated": expected, "status": OK} == client.result()


# The same request in camelCase, in snake_case, and with both spellings in one object.
SPELLINGS = [
    {
        "contextId": "c1",
        "create": {
            "voiceId": "Hana",
            "modelId": "inworld-tts-2",
            "audioConfig": {"audioEncoding": "PCM", "sampleRateHertz": 16000},
            "timestampType": "WORD",
            "autoMode": True,
        },
    },
    {
        "context_id": "c1",
        "create": {
            "voice_id": "Hana",
            "model_id": "inworld-tts-2",
            "audio_config": {"audio_encoding": "PCM", "sample_rate_hertz": 16000},
            "timestamp_type": "WORD",
            "auto_mode": True,
        },
    },
    {
        "context_id": "c1",
        "create": {
            "voice_id": "Hana",
            "modelId": "inworld-tts-2",
            "audio_config": {"audioEncoding": "PCM", "sample_rate_hertz": 16000},
            "timestampType": "WORD",
            "auto_mode": True,
        },
    },
]


@pytest.mark.parametrize("request_", SPELLINGS, ids=["camel", "snake", "mixed"])
def test_spellings(client: TtsClient, request_: dict[str, Any]) -> None:
    """Keys may be in camelCase or snake_case, and responses are always in camelCase."""
    client.send(**request_)

    created = client.result()["contextCreated"]

    assert "Hana" == created["voiceId"]
    assert {"audioEncoding": "PCM", "sampleRateHertz": 16000} == created["audioConfig"]
    assert ("WORD", True) == (created["timestampType"], created["autoMode"])


@pytest.mark.parametrize(
    ("text", "flush", "close"),
    [
        ("send_text", "flush_context", "close_context"),
        ("sendText", "flushContext", "closeContext"),
    ],
)
def test_verbs_in_either_case(client: TtsClient, text: str, flush: str, close: str) -> None:
    """The names of commands may be in camelCase or snake_case, too."""
    client.create()
    client.send(**{text: {"text": "Hi."}, "contextId": "c1"})
    client.send(**{flush: {}, "contextId": "c1"})
    client.send(**{close: {}, "contextId": "c1"})

    expected = ["contextCreated", "audioChunk", "flushCompleted", "contextClosed"]
    assert expected == kinds_of(client.until("contextClosed"))


def test_text_with_flush_in_one_message(client: TtsClient) -> None:
    """A send_text message may contain flush_context."""
    client.create()
    client.send(context_id="c1", send_text={"text": "Hi", "flush_context": {}})

    expected = ["contextCreated", "audioChunk", "flushCompleted"]
    assert expected == kinds_of(client.until("flushCompleted"))


@pytest.mark.parametrize("context_id", ["a b", "ünï-コ", "x" * 500, "1"])
def test_context_id_is_echoed_verbatim(client: TtsClient, context_id: str) -> None:
    """Every message has the context id of the client."""
    client.create(context_id)
    client.text("Hi.", context_id)
    client.close(context_id)

    results = client.until("contextClosed", context_id)

    assert {context_id} == {result["contextId"] for result in results}


def test_single_context_without_an_id(client: TtsClient) -> None:
    """
    If the client sends no id, the server makes an id. With one open context, requests need no id.
    """
    client.send(create={"voiceId": "Ashley", "modelId": "inworld-tts-2"})
    context_id = client.result()["contextId"]
    client.send(send_text={"text": "Hi."})
    client.send(flush_context={})
    client.send(close_context={})

    results = client.until("contextClosed", context_id)

    assert context_id
    assert ["audioChunk", "flushCompleted", "contextClosed"] == kinds_of(results, context_id)


def test_empty_text_is_accepted(client: TtsClient) -> None:
    """Empty text causes no error and no audio."""
    client.create()
    client.text("")
    client.close()

    assert ["contextCreated", "contextClosed"] == kinds_of(client.until("contextClosed"))


def test_flush_of_nothing(client: TtsClient) -> None:
    """Each flush_context gets a response, even without text."""
    client.create()
    client.flush()

    assert ["contextCreated", "flushCompleted"] == kinds_of(client.until("flushCompleted"))


def test_flush_of_nothing_can_get_no_response() -> None:
    """With empty_flush_completes=False, a flush without text gets no response."""
    settings = Settings(empty_flush_completes=False)
    with (
        Emulator(synthesizer=ToneSynthesizer(), settings=settings) as server,
        open_tts(server) as client,
    ):
        client.create()
        client.flush()
        client.close()

        assert ["contextCreated", "contextClosed"] == kinds_of(client.until("contextClosed"))


def test_usage_is_on_the_first_chunk(client: TtsClient) -> None:
    """The first chunk of a flush counts all characters of the flush. Other chunks count 0."""
    client.create()
    client.text("Twenty-nine characters, fine.")
    client.flush()

    results = client.until("flushCompleted")[1:-1]

    usages = [result["audioChunk"]["usage"] for result in results]
    assert {"processedCharactersCount": 29, "modelId": "inworld-tts-2"} == usages[0]
    assert len(usages) > 2
    assert {0} == {usage["processedCharactersCount"] for usage in usages[1:]}


def test_two_flushes(client: TtsClient) -> None:
    """Each flush has its own audio, its own usage and its own end."""
    client.create()
    for text in ("One.", "Two, three."):
        client.text(text)
        client.flush()
    first, second = client.until("flushCompleted"), client.until("flushCompleted")

    assert 4 == first[1]["audioChunk"]["usage"]["processedCharactersCount"]
    assert 11 == second[0]["audioChunk"]["usage"]["processedCharactersCount"]


def test_close_speaks_buffered_text(client: TtsClient) -> None:
    """close_context flushes first, and contextClosed follows the last audio."""
    client.create()
    client.text("Not flushed")
    client.close()

    expected = ["contextCreated", "audioChunk", "flushCompleted", "contextClosed"]
    assert expected == kinds_of(client.until("contextClosed"))


def test_contexts_interleave(client: TtsClient) -> None:
    """Five contexts speak at once on one connection. The messages of each context stay in order."""
    names = [f"c{number}" for number in range(5)]
    for name in names:
        client.create(name)
    for name in names:
        client.text("A rather long sentence for every one of them. " * 4, name)
        client.close(name)
    results = []
    while len([result for result in results if "contextClosed" in result]) < len(names):
        results.append(client.result())

    expected = ["contextCreated", "audioChunk", "flushCompleted", "contextClosed"]
    assert all(expected == kinds_of(results, name) for name in names)
    speakers = [result["contextId"] for result in results if "audioChunk" in result]
    changes = sum(one != other for one, other in itertools.pairwise(speakers))
    assert changes > len(names)


def test_context_can_be_created_again_after_its_end(client: TtsClient) -> None:
    """The id of a closed context can be used again."""
    client.create()
    client.close()
    client.until("contextClosed")
    client.create()

    assert "contextCreated" in client.result()


def test_cancel_context() -> None:
    """cancel_context stops the speech, drops all text, and closes the context."""
    settings = Settings(pace=1)
    with (
        Emulator(synthesizer=ToneSynthesizer(), settings=settings) as server,
        open_tts(server) as client,
    ):
        client.create()
        for _ in range(3):
            client.text("Half a minute of speech, said at its own pace. " * 20)
            client.flush()
        client.result(), client.result()
        client.send(cancel_context={}, contextId="c1")
        results = client.until("contextClosed")

    assert len(results) < 5
    assert not any("flushCompleted" in result for result in results)


def test_update_config(client: TtsClient) -> None:
    """update_config speaks buffered text with the old settings, then returns the new settings."""
    client.create()
    client.text("Old voice")
    client.send(
        update_config={"voiceId": "Dennis", "audioConfig": {"speakingRate": 1.5}},
        contextId="c1",
    )

    results = client.until("contextUpdated")

    assert ["contextCreated", "audioChunk", "flushCompleted", "contextUpdated"] == kinds_of(results)
    updated = results[-1]["contextUpdated"]
    assert ("Dennis", "inworld-tts-2") == (updated["voiceId"], updated["modelId"])
    expected = {"audioEncoding": "PCM", "sampleRateHertz": 24000, "speakingRate": 1.5}
    assert expected == updated["audioConfig"]


def test_retired_models_have_successors(client: TtsClient) -> None:
    """The name of a retired model is accepted, and the successor of the model is used."""
    client.create(modelId="inworld-tts-1-max")

    assert "inworld-tts-1.5-max" == client.result()["contextCreated"]["modelId"]


def test_unknown_fields_are_ignored(client: TtsClient) -> None:
    """An unknown field, such as "bitrate" in small letters, is ignored."""
    client.create(fooBar=1, audioConfig={"audioEncoding": "PCM", "bitrate": 64000})

    created = client.result()["contextCreated"]

    assert {"audioEncoding": "PCM"} == created["audioConfig"]
    assert "fooBar" not in created


def test_status_inside_the_audio_chunk() -> None:
    """With status_in_audio_chunk, each audio chunk has a second status, as in the documents."""
    settings = Settings(status_in_audio_chunk=True)
    with (
        Emulator(synthesizer=ToneSynthesizer(), settings=settings) as server,
        open_tts(server) as client,
    ):
        client.create()
        client.text("Hi.")
        client.flush()

        results = client.until("flushCompleted")

    assert OK == results[1]["audioChunk"]["status"] == results[1]["status"]
