"""
Joins the service's audio track with the service's messages.

Over a WebSocket, the audio of a response is in messages, before the messages that end the response.
Over WebRTC, the audio is in a track in real time, while the messages arrive as soon as the service
has written them. So :class:`TrackSpeech` makes a message of each block of the track in which the
service speaks. The messages that end a response are held back until the audio of the response has
arrived. So a session gets the same messages from both kinds of connections.

The service reports the beginning and the end of its audio with ``output_audio_buffer.started``,
``stopped`` and ``cleared``. Audio belongs to the first item whose audio is not complete.

This module has no clock and no lock. The owner serializes the calls.
Source: protocol notes on WebRTC and on the messages of the Inworld Realtime reference.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from typing import Final

import attrs

from inworld_sync.audio import base64
from inworld_sync.wire.realtime.responses import CLIENT_EVENT_ID

__all__ = ["TrackSpeech"]

_BLOCK_SECONDS = 0.02

# A block with no sample above this level, -54 dB, is silence.
_SILENCE_LEVEL = 64

# Audio may arrive before the messages about its item. Such audio is kept, at most
# _MAX_EARLY_BLOCKS blocks. It is dropped after a silence of _EARLY_SILENCE_SECONDS, which is longer
# than the delay of a message that is lost and sent again (up to 3 s).
_MAX_EARLY_BLOCKS = 500
_EARLY_SILENCE_SECONDS = 5.0

# If the service does not report the beginning of an item's audio, the audio begins this many silent
# blocks before its first sound.
_LEAD_BLOCKS = 5

# After an interruption, arriving audio is dropped for at least _MIN_CUT_SECONDS. Then audio is
# dropped until _CUT_BLOCKS blocks in a row are silent, or until _MAX_CUT_SECONDS have passed since
# the interruption.
_MIN_CUT_SECONDS = 0.15
_CUT_BLOCKS = 3
_MAX_CUT_SECONDS = 0.6

# After ``stopped``, the audio of a response is complete after a silence of
# _STOPPED_SILENCE_SECONDS. Without such a silence, the audio is complete after
# _MAX_STOPPED_SECONDS.
_STOPPED_SILENCE_SECONDS = 0.2
_MAX_STOPPED_SECONDS = 1.5

# Speech is not slower than this, so the length of an item's text limits the duration of its audio,
# with a margin of _MAX_EXTRA_SECONDS. Without this limit, noise in the track would prevent the end
# of a response.
_LEAST_CHARACTERS_PER_SECOND = 6.0
_MAX_EXTRA_SECONDS = 10.0

# If the service does not report the end of the audio, the audio is complete when enough silence has
# followed the last message about this audio. If the service has sent no reports at all,
# _UNREPORTED_SILENCE_SECONDS are enough, otherwise _MISSING_REPORT_SECONDS.
_UNREPORTED_SILENCE_SECONDS = 1.0
_MISSING_REPORT_SECONDS = 4.0

# At most this many items wait for their audio, which is more than a service needs. The audio of
# further items counts as audio of the earlier items.
_MAX_ITEMS = 1000

_AUDIO_DELTA: Final = "response.output_audio.delta"
_STARTED: Final = "output_audio_buffer.started"
_STOPPED: Final = "output_audio_buffer.stopped"
_CLEARED: Final = "output_audio_buffer.cleared"
_DONE: Final = "response.done"
_TRANSCRIPT_DELTA: Final = "response.output_audio_transcript.delta"

# The messages that end a part, an item or a response. The session gets them after the audio.
_ENDS: Final = frozenset(
    {
        "response.output_audio.done",
        "response.content_part.done",
        "response.output_item.done",
        _DONE,
    }
)


@attrs.define(eq=False)
class _Item:
    """An item whose audio is in the track, and the times of its events."""

    response_id: str
    item_id: str
    head: str
    begun_at: float | None = None
    characters: int = 0
    started_at: float | None = None
    loud_at: float = 0.0
    stopped_at: float | None = None
    ended_at: float | None = None


class TrackSpeech:
    """
    Joins the audio and the messages of one connection.

    Attributes:
        lost_blocks: How many blocks of 20 ms were dropped because no message names their item.
        held_characters: The length of the messages that are held back.
    """

    def __init__(self) -> None:
        self.lost_blocks = 0
        self.held_characters = 0
        self._items: deque[_Item] = deque()
        # Messages that are held back, with the id of the response that they end. All responses of
        # the conversation share one queue. Each response that is out of band has its own queue.
        self._held: defaultdict[str, deque[tuple[str, str | None]]] = defaultdict(deque)
        # The client's ids of requests that are out of band, and the ids of their responses.
        self._out_of_band_requests: set[str] = set()
        self._out_of_band: set[str] = set()
        self._early: deque[bytes] = deque()
        # The last silent blocks, which belong to no item.
        self._lead: deque[bytes] = deque(maxlen=_LEAD_BLOCKS)
        self._early_silence = 0
        self._cut_at: float | None = None
        self._silent_blocks = 0
        self._has_reports = False

    def handle_message(self, text: str, now: float) -> list[str]:
        """
        Handle a message of the service.

        Returns:
            The messages for the session: none if the message is held back.
        """
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            return [text]
        if not isinstance(body, dict) or not isinstance(body.get("type"), str):
            return [text]
        kind: str = body["type"]
        if kind in (_STARTED, _STOPPED, _CLEARED):
            return [text, *self._report(kind, body, now)]
        if not kind.startswith("response.") or kind.startswith("response.backchannel."):
            return [text]
        if kind == _AUDIO_DELTA and body.get("delta") != "":
            # The message may have times of words. If the message has audio, the track has this
            # audio too.
            text = json.dumps({**body, "delta": ""})
        response_id = _response_of(body)
        self._handle_item(kind, body, response_id, now)
        if kind == "response.created" and self._is_out_of_band(body) and response_id is not None:
            self._out_of_band.add(response_id)
        ending = response_id if kind in _ENDS else None
        held = self._held[response_id if response_id in self._out_of_band else ""]
        if held or (ending is not None and self._is_speaking(ending)):
            held.append((text, ending))
            self.held_characters += len(text)
            return self._release()
        return [text]

    def handle_command(self, text: str) -> None:
        """Handle a command of the client. Any thread may call this method."""
        if "response.create" not in text or "none" not in text:
            return
        body = json.loads(text)
        response = body.get("response")
        if isinstance(response, dict) and response.get("conversation") == "none":
            request_id = _request_of(response)
            if request_id is not None:
                self._out_of_band_requests.add(request_id)

    def handle_audio(self, pcm: bytes, now: float, delay_seconds: float) -> list[str]:
        """
        Handle the next block of the track.

        Args:
            pcm: 20 ms of 16-bit mono PCM of 48 kHz.
            now: The monotonic time in seconds.
            delay_seconds: The time between the arrival of audio and this call.

        Returns:
            The messages for the session.
        """
        samples = memoryview(pcm).cast("h")
        is_loud = max(samples) > _SILENCE_LEVEL or min(samples) < -_SILENCE_LEVEL
        self._silent_blocks = 0 if is_loud else self._silent_blocks + 1
        if self._cut_at is not None:
            cut_for = now - self._cut_at
            is_silent = self._silent_blocks >= _CUT_BLOCKS and cut_for > _MIN_CUT_SECONDS
            if is_silent or cut_for > _MAX_CUT_SECONDS:
                self._cut_at = None
            return []
        if not self._items:
            self._keep_early(pcm, is_loud=is_loud)
            return []
        item = self._items[0]
        found: list[str] = []
        if item.begun_at is None:
            # The first audio that the service sent after ``started`` arrives here after the delay.
            is_started = item.started_at is not None and now >= item.started_at + delay_seconds
            before = self._early or (self._lead if is_loud else ())
            if is_loud or is_started or self._early:
                item.begun_at = now
                found = [_delta(item, block) for block in before]
                self._early.clear()
                self._lead.clear()
        if is_loud:
            item.loud_at = now
        # Silence after the last sound does not belong to the item.
        if item.begun_at is not None and (is_loud or item.stopped_at is None):
            found.append(_delta(item, pcm))
        elif item.begun_at is None:
            self._lead.append(pcm)
        if self._is_complete(item, now, delay_seconds):
            self._items.popleft()
            found += self._release()
        return found

    def flush(self) -> list[str]:
        """Return all messages that are held back, because no more audio will arrive."""
        found = [text for held in self._held.values() for text, _ in held]
        self._held.clear()
        self.held_characters = 0
        self._items.clear()
        return found

    def _handle_item(
        self, kind: str, body: dict[str, object], response_id: str | None, now: float
    ) -> None:
        """Handle the beginning or the end of an item's audio."""
        part = body.get("part")
        is_audio = kind == "response.content_part.added" and (
            isinstance(part, dict) and part.get("type") in ("audio", "output_audio")
        )
        item_id = body.get("item_id")
        is_new = is_audio and len(self._items) < _MAX_ITEMS
        if is_new and response_id is not None and isinstance(item_id, str):
            self._items.append(_Item(response_id, item_id, _delta_head(body, response_id, item_id)))
        if kind in _ENDS:
            for item in self._items:
                if item.response_id == response_id:
                    item.ended_at = item.ended_at or now
        delta = body.get("delta")
        if kind == _TRANSCRIPT_DELTA and isinstance(delta, str):
            for item in self._items:
                if item.item_id == item_id:
                    item.characters += len(delta)
        status = _status_of(body) if kind == _DONE else None
        if status not in (None, "completed"):
            self._drop_items(response_id, now)

    def _report(self, kind: str, body: dict[str, object], now: float) -> list[str]:
        """Handle a message about the service's output buffer; return messages for the session."""
        self._has_reports = True
        response_id = _response_of(body)
        if kind == _CLEARED:
            self._drop_items(response_id, now)
            return self._release()
        for item in self._items:
            if response_id in (None, item.response_id):
                if kind == _STOPPED:
                    item.stopped_at = item.stopped_at or now
                else:
                    item.started_at = item.started_at or now
        return []

    def _drop_items(self, response_id: str | None, now: float) -> None:
        """Wait for no more audio of one response, or of all responses. Drop it if it arrives."""
        left = [item for item in self._items if response_id not in (None, item.response_id)]
        if len(left) < len(self._items):
            self._cut_at = now
        self._items = deque(left)
        self._early.clear()
        self._lead.clear()

    def _keep_early(self, pcm: bytes, *, is_loud: bool) -> None:
        """Keep audio that belongs to no item yet, from its first sound on."""
        if not (is_loud or self._early):
            self._lead.append(pcm)
            return
        self._early.extend(self._lead)
        self._lead.clear()
        self._early.append(pcm)
        self._early_silence = 0 if is_loud else self._early_silence + 1
        if len(self._early) > _MAX_EARLY_BLOCKS:
            self._early.popleft()
            self.lost_blocks += 1
        if self._early_silence * _BLOCK_SECONDS > _EARLY_SILENCE_SECONDS:
            self.lost_blocks += len(self._early) - self._early_silence
            self._early.clear()

    def _is_speaking(self, response_id: str) -> bool:
        return any(item.response_id == response_id for item in self._items)

    def _is_complete(self, item: _Item, now: float, delay_seconds: float) -> bool:
        silent_seconds = self._silent_blocks * _BLOCK_SECONDS
        if item.stopped_at is not None:
            stopped_for = now - item.stopped_at - delay_seconds
            if stopped_for > _MAX_STOPPED_SECONDS:
                return True
            return min(stopped_for, silent_seconds) > _STOPPED_SILENCE_SECONDS
        if item.ended_at is None:
            return False
        spoken_for = now - (item.begun_at or item.ended_at)
        most_seconds = item.characters / _LEAST_CHARACTERS_PER_SECOND + _MAX_EXTRA_SECONDS
        if spoken_for > most_seconds + delay_seconds:
            return True
        limit = _MISSING_REPORT_SECONDS if self._has_reports else _UNREPORTED_SILENCE_SECONDS
        return now - max(item.ended_at, item.loud_at) > limit + delay_seconds

    def _release(self) -> list[str]:
        found: list[str] = []
        for name, held in list(self._held.items()):
            while held:
                text, ending = held[0]
                if ending is not None and self._is_speaking(ending):
                    break
                held.popleft()
                self.held_characters -= len(text)
                found.append(text)
            if not held:
                del self._held[name]
        return found

    def _is_out_of_band(self, body: dict[str, object]) -> bool:
        response = body.get("response")
        if not isinstance(response, dict):
            return False
        return _request_of(response) in self._out_of_band_requests


def _response_of(body: dict[str, object]) -> str | None:
    """Return the id of the response that a message is about."""
    response = body.get("response")
    found = response.get("id") if isinstance(response, dict) else body.get("response_id")
    return found if isinstance(found, str) else None


def _request_of(response: dict[str, object]) -> str | None:
    """Return the client's id in the metadata of a response or of its request."""
    metadata = response.get("metadata")
    found = metadata.get(CLIENT_EVENT_ID) if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else None


def _status_of(body: dict[str, object]) -> object:
    response = body.get("response")
    return response.get("status") if isinstance(response, dict) else None


def _delta_head(body: dict[str, object], response_id: str, item_id: str) -> str:
    """Return the beginning of the JSON of an audio delta, up to the audio."""
    places = {
        name: value if type(value := body.get(name)) is int else 0
        for name in ("output_index", "content_index")
    }
    fields = {"type": _AUDIO_DELTA, "response_id": response_id, "item_id": item_id, **places}
    return json.dumps(fields)[:-1] + ', "delta": "'


def _delta(item: _Item, pcm: bytes) -> str:
    return f'{item.head}{base64.encode(pcm).decode()}"}}'
