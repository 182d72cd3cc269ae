"""The STT WebSocket sends and accepts every message of its protocol."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedOK

from inworld_sync.emulator import Emulator, Settings
from inworld_sync.emulator.status import Refused
from inworld_sync.emulator.stt.service import _ChunkRate

from support.scripted_recognizer import ScriptedRecognizer, engine_for, sound
from support.stt_client import SttClient, finals_of, open_stt

SONIOX = "soniox/stt-rt-v4"
SILENCE = sound(40, 0.0)
HELLO = sound(10, 0.0) + sound(20, 1.0, word=1) + SILENCE


@contextmanager
def client_of(**settings: Any) -> Iterator[SttClient]:
    """Yield a client of a server whose recognizer returns two words."""
    engine = engine_for(ScriptedRecognizer("Hello.", "Bye."))
    with Emulator(speech_engine=engine, settings=Settings(**settings)) as server:
        with open_stt(server) as client:
            yield client


@pytest.fixture
def client() -> Iterator[SttClient]:
    with client_of() as client:
        yield client


def fatal(client: SttClient) -> dict[str, Any]:
    """Return the error of the next message. A CLOSE frame with code 1000 must follow."""
    message = client.receive()
    assert "error" in message, message
    with pytest.raises(ConnectionClosedOK) as caught:
        client.receive()
    assert caught.value.rcvd is not None
    assert 1000 == caught.value.rcvd.code
    error = message["error"]
    assert isinstance(error, dict)
    return error


def is_silent(client: SttClient) -> bool:
    """Return whether the server sends nothing before the response to an invalid request."""
    client.connection.send("{")
    return "error" in client.receive()


def test_a_turn() -> None:
    """A turn has these messages: start, partial transcripts, stop, final transcript, usage."""
    with client_of() as client:
        _check_turn(client)


def _check_turn(client: SttClient) -> None:
    client.configure(modelId=SONIOX, includeWordTimestamps=True)
    client.audio(HELLO)

    empty = {"isFinal": False, "wordTimestamps": [], "voiceProfile": None, "silenceDurationMs": 0}
    word = {"word": "Hello.", "confidence": 0.5, "startTimeMs": 320, "endTimeMs": 352}
    assert {"speechStarted": {"startTimeMs": 320, "confidence": 1.0}} == client.result()
    assert {"transcription": {"transcript": "Hello.", **empty}} == client.result()
    assert {"speechStopped": {"silenceDurationMs": 320}} == client.result()
    final = {"transcript": "Hello.", **empty, "isFinal": True, "wordTimestamps": [word]}
    assert {"transcription": final} == client.result()
    client.close_stream()
    usage = {"transcribedAudioMs": 1000, "modelId": SONIOX}
    assert {"usage": usage} == client.result()


def test_config_is_not_answered(client: SttClient) -> None:
    """Neither the configuration nor silence gets a response."""
    client.configure()
    client.audio(SILENCE)

    assert is_silent(client)


def test_words_only_on_request(client: SttClient) -> None:
    """Without includeWordTimestamps, a final transcript has no words."""
    client.configure(modelId=SONIOX)
    client.audio(HELLO)

    final = next(r for r in client.rest() if r.get("transcription", {}).get("isFinal"))
    assert [] == final["transcription"]["wordTimestamps"]


def test_snake_case(client: SttClient) -> None:
    """Requests may be written in snake_case, or mixed with camelCase."""
    config = {"model_id": "inworld/inworld-stt-1", "audio_encoding": "LINEAR16"}
    client.send(transcribe_config={**config, "includeWordTimestamps": True})
    client.send(audio_chunk={"content": base64.b64encode(HELLO).decode()})
    client.send(end_turn={})
    client.send(close_stream={})

    results = [client.result()]
    while "usage" not in results[-1]:
        results.append(client.result())
    assert ["Hello."] == finals_of(results)


def test_end_turn(client: SttClient) -> None:
    """endTurn ends the turn at once, without silence."""
    client.configure()
    client.audio(sound(10, 0.0) + sound(20, 1.0, word=1))
    client.send(endTurn={})

    results = [client.result()]
    while not results[-1].get("transcription", {}).get("isFinal"):
        results.append(client.result())
    assert ["Hello."] == finals_of(results)
    assert {"speechStopped": {"silenceDurationMs": 0}} in results


def test_end_turn_in_silence(client: SttClient) -> None:
    """endTurn without an open turn gets no response."""
    client.configure()
    client.send(endTurn={})

    assert is_silent(client)


def test_manual_turns(client: SttClient) -> None:
    """With a vadThreshold of 0, only the client ends turns, and there are no speech events."""
    client.configure(inworldSttV1Config={"vadThreshold": 0})
    client.audio(HELLO + sound(20, 1.0, word=2) + SILENCE)
    client.send(endTurn={})
    client.send(endTurn={})

    results = client.rest()
    assert ["Hello. Bye.", ""] == finals_of(results)
    assert {"transcription", "usage"} == {kind for result in results for kind in result}


def test_turn_settings(client: SttClient) -> None:
    """A pause that is shorter than the configured silence does not end a turn."""
    client.configure(inworldSttV1Config={"minEndOfTurnSilenceWhenConfident": 2000})
    client.audio(HELLO + sound(20, 1.0, word=2) + SILENCE)

    assert ["Hello. Bye."] == finals_of(client.rest())


def test_empty_final(client: SttClient) -> None:
    """Noise that is detected as speech gets an empty final transcript, which ends the turn."""
    client.configure()
    client.audio(sound(10, 0.0) + sound(20, 1.0) + SILENCE)

    results = client.rest()
    assert [""] == finals_of(results)
    assert "speechStarted" in results[0]
    assert {"usage": {"transcribedAudioMs": 1000, "modelId": "inworld/inworld-stt-1"}} in results


def test_usage_only_after_close_stream(client: SttClient) -> None:
    """usage is sent once, after closeStream, and counts only speech, in steps of 50 ms."""
    client.configure()
    client.audio(SILENCE * 3 + HELLO + SILENCE * 3)

    results = client.rest()
    assert 1 == sum("usage" in result for result in results)
    assert 1000 == results[-1]["usage"]["transcribedAudioMs"]


def test_stays_open_after_usage(client: SttClient) -> None:
    """The server does not close the connection after usage, and ignores further audio."""
    client.configure()
    client.rest()
    client.audio(HELLO)
    client.close_stream()

    assert is_silent(client)


def test_voice_profile(client: SttClient) -> None:
    """Final transcripts have the requested number of labels of the voice profile."""
    client.configure(voiceProfileConfig={"enableVoiceProfile": True, "topN": 2})
    client.audio(HELLO)

    final = next(r for r in client.rest() if r.get("transcription", {}).get("isFinal"))
    profile = final["transcription"]["voiceProfile"]
    assert {"age", "gender", "emotion", "vocalStyle", "accent"} == set(profile)
    assert all(2 == len(labels) for labels in profile.values())
    assert all({"label", "confidence"} == set(guess) for guess in profile["age"])


@pytest.mark.parametrize("top_n", [None, 2])
def test_size_of_the_voice_profile(client: SttClient, top_n: int | None) -> None:
    """Without topN, a profile has at most ten labels of each kind. The emulator has three ages."""
    profile = {"enableVoiceProfile": True, "topN": top_n}
    client.configure(voiceProfileConfig=profile)
    client.audio(HELLO)

    final = next(r for r in client.rest() if r.get("transcription", {}).get("isFinal"))
    assert (top_n or 3) == len(final["transcription"]["voiceProfile"]["age"])


def test_voice_profile_of_another_model(client: SttClient) -> None:
    """Only the service's own model reports a voice profile."""
    client.configure(modelId=SONIOX, voiceProfileConfig={"enableVoiceProfile": True})
    client.audio(HELLO)

    final = next(r for r in client.rest() if r.get("transcription", {}).get("isFinal"))
    assert final["transcription"]["voiceProfile"] is None


