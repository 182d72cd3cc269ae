"""
The emulator has the behavior on which clients of the service rely. Settings change this behavior.
"""

from __future__ import annotations

import base64
import json
import urllib.request
from typing import Any

import pytest
from websockets.sync.client import connect

from inworld_sync.emulator import Emulator, RealtimeSettings, Settings
from inworld_sync.emulator.realtime.input_audio import _common_words
from inworld_sync.emulator.recognition.engine import SpeechEngine

from support.realtime_client import Event, open_realtime
from support.spoken_words import NumberedRecognizer, NumberedVad, spoken_turns
from support.tone import ToneSynthesizer
from support.tts_client import TtsClient, open_tts

REQUEST = {
    "text": "Hello, my world!",
    "voiceId": "Jason",
    "modelId": "inworld-tts-2",
    "audioConfig": {"audioEncoding": "PCM", "sampleRateHertz": 24000},
}
OPENAI_PATH = "/v1/realtime?model=gpt-realtime"


def serve(**settings: Any) -> Emulator:
    return Emulator(synthesizer=ToneSynthesizer(), settings=Settings(**settings))


def lines_of(server: Emulator, **fields: Any) -> list[dict[str, Any]]:
    """Return the lines of a streamed response."""
    request = urllib.request.Request(
        server.url + "/tts/v1/voice:stream",
        json.dumps({**REQUEST, **fields}).encode(),
        {"Authorization": f"Basic {server.api_key}"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return [json.loads(line)["result"] for line in response]


def alignment_of(client: TtsClient, text: str, kind: str = "wordAlignment", **fields: Any) -> Any:
    """Speak a text in a new context. Return the first alignment."""
    client.create(**fields)
    client.text(text)
    client.flush()
    chunks = [result["audioChunk"] for result in client.until("flushCompleted")[1:-1]]
    return next(chunk["timestampInfo"][kind] for chunk in chunks if chunk["timestampInfo"])


# TTS.


@pytest.mark.parametrize("null", [False, True])
def test_no_times_over_http(null: bool) -> None:
    """A line without times has no timestampInfo. http_null_timestamps sets the field to null."""
    with serve(http_null_timestamps=null) as server:
        lines = lines_of(server)

    assert all(("timestampInfo" in line) == null for line in lines)


def test_usage_of_later_lines() -> None:
    """With http_usage_without_model, only the usage of the first line names the model."""
    with serve(http_usage_without_model=True) as server:
        first, *others = [line["usage"] for line in lines_of(server)]

    assert "inworld-tts-2" == first["modelId"]
    assert others
    assert all({"processedCharactersCount": 0} == usage for usage in others)


def test_tokens() -> None:
    """Words, punctuation and white space are entries in the order of the text."""
    text = "Hello, it's  $12.50 (now)!"
    with serve(chunk_ms=5000) as server, open_tts(server) as client:
        found = alignment_of(client, text, timestampType="WORD")

    tokens = ["Hello", ",", " ", "it's", "  ", "$", "12.50", " ", "(", "now", ")", "!"]
    assert tokens == found["words"]
    starts, ends = found["wordStartTimeSeconds"], found["wordEndTimeSeconds"]
    assert sorted(starts) == starts
    spoken = [end - start > 0 for start, end in zip(starts, ends, strict=True)]
    words = {"Hello", "it's", "12.50", "now"}
    assert [token in words for token in tokens] == spoken


def test_words_with_their_punctuation() -> None:
    """With word_tokens=False, a word includes its punctuation, and white space is omitted."""
    with serve(word_tokens=False, chunk_ms=5000) as server, open_tts(server) as client:
        found = alignment_of(client, "Hello, it's  $12.50 (now)!", timestampType="WORD")

    assert ["Hello,", "it's", "$12.50", "(now)!"] == found["words"]


@pytest.mark.parametrize("rate_hz", [11025, 12345, 47999])
def test_closed_list_of_sample_rates(rate_hz: int) -> None:
    """A sample rate outside the service's list is refused, unless any_sample_rate is set."""
    audio = {"audioEncoding": "PCM", "sampleRateHertz": rate_hz}
    with serve() as server, open_tts(server) as client:
        client.create(audioConfig=audio)
        assert 3 == client.result()["status"]["code"]
    with serve(any_sample_rate=True) as server, open_tts(server) as client:
        client.create(audioConfig=audio)
        assert "contextCreated" in client.result()


@pytest.mark.parametrize(
    "fields",
    [
        {"deliveryMode": "EXPRESSIVE"},
        {"synthesisContext": {"previousRequests": [{"text": "x" * 2000}]}},
        {"synthesisContext": {}},
        {"enhanceGeneration": True},
        {"instruction": "Speak slowly."},
        {"lipsyncConfig": {}},
        {"lipsyncConfig": {"visemeSet": "OPENXR"}},
        {"voiceId": "Alex"},
    ],
)
def test_accepted_fields(client: TtsClient, fields: dict[str, Any]) -> None:
    """Fields of the documentation are accepted, and contextCreated returns these fields."""
    client.create(**fields)

    created = client.result()["contextCreated"]
    assert fields.items() <= created.items()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"synthesisContext": {"previousRequests": [{"text": "x" * 1500}] * 2}},
            "synthesis_context should not exceed 2000 characters",
        ),
        ({"lipsyncConfig": {"visemeSet": "ARKIT"}}, 'invalid value "ARKIT" for viseme_set'),
    ],
)
def test_refused_fields(client: TtsClient, fields: dict[str, Any], words: str) -> None:
    """A value that the service refuses causes a status with code 3."""
    client.create(**fields)

    status = client.result()["status"]
    assert (3, words) == (status["code"], status["message"])


