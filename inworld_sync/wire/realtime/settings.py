"""
Keeps the requested, accepted and reported settings of a session.

This module has no clock and no lock. The owner serializes the calls.
"""

from __future__ import annotations

from collections.abc import Mapping

from inworld_sync.errors import ConfigError, LocalProtocolError
from inworld_sync.models.realtime import (
    AudioFormat,
    PcmFormat,
    Session,
    SessionCreated,
    SessionInfo,
    SessionUpdated,
)
from inworld_sync.wire.codec import JsonObject
from inworld_sync.wire.realtime.session import merge, session_info, session_object, value_at

__all__ = ["TRACK_FORMAT", "Settings"]

# The format of audio in WebRTC tracks.
TRACK_FORMAT = PcmFormat(48000)

# The service accepts these settings only when a session opens. Later the service ignores or refuses
# these settings.
_LOCKED = ("conversational", "user_turn_mode")


class Settings:
    """
    The settings of one session, over all its connections.

    Args:
        session: The settings with which the session is opened.
        is_inworld: Whether the service knows ``providerData``.
        has_tracks: Whether audio is in WebRTC tracks, which have a format of their own.

    Attributes:
        opening: The settings for a new connection: all requested settings that were not refused.
        info: The session as the service describes it. This description is empty before the first
            message.
        input_format: The audio format that the service expects.
        output_format: The audio format that the service sends.
        has_manual_turns: True if the application ends turns. The service then begins no response by
            itself.
    """

    def __init__(self, session: Session, *, is_inworld: bool, has_tracks: bool = False) -> None:
        self._has_tracks = has_tracks
        self._check_formats(session)
        self.opening: JsonObject = session_object(session)
        if is_inworld:
            # Without this setting, the service would begin a response after a tool output, and the
            # client would request a second response.
            pinned: JsonObject = {"providerData": {"auto_tool_response": False}}
            self.opening = merge(pinned, self.opening)
        self.has_manual_turns = _has_manual_turns(self.opening)
        self.info = SessionInfo()
        default = TRACK_FORMAT if has_tracks else PcmFormat()
        self.output_format: AudioFormat = session.output_format or default
        self.input_format: AudioFormat = session.input_format or default

    @property
    def is_interruptible(self) -> bool:
        """Whether the user's speech interrupts the assistant."""
        asked = _branch(self.opening, "audio", "input", "turn_detection")
        said = self.info.turn_detection or {}
        return False not in (said.get("interrupt_response"), asked.get("interrupt_response"))

    @property
    def continues_by_itself(self) -> bool:
        """True if the user has set that the service itself continues after tool outputs."""
        return _branch(self.opening, "providerData").get("auto_tool_response") is True

    def change(self, session: Session) -> JsonObject:
        """
        Return a change as the service's session object.

        Raises:
            LocalProtocolError: *session* has a setting that is fixed when a session opens.
            ConfigError: *session* has an audio format, but audio is in tracks.
        """
        self._check_formats(session)
        body = session_object(session)
        for name in _LOCKED:
            if name in _branch(body, "providerData", "tts"):
                raise LocalProtocolError(
                    f"{name} is fixed when a session opens: open another session with it"
                )
        return body

    def accept(self, change: JsonObject) -> None:
        """Keep a change that the service has accepted."""
        self.opening = merge(self.opening, change)
        self.has_manual_turns = _has_manual_turns(self.opening)

    def handle(self, event: SessionCreated | SessionUpdated) -> bool:
        """
        Apply a message. ``session.created`` has all settings. ``session.updated`` changes only the
        settings that it has.

        Returns:
            Whether the message reports a cycle of the service's memory. Such a message may arrive
            although no change was requested.
        """
        before = self.info.memory
        if isinstance(event, SessionCreated):
            self.info = event.session
        else:
            self.info = session_info(merge(self.info.raw, event.session.raw))
        memory = self.info.memory
        version = None if before is None else before.version
        return memory is not None and memory.version != version

    def adopt_formats(self, event: SessionUpdated) -> None:
        """
        Use the formats of an update from now on.

        A service may leave out formats that it accepts. The formats of tracks do not change.
        """
        if self._has_tracks:
            return
        said, asked, known = event.session, session_info(self.opening), self.info
        self.output_format = (
            said.output_format or asked.output_format or known.output_format or PcmFormat()
        )
        self.input_format = (
            said.input_format or asked.input_format or known.input_format or PcmFormat()
        )

    def _check_formats(self, session: Session) -> None:
        if self._has_tracks and (session.input_format or session.output_format):
            raise ConfigError(
                "input_format and output_format must be omitted over WebRTC, which carries audio "
                "as Opus at 48 kHz; send_audio() accepts any sample rate"
            )


def _has_manual_turns(opening: JsonObject) -> bool:
    found = _branch(opening, "audio", "input")
    return "turn_detection" in found and found["turn_detection"] is None


def _branch(body: Mapping[str, object], *names: str) -> Mapping[str, object]:
    """Return the object at a place of a JSON object, or an empty object if there is none."""
    found = value_at(body, names)
    return found if isinstance(found, Mapping) else {}
