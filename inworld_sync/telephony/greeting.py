"""
Plays the greeting of a call and other recorded speech. The part of the greeting that was heard is
added to the conversation.
"""

from __future__ import annotations

from inworld_sync.models.realtime import Message, ResponseConfig
from inworld_sync.models.tts import AudioEncoding
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.sessions.tts.speech import Speech
from inworld_sync.telephony.options import CallOptions
from inworld_sync.telephony.output import CallOutput

__all__ = ["Greeting", "announce", "heard_text"]

_NAME = "greeting"
_ENCODINGS = {AudioEncoding.MULAW: "mulaw", AudioEncoding.ALAW: "alaw"}


class Greeting:
    """
    The greeting of one call. Only the thread of the bridge uses this object.

    Args:
        options: The settings of the call, which have the greeting.
    """

    def __init__(self, options: CallOptions) -> None:
        self._options = options
        self._greeting = options.greeting
        # Whether the greeting has begun, or is left out.
        self._is_over = options.greeting is None
        self._is_playing = False

    def check(
        self,
        output: CallOutput,
        session: RealtimeSession | None,
        elapsed: float,
        *,
        has_spoken: bool,
    ) -> None:
        """
        Begin the greeting if it is due. When it has ended, add the heard part to the conversation.

        Args:
            output: Plays a recorded greeting.
            session: Speaks a greeting that is text; None while the session is not open.
            elapsed: Seconds since the start of the call.
            has_spoken: Whether the person on the phone has spoken.

        Raises:
            InworldError: The session has ended.
        """
        greeting = self._greeting
        if self._is_playing:
            self._add_heard_text(output, session)
        elif self._is_over or (isinstance(greeting, str) and session is None):
            return
        elif self._options.who_starts == "callee" and has_spoken:
            # The callee has spoken first, so the model answers and the greeting is left out.
            self._is_over = True
        elif self._options.who_starts == "assistant" or elapsed >= self._options.callee_timeout:
            self._is_over = True
            if isinstance(greeting, Speech):
                self._is_playing = True
                announce(output, _NAME, greeting)
            elif session is not None:
                said = f"Say exactly this to the caller, and nothing else: {greeting}"
                session.respond(ResponseConfig(instructions=said))

    def _add_heard_text(self, output: CallOutput, session: RealtimeSession | None) -> None:
        heard_ms, is_over = output.heard_ms_of(_NAME)
        if not is_over or session is None or not isinstance(self._greeting, Speech):
            return
        self._is_playing = False
        text = heard_text(self._greeting, self._options.text_of_greeting(), heard_ms)
        if text:
            session.add(Message.assistant(text), wait=False)


def announce(output: CallOutput, name: str, speech: Speech) -> None:
    """Queue a recorded speech. Speech in the format of the call is sent unchanged."""
    call_format = output.call_format
    encoding = _ENCODINGS.get(speech.encoding)
    if encoding == call_format.encoding and speech.sample_rate_hz == call_format.sample_rate_hz:
        output.add(name, speech.data)
    else:
        output.announce(name, speech.pcm, speech.sample_rate_hz)


def heard_text(speech: Speech, text: str, heard_ms: float) -> str:
    """Return the part of a text that was heard, as whole words."""
    duration_ms = speech.duration_ms or 0.0
    if heard_ms >= duration_ms:
        return text
    if speech.words:
        return " ".join(word.text for word in speech.words if word.end_ms <= heard_ms)
    words = text.split()
    return " ".join(words[: int(len(words) * heard_ms / duration_ms)])
