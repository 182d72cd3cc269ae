"""Settings are converted to the session object of the service, and back."""

import json

import pytest
from hypothesis import given, strategies as st

from inworld_sync.models import realtime as rt
from inworld_sync.models.realtime import ManualTurns, Session
from inworld_sync.wire.realtime.session import merge
from inworld_sync.wire.realtime.settings import Settings

from support.realtime_wire import read, write

# (setting, path in the session object, value at this path): every setting, in all its forms.
SETTINGS = [
    ({"model": "openai/gpt-4o-mini"}, "model", "openai/gpt-4o-mini"),
    ({"instructions": ""}, "instructions", ""),
    ({"voice": "Dennis"}, "audio.output.voice", "Dennis"),
    ({"tts_model": "inworld-tts-2"}, "audio.output.model", "inworld-tts-2"),
    ({"speed": 1.25}, "audio.output.speed", 1.25),
    ({"output_modalities": ["text"]}, "output_modalities", ["text"]),
    ({"output_modalities": ["text", "audio"]}, "output_modalities", ["audio", "text"]),
    ({"temperature": 0.2}, "temperature", 0.2),
    ({"max_output_tokens": 4096}, "max_output_tokens", 4096),
    ({"max_output_tokens": "inf"}, "max_output_tokens", "inf"),
    (
        {"input_format": rt.PcmFormat(16000)},
        "audio.input.format",
        {"type": "audio/pcm", "rate": 16000},
    ),
    ({"input_format": "pcm16"}, "audio.input.format", {"type": "audio/pcm", "rate": 24000}),
    ({"input_format": "g711_ulaw"}, "audio.input.format", {"type": "audio/pcmu"}),
    ({"output_format": "g711_alaw"}, "audio.output.format", {"type": "audio/pcma"}),
    ({"output_format": "audio/pcmu"}, "audio.output.format", {"type": "audio/pcmu"}),
    (
        {"output_format": {"type": "audio/float32", "rate": 48000}},
        "audio.output.format",
        {"type": "audio/float32", "rate": 48000},
    ),
    ({"turn_detection": ManualTurns()}, "audio.input.turn_detection", None),
    (
        {"turn_detection": rt.SemanticVad()},
        "audio.input.turn_detection",
        {"type": "semantic_vad"},
    ),
    (
        {
            "turn_detection": rt.SemanticVad(
                eagerness="low", create_response=False, interrupt_response=True
            )
        },
        "audio.input.turn_detection",
        {
            "type": "semantic_vad",
            "eagerness": "low",
            "create_response": False,
            "interrupt_response": True,
        },
    ),
    (
        {
            "turn_detection": rt.ServerVad(
                threshold=0.5,
                prefix_padding_ms=300,
                silence_duration_ms=500,
                idle_timeout_ms=6000,
                create_response=True,
                interrupt_response=False,
                extra={"novel": 1},
            )
        },
        "audio.input.turn_detection",
        {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "idle_timeout_ms": 6000,
            "create_response": True,
            "interrupt_response": False,
            "novel": 1,
        },
    ),
    ({"transcription": "off"}, "audio.input.transcription", None),
    (
        {"transcription": rt.InputTranscription(model="m", language="en", prompt="p")},
        "audio.input.transcription",
        {"model": "m", "language": "en", "prompt": "p"},
    ),
    ({"noise_reduction": "off"}, "audio.input.noise_reduction", None),
    (
        {"noise_reduction": "far_field"},
        "audio.input.noise_reduction",
        {"type": "far_field"},
    ),
    ({"tools": []}, "tools", []),
    (
        {
            "tools": [
                rt.FunctionTool(
                    name="f", description="d", parameters={"type": "object", "properties": {}}
                ),
                rt.McpTool(
                    server_label="s",
                    server_url="https://example.com/mcp",
                    server_description="d",
                    authorization="t",
                    headers={"X-Key": "k"},
                    allowed_tools=["a"],
                    require_approval="never",
                ),
                rt.McpTool(
                    server_label="s2",
                    server_url="http://localhost",
                    require_approval={"never": {"tool_names": ["a"]}},
                ),
                rt.WebSearchTool(engine="google", max_results=3, max_steps=1),
                rt.WebSearchTool(),
                {"type": "novel", "x": None},
            ]
        },
        "tools",
        [
            {
                "type": "function",
                "name": "f",
                "description": "d",
                "parameters": {"type": "object", "properties": {}},
            },
            {
                "type": "mcp",
                "server_label": "s",
                "server_url": "https://example.com/mcp",
                "server_description": "d",
                "authorization": "t",
                "headers": {"X-Key": "k"},
                "allowed_tools": ["a"],
                "require_approval": "never",
            },
            {
                "type": "mcp",
                "server_label": "s2",
                "server_url": "http://localhost",
                "require_approval": {"never": {"tool_names": ["a"]}},
            },
            {
                "type": "web_search",
                "providerData": {"engine": "google", "max_results": 3, "max_steps": 1},
            },
            {"type": "web_search"},
            {"type": "novel", "x": None},
        ],
    ),
    ({"tool_choice": "none"}, "tool_choice", "none"),
    (
        {"tool_choice": rt.FunctionChoice("f")},
        "tool_choice",
        {"type": "function", "name": "f"},
    ),
    (
        {"tool_choice": rt.McpChoice("s", "t")},
        "tool_choice",
        {"type": "mcp", "server_label": "s", "name": "t"},
    ),
    ({"truncation": "disabled"}, "truncation", "disabled"),
    (
        {"truncation": rt.RetentionRatio(0.8)},
        "truncation",
        {"type": "retention_ratio", "retention_ratio": 0.8},
    ),
    (
        {"prompt": rt.Prompt(id="p", version="2", variables={"a": "b"})},
        "prompt",
        {"id": "p", "version": "2", "variables": {"a": "b"}},
    ),
    (
        {"include": ["item.input_audio_transcription.logprobs"]},
        "include",
        ["item.input_audio_transcription.logprobs"],
    ),
    ({"tracing": "auto"}, "tracing", "auto"),
    ({"tracing": "off"}, "tracing", None),
    ({"tracing": {"workflow_name": "w"}}, "tracing", {"workflow_name": "w"}),
]

