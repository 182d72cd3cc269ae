"""Messages that the services send, with all fields that the client reads."""

from __future__ import annotations

from typing import Any

__all__ = ["CHAT_COMPLETION", "CHAT_EVENT", "JOB_RESULT", "REALTIME", "STT", "TTS"]

Message = dict[str, Any]

_STATUS = {"code": 0, "message": "", "details": []}
_FAULT = {"code": 3, "message": "unknown voice", "details": [{"errorType": "NO_RETRY"}]}
_TIMES = {
    "wordAlignment": {
        "words": ["Hello", "there"],
        "wordStartTimeSeconds": [0.0, 0.3],
        "wordEndTimeSeconds": [0.2, 0.5],
        "phoneticDetails": [
            {
                "wordIndex": 0,
                "phones": [
                    {
                        "phoneSymbol": "h",
                        "visemeSymbol": "sil",
                        "startTimeSeconds": 0.0,
                        "durationSeconds": 0.1,
                    }
                ],
            }
        ],
    },
    "characterAlignment": {
        "characters": ["H"],
        "characterStartTimeSeconds": [0.0],
        "characterEndTimeSeconds": [0.1],
    },
}

TTS: list[Message] = [
    {
        "result": {
            "contextId": "c1",
            "contextCreated": {
                "voiceId": "Hana",
                "audioConfig": {"audioEncoding": "PCM", "sampleRateHertz": 24000},
                "synthesisContext": {"previousRequests": [{"text": "Hi."}]},
            },
            "status": _STATUS,
        }
    },
    {
        "result": {
            "contextId": "c1",
            "audioChunk": {
                "audioContent": "AAAA",
                "usage": {"processedCharactersCount": 5, "modelId": "m"},
                "timestampInfo": _TIMES,
            },
            "status": _STATUS,
        }
    },
    {"result": {"contextId": "c1", "contextUpdated": {"voiceId": "Hana"}, "status": _STATUS}},
    {"result": {"contextId": "c1", "flushCompleted": {}, "status": _STATUS}},
    {"result": {"contextId": "c1", "contextClosed": {}, "status": _STATUS}},
    {"result": {"contextId": "c1", "status": _FAULT}},
    {"error": _FAULT},
]

_WORD = {"word": "Hello", "startTimeMs": "0", "endTimeMs": "200", "confidence": 0.9, "speaker": "1"}
_LABEL = {"label": "calm", "confidence": 0.8}
_SAID = {
    "transcript": "Hello there",
    "isFinal": True,
    "wordTimestamps": [_WORD, {**_WORD, "word": "there", "startTimeMs": 300, "endTimeMs": 500.0}],
    "voiceProfile": {"emotion": [_LABEL], "age": [_LABEL]},
}

STT: list[Message] = [
    {"result": {"transcription": _SAID, "status": _STATUS}},
    {"result": {"speechStarted": {"confidence": 0.9, "startTimeMs": 5}}},
    {"result": {"speechStopped": {"startTimeMs": 5, "silenceMs": 3}}},
    {"result": {"usage": {"transcribedAudioMs": "12", "modelId": "m"}}},
    {"result": {"status": _FAULT}},
    {"error": _FAULT},
]

JOB_RESULT: Message = {
    "segments": [{**_SAID, "startTimeMs": "0", "endTimeMs": "500"}],
    "usage": {"transcribedAudioMs": "12", "modelId": "m"},
}

CHAT_COMPLETION: Message = {
    "id": "x1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hello.",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
                "audio": {"id": "a", "data": "AAAA", "transcript": "Hello."},
            },
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 1},
    },
    "metadata": {"attempts": [{"model": "m", "success": True}]},
}

CHAT_EVENT: Message = {
    **CHAT_COMPLETION,
    "choices": [
        {
            "index": 0,
            "delta": {
                "content": "Hello",
                "tool_calls": [
                    {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            "finish_reason": None,
        }
    ],
}

_PLACE = {"response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}
_ITEM = {
    "id": "i1",
    "object": "realtime.item",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "audio", "transcript": "Hello."}],
}
_CALL = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
_RESPONSE = {
    "id": "r1",
    "object": "realtime.response",
    "status": "completed",
    "status_details": {"type": "failed", "error": {"type": "server_error", "code": "x"}},
    "output": [_ITEM],
    "usage": {"total_tokens": 3, "input_token_details": {"text_tokens": 1}},
    "metadata": {"a": "b"},
}
_SESSION = {
    "type": "realtime",
    "id": "s1",
    "model": "m/1",
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "turn_detection": {"type": "server_vad", "threshold": 0.5},
            "transcription": {"model": "m"},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "Hana", "speed": 1.0},
    },
    "temperature": 0.8,
    "max_output_tokens": 100,
    "expires_at": 1,
    "providerData": {"memory": {"state": {"facts": ["x"], "turn": 1}}},
}

REALTIME: list[Message] = [
    {"type": "session.created", "event_id": "e1", "session": _SESSION},
    {"type": "session.updated", "event_id": "e1", "session": _SESSION},
    {"type": "conversation.item.added", "item": _ITEM, "previous_item_id": None},
    {"type": "conversation.item.done", "item": _CALL, "previous_item_id": "i0"},
    {"type": "conversation.item.truncated", "item_id": "i1", "content_index": 0, "audio_end_ms": 1},
    {"type": "conversation.item.deleted", "item_id": "i1"},
    {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "i1",
        "content_index": 0,
        "transcript": "Hi.",
        "providerData": {"voiceProfile": {"emotion": [_LABEL]}},
    },
    {"type": "conversation.item.input_audio_transcription.delta", "item_id": "i1", "delta": "Hi"},
    {"type": "input_audio_buffer.speech_started", "item_id": "i1", "audio_start_ms": 5},
    {"type": "input_audio_buffer.speech_stopped", "item_id": "i1", "audio_end_ms": 5},
    {"type": "input_audio_buffer.committed", "item_id": "i1", "previous_item_id": None},
    {"type": "response.created", "response": {**_RESPONSE, "status": "in_progress"}},
    {"type": "response.output_item.added", "response_id": "r1", "output_index": 0, "item": _ITEM},
    {"type": "response.content_part.added", **_PLACE, "part": {"type": "text", "text": "Hi"}},
    {"type": "response.content_part.delta", **_PLACE, "part": {"text": "Hi"}},
    {"type": "response.output_audio.delta", **_PLACE, "delta": "AAAA", "timestamp_info": _TIMES},
    {"type": "response.output_audio_transcript.delta", **_PLACE, "delta": "Hi"},
    {"type": "response.output_text.done", **_PLACE, "text": "Hi"},
    {
        "type": "response.function_call_arguments.done",
        "response_id": "r1",
        "item_id": "f1",
        "output_index": 0,
        "call_id": "c1",
        "arguments": "{}",
    },
    {"type": "response.output_item.done", "response_id": "r1", "output_index": 0, "item": _CALL},
    {"type": "response.done", "response": _RESPONSE},
    {
        "type": "error",
        "event_id": "e9",
        "error": {"type": "x", "code": "y", "message": "z", "param": "p", "event_id": "e1"},
    },
]
