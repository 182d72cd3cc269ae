"""Programs that use realtime sessions. Type checkers check this file. It never runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from typing_extensions import assert_type

from inworld_sync import (
    ApprovalRequested,
    AudioChunk,
    AudioSink,
    AudioSource,
    FunctionTool,
    Interrupted,
    Inworld,
    ManualTurns,
    McpTool,
    Message,
    MulawFormat,
    PcmFormat,
    Playback,
    ProviderData,
    RealtimeEndpoint,
    RealtimeSession,
    Response,
    ResponseConfig,
    ResponseStarted,
    SemanticVad,
    ServerVad,
    Session,
    SessionReconnected,
    Speech,
    ToolCalled,
    ToolOutputSent,
    WebSearchTool,
    WordTime,
    tool,
)
from inworld_sync.models.realtime import (
    AudioDelta,
    ClearInputAudio,
    ConversationEntry,
    Item,
    SessionInfo,
    Usage,
    UserTranscriptUpdated,
)


@tool
def weather(city: str, days: int = 1) -> str:
    """Weather for a city."""
    return city * days


@tool(name="clock", timeout=5)
def now() -> dict[str, int]:
    """The time."""
    return {"hour": 12}


def settings() -> list[Session]:
    assert_type(weather("Oslo"), str)
    assert_type(now(), dict[str, int])
    return [
        Session(instructions="Be brief.", voice="Dennis", tools=[weather, now]),
        Session(tools=[FunctionTool(name="x"), WebSearchTool()], turn_detection=ManualTurns()),
        Session(tools=[McpTool(server_label="a", server_url="https://x.test/mcp")]),
        Session(turn_detection=SemanticVad(eagerness="low"), input_format=PcmFormat(16000)),
        Session(turn_detection=ServerVad(threshold=0.6), output_format=MulawFormat()),
        Session(provider_data=ProviderData(user_id="u1")),
    ]


def conversation(iw: Inworld) -> None:
    with iw.realtime.connect(Session(), reconnect_timeout=0, barge_in=False) as rt:
        assert_type(rt, RealtimeSession)
        reply = rt.send_message("Hello", ResponseConfig(output_modalities=["text"]))
        assert_type(reply, Response)
        assert_type(reply.text_stream(), Iterator[str])
        assert_type(reply.wait(5), Response)
        assert_type(reply.usage, Usage | None)
        assert_type(reply.audio.read(), Speech)
        assert_type(iter(reply.audio), Iterator[AudioChunk])
        assert_type(rt.conversation, tuple[ConversationEntry, ...])
        assert_type(rt.update(Session(voice="Ashley")), SessionInfo)
        assert_type(rt.add(Message.user("Hi")), str)
        assert_type(rt.retrieve("item_1"), Item)
        rt.send(ClearInputAudio())
    iw.realtime.connect(endpoint=RealtimeEndpoint.openai("gpt-realtime")).close()


def sound(rt: RealtimeSession, microphone: AudioSource, speaker: AudioSink) -> None:
    rt.send_audio(bytes(2))
    rt.send_audio(np.zeros((10, 2), np.float32), 48000, channels=2, timeout=1)
    rt.play(speaker, backchannel=speaker)
    assert_type(rt.respond().audio.play(speaker), Playback)
    rt.respond().audio.play(speaker, on_word=lambda word: word.text, on_phoneme=print)
    assert_type(rt.interrupt({"item_1": 300.0}), Interrupted)
    rt.converse(microphone, speaker, hang_up_after=5)


def events(rt: RealtimeSession) -> None:
    for event in rt:
        if isinstance(event, AudioDelta):
            assert_type(event.item_id, str)
            assert_type(event.words, tuple[WordTime, ...])
        elif isinstance(event, UserTranscriptUpdated):
            assert_type(event.transcript, str)
        elif isinstance(event, ResponseStarted):
            assert_type(event.response, Response)
        elif isinstance(event, Interrupted):
            assert_type(event.heard_ms, Mapping[str, float])
        elif isinstance(event, ToolCalled):
            assert_type(rt.submit_tool_output(event.call.call_id, "done"), Response | None)
        elif isinstance(event, ToolOutputSent):
            assert_type(event.error, Exception | None)
        elif isinstance(event, ApprovalRequested):
            rt.approve(event.request.id or "", approve=False)
        elif isinstance(event, SessionReconnected):
            assert_type(event.lost_items, tuple[str, ...])
    rt.on(AudioDelta, print)
    rt.on("response.done", print)
