"""
Speaks one text in a game.

Threads: ``inworld-game-line-...`` receives the speech. This thread passes the audio to the output,
and passes all chunks to a queue. The thread of the game reads the queue.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from inworld_sync.errors import ConfigError, InworldError, LocalProtocolError
from inworld_sync.games.mouth_track import to_openxr
from inworld_sync.games.threads import GameThread
from inworld_sync.games.voice import GameVoice
from inworld_sync.locks import Event
from inworld_sync.models.tts import AudioConfig, ContextConfig, TimestampType, VisemeSet
from inworld_sync.sessions.tts.speech import AudioChunk, Speech, SpeechStream
from inworld_sync.wire.text import require_pieces, require_text

if TYPE_CHECKING:
    from inworld_sync.client import Inworld

__all__ = ["VoiceLine"]

LineState: TypeAlias = Literal["new", "connecting", "speaking", "finished", "cancelled", "failed"]

_ITEM = "line"
_numbers = itertools.count(1)

# Existing speech is queued in pieces of _PIECE_MS. No piece is queued while the queue has more than
# _AHEAD_MS.
_PIECE_MS = 200
_AHEAD_MS = 2000.0

_FULL_SECONDS = 0.05


class VoiceLine(GameVoice):
    """
    One text that is spoken, such as a sentence of a character.

    :meth:`start` returns at once. A thread of the package connects, and receives the speech. The
    state is first ``new``. It is ``connecting`` until the engine has read the first audio, then
    ``speaking``, and at the end ``finished``, ``cancelled`` or ``failed``. Speech that was received
    before an error is still spoken.

    Args:
        client: The client. Only the thread of the line uses the client. A line of existing speech
            needs no client.
        text: A text of any length, an iterable of pieces, such as the tokens of an LLM, or existing
            speech. The thread of the line iterates over the pieces. For existing speech, only the
            settings *latency_ms* and *start* are used.
        voice: Id of a voice; ``Ashley`` by default.
        model: Id of a model; ``inworld-tts-2`` by default.
        language: BCP-47 tag, or ``AUTO``. Only ``inworld-tts-2`` accepts a language.
        speaking_rate: The speaking rate, 0.5 to 1.5.
        config: All settings in one object. Each setting above that is not None replaces the same
            setting of *config*. The encoding must be PCM.
        sample_rate_hz: The sample rate of the engine's mixer, in Hz: 8000, 16000, 22050, 24000,
            32000, 44100 or 48000. None means the rate of *config*. Without *config*, None means
            24000.
        latency_ms: The time from the read of a sample until the sample is heard, 0 to 60000 ms.
        visemes: Whether to request mouth shapes. Without mouth shapes, the mouth follows the
            loudness.
        start: Whether to start the line at once.

    Raises:
        ConfigError: The text is blank, or a setting is out of its range.
    """

    def __init__(
        self,
        client: Inworld | None,
        text: str | Iterable[str] | Speech,
        *,
        voice: str | None = None,
        model: str | None = None,
        language: str | None = None,
        speaking_rate: float | None = None,
        config: ContextConfig | None = None,
        sample_rate_hz: int | None = None,
        latency_ms: float = 0.0,
        visemes: bool = True,
        start: bool = False,
    ) -> None:
        self._speech: Speech | None = None
        self._rest: deque[memoryview] = deque()
        if isinstance(text, Speech):
            self._speech = text
            self._rest.extend(_pieces(text))
            rate_hz = text.sample_rate_hz
            self.text = "".join(text.tokens) or " ".join(word.text for word in text.words)
        else:
            if client is None:
                raise ConfigError("client is needed to speak a text, got None")
            (require_text if isinstance(text, str) else require_pieces)(text)
            self._config = _settings(
                config, voice, model, language, speaking_rate, sample_rate_hz, visemes=visemes
            )
            rate_hz = self._config.audio.sample_rate_hz
            self.text = text if isinstance(text, str) else ""
        super().__init__(rate_hz, latency_ms)
        self._client = client
        self._source = text
        self._state: LineState = "new"
        self._error: InworldError | None = None
        self._inbox: deque[AudioChunk] = deque()
        self._stream: SpeechStream | None = None
        self._thread: GameThread | None = None
        self._is_received = False
        self._stopped = Event()
        if start:
            self.start()

    def __repr__(self) -> str:
        return f"<VoiceLine {self._state}>"

    def start(self) -> None:
        """
        Begin to speak, and return at once.

        Raises:
            LocalProtocolError: The line was already started or cancelled.
        """
        if self._state != "new":
            raise LocalProtocolError(
                f"a line can be started once, and this line is {self._state}: make a new VoiceLine"
            )
        self._state = "connecting"
        if isinstance(self._source, Speech):
            self._push_rest()
            self._add_timed(self._source)
            return
        self._thread = GameThread(f"line-{next(_numbers)}", self._receive, self._stop_stream)
        self._thread.start()

    @property
    def state(self) -> LineState:
        """``new``, ``connecting``, ``speaking``, ``finished``, ``cancelled`` or ``failed``."""
        return self._state

    @property
    def is_over(self) -> bool:
        """Whether the line is finished, cancelled or failed."""
        return self._state in ("finished", "cancelled", "failed")

    @property
    def error(self) -> InworldError | None:
        """Why the speech is incomplete, or None. It is set before the state becomes ``failed``."""
        return self._error

    @property
    def speech(self) -> Speech | None:
        """
        The whole speech, for saving or exporting. None until all audio was received, and also if
        the line was cancelled before.
        """
        return self._speech

    def cancel(self) -> None:
        """Stop speaking at once. The state is ``cancelled``, unless the line was already over."""
        if not self.is_over:
            self._state = "cancelled"
        # The rest is repeated, because a signal handler may have interrupted an earlier call.
        if self._state == "cancelled":
            self._stopped.set()
            self._rest.clear()
            self._inbox.clear()
            self._output.stop()
            self._words.forget(self._heard)
            if self._thread is not None:
                self._thread.stop_later()

    def close(self) -> None:
        """Cancel the line, and return at once. May be called twice."""
        self.cancel()
        self._output.close()

    # The thread of the game.

    def _handle_next(self) -> bool:
        if self._rest and self._state in ("connecting", "speaking"):
            return self._push_rest()
        if not self._inbox:
            return False
        self._add_timed(self._inbox.popleft())
        return True

    def _add_timed(self, speech: AudioChunk | Speech) -> None:
        self._words.add(_ITEM, speech.words, speech.tokens)
        visemes, source = to_openxr(speech.visemes, speech.phonemes)
        if visemes:
            self._output.track(_ITEM).add_visemes(visemes, source)

    def _push_rest(self) -> bool:
        """Queue a piece of existing speech; return False if enough speech is queued already."""
        if not self._rest:
            self._is_received = True
            return False
        if self._output.queued_ms > _AHEAD_MS:
            return False
        piece = self._rest.popleft()
        self._output.push_pcm(_ITEM, piece, end=not self._rest)
        self._is_received = not self._rest
        return True

    def _after_update(self) -> bool:
        if self._state == "connecting" and self._heard.track is not None:
            self._state = "speaking"
        if self._state not in ("connecting", "speaking"):
            return self.is_over
        if self._heard.track is not None:  # there is speech that was not heard yet
            return False
        is_received = self._is_received  # read first, since the thread may set it now
        if not is_received or self._inbox or not self._output.is_idle:
            return False
        self._state = "finished" if self._error is None else "failed"
        return True

    # The thread of the line.

    def _receive(self) -> None:
        chunks: list[AudioChunk] = []
        try:
            assert self._client is not None
            assert not isinstance(self._source, Speech)
            self._stream = stream = self._client.tts.stream(self._source, config=self._config)
            if self._stopped.is_set():
                return
            for chunk in stream:
                if self._stopped.is_set():
                    return
                chunks.append(chunk)
                self._inbox.append(chunk)
                if chunk.data:
                    self._push(chunk.pcm)
            # If the line is cancelled, the stream may end early without an error.
            if not self._stopped.is_set():
                self._speech = Speech.join(chunks, self._config.audio)
        except InworldError as error:
            self._error = error
        except BaseException as error:  # noqa: BLE001 - the user's iterator may raise anything
            self._error = InworldError(f"speaking the line raised {type(error).__name__}")
            self._error.__cause__ = error
        finally:
            if self._stream is not None:
                self._stream.close()
            self._push(memoryview(b""), end=True)
            self._is_received = True

    def _push(self, pcm: memoryview, *, end: bool = False) -> None:
        while not self._output.push_pcm(_ITEM, pcm, end=end):
            if self._stopped.wait(_FULL_SECONDS):
                return

    def _stop_stream(self) -> None:
        self._stopped.set()
        if self._stream is not None:
            self._stream.close()


def _pieces(speech: Speech) -> Iterator[memoryview]:
    samples = speech.pcm
    size_bytes = speech.sample_rate_hz * _PIECE_MS // 1000 * 2
    return (samples[at : at + size_bytes] for at in range(0, len(samples), size_bytes))


def _settings(
    config: ContextConfig | None,
    voice: str | None,
    model: str | None,
    language: str | None,
    speaking_rate: float | None,
    sample_rate_hz: int | None,
    *,
    visemes: bool,
) -> ContextConfig:
    if config is not None and not isinstance(config, ContextConfig):
        raise ConfigError(f"config must be a ContextConfig or None, got {type(config).__name__}")
    settings = config or ContextConfig(timestamp_type=TimestampType.WORD, auto_mode=True)
    audio = settings.audio
    if audio.encoding.is_compressed:
        raise ConfigError(
            f"config must have AudioConfig('PCM'), got {audio.encoding.value}, which has no samples"
        )
    if speaking_rate is not None:
        audio = attrs.evolve(audio, speaking_rate=speaking_rate)
    audio = AudioConfig(
        audio.encoding,
        audio.sample_rate_hz if sample_rate_hz is None else sample_rate_hz,
        speaking_rate=audio.speaking_rate,
    )
    return attrs.evolve(
        settings,
        audio=audio,
        viseme_set=VisemeSet.OPENXR if visemes else settings.viseme_set,
        voice=settings.voice if voice is None else voice,
        model=settings.model if model is None else model,
        language=settings.language if language is None else language,
    )
