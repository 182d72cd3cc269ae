"""Messages of the STT WebSocket are written and read as JSON."""

from __future__ import annotations

import json

import attrs
import pytest

from inworld_sync.errors import ConfigError, QuotaError, RemoteProtocolError, ServiceError
from inworld_sync.models.events import UnknownEvent
from inworld_sync.models.stt import (
    AssemblyAiConfig,
    GroqConfig,
    InworldSttConfig,
    SonioxConfig,
    SonioxContext,
    SpeechStarted,
    SpeechStopped,
    SttUsage,
    TranscribeConfig,
    Transcription,
    VoiceProfileConfig,
)
from inworld_sync.models.turns import VoiceProfile, VoiceTrait, Word
from inworld_sync.wire import stt
from inworld_sync.wire.faults import ConnectionFault

BASE = {
    "modelId": "inworld/inworld-stt-1",
    "audioEncoding": "LINEAR16",
    "sampleRateHertz": 16000,
    "numberOfChannels": 1,
    "includeWordTimestamps": True,
}

# (configuration, JSON that the configuration adds to the default JSON). In this order: the default
# configuration, the settings of a real client, the settings of each provider, every other field,
# and unknown fields at both levels.
CONFIGS = [
    (TranscribeConfig(), {}),
    (
        TranscribeConfig(
            language="en-US",
            voice_profile=VoiceProfileConfig(top_n=5),
            end_of_turn_confidence_threshold=0.3,
            inworld=InworldSttConfig(min_end_of_turn_silence_ms=200, vad_threshold=0.15),
        ),
        {
            "language": "en-US",
            "voiceProfileConfig": {"enableVoiceProfile": True, "topN": 5},
            "endOfTurnConfidenceThreshold": 0.3,
            "inworldSttV1Config": {
                "minEndOfTurnSilenceWhenConfident": 200,
                "vadThreshold": 0.15,
            },
        },
    ),
    (
        TranscribeConfig(
            model="assemblyai/u3-rt-pro",
            assemblyai=AssemblyAiConfig(
                vad_threshold=0,
                min_end_of_turn_silence_ms=100,
                max_turn_silence_ms=900,
                prompt="A call",
            ),
        ),
        {
            "modelId": "assemblyai/u3-rt-pro",
            "assemblyaiConfig": {
                "vadThreshold": 0,
                "minEndOfTurnSilenceWhenConfident": 100,
                "maxTurnSilence": 900,
                "prompt": "A call",
            },
        },
    ),
    (
        TranscribeConfig(
            model="soniox/stt-rt-v5",
            soniox=SonioxConfig(
                language_hints=["en", "de"],
                language_hints_strict=False,
                enable_endpoint_detection=True,
                max_endpoint_delay_ms=700,
                context=SonioxContext(general={"domain": "Law"}, text="A trial", terms=["habeas"]),
            ),
        ),
        {
            "modelId": "soniox/stt-rt-v5",
            "sonioxConfig": {
                "languageHints": ["en", "de"],
                "languageHintsStrict": False,
                "enableEndpointDetection": True,
                "maxEndpointDelayMs": 700,
                "context": {"general": {"domain": "Law"}, "text": "A trial", "terms": ["habeas"]},
            },
        },
    ),
    (
        TranscribeConfig(model="groq/whisper-large-v3", groq=GroqConfig(temperature=0.5)),
        {"modelId": "groq/whisper-large-v3", "groqConfig": {"temperature": 0.5}},
    ),
    (
        TranscribeConfig(
            encoding="FLAC",
            sample_rate_hz=48000,
            channels=2,
            inactivity_timeout_seconds=30,
            prompts=["Inworld", "PortAudio"],
            include_word_timestamps=False,
            enable_speaker_diarization=True,
            inworld=InworldSttConfig(max_turn_silence_ms=5000, extra={"newer": 1}),
            extra={"newest": [True]},
        ),
        {
            "audioEncoding": "FLAC",
            "sampleRateHertz": 48000,
            "numberOfChannels": 2,
            "inactivityTimeoutSeconds": 30,
            "prompts": ["Inworld", "PortAudio"],
            "includeWordTimestamps": False,
            "enableSpeakerDiarization": True,
            "inworldSttV1Config": {"maxTurnSilence": 5000, "newer": 1},
            "newest": [True],
        },
    ),
]

