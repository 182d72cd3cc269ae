"""
Speaks one text that a game engine has sent. The speech of one text is a line.

Threads: each line has a thread ``inworld-engine-...-line``, which receives the speech
and queues the audio.
"""

from __future__ import annotations

import logging
import threading

from inworld_sync.client import Inworld
from inworld_sync.errors import InworldError
from inworld_sync.games.engines.messages import Speak
from inworld_sync.games.engines.outgoing import RATE_HZ, Outgoing, OutgoingLine
from inworld_sync.games.engines.timed import TimedSpeech
from inworld_sync.locks import make_lock
from inworld_sync.models.tts import AudioConfig
from inworld_sync.sessions.tts.speech import SpeechStream
from inworld_sync.transport.deadline import Deadline

__all__ = ["SpokenLine"]


class SpokenLine:
    """
    A text that is spoken. The constructor queues the message that begins the line.

    Args:
        client: Speaks the text.
        command: The text and the voice.
        outgoing: Gets the audio, the words and the mouth shapes.
        shapes: The name of the set of mouth shapes.
        name: The name of the engine's connection, for the thread.
        logger: Receives the log.

    Thread safety: any thread may call the methods.
    """

    def __init__(
        self,
        client: Inworld,
        command: Speak,
        outgoing: Outgoing,
        *,
        shapes: str,
        name: str,
        logger: logging.Logger,
    ) -> None:
        self._client, self._command, self._outgoing = client, command, outgoing
        self._line: OutgoingLine = outgoing.add_line(command.line)
        self._speech, self._logger = TimedSpeech(outgoing, self._line, shapes), logger
        self._lock = make_lock()
        self._stream: SpeechStream | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=f"{name}-line", daemon=True)

    def start(self) -> None:
        """Start to speak."""
        self._thread.start()

    @property
    def number(self) -> int:
        """The number of the line."""
        return self._command.line

    @property
    def is_running(self) -> bool:
        """Whether the thread still receives the speech."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop the synthesis, and return at once."""
        with self._lock:
            self._stopped = True
            stream = self._stream
        if stream is not None:
            stream.close()

    def join(self, deadline: Deadline) -> None:
        """Wait until the thread has ended. Call :meth:`stop` first."""
        self._thread.join(deadline.remaining())

    def _run(self) -> None:
        try:
            self._speak()
        except InworldError as error:
            if not self._stopped:
                self._outgoing.fail(self._line, "service", str(error))
        except Exception:
            self._logger.exception("a line of a game engine failed")
            self._outgoing.fail(
                self._line, "internal", "the line failed, see the log of the server"
            )

    def _speak(self) -> None:
        command = self._command
        stream = self._client.tts.stream(
            command.text,
            voice=command.voice,
            model=command.model,
            language=command.language,
            audio=AudioConfig("PCM", RATE_HZ),
            viseme_set="OPENXR",
        )
        with self._lock:
            self._stream = stream
            is_stopped = self._stopped
        with stream:
            for chunk in () if is_stopped else stream:
                pcm = bytes(chunk.pcm)
                self._speech.add(pcm, chunk.words, chunk.visemes, chunk.phonemes)
                self._outgoing.put(self._line, pcm, wait=True)
                if self._stopped:
                    return
        self._speech.finish()
        self._outgoing.complete(self._line)