@pytest.mark.parametrize(
    ("model", "is_set", "words"), [(None, False, 0), (None, True, 1), (SONIOX, False, 1)]
)
def test_words_of_a_model(model: str | None, is_set: bool, words: int) -> None:
    """
    The default model sends words only with stt_words_of_default_model. Other models always send
    words.
    """
    fields = {"modelId": model} if model else {}
    with client_of(stt_words_of_default_model=is_set) as client:
        client.configure(**fields, includeWordTimestamps=True)
        client.audio(HELLO)
        results = client.rest()

    final = next(r for r in results if r.get("transcription", {}).get("isFinal"))
    assert words == len(final["transcription"]["wordTimestamps"])


def test_speakers(client: SttClient) -> None:
    """With diarization, every word names its speaker."""
    client.configure(modelId=SONIOX, enableSpeakerDiarization=True, includeWordTimestamps=True)
    client.audio(HELLO)

    final = next(r for r in client.rest() if r.get("transcription", {}).get("isFinal"))
    assert ["speaker_1"] == [w["speaker"] for w in final["transcription"]["wordTimestamps"]]


# (fields of the configuration, a part of the message)
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"modelId": "inworld/stt-v1"}, 'Unsupported model "inworld/stt-v1". Supported models: http'),
    ({"modelId": "groq/whisper-large-v3"}, "Unsupported model"),
    ({"modelId": None}, "model_id is required"),
    ({"audioEncoding": None}, "audio_encoding is required"),
    ({"audioEncoding": "VORBIS"}, 'invalid value "VORBIS" for audioEncoding'),
    ({"sampleRateHertz": 1000}, "sampleRateHertz must be between 8000 and 48000"),
    ({"numberOfChannels": 9}, "numberOfChannels must be between 1 and 8"),
    ({"endOfTurnConfidenceThreshold": 2}, "endOfTurnConfidenceThreshold must be between 0 and 1"),
    ({"inworldSttV1Config": {"vadThreshold": -1}}, "vadThreshold must be between 0 and 1"),
    ({"inworldSttV1Config": {"maxTurnSilence": 99999999}}, "max_silence_ms"),
    ({"voiceProfileConfig": {"enableVoiceProfile": True, "topN": 21}}, "topN must be between"),
    ({"audioEncoding": "FLAC"}, "audio_encoding FLAC is not supported in a stream"),
    ({"prompts": ["a/b"]}, "prompts may have letters"),
    ({"prompts": ["ok", "a\nb"]}, "prompts may have letters"),
    (
        {
            "inworldSttV1Config": {"vadThreshold": 0.5},
            "sonioxConfig": {"maxEndpointDelayMs": 900},
        },
        "only one of",
    ),
    (
        {
            "inworldSttV1Config": {
                "minEndOfTurnSilenceWhenConfident": 500,
                "maxTurnSilence": 400,
            }
        },
        "must not exceed max_turn_silence",
    ),
    ({"modelId": SONIOX, "sonioxConfig": {"maxEndpointDelayMs": 400}}, "between 500 and 5000"),
    (
        {"modelId": "assemblyai/whisper-rt", "assemblyaiConfig": {"prompt": "x"}},
        "prompt is supported by assemblyai/u3-rt-pro only",
    ),
    ({"language": "fr-FR"}, "supports en only, got language 'fr-FR'"),
]