# (call, message): all other messages of the client.
COMMANDS = [
    (f"{stt.AUDIO_HEAD}AAEC/w=={stt.AUDIO_TAIL}", {"audioChunk": {"content": "AAEC/w=="}}),
    (stt.AUDIO_HEAD + stt.AUDIO_TAIL, {"audioChunk": {"content": ""}}),
    (stt.end_turn(), {"endTurn": {}}),
    (stt.close_stream(), {"closeStream": {}}),
]

OK = {"code": 0, "message": "", "details": []}

# (content of "result", event):
# - five messages that were recorded in September 2026
# - messages that were recorded in April 2026 and have no status
# - messages in which fields are missing, null or unknown
# - messages in which words have all fields
RESULTS = [
    (
        {"speechStarted": {"startTimeMs": 0, "confidence": 0}, "status": OK},
        SpeechStarted(0, 0.0),
    ),
    (
        {
            "transcription": {
                "transcript": "Hello from the gate.",
                "isFinal": False,
                "wordTimestamps": [],
                "voiceProfile": None,
                "silenceDurationMs": 0,
            },
            "status": OK,
        },
        Transcription("Hello from the gate."),
    ),
    ({"speechStopped": {"silenceDurationMs": 150}, "status": OK}, SpeechStopped(150)),
    (
        {
            "transcription": {
                "transcript": "Hello from the Gateway Probe.",
                "isFinal": True,
                "wordTimestamps": [],
                "voiceProfile": None,
                "silenceDurationMs": 0,
            },
            "status": OK,
        },
        Transcription("Hello from the Gateway Probe.", is_final=True),
    ),
    (
        {
            "usage": {"transcribedAudioMs": 1500, "modelId": "inworld/inworld-stt-1"},
            "status": OK,
        },
        SttUsage(1500, "inworld/inworld-stt-1"),
    ),
    ({"transcription": {"transcript": "Hi", "isFinal": True}}, Transcription("Hi", is_final=True)),
    ({"speechStopped": {}}, SpeechStopped()),
    ({"transcription": {"isFinal": True, "wordTimestamps": None}}, Transcription(is_final=True)),
    (
        {"speechStarted": {"startTimeMs": 40.0, "confidence": 1, "newer": [1]}},
        SpeechStarted(40, 1.0, extra={"newer": [1]}),
    ),
    (
        {
            "transcription": {
                "transcript": "Hi there",
                "isFinal": True,
                "silenceDurationMs": 300,
                "wordTimestamps": [
                    {"word": "Hi", "confidence": 0.9, "startTimeMs": 10, "endTimeMs": 200},
                    {"word": "there", "speaker": "A", "newer": 1},
                ],
                "voiceProfile": {
                    "age": [{"label": "adult", "confidence": 0.75}],
                    "vocalStyle": [{"label": "calm", "confidence": 1}],
                    "pitch": 120.5,
                },
            },
            "status": OK,
        },
        Transcription(
            "Hi there",
            is_final=True,
            words=(
                Word("Hi", 10, 200, 0.9),
                Word("there", speaker="A", extra={"newer": 1}),
            ),
            voice_profile=VoiceProfile(
                age=(VoiceTrait("adult", 0.75),),
                vocal_style=(VoiceTrait("calm", 1.0),),
                pitch=120.5,
            ),
            silence_ms=300,
            tokens=("Hi", "there"),
        ),
    ),
]

EXPIRED = {"errorType": "SESSION_EXPIRED"}
FINAL = {"transcript": "one", "isFinal": True}

