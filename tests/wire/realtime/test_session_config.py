"""Settings of the REST interface are converted to JSON, to settings of a session, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from inworld_sync import ConfigError, Session, tool
from inworld_sync.models import realtime as rt
from inworld_sync.realtime import McpServer, SessionConfig, TurnDetectionConfig

PARAMETERS = {"type": "object", "properties": {"city_name": {"type": "string"}}}

# Every field of the schema, and fields that it does not have.
BODY: dict[str, object] = {
    "model": "openai/gpt-4o-mini",
    "instructions": "Be brief.",
    "temperature": 0.5,
    "maxTokens": 100,
    "voice": "Dennis",
    "inputAudioFormat": "pcm16",
    "outputAudioFormat": "pcma",
    "turnDetection": {
        "type": "server_vad",
        "threshold": 0.25,
        "silenceDurationMs": 300,
        "later": 1,
    },
    "tools": [{"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}],
    "toolChoice": {"type": "function", "name": "weather"},
    "mcpServers": [{"url": "https://mcp.example/a", "transport": "sse", "more": {}}],
    "futureSetting": {"a_b": 1},
}

SESSION = Session(
    model="openai/gpt-4o-mini",
    instructions="Be brief.",
    temperature=0.5,
    max_output_tokens=100,
    voice="Dennis",
    input_format="pcm16",
    output_format="audio/pcma",
    turn_detection=rt.ServerVad(threshold=0.25, silence_duration_ms=300, extra={"later": 1}),
    tools=[
        rt.FunctionTool(name="weather", parameters=PARAMETERS, extra={"strict": True}),
        rt.McpTool(
            server_label="mcp.example", server_url="https://mcp.example/a", extra={"more": {}}
        ),
    ],
    tool_choice=rt.FunctionChoice("weather"),
    extra={"futureSetting": {"a_b": 1}},
)


def test_json() -> None:
    """The JSON has the names of the schema; unknown fields are kept, at every level."""
    assert SessionConfig.from_json(BODY).to_json() == BODY


def test_nothing() -> None:
    """A setting that is None is left out, and stays None in a session."""
    assert {} == SessionConfig().to_json()
    assert Session() == SessionConfig().to_session()
    assert SessionConfig() == SessionConfig.from_session(Session())


def test_to_session() -> None:
    """Every setting has its place in a session."""
    assert SESSION == SessionConfig.from_json(BODY).to_session()


def test_there_and_back() -> None:
    """If the REST interface has all settings of a session, both conversions keep the session."""
    config = SessionConfig.from_session(SESSION)

    assert SESSION == config.to_session()
    assert config == SessionConfig.from_json(config.to_json())


@pytest.mark.parametrize(
    ("config", "detection"),
    [
        (TurnDetectionConfig(type="none"), rt.ManualTurns()),
        (TurnDetectionConfig(type="semantic_vad"), rt.SemanticVad()),
        (
            TurnDetectionConfig(type="semantic_vad", threshold=0.5),
            rt.SemanticVad(extra={"threshold": 0.5}),
        ),
        (TurnDetectionConfig(type="server_vad"), rt.ServerVad()),
    ],
)
def test_turn_detection(config: TurnDetectionConfig, detection: rt.TurnDetection) -> None:
    """Each kind of turn detection is converted in both directions."""
    there = SessionConfig(turn_detection=config)
    back = Session(turn_detection=detection)

    assert (back, there) == (there.to_session(), SessionConfig.from_session(back))


def test_servers_of_one_host() -> None:
    """Two MCP servers of one host get different labels."""
    servers = [McpServer(url=f"https://mcp.example/{name}") for name in "ab"]
    tools = SessionConfig(mcp_servers=servers).to_session().tools

    assert tools is not None
    assert ["mcp.example", "mcp.example-2"] == [
        each.server_label for each in tools if isinstance(each, rt.McpTool)
    ]


def test_a_python_function() -> None:
    """A decorated function in ``tools`` is converted to a description of the function."""

    @tool
    def weather(city: str) -> str:
        """Weather for a city."""
        return city

    (found,) = SessionConfig(tools=[weather]).to_json()["tools"]  # type: ignore[misc]

    assert ("function", "weather", "Weather for a city.") == (
        found["type"],
        found["name"],
        found["description"],
    )


NO_PLACE = [
    (Session(speed=1.5), "no place for speed"),
    (Session(tts_model="m", include=["x"]), "tts_model, include"),
    (Session(max_output_tokens="inf"), "max_output_tokens='inf'"),
    (Session(input_format=rt.PcmFormat(16000)), "input_format PcmFormat"),
    (Session(turn_detection=rt.SemanticVad(eagerness="low")), "eagerness of turn_detection"),
    (Session(turn_detection=rt.ServerVad(prefix_padding_ms=1)), "prefix_padding_ms"),
]


@pytest.mark.parametrize(("session", "words"), NO_PLACE)
def test_no_place(session: Session, words: str) -> None:
    """If a conversion would lose a setting, an error names the setting."""
    with pytest.raises(ConfigError, match=words):
        SessionConfig.from_session(session)


WRONG: list[Mapping[str, Any]] = [
    {"maxTokens": 0},
    {"maxTokens": "many"},
    {"temperature": 3},
    {"inputAudioFormat": "opus"},
    {"turnDetection": {"type": "sometimes"}},
    {"turnDetection": {"threshold": 0.5}},
    {"turnDetection": {"type": "none", "silenceDurationMs": -1}},
    {"tools": [{"name": "no type"}]},
    {"tools": "weather"},
    {"toolChoice": "sometimes"},
    {"mcpServers": [{"transport": "sse"}]},
    {"mcpServers": [{"url": "ftp://user:secret@x"}]},
]


@pytest.mark.parametrize("body", WRONG, ids=str)
def test_wrong(body: Mapping[str, Any]) -> None:
    """A wrong value raises ConfigError. The error does not show the password of a URL."""
    with pytest.raises(ConfigError) as caught:
        SessionConfig.from_json(body)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"tools": [{"type": "function"}]},
        {"tools": [{"type": "function", "name": "a b"}]},
        {"tools": [{"type": "mcp", "server_label": "x"}]},
        {"toolChoice": {"type": "other"}},
        {"toolChoice": {"type": "function"}},
    ],
    ids=str,
)
def test_wrong_for_a_session(config: Mapping[str, Any]) -> None:
    """Converting a tool or a tool choice that a session does not accept raises ConfigError."""
    with pytest.raises(ConfigError):
        SessionConfig.from_json(config).to_session()
