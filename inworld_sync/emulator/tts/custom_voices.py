"""
Serves cloned and designed voices over HTTP.

The emulator does not imitate a speaker. It checks the recordings, and chooses the sound of a voice
by a hash of the request. The same request always makes a voice with the same sound. A warning in
the response says how the sound was chosen.

Source: the service's voices reference, and the requests of its two official clients.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from inworld_sync.audio.files import open_file
from inworld_sync.emulator import fields
from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.protojson import read_body
from inworld_sync.emulator.routes import HttpRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import INVALID_ARGUMENT, Malformed, Refused
from inworld_sync.emulator.stt.decoders import decoded_base64
from inworld_sync.emulator.tts.config import read_config
from inworld_sync.emulator.tts.speech import AudioPiece, speak
from inworld_sync.emulator.tts.voice_list import VOICE_PATHS, describe_voice
from inworld_sync.emulator.voices import EmulatedVoice
from inworld_sync.errors import AudioError

__all__ = ["ROUTES"]

_CLONE_WARNING: Final = (
    "the emulator does not imitate the recordings: a hash of them chooses how the voice sounds"
)
_DESIGN_WARNING: Final = (
    "the emulator does not follow the prompt: a hash of it chooses how the voice sounds"
)
_MAX_SAMPLE_BYTES: Final = 4 << 20
_MIN_SECONDS: Final = 3
_MAX_SECONDS: Final = 30
# The rest of a recording is not decoded, because a small file can have hours of silence.
_DECODED_SECONDS: Final = 60
_PROMPT_CHARACTERS: Final = (30, 250)
_MAX_PREVIEWS: Final = 3
_MAX_PREVIEW_CHARACTERS: Final = 500
_Handler: TypeAlias = Callable[[Request, SharedState], Response]
_AUTO: Final = ("", "AUTO", "LANGUAGE_CODE_UNSPECIFIED")

# The lowest and the highest pitch of each gender, as multiples of the engine's pitch.
_PITCHES: Final = {"female": (0.95, 1.35), "male": (0.52, 0.74), "neutral": (0.76, 0.94)}
_GENDER_WORDS: Final = {
    "female": re.compile(r"\b(?:female|woman|girl|lady|she|her)\b", re.IGNORECASE),
    "male": re.compile(r"\b(?:male|man|boy|gentleman|he|his)\b", re.IGNORECASE),
}


def _clone(request: Request, shared: SharedState) -> Response:
    body = _body(request)
    name = _required(body, "displayName")
    samples = body.get("voiceSamples")
    if not isinstance(samples, list) or not samples:
        raise Refused(INVALID_ARGUMENT, "voice_samples is required")
    digest = hashlib.sha256()
    lang_code = _lang_code(body)
    reports = []
    for number, sample in enumerate(samples, 1):
        if not isinstance(sample, dict):
            raise Refused(INVALID_ARGUMENT, f"invalid value for voice_samples {number}")
        content = _content(sample, number)
        seconds = _seconds(content, number)
        digest.update(hashlib.sha256(content).digest())
        reports.append(
            {
                "langCode": lang_code,
                "transcription": fields.text(sample, "transcription"),
                "warnings": _warnings(seconds),
                "errors": [],
            }
        )
    voice = shared.voices.add(
        _custom_voice(
            digest.digest(),
            name=name,
            description=fields.text(body, "description") or f"Emulated: {_CLONE_WARNING}",
            lang_code=lang_code,
            tags=_tags(body),
        )
    )
    return Response.of_json(
        {"voice": describe_voice(voice), "audioSamplesValidated": reports},
        headers={"x-inworld-emulator-warning": _CLONE_WARNING},
    )


def _design(request: Request, shared: SharedState) -> Response:
    body = _body(request)
    prompt = _required(body, "designPrompt")
    low, high = _PROMPT_CHARACTERS
    if not low <= len(prompt) <= high:
        raise Refused(INVALID_ARGUMENT, f"design_prompt must have {low} to {high} characters")
    text = _required(body, "previewText")
    if len(text) > _MAX_PREVIEW_CHARACTERS:
        message = f"preview_text must have at most {_MAX_PREVIEW_CHARACTERS} characters"
        raise Refused(INVALID_ARGUMENT, message)
    count = fields.whole(fields.inner(body, "voiceDesignConfig"), "numberOfSamples", 1)
    if not 1 <= count <= _MAX_PREVIEWS:
        raise Refused(INVALID_ARGUMENT, f"number_of_samples must be 1 to {_MAX_PREVIEWS}")
    lang_code = _lang_code(body)
    gender = next((name for name, words in _GENDER_WORDS.items() if words.search(prompt)), None)
    previews = shared.voices.add_previews(
        [
            _custom_voice(
                hashlib.sha256(f"{prompt}\0{lang_code}\0{number}".encode()).digest(),
                name=" ".join(prompt.split()[:4]),
                description=f"Emulated: {_DESIGN_WARNING}",
                lang_code=lang_code,
                gender=gender,
            )
            for number in range(count)
        ]
    )
    return Response.of_json(
        {
            "langCode": lang_code,
            "previewVoices": [
                {
                    "voiceId": voice.voice_id,
                    "previewText": text,
                    "previewAudio": base64.b64encode(_spoken(text, voice, shared)).decode(),
                }
                for voice in previews
            ],
        },
        headers={"x-inworld-emulator-warning": _DESIGN_WARNING},
    )


def _publish(request: Request, shared: SharedState) -> Response:
    voice_id = request.path.rpartition("/")[2].removesuffix(":publish")
    changes = _changes(_body(request))
    # In this request, an empty field counts as missing. In PATCH, it does not.
    changes = {name: value for name, value in changes.items() if value}
    return Response.of_json(describe_voice(shared.voices.publish(voice_id, changes)))


def _update(request: Request, shared: SharedState) -> Response:
    voice_id = request.path.rpartition("/")[2]
    changes = _changes(_body(request))
    if "display_name" in changes and not changes["display_name"]:
        raise Refused(INVALID_ARGUMENT, "display_name cannot be empty")
    return Response.of_json(describe_voice(shared.voices.update(voice_id, changes)))


def _delete(request: Request, shared: SharedState) -> Response:
    shared.voices.delete(request.path.rpartition("/")[2])
    return Response.of_json({})


def _refusing(handler: _Handler) -> _Handler:
    """Return a handler that refuses a request whose fields have wrong types."""

    def handle(request: Request, shared: SharedState) -> Response:
        try:
            return handler(request, shared)
        except Malformed as error:
            raise Refused(INVALID_ARGUMENT, f"invalid value for {error}") from None

    return handle


ROUTES: tuple[HttpRoute, ...] = tuple(
    HttpRoute(method=method, path=f"{path}{suffix}", handler=_refusing(handler))
    for path in VOICE_PATHS
    for method, suffix, handler in (
        ("POST", ":clone", _clone),
        ("POST", ":design", _design),
        ("POST", "/*:publish", _publish),
        ("PATCH", "/*", _update),
        ("DELETE", "/*", _delete),
    )
)


def _body(request: Request) -> Mapping[str, object]:
    body = read_body(request)
    if not isinstance(body, dict):
        raise Refused(INVALID_ARGUMENT, "the body must be a JSON object")
    return body


def _required(body: Mapping[str, object], name: str) -> str:
    value = fields.text(body, name)
    if not value.strip():
        raise Refused(INVALID_ARGUMENT, f"{name} is required")
    return value


def _tags(body: Mapping[str, object]) -> tuple[str, ...]:
    tags = body.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise Refused(INVALID_ARGUMENT, "invalid value for tags")
    return tuple(tags)


def _changes(body: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of a voice that the body of a request sets."""
    changes: dict[str, object] = {}
    for name, field in (("displayName", "display_name"), ("description", "description")):
        if body.get(name) is not None:
            changes[field] = fields.text(body, name)
    if body.get("tags") is not None:
        changes["tags"] = _tags(body)
    return changes


