"""Manages all voices of a game together, and imports what voices need."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from inworld_sync.errors import ConfigError
from inworld_sync.games.voice import GameVoice, require_range
from inworld_sync.locks import imports
from inworld_sync.transport.needed import import_needed

if TYPE_CHECKING:
    from inworld_sync.client import Inworld

__all__ = ["Voices", "prepare"]

V = TypeVar("V", bound=GameVoice)


def prepare(client: Inworld) -> None:
    """
    Import all modules that voices need. Call this function while the game loads.

    Without this call, the thread of the first voice imports the modules, which takes about 100 ms.
    The loop of the game does not wait for this thread, but both share the CPU.

    Args:
        client: The client of the voices.
    """
    import_needed()
    _ = client.tts, client.realtime
    with imports:
        for module in ("realtime.session", "realtime.reconnect", "tts.connection"):
            import_module(f"inworld_sync.sessions.{module}")


class Voices:
    """
    The voices of a game, which are updated, paused and ended together.

    A voice that is over, and whose handlers were called, is removed by :meth:`update`.

    Thread safety: only the thread of the game may use this object.
    """

    def __init__(self) -> None:
        self._voices: list[GameVoice] = []
        self._leaving: list[GameVoice] = []
        self._is_paused = False
        self._time_scale = 1.0
        self._first = 0

    def __iter__(self) -> Iterator[GameVoice]:
        return iter(list(self._voices))

    def __len__(self) -> int:
        return len(self._voices)

    def add(self, voice: V) -> V:
        """Add a voice, and return it. If the group is paused, the voice is paused too."""
        if not isinstance(voice, GameVoice):
            raise ConfigError(
                f"voice must be a VoiceLine or a Conversation, got {type(voice).__name__}"
            )
        if voice not in self._voices:
            self._voices.append(voice)
            voice.time_scale = self._time_scale
            if self._is_paused:
                voice.pause()
        return voice

    def update(self, dt: float, budget_ms: float = 2.0) -> int:
        """
        Update all voices; see :meth:`GameVoice.update`.

        Args:
            dt: Real seconds since the last call.
            budget_ms: The time in milliseconds for all voices together. Each voice that has events
                processes at least one of them, even if no time is left. Each call begins with
                another voice, so that every voice gets time.

        Returns:
            How many events and handlers were processed.
        """
        require_range("budget_ms", budget_ms, 0, float("inf"))
        until = time.perf_counter() + budget_ms / 1000.0
        voices = [*self._voices, *self._leaving]
        processed = 0
        if voices:
            self._first = (self._first + 1) % len(voices)
            for voice in voices[self._first :] + voices[: self._first]:
                left_ms = max(0.0, until - time.perf_counter()) * 1000.0
                processed += voice.update(dt, left_ms)
        for voice in self._leaving:
            if not voice.is_fading:
                voice.close()
        # A voice whose handlers wait for the next frame is updated once more.
        self._voices = [voice for voice in self._voices if not voice._is_done]  # noqa: SLF001
        self._leaving = [voice for voice in self._leaving if not voice._is_done]  # noqa: SLF001
        return processed

    def pause(self) -> None:
        """Pause all voices, and voices that are added later, until :meth:`resume`."""
        self._is_paused = True
        for voice in self._voices:
            voice.pause()

    def resume(self) -> None:
        """Continue after :meth:`pause`."""
        self._is_paused = False
        for voice in self._voices:
            voice.resume()

    @property
    def time_scale(self) -> float:
        """The time scale of the game; see :attr:`GameVoice.time_scale`."""
        return self._time_scale

    @time_scale.setter
    def time_scale(self, value: float) -> None:
        self._time_scale = require_range("time_scale", value, 0, 1e6)
        for voice in self._voices:
            voice.time_scale = value

    def change_scene(self, *, keep: Iterable[GameVoice] = (), fade_ms: float = 300.0) -> None:
        """
        End the voices of a scene. They fade out, and :meth:`update` closes them afterwards.

        Args:
            keep: The voices that continue in the next scene.
            fade_ms: The length of the fade in milliseconds, 0 to 60000.
        """
        kept = list(keep)
        for voice in self._voices:
            if voice not in kept:
                voice.fade_out(fade_ms)
                self._leaving.append(voice)
        self._voices = [voice for voice in self._voices if voice in kept]

    def close(self) -> None:
        """Close all voices, and return at once."""
        for voice in (*self._voices, *self._leaving):
            voice.close()
        self._voices.clear()
        self._leaving.clear()

    def __enter__(self) -> Voices:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
