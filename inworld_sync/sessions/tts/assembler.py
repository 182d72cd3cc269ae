"""
Turns the messages about one context into events and into chunks with plain samples.

The times of the chunks continue over the whole utterance.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import attrs

from inworld_sync.audio import base64, pcm, wav
from inworld_sync.errors import DeadlineExceeded, InworldError
from inworld_sync.models.events import InvalidMessage, StreamEnded, UnknownEvent
from inworld_sync.models.tts import (
    AudioConfig,
    AudioEncoding,
    CharacterTime,
    ContextClosed,
    ContextCreated,
    ContextUpdated,
    FlushCompleted,
    Phoneme,
    Viseme,
    WordTime,
)
from inworld_sync.models.words import WordJoiner, join_tokens
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.tts.speech import AudioChunk
from inworld_sync.wire import tts
from inworld_sync.wire.contexts import ContextProgress

__all__ = ["INTERRUPTED", "Assembler", "ContextEvent", "ContextReceiver"]

ContextEvent: TypeAlias = (
    AudioChunk
    | ContextClosed
    | ContextCreated
    | ContextUpdated
    | FlushCompleted
    | InvalidMessage
    | UnknownEvent
)

INTERRUPTED = StreamEnded("client", reason="interrupted")

_Timed = TypeVar("_Timed", WordTime, CharacterTime)


class Assembler:
    """
    Makes the chunks of one context. The assembler decodes the audio, removes WAV headers, and joins
    samples that are cut between two messages.

    The times on the wire start at 0 with every generation. The assembler adds the duration of the
    audio of all earlier generations. The duration of compressed audio is unknown here, so the end
    of the last word is added instead.

    Thread safety: none; the reader of the connection owns the assembler.
    """

    def __init__(self, context_id: str, audio: AudioConfig) -> None:
        self._context_id = context_id
        self._audio = audio
        # The value is 0 for compressed encodings.
        self._sample_bytes = audio.encoding.bytes_per_sample
        self._carry = pcm.SampleCarry()
        self._has_half_sample = False
        self._samples = 0
        self._generation_start_ms = 0.0
        self._word_ms = 0.0
        self._character_ms = 0.0
        self._last_end_ms = 0.0
        self._joiner = WordJoiner()
        self._has_visemes = False

    @property
    def received_ms(self) -> float | None:
        """How many milliseconds of audio were received so far; None for compressed encodings."""
        if not self._sample_bytes:
            return None
        return self._samples * 1000.0 / self._audio.sample_rate_hz

    def chunk(self, received: tts.AudioReceived) -> AudioChunk:
        """
        Turn one message into a chunk.

        Raises:
            AudioError: The audio of the message is not base64.
        """
        start_ms, audio = self.received_ms, received.audio
        # Most messages have whole samples, without a header and without times.
        is_cut = self._has_half_sample or len(audio) % 2 or audio[:4] == b"RIFF"
        if type(audio) is bytes and not (is_cut and self._sample_bytes == 2):
            data = audio
        else:
            data = self._data(audio) if audio else b""
        if self._sample_bytes:
            self._samples += len(data) // self._sample_bytes
        words: tuple[WordTime, ...] = ()
        characters: tuple[CharacterTime, ...] = ()
        phonemes: tuple[Phoneme, ...] = ()
        visemes: tuple[Viseme, ...] = ()
        if received.tokens or received.characters or received.phonemes or received.visemes:
            words, phonemes = self._words(received)
            characters = self._characters(received.characters)
            visemes = self._visemes(received.visemes, phonemes)
        return AudioChunk(
            self._context_id,
            data,
            self._audio.encoding,
            self._audio.sample_rate_hz,
            start_ms,
            words,
            characters,
            phonemes,
            received.usage,
            tuple([token.text for token in received.tokens]),
            visemes,
            received.extra,
        )

    def generation_ended(self) -> None:
        """Handle the end of a generation. The times of the next generation start at 0 again."""
        # A count of samples is exact. The last word may end a little after its audio. Then the end
        # of the word would delay all later times.
        received_ms = self.received_ms
        self._generation_start_ms = self._last_end_ms if received_ms is None else received_ms

    def finish(self) -> None:
        """
        Check that the audio ends on a whole sample.

        Raises:
            AudioError: Half of a sample is left.
        """
        self._carry.finish()

    def _data(self, audio: str | bytes) -> bytes:
        data: bytes | memoryview = base64.decode(audio) if isinstance(audio, str) else audio
        encoding = self._audio.encoding
        if encoding in (AudioEncoding.LINEAR16, AudioEncoding.WAV):
            data = wav.strip_riff(data)
        if self._sample_bytes == 2:
            data = self._carry.feed(data)
            self._has_half_sample = self._carry.pending_bytes > 0
        return bytes(data)

    def _words(
        self, received: tts.AudioReceived
    ) -> tuple[tuple[WordTime, ...], tuple[Phoneme, ...]]:
        """Join the tokens to words, and shift words and phonemes to the utterance's time."""
        tokens = []
        for token in received.tokens:
            self._word_ms = max(self._word_ms, token.start_ms + self._generation_start_ms)
            tokens.append(self._placed(token, self._word_ms))
        words, indexes = join_tokens(tokens, self._joiner)
        shift = self._generation_start_ms
        phonemes = tuple(
            attrs.evolve(
                phoneme,
                start_ms=phoneme.start_ms + shift,
                end_ms=phoneme.end_ms + shift,
                word_index=indexes[phoneme.word_index]
                if 0 <= phoneme.word_index < len(indexes)
                else phoneme.word_index,
            )
            for phoneme in received.phonemes
        )
        return words, phonemes

    def _visemes(
        self, received: tuple[Viseme, ...], phonemes: tuple[Phoneme, ...]
    ) -> tuple[Viseme, ...]:
        """Return the service's visemes. If it sends no visemes, return those of the phonemes."""
        self._has_visemes = self._has_visemes or bool(received)
        if not self._has_visemes:
            return tuple(
                Viseme(each.viseme, each.start_ms, each.end_ms) for each in phonemes if each.viseme
            )
        shift = self._generation_start_ms
        return tuple(
            attrs.evolve(each, start_ms=each.start_ms + shift, end_ms=each.end_ms + shift)
            for each in received
        )

    def _characters(self, received: tuple[CharacterTime, ...]) -> tuple[CharacterTime, ...]:
        placed = []
        for character in received:
            start_ms = character.start_ms + self._generation_start_ms
            self._character_ms = max(self._character_ms, start_ms)
            placed.append(self._placed(character, self._character_ms))
        return tuple(placed)

    def _placed(self, timed: _Timed, start_ms: float) -> _Timed:
        """Return a word or character with its times in the utterance; it begins at *start_ms*."""
        end_ms = max(timed.end_ms + self._generation_start_ms, start_ms)
        self._last_end_ms = max(self._last_end_ms, end_ms)
        return attrs.evolve(timed, start_ms=start_ms, end_ms=end_ms)


