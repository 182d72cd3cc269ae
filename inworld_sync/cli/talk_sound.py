"""
Defines the audio source and sink of a conversation, with level meters.

Lock rule: ``_lock`` of a metered sink guards its levels. No other code is called while ``_lock`` is
held.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterator

from inworld_sync.audio.meter import Level, measure
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.source import open_source
from inworld_sync.audio.wav import WavWriter
from inworld_sync.devices.echo import remove_echo
from inworld_sync.devices.microphone import Microphone
from inworld_sync.devices.null import NullSpeaker
from inworld_sync.devices.speaker import Speaker
from inworld_sync.devices.wav_file import WavSink, WavSource
from inworld_sync.errors import DeviceError
from inworld_sync.locks import make_lock
from inworld_sync.models.devices import AudioSink, AudioSource

__all__ = ["RATE_HZ", "MeteredSink", "MeteredSource", "open_file", "open_microphone", "open_sink"]

RATE_HZ = 24000

# A meter shows silence if the last measurement is older than this number of samples.
_SHOWN_SAMPLES = RATE_HZ // 5

_Warn = Callable[[str], object]


class MeteredSource:
    """A source that measures the level of its audio."""

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
    A sink that measures the level of the audio being played, which was written earlier.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(self, sink: AudioSink) -> None:
        self._sink = sink
        self.sample_rate_hz = sink.sample_rate_hz
        self.end, self.drain, self.close = sink.end, sink.drain, sink.close
        self._lock = make_lock()
        # The position of each block, in samples of the sink, and the level of the block.
        self._levels: deque[tuple[int, Level]] = deque()
        self._written = sink.heard_samples

    @property
    def heard_samples(self) -> int:
        """How many samples were played."""
        return self._sink.heard_samples

    @property
    def heard_ms(self) -> float:
        """How many milliseconds of audio were played."""
        return self.heard_samples * 1000.0 / self.sample_rate_hz

    @property
    def level(self) -> Level:
        """The level of the audio being played."""
        heard = self._sink.heard_samples
        with self._lock:
            while len(self._levels) > 1 and self._levels[1][0] <= heard:
                self._levels.popleft()
            if not self._levels or heard - self._levels[0][0] > _SHOWN_SAMPLES:
                return Level()
            start, level = self._levels[0]
            return level if start <= heard < self._written else Level()

    def write(self, pcm: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        """Write PCM to be played."""
        with self._lock:
            self._levels.append((self._written, measure(pcm)))
            self._written += len(memoryview(pcm).cast("B")) // SAMPLE_BYTES
        self._sink.write(pcm, timeout=timeout)

    def clear(self) -> int:
        """Drop all audio that was not played."""
        heard = self._sink.clear()
        with self._lock:
            self._levels.clear()
            self._written = heard
        return heard


def open_file(path: str) -> AudioSource:
    """
    Open an audio file as a source that yields its audio in real time.

    Raises:
        AudioError: The file cannot be decoded.
        OSError: The file cannot be read.
    """
    file = io.BytesIO()
    with WavWriter(file, RATE_HZ) as writer:
        for block in open_source(path, to_hz=RATE_HZ):
            writer.write(block)
    file.seek(0)
    return WavSource(file, realtime=True)


def open_sink(output: str | None, *, is_spoken: bool, warn: _Warn) -> AudioSink | None:
    """
    Open the sink for the assistant's speech.

    Args:
        output: A WAV file; None means the speaker.
        is_spoken: Whether the user speaks too. Then the sink works in real time, even without a
            speaker, so that the user can interrupt the assistant.
        warn: Called with the reason if there is no speaker.

    Returns:
        The sink; None if there is no speaker and the user types.
    """
    if output is not None:
        return WavSink(output, RATE_HZ, realtime=is_spoken)
    try:
        return Speaker(RATE_HZ)
    except DeviceError as error:
        warn(f"no speaker ({error}): use -o FILE.wav to save the speech")
    return NullSpeaker(RATE_HZ) if is_spoken else None


def open_microphone(speaker: AudioSink | None, *, half_duplex: bool, warn: _Warn) -> AudioSource:
    """
    Open the microphone. If possible, it removes the sound of *speaker*; otherwise *warn* is called.

    Raises:
        DeviceError: There is no microphone.
    """
    mute_while = speaker if half_duplex and isinstance(speaker, Speaker) else None
    microphone = Microphone(RATE_HZ, mute_while=mute_while)
    if isinstance(speaker, Speaker) and not remove_echo(microphone, speaker):
        warn(
            "the microphone records the assistant: use headphones or --half-duplex, or install "
            "echo cancellation with: pip install 'inworld-sync[echo]'"
        )
    return microphone
