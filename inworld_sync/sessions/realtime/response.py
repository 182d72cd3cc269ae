"""
Gives users the text and speech of one response as they arrive, and its final state.

A response buffers its unread text and speech while a reference to the response exists. Text and
speech are two streams, so a reader of one stream never waits for a reader of the other stream.

Lock rule: the session's monitor guards the streams and the state.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import attrs

from inworld_sync.audio.formats import pcm_of
from inworld_sync.devices.default import open_default_speaker
from inworld_sync.errors import AudioError, InworldError, ServiceError
from inworld_sync.models.devices import AudioSink
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.realtime import AudioDelta, ResponseInfo, Usage
from inworld_sync.models.tts import AudioConfig, AudioEncoding, Phoneme, WordTime
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.monitor import Monitor
from inworld_sync.sessions.playback import Playback
from inworld_sync.sessions.tts.speech import AudioChunk, Speech, SupportsWrite
from inworld_sync.transport.deadline import Deadline, RunningDeadline
from inworld_sync.wire.realtime.faults import service_error
from inworld_sync.wire.realtime.responses import ResponseState
from inworld_sync.wire.realtime.settings import Settings
from inworld_sync.wire.realtime.timestamps import shifted

__all__ = ["Response", "ResponseAudio", "ResponsePlayer"]


class Owner(Protocol):
    """
    The members of a session that its responses use. Callers must not hold the monitor.

    Attributes:
        monitor: Guards the response's streams and state.
        settings: The settings, which have the format of the received audio.
        logger: The logger of the client.
    """

    monitor: Monitor
    settings: Settings
    logger: logging.Logger

    def await_final(self, response: Response, deadline: Deadline) -> None:
        """Wait for the end of a response. The reader does not pause meanwhile."""

    def cancel_response(self, response: Response) -> None:
        """Cancel a response in any state."""

    def add_player(self, player: ResponsePlayer) -> None:
        """Register a player, so that an interruption stops it."""

    def remove_player(self, player: ResponsePlayer, *, is_heard: bool) -> None:
        """Forget a player; with *is_heard*, the items of the player are not truncated later."""


@attrs.define(eq=False, repr=False)
class Response:
    """
    One reply, from its request to its final state.

    ``send_message`` and ``respond`` of a session return a ``Response``. If the service begins a
    response by itself, :class:`ResponseStarted` has the response. The streams of a response end
    when :attr:`status` is ``completed`` or ``cancelled``. They raise an error when the status is
    ``failed`` or ``incomplete``.

    If a reply calls functions of the session, the model answers the outputs in a further round of
    the same reply. There are as many rounds as needed. The reply has the text and speech of all
    rounds, and the final state of the last round. For the service, and in its events, each round is
    a separate response. If the application sends the output of a call, or the service continues by
    itself, the round with the call is the last round.

    Thread safety: every method may be called from any thread.
    """

    _owner: Owner
    # The state of each round, the newest last.
    _states: list[ResponseState]
    _text: EventStream[str]
    _audio: EventStream[AudioDelta]
    _emitted_pieces: int = attrs.field(default=0, init=False)
    _awaits_tools: bool = attrs.field(default=False, init=False)
    _is_over: bool = attrs.field(default=False, init=False)
    # The final state if the response ended between two rounds.
    _outcome: str | None = attrs.field(default=None, init=False)
    _error: InworldError | None = attrs.field(default=None, init=False)
    # The error of a message that could not be read. A response with such a message fails.
    _damage: InworldError | None = attrs.field(default=None, init=False)

    @property
    def id(self) -> str | None:
        """The service's id of the newest round that has begun; None before the first round."""
        return next((each.id for each in reversed(self._states) if each.id is not None), None)

    @property
    def status(self) -> str:
        """
        The state: ``requested``, ``in_progress``, or a final state.

        The final states are ``completed``, ``cancelled``, ``failed`` and ``incomplete``.
        """
        if self._outcome is not None:
            return self._outcome
        if self._awaits_tools or (len(self._states) > 1 and not self._states[-1].is_final):
            return "in_progress"
        return self._states[-1].status

    @property
    def is_final(self) -> bool:
        """True once the response has ended. After that, :attr:`status` does not change."""
        return self._outcome is not None or (self._states[-1].is_final and not self._awaits_tools)

    @property
    def text(self) -> str:
        """The written or spoken text so far. A line break separates the texts of two rounds."""
        with self._owner.monitor:
            return "\n".join(each.text for each in self._states if each.text)

    @property
    def info(self) -> ResponseInfo | None:
        """The service's last description of the response, or None before the response begins."""
        return next((each.info for each in reversed(self._states) if each.info is not None), None)

    @property
    def usage(self) -> Usage | None:
        """
        The tokens that were used; None until the response has ended, or if the service does not
        report the tokens.

        For several rounds, the value is the sum of the rounds, without details.
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
        """The metadata of the request, and the metadata that the service adds."""
        return {} if self.info is None else self.info.metadata

    @property
    def error(self) -> InworldError | None:
        """The error once the response has failed or ended incomplete, otherwise None."""
        return self._error

    @property
    def audio(self) -> ResponseAudio:
        """The speech of the response."""
        return ResponseAudio(self, self._owner, self._audio)

    def text_stream(self, timeout: float | None = None) -> Iterator[str]:
        """
        Iterate over the text as it arrives, written or spoken; all iterators share one position.

        Args:
            timeout: The largest number of seconds to wait for each piece. With None, only the
                timeouts of ``connect`` apply. These timeouts limit the time until the response
                begins, and the time between two messages of the response.

        Raises:
            DeadlineExceeded: No piece came in time. A new iteration can continue with the next
                piece. This is also the error of a response that the service did not begin or
                continue in time.
            ServiceError: The response failed, or is incomplete; ``code`` is the reason.
            ConnectionLost: The connection was lost before the end of the response.
        """
        # This method is a generator, so that the iteration refers to this response. A response
        # without a reference buffers nothing.
        yield from self._text.events(timeout)

    def wait(self, timeout: float | None = None) -> Response:
        """
        Wait until the response has ended, and return it.

        Raises:
            DeadlineExceeded: The response has not ended within *timeout* seconds, and continues. Or
                the response has failed, because the service did not begin or continue the response
                in time.
            ServiceError: The response failed, or is incomplete; ``code`` is the reason.
            ConnectionLost: The connection was lost before the end of the response.
        """
        self._owner.await_final(self, RunningDeadline(timeout, "the response"))
        self._text.raise_end()
        return self

    def cancel(self) -> None:
        """Cancel the response, even before it begins. Text that has arrived can still be read."""
        self._owner.cancel_response(self)

    def __repr__(self) -> str:
        return f"<Response {self.id or 'not begun'} {self.status}>"

    # The session calls the following methods with the monitor held.

    @property
    def _state(self) -> ResponseState:
        """The newest round."""
        return self._states[-1]

    def _await_tools(self) -> bool:
        """Stay open after the present round, or return False if the response is already over."""
        self._awaits_tools = not (self._is_over or self._state.is_cancelling)
        return self._awaits_tools

    def _begin_round(self, state: ResponseState) -> None:
        self._emit_text()
        self._awaits_tools = False
        self._states.append(state)
        self._emitted_pieces = 0

    def _emit_text(self) -> None:
        """Emit the text that arrived since the last call."""
        for piece in self._state.pieces(self._emitted_pieces):
            if not self._emitted_pieces and any(each.text for each in self._states[:-1]):
                self._text.append("\n", 1)
            self._emitted_pieces += 1
            self._text.append(piece, len(piece))

    def _stop(self) -> None:
        """Emit nothing more after a cancel by the client, and drop the audio that was not read."""
        if self._awaits_tools:
            self._awaits_tools, self._outcome, self._is_over = False, "cancelled", True
        ended = StreamEnded("client", reason="cancelled")
        self._text.end(ended)
        self._audio.end(ended)
        self._audio.discard()

    def _end(self, error: InworldError | None) -> None:
        """End the response. *error* is None unless the end of the session ended the response."""
        if self._awaits_tools:
            # Between two rounds, the reply gets the end of the last round, unless the session
            # failed.
            self._awaits_tools = False
            self._outcome = None if error is None else "failed"
        if self.status != "cancelled" and not self._is_over:
            self._error = error or _failure_of(self._state, self._damage)
        self._is_over = True
        ended = StreamEnded("server", reason=self.status, error=self._error)
        self._text.end(ended)
        self._audio.end(ended)


def _failure_of(state: ResponseState, damage: InworldError | None) -> InworldError | None:
    """Return the error of a response, or *damage* if the service reports no error."""
    if state.status in ("completed", "cancelled"):
        return damage
    if state.error is not None:
        return service_error(state.error)
    details = None if state.info is None else state.info.status_details
    cause = None if details is None else details.error
    if cause is not None and (cause.code or cause.message):
        return service_error(cause)
    reason = details.reason if details is not None else ""
    if damage is not None and not reason:
        return damage
    return ServiceError(
        f"the response is {state.status}: {reason or 'the service gives no reason'}",
        code=reason or None,
        retryable=reason == "server_error",
    )


@attrs.define(eq=False, repr=False)
class ResponseAudio:
    """
    The speech of a response, as it arrives.

    Iterating yields an :class:`~inworld_sync.AudioChunk` for each piece. A chunk has 16-bit PCM,
    even if the session has another format. The ``context_id`` of a chunk is the id of its item. All
    iterators share one position.

    Thread safety: every method may be called from any thread.
    """

    _response: Response
    _owner: Owner
    _stream: EventStream[AudioDelta]

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second."""
        return self._owner.settings.output_format.sample_rate_hz

    def __iter__(self) -> Iterator[AudioChunk]:
        return self.stream()

    def stream(self, timeout: float | None = None) -> Iterator[AudioChunk]:
        """
        Iterate with a timeout. :meth:`Response.text_stream` describes the timeout and the errors.

        The iteration ends when the response ends or the speech is interrupted.
        """
        audio_format = self._owner.settings.output_format
        position_ms = item_start_ms = 0.0
        item_id = None
        for event in self._stream.events(timeout):
            if event.item_id != item_id:
                item_id, item_start_ms = event.item_id, position_ms
            event = shifted(event, item_start_ms)
            chunk = AudioChunk(
                event.item_id,
                bytes(pcm_of(event.audio, audio_format)),
                AudioEncoding.PCM,
                audio_format.sample_rate_hz,
                position_ms,
                event.words,
                event.characters,
                event.phonemes,
                tokens=event.tokens,
            )
            position_ms += chunk.duration_ms or 0.0
            yield chunk

    def read(self, timeout: float | None = None) -> Speech:
        """
        Wait for all speech of the response, and return it.

        The speech does not include audio that an earlier call has returned.

        Args:
            timeout: The largest number of seconds to wait for each piece.
        """
        # AudioConfig refuses some sample rates of sessions, so the rate is set afterwards.
        speech = Speech.join(self.stream(timeout), AudioConfig())
        return attrs.evolve(speech, sample_rate_hz=self.sample_rate_hz)

    def save(
        self,
        target: str | os.PathLike[str] | SupportsWrite,
        timeout: float | None = None,
        *,
        format: str | None = None,  # noqa: A002
    ) -> None:
        """
        Wait for all speech and write it to a file, as :meth:`~inworld_sync.Speech.save` does.

        Args:
            target: A path, or a binary file that is open for writing; this file stays open.
            timeout: The largest number of seconds to wait for each piece.
            format: As for :meth:`~inworld_sync.Speech.save`; needed for an open file.

        Raises:
            AudioError: The format is unknown, or no library for its encoding is installed.
            ConfigError: *target* is neither a path nor a binary file, or *format* is missing for an
                open file.
            OSError: The file cannot be written.
        """
        self.read(timeout).save(target, format=format)

    def play(
        self,
        speaker: AudioSink | None = None,
        *,
        on_word: Callable[[WordTime], object] | None = None,
        on_phoneme: Callable[[Phoneme], object] | None = None,
    ) -> Playback:
        """
        Begin to play the speech, and return at once. An interruption of the session stops the
        playback.

        Args:
            speaker: A speaker with the sample rate of the session. None opens the default
                :class:`~inworld_sync.Speaker`. If there is no device or the extra ``audio`` is not
                installed, None opens a :class:`~inworld_sync.devices.ProgramSpeaker`.
            on_word: Called on a separate thread with each word when its first sample is heard.
                The session needs ``timestamp_type="WORD"`` in its :class:`TtsTuning`.
            on_phoneme: Called in the same way with each phoneme, which has its viseme.

        Raises:
            AudioError: The speaker has another sample rate.
            DeviceError: There is neither a default device nor a program that plays audio.
        """
        rate_hz = self.sample_rate_hz
        if speaker is not None and speaker.sample_rate_hz != rate_hz:
            raise AudioError(
                f"the speaker has {speaker.sample_rate_hz} Hz and the session has {rate_hz} "
                f"Hz: open the session with output_format=PcmFormat({speaker.sample_rate_hz})"
            )
        player = ResponsePlayer(self._response, self, self._owner)
        playback = player.playback = Playback(
            player,
            open_default_speaker(rate_hz) if speaker is None else speaker,
            on_word,
            on_phoneme,
            closes_speaker=speaker is None,
            logger=self._owner.logger,
        )
        return playback