PROVIDER_DATA = rt.ProviderData(
    stt=rt.SttTuning(
        prompt="p",
        voice_profile=True,
        language_hints=["en-US"],
        end_of_turn_confidence_threshold=0.4,
        vad_threshold=0.5,
        min_end_of_turn_silence_ms=200,
        max_turn_silence_ms=1500,
    ),
    tts=rt.TtsTuning(
        segmenter_strategy="fast_start",
        steering_handling="emit_once",
        language="de",
        delivery_mode="STABLE",
        conversational=True,
        user_turn_mode="audio_only",
        timestamp_type="WORD",
        timestamp_transport="ASYNC",
    ),
    memory=rt.Memory(
        enabled=True,
        turn_interval=4,
        max_memory_length=1000,
        max_transcript_items=50,
        max_facts=20,
        trim_after_summarize=True,
        extra={"state": {"version": 3}},
    ),
    backchannel=rt.Backchannel(
        enabled=True,
        small_model="m",
        eval_interval_ms=800,
        min_speech_ms=800,
        min_gap_ms=4000,
        max_per_turn=3,
        hard_deadline_ms=1500,
        history_tail_items=4,
        temperature=0.7,
        max_tokens=6,
        volume_gain=0,
        require_pause=False,
        allowed_phrases=["uh-huh"],
        prompt_template="t",
        decider_kind="rule",
        rule_fire_probability=0.3,
    ),
    responsiveness=rt.Responsiveness(
        enabled=True,
        small_model="m",
        initial_wait_timeout_ms=1200,
        hard_deadline_ms=2000,
        history_tail_items=4,
        temperature=0.7,
        max_tokens=12,
        min_filler_gap_ms=8000,
        max_initial_per_turn=1,
        max_buffer_deltas=9,
        enable_filler_on_first_assistant_reply=False,
        prompt_template="t",
        pause_text="...",
    ),
    caching=rt.Caching(enabled=True, ttl="5m", cache_instructions=True, cache_tools=False),
    text_generation=rt.TextGeneration(
        reasoning=rt.Reasoning(effort="LOW", max_tokens=100, exclude=True, extra={"n": 1}),
        max_new_tokens=200,
        temperature=0.9,
        top_p=0.95,
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        repetition_penalty=1.1,
        stop_sequences=["END"],
        seed=7,
        logit_bias=[{"token": "a", "bias": 1}],
    ),
    auto_tool_response=False,
    user_id="u",
    metadata={"a": "b"},
    extra={"novel": {"x": 1}},
)
PROVIDER_DATA_OBJECT = {
    "stt": {
        "prompt": "p",
        "voice_profile": True,
        "language_hints": ["en-US"],
        "end_of_turn_confidence_threshold": 0.4,
        "vad_threshold": 0.5,
        "min_end_of_turn_silence": 200,
        "max_turn_silence": 1500,
    },
    "tts": {
        "segmenter_strategy": "fast_start",
        "steering_handling": "emit_once",
        "language": "de",
        "delivery_mode": "STABLE",
        "conversational": True,
        "user_turn_mode": "audio_only",
        "timestamp_type": "WORD",
        "timestamp_transport_strategy": "ASYNC",
    },
    "memory": {
        "enabled": True,
        "turn_interval": 4,
        "max_memory_length": 1000,
        "max_transcript_items": 50,
        "max_facts": 20,
        "trim_after_summarize": True,
        "state": {"version": 3},
    },
    "backchannel": {
        "enabled": True,
        "small_model": "m",
        "eval_interval_ms": 800,
        "min_speech_ms": 800,
        "min_gap_ms": 4000,
        "max_per_turn": 3,
        "hard_deadline_ms": 1500,
        "history_tail_items": 4,
        "temperature": 0.7,
        "max_tokens": 6,
        "volume_gain": 0,
        "require_pause": False,
        "allowed_phrases": ["uh-huh"],
        "prompt_template": "t",
        "decider_kind": "rule",
        "rule_fire_probability": 0.3,
    },
    "responsiveness": {
        "enabled": True,
        "small_model": "m",
        "initial_wait_timeout_ms": 1200,
        "hard_deadline_ms": 2000,
        "history_tail_items": 4,
        "temperature": 0.7,
        "max_tokens": 12,
        "min_filler_gap_ms": 8000,
        "max_initial_per_turn": 1,
        "max_buffer_deltas": 9,
        "enable_filler_on_first_assistant_reply": False,
        "prompt_template": "t",
        "pause_text": "...",
    },
    "caching": {
        "enabled": True,
        "ttl": "5m",
        "cache_instructions": True,
        "cache_tools": False,
    },
    "text_generation_config": {
        "reasoning": {"effort": "LOW", "maxTokens": 100, "exclude": True, "n": 1},
        "maxNewTokens": 200,
        "temperature": 0.9,
        "topP": 0.95,
        "frequencyPenalty": 0.1,
        "presencePenalty": -0.1,
        "repetitionPenalty": 1.1,
        "stopSequences": ["END"],
        "seed": 7,
        "logitBias": [{"token": "a", "bias": 1}],
    },
    "auto_tool_response": False,
    "user_id": "u",
    "metadata": {"a": "b"},
    "novel": {"x": 1},
}


