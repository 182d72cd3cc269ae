"""
One response of a realtime session as users have it: text and speech while they come, and the end.

A response keeps what nobody has taken yet for as long as somebody holds its handle; one that
nobody holds costs nothing. Text and speech are two streams, so that taking one never waits for the
other to be taken.

Lock rule: the session's monitor guards the streams and the state.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Protocol

from inworld_sync.audio.formats import pcm_of
from inworld_sync.devices.speaker import Speaker
from inworld_sync.errors import AudioError, InworldError
from inworld_sync.models.devices import AudioSink
from inworld_sync.models.realtime import AudioDelta, AudioFormat, ResponseInfo, Usage
from inworld_sync.models.tts import AudioConfig, AudioEncoding
from inworld_sync.sessions.event_stream import EventStream, Monitor
from inworld_sync.sessions.playback import Playback
from inworld_sync.sessions.tts.speech import AudioChunk, Speech
from inworld_sync.transport.deadline import Deadline
from inworld_sync.wire.realtime.responses import ResponseState

__all__ = ["Response", "ResponseAudio", "ResponsePlayer"]

# For the next piece. A response may have to wait for the one before it, and for tools.
_PIECE_SECONDS = 60.0

_WHOLE_SECONDS = 300.0


class Owner(Protocol):
    """What a response needs of its session."""

    @property
    def monitor(self) -> Monitor:
        """Guards the response's streams and state."""
        ...

    @property
    def output_format(self) -> AudioFormat:
        """The form of what comes now."""
        ...

    def await_final(self, response: Response, deadline: Deadline) -> None:
        """Wait for a response's end; keeps the reader reading meanwhile."""
        ...

    def cancel_response(self, response: Response) -> None:
        """Cancel a response in whatever state."""
        ...

    def add_player(self, player: ResponsePlayer) -> None:
        """Have a player stopped when speech is interrupted."""
        ...

    def remove_player(self, player: ResponsePlayer, *, is_heard: bool) -> None:
        """Forget a player; *is_heard* says that nothing of its items is to be cut any more."""
        ...


class Response:
    """
    One reply, from its request to its one final state.

    ``send_message`` and ``respond`` of a session return it; a response that the service begins by
    itself comes with :class:`ResponseStarted`. Its streams end when it is completed or cancelled,
    and raise when it failed or is incomplete; :attr:`status` tells them apart.

    A reply that calls functions of the session goes on with what the model says to their outputs,
    for as many rounds as it takes: text, speech and the final state are those of all of it. To the
    service each round is a response of its own, and so its events tell them. Where the application
    answers a call by itself, or the service continues by itself, the reply ends with the call.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self,
        owner: Owner,
        state: ResponseState,
        text: EventStream[str],
        audio: EventStream[AudioDelta],
    ) -> None:
        self._owner = owner
        # One for each round, the newest last.
        self._states = [state]
        self._text = text
        self._audio = audio
        self._awaits_tools = False
        # How it ended between two rounds.
        self._outcome: str | None = None
        self._error: InworldError | None = None

    @property
    def id(self) -> str | None:
        """The service's name for it, None until it has begun; of several, the newest."""
        return next((each.id for each in reversed(self._states) if each.id is not None), None)

    @property
    def status(self) -> str:
        """
        Where it is in its life.

        ``requested``, ``in_progress``, or the final ``completed``, ``cancelled``, ``failed`` or
        ``incomplete``.
        """
        if self._outcome is not None:
            return self._outcome
        if self._awaits_tools or (len(self._states) > 1 and not self._states[-1].is_final):
            return "in_progress"
        return self._states[-1].status

    @property
    def is_final(self) -> bool:
        """Whether it has ended; then :attr:`status` does not change any more."""
        return self._outcome is not None or (self._states[-1].is_final and not self._awaits_tools)

    @property
    def text(self) -> str:
        """What it wrote or said, so far; a line for each round that said something."""
        with self._owner.monitor:
            return "\n".join(each.text for each in self._states if each.text)

    @property
    def info(self) -> ResponseInfo | None:
        """The service's last description of it, None until it has begun."""
        return next((each.info for each in reversed(self._states) if each.info is not None), None)

    @property
    def usage(self) -> Usage | None:
        """
        What it cost; None until it has ended, and where the service does not say.

        That of several rounds is a sum, without details.
        """
        with self._owner.monitor:
            found = [each.info.usage for each in self._states if each.info and each.info.usage]
        if len(found) < 2:
            return found[0] if found else None
        return Usage(
            total_tokens=sum(each.total_tokens for each in found),
            input_tokens=sum(each.input_tokens for each in found),
            output_tokens=sum(each.output_tokens for each in found),
        )

    @property
    def metadata(self) -> Mapping[str, object]:
        """What was asked to come back with it, and what the service adds."""
        return {} if self.info is None else self.info.metadata

    @property
    def error(self) -> InworldError | None:
        """Why it failed or is incomplete; None before its end, and when all went well."""
        return self._error

    @property
    def audio(self) -> ResponseAudio:
        """What it says aloud."""
        return ResponseAudio(self, self._owner, self._audio)

    def text_stream(self, timeout: float | None = _PIECE_SECONDS) -> Iterator[str]:
        """
        Iterate over the text as it comes, written or spoken; all calls share one place in it.

        Args:
            timeout: The most seconds to wait for each piece; None waits for ever.

        Raises:
            DeadlineExceeded: No piece came in time; iterating again goes on where it stopped.
            ServiceError: The response failed, or is incomplete; ``code`` is the reason.
            ConnectionLost: The connection was lost before it ended.
        """
        # A generator, so that it keeps this handle, which the session holds weakly.
        yield from self._text.events(timeout)

    def wait(self, timeout: float | None = _WHOLE_SECONDS) -> Response:
        """
        Wait until it has ended, and return it.

        Raises:
            DeadlineExceeded: It had not ended after *timeout* seconds; it goes on.
            ServiceError: It failed, or is incomplete; ``code`` is the reason.
            ConnectionLost: The connection was lost before it ended.
        """
        self._owner.await_final(self, Deadline(timeout, "the response"))
        self._text.raise_end()
        return self

    def cancel(self) -> None:
        """Stop it, also before it has begun; what it had said or written stays."""
        self._owner.cancel_response(self)

    def __repr__(self) -> str:
        return f"<Response {self.id or 'not begun'} {self.status}>"