@pytest.mark.parametrize(("fields", "words"), REFUSED)
def test_refused(client: SttClient, fields: dict[str, Any], words: str) -> None:
    """A bad configuration is refused with code 3, and the connection ends."""
    client.configure(**fields)

    error = fatal(client)
    assert 3 == error["code"]
    assert words in error["message"]
    assert [] == error["details"]


# Messages that are not requests or have wrong types. The connection continues after them.
MALFORMED: list[str | bytes] = [
    "not JSON",
    "[]",
    b"binary",
    '{"transcribeConfig":[]}',
    '{"transcribeConfig":{"modelId":1}}',
    '{"transcribeConfig":{"modelId":"soniox/stt-rt-v4","audioEncoding":"LINEAR16","prompts":1}}',
]


@pytest.mark.parametrize("message", MALFORMED)
def test_malformed(client: SttClient, message: str | bytes) -> None:
    """A message that cannot be read gets code 3, and the connection continues."""
    client.connection.send(message)
    error = client.receive()["error"]
    client.configure()
    client.audio(HELLO)

    assert (3, "INVALID_ARGUMENT") == (error["code"], error["status"])
    assert ["Hello."] == finals_of(client.rest())


@pytest.mark.parametrize("content", ["?", "AAA=A", "ä", 5, ["AAAA"]])
def test_content_that_is_no_base64(client: SttClient, content: object) -> None:
    """A chunk that is not base64 gets code 3, and all other chunks are transcribed."""
    client.configure()
    client.audio(HELLO[:6400])
    client.send(audioChunk={"content": content})
    assert 3 == client.receive()["error"]["code"]
    client.audio(HELLO[6400:])

    assert ["Hello."] == finals_of(client.rest())


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_of_both_alphabets(client: SttClient, encode: Any) -> None:
    """Content may be in either base64 alphabet, with or without padding."""
    client.configure()
    client.audio(HELLO[:6400])
    client.send(audioChunk={"content": encode(HELLO[6400:]).decode().rstrip("=")})

    assert ["Hello."] == finals_of(client.rest())


