"""
Where a talk's sound comes from and goes to, with a meter on the way.

Lock rule: ``_lock`` of a meter guards its levels and is held for moments; nothing else is called
under it.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable, Iterator

from inworld_sync.audio.meter import Level, measure
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.source import open_source
from inworld_sync.audio.wav import WavWriter
from inworld_sync.devices.microphone import Microphone
from inworld_sync.devices.null import NullSpeaker
from inworld_sync.devices.speaker import Speaker
from inworld_sync.devices.wav_file import WavSink, WavSource
from inworld_sync.errors import DeviceError
from inworld_sync.models.devices import AudioSink, AudioSource

__all__ = ["RATE_HZ", "MeteredSink", "MeteredSource", "open_file", "open_microphone", "open_sink"]

RATE_HZ = 24000

# A meter falls to silence when nothing was measured for so long.
_SHOWN_SAMPLES = RATE_HZ // 5

_Warn = Callable[[str], object]


class MeteredSource:
    """A source whose loudness is shown."""

    def __init__(self, source: AudioSource) -> None:
        self._source = source
        self.sample_rate_hz = source.sample_rate_hz
        self.close = source.close
        self.level = Level()

    def __iter__(self) -> Iterator[bytes]:
        for block in self._source:
            self.level = measure(block)
            yield block
        self.level = Level()


class MeteredSink:
    """
    A sink whose loudness is shown: that of what is heard now, not of what was written last.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(self, sink: AudioSink) -> None:
        self._sink = sink
        self.sample_rate_hz = sink.sample_rate_hz
        self.end, self.drain, self.close = sink.end, sink.drain, sink.close
        self._lock = threading.Lock()
        # Where each block begins, by the sink's own count.
        self._levels: deque[tuple[int, Level]] = deque()
        self._written = sink.heard_samples

    @property
    def heard_samples(self) -> int:
        """Samples that were heard."""
        return self._sink.heard_samples

    @property
    def heard_ms(self) -> float:
        """The same as time."""
        return self.heard_samples * 1000.0 / self.sample_rate_hz

    @property
    def level(self) -> Level:
        """How loud it is now."""
        heard = self._sink.heard_samples
        with self._lock:
            while len(self._levels) > 1 and self._levels[1][0] <= heard:
                self._levels.popleft()
            if not self._levels or heard - self._levels[0][0] > _SHOWN_SAMPLES:
                return Level()
            start, level = self._levels[0]
            return level if start <= heard < self._written else Level()

    def write(self, pcm: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        """Take PCM for playing."""
        with self._lock:
            self._levels.append((self._written, measure(pcm)))
            self._written += len(memoryview(pcm).cast("B")) // SAMPLE_BYTES
        self._sink.write(pcm, timeout=timeout)

    def clear(self) -> int:
        """Drop all that was not heard."""
        heard = self._sink.clear()
        with self._lock:
            self._levels.clear()
            self._written = heard
        return heard


def open_file(path: str) -> AudioSource:
    """
    Open a sound file as somebody who speaks: in its own time.

    Raises:
        AudioError: It is none that can be read.
        OSError: It cannot be read.
    """
    file = io.BytesIO()
    with WavWriter(file, RATE_HZ) as writer:
        for block in open_source(path, to_hz=RATE_HZ):
            writer.write(block)
    file.seek(0)
    return WavSource(file, realtime=True)


def open_sink(output: str | None, *, is_spoken: bool, warn: _Warn) -> AudioSink | None:
    """
    Open what speech is heard on.

    Args:
        output: A WAV file; None means the speaker.
        is_spoken: The user speaks too, so that speech must take its time to be interrupted.
        warn: Told why there is no speaker.

    Returns:
        None if nobody hears it and nobody needs to.
    """
    if output is not None:
        return WavSink(output, RATE_HZ, realtime=is_spoken)
    try:
        return Speaker(RATE_HZ)
    except DeviceError as error:
        warn(f"no speaker ({error}); -o FILE.wav keeps the speech")
    return NullSpeaker(RATE_HZ) if is_spoken else None


def open_microphone(speaker: AudioSink | None, *, half_duplex: bool, warn: _Warn) -> AudioSource:
    """
    Open the microphone.

    Raises:
        DeviceError: There is none.
    """
    if not half_duplex and isinstance(speaker, Speaker):
        warn("use headphones, or --half-duplex, or the assistant will hear itself")
    mute_while = speaker if half_duplex and isinstance(speaker, Speaker) else None
    return Microphone(RATE_HZ, mute_while=mute_while)
