"""
Defines the session object, with its defaults and the updates of clients.

Updates are merged at all levels. An update with a wrong value changes nothing.
Source: Inworld Realtime reference, ``session.update``.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping

import attrs

from inworld_sync.emulator.realtime import checks
from inworld_sync.emulator.realtime.events import InvalidRequest
from inworld_sync.emulator.realtime.formats import TRACK_FORMAT, AudioFormat, read_format
from inworld_sync.emulator.settings import Settings
from inworld_sync.emulator.tts.config import MODELS

__all__ = ["Json", "SessionConfig"]

Json = dict[str, object]

_LIFETIME_SECONDS = 15 * 60
# The limit of a session object. Without this limit, updates could make the object grow forever.
_MAX_SESSION_BYTES = 1 << 20
# The service's defaults.
_DEFAULTS: Json = {
    "type": "realtime",
    "object": "realtime.session",
    "model": "google-ai-studio/gemini-2.5-flash",
    "instructions": "",
    "output_modalities": ["audio", "text"],
    "temperature": None,
    "max_output_tokens": "inf",
    "tools": [],
    "tool_choice": "auto",
    "truncation": "auto",
    "tracing": None,
    "include": None,
    "prompt": None,
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "inworld/inworld-stt-1"},
            "noise_reduction": None,
            "turn_detection": {"type": "semantic_vad"},
        },
        "output": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "voice": "Dennis",
            "model": "inworld-tts-2",
            "speed": 1.0,
        },
    },
    "providerData": {},
}
_TURN_DETECTION: Mapping[str, Json] = {
    "semantic_vad": {"eagerness": "auto", "create_response": True, "interrupt_response": True},
    "server_vad": {
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    },
}
_OWN_FIELDS = ("id", "object", "expires_at")
_STT_PROVIDERS = ("inworld", "assemblyai", "soniox", "deepgram", "groq")
_OPENAI_STT = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
# The flat names of the OpenAI beta, and the paths of their values.
_FLAT_NAMES = {
    "modelId": ("model",),
    "modalities": ("output_modalities",),
    "max_response_output_tokens": ("max_output_tokens",),
    "input_audio_format": ("audio", "input", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
    "output_audio_format": ("audio", "output", "format"),
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
}


@attrs.frozen(kw_only=True)
class SessionConfig:
    """
    The settings of one session. A change makes a new object.

    Attributes:
        fields: The whole session object in the service's spelling. It is never changed in place.
        openai: Whether a client of OpenAI's service is connected. Such a client may request voices
            and models that do not exist here. The client itself requests the response to a tool
            output.
        uses_tracks: Whether audio is in the tracks of a WebRTC connection. The formats of the
            session have no effect on tracks.
    """

    fields: Json
    openai: bool = False
    uses_tracks: bool = False

    @classmethod
    def start(
        cls, session_id: str, *, model: str | None, openai: bool, uses_tracks: bool = False
    ) -> SessionConfig:
        """Make the settings of a new session."""
        fields = copy.deepcopy(_DEFAULTS)
        fields["id"] = session_id
        fields["expires_at"] = int(time.time()) + _LIFETIME_SECONDS
        if model:
            fields["model"] = model
        config = cls(fields=fields, openai=openai, uses_tracks=uses_tracks)
        config.input["turn_detection"] = _turn_detection({}, {"type": "semantic_vad"})
        return config

    @property
    def input(self) -> Json:
        """The fields of ``audio.input``."""
        return checks.inner(checks.inner(self.fields, "audio"), "input")

    @property
    def output(self) -> Json:
        """The fields of ``audio.output``."""
        return checks.inner(checks.inner(self.fields, "audio"), "output")

    @property
    def turn_detection(self) -> Json | None:
        """The turn detection; None if the client ends the turns."""
        value = self.input["turn_detection"]
        return value if isinstance(value, dict) else None

    @property
    def input_format(self) -> AudioFormat:
        """The format of the user's audio."""
        return TRACK_FORMAT if self.uses_tracks else self.item_format

    @property
    def item_format(self) -> AudioFormat:
        """The format of audio in the items of the user."""
        return read_format(self.input["format"], "session.audio.input.format")

    @property
    def output_format(self) -> AudioFormat:
        """The format of the replies' audio."""
        if self.uses_tracks:
            return TRACK_FORMAT
        return read_format(self.output["format"], "session.audio.output.format")

    @property
    def transcribes(self) -> bool:
        """Whether transcripts of the user's speech are sent."""
        return self.input["transcription"] is not None

    @property
    def continues_after_tools(self) -> bool:
        """Whether a tool output gets a response without ``response.create``."""
        provider_data = checks.inner(self.fields, "providerData")
        return provider_data.get("auto_tool_response", not self.openai) is not False

    def branch(self, name: str) -> Json:
        """Return one branch of ``providerData``, or an empty object if the branch is missing."""
        return checks.inner(checks.inner(self.fields, "providerData"), name)

    def updated(self, update: object, settings: Settings) -> SessionConfig:
        """
        Return the settings with an update applied.

        Raises:
            InvalidRequest: A value is wrong.
        """
        update = _with_nested_names(checks.an_object(update, "session"))
        fields = _merged(self.fields, update)
        for name in _OWN_FIELDS:
            fields[name] = self.fields[name]
        fields["expires_at"] = int(time.time()) + _LIFETIME_SECONDS
        new = attrs.evolve(self, fields=fields)
        _check_top(fields)
        if len(json.dumps(fields)) > _MAX_SESSION_BYTES:
            message = f"The session can have at most {_MAX_SESSION_BYTES} bytes."
            raise InvalidRequest("session_too_large", message, "session")
        changes = checks.inner(update, "audio")
        self._settle_input(new.input, checks.inner(changes, "input"))
        self._settle_output(new.output, checks.inner(changes, "output"), settings)
        return new

    def with_memory_state(self, state: Json) -> SessionConfig:
        """Return the settings with the state of a memory cycle in ``providerData.memory``."""
        fields = _merged(self.fields, {"providerData": {"memory": {"state": state}}})
        return attrs.evolve(self, fields=fields)

    def _settle_input(self, fields: Json, changes: Json) -> None:
        """Check ``audio.input``, and complete its format and turn detection."""
        param = "session.audio.input"
        wanted = changes.get("format") or self.input["format"]
        fields["format"] = read_format(wanted, f"{param}.format").describe()
        checks.object_or_null(fields, "noise_reduction", param)
        if (transcription := fields["transcription"]) is not None:
            _check_transcription(transcription, f"{param}.transcription")
        if isinstance(changes.get("turn_detection"), dict):
            old = self.turn_detection or {}
            fields["turn_detection"] = _turn_detection(old, checks.inner(changes, "turn_detection"))
        elif fields["turn_detection"] is not None and "turn_detection" in changes:
            wrong = f"{param}.turn_detection"
            raise InvalidRequest.wrong_type(wrong, "an object", name="turn_detection")

    def _settle_output(self, fields: Json, changes: Json, settings: Settings) -> None:
        param = "session.audio.output"
        wanted = changes.get("format") or self.output["format"]
        fields["format"] = read_format(wanted, f"{param}.format").describe()
        checks.number(fields, "speed", 0.25, 1.5, param)
        voice, model = fields["voice"], fields["model"]
        if isinstance(voice, dict):
            voice = fields["voice"] = voice.get("id")
        if not self.openai:
            known = [one.voice_id for one in settings.voices]
            checks.one_of(voice, known, f"{param}.voice")
            checks.one_of(model, MODELS, f"{param}.model")


