"""Stores the voices of the settings, and the voices that clients clone and design."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict

import attrs

from inworld_sync.emulator.settings import Settings
from inworld_sync.emulator.status import (
    NOT_FOUND,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    Refused,
)
from inworld_sync.emulator.voices import EmulatedVoice

__all__ = ["VoiceStore"]

# The largest number of designed voices that wait to be published. Beyond this number, the oldest
# designed voice is dropped.
_MAX_PREVIEWS = 30
_NOT_IN_AN_ID = re.compile(r"[^a-z0-9]+")
_MAX_SLUG_CHARACTERS = 40


class VoiceStore:
    """
    Stores the voices of one server.

    Attributes:
        settings: The settings of the server, with all voices that exist now. Every change replaces
            this object, so that a reader needs no lock.

    Thread safety: any thread may use this object; one lock guards the changes.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._own = settings.voices
        self._custom: dict[str, EmulatedVoice] = {}
        self._previews: OrderedDict[str, EmulatedVoice] = OrderedDict()
        self._by_id = {voice.voice_id: voice for voice in settings.voices}

    def get(self, voice_id: str) -> EmulatedVoice | None:
        """Return the voice with this exact id, or None; a preview is not a voice yet."""
        return self._by_id.get(voice_id)

    def require(self, voice_id: str) -> EmulatedVoice:
        """Return the voice with this exact id, or raise Refused."""
        voice = self.get(voice_id)
        if voice is None:
            raise Refused(NOT_FOUND, f"Unknown voice: {voice_id} not found!")
        return voice

    def add(self, voice: EmulatedVoice) -> EmulatedVoice:
        """Add a cloned voice under an id made from its name; return the voice with this id."""
        with self._lock:
            self._check_room()
            added = attrs.evolve(voice, voice_id=self._free_id(voice.display_name))
            self._custom[added.voice_id] = added
            self._publish_changes()
            return added

    def add_previews(self, voices: list[EmulatedVoice]) -> list[EmulatedVoice]:
        """Keep designed voices until they are published; return the voices with their ids."""
        with self._lock:
            added = []
            for voice in voices:
                kept = attrs.evolve(voice, voice_id=self._free_id(voice.display_name))
                self._previews[kept.voice_id] = kept
                added.append(kept)
            while len(self._previews) > _MAX_PREVIEWS:
                self._previews.popitem(last=False)
            return added

    def publish(self, voice_id: str, changes: dict[str, object]) -> EmulatedVoice:
        """Turn a preview into a voice. A voice that is already published is only changed."""
        with self._lock:
            preview = self._previews.get(voice_id)
            if preview is None and voice_id not in self._custom:
                raise Refused(NOT_FOUND, f"Unknown voice: {voice_id} not found!")
            if preview is not None:
                self._check_room()
                self._custom[voice_id] = self._previews.pop(voice_id)
            return self._change(voice_id, changes)

    def update(self, voice_id: str, changes: dict[str, object]) -> EmulatedVoice:
        """Change the fields of a cloned or designed voice."""
        with self._lock:
            self._require_custom(voice_id)
            return self._change(voice_id, changes)

    def delete(self, voice_id: str) -> None:
        """Remove a cloned or designed voice."""
        with self._lock:
            self._require_custom(voice_id)
            del self._custom[voice_id]
            self._publish_changes()

    def _change(self, voice_id: str, changes: dict[str, object]) -> EmulatedVoice:
        changed = attrs.evolve(self._custom[voice_id], **changes)  # type: ignore[arg-type]
        self._custom[voice_id] = changed
        self._publish_changes()
        return changed

    def _require_custom(self, voice_id: str) -> None:
        self.require(voice_id)
        if voice_id not in self._custom:
            raise Refused(PERMISSION_DENIED, f"voice {voice_id} belongs to the service")

    def _check_room(self) -> None:
        limit = self.settings.max_custom_voices
        if len(self._custom) >= limit:
            message = f"the workspace has {limit} custom voices, which is its limit"
            raise Refused(RESOURCE_EXHAUSTED, message, http_status=429)

    def _free_id(self, name: str) -> str:
        slug = _NOT_IN_AN_ID.sub("-", name.lower()).strip("-")[:_MAX_SLUG_CHARACTERS] or "voice"
        number, found = 1, f"local__{slug}"
        while found in self._by_id or found in self._previews:
            number += 1
            found = f"local__{slug}-{number}"
        return found

    def _publish_changes(self) -> None:
        voices = (*self._own, *self._custom.values())
        self._by_id = {voice.voice_id: voice for voice in voices}
        self.settings = attrs.evolve(self.settings, voices=voices)
