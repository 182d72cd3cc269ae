"""Makes the JSON of speech, which WebSocket and HTTP share."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

from inworld_sync.emulator.settings import Settings
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.tts.config import ContextConfig
from inworld_sync.emulator.tts.speech import TimedWord, speak
from inworld_sync.emulator.tts.timestamps import timestamp_info

__all__ = ["audio_chunks", "whole_audio"]


def audio_chunks(
    text: str, config: ContextConfig, shared: SharedState
) -> Iterator[tuple[dict[str, object], float]]:
    """
    Speak a text.

    Args:
        text: The text.
        config: The voice and the format.
        shared: The state of the server.

    Yields:
        The body of each message, and the seconds of audio in it. With trailing timestamps the last
        body has no audio.
    """
    characters = len(text)
    words: list[TimedWord] = []
    for piece in speak(text, config, shared):
        words += piece.words
        shown = () if config.timestamps_trail else piece.words
        yield _body(piece.audio, characters, shown, config, shared.settings), piece.duration
        characters = 0
    if config.timestamps_trail and words:
        yield _body(None, 0, words, config, shared.settings), 0.0


def whole_audio(text: str, config: ContextConfig, shared: SharedState) -> dict[str, object]:
    """Make the body with one audio file and all timestamps of a text."""
    pieces = list(speak(text, config, shared, whole=True))
    audio = b"".join(piece.audio for piece in pieces)
    words = [word for piece in pieces for word in piece.words]
    return _body(audio, len(text), words, config, shared.settings)


def _body(
    audio: bytes | None,
    characters: int,
    words: Sequence[TimedWord],
    config: ContextConfig,
    settings: Settings,
) -> dict[str, object]:
    content = {} if audio is None else {"audioContent": base64.b64encode(audio).decode()}
    return {
        **content,
        "usage": {"processedCharactersCount": characters, "modelId": config.model_id},
        "timestampInfo": timestamp_info(
            words,
            config.timestamp_type,
            spaces=settings.spaces_in_words,
            tokens=settings.word_tokens,
            lipsync=config.lipsync,
        ),
    }
