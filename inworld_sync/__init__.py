"""
A blocking Python client for Inworld AI's TTS, STT and Realtime services.

Each public name is imported at its first use, so that ``import inworld_sync`` takes about a
millisecond.
"""

from __future__ import annotations

from importlib import import_module

# Type checkers treat this name as true. Importing typing would take longer than the rest of this
# module.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from inworld_sync._version import __version__ as __version__
    from inworld_sync.auth import (
        ApiKey as ApiKey,
        Auth as Auth,
        Endpoint as Endpoint,
        Token as Token,
    )
    from inworld_sync.batch.celery_batch import CeleryBatch as CeleryBatch, CeleryRun as CeleryRun
    from inworld_sync.client import Inworld as Inworld
    from inworld_sync.devices.microphone import Microphone as Microphone
    from inworld_sync.devices.null import NullSpeaker as NullSpeaker
    from inworld_sync.devices.playout_sink import PlayoutSink as PlayoutSink
    from inworld_sync.devices.speaker import Speaker as Speaker
    from inworld_sync.devices.speaker_input import SpeakerInput as SpeakerInput
    from inworld_sync.devices.wav_file import WavSink as WavSink, WavSource as WavSource
    from inworld_sync.errors import *
    from inworld_sync.limits.limiter import ConnectionLimiter as ConnectionLimiter
    from inworld_sync.limits.redis_limiter import RedisLimiter as RedisLimiter
    from inworld_sync.models.batch import *
    from inworld_sync.models.catalog import *
    from inworld_sync.models.chat import *
    from inworld_sync.models.devices import *
    from inworld_sync.models.events import *
    from inworld_sync.models.options import *
    from inworld_sync.models.pronunciations import *
    from inworld_sync.models.realtime import (
        AlawFormat as AlawFormat,
        FunctionChoice as FunctionChoice,
        FunctionTool as FunctionTool,
        ManualTurns as ManualTurns,
        McpTool as McpTool,
        Message as Message,
        MulawFormat as MulawFormat,
        PcmFormat as PcmFormat,
        ProviderData as ProviderData,
        ResponseConfig as ResponseConfig,
        SemanticVad as SemanticVad,
        ServerVad as ServerVad,
        Session as Session,
        WebSearchTool as WebSearchTool,
    )
    from inworld_sync.models.stt import *
    from inworld_sync.models.tokens import AccessToken as AccessToken
    from inworld_sync.models.tts import *
    from inworld_sync.models.turns import *
    from inworld_sync.models.voices import *
    from inworld_sync.rest.llm import ChatStream as ChatStream
    from inworld_sync.rest.previews import VoicePreview as VoicePreview
    from inworld_sync.rest.tokens import JwtAuth as JwtAuth, Tokens as Tokens
    from inworld_sync.rest.transcriptions import TranscriptionJob as TranscriptionJob
    from inworld_sync.sessions.playback import Playback as Playback
    from inworld_sync.sessions.realtime.events import (
        ApprovalRequested as ApprovalRequested,
        Interrupted as Interrupted,
        ResponseStarted as ResponseStarted,
        SessionReconnected as SessionReconnected,
        ToolCalled as ToolCalled,
        ToolOutputSent as ToolOutputSent,
    )
    from inworld_sync.sessions.realtime.response import Response as Response
    from inworld_sync.sessions.realtime.session import RealtimeSession as RealtimeSession
    from inworld_sync.sessions.stt.stream import SttStream as SttStream
    from inworld_sync.sessions.tts.connection import TtsConnection as TtsConnection
    from inworld_sync.sessions.tts.context import TtsContext as TtsContext
    from inworld_sync.sessions.tts.speech import (
        AudioChunk as AudioChunk,
        Speech as Speech,
        SpeechStream as SpeechStream,
    )
    from inworld_sync.tools.function import tool as tool
    from inworld_sync.wire.realtime.endpoint import RealtimeEndpoint as RealtimeEndpoint

