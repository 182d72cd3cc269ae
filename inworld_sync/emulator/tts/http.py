"""Speech over HTTP: one answer with the whole file, or lines of JSON as it is made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.protojson import read_body, refusal
from inworld_sync.emulator.routes import HttpRoute, Route
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import INVALID_ARGUMENT, Malformed, Refused
from inworld_sync.emulator.tts.config import ContextConfig, read_config
from inworld_sync.emulator.tts.messages import audio_chunks, whole_audio

__all__ = ["TtsHttpService"]


class TtsHttpService:
    """Speaks over HTTP; thread-safe, one instance serves all connections."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared

    def routes(self) -> Iterable[Route]:
        """Return the two endpoints."""
        return [
            HttpRoute(method="POST", path="/tts/v1/voice", handler=self._whole),
            HttpRoute(method="POST", path="/tts/v1/voice:stream", handler=self._stream),
        ]

    def _whole(self, request: Request, _: Mapping[str, str]) -> Response:
        try:
            text, config = self._read(request)
        except Refused as error:
            return refusal(error)
        return Response.of_json(whole_audio(text, config, self._shared))

    def _stream(self, request: Request, _: Mapping[str, str]) -> Response:
        try:
            text, config = self._read(request)
        except Refused as error:
            return refusal(error, field="error")
        headers = {"Content-Type": "application/json"}
        return Response(headers=headers, body=self._lines(text, config))

    def _read(self, request: Request) -> tuple[str, ContextConfig]:
        """Read the request; raise Refused when it is not good."""
        fields = read_body(request)
        text = fields.get("text") if isinstance(fields, dict) else None
        if not isinstance(fields, dict) or not isinstance(text or "", str):
            raise Refused(INVALID_ARGUMENT, "the body is not a request")
        if not text or not text.strip():
            raise Refused(INVALID_ARGUMENT, "Text cannot be empty")
        limit = self._shared.settings.max_text_characters
        if len(text) > limit:
            raise Refused(INVALID_ARGUMENT, f"text length should not exceed {limit} characters.")
        try:
            return text, read_config(fields, self._shared.settings, lenient=True)
        except Malformed as error:
            raise Refused(INVALID_ARGUMENT, f"invalid value for {error}") from None

    def _lines(self, text: str, config: ContextConfig) -> Iterator[bytes]:
        for chunk, _ in audio_chunks(text, config, self._shared):
            line = json.dumps({"result": chunk}, ensure_ascii=False)
            yield line.encode(errors="replace") + b"\n"