class ResponseAudio:
    """
    What a response says aloud, as it comes.

    Iterating gives :class:`~inworld_sync.AudioChunk` of 16-bit PCM, whatever the session's format;
    their ``context_id`` is the item. All iterations share one place in it.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, response: Response, owner: Owner, stream: EventStream[AudioDelta]) -> None:
        self._response = response
        self._owner = owner
        self._stream = stream

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second."""
        return self._owner.output_format.sample_rate_hz

    def __iter__(self) -> Iterator[AudioChunk]:
        return self.stream()

    def stream(self, timeout: float | None = _PIECE_SECONDS) -> Iterator[AudioChunk]:
        """
        Iterate with a limit of your own; see :meth:`Response.text_stream` for it and the errors.

        It ends with the response, and when speech is interrupted.
        """
        audio_format = self._owner.output_format
        position_ms = 0.0
        for event in self._stream.events(timeout):
            chunk = AudioChunk(
                event.item_id,
                bytes(pcm_of(event.audio, audio_format)),
                AudioEncoding.PCM,
                audio_format.sample_rate_hz,
                position_ms,
            )
            position_ms += chunk.duration_ms or 0.0
            yield chunk

    def read(self, timeout: float | None = _PIECE_SECONDS) -> Speech:
        """
        Wait for all of it.

        Args:
            timeout: The most seconds to wait for each piece.
        """
        config = AudioConfig("PCM", self.sample_rate_hz)
        return Speech.join(self.stream(timeout), config)

    def save(self, path: str | os.PathLike[str], timeout: float | None = _PIECE_SECONDS) -> None:
        """Wait for all of it and write a file, ``.wav``, ``.pcm`` or ``.raw``."""
        self.read(timeout).save(path)

    def play(self, speaker: AudioSink | None = None) -> Playback:
        """
        Play it and return at once; an interruption of the session stops it.

        Args:
            speaker: Of the same sample rate. None opens the default
                :class:`~inworld_sync.Speaker` for it, which needs the extra ``audio``.

        Raises:
            AudioError: The speaker has another sample rate.
            DeviceError: There is no default speaker.
        """
        rate_hz = self.sample_rate_hz
        if speaker is not None and speaker.sample_rate_hz != rate_hz:
            raise AudioError(
                f"the speaker plays {speaker.sample_rate_hz} Hz and the session speaks {rate_hz} "
                f"Hz: open the session with output_format=PcmFormat({speaker.sample_rate_hz})"
            )
        player = ResponsePlayer(self._response, self, self._owner)
        playback = player.playback = Playback(
            player,
            Speaker(rate_hz) if speaker is None else speaker,
            closes_speaker=speaker is None,
        )
        return playback


class ResponsePlayer:
    """A response on its way through a playback, and how much of each item was heard of it."""

    def __init__(self, response: Response, audio: ResponseAudio, owner: Owner) -> None:
        self._response = response
        self._audio = audio
        self._owner = owner
        self._rate_hz = audio.sample_rate_hz
        self._given: dict[str, int] = {}
        self._is_cut = False
        self.playback: Playback | None = None
        owner.add_player(self)

    # The playback's stream.

    def __iter__(self) -> Iterator[AudioChunk]:
        for chunk in self._audio:
            samples = len(chunk.data) // 2
            self._given[chunk.context_id] = self._given.get(chunk.context_id, 0) + samples
            yield chunk

    def close(self) -> None:
        """End the stream; a playback that is interrupted before its end cancels the response."""
        self._owner.remove_player(self, is_heard=not self._is_cut)
        if not self._response.is_final:
            self._response.cancel()

    # For the session that interrupts.

    @property
    def items(self) -> tuple[str, ...]:
        """The items that it has played of."""
        return tuple(self._given)

    def clear(self) -> dict[str, int]:
        """Stop at once; give how many samples of each item were heard."""
        self._is_cut = True
        if self.playback is None:
            return {}
        left = round(self.playback.interrupt() * self._rate_hz / 1000.0)
        heard = {}
        for item_id, samples in self._given.items():
            heard[item_id] = min(left, samples)
            left -= heard[item_id]
        return heard
