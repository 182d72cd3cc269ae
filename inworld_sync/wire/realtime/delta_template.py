"""
Reads audio deltas that are equal to an earlier delta, except for the audio and the event id.

While a response is spoken, only the audio and the event id differ from message to message. Equal
text has equal meaning, so such a message need not be parsed. Parsing takes ten times as long as the
comparison.
"""

from __future__ import annotations

from inworld_sync.models.realtime import AudioDelta

__all__ = ["DeltaTemplate"]


class DeltaTemplate:
    """
    The latest audio delta that was parsed.

    Thread safety: none; the reader of a connection owns the template.
    """

    def __init__(self) -> None:
        self._event: AudioDelta | None = None
        self._before = self._after = b""

    def learn(self, rest: bytes, event_id: bytes | None, event: AudioDelta) -> None:
        """
        Use a message as the template for the next messages.

        Args:
            rest: The message with an empty string in place of the audio.
            event_id: The text of the event id in *rest*; None if the id is missing or has escapes.
            event: The event that was read from the message.
        """
        self._event = None
        # Messages with times or with unknown fields are rarely repeated.
        is_plain = not (event.extra or event.words or event.characters or event.phonemes)
        if not is_plain or event_id is None or event.event_id != event_id.decode("latin-1"):
            return
        before, found, after = rest.partition(b'"%b"' % event_id)
        # If the text occurs twice, either occurrence may be the event id.
        if found and found not in after:
            self._before, self._after, self._event = before + b'"', b'"' + after, event

    def read(self, rest: bytes, event_id: bytes | None, audio: bytes) -> AudioDelta | None:
        """
        Return the event of a message, or None if the message must be parsed.

        Args:
            rest: As for :meth:`learn`.
            event_id: As for :meth:`learn`.
            audio: The decoded audio of the message.
        """
        like = self._event
        if like is None or event_id is None or rest != self._before + event_id + self._after:
            return None
        text = event_id.decode("latin-1")
        if not (text.isascii() and text.isprintable()):
            # The parser reports the error if the message is invalid.
            return None
        return AudioDelta(
            like.response_id,
            like.item_id,
            audio,
            output_index=like.output_index,
            content_index=like.content_index,
            event_id=text,
            extra={},
        )
