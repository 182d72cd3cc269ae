"""
Serves transcription jobs over HTTP. A client sends a recording, and gets the transcript later.

Source: the service's guide to asynchronous transcription, and its examples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Final

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.json_text import read_json
from inworld_sync.emulator.protojson import camel_keys, read_body
from inworld_sync.emulator.routes import HttpRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import INVALID_ARGUMENT, NOT_FOUND, Malformed, Refused
from inworld_sync.emulator.stt.config import TranscribeConfig, read_config
from inworld_sync.emulator.stt.decoders import decoded_base64
from inworld_sync.emulator.stt.http import joined, recognize
from inworld_sync.emulator.stt.messages import transcription, usage

__all__ = ["ROUTES"]

_OPERATIONS: Final = "/lro/v1alpha/"
_TRANSCRIPTS: Final = "/emulator/transcripts"
_LIFETIME: Final = timedelta(days=7)
_BOUNDARY: Final = re.compile(
    r'multipart/form-data\s*;.*?\bboundary="?([^";,]{1,70})"?', re.IGNORECASE
)
_PART_NAME: Final = re.compile(rb'content-disposition:[^\r\n]*\bname="([^"]*)"', re.IGNORECASE)


def _submit(request: Request, shared: SharedState) -> Response:
    asked, audio = _read(request)
    if not isinstance(asked, dict):
        raise Refused(INVALID_ARGUMENT, "transcribe_config is required")
    try:
        config = read_config(asked, shared.settings, streaming=False)
    except Malformed as error:
        raise Refused(INVALID_ARGUMENT, f"invalid value for {error}") from None
    if not audio:
        raise Refused(INVALID_ARGUMENT, "Audio cannot be empty")
    job = shared.jobs.start(
        "sttJobs", shared.settings.stt_max_jobs, lambda: _document(audio, config, shared)
    )
    return Response.of_json({"name": job.name, "done": False})


def _operation(request: Request, shared: SharedState) -> Response:
    job = shared.jobs.get(request.path.removeprefix(_OPERATIONS))
    if job is None:
        raise Refused(NOT_FOUND, "operation not found")
    answer: dict[str, object] = {"name": job.name, "done": job.is_done}
    if job.error is not None:
        answer["error"] = job.error
    elif job.is_done:
        expires = datetime.now(timezone.utc) + _LIFETIME
        scheme = "https" if shared.is_secure else "http"
        host = request.headers.get("host", "")
        answer["response"] = {
            "resultUri": f"{scheme}://{host}{_TRANSCRIPTS}/{job.ticket}",
            "expireTime": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    return Response.of_json(answer)


def _transcript(request: Request, shared: SharedState) -> Response:
    job = shared.jobs.of_ticket(request.path.rpartition("/")[2])
    if job is None or job.result is None:
        raise Refused(NOT_FOUND, "no such transcript")
    return Response.of_json(job.result)


ROUTES: Final = (
    HttpRoute(method="POST", path="/stt/v1/transcribe:async", handler=_submit),
    HttpRoute(
        method="GET", path=f"{_OPERATIONS}workspaces/*/sttJobs/*/operations/*", handler=_operation
    ),
    HttpRoute(method="GET", path=f"{_TRANSCRIPTS}/*", handler=_transcript, is_signed=True),
)


def _read(request: Request) -> tuple[object, bytes]:
    """Return the settings and the audio of a request. The request is JSON or a form."""
    boundary = _BOUNDARY.search(request.headers.get("content-type", ""))
    if boundary is not None:
        return _read_form(request.body, boundary[1].encode("latin-1"))
    fields = read_body(request)
    if not isinstance(fields, dict):
        raise Refused(INVALID_ARGUMENT, "the body must be a JSON object")
    if fields.get("audioUri"):
        message = "the emulator fetches no address: send the audio instead of audio_uri"
        raise Refused(INVALID_ARGUMENT, message)
    audio = fields.get("audioData")
    try:
        content = decoded_base64(audio.get("content") if isinstance(audio, dict) else None)
    except Malformed as error:
        raise Refused(INVALID_ARGUMENT, f"invalid value for {error}") from None
    return fields.get("transcribeConfig"), content


def _read_form(body: bytes, boundary: bytes) -> tuple[object, bytes]:
    """Read a form. The settings must come first, because the service reads the form as a stream."""
    asked: object = None
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = _PART_NAME.search(head)
        if name is not None and name[1] == b"transcribeConfig":
            try:
                asked = camel_keys(read_json(content))
            except ValueError:
                raise Refused(INVALID_ARGUMENT, "transcribeConfig is not JSON") from None
        elif name is not None and name[1] == b"file":
            if asked is None:
                raise Refused(INVALID_ARGUMENT, "transcribeConfig must come before file")
            return asked, content
    return asked, b""


def _document(audio: bytes, config: TranscribeConfig, shared: SharedState) -> dict[str, object]:
    finals, heard_ms = recognize(audio, config, shared)
    segments = []
    for final in finals:
        if final.text:
            described = transcription(final, config)
            segment = {
                name: described[name] for name in ("transcript", "wordTimestamps", "voiceProfile")
            }
            times = {"startTimeMs": final.start_ms, "endTimeMs": final.end_ms}
            segments.append(_as_64_bit({**segment, **times}))
    counted = _as_64_bit(usage(heard_ms, config))
    return {
        "transcript": joined(finals).text,
        "segments": segments,
        "language": "English",
        "usage": counted,
    }


def _as_64_bit(value: Mapping[str, object]) -> dict[str, object]:
    """Write milliseconds as strings, and leave out fields that are zero or null."""
    found: dict[str, object] = {}
    for name, each in value.items():
        # Here speakers are numbers. The emulator knows only speaker 0, and zero is left out.
        if name == "speaker":
            continue
        if isinstance(each, list):
            found[name] = [_as_64_bit(item) if isinstance(item, dict) else item for item in each]
        elif each not in (None, 0):
            found[name] = str(each) if name.endswith("Ms") else each
    return found
