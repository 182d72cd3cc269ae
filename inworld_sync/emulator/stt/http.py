"""Recognizes a whole recording in one HTTP request."""

from __future__ import annotations

from typing import Final

import attrs

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.protojson import read_body
from inworld_sync.emulator.recognition.events import FinalTranscript, SpeechEvent
from inworld_sync.emulator.recognition.listener import Listener
from inworld_sync.emulator.routes import HttpRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import INVALID_ARGUMENT, UNAVAILABLE, Malformed, Refused
from inworld_sync.emulator.stt.config import TranscribeConfig, read_config
from inworld_sync.emulator.stt.decoders import decoded_base64, open_decoder
from inworld_sync.emulator.stt.messages import transcription, usage
from inworld_sync.errors import ConfigError

__all__ = ["ROUTES", "joined", "recognize"]

_FEED_BYTES: Final = 32_000


def _transcribe(request: Request, shared: SharedState) -> Response:
    audio, config = _read(request, shared)
    finals, heard_ms = recognize(audio, config, shared)
    final = joined(finals)
    described = transcription(final, config)
    body: dict[str, object] = {"transcription": described, "usage": usage(heard_ms, config)}
    if shared.settings.stt_profile_at_top:
        body["voiceProfile"] = described.pop("voiceProfile")
    return Response.of_json(body)


ROUTES: Final = (HttpRoute(method="POST", path="/stt/v1/transcribe", handler=_transcribe),)


def _read(request: Request, shared: SharedState) -> tuple[bytes, TranscribeConfig]:
    """Read the request. Raise Refused if it is invalid."""
    fields = read_body(request)
    asked = fields.get("transcribeConfig") if isinstance(fields, dict) else None
    audio = fields.get("audioData") if isinstance(fields, dict) else None
    if not isinstance(asked, dict) or not isinstance(audio, dict):
        raise Refused(INVALID_ARGUMENT, "transcribe_config and audio_data are required")
    try:
        config = read_config(asked, shared.settings, streaming=False)
        content = decoded_base64(audio.get("content"))
    except Malformed as error:
        raise Refused(INVALID_ARGUMENT, f"invalid value for {error}") from None
    if not content:
        raise Refused(INVALID_ARGUMENT, "Audio cannot be empty")
    return content, config


def recognize(
    audio: bytes, config: TranscribeConfig, shared: SharedState
) -> tuple[list[FinalTranscript], int]:
    """
    Recognize a recording.

    Returns:
        The transcript of each turn, and how many milliseconds of speech were transcribed.

    Raises:
        Refused: The audio or the language cannot be recognized, or the server closes.
    """
    engine = shared.speech_engine
    try:
        engine.check_language(config.language)
    except ConfigError as error:
        raise Refused(INVALID_ARGUMENT, str(error)) from error
    # Partial transcripts are not part of the response.
    listener = Listener(engine, attrs.evolve(config.turns, partial_interval_ms=0))
    decoder = open_decoder(config)
    pcm = decoder.feed(audio) + decoder.flush()
    events: list[SpeechEvent] = []
    for at in range(0, len(pcm), _FEED_BYTES):
        if shared.stopping.is_set():
            raise Refused(UNAVAILABLE, "the emulator is closing")
        events += listener.feed(pcm[at : at + _FEED_BYTES])
    events += listener.finish()
    finals = [event for event in events if isinstance(event, FinalTranscript)]
    return finals, listener.transcribed_ms


def joined(finals: list[FinalTranscript]) -> FinalTranscript:
    """Join the turns of a recording to one transcript."""
    return FinalTranscript(
        " ".join(final.text for final in finals if final.text),
        tuple(word for final in finals for word in final.words),
        finals[0].start_ms if finals else 0,
        finals[-1].end_ms if finals else 0,
    )
