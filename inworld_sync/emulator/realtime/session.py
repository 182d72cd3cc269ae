"""
Handles the client events of one Realtime session.

Threads: the connection's thread handles all events in order, including audio. Each response has a
thread of its own.

Locks: ``_lock`` guards the settings and the responses; no thread waits while it holds the lock.
``session.updated`` is queued while ``_lock`` is held, so that the last ``session.updated`` always
has the present settings. A thread that holds ``_lock`` may acquire the conversation's lock. A
thread that holds the conversation's lock must not acquire ``_lock``.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from inworld_sync.emulator.peer import PeerGone
from inworld_sync.emulator.realtime import checks
from inworld_sync.emulator.realtime.audio_path import AudioPath
from inworld_sync.emulator.realtime.config import Json, SessionConfig
from inworld_sync.emulator.realtime.conversation import Conversation, Item, read_item
from inworld_sync.emulator.realtime.events import EventSender, InvalidRequest
from inworld_sync.emulator.realtime.fillers import Fillers
from inworld_sync.emulator.realtime.formats import SampleReader, decode_base64
from inworld_sync.emulator.realtime.input_audio import InputAudioBuffer, transcribe
from inworld_sync.emulator.realtime.mcp_tools import McpTools
from inworld_sync.emulator.realtime.memory import Memory
from inworld_sync.emulator.realtime.response import Response
from inworld_sync.emulator.realtime.response_options import ResponseOptions, read_options
from inworld_sync.emulator.shared_state import SharedState

__all__ = ["Session"]

# The limit of responses at the same time. There is a limit because each response has a thread.
_MAX_RESPONSES: Final = 32
_MAX_AUDIO_END_MS: Final = 24 * 3600 * 1000
_EXHAUSTED: Final = "The resources of this session are exhausted."
_OUT_OF_QUOTA: Final = "You exceeded the number of responses of this plan."


class Session:
    """
    The state of one connection.

    Attributes:
        shared: The state of the server.
        events: The object that sends the events.
        conversation: The items of the conversation.
        settings: The Realtime settings of the server.
        audio: The object that sends the audio of the replies.
        mcp: The MCP servers.

    Thread safety: ``handle``, ``append_audio`` and ``stop`` belong to one thread.
    """

    def __init__(
        self, shared: SharedState, events: EventSender, config: SessionConfig, audio: AudioPath
    ) -> None:
        self.shared = shared
        self.events = events
        self.audio = audio
        own = shared.settings.realtime
        self.settings = own.without_quirks() if config.openai else own
        self.conversation = Conversation(events, self.settings.max_conversation_bytes)
        self.mcp = McpTools(events, self.conversation)
        self._config = config
        self._input_audio = InputAudioBuffer(self, config)
        self._lock = threading.Lock()
        self._active: Response | None = None
        self._responses: dict[Response, None] = {}
        self._response_count = 0
        self._fillers = Fillers()
        self._memory = Memory()
        self._handlers: Mapping[str, Callable[[Json], None]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": lambda _: self._input_audio.commit(),
            "input_audio_buffer.clear": lambda _: self._input_audio.clear(),
            "output_audio_buffer.clear": self._clear_output,
            "conversation.item.create": self._create_item,
            "conversation.item.truncate": self._truncate,
            "conversation.item.delete": lambda event: self.conversation.delete(_item_id(event)),
            "conversation.item.retrieve": lambda event: self.conversation.retrieve(_item_id(event)),
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
        }

    @property
    def uses_tracks(self) -> bool:
        """Whether audio is in the tracks of a WebRTC connection."""
        return self._config.uses_tracks

    def start(self) -> None:
        """Send ``session.created``."""
        self.events.send("session.created", session=self._config.fields)

    def handle(self, event: Json) -> None:
        """
        Handle one client event.

        Raises:
            InvalidRequest: The event is refused and has changed nothing.
        """
        kind = event.get("type")
        if kind is None:
            raise InvalidRequest.missing("type")
        handler = self._handlers.get(kind) if isinstance(kind, str) else None
        if handler is None:
            message = f"Unknown event type: {kind!r}."
            raise InvalidRequest("unknown_event_type", message, "type")
        handler(event)

    def append_audio(self, pcm: bytes) -> None:
        """Handle audio of the user's track, in ``TRACK_FORMAT``."""
        self._input_audio.append(pcm)

    def stop(self) -> None:
        """End all responses, because the connection has ended."""
        with self._lock:
            responses = list(self._responses)
        self.mcp.abort()
        for response in responses:
            response.cancel("client_cancelled")
        for response in responses:
            response.join()
        self.mcp.join()

    # The input audio buffer calls these methods.

    def user_speaks(self) -> None:
        """Interrupt the active response."""
        with self._lock:
            active, self._active = self._active, None
        if active is not None:
            active.cancel("turn_detected")
        self.audio.interrupt()

    def turn_ended(self) -> None:
        """Respond to the user's turn, after the earlier responses."""
        self._respond(None)

    # Client events.

    def _update(self, event: Json) -> None:
        with self._lock:
            config = self._config.updated(event.get("session"), self.shared.settings)
            self._config = config
            self.events.send("session.updated", session=config.fields)
        self._input_audio.configure(config)
        self.mcp.configure(config.fields["tools"])

    def _append(self, event: Json) -> None:
        if self._config.uses_tracks:
            message = "Over WebRTC, audio is sent on the audio track, not in events."
            raise InvalidRequest("invalid_value", message, "audio")
        self._input_audio.append(decode_base64(event.get("audio"), "audio"))

    def _clear_output(self, _: Json) -> None:
        with self._lock:
            active = self._active
        self.audio.clear(None if active is None else active.response_id)

    def _create_item(self, event: Json) -> None:
        item = read_item(event.get("item"), self.conversation.items)
        approved = self.mcp.decide(item) if item["type"] == "mcp_approval_response" else None
        self.conversation.add(item, after=event.get("previous_item_id"))
        self.conversation.finish(item)
        if item["type"] == "message" and item["role"] == "user":
            self._transcribe_item(item)
        elif item["type"] == "function_call_output":
            self._continue_after_tools()
        elif approved is not None:
            options = read_options(None, self._config, self.shared.settings, ())
            self._respond(attrs.evolve(options, approved=approved))

    def _transcribe_item(self, item: Item) -> None:
        """Transcribe the audio in a message of ``conversation.item.create``."""
        content = item["content"]
        for part in content if isinstance(content, list) else ():
            if part["type"] == "input_audio" and part.get("audio") and not part.get("transcript"):
                audio = decode_base64(part["audio"], "item.content.audio")
                reader = SampleReader(self._config.item_format)
                pcm = reader.feed(audio) + reader.finish()
                words = self.shared.speech_engine.recognize(pcm)
                text = " ".join(word.text for word in words)
                transcribe(self, self._config, str(item["id"]), text)

    def _continue_after_tools(self) -> None:
        """Respond if every call has its output, unless the client itself requests the response."""
        if not self._config.continues_after_tools:
            return
        items = self.conversation.items
        answered = {item["call_id"] for item in items if item["type"] == "function_call_output"}
        called = {item["call_id"] for item in items if item["type"] == "function_call"}
        if called <= answered:
            self._respond(None)

    def _truncate(self, event: Json) -> None:
        item_id = _item_id(event)
        index = checks.number(event, "content_index", 0, 1000, "event") or 0
        audio_end_ms = checks.number(event, "audio_end_ms", 0, _MAX_AUDIO_END_MS, "event")
        if audio_end_ms is None:
            raise InvalidRequest.missing("audio_end_ms")
        on_24khz = self.settings.truncates_on_24khz and self._config.output_format.is_g711
        end_ms = audio_end_ms * 3 if on_24khz else audio_end_ms
        with self._lock:
            ending = [response for response in self._responses if response.is_cancelled]
        for response in ending:
            # The length of the audio of a cancelled response is known only after its last event.
            response.join()
        self.conversation.truncate(item_id, int(index), end_ms, audio_end_ms)

    def _create_response(self, event: Json) -> None:
        config, settings = self._config, self.shared.settings
        options = read_options(event.get("response"), config, settings, self.conversation.items)
        with self._lock:
            active = self._active
            if options.in_conversation and active is not None:
                raise InvalidRequest(
                    "conversation_already_has_active_response",
                    "Conversation already has an active response in progress: "
                    f"{active.response_id}. Wait until the response is finished before creating a "
                    "new one.",
                )
        self._respond(options)

    def _cancel_response(self, event: Json) -> None:
        wanted = event.get("response_id")
        with self._lock:
            going_on = (response for response in self._responses if not response.is_cancelled)
            found = next((one for one in going_on if one.response_id == wanted), None)
            found = self._active if wanted is None else found
            if found is None:
                raise InvalidRequest(
                    "response_cancel_not_active", "Cancellation failed: no active response found"
                )
            if found is self._active:
                self._active = None
        found.cancel("client_cancelled")

    # Responses.

    def _respond(self, options: ResponseOptions | None) -> None:
        """Start a response. A response of the conversation waits for the previous response."""
        if options is None:
            options = read_options(None, self._config, self.shared.settings, ())
        with self._lock:
            if len(self._responses) >= _MAX_RESPONSES:
                raise InvalidRequest(
                    "too_many_responses",
                    f"A session can have at most {_MAX_RESPONSES} responses at the same time.",
                )
            self._response_count += 1
            limit = self.settings.max_responses
            in_turn = [one for one in self._responses if one.options.in_conversation]
            response = Response(
                self,
                options,
                self._fillers if options.in_conversation else Fillers(),
                failure=_OUT_OF_QUOTA if limit and self._response_count > limit else None,
                previous=in_turn[-1] if in_turn and options.in_conversation else None,
                on_finished=self._response_finished,
                on_gone=self._response_gone,
            )
            response.start()
            self._responses[response] = None
            if options.in_conversation:
                self._active = response

    def _response_finished(self, response: Response) -> None:
        with self._lock:
            if self._active is response:
                self._active = None
        self._input_audio.restart_idle()

    def _response_gone(self, response: Response) -> None:
        with self._lock:
            self._responses.pop(response, None)
            if self._active is response:
                self._active = None
        if not self.events.is_open:
            return
        with contextlib.suppress(PeerGone):
            if response.options.in_conversation and not response.has_calls:
                self._remember()
            limit = self.settings.max_session_responses
            if limit and self._response_count >= limit:
                self.events.end_session("SESSION_RESOURCES_EXHAUSTED", _EXHAUSTED)

    def _remember(self) -> None:
        """Send the state of the memory if a cycle has ended."""
        with self._lock:
            state = self._memory.turn_done(self._config, self.conversation)
            if state is not None:
                self._config = self._config.with_memory_state(state)
                self.events.send("session.updated", session=self._config.fields)


def _item_id(event: Json) -> str:
    return checks.required_text(event, "item_id")
