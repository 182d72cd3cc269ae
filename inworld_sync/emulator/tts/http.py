"""Serves speech over HTTP, as one whole file or as one line of JSON for each chunk."""

from __future__ import annotations

import json
from collections.abc import Iterator

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.protojson import read_body, refusal
from inworld_sync.emulator.routes import HttpRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import INVALID_ARGUMENT, Malformed, Refused
from inworld_sync.emulator.tts.config import ContextConfig, read_config
from inworld_sync.emulator.tts.messages import audio_chunks, whole_audio
from inworld_sync.emulator.tts.speech import check_text

__all__ = ["ROUTES"]


def _whole(request: Request, shared: SharedState) -> Response:
    text, config, warning = _read(request, shared)
    body = _without_null(whole_audio(text, config, shared), shared)
    return Response.of_json(body, headers=_warned(warning))


def _stream(request: Request, shared: SharedState) -> Response:
    try:
        text, config, warning = _read(request, shared)
    except Refused as error:
        return refusal(error, field="error")
    headers = {"Content-Type": "application/json", **_warned(warning)}
    return Response(headers=headers, body=_lines(text, config, shared))


ROUTES = (
    HttpRoute(method="POST", path="/tts/v1/voice", handler=_whole),
    HttpRoute(method="POST", path="/tts/v1/voice:stream", handler=_stream),
)


def _warned(warning: str) -> dict[str, str]:
    """Make the header for a warning, in ASCII."""
    text = warning.encode("ascii", "backslashreplace").decode()
    return {"x-inworld-emulator-warning": text} if warning else {}


def _without_null(body: dict[str, object], shared: SharedState) -> dict[str, object]:
    """Remove ``timestampInfo`` if it is null, as the service does over HTTP."""
    if body["timestampInfo"] is None and not shared.settings.http_null_timestamps:
        del body["timestampInfo"]
    return body


def _read(request: Request, shared: SharedState) -> tuple[str, ContextConfig, str]:
    """Return the text, the configuration and a warning. Raise Refused if the request is invalid."""
    fields = read_body(request)
    text = fields.get("text") if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or not isinstance(text or "", str):
        raise Refused(INVALID_ARGUMENT, "the body must be a JSON object with a string in text")
    if not text or not text.strip():
        raise Refused(INVALID_ARGUMENT, "Text cannot be empty")
    limit = shared.settings.max_text_characters
    if len(text) > limit:
        raise Refused(INVALID_ARGUMENT, f"text length should not exceed {limit} characters.")
    try:
        config = read_config(fields, shared.settings, lenient=True)
    except Malformed as error:
        raise Refused(INVALID_ARGUMENT, f"invalid value for {error}") from None
    return text, config, check_text(text, config, shared)


def _lines(text: str, config: ContextConfig, shared: SharedState) -> Iterator[bytes]:
    for number, (chunk, _) in enumerate(audio_chunks(text, config, shared)):
        if number and shared.settings.http_usage_without_model:
            chunk["usage"] = {"processedCharactersCount": 0}
        line = json.dumps({"result": _without_null(chunk, shared)}, ensure_ascii=False)
        yield line.encode(errors="replace") + b"\n"