class ContextReceiver:
    """
    Handles the messages about one context.

    The connection refers to this object and not to the context of the user. So a context that its
    user has dropped can be garbage-collected and closed.

    Lock rule: the monitor of the connection is held in every method.

    Attributes:
        id: The id of the context.
        stream: The events of the context.
        progress: The sent text and the received audio.
        is_closed: Whether the user has closed the context.
    """

    def __init__(
        self,
        context_id: str,
        audio: AudioConfig,
        stream: EventStream[ContextEvent],
        progress: ContextProgress,
    ) -> None:
        self.id = context_id
        self.stream = stream
        self.progress = progress
        self.is_closed = False
        self._assembler = Assembler(context_id, audio)

    @property
    def is_open(self) -> bool:
        """Whether the context still accepts text. The monitor need not be held."""
        return self.stream.ended is None and not self.is_closed

    def end_early(self, ended: StreamEnded) -> None:
        """End the stream at once and drop the events that wait."""
        self.stream.end(ended)
        self.stream.discard()

    def end_expired(self, error: DeadlineExceeded) -> None:
        """End the stream because the service did not answer in time."""
        self.stream.end(StreamEnded("client", reason="no answer", error=error))

    def handle(self, message: tts.ContextMessage, *, was_closing: bool) -> None:
        """
        Handle one message about this context.

        Args:
            message: The message of the service.
            was_closing: Whether the client had already closed the context.
        """
        if isinstance(message, tts.AudioReceived):
            self._handle_audio(message)
            return
        if isinstance(message, FlushCompleted):
            self._assembler.generation_ended()
        ended = self.progress.handle(message, was_closing=was_closing)
        if not isinstance(message, (tts.ContextFault, tts.Unreadable)):
            self.stream.append(message)
        if ended is not None:
            if isinstance(message, ContextClosed) and ended.error is None:
                try:
                    self._assembler.finish()
                except InworldError as error:
                    ended = attrs.evolve(ended, error=error)
            self.stream.end(ended)

    def _handle_audio(self, message: tts.AudioReceived) -> None:
        try:
            chunk = self._assembler.chunk(message)
        except InworldError as error:
            self.progress.was_answered = True
            self.stream.end(StreamEnded("client", reason="unreadable audio", error=error))
            return
        self.progress.handle_audio(len(chunk.data), message.usage)
        self.stream.append(chunk)
