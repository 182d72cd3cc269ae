"""Speech over HTTP: one response with the whole file, or one line of JSON for each chunk."""

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

__all__ = ["ROUTES"]


def _whole(request: Request, shared: SharedState) -> Response:
    text, config = _read(request, shared)
    return Response.of_json(whole_audio(text, config, shared))


def _stream(request: Request, shared: SharedState) -> Response:
    try:
        text, config = _read(request, shared)
    except Refused as error:
        return refusal(error, field="error")
    headers = {"Content-Type": "application/json"}
    return Response(headers=headers, body=_lines(text, config, shared))


ROUTES = (
    HttpRoute(method="POST", path="/tts/v1/voice", handler=_whole),
    HttpRoute(method="POST", path="/tts/v1/voice:stream", handler=_stream),
)


def _read(request: Request, shared: SharedState) -> tuple[str, ContextConfig]:
    """Read the request; raise Refused if it is invalid."""
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
        return text, read_config(fields, shared.settings, lenient=True)
    except Malformed as error:
        raise Refused(INVALID_ARGUMENT, f"invalid value for {error}") from None


def _lines(text: str, config: ContextConfig, shared: SharedState) -> Iterator[bytes]:
    for chunk, _ in audio_chunks(text, config, shared):
        line = json.dumps({"result": chunk}, ensure_ascii=False)
        yield line.encode(errors="replace") + b"\n"
