"""
Implements ``iw.llm``, the chat completions of language models.

Lock rule: ``_steps`` of a stream is not empty while a thread waits for the next event. A second
thread does not wait, but raises an error.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

from inworld_sync.audio.wav import strip_riff
from inworld_sync.errors import (
    ConfigError,
    ConnectionLost,
    InworldError,
    LocalProtocolError,
    RemoteProtocolError,
    fresh,
)
from inworld_sync.models import checks
from inworld_sync.models.chat import (
    ChatCompletion,
    ChatConfig,
    ChatDelta,
    ChatMessage,
    ChatMessages,
    ChatTool,
    ChatToolCall,
    ChatVoice,
    ReasoningEffort,
)
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.realtime.tools import FunctionChoice, ToolMode
from inworld_sync.models.settings import combine_settings
from inworld_sync.tools.function import ToolFunction, error_text
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient
from inworld_sync.transport.http_body import HttpBody, open_body
from inworld_sync.wire.chat import DONE, Collector, read_completion, read_event, request_body
from inworld_sync.wire.sse import EventReader, ServerEvent
from inworld_sync.wire.text import join_halves

__all__ = ["ChatStream", "Llm"]

_PATH: Final = "/v1/chat/completions"
_DEFAULTS: Final = ChatConfig()

# Reasoning models may think for minutes before their first token.
_TIMEOUT_SECONDS: Final = 120.0
_STREAM_TIMEOUT_SECONDS: Final = 600.0
_EVENT_TIMEOUT_SECONDS: Final = 60.0

# How long the client waits after the last event for the end of the body. The connection can be used
# again only after this end.
_END_SECONDS: Final = 0.1

# If a response is not a stream of events, the client reads at most this many bytes.
_MAX_OTHER_BYTES: Final = 64 * 1024


class Llm:
    """
    Chat completions of language models. Programs use this object as ``iw.llm``.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    @with_keyword_hints
    def chat(
        self,
        messages: ChatMessages,
        *,
        model: str | None = None,
        tools: Iterable[ChatTool] | None = None,
        tool_choice: ToolMode | FunctionChoice | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        stop: str | Iterable[str] | None = None,
        seed: int | None = None,
        response_format: Mapping[str, object] | None = None,
        reasoning_effort: ReasoningEffort | None = None,
        user: str | None = None,
        audio: ChatVoice | None = None,
        fallback_models: Iterable[str] | None = None,
        sort: Iterable[str] | None = None,
        metadata: Mapping[str, object] | None = None,
        extra: Mapping[str, object] | None = None,
        config: ChatConfig | None = None,
        timeout: float | None = _TIMEOUT_SECONDS,
    ) -> ChatCompletion:
        """
        Answer a conversation, and return the complete answer.

        The request is retried if the client could not connect, or if the service did not handle the
        request: the status is 429 or 503, and the response has ``Retry-After``. If the service may
        have handled the request, the client does not retry.

        Args:
            messages: A text of the user, or the messages of the conversation, the oldest first:
                :class:`~inworld_sync.ChatMessage` objects, or mappings as in OpenAI's reference.
            model: ``auto`` (default), ``provider/model``, or ``inworld/`` and the name of a router.
            tools: Functions that the model may call. Each function is decorated with
                :func:`~inworld_sync.tool`, or described by a ``FunctionTool``. A ``WebSearchTool``
                lets the service search.
            tool_choice: ``auto``, ``none``, ``required``, or a ``FunctionChoice``.
            temperature: Randomness of the answer, 0 to 2.
            top_p: The probability mass of the tokens that are considered, above 0 and at most 1.
            max_tokens: The largest number of tokens of the answer, at least 1.
            stop: Up to four texts at which the answer ends.
            seed: A number that makes answers repeatable, if the model supports seeds.
            response_format: A JSON format as in OpenAI's reference.
            reasoning_effort: ``none``, ``minimal``, ``low``, ``medium``, ``high`` or ``xhigh``.
            user: The id of your user. A router always gives the same variant to the same user.
            audio: The voice that speaks the answer. The answer then has ``audio``.
            fallback_models: Models to try in this order if *model* fails.
            sort: How ``auto`` ranks models, such as ``["latency", "price"]``.
            metadata: Values for the conditions of a router.
            extra: Further fields of the request, by their names on the wire.
            config: All settings in one object. Each setting above that is not None replaces the
                setting in *config*.
            timeout: The largest number of seconds for the whole call, retries included; None means
                no limit.

        Raises:
            ConfigError: A message or a setting is wrong; nothing was sent.
            ServiceError: The service refused the request; the class depends on the reason.
            TransportError: Could not connect, the connection was lost, or the timeout passed.
            RemoteProtocolError: The answer cannot be read.
        """
        settings = combine_settings(config, _DEFAULTS, locals())
        body = request_body(messages, settings, stream=False)
        response = self._http.request(
            "POST",
            _PATH,
            json=body,
            deadline=Deadline(timeout, "the chat completion"),
            obeys_retry_after=True,
        )
        answer = read_completion(response.json())
        if answer.audio is None:
            return answer
        samples = bytes(strip_riff(answer.audio.pcm))
        return attrs.evolve(answer, audio=attrs.evolve(answer.audio, pcm=samples))

    @with_keyword_hints
    def stream(
        self,
        messages: ChatMessages,
        *,
        model: str | None = None,
        tools: Iterable[ChatTool] | None = None,
        tool_choice: ToolMode | FunctionChoice | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        stop: str | Iterable[str] | None = None,
        seed: int | None = None,
        response_format: Mapping[str, object] | None = None,
        reasoning_effort: ReasoningEffort | None = None,
        user: str | None = None,
        audio: ChatVoice | None = None,
        fallback_models: Iterable[str] | None = None,
        sort: Iterable[str] | None = None,
        metadata: Mapping[str, object] | None = None,
        extra: Mapping[str, object] | None = None,
        config: ChatConfig | None = None,
        timeout: float | None = _STREAM_TIMEOUT_SECONDS,
        event_timeout: float | None = _EVENT_TIMEOUT_SECONDS,
    ) -> ChatStream:
        """
        Answer a conversation, and return the answer while it is generated.

        The call returns when the response begins. If the service refuses the request, the call
        raises the error. The request is retried as for :meth:`chat`, but not after the response has
        begun.

        Args:
            messages: As for :meth:`chat`.
            model: ``auto`` (default), ``provider/model``, or ``inworld/`` and the name of a router.
            tools: Functions that the model may call, and a ``WebSearchTool``.
            tool_choice: ``auto``, ``none``, ``required``, or a ``FunctionChoice``.
            temperature: Randomness of the answer, 0 to 2.
            top_p: The probability mass of the tokens that are considered, above 0 and at most 1.
            max_tokens: The largest number of tokens of the answer, at least 1.
            stop: Up to four texts at which the answer ends.
            seed: A number that makes answers repeatable, if the model supports seeds.
            response_format: A JSON format as in OpenAI's reference.
            reasoning_effort: ``none``, ``minimal``, ``low``, ``medium``, ``high`` or ``xhigh``.
            user: The id of your user. A router always gives the same variant to the same user.
            audio: The voice that speaks the answer. The deltas then have ``audio``.
            fallback_models: Models to try in this order if *model* fails.
            sort: How ``auto`` ranks models, such as ``["latency", "price"]``.
            metadata: Values for the conditions of a router.
            extra: Further fields of the request, by their names on the wire.
            config: All settings in one object. Each setting above that is not None replaces the
                setting in *config*.
            timeout: The largest number of seconds from the call to the end of the answer; None
                means no limit.
            event_timeout: The largest number of seconds to wait for the beginning of the response,
                and then for each event; comments that keep the connection alive do not count as
                events.

        Raises:
            ConfigError: A message or a setting is wrong; nothing was sent.
            ServiceError: The service refused the request; the class depends on the reason.
            TransportError: Could not connect, the connection was lost, or a timeout passed.
            RemoteProtocolError: The response is not a stream of events.
        """
        settings = combine_settings(config, _DEFAULTS, locals())
        body = request_body(messages, settings, stream=True)
        checks.require_timeout(event_timeout, "event_timeout")
        deadline = Deadline(timeout, "the streamed chat completion")
        beginning = deadline.earlier(Deadline(event_timeout, "waiting for the answer to begin"))
        headers = {"Accept": "text/event-stream"}
        response = open_body(
            self._http, "POST", _PATH, headers=headers, json=body, deadline=beginning
        )
        kind = response.headers.get("content-type", "")
        if not kind.lower().startswith("text/event-stream"):
            _raise_other(response, kind, beginning)
        max_bytes = self._http.options.max_message_bytes
        return ChatStream(response, deadline, event_timeout, max_bytes)

    def run_tools(
        self, answer: ChatCompletion, tools: Iterable[ToolFunction[..., object]]
    ) -> list[ChatMessage]:
        """
        Run the functions that an answer calls, one after the other, on this thread.

        An error of a function is logged, and becomes the output of the function, which the model
        can read. The ``timeout`` of a tool has no effect here.

        Args:
            answer: An answer with tool calls.
            tools: The functions, decorated with :func:`~inworld_sync.tool`.

        Returns:
            The messages to add to the conversation: the answer, then the output of each call.

        Raises:
            ConfigError: *answer* is not an answer, or *tools* has a value that is not a decorated
                function.
            LocalProtocolError: The answer calls no function.
        """
        if not isinstance(answer, ChatCompletion):
            raise ConfigError(f"answer must be a ChatCompletion, got {type(answer).__name__}")
        functions = {
            each.definition.name: each for each in checks.all_of(ToolFunction, tools, "tools")
        }
        if not answer.tool_calls:
            raise LocalProtocolError("the answer calls no function: see answer.tool_calls")
        outputs = [call.output(self._run(call, functions)) for call in answer.tool_calls]
        return [answer.message, *outputs]

    def _run(self, call: ChatToolCall, functions: Mapping[str, ToolFunction[..., object]]) -> str:
        function = functions.get(call.name)
        if function is None:
            return error_text(LocalProtocolError(f"there is no function {call.name!r}"))
        try:
            return function.run(call.arguments)
        except Exception as error:
            logger = self._http.options.logger
            logger.warning("the tool %s failed", call.name, exc_info=error)
            return error_text(error)


