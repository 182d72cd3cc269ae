"""Defines the state that all services of one server share, such as settings and speech engines."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

from inworld_sync.emulator.allowed_hosts import AllowedHosts
from inworld_sync.emulator.credentials import Credentials
from inworld_sync.emulator.dictionary_store import DictionaryStore
from inworld_sync.emulator.jobs import Jobs
from inworld_sync.emulator.llm.router_table import RouterTable
from inworld_sync.emulator.realtime.replies import ReplyMaker
from inworld_sync.emulator.realtime.rules import answer
from inworld_sync.emulator.recognition.engine import SpeechEngine, default_engine
from inworld_sync.emulator.rtc.call_table import CallTable
from inworld_sync.emulator.settings import Settings
from inworld_sync.emulator.synthesis import Synthesizer, default_synthesizer
from inworld_sync.emulator.synthesis.prepared import PreparedSpeech
from inworld_sync.emulator.voice_store import VoiceStore
from inworld_sync.emulator.voices import EmulatedVoice

__all__ = ["SharedState"]


class SharedState:
    """
    The state that the services of one server share.

    Attributes:
        voices: The voices that exist.
        credentials: The key and the tokens of the server.
        allowed_hosts: The check of ``Host`` and ``Origin``.
        reply_maker: The reply maker of Realtime and of chat completions.
        dictionaries: The pronunciation dictionaries.
        jobs: The jobs, which continue after the response to their HTTP request.
        routers: The routers of chat completions.
        calls: The WebRTC calls.
        address: The IP address on which the server listens.
        is_secure: Whether the server uses TLS.
        stopping: An event that is set when the server closes. Work that takes seconds checks this
            event.

    Thread safety: any thread may use this object; one lock guards the counts and the prepared
    speech.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        allowed_hosts: AllowedHosts,
        synthesizer: Synthesizer | None,
        speech_engine: SpeechEngine | None,
        reply_maker: ReplyMaker | None,
    ) -> None:
        self.voices = VoiceStore(settings)
        self.credentials = credentials
        self.allowed_hosts = allowed_hosts
        self.reply_maker = reply_maker or answer
        self.dictionaries = DictionaryStore(settings.max_dictionaries)
        self.jobs = Jobs()
        self.is_secure = False
        self.routers = RouterTable()
        self.calls = CallTable()
        self.address = "127.0.0.1"
        self.stopping = threading.Event()
        self._synthesizer = synthesizer
        self._prepared: PreparedSpeech | None = None
        self._speech_engine = speech_engine
        self._lock = threading.Lock()
        self._connections: Counter[tuple[str, bool]] = Counter()

    @property
    def settings(self) -> Settings:
        """The settings of the server, with the voices that exist now."""
        return self.voices.settings

    @property
    def synthesizer(self) -> Synthesizer:
        """The speech synthesizer. The default synthesizer is loaded at its first use."""
        if not self.settings.prepared_speech:
            return self._synthesizer or default_synthesizer()
        with self._lock:
            if self._prepared is None:
                self._prepared = PreparedSpeech(self._synthesizer or default_synthesizer())
            return self._prepared

    @property
    def speech_engine(self) -> SpeechEngine:
        """The speech recognizer. The default recognizer is loaded at its first use."""
        return self._speech_engine or default_engine()

    def voice(self, voice_id: str) -> EmulatedVoice | None:
        """Return the voice with this exact id, or None."""
        return self.voices.get(voice_id)

    @contextlib.contextmanager
    def connection_slot(self, path: str, *, has_credential: bool) -> Iterator[bool]:
        """
        Count one WebSocket or WebRTC call of an endpoint; yield False if there are too many.

        WebSockets without a valid credential are counted separately, so that they cannot keep
        other clients out.
        """
        key = path, has_credential
        with self._lock:
            free = self._connections[key] < self.settings.max_connections
            self._connections[key] += free
        try:
            yield free
        finally:
            with self._lock:
                self._connections[key] -= free
