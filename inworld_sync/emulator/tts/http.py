"""Speech over HTTP: one answer with the whole file, or lines of JSON as it is made."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.protojson import (
    INVALID_ARGUMENT,
    NOT_FOUND,
    Malformed,
    Refused,
    camel_keys,
    status,
)
from inworld_sync.emulator.routes import HttpRoute, Route
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.tts.config import ContextConfig, read_config
from inworld_sync.emulator.tts.speech import AudioPiece, TimedWord, speak
from inworld_sync.emulator.tts.timestamps import timestamp_info

__all__ = ["TtsHttpService"]

_HTTP_STATUS = {INVALID_ARGUMENT: 400, NOT_FOUND: 404}


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
            return Response.of_json(
                status(error.code, error.message), status=_HTTP_STATUS[error.code]
            )
        audio = bytearray()
        words: list[TimedWord] = []
        for piece in speak(text, config, self._shared, whole=True):
            audio += piece.audio
            words += piece.words
        return Response.of_json(
            {
                "audioContent": base64.b64encode(audio).decode(),
                "usage": _usage(config, len(text)),
                "timestampInfo": self._timestamps(text, words, config),
            }
        )

    def _stream(self, request: Request, _: Mapping[str, str]) -> Response:
        try:
            text, config = self._read(request)
        except Refused as error:
            body = {"error": status(error.code, error.message)}
            return Response.of_json(body, status=_HTTP_STATUS[error.code])
        return Response(
            headers={"Content-Type": "application/json"}, body=self._lines(text, config)
        )

    def _read(self, request: Request) -> tuple[str, ContextConfig]:
        """Read the request; raise Refused when it is not good."""
        try:
            fields = camel_keys(request.json())
        except ValueError:
            raise Refused(INVALID_ARGUMENT, "the body is not JSON") from None
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
        words: list[TimedWord] = []
        for number, piece in enumerate(speak(text, config, self._shared)):
            words += piece.words
            yield _line(self._result(text, piece, config, len(text) if number == 0 else 0))
        if config.timestamps_trail and words:
            info = self._timestamps(text, words, config)
            yield _line({"usage": _usage(config, 0), "timestampInfo": info})

    def _result(
        self, text: str, piece: AudioPiece, config: ContextConfig, characters: int
    ) -> dict[str, object]:
        words = () if config.timestamps_trail else piece.words
        return {
            "audioContent": base64.b64encode(piece.audio).decode(),
            "usage": _usage(config, characters),
            "timestampInfo": self._timestamps(text, words, config),
        }

    def _timestamps(
        self, text: str, words: Iterable[TimedWord], config: ContextConfig
    ) -> dict[str, object] | None:
        spaces = self._shared.settings.spaces_in_words
        return timestamp_info(text, tuple(words), config.timestamp_type, spaces=spaces)


def _usage(config: ContextConfig, characters: int) -> dict[str, object]:
    return {"processedCharactersCount": characters, "modelId": config.model_id}


def _line(result: dict[str, object]) -> bytes:
    return json.dumps({"result": result}, ensure_ascii=False).encode(errors="replace") + b"\n"