# The module of each public name. A test compares these modules with the imports above.
_HOMES = {
    "_version": "__version__",
    "auth": "ApiKey Auth Endpoint Token",
    "batch.celery_batch": "CeleryBatch CeleryRun",
    "client": "Inworld",
    "devices.microphone": "Microphone",
    "devices.null": "NullSpeaker",
    "devices.playout_sink": "PlayoutSink",
    "devices.speaker": "Speaker",
    "devices.speaker_input": "SpeakerInput",
    "devices.wav_file": "WavSink WavSource",
    "errors": (
        "AudioError AuthError ClosedError ConfigError ConnectError ConnectionLost "
        "ContextLimitError DeadlineExceeded DeviceError InvalidRequestError InworldError "
        "LocalProtocolError NotFoundError ProtocolError QuotaError RemoteProtocolError "
        "ServiceError TransportError"
    ),
    "limits.redis_limiter": "RedisLimiter",
    "models.batch": "BatchFailure BatchProgress BatchSummary",
    "models.catalog": "STT_MODELS TTS_MODELS ModelInfo Router RouterRoute RouterVariant",
    "models.chat": (
        "CHAT_AUDIO_RATE_HZ ChatAudio ChatCompletion ChatConfig ChatDelta ChatMessage ChatMessages "
        "ChatTool ChatToolCall ChatToolCallDelta ChatUsage ChatVoice ReasoningEffort"
    ),
    "models.devices": (
        "AudioSink AudioSource DeviceChanged DeviceInfo EchoStats ItemSink SpeakerMark SpeakerStats"
    ),
    "models.events": "InvalidMessage StreamEnded UnknownEvent",
    "models.options": "Limiter Options WireObserver TraceEvent",
    "models.pronunciations": "Pronunciation PronunciationDictionary",
    "models.stt": (
        "AssemblyAiConfig GroqConfig InworldSttConfig Reconnected SonioxConfig SonioxContext "
        "SpeechStarted SpeechStopped SttEncoding SttStats SttUsage TranscribeConfig Transcript "
        "Transcription PartialTranscript VoiceProfileConfig"
    ),
    "models.tts": (
        "AudioConfig AudioEncoding CharacterTime ContextClosed ContextConfig ContextCreated "
        "ContextUpdated DeliveryMode FlushCompleted Phoneme SynthesisContext TextNormalization "
        "TimestampTransport TimestampType TtsUsage Viseme VisemeSet WordTime"
    ),
    "models.tokens": "AccessToken",
    "models.turns": "Turn VoiceProfile VoiceTrait Word",
    "models.voices": "ClonedVoice SampleReport Voice",
    "limits.limiter": "ConnectionLimiter",
    "sessions.playback": "Playback",
    "rest.previews": "VoicePreview",
    "rest.llm": "ChatStream",
    "rest.tokens": "JwtAuth Tokens",
    "rest.transcriptions": "TranscriptionJob",
    "sessions.tts.speech": "AudioChunk Speech SpeechStream",
    "sessions.stt.stream": "SttStream",
    "sessions.tts.connection": "TtsConnection",
    "sessions.tts.context": "TtsContext",
    "models.realtime": (
        "AlawFormat FunctionChoice FunctionTool ManualTurns McpTool Message MulawFormat PcmFormat "
        "ProviderData ResponseConfig SemanticVad ServerVad Session WebSearchTool"
    ),
    "wire.realtime.endpoint": "RealtimeEndpoint",
    "sessions.realtime.events": (
        "ApprovalRequested Interrupted ResponseStarted SessionReconnected ToolOutputSent ToolCalled"
    ),
    "sessions.realtime.response": "Response",
    "sessions.realtime.session": "RealtimeSession",
    "tools.function": "tool",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}


if not TYPE_CHECKING:
    __all__ = [*_MODULES]

    def __getattr__(name: str) -> object:
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from inworld_sync.locks import imports

        with imports:
            value = getattr(import_module(f"{__name__}.{module}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES})