def test_unknown_requests(client: SttClient) -> None:
    """Unknown JSON, and content outside of a request, get no response."""
    client.send(foo="bar")
    client.send(content="AAAA")

    assert is_silent(client)


@pytest.mark.parametrize("request_", ["audioChunk", "endTurn", "closeStream"])
def test_without_config(client: SttClient, request_: str) -> None:
    """Any request before the configuration ends the connection with code 3."""
    client.send(**{request_: {}})

    error = fatal(client)
    assert (3, "the first message must be transcribe_config") == (error["code"], error["message"])


def test_config_twice(client: SttClient) -> None:
    """A second configuration ends the connection."""
    client.configure()
    client.configure()

    assert 3 == fatal(client)["code"]


def test_cut_samples(client: SttClient) -> None:
    """A sample may be split between two chunks, and the last sample may be incomplete."""
    client.configure()
    client.audio(HELLO + b"\x01", chunk_bytes=3201)

    assert ["Hello."] == finals_of(client.rest())


def test_inactivity(client: SttClient) -> None:
    """After the configured time without audio, the turn ends, and the connection is closed."""
    client.configure(inactivityTimeoutSeconds=1)
    client.audio(sound(10, 0.0) + sound(20, 1.0, word=1))

    results = []
    with pytest.raises(ConnectionClosedOK):
        while True:
            results.append(client.result())
    assert ["Hello."] == finals_of(results)


def test_bad_key() -> None:
    """An upgrade with a bad key is accepted, and the first message is refused."""
    with Emulator(speech_engine=engine_for(ScriptedRecognizer())) as server:
        with open_stt(server, headers={"Authorization": "Basic YWJjZGVmOng="}) as client:
            client.configure()

            assert 7 == fatal(client)["code"]


def test_rate_limit() -> None:
    """A stream with too many chunks per second ends with code 8."""
    with client_of(stt_chunks_per_second=10) as client:
        client.configure()
        client.audio(bytes(3200 * 12))

        assert 8 == fatal(client)["code"]


def test_rate_of_arrival() -> None:
    """Chunks are counted when they arrive. A burst may use the limit of one second at once."""
    rate = _ChunkRate(8)
    for number in range(50):
        rate.count(number / 8)
    for _ in range(7):
        rate.count(49 / 8)

    with pytest.raises(Refused):
        rate.count(49 / 8)


def test_quirks_of_april() -> None:
    """With the settings that mimic the service in April, status and speechStarted are not sent."""
    with client_of(stt_status=False, stt_speech_started=False) as client:
        client.configure()
        client.audio(HELLO)
        client.close_stream()
        kinds = []
        while "usage" not in kinds:
            [kind] = client.receive()["result"]
            kinds.append(kind)

        assert ["transcription", "speechStopped", "transcription", "usage"] == kinds


def test_quirk_of_repeated_partials() -> None:
    """With stt_repeats_partials, every partial transcript is sent twice."""
    with client_of(stt_repeats_partials=True) as client:
        client.configure()
        client.audio(HELLO)
        texts = [r["transcription"]["isFinal"] for r in client.rest() if "transcription" in r]

        assert [False, False, True] == texts


def test_quirk_of_closing() -> None:
    """With stt_closes_after_usage, the server closes the connection after usage."""
    with client_of(stt_closes_after_usage=True) as client:
        client.configure()
        client.rest()

        with pytest.raises(ConnectionClosedOK):
            client.receive()


def test_answers_while_it_recognizes() -> None:
    """During recognition, the server still reads, so pings are answered."""
    recognizer = ScriptedRecognizer("Hello.")
    recognizer.may_answer.clear()
    with Emulator(speech_engine=engine_for(recognizer)) as server, open_stt(server) as client:
        client.configure()
        client.audio(HELLO)
        try:
            assert recognizer.asked.wait(30)
            assert client.connection.ping().wait(30)
        finally:
            recognizer.may_answer.set()

        assert ["Hello."] == finals_of(client.rest())


def test_leaves_while_it_recognizes() -> None:
    """If a client disconnects during a turn, no thread keeps running."""
    recognizer = ScriptedRecognizer("Hello.")
    with Emulator(speech_engine=engine_for(recognizer)) as server:
        for _ in range(3):
            with open_stt(server) as client:
                client.configure()
                client.audio(HELLO * 3)


def test_quality_of_the_recognizer() -> None:
    """The attribute ``recognizer`` of the server describes the quality of recognition."""
    with Emulator() as server:
        assert "1.8 %" in server.recognizer
        assert "the service has fewer errors" in server.recognizer