class ResponsePlayer:
    """
    Feeds a playback with a response, and counts how much of each item was heard.

    Attributes:
        played: How many samples of each item the playback has received.
    """

    def __init__(self, response: Response, audio: ResponseAudio, owner: Owner) -> None:
        self._response = response
        self._audio = audio
        self._owner = owner
        self._rate_hz = audio.sample_rate_hz
        self.played: Counter[str] = Counter()
        self._is_cut = False
        self.playback: Playback | None = None
        owner.add_player(self)

    # The playback uses this object as its stream.

    def __iter__(self) -> Iterator[AudioChunk]:
        for chunk in self._audio:
            self.played[chunk.context_id] += len(chunk.data) // 2
            yield chunk

    def close(self) -> None:
        """End the stream. If the response has not ended, cancel it."""
        self._owner.remove_player(self, is_heard=not self._is_cut)
        if not self._response.is_final:
            self._response.cancel()

    # The session calls this method for an interruption.

    def clear(self) -> dict[str, int]:
        """Stop at once; return how many samples of each item were heard."""
        self._is_cut = True
        if self.playback is None:
            return {}
        left = round(self.playback.interrupt() * self._rate_hz / 1000.0)
        heard = {}
        for item_id, samples in self.played.items():
            heard[item_id] = min(left, samples)
            left -= heard[item_id]
        return heard
