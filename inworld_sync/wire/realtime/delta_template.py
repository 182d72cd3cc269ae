"""
Reads audio deltas that are equal to an earlier delta, except for the audio and the event id.

While a response is spoken, only the audio and the event id differ from message to message. Equal
text has equal meaning, so such a message need not be parsed. Parsing takes ten times as long as the
comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from inworld_sync.models.realtime import AudioDelta

__all__ = ["DeltaTemplate"]

# The functions that set the fields of a delta, by the names of the fields. The class is frozen, so
# its ``__init__`` takes as long as the rest of :meth:`DeltaTemplate.read`.
_setters: dict[str, Callable[[AudioDelta, Any], None]] = {
    field.name: getattr(AudioDelta, field.name).__set__ for field in attrs.fields(AudioDelta)
}
_set_audio, _set_event_id, _set_extra = map(_setters.pop, ("audio", "event_id", "extra"))


class DeltaTemplate:
    """
    The latest audio delta that was parsed.

    Thread safety: none; the reader of a connection owns the template.
    """

    def __init__(self) -> None:
        # The functions and values of all fields that the next messages share; None if there is no
        # template.
        self._fields: list[tuple[Callable[[AudioDelta, Any], None], object]] | None = None
        self._before = self._after = b""

    def learn(self, rest: bytes, event_id: bytes | None, event: AudioDelta) -> None:
        """
        Use a message as the template for the next messages.

        Args:
            rest: The message with an empty string in place of the audio.
            event_id: The text of the event id in *rest*; None if the id is missing or has escapes.
            event: The event that was read from the message.
        """
        self._fields = None
        # Messages with times or with unknown fields are rarely repeated.
        is_plain = not (event.extra or event.words or event.characters or event.phonemes)
        if not is_plain or event_id is None or event.event_id != event_id.decode("latin-1"):
            return
        before, found, after = rest.partition(b'"%b"' % event_id)
        # If the text occurs twice, either occurrence may be the event id.
        if found and found not in after:
            self._before, self._after = before + b'"', b'"' + after
            self._fields = [(setter, getattr(event, name)) for name, setter in _setters.items()]

    def read(self, rest: bytes, event_id: bytes | None, audio: bytes) -> AudioDelta | None:
        """
        Return the event of a message, or None if the message must be parsed.

        Args:
            rest: As for :meth:`learn`.
            event_id: As for :meth:`learn`.
            audio: The decoded audio of the message.
        """
        fields = self._fields
        if fields is None or event_id is None or rest != self._before + event_id + self._after:
            return None
        text = event_id.decode("latin-1")
        if not (text.isascii() and text.isprintable()):
            # The parser reports the error if the message is invalid.
            return None
        event = object.__new__(AudioDelta)
        for setter, value in fields:
            setter(event, value)
        _set_audio(event, audio)
        _set_event_id(event, text)
        _set_extra(event, {})
        return event