def session_sent(session):
    """Return the session object that is sent."""
    return json.loads(write(rt.UpdateSession(session)))["session"]


def nested(path, value):
    """Return nested objects that have a value at a dotted path."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


@pytest.mark.parametrize(("settings", "path", "value"), SETTINGS)
def test_settings(settings, path, value):
    """Each setting is at its path in the session object. Settings that are None are not sent."""
    expected = {"type": "realtime", **nested(path, value)}

    assert expected == session_sent(Session(**settings))


def test_provider_data():
    """Every setting of the service's extensions has the right name in the session object."""
    expected = {"type": "realtime", "providerData": PROVIDER_DATA_OBJECT}

    assert expected == session_sent(Session(provider_data=PROVIDER_DATA))


def test_every_field_of_the_extensions_is_tested():
    """The test of the extensions has a value for every field."""

    def unset(value):
        fields = getattr(type(value), "__attrs_attrs__", ())
        for field in fields:
            inner = getattr(value, field.name)
            if inner is None:
                yield field.name
            yield from unset(inner)

    assert [] == list(unset(PROVIDER_DATA))


def test_extra_settings():
    """Unknown settings in ``extra`` are merged with the other settings."""
    session = Session(voice="Dennis", extra={"audio": {"output": {"novel": 1}}, "later": [2]})
    expected = {
        "type": "realtime",
        "audio": {"output": {"voice": "Dennis", "novel": 1}},
        "later": [2],
    }

    assert expected == session_sent(session)


