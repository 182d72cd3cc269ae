"""
Implements chat completions. The answer is one JSON object, or a stream of server-sent events.

The reply maker of Realtime makes the answers. Source: Inworld Router API reference, "Create chat
completion", and the guide "LLM + TTS" for spoken answers.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import re
import time
import uuid
from collections.abc import Generator, Iterable, Iterator, Mapping

import attrs

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.llm.model_list import model_id
from inworld_sync.emulator.llm.requests import ChatFailed, ChatRequest, read_request
from inworld_sync.emulator.protojson import refusal
from inworld_sync.emulator.realtime.replies import ReplyPart, ToolCall, text_of
from inworld_sync.emulator.realtime.rules import answer
from inworld_sync.emulator.routes import HttpRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import Malformed, Refused
from inworld_sync.emulator.tts.config import ContextConfig, read_config
from inworld_sync.emulator.tts.speech import speak
from inworld_sync.errors import InworldError

__all__ = ["ROUTES"]

_logger = logging.getLogger("inworld_sync.emulator")

# This number is an approximation for English text.
_CHARACTERS_PER_TOKEN = 4
# The arguments of a call are sent in pieces of this many characters.
_ARGUMENT_PIECE = 12
_AUDIO_RATE_HZ = 48000
_DEFAULT_TTS_MODEL = "inworld-tts-2"
_AUTO_MODEL = "openai/gpt-4o-mini"
_PUNCTUATION_CHARACTERS = 8
_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?=\s)")


def _complete(request: Request, shared: SharedState) -> Response:
    try:
        asked = read_request(request, shared.stopping)
        completion = _Completion(asked, shared)
        # An error before the first part gets an HTTP status. A later error of a stream is an event.
        parts = completion.started()
        if asked.is_streamed:
            events = completion.events(parts)
            return Response(headers={"Content-Type": "text/event-stream"}, body=events)
        return Response.of_json(completion.whole(parts))
    except ChatFailed as error:
        return error.response()
    except Refused as error:
        return refusal(error, field="error")


ROUTES = (
    HttpRoute(
        method="POST", path="/v1/chat/completions", handler=_complete, has_openai_errors=True
    ),
)


class _Completion:
    """Makes the answer to one request."""

    def __init__(self, request: ChatRequest, shared: SharedState) -> None:
        self._request = request
        self._shared = shared
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._started = time.monotonic()
        self._first_ms = 0
        self._attempts: list[dict[str, object]] = []
        self._model, instructions = self._choose()
        self._reply = attrs.evolve(
            request.reply,
            instructions="\n".join(filter(None, [*instructions, request.reply.instructions])),
            model=self._model,
        )
        self._voice = self._read_voice()
        self._finish_reason = "stop"
        self._output_characters = 0

    def started(self) -> Iterator[ReplyPart]:
        """Wait for the first part of the answer, and return all parts."""
        parts = self._limited()
        first = next(parts, None)
        self._first_ms = round((time.monotonic() - self._started) * 1000)
        return parts if first is None else itertools.chain([first], parts)

    def whole(self, parts: Iterable[ReplyPart]) -> dict[str, object]:
        """Make the body of a whole answer."""
        made = list(parts)
        text = "".join(part for part in made if isinstance(part, str))
        calls = [part for part in made if isinstance(part, ToolCall)]
        message: dict[str, object] = {"role": "assistant", "content": text or None}
        if calls:
            message["tool_calls"] = [_described(_new_call_id(), call) for call in calls]
        if self._voice is not None and text:
            pcm = b"".join(self._spoken(text))
            audio = base64.b64encode(pcm).decode()
            message["audio"] = {
                "id": f"audio_{uuid.uuid4().hex}",
                "data": audio,
                "transcript": text,
            }
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], **self._tail()}

    def events(self, parts: Iterable[ReplyPart]) -> Generator[bytes, None, None]:
        """Yield the events of a streamed answer. Each event is a part of the response's body."""
        try:
            yield from self._deltas(parts)
        except ChatFailed as error:
            yield _event(error.body)
        except Refused as error:
            yield _event({"error": {"code": error.code, "message": error.message, "details": []}})
        else:
            yield b"data: [DONE]\n\n"

    def _deltas(self, parts: Iterable[ReplyPart]) -> Iterator[bytes]:
        yield self._delta({"role": "assistant", "content": ""})
        sentences, count = "", 0
        for part in parts:
            if isinstance(part, str):
                yield self._delta({"content": part})
                sentences += part
                while self._voice is not None and (end := self._sentence_end(sentences, part)):
                    yield from self._audio_deltas(sentences[:end])
                    sentences = part = sentences[end:]
                continue
            yield from self._call_deltas(count, part)
            count += 1
        if self._voice is not None:
            yield from self._audio_deltas(sentences)
        tail = self._tail()
        usage = tail.pop("usage")
        yield self._delta({}, finish_reason=self._finish_reason, **tail)
        if self._request.shows_usage:
            yield _event({**self._head("chat.completion.chunk"), "choices": [], "usage": usage})

    def _delta(
        self, delta: Mapping[str, object], *, finish_reason: str | None = None, **fields: object
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _event({**self._head("chat.completion.chunk"), "choices": [choice], **fields})

    def _sentence_end(self, text: str, last: str) -> int:
        """
        Return where the first sentence ends; 0 if no end is in the *last* part of the text.

        Without an end, a text longer than ``max_text_characters`` ends at this limit.
        """
        # The punctuation may be in the previous part.
        start = max(0, len(text) - len(last) - _PUNCTUATION_CHARACTERS)
        if found := _SENTENCE_END.search(text, start):
            return found.end()
        limit = self._shared.settings.max_text_characters
        return limit if len(text) > limit else 0

    def _call_deltas(self, index: int, call: ToolCall) -> Iterator[bytes]:
        first = {"index": index, **_described(_new_call_id(), ToolCall(call.name, ""))}
        yield self._delta({"tool_calls": [first]})
        for at in range(0, len(call.arguments), _ARGUMENT_PIECE):
            piece = {"arguments": call.arguments[at : at + _ARGUMENT_PIECE]}
            yield self._delta({"tool_calls": [{"index": index, "function": piece}]})

    def _audio_deltas(self, sentence: str) -> Iterator[bytes]:
        """Yield the audio of a sentence. The first event also has the transcript."""
        transcript: dict[str, str] = {"transcript": sentence}
        for pcm in self._spoken(sentence):
            audio = {**transcript, "data": base64.b64encode(pcm).decode()}
            yield self._delta({"audio": audio})
            transcript = {}

    def _spoken(self, text: str) -> Iterator[bytes]:
        assert self._voice is not None
        for piece in speak(text, self._voice, self._shared):
            if self._shared.stopping.is_set():
                raise ChatFailed("the emulator is closing", status=503, kind="server_error")
            yield piece.audio

    def _head(self, kind: str) -> dict[str, object]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}

    def _tail(self) -> dict[str, object]:
        prompt = sum(_tokens(text_of(item)) for item in self._reply.items)
        prompt += _tokens(self._reply.instructions)
        completion = -(-self._output_characters // _CHARACTERS_PER_TOKEN)
        return {
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
            },
            "metadata": {
                "attempts": [
                    *self._attempts,
                    {
                        "model": self._model,
                        "success": True,
                        "time_to_first_token_ms": self._first_ms,
                    },
                ],
                "generation_id": str(uuid.uuid4()),
                "total_duration_ms": round((time.monotonic() - self._started) * 1000),
            },
        }

    def _choose(self) -> tuple[str, tuple[str, ...]]:
        """Return the model that answers, and the instructions of its router, if any."""
        for name in self._request.models:
            model, instructions = self._resolved(name)
            if model is not None:
                return model, instructions
            self._attempts.append({"model": name, "success": False})
        name = self._request.models[0]
        raise ChatFailed(f"The model {name!r} does not exist", status=404, code="model_not_found")

    def _resolved(self, name: str) -> tuple[str | None, tuple[str, ...]]:
        if name.startswith("inworld/") and model_id(name) is None:
            try:
                request = self._request
                variant = self._shared.routers.choose(name, request.metadata, request.user)
            except Refused:
                return None, ()
            if variant is None:
                raise ChatFailed(
                    "No route matched. Configure a default route or adjust conditions."
                )
            return self._known(variant.model), variant.instructions
        return self._known(name), ()

    def _known(self, name: str) -> str | None:
        """Return the id of a model; None if the model does not exist."""
        if name == "auto":
            return _AUTO_MODEL
        if self._shared.reply_maker is not answer:
            # Only the user's reply maker knows which models it has.
            return name
        return model_id(name)

    def _read_voice(self) -> ContextConfig | None:
        audio = self._request.audio
        if audio is None:
            return None
        fields = {
            "voiceId": audio.get("voice"),
            "modelId": audio.get("model") or _DEFAULT_TTS_MODEL,
            "audioConfig": {"audioEncoding": "PCM", "sampleRateHertz": _AUDIO_RATE_HZ},
        }
        try:
            return read_config(fields, self._shared.settings)
        except Malformed as error:
            raise ChatFailed(f"invalid value for audio: {error}") from None

    def _limited(self) -> Iterator[ReplyPart]:
        """Yield the parts of the reply up to a stop text or the largest number of tokens."""
        held, stops = "", self._request.stops
        # The beginning of a stop text may be at the end of a part.
        keep = max(map(len, stops), default=1) - 1
        limit = self._reply.max_output_tokens
        left = None if limit is None else limit * _CHARACTERS_PER_TOKEN
        for part in self._parts():
            if isinstance(part, ToolCall):
                if held:
                    yield held
                    held = ""
                self._finish_reason = "tool_calls"
                self._output_characters += len(part.name) + len(part.arguments)
                yield part
                continue
            if left is not None and len(part) > left:
                part = part[:left]
                self._finish_reason = "length"
            left = None if left is None else left - len(part)
            self._output_characters += len(part)
            held += part
            if ends := [held.find(stop) for stop in stops if stop in held]:
                held = held[: min(ends)]
                self._finish_reason = "stop"
                break
            if self._finish_reason == "length":
                break
            ready = len(held) - keep
            if ready > 0:
                yield held[:ready]
                held = held[ready:]
        if held:
            yield held

    def _parts(self) -> Iterator[ReplyPart]:
        settings = self._shared.settings.realtime
        self._shared.stopping.wait(settings.reply_delay_ms / 1000)
        try:
            yield from self._shared.reply_maker(self._reply)
        except InworldError as error:
            _logger.warning("a chat completion failed: %s", error)
            raise ChatFailed(str(error), status=502, kind="server_error") from error
        if self._shared.stopping.is_set():
            # The reply maker was cancelled; its answer must not look complete.
            raise ChatFailed("the emulator is closing", status=503, kind="server_error")


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode(errors="replace") + b"\n\n"


def _new_call_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def _described(call_id: str, call: ToolCall) -> dict[str, object]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call_id, "type": "function", "function": function}


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARACTERS_PER_TOKEN)