def _merged(old: Json, new: Mapping[str, object]) -> Json:
    """Merge objects at all levels. Other values are replaced. The old object is not changed."""
    merged = dict(old)
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping):
            value = _merged(before if isinstance(before, dict) else {}, value)
        merged[name] = value
    return {
        name: dict(value) if isinstance(value, dict) else value for name, value in merged.items()
    }


def _with_nested_names(update: Json) -> Json:
    """Move the values of the flat names to their paths. Drop fields that the service ignores."""
    nested = {name: value for name, value in update.items() if name != "provider_data"}
    for flat, path in _FLAT_NAMES.items():
        if flat not in nested:
            continue
        value: object = nested.pop(flat)
        for name in reversed(path):
            value = {name: value}
        if isinstance(value, dict):
            nested = _merged(value, nested)
    return nested


def _check_top(fields: Json) -> None:
    checks.one_of(fields["type"], ("realtime",), "session.type")
    checks.text(fields, "model", "session")
    checks.text(fields, "instructions", "session")
    checks.number(fields, "temperature", 0, 2, "session")
    checks.modalities(fields["output_modalities"], "session.output_modalities")
    checks.max_tokens(fields["max_output_tokens"], "session.max_output_tokens")
    checks.tools(fields["tools"], "session.tools")
    checks.tool_choice(fields["tool_choice"], "session.tool_choice")
    checks.an_object(fields["providerData"], "session.providerData", name="providerData")
    audio = checks.an_object(fields["audio"], "session.audio", name="audio")
    for name in ("input", "output"):
        checks.an_object(audio.get(name), f"session.audio.{name}")


def _check_transcription(value: object, param: str) -> None:
    if not isinstance(value, dict):
        raise InvalidRequest.wrong_type(param, "an object or null")
    model = value.get("model")
    if model is None or model in _OPENAI_STT:
        return
    provider, _, name = str(model).partition("/")
    if provider not in _STT_PROVIDERS or not name:
        raise InvalidRequest("invalid_value", f"Invalid value: {model!r}", f"{param}.model")


def _turn_detection(old: Json, new: Json) -> Json:
    """Merge the turn detection. If the type changes, start from the defaults of the new type."""
    param = "session.audio.input.turn_detection"
    kind = new.get("type", old.get("type", "semantic_vad"))
    checks.one_of(kind, tuple(_TURN_DETECTION), f"{param}.type")
    base = old if old.get("type") == kind else {"type": kind, **_TURN_DETECTION[str(kind)]}
    fields = _merged(base, {name: value for name, value in new.items() if name != "type"})
    checks.number(fields, "threshold", 0, 1, param)
    for name in ("prefix_padding_ms", "silence_duration_ms", "idle_timeout_ms"):
        checks.number(fields, name, 0, 60_000, param)
    for name in ("create_response", "interrupt_response"):
        checks.flag(fields, name, param)
    if fields.get("eagerness") is not None:
        known = ("low", "medium", "high", "auto")
        checks.one_of(fields["eagerness"], known, f"{param}.eagerness")
    return fields