def test_update_as_a_known_client_sends_it():
    """The update of a telephone bridge from the service's examples can be made with settings."""
    session = Session(
        model="openai/gpt-4.1-mini",
        instructions="Be brief.",
        output_modalities=["audio", "text"],
        input_format="g711_ulaw",
        output_format="g711_ulaw",
        transcription=rt.InputTranscription(model="assemblyai/universal-streaming-multilingual"),
        turn_detection=rt.SemanticVad(
            eagerness="auto", create_response=True, interrupt_response=True
        ),
        tts_model="inworld-tts-2",
        voice="Sarah",
    )
    expected = {
        "type": "realtime",
        "model": "openai/gpt-4.1-mini",
        "instructions": "Be brief.",
        "output_modalities": ["audio", "text"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "transcription": {"model": "assemblyai/universal-streaming-multilingual"},
                "turn_detection": {
                    "type": "semantic_vad",
                    "eagerness": "auto",
                    "create_response": True,
                    "interrupt_response": True,
                },
            },
            "output": {
                "format": {"type": "audio/pcmu"},
                "model": "inworld-tts-2",
                "voice": "Sarah",
            },
        },
    }

    assert expected == session_sent(session)


CREATED = {
    "type": "realtime",
    "object": "realtime.session",
    "id": "sess_1",
    "model": "google-ai-studio/gemini-2.5-flash",
    "expires_at": 1790000000,
    "output_modalities": ["audio", "text"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 16000},
            "turn_detection": {"type": "semantic_vad", "eagerness": "low"},
        },
        "output": {
            "format": "g711_ulaw",
            "voice": "Dennis",
            "model": "inworld-tts-2",
            "speed": 1,
        },
    },
    "tools": [],
    "tool_choice": "auto",
}


def said(kind, session):
    """Return a message of the service that contains its session object."""
    return read(json.dumps({"type": f"session.{kind}", "session": session}))


def test_session_info():
    """The settings of the service are returned as objects, even if formats have older names."""
    info = said("created", CREATED).session

    assert info == rt.SessionInfo(
        id="sess_1",
        expires_at=1790000000,
        model="google-ai-studio/gemini-2.5-flash",
        output_modalities=("audio", "text"),
        voice="Dennis",
        tts_model="inworld-tts-2",
        speed=1.0,
        input_format=rt.PcmFormat(16000),
        output_format=rt.MulawFormat(),
        turn_detection={"type": "semantic_vad", "eagerness": "low"},
        raw=CREATED,
    )


# Session objects with one value in an unknown form.
ODD = [
    {"id": 5},
    {"expires_at": "soon"},
    {"expires_at": True},
    {"output_modalities": "audio"},
    {"audio": []},
    {"audio": {"input": "x", "output": None}},
    {"audio": {"output": {"format": {"type": "audio/opus"}, "speed": "fast"}}},
    {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 12345}, "turn_detection": 1}}},
    {"providerData": {"memory": {"state": 5}}},
    {"providerData": []},
]