def _raise_other(response: HttpBody, kind: str, deadline: Deadline) -> None:
    """Raise the error for a response that is not a stream of events."""
    body = b""
    with contextlib.closing(response), contextlib.suppress(InworldError):
        while len(body) < _MAX_OTHER_BYTES and (piece := response.read(deadline)):
            body += piece
    with contextlib.suppress(RemoteProtocolError):
        # Some gateways send an error with the status 200.
        read_event(body.decode(errors="replace"))
    raise RemoteProtocolError(
        f"expected a stream of events (text/event-stream), got {kind[:100] or 'no content type'!r}"
    )


class ChatStream:
    """
    An answer that can be read while the model generates it. A program can iterate over it once.

    Iterating yields the pieces of the text, so that ``iw.tts.speak(iw.llm.stream(...))`` speaks
    while the model writes. :meth:`deltas` yields everything. If the iteration ends without an
    error, the answer is complete. To end the answer early, leave the ``with`` block or call
    :meth:`close`.

    If the iteration raises an error, the ``partial`` of this error is the part of the answer that
    was received.

    Thread safety: one thread iterates; any thread may call :meth:`close`.
    """

    def __init__(
        self, response: HttpBody, deadline: Deadline, event_timeout: float | None, max_bytes: int
    ) -> None:
        self._response = response
        self._deadline = deadline
        self._event_timeout = event_timeout
        self._reader = EventReader(max_bytes)
        self._collector = Collector(max_bytes)
        self._events: deque[ServerEvent] = deque()
        # The calls of _next_part() that are running. A second call raises an error.
        self._steps: deque[object] = deque()
        # Half of a surrogate pair at the end of the text so far.
        self._half = ""
        self._body_ended = False
        self._is_over = False
        self._failure: InworldError | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """
        Return the next piece of the text.

        Raises:
            StopIteration: The answer is complete.
            ServiceError: The service reported an error.
            ConnectionLost: The stream ended before the answer was complete.
            DeadlineExceeded: A timeout passed.
            RemoteProtocolError: An event cannot be read.
            ClosedError: The stream was closed before its end.
        """
        while (part := self._next_part()) is not None:
            if part[1]:
                return part[1]
        raise StopIteration

    def deltas(self) -> Iterator[ChatDelta]:
        """
        Yield the parts of the answer: text, tool calls, audio, usage. This iterator raises the same
        errors as :meth:`__next__`.
        """
        while (part := self._next_part()) is not None:
            yield part[0]

    def result(self) -> ChatCompletion:
        """
        Read the rest of the answer, and return the whole answer. This method raises the same errors
        as :meth:`__next__`.
        """
        while self._next_part() is not None:
            pass
        return self._collector.completion()

    def close(self) -> None:
        """End the answer; a thread that iterates gets ClosedError. May be called twice."""
        self._response.close()

    def __enter__(self) -> ChatStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next_part(self) -> tuple[ChatDelta, str] | None:
        """Return the next part of the answer, and its text; None at the end."""
        step = object()
        try:
            self._steps.append(step)
            if self._steps[0] is not step:
                raise LocalProtocolError("another thread iterates over this answer")
            if self._failure is not None:
                raise fresh(self._failure)
            if self._is_over:
                return None
            try:
                return self._read()
            except InworldError as error:
                self._failure = error
                self._response.close()
                error.partial = self._collector.completion()
                raise
        finally:
            self._steps.remove(step)

    def _read(self) -> tuple[ChatDelta, str] | None:
        event = self._next_event()
        if event is None or event.data.strip() == DONE:
            self._is_over = True
            self._end()
            return None
        delta = read_event(event.data)
        text, self._half = join_halves(self._half, delta.text)
        # Half of a surrogate pair without the other half cannot be printed or spoken.
        delta = attrs.evolve(delta, text=text.encode(errors="replace").decode())
        return delta, self._collector.add(delta)

    def _next_event(self) -> ServerEvent | None:
        """Return the next event; None if the stream ends after a ``finish_reason``."""
        waiting = Deadline(self._event_timeout, "waiting for the next event of the answer")
        while not self._events:
            if self._body_ended:
                if self._collector.finish_reason is None:
                    raise ConnectionLost(
                        "the stream ended before the answer was complete: it has neither [DONE] "
                        "nor a finish_reason"
                    )
                return None
            piece = self._response.read(self._deadline.earlier(waiting))
            if piece:
                self._events.extend(self._reader.feed(piece))
            else:
                self._body_ended = True
                last = self._reader.finish()
                self._events.extend([] if last is None else [last])
        return self._events.popleft()

    def _end(self) -> None:
        """Read the end of the body, so that the connection can be used again."""
        ending = Deadline(_END_SECONDS, "the end of the stream")
        with contextlib.suppress(InworldError):
            if self._body_ended or not self._response.read(ending):
                return
        self._response.close()
