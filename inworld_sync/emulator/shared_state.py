"""The state that all services of one server share, such as settings and speech engines."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

from inworld_sync.emulator.credentials import Credentials
from inworld_sync.emulator.realtime.replies import ReplyMaker
from inworld_sync.emulator.realtime.rules import answer
from inworld_sync.emulator.recognition.engine import SpeechEngine, default_engine
from inworld_sync.emulator.settings import Settings
from inworld_sync.emulator.synthesis import Synthesizer, default_synthesizer
from inworld_sync.emulator.voices import EmulatedVoice

__all__ = ["SharedState"]


class SharedState:
    """
    The state that the services of one server share.

    Attributes:
        settings: The settings of the server.
        credentials: The key and the tokens of the server.
        reply_maker: Makes the replies of Realtime.
        stopping: Set when the server closes; work that takes seconds checks it.

    Thread safety: any thread; one lock guards the counts.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        synthesizer: Synthesizer | None,
        speech_engine: SpeechEngine | None,
        reply_maker: ReplyMaker | None,
    ) -> None:
        self.settings = settings
        self.credentials = credentials
        self.reply_maker = reply_maker or answer
        self.stopping = threading.Event()
        self._synthesizer = synthesizer
        self._speech_engine = speech_engine
        self._voices = {voice.voice_id: voice for voice in settings.voices}
        self._lock = threading.Lock()
        self._connections: Counter[str] = Counter()

    @property
    def synthesizer(self) -> Synthesizer:
        """The speech synthesizer; the default one is loaded at its first use."""
        return self._synthesizer or default_synthesizer()

    @property
    def speech_engine(self) -> SpeechEngine:
        """The speech recognizer; the default one is loaded at its first use."""
        return self._speech_engine or default_engine()

    def voice(self, voice_id: str) -> EmulatedVoice | None:
        """Return the voice with this exact id, or None."""
        return self._voices.get(voice_id)

    @contextlib.contextmanager
    def connection_slot(self, path: str) -> Iterator[bool]:
        """Count one WebSocket of an endpoint; yield False if there are too many."""
        with self._lock:
            free = self._connections[path] < self.settings.max_connections
            self._connections[path] += free
        try:
            yield free
        finally:
            with self._lock:
                self._connections[path] -= free