@pytest.mark.parametrize("raw", ODD)
def test_unknown_forms(raw):
    """A setting in an unknown form is None. ``raw`` has the whole session object."""
    assert rt.SessionInfo(raw=raw) == said("updated", raw).session


def test_memory():
    """The memory of the session is returned as objects."""
    state = {
        "version": 2,
        "facts": ["likes tea", {"fact": "x"}],
        "summary": "Talk of tea.",
        "context_text": "c",
        "turns_since_gen": 1,
        "total_turns": 9,
        "items_trimmed": 4,
    }
    info = said("updated", {"providerData": {"memory": {"enabled": True, "state": state}}}).session

    assert info.memory == rt.MemoryState(
        version=2,
        facts=("likes tea", {"fact": "x"}),
        summary="Talk of tea.",
        context_text="c",
        turns_since_gen=1,
        total_turns=9,
        items_trimmed=4,
    )


def test_memory_with_a_wrong_field():
    """If a field of the memory has a wrong type, all other fields are returned."""
    state = {"version": 2, "facts": 5}
    info = said("updated", {"providerData": {"memory": {"state": state}}}).session

    assert info.memory == rt.MemoryState(version=2, extra={"facts": 5})


def test_updates_are_merged():
    """An update changes only the fields that the update has, at all levels."""
    settings = Settings(Session(), is_inworld=True)
    settings.handle(said("created", CREATED))
    settings.handle(said("updated", {"audio": {"output": {"voice": "Sarah"}}, "model": "m"}))

    assert ("Sarah", "inworld-tts-2", "m", "sess_1") == (
        settings.info.voice,
        settings.info.tts_model,
        settings.info.model,
        settings.info.id,
    )


def test_null_switches_off():
    """If turn detection is updated to null, the session has no turn detection."""
    settings = Settings(Session(), is_inworld=True)
    settings.handle(said("created", CREATED))
    settings.handle(said("updated", {"audio": {"input": {"turn_detection": None}}}))

    assert settings.info.turn_detection is None
    assert rt.PcmFormat(16000) == settings.info.input_format


def test_object_of_another_type_is_replaced():
    """If the type of an object changes, the new object replaces the old one completely."""
    settings = Settings(Session(), is_inworld=True)
    settings.handle(said("created", CREATED))
    changes = {
        "format": {"type": "audio/pcmu"},
        "turn_detection": {"type": "server_vad", "threshold": 0.5},
    }
    settings.handle(said("updated", {"audio": {"input": changes}}))

    assert rt.MulawFormat() == settings.info.input_format
    assert {"type": "server_vad", "threshold": 0.5} == settings.info.turn_detection


def test_a_new_session():
    """``session.created`` replaces all settings of the session."""
    settings = Settings(Session(), is_inworld=True)
    settings.handle(said("updated", {"instructions": "old"}))
    settings.handle(said("created", CREATED))

    assert settings.info.instructions is None


def test_merging_deep_objects():
    """Objects of any depth can be merged."""
    deep = {}
    for _ in range(20_000):
        deep = {"a": deep}
    merged = merge(deep, deep)
    levels = 0
    while merged:
        levels, merged = levels + 1, merged["a"]

    assert 20_000 == levels


OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 2) | st.none(), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(OBJECTS, OBJECTS)
def test_merging(old, new):
    """A merge has all fields of the new object, and the other fields of the old object."""
    before = json.dumps([old, new])
    merged = merge(old, new)

    def holds(whole, part):
        if not isinstance(part, dict):
            return whole == part
        return isinstance(whole, dict) and all(holds(whole.get(k), v) for k, v in part.items())

    assert holds(merged, new)
    assert all(merged[name] == old[name] for name in old.keys() - new.keys())
    assert merge(merged, new) == merged
    assert before == json.dumps([old, new])