@pytest.mark.parametrize(
    "value", ["text", {"previousRequests": "text"}, {"previousRequests": ["text"]}]
)
def test_wrong_type_of_the_synthesis_context(client: TtsClient, value: object) -> None:
    """If the synthesis context has a wrong type, the answer is an error with code 3."""
    client.create(synthesisContext=value)

    assert 3 == client.receive()["error"]["code"]


VISEMES = {"sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou"}


def test_lipsync(speech_server: Emulator) -> None:
    """lipsyncConfig adds the visemes of OpenXR, even if no timestamps are requested."""
    with open_tts(speech_server) as client:
        found = alignment_of(client, "Bob may go.", "lipsyncAlignment", lipsyncConfig={})

    shapes = found["visemes"]
    assert set(shapes) <= VISEMES
    assert "PP" == next(shape for shape in shapes if shape != "sil")
    starts, ends = found["visemeStartTimeSeconds"], found["visemeEndTimeSeconds"]
    assert len(shapes) == len(starts) == len(ends)
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


# Realtime.


def audio_deltas(events: list[Event]) -> list[Event]:
    return [event for event in events if event["type"] == "response.output_audio.delta"]


def test_times_of_audio_deltas() -> None:
    """
    With timestamp_type in providerData.tts, audio deltas have times that start at 0 in each
    sentence.
    """
    with serve(chunk_ms=5000) as server, open_realtime(server) as client:
        client.update(providerData={"tts": {"timestamp_type": "WORD"}})
        deltas = audio_deltas(client.ask("Say one two. Three four."))

    found = [delta["timestamp_info"]["word_alignment"] for delta in deltas]
    assert [["one", " ", "two", "."], [" ", "Three", " ", "four", "."]] == [
        one["words"] for one in found
    ]
    assert all(0 == one["word_start_time_seconds"][0] for one in found)


def test_no_times_by_default(tone_server: Emulator) -> None:
    """Without timestamp_type, audio deltas have no times."""
    with open_realtime(tone_server) as client:
        deltas = audio_deltas(client.ask("Say one two."))

    assert deltas
    assert not any("timestamp_info" in delta for delta in deltas)


def test_times_in_camel_case() -> None:
    """With camel_case_times, the names of the times are in camelCase, as in TTS."""
    with serve(realtime=RealtimeSettings(camel_case_times=True)) as server:
        with open_realtime(server) as client:
            client.update(providerData={"tts": {"timestamp_type": "CHARACTER"}})
            delta = audio_deltas(client.ask("Say one."))[0]

    assert list("one.") == delta["timestampInfo"]["characterAlignment"]["characters"]


def openai_server(**settings: Any) -> Emulator:
    engine = SpeechEngine(NumberedRecognizer(), new_vad=NumberedVad)
    return Emulator(
        synthesizer=ToneSynthesizer(), speech_engine=engine, settings=Settings(**settings)
    )


def turn_of(server: Emulator) -> list[Event]:
    """Speak a turn on the path of OpenAI's service. Return the events of the turn."""
    pcm, _ = spoken_turns(6)
    headers = {"Authorization": f"Bearer {server.api_key}"}
    with open_realtime(server, OPENAI_PATH, headers) as client:
        client.update(
            audio={
                "input": {
                    "format": {"type": "audio/pcm", "rate": 16000},
                    "turn_detection": {"type": "server_vad", "create_response": False},
                }
            }
        )
        client.hear(pcm)
        return client.until("conversation.item.input_audio_transcription.completed")


def test_transcript_on_the_path_of_openai() -> None:
    """The joined deltas of a transcript are the whole transcript, and usage is sent."""
    with openai_server() as server:
        events = turn_of(server)

    deltas = [event["delta"] for event in events if event["type"].endswith("transcription.delta")]
    completed = events[-1]
    assert len(deltas) > 1
    assert completed["transcript"] == "".join(deltas)
    assert "duration" == completed["usage"]["type"]
    assert 1 < completed["usage"]["seconds"] < 4


def test_common_words() -> None:
    """The common part of two transcripts has only whole words, so no sent word changes later."""
    assert "I went to" == _common_words("I went to sea", "I went to see him")
    assert "" == _common_words("", "Hello")


@pytest.mark.parametrize("form", ["subprotocol", "query", "beta"])
def test_key_of_a_browser(tone_server: Emulator, form: str) -> None:
    """A browser may send the key in a subprotocol, as OpenAI's clients do, or in the query."""
    key = tone_server.api_key.rstrip("=")
    offered = ["realtime", f"openai-insecure-api-key.{key}"]
    url = tone_server.ws_url + OPENAI_PATH
    if form == "query":
        offered, url = ["realtime"], f"{url}&token={key}"
    if form == "beta":
        offered.append("openai-beta.realtime-v1")
    with connect(url, subprotocols=offered, open_timeout=30) as connection:  # type: ignore[arg-type]
        assert "session.created" == json.loads(connection.recv(timeout=30))["type"]
        assert "realtime" == connection.subprotocol
        item = {"type": "message", "role": "user", "content": []}
        connection.send(json.dumps({"type": "conversation.item.create", "item": item}))
        kind = json.loads(connection.recv(timeout=30))["type"]

    assert f"conversation.item.{'created' if form == 'beta' else 'added'}" == kind


def test_audio_is_whole_samples() -> None:
    """Every chunk of PCM has whole samples at every rate of the list."""
    with serve() as server:
        for rate_hz in (8000, 22050, 44100):
            audio = {"audioEncoding": "PCM", "sampleRateHertz": rate_hz}
            for line in lines_of(server, audioConfig=audio):
                assert 0 == len(base64.b64decode(line["audioContent"])) % 2