# (message, fault): errors that are fatal if a CLOSE follows, then errors that end the stream.
FAULTS = [
    (
        {"error": {"code": 3, "message": 'Unsupported model "X".', "details": []}},
        ConnectionFault(3, 'Unsupported model "X".'),
    ),
    (
        {"error": {"code": 3, "message": "invalid WebSocket request", "status": "INVALID"}},
        ConnectionFault(3, "invalid WebSocket request"),
    ),
    ({"error": "out of order"}, ConnectionFault(2, "out of order")),
    ({"error": [1]}, ConnectionFault(2, "")),
    (
        {"result": {"status": {"code": 8, "message": "busy", "details": [{"a": 1}]}}},
        stt.StreamFault(8, "busy", ({"a": 1},)),
    ),
    (
        {"result": {"transcription": FINAL, "status": {"code": "13", "message": "broken"}}},
        stt.StreamFault(13, "broken"),
    ),
    (
        {"error": {"code": 5, "message": "old", "details": [EXPIRED]}},
        stt.StreamFault(5, "old", (EXPIRED,)),
    ),
]

# (result, event without the fields of a wrong type, names of the ignored fields)
IGNORED = [
    (
        {"speechStarted": {"startTimeMs": "40", "confidence": "high"}},
        SpeechStarted(40),
        "confidence",
    ),
    ({"speechStarted": 5}, SpeechStarted(), "speechStarted"),
    ({"speechStopped": {"silenceDurationMs": [1]}}, SpeechStopped(), "silenceDurationMs"),
    ({"usage": {"transcribedAudioMs": 1499.6, "modelId": 7}}, SttUsage(1500), "modelId"),
    ({"usage": "much"}, SttUsage(), "usage"),
    (
        {"transcription": {**FINAL, "wordTimestamps": {"a": 1}}},
        Transcription("one", is_final=True),
        "wordTimestamps",
    ),
    (
        {"transcription": {**FINAL, "wordTimestamps": [{"word": "one", "endTimeMs": True}]}},
        Transcription("one", is_final=True, words=(Word("one"),), tokens=("one",)),
        "endTimeMs",
    ),
    (
        {"transcription": {**FINAL, "wordTimestamps": [{"word": 1}]}},
        Transcription("one", is_final=True),
        "wordTimestamps",
    ),
    (
        {"transcription": {**FINAL, "voiceProfile": [], "silenceDurationMs": "long"}},
        Transcription("one", is_final=True),
        "silenceDurationMs voiceProfile",
    ),
    ({"transcription": FINAL, "status": "OK"}, Transcription("one", is_final=True), "status"),
    (
        {"transcription": FINAL, "status": {"code": "OK"}},
        Transcription("one", is_final=True),
        "status",
    ),
]

# (message, name of its kind): messages that a later service may send.
UNKNOWN = [
    ({"result": {"speechActivity": {"on": True}, "status": OK}}, "speechActivity"),
    ({"result": {"status": OK}}, ""),
    ({"hello": 1}, ""),
    ({"result": None}, ""),
    ({"error": None}, ""),
    ({}, ""),
]

# Messages that cannot be read: no JSON, no JSON object, or a transcript of a wrong type.
BROKEN = [
    ("", "JSON"),
    ("[]", "object"),
    ('{"result": 1}', "result"),
    ('{"result": {"transcription": []}}', "result.transcription"),
    ('{"result": {"transcription": {"transcript": 1}}}', "transcript"),
    ('{"result": {"transcription": {"isFinal": "yes"}}}', "isFinal"),
]


@pytest.mark.parametrize(("config", "added"), CONFIGS)
def test_config(config, added):
    """
    The configuration is sent as one message with camelCase names.

    Settings that are None are left out.
    """
    assert {"transcribeConfig": {**BASE, **added}} == json.loads(stt.transcribe_config(config))


@pytest.mark.parametrize(("text", "message"), COMMANDS)
def test_commands(text, message):
    """Each command is a JSON object with one key, which is the name of the command."""
    assert message == json.loads(text)


def test_no_nan():
    """A value that JSON cannot represent raises an error before anything is sent."""
    with pytest.raises(ConfigError):
        stt.transcribe_config(TranscribeConfig(extra={"x": float("nan")}))


@pytest.mark.parametrize(("result", "event"), RESULTS)
@pytest.mark.parametrize("form", [str, str.encode, lambda text: memoryview(text.encode())])
def test_events(result, event, form):
    """A message of the service is read as an event. The message may be str, bytes or memoryview."""
    assert event == stt.read(form(json.dumps({"result": result})))


