"""Messages of the TTS WebSocket are written and read. Damaged messages are accepted."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from inworld_sync.errors import ConfigError, RemoteProtocolError
from inworld_sync.models.events import UnknownEvent
from inworld_sync.models.tts import (
    AudioConfig,
    AudioEncoding,
    CharacterTime,
    ContextClosed,
    ContextConfig,
    ContextCreated,
    ContextUpdated,
    DeliveryMode,
    FlushCompleted,
    Phoneme,
    SynthesisContext,
    TextNormalization,
    TimestampTransport,
    TimestampType,
    TtsUsage,
    WordTime,
)
from inworld_sync.wire import tts

FULL = ContextConfig(
    voice="Hana",
    model="inworld-tts-1.5-max",
    audio=AudioConfig("OGG_OPUS", 48000, 32000, 1.25),
    temperature=0.5,
    language="pt-BR",
    delivery_mode="CREATIVE",
    timestamp_type="CHARACTER",
    timestamp_transport="ASYNC",
    text_normalization="OFF",
    auto_mode=True,
    max_buffer_delay_ms=3000,
    buffer_char_threshold=250,
    pronunciation_dictionaries=["names", "brands"],
    enable_custom_pronunciation=True,
    synthesis_context=SynthesisContext(["Good evening.", "How are you?"]),
    viseme_set="OPENXR",
    extra={"newField": [1]},
)

# (command, JSON): create without settings, create with all settings, then every other command.
COMMANDS: list[tuple[str, dict[str, Any]]] = [
    (
        tts.create("c1", ContextConfig()),
        {
            "create": {
                "voiceId": "Ashley",
                "modelId": "inworld-tts-2",
                "audioConfig": {"audioEncoding": "PCM", "sampleRateHertz": 24000},
                "autoMode": False,
            },
            "contextId": "c1",
        },
    ),
    (
        tts.create("c1", FULL),
        {
            "create": {
                "voiceId": "Hana",
                "modelId": "inworld-tts-1.5-max",
                "audioConfig": {
                    "audioEncoding": "OGG_OPUS",
                    "sampleRateHertz": 48000,
                    "bitRate": 32000,
                    "speakingRate": 1.25,
                },
                "temperature": 0.5,
                "language": "pt-BR",
                "deliveryMode": "CREATIVE",
                "timestampType": "CHARACTER",
                "timestampTransportStrategy": "ASYNC",
                "applyTextNormalization": "OFF",
                "autoMode": True,
                "maxBufferDelayMs": 3000,
                "bufferCharThreshold": 250,
                "pronunciationDictionarySettings": {
                    "dictionaries": [{"dictionary": "names"}, {"dictionary": "brands"}]
                },
                "enableCustomPronunciation": True,
                "synthesisContext": {
                    "previousRequests": [{"text": "Good evening."}, {"text": "How are you?"}]
                },
                "lipsyncConfig": {"visemeSet": "OPENXR"},
                "newField": [1],
            },
            "contextId": "c1",
        },
    ),
    (tts.send_text("c1", "Hello. "), {"send_text": {"text": "Hello. "}, "contextId": "c1"}),
    (
        tts.send_text("c1", "Grüße 👋", flush=True),
        {"send_text": {"text": "Grüße 👋", "flush_context": {}}, "contextId": "c1"},
    ),
    (tts.flush_context("c1"), {"flush_context": {}, "contextId": "c1"}),
    (tts.close_context("c1"), {"close_context": {}, "contextId": "c1"}),
    (
        tts.update_config("c1", {"voiceId": "Dennis"}),
        {"update_config": {"voiceId": "Dennis"}, "contextId": "c1"},
    ),
]


@pytest.mark.parametrize(("text", "message"), COMMANDS)
def test_commands(text: str, message: dict[str, Any]) -> None:
    """A command is written as in the examples of the service, in UTF-8 without spaces."""
    assert message == json.loads(text)
    assert ": " not in text.replace("Hello. ", "")
    assert "\\u" not in text


def test_every_setting_has_its_place() -> None:
    """Every setting of a context is in the message."""
    message = json.loads(tts.create("c1", FULL))["create"]

    assert len(ContextConfig.__attrs_attrs__) - 1 + len(FULL.extra) == len(message)


def test_a_lone_surrogate() -> None:
    """Half of a surrogate pair raises an error with its position."""
    with pytest.raises(ConfigError, match=r"lone surrogate '\\ud83d' at character 25"):
        tts.send_text("c1", "Hi \ud83d there")


def wrapped(**result: object) -> dict[str, Any]:
    status = {"code": 0, "message": "", "details": []}
    return {"result": {"contextId": "c1", **result, "status": status}}


WORDS = {
    "wordAlignment": {
        "words": ["Hi", "you"],
        "wordStartTimeSeconds": [0.0, 0.25],
        "wordEndTimeSeconds": [0.2, 1],
        "phoneticDetails": [
            {
                "wordIndex": 1,
                "phones": [
                    {
                        "phoneSymbol": "j",
                        "startTimeSeconds": 0.25,
                        "durationSeconds": 0.5,
                        "visemeSymbol": "cdgknstxyz",
                    }
                ],
                "isPartial": False,
            },
            {"phones": [{"phoneSymbol": "h"}]},
        ],
    },
    "characterAlignment": None,
}
CHARACTERS = {
    "characterAlignment": {
        "characters": ["H", "i"],
        "characterStartTimeSeconds": [0, 0.125],
        "characterEndTimeSeconds": [0.125, 0.25],
    }
}

# (JSON, event): recordings of every message, older forms, both names of the context id, fields that
# proto-JSON leaves out or writes as strings, and unknown messages.
MESSAGES: list[tuple[dict[str, Any], tts.TtsMessage]] = [
    (
        wrapped(contextCreated={"voiceId": "Aarav", "synthesisContext": None}),
        ContextCreated("c1", {"voiceId": "Aarav", "synthesisContext": None}),
    ),
    (wrapped(contextUpdated={"temperature": 1}), ContextUpdated("c1", {"temperature": 1})),
    (wrapped(flushCompleted={}), FlushCompleted("c1")),
    (wrapped(contextClosed={}), ContextClosed("c1")),
    (
        wrapped(
            audioChunk={
                "audioContent": "UklGRg==",
                "usage": {"processedCharactersCount": 29, "modelId": "inworld-tts-1.5-mini"},
                "timestampInfo": None,
            }
        ),
        tts.AudioReceived("c1", "UklGRg==", TtsUsage(29, "inworld-tts-1.5-mini")),
    ),
    (
        wrapped(audioChunk={"timestampInfo": WORDS}),
        tts.AudioReceived(
            "c1",
            "",
            None,
            (WordTime("Hi", 0.0, 200.0), WordTime("you", 250.0, 1000.0)),
            (),
            (Phoneme("j", "cdgknstxyz", 250.0, 750.0, 1), Phoneme("h", "", 0.0, 0.0, 0)),
        ),
    ),
    (
        wrapped(audioChunk={"audioContent": "AAA=", "timestampInfo": CHARACTERS}),
        tts.AudioReceived(
            "c1",
            "AAA=",
            None,
            (),
            (CharacterTime("H", 0.0, 125.0), CharacterTime("i", 125.0, 250.0)),
        ),
    ),
    (
        wrapped(audioChunk={"audioContent": "AAA=", "usage": {"processedCharactersCount": "7"}}),
        tts.AudioReceived("c1", "AAA=", TtsUsage(7)),
    ),
    (wrapped(audioChunk={"usage": {}}), tts.AudioReceived("c1", "", TtsUsage())),
    (wrapped(audioContent="AAA="), tts.AudioReceived("c1", "AAA=")),
    ({"result": {"context_id": "c1", "flushCompleted": {}}}, FlushCompleted("c1")),
    (
        {"result": {"contextId": "c6", "status": {"code": 8, "message": "limit", "details": [1]}}},
        tts.ContextFault("c6", 8, "limit", (1,)),
    ),
    (
        {"result": {"contextId": "c1", "audioChunk": {}, "status": {"code": 13.0}}},
        tts.ContextFault("c1", 13, ""),
    ),
    (
        wrapped(audioChunk={"status": {"code": 3, "message": "nested"}}),
        tts.ContextFault("c1", 3, "nested"),
    ),
    (
        {"result": {"contextId": "c1", "status": {"code": "OUT_OF_RANGE", "message": "named"}}},
        tts.ContextFault("c1", 2, "named"),
    ),
    (
        {"result": {"status": {"code": 3, "message": "context_id is required"}}},
        tts.ContextFault("", 3, "context_id is required"),
    ),
    (
        {"error": {"code": 7, "message": "Invalid credentials", "details": []}},
        tts.ConnectionFault(7, "Invalid credentials"),
    ),
    (
        {"error": {"code": 3, "message": "malformed", "status": "INVALID_ARGUMENT"}},
        tts.ConnectionFault(3, "malformed"),
    ),
    ({"error": {}}, tts.ConnectionFault(0, "")),
    ({"done": True}, UnknownEvent("", {"done": True})),
    ({"result": None, "error": None}, UnknownEvent("", {"result": None, "error": None})),
    (wrapped(mouthMoved={"x": 1}), UnknownEvent("mouthMoved", wrapped(mouthMoved={"x": 1}))),
    (wrapped(), UnknownEvent("", wrapped())),
]


@pytest.mark.parametrize(("message", "event"), MESSAGES)
@pytest.mark.parametrize("form", [str, str.encode, lambda t: memoryview(t.encode())])
def test_messages(message: dict[str, Any], event: tts.TtsMessage, form: Any) -> None:
    """A message is read as the right event. The message may be a str or any bytes-like object."""
    assert event == tts.read(form(json.dumps(message)))


@pytest.mark.parametrize(("message", "event"), MESSAGES)
def test_further_fields(message: dict[str, Any], event: tts.TtsMessage) -> None:
    """Unknown fields of a message are ignored."""
    inner = next(iter(message.values()))
    if isinstance(event, UnknownEvent) or not isinstance(inner, dict):
        return
    inner = {**inner, "zNew": {"a": [1]}}

    assert event == tts.read(json.dumps({next(iter(message)): inner, "zNew": 1}))


# (part of a message about context c1, part of the error): audio that cannot be read.
UNREADABLE: list[tuple[dict[str, Any], str]] = [
    ({"audioChunk": "AAA="}, "an object as result.audioChunk, got str"),
    ({"audioChunk": {"audioContent": 5}}, "text as result.audioChunk.audioContent, got int"),
    ({"audioContent": ["AAA="]}, "text as result.audioChunk.audioContent, got list"),
]


@pytest.mark.parametrize(("part", "words"), UNREADABLE)
def test_unreadable(part: dict[str, Any], words: str) -> None:
    """
    Audio that cannot be read ends the context that the message names.

    The connection continues, because the connection may have four other contexts.
    """
    event = tts.read(json.dumps(wrapped(**part)))

    assert isinstance(event, tts.Unreadable)
    assert "c1" == event.context_id
    assert words in str(event.error)


A_WORD = {"words": ["a"], "wordStartTimeSeconds": [0], "wordEndTimeSeconds": [1]}
A_CHARACTER = {
    "characters": ["a"],
    "characterStartTimeSeconds": [0],
    "characterEndTimeSeconds": [1],
}
PHONES = {"wordIndex": 0, "phones": [{"phoneSymbol": "a"}]}


def chunk_with(word: dict[str, object] | None = None, **times: object) -> dict[str, Any]:
    """Return a chunk with audio and usage, and with one word, one character and one phoneme."""
    words = {**A_WORD, "phoneticDetails": [PHONES], **(word or {})}
    info = {"wordAlignment": words, "characterAlignment": A_CHARACTER, **times}
    usage = {"processedCharactersCount": 1, "modelId": "m"}
    return {"audioContent": "AAA=", "usage": usage, "timestampInfo": info}


# (chunk, names of the empty attributes, names in the warnings): optional fields of wrong types.
IGNORED: list[tuple[dict[str, Any], str, str]] = [
    ({**chunk_with(), "usage": [1]}, "usage", "usage"),
    ({**chunk_with(), "usage": {"processedCharactersCount": 1.5}}, "usage", "usage"),
    ({**chunk_with(), "usage": {"processedCharactersCount": True}}, "usage", "usage"),
    ({**chunk_with(), "usage": {"processedCharactersCount": "9" * 30}}, "usage", "usage"),
    ({**chunk_with(), "timestampInfo": "none"}, "tokens characters phonemes", "timestampInfo"),
    (chunk_with(wordAlignment=5), "tokens phonemes", "wordAlignment"),
    (chunk_with(characterAlignment=[]), "characters", "characterAlignment"),
    (chunk_with(word={"wordEndTimeSeconds": []}), "tokens", "words"),
    (chunk_with(word={"words": "a"}), "tokens", "words"),
    (chunk_with(word={"words": [1]}), "tokens", "words"),
    (chunk_with(word={"words": [None]}), "tokens", "words"),
    (chunk_with(word={"wordStartTimeSeconds": ["0"]}), "tokens", "words"),
    (chunk_with(word={"wordEndTimeSeconds": [None]}), "tokens", "words"),
    (chunk_with(word={"wordEndTimeSeconds": [10**400]}), "tokens", "words"),
    (
        chunk_with(characterAlignment={**A_CHARACTER, "characters": [1]}),
        "characters",
        "characters",
    ),
    (chunk_with(word={"phoneticDetails": ["x"]}), "phonemes", "phoneticDetails"),
    (
        chunk_with(word={"phoneticDetails": [{**PHONES, "wordIndex": "first"}]}),
        "phonemes",
        "phoneticDetails",
    ),
    (
        chunk_with(word={"phoneticDetails": [{**PHONES, "phones": [None]}]}),
        "phonemes",
        "phoneticDetails",
    ),
    ({**chunk_with(), "usage": 5, "timestampInfo": 5}, "usage tokens characters phonemes",
     "timestampInfo usage"),
    ({**chunk_with(), "status": {"code": "OK"}}, "", "status.code"),
    (chunk_with(), "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("chunk", "empty", "named"), IGNORED)
def test_a_wrong_type_loses_its_field_only(chunk: dict[str, Any], empty: str, named: str) -> None:
    """An optional field of a wrong type is ignored with a warning. The audio is returned."""
    warnings: list[str] = []
    whole = tts.read(json.dumps(wrapped(audioChunk=chunk_with())))
    event = tts.read(json.dumps(wrapped(audioChunk=chunk)), warnings=warnings)

    assert isinstance(event, tts.AudioReceived)
    assert isinstance(whole, tts.AudioReceived)
    nothing: dict[str, Any] = {"usage": None, "tokens": (), "characters": (), "phonemes": ()}
    assert attrs.evolve(whole, **{name: nothing[name] for name in empty.split()}) == event
    assert named.split() == warnings


@pytest.mark.parametrize(
    ("message", "event", "named"),
    [
        (wrapped(contextCreated=True), ContextCreated("c1", {}), "contextCreated"),
        (wrapped(contextUpdated=[]), ContextUpdated("c1", {}), "contextUpdated"),
        (
            {"result": {"contextId": "c1", "contextClosed": 5, "status": {"code": "OK"}}},
            ContextClosed("c1"),
            "status.code",
        ),
    ],
)
def test_an_answer_with_a_wrong_type(message: object, event: object, named: str) -> None:
    """If an optional field of an answer has a wrong type, the answer is read without the field."""
    warnings: list[str] = []

    assert event == tts.read(json.dumps(message), warnings=warnings)
    assert [named] == warnings


def test_message_with_only_an_invalid_status() -> None:
    """A message that has only a status with an invalid code is read as a fault of the context."""
    message = {"result": {"contextId": "c1", "status": {"code": "BAD", "message": "no"}}}

    assert tts.ContextFault("c1", 2, "no") == tts.read(json.dumps(message))


def test_an_error_that_is_a_text() -> None:
    """If an error of the connection is a text instead of an object, its code is 2 (unknown)."""
    assert tts.ConnectionFault(2, "no room") == tts.read('{"error":"no room"}')


# (message, words of the error): messages whose context is not known.
WITHOUT_CONTEXT = [
    ("", "a JSON message, got 0 characters"),
    ("nonsense", "a JSON message, got 8 characters"),
    ('{"result":{"contextId":"c1"', "a JSON message"),
    ("[1]", "an object as the message, got list"),
    ('{"result":[]}', "an object as result, got list"),
    ('{"result":{"audioChunk":{"audioContent":"AAA="}}}', "contextId beside result.audioChunk"),
    ('{"result":{"contextId":5,"contextClosed":{}}}', "contextId beside result.contextClosed"),
    ('{"result":{"n":NaN}}', "NaN is not a JSON value"),
    ("[" * 100_000, "a JSON message"),
    (b'{"result":"\xff"}', "in UTF-8, got the byte 0xff at 11"),
]


@pytest.mark.parametrize(
    ("message", "words"), WITHOUT_CONTEXT, ids=[words for _, words in WITHOUT_CONTEXT]
)
def test_messages_without_a_context(message: str | bytes, words: str) -> None:
    """A message whose context is not known raises an error that says why."""
    with pytest.raises(RemoteProtocolError) as caught:
        tts.read(message)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    "message",
    ['{"result":["secret words"]}', '{"result":{"contextId":"c","audioChunk":"c2VjcmV0"}}'],
)
def test_errors_hold_no_content(message: str) -> None:
    """The error of a wrong message shows neither text nor audio of the message."""
    try:
        event = tts.read(message)
    except RemoteProtocolError as error:
        shown = str(error)
    else:
        assert isinstance(event, tts.Unreadable)
        shown = str(event.error)

    assert "secret" not in shown
    assert "c2Vj" not in shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("result", "error", "contextId", "status", "code", "message", "details"),
                    *("audioChunk", "audioContent", "usage", "processedCharactersCount"),
                    *("timestampInfo", "wordAlignment", "words", "wordStartTimeSeconds"),
                    *("wordEndTimeSeconds", "phoneticDetails", "phones", "wordIndex"),
                    *("contextClosed", "contextCreated", "flushCompleted"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json(value: object) -> None:
    """Any JSON value is read as an event, or raises an error of this package."""
    try:
        event = tts.read(json.dumps({"result": value}))
    except RemoteProtocolError:
        return

    assert isinstance(event, tts.TtsMessage)


@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are read as an event, or raise an error of this package."""
    try:
        tts.read(data)
    except RemoteProtocolError:
        return


def test_enums_have_the_names_of_the_wire() -> None:
    """The members of enumerations have the names that the service uses."""
    for kind in (AudioEncoding, DeliveryMode, TimestampType, TimestampTransport, TextNormalization):
        assert [member.name for member in kind] == [member.value for member in kind]


def test_synthesis_context_is_read() -> None:
    """The answer to ``create`` is read. A field of a wrong type is ignored."""
    body = {"synthesisContext": {"previousRequests": [{"text": "One."}, {"text": "Two."}]}}
    event = tts.read(json.dumps(wrapped(contextCreated=body)))
    warnings: list[str] = []
    wrong = tts.read(json.dumps(wrapped(contextUpdated={"synthesisContext": "x"})), None, warnings)

    assert ContextCreated("c1", body, SynthesisContext(["One.", "Two."])) == event
    assert ContextUpdated("c1", {"synthesisContext": "x"}) == wrong
    assert ["synthesisContext"] == warnings