def _lang_code(body: Mapping[str, object]) -> str:
    code = (
        (fields.text(body, "languageCode") or fields.text(body, "langCode"))
        .replace("-", "_")
        .upper()
    )
    return "EN_US" if code in _AUTO else code


def _content(sample: Mapping[str, object], number: int) -> bytes:
    content = decoded_base64(sample.get("audioData"))
    if not content:
        raise Refused(INVALID_ARGUMENT, f"audio sample {number} is empty")
    if len(content) > _MAX_SAMPLE_BYTES:
        raise Refused(INVALID_ARGUMENT, f"audio sample {number} exceeds 4 MB")
    return content


def _seconds(content: bytes, number: int) -> float:
    """Return the length of a recording; raise Refused if it is not audio."""
    try:
        file = open_file(content)
        try:
            limit = 2 * file.channels * file.sample_rate_hz * _DECODED_SECONDS
            size = 0
            for block in file:
                size += len(bytes(block))
                if size >= limit:
                    break
        finally:
            file.close()
    except AudioError as error:
        raise Refused(INVALID_ARGUMENT, f"audio sample {number} is not audio: {error}") from None
    if not size:
        raise Refused(INVALID_ARGUMENT, f"audio sample {number} has no audio")
    return size / 2 / file.channels / file.sample_rate_hz


def _warnings(seconds: float) -> list[dict[str, str]]:
    found = [_CLONE_WARNING]
    if seconds < _MIN_SECONDS:
        found.append(f"the recording is shorter than {_MIN_SECONDS} s")
    if seconds > _MAX_SECONDS:
        found.append(f"the recording was cut off after {_MAX_SECONDS} s")
    return [{"text": text} for text in found]


def _custom_voice(
    digest: bytes,
    *,
    name: str,
    description: str,
    lang_code: str,
    tags: tuple[str, ...] = (),
    gender: str | None = None,
) -> EmulatedVoice:
    """Make a voice. The hash *digest* chooses the sound of the voice."""
    shares = [byte / 255 for byte in digest]
    gender = gender or tuple(_PITCHES)[digest[3] % len(_PITCHES)]
    low, high = _PITCHES[gender]
    pitch = low + shares[0] * (high - low)
    return EmulatedVoice(
        voice_id="",
        display_name=name,
        source="IVC",
        gender=gender,
        description=description,
        lang_code=lang_code,
        tags=tags,
        pitch=round(pitch, 3),
        # A larger speaker has a lower voice and lower formants.
        formant=round(0.72 + 0.28 * min(pitch, 1.3) + 0.08 * (shares[1] - 0.5), 3),
        speed=round(0.92 + 0.24 * shares[2], 3),
    )


def _spoken(text: str, voice: EmulatedVoice, shared: SharedState) -> bytes:
    """Return the speech of a text as a WAV file. *voice* need not be in the list of voices."""
    audio = {"audioEncoding": "WAV", "sampleRateHertz": 24000}
    first = shared.settings.voices[0].voice_id
    config = read_config(
        {"voiceId": first, "modelId": "inworld-tts-2", "audioConfig": audio}, shared.settings
    )
    pieces: list[AudioPiece] = list(speak(text, config, shared, whole=True, voice=voice))
    return b"".join(piece.audio for piece in pieces)
