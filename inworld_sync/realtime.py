"""
Every class of a realtime session: settings, items, commands, events, and what a session returns.

``inworld_sync`` itself has those that most programs use. A name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from inworld_sync.models import realtime as _models

if TYPE_CHECKING:
    from inworld_sync.models.events import StreamEnded as StreamEnded, UnknownEvent as UnknownEvent
    from inworld_sync.models.realtime import (
        AlawFormat as AlawFormat,
        AppendInputAudio as AppendInputAudio,
        AudioDelta as AudioDelta,
        AudioDone as AudioDone,
        AudioFormat as AudioFormat,
        Backchannel as Backchannel,
        BackchannelDelta as BackchannelDelta,
        BackchannelDone as BackchannelDone,
        BackchannelSkipped as BackchannelSkipped,
        Caching as Caching,
        CancelResponse as CancelResponse,
        ClearInputAudio as ClearInputAudio,
        ClearOutputAudio as ClearOutputAudio,
        Command as Command,
        CommitInputAudio as CommitInputAudio,
        ContentPart as ContentPart,
        ContentPartAdded as ContentPartAdded,
        ContentPartDone as ContentPartDone,
        ConversationEntry as ConversationEntry,
        CreateItem as CreateItem,
        CreateResponse as CreateResponse,
        DeciderKind as DeciderKind,
        DeleteItem as DeleteItem,
        Eagerness as Eagerness,
        ErrorInfo as ErrorInfo,
        ErrorReported as ErrorReported,
        Float32Format as Float32Format,
        FunctionArgumentsDelta as FunctionArgumentsDelta,
        FunctionArgumentsDone as FunctionArgumentsDone,
        FunctionCall as FunctionCall,
        FunctionCallOutput as FunctionCallOutput,
        FunctionChoice as FunctionChoice,
        FunctionTool as FunctionTool,
        HasDefinition as HasDefinition,
        IdleTimeoutTriggered as IdleTimeoutTriggered,
        InputAudio as InputAudio,
        InputAudioCleared as InputAudioCleared,
        InputAudioCommitted as InputAudioCommitted,
        InputImage as InputImage,
        InputSpeechStarted as InputSpeechStarted,
        InputSpeechStopped as InputSpeechStopped,
        InputText as InputText,
        InputTranscription as InputTranscription,
        Item as Item,
        ItemAdded as ItemAdded,
        ItemDeleted as ItemDeleted,
        ItemDone as ItemDone,
        ItemReference as ItemReference,
        ItemRetrieved as ItemRetrieved,
        ItemTruncated as ItemTruncated,
        ManualTurns as ManualTurns,
        McpApprovalRequest as McpApprovalRequest,
        McpApprovalResponse as McpApprovalResponse,
        McpArgumentsDelta as McpArgumentsDelta,
        McpArgumentsDone as McpArgumentsDone,
        McpCall as McpCall,
        McpCallCompleted as McpCallCompleted,
        McpCallFailed as McpCallFailed,
        McpCallStarted as McpCallStarted,
        McpChoice as McpChoice,
        McpListCompleted as McpListCompleted,
        McpListFailed as McpListFailed,
        McpListStarted as McpListStarted,
        McpTool as McpTool,
        McpToolList as McpToolList,
        Memory as Memory,
        MemoryState as MemoryState,
        Message as Message,
        Modality as Modality,
        MulawFormat as MulawFormat,
        NoiseReduction as NoiseReduction,
        OutputAudio as OutputAudio,
        OutputAudioCleared as OutputAudioCleared,
        OutputAudioStarted as OutputAudioStarted,
        OutputAudioStopped as OutputAudioStopped,
        OutputItemAdded as OutputItemAdded,
        OutputItemDone as OutputItemDone,
        OutputText as OutputText,
        PcmFormat as PcmFormat,
        PingReceived as PingReceived,
        Prompt as Prompt,
        ProviderData as ProviderData,
        RateLimit as RateLimit,
        RateLimitsUpdated as RateLimitsUpdated,
        RealtimeEvent as RealtimeEvent,
        Reasoning as Reasoning,
        ReasoningEffort as ReasoningEffort,
        ResponseConfig as ResponseConfig,
        ResponseCreated as ResponseCreated,
        ResponseDone as ResponseDone,
        ResponseInfo as ResponseInfo,
        Responsiveness as Responsiveness,
        RetentionRatio as RetentionRatio,
        RetrieveItem as RetrieveItem,
        Role as Role,
        SegmenterStrategy as SegmenterStrategy,
        SemanticVad as SemanticVad,
        ServerVad as ServerVad,
        Session as Session,
        SessionCreated as SessionCreated,
        SessionInfo as SessionInfo,
        SessionUpdated as SessionUpdated,
        StatusDetails as StatusDetails,
        SteeringHandling as SteeringHandling,
        SttTuning as SttTuning,
        TextDelta as TextDelta,
        TextDone as TextDone,
        TextGeneration as TextGeneration,
        TokenDetails as TokenDetails,
        Tool as Tool,
        ToolChoice as ToolChoice,
        ToolMode as ToolMode,
        TranscriptDelta as TranscriptDelta,
        TranscriptDone as TranscriptDone,
        TruncateItem as TruncateItem,
        TtsTuning as TtsTuning,
        TurnDetection as TurnDetection,
        TurnSuggested as TurnSuggested,
        TurnSuggestionRevoked as TurnSuggestionRevoked,
        UnknownItem as UnknownItem,
        UnknownPart as UnknownPart,
        UpdateSession as UpdateSession,
        Usage as Usage,
        UserTranscriptCompleted as UserTranscriptCompleted,
        UserTranscriptFailed as UserTranscriptFailed,
        UserTranscriptUpdated as UserTranscriptUpdated,
        UserTurnMode as UserTurnMode,
        VoiceLabel as VoiceLabel,
        WebSearchTool as WebSearchTool,
    )
    from inworld_sync.sessions.realtime.endpoint import RealtimeEndpoint as RealtimeEndpoint
    from inworld_sync.sessions.realtime.events import (
        ApprovalRequested as ApprovalRequested,
        Interrupted as Interrupted,
        InvalidMessage as InvalidMessage,
        ResponseStarted as ResponseStarted,
        SessionReconnected as SessionReconnected,
        ToolCalled as ToolCalled,
        ToolOutputSent as ToolOutputSent,
    )
    from inworld_sync.sessions.realtime.player import Player as Player
    from inworld_sync.sessions.realtime.response import Response as Response
    from inworld_sync.sessions.realtime.session import RealtimeSession as RealtimeSession
    from inworld_sync.sessions.tools.function import tool as tool

# Where the names live that are not in models.realtime; a test compares this with the imports above.
_HOMES = {
    "models.events": ["StreamEnded", "UnknownEvent"],
    "sessions.realtime.endpoint": ["RealtimeEndpoint"],
    "sessions.realtime.events": [
        "ApprovalRequested",
        "Interrupted",
        "InvalidMessage",
        "ResponseStarted",
        "SessionReconnected",
        "ToolCalled",
        "ToolOutputSent",
    ],
    "sessions.realtime.player": ["Player"],
    "sessions.realtime.response": ["Response"],
    "sessions.realtime.session": ["RealtimeSession"],
    "sessions.tools.function": ["tool"],
    "models.realtime": _models.__all__,
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [*_MODULES]


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"inworld_sync.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