@pytest.mark.parametrize(("message", "fault"), FAULTS)
def test_faults(message, fault):
    """Errors, and statuses with an error code, are read as faults."""
    assert fault == stt.read(json.dumps(message))


@pytest.mark.parametrize(("result", "event", "names"), IGNORED)
def test_ignored_fields(result, event, names):
    """An optional field of a wrong type is ignored, and the warnings have the name of the field."""
    warnings = []
    got = stt.read(json.dumps({"result": result}), warnings)

    assert replace_extra(event) == replace_extra(got)
    assert names.split() == sorted(name.rpartition(".")[2] for name in warnings)


def replace_extra(event):
    """Return the event without ``extra``, which has the ignored values."""
    if isinstance(event, Transcription):
        event = attrs.evolve(event, words=tuple(attrs.evolve(w, extra={}) for w in event.words))
    return attrs.evolve(event, extra={})


def test_without_a_list_for_warnings():
    """Without a list for warnings, fields of a wrong type are ignored too."""
    assert SttUsage(1) == replace_extra(
        stt.read('{"result": {"usage": {"transcribedAudioMs": 1, "modelId": 7}}}')
    )


# (response to an HTTP request, transcript or class of the error)
WHOLE = [
    ({"transcription": FINAL}, "one"),
    ({"transcription": {**FINAL, "wordTimestamps": 5}, "usage": []}, "one"),
    ({"usage": {"transcribedAudioMs": 5}}, ""),
    ({"transcription": FINAL, "status": {"code": 0}}, "one"),
    ({"transcription": FINAL, "status": {"code": 13, "message": "broken"}}, ServiceError),
    ({"error": {"code": 8, "message": "busy"}}, QuotaError),
    ({"error": "busy", "transcription": FINAL}, ServiceError),
    ({}, RemoteProtocolError),
    ({"transcription": {"transcript": 5}}, RemoteProtocolError),
    ([], RemoteProtocolError),
]


@pytest.mark.parametrize(("answer", "expected"), WHOLE)
def test_answer_to_a_recording(answer, expected):
    """An HTTP response has a transcript or the usage. A status with an error raises an error."""
    if isinstance(expected, str):
        assert expected == stt.read_whole(answer)[0].text
        return
    with pytest.raises(expected) as caught:
        stt.read_whole(answer)
    assert expected is type(caught.value)


@pytest.mark.parametrize(("message", "name"), UNKNOWN)
def test_unknown(message, name):
    """A message of an unknown kind is read as an UnknownEvent with the whole message."""
    assert UnknownEvent(name, message) == stt.read(json.dumps(message))


@pytest.mark.parametrize(("text", "named"), BROKEN)
def test_broken(text, named):
    """An invalid message raises an error that names the wrong place."""
    with pytest.raises(RemoteProtocolError, match=named):
        stt.read(text)


def test_tokens_are_joined_to_words() -> None:
    """Parts of words, punctuation and white space are joined to words."""
    tokens = [
        {"word": text, "startTimeMs": 100 * i, "endTimeMs": 100 * i + 50}
        for i, text in enumerate(["Hel", "lo", ",", " walk", "ing", " ", "fast", "."])
    ]
    body = {"transcript": "Hello, walking fast.", "isFinal": True, "wordTimestamps": tokens}
    event = stt.read(json.dumps({"result": {"transcription": body}}))

    assert isinstance(event, Transcription)
    assert (
        Word("Hello,", 0, 150),
        Word("walking", 300, 450),
        Word("fast.", 600, 650),
    ) == event.words
    assert event.text == "".join(event.tokens)


def test_fields_of_the_client_are_not_on_the_wire() -> None:
    """A field of the service that has the name of a client-only attribute is kept in ``extra``."""
    body = {**FINAL, "channel": 3, "tokens": 1, "wordTimestamps": [{"word": "one", "channel": 2}]}
    event = stt.read(json.dumps({"result": {"transcription": body}}))

    assert isinstance(event, Transcription)
    assert ({"channel": 3, "tokens": 1}, None) == (event.extra, event.channel)
    assert (Word("one", extra={"channel": 2}),) == event.words
