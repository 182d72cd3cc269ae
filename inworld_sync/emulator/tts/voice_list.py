"""Serves the voices over HTTP: the list, the older list, and one voice."""

from __future__ import annotations

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.routes import HttpRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import INVALID_ARGUMENT, Refused
from inworld_sync.emulator.voices import EmulatedVoice

__all__ = ["ROUTES", "VOICE_PATHS", "describe_voice"]

# The second path is the older path of the documentation.
VOICE_PATHS = ("/voices/v1/voices", "/voices/v1/workspaces/*/voices")

_WORKSPACE = "workspaces/local"
_DEFAULT_PAGE = 100
_MAX_PAGE = 2000


def _older_list(request: Request, shared: SharedState) -> Response:
    """List all voices. The query ``filter=language=en`` selects the voices of a language."""
    parts = (request.query_value("filter") or "").split("=")
    wanted = (
        parts[1].strip("\"' ").lower() if parts[0].strip() == "language" and len(parts) == 2 else ""
    )
    voices = [
        {
            "voiceId": voice.voice_id,
            "displayName": voice.display_name or voice.voice_id,
            "description": voice.description,
            "languages": [_language(voice)],
            "tags": [voice.gender, *voice.tags],
        }
        for voice in shared.settings.voices
        if wanted in ("", _language(voice))
    ]
    return Response.of_json({"voices": voices})


def _list(request: Request, shared: SharedState) -> Response:
    """List one page of the voices. The query ``languages=EN_US`` selects languages."""
    size_text, token = request.query_value("pagesize"), request.query_value("pagetoken")
    try:
        size, start = int(size_text or 0) or _DEFAULT_PAGE, int(token or 0)
    except ValueError:
        size = start = -1
    if size < 0 or start < 0:
        raise Refused(INVALID_ARGUMENT, "invalid pageSize or pageToken")
    wanted = {
        value.upper().replace("-", "_")
        for name, values in request.query
        if name.lower() == "languages"
        for value in values.split(",")
        if value
    }
    found = [voice for voice in shared.settings.voices if not wanted or voice.lang_code in wanted]
    end = start + min(size, _MAX_PAGE)
    return Response.of_json(
        {
            "voices": [describe_voice(voice) for voice in found[start:end]],
            "nextPageToken": str(end) if end < len(found) else "",
        }
    )


def _one(request: Request, shared: SharedState) -> Response:
    voice_id = request.path.rpartition("/")[2]
    return Response.of_json(describe_voice(shared.voices.require(voice_id)))


ROUTES: tuple[HttpRoute, ...] = (
    HttpRoute(method="GET", path="/tts/v1/voices", handler=_older_list),
    *(HttpRoute(method="GET", path=path, handler=_list) for path in VOICE_PATHS),
    *(HttpRoute(method="GET", path=f"{path}/*", handler=_one) for path in VOICE_PATHS),
)


def _language(voice: EmulatedVoice) -> str:
    return voice.lang_code.partition("_")[0].lower()


def describe_voice(voice: EmulatedVoice) -> dict[str, object]:
    """Make the JSON of a voice."""
    return {
        "name": f"{_WORKSPACE}/voices/{voice.voice_id}",
        "voiceId": voice.voice_id,
        "langCode": voice.lang_code,
        "displayName": voice.display_name or voice.voice_id,
        "description": voice.description,
        "gender": voice.gender,
        "tags": list(voice.tags),
        "source": voice.source,
    }
