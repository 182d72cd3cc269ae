"""Defines the settings of a call."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import attrs

from inworld_sync.errors import AudioError, ConfigError
from inworld_sync.models.checks import require_finite, require_seconds
from inworld_sync.sessions.tts.speech import Speech
from inworld_sync.telephony.calls import Call, CallStart

__all__ = ["CallOptions"]

_MAX_LEAD_MS = 5000.0

PathLike: TypeAlias = "str | os.PathLike[str]"


def _speech(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is None or (field.name == "greeting" and isinstance(value, str) and value.strip()):
        return
    if not isinstance(value, Speech):
        text = " or text" if field.name == "greeting" else ""
        raise ConfigError(
            f"{field.name} must be the Speech that iw.tts.synthesize() returns{text}, got {value!r}"
        )
    try:
        memoryview(value.pcm)
    except AudioError as error:
        raise ConfigError(f"{field.name} cannot be played: {error}") from None


def _seconds(_: object, field: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None:
        require_seconds(field.name, value)


def _milliseconds(_: object, field: attrs.Attribute[Any], value: float | None) -> None:
    if value is None:
        return
    require_finite(field.name, value)
    if not 0 <= value <= _MAX_LEAD_MS:
        raise ConfigError(f"{field.name} must be 0 to {_MAX_LEAD_MS:g} ms, got {value!r}")


def _one_of(*allowed: str) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if value not in allowed:
            names = " or ".join(map(repr, allowed))
            raise ConfigError(f"{field.name} must be {names}, got {value!r}")

    return check


@attrs.frozen(kw_only=True)
class CallOptions:
    """
    The settings of a call. One object may serve any number of calls.

    Attributes:
        greeting: The first speech that the caller hears. A ``Speech`` is played at once, and the
            part that was heard is added to the conversation. If the greeting is a text, the model
            speaks the text. With None, the caller speaks first.
        greeting_text: The text of *greeting*, if the ``Speech`` has no tokens.
        who_starts: With ``assistant``, the greeting begins at once. Use ``callee`` for calls that
            you make. The greeting then waits. When the person who was called has spoken, the model
            answers, and the greeting is left out.
        callee_timeout: If the callee is silent for this many seconds, the greeting is played.
        max_duration: Seconds after which the call is ended; None for no limit.
        silence_timeout: If neither side speaks for this many seconds, the call is ended; None for
            no limit.
        stall_timeout: The call is ended if, for this many seconds, the carrier sends no message,
            the audio does not begin, or the carrier does not accept a message; None for no limit.
        goodbye: The speech that is played before a call ends because of silence, ``max_duration``
            or :func:`drain`.
        apology: The speech that is played once if the connection to the model is lost for longer
            than *apology_after*. Meanwhile, the session tries to reconnect.
        apology_after: Seconds without a connection to the model before the apology is played.
        refusal: The speech that is played if no session can be opened. Then the call ends.
        keys: With ``model``, the keys that the caller presses become a message of the user. With
            ``events``, only *on_key* gets the keys.
        key_timeout: If the caller presses no further key for this many seconds, the pressed keys
            become a message. After ``#``, the keys become a message at once.
        on_key: A function that is called with each key.
        on_voicemail: A function that is called with the call after :meth:`Call.report_voicemail`.
            With None, the call ends.
        recording: The path of a WAV file with two channels, the caller and the assistant; or a
            function that gets the :class:`CallStart` and returns the path, or None for no
            recording.
        lead_ms: Audio is sent this many milliseconds before its playback; None means the default
            for the carrier.
        start_ms: How many milliseconds of audio are collected after a pause before the first audio
            is sent; None means the default for the carrier.
    """

    greeting: Speech | str | None = attrs.field(default=None, validator=_speech)
    greeting_text: str | None = None
    who_starts: Literal["assistant", "callee"] = attrs.field(
        default="assistant", validator=_one_of("assistant", "callee")
    )
    callee_timeout: float = attrs.field(default=3.0, validator=_seconds)
    max_duration: float | None = attrs.field(default=3600.0, validator=_seconds)
    silence_timeout: float | None = attrs.field(default=60.0, validator=_seconds)
    stall_timeout: float | None = attrs.field(default=10.0, validator=_seconds)
    goodbye: Speech | None = attrs.field(default=None, validator=_speech)
    apology: Speech | None = attrs.field(default=None, validator=_speech)
    apology_after: float = attrs.field(default=1.0, validator=_seconds)
    refusal: Speech | None = attrs.field(default=None, validator=_speech)
    keys: Literal["model", "events"] = attrs.field(
        default="model", validator=_one_of("model", "events")
    )
    key_timeout: float = attrs.field(default=2.0, validator=_seconds)
    on_key: Callable[[str], object] | None = None
    on_voicemail: Callable[[Call], object] | None = None
    recording: PathLike | Callable[[CallStart], PathLike | None] | None = None
    lead_ms: float | None = attrs.field(default=None, validator=_milliseconds)
    start_ms: float | None = attrs.field(default=None, validator=_milliseconds)

    def text_of_greeting(self) -> str:
        """Return the text of the greeting for the conversation."""
        if isinstance(self.greeting, Speech):
            return self.greeting_text or "".join(self.greeting.tokens).strip()
        return self.greeting or ""
