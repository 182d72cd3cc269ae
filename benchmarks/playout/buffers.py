"""
Gives the compared jitter buffers one interface.

The playout of this package is used through its Python class. The buffer of speexdsp runs if the
system has this library. The buffer of aiortc runs if the Python environment has this package.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.playout.simulate import Buffer, Kind, Packet, Part
from benchmarks.playout.speech import Signal
from benchmarks.playout.traces import RATE_HZ
from inworld_sync.audio._playout_config import PlayoutMode, PlayoutProfile
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.playout_events import PlayoutPart, PlayoutPartKind

PACKET = 320  # 20 ms
KINDS = {
    PlayoutPartKind.CONCEALED: Kind.CONCEALED,
    PlayoutPartKind.HELD: Kind.HELD,
    PlayoutPartKind.IDLE: Kind.IDLE,
    PlayoutPartKind.FADED: Kind.CONCEALED,
}


def pieces(samples: Signal, place: int) -> list[tuple[int, Signal]]:
    """
    Split samples into packets of 20 ms. The last packet is filled up with silence.

    *place* is the index of the first sample in the source. Each packet is returned with its place.
    """
    whole = -(-len(samples) // PACKET) * PACKET
    padded = np.concatenate([samples, np.zeros(whole - len(samples), samples.dtype)])
    return [(place + at, padded[at : at + PACKET]) for at in range(0, whole, PACKET)]


class OurPlayout:
    """Uses :class:`inworld_sync.audio.playout.Playout`."""

    def __init__(self, mode: PlayoutMode, profile: PlayoutProfile = "balanced") -> None:
        self._mode = mode
        self._origin: int | None = None
        self.playout = Playout(
            RATE_HZ, mode=mode, profile=profile, input_format="f32", output_format="f32"
        )

    def push(self, packet: Packet) -> None:
        if self._origin is None:
            # If a stream has timestamps, the playout puts the first packet of the stream at
            # position 1 s, because a packet with an earlier timestamp may arrive later.
            self._origin = packet.place - (RATE_HZ if self._mode == "live" else 0)
        accepted = self.playout.push(
            np.ascontiguousarray(packet.samples),
            item=packet.item,
            end=packet.last,
            timestamp=packet.place if self._mode == "live" else None,
            now_ns=round(packet.arrival_s * 1e9),
        )
        assert accepted, accepted

    def pull(self, count: int, now_s: float) -> tuple[Signal, Sequence[Part]]:
        output = np.empty(count, np.float32)
        self.playout.read(output, now_ns=round(now_s * 1e9))
        return output, [self._part(part) for part in self.playout.parts()]

    def _part(self, part: PlayoutPart) -> Part:
        if part.kind is not PlayoutPartKind.PLAYED:
            return Part(KINDS[part.kind], part.output_frames)
        place = part.position_frames + (self._origin or 0)
        return Part(Kind.PLAYED, part.output_frames, place, part.source_frames)


class Queue:
    """A queue of pieces of audio. The place of a piece is the index of its first sample."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Signal]] = deque()
        self.level = 0

    def add(self, place: int, samples: Signal) -> None:
        self._waiting.append((place, samples))
        self.level += len(samples)

    def take(self, count: int) -> tuple[Signal, list[Part]]:
        """Return *count* samples, with silence at the end if the queue has fewer."""
        output, parts, done = np.zeros(count, np.float32), [], 0
        while done < count and self._waiting:
            place, samples = self._waiting.popleft()
            size = min(count - done, len(samples))
            output[done : done + size] = samples[:size]
            parts.append(Part(Kind.PLAYED, size, place, size))
            done += size
            self.level -= size
            if size < len(samples):
                self._waiting.appendleft((place + size, samples[size:]))
        if done < count:
            parts.append(Part(Kind.HELD, count - done))
        return output, parts


class Fixed:
    """
    A buffer that begins to play when a fixed amount of audio is queued, as most players do.

    If the queue is empty, the buffer plays silence.
    """

    def __init__(self, start_ms: int, *, again: bool = False) -> None:
        self._need = start_ms * RATE_HZ // 1000
        self._again = again  # whether to queue the same amount again after each underrun
        self._queue = Queue()
        self._started = self._ended = False

    def push(self, packet: Packet) -> None:
        self._queue.add(packet.place, packet.samples)
        self._ended = packet.last

    def pull(self, count: int, _now_s: float) -> tuple[Signal, Sequence[Part]]:
        level = self._queue.level
        if level and (level >= self._need or self._ended):
            self._started = True
        if not self._started:
            return np.zeros(count, np.float32), [Part(Kind.HELD, count)]
        if level < count and (self._again or self._ended):
            self._started = False
        return self._queue.take(count)


class Aiortc:
    """
    Uses aiortc's JitterBuffer with the settings of aiortc's receiver.

    The packets that the JitterBuffer releases are put in an unbounded queue.
    """

    def __init__(self) -> None:
        from aiortc.jitterbuffer import JitterBuffer
        from aiortc.rtp import RtpPacket

        self._rtp = RtpPacket
        self._buffer = JitterBuffer(capacity=16, prefetch=4)
        self._sound: dict[int, Signal] = {}
        self._queue = Queue()
        self._pushed = 0

    def push(self, packet: Packet) -> None:
        single = len(packet.samples) <= PACKET
        for at in range(0, len(packet.samples), PACKET):
            place = packet.place + at
            sequence = packet.number if single else self._pushed
            self._pushed += 1
            rtp = self._rtp(
                payload_type=0, sequence_number=sequence & 0xFFFF, timestamp=place & 0xFFFFFFFF
            )
            rtp._data = place.to_bytes(8, "little")  # noqa: SLF001 - aiortc's receiver does the same
            self._sound[place] = packet.samples[at : at + PACKET]
            _, frame = self._buffer.add(rtp)
            if frame is not None:
                released = int.from_bytes(frame.data[:8], "little")
                self._queue.add(released, self._sound.pop(released))

    def pull(self, count: int, _now_s: float) -> tuple[Signal, Sequence[Part]]:
        return self._queue.take(count)


class SpeexPacket(ctypes.Structure):
    """The struct JitterBufferPacket of speex_jitter.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("len", ctypes.c_uint32),
        ("timestamp", ctypes.c_uint32),
        ("span", ctypes.c_uint32),
        ("sequence", ctypes.c_uint16),
        ("user_data", ctypes.c_uint32),
    )


class Speexdsp:
    """
    Uses the jitter buffer of libspeexdsp, which returns 20 ms at a time.

    libspeexdsp leaves concealment to the codec. There is no codec here, so the gaps are silent.
    """

    def __init__(self) -> None:
        name = ctypes.util.find_library("speexdsp") or "libspeexdsp.so.1"
        self._library = ctypes.CDLL(name)
        self._library.jitter_buffer_init.restype = ctypes.c_void_p
        self._buffer = ctypes.c_void_p(self._library.jitter_buffer_init(PACKET))
        self._sound: dict[int, Signal] = {}
        self._output = np.zeros(0, np.float32)
        self._parts: list[Part] = []
        self._room = ctypes.create_string_buffer(64)
        self._started = False

    def __del__(self) -> None:
        if hasattr(self, "_buffer"):
            self._library.jitter_buffer_destroy(self._buffer)

    def push(self, packet: Packet) -> None:
        for at, part in pieces(packet.samples, packet.place):
            self._sound[at] = part
            data = ctypes.create_string_buffer(at.to_bytes(8, "little"), 8)
            stamp = (at + RATE_HZ) & 0xFFFFFFFF
            made = SpeexPacket(ctypes.cast(data, ctypes.c_void_p), 8, stamp, PACKET, 0, 0)
            self._library.jitter_buffer_put(self._buffer, ctypes.byref(made))

    def _add(self, samples: Signal, part: Part) -> None:
        self._output = np.concatenate([self._output, samples])
        self._parts.append(part)

    def _silence(self, count: int) -> None:
        kind = Kind.CONCEALED if self._started else Kind.IDLE
        self._add(np.zeros(count, np.float32), Part(kind, count))

    def _step(self) -> None:
        packet = SpeexPacket(ctypes.cast(self._room, ctypes.c_void_p), 64, 0, 0, 0, 0)
        offset = ctypes.c_int32(0)
        status = self._library.jitter_buffer_get(
            self._buffer, ctypes.byref(packet), ctypes.c_int32(PACKET), ctypes.byref(offset)
        )
        if status == 0:
            place = int.from_bytes(self._room.raw[:8], "little")
            samples = self._sound.pop(place, None)
            if samples is None:
                self._silence(PACKET)
            else:
                if offset.value > 0:
                    self._silence(offset.value)
                self._add(samples, Part(Kind.PLAYED, len(samples), place, len(samples)))
                self._started = True
        else:
            self._silence(packet.span or PACKET)
        self._library.jitter_buffer_tick(self._buffer)

    def pull(self, count: int, _now_s: float) -> tuple[Signal, Sequence[Part]]:
        while len(self._output) < count:
            self._step()
        output, self._output = self._output[:count], self._output[count:]
        parts, left = [], count
        while left:
            kind, size, place, source = self._parts.pop(0)
            used = min(left, size)
            share = used if source else 0
            parts.append(Part(kind, used, place, share))
            if used < size:
                rest = source - share if source else 0
                self._parts.insert(0, Part(kind, size - used, place + share, rest))
            left -= used
        return output, parts


class PerItem:
    """
    Adapts a buffer that does not support items.

    The adapter creates a new buffer for each item, and splits the audio into packets of 20 ms.
    """

    def __init__(self, make: Callable[[], Buffer]) -> None:
        self._make = make
        self._buffer = make()
        self._item: int | None = None
        self._rest = np.zeros(0, np.float32)
        self._place = self._number = self._end = 0

    def push(self, packet: Packet) -> None:
        if packet.item != self._item:
            self._item, self._buffer, self._place = packet.item, self._make(), packet.place
            self._rest = np.zeros(0, np.float32)
        self._end = max(self._end, packet.place + len(packet.samples))
        self._rest = np.concatenate([self._rest, packet.samples])
        ready = len(self._rest) if packet.last else len(self._rest) // PACKET * PACKET
        for at, part in pieces(self._rest[:ready], self._place):
            self._number += 1
            last = packet.last and at + PACKET >= self._end
            self._buffer.push(
                packet._replace(number=self._number, place=at, samples=part, last=last)
            )
        self._rest = self._rest[ready:]
        self._place += ready

    def pull(self, count: int, now_s: float) -> tuple[Signal, Sequence[Part]]:
        output, parts = self._buffer.pull(count, now_s)
        return output, [self._within(part) for part in parts]

    def _within(self, part: Part) -> Part:
        """Return the part without the silence that fills up the last packet."""
        if part.kind != Kind.PLAYED or part.place + part.source <= self._end:
            return part
        if part.place >= self._end:
            return Part(Kind.CONCEALED, part.output)
        return part._replace(source=self._end - part.place)


def live_peers() -> dict[str, Callable[[], Buffer]]:
    """Return the compared buffers for live streams: fixed ones, and those that are installed."""
    found: dict[str, Callable[[], Buffer]] = {
        "fixed 120 ms": lambda: Fixed(120),
        "fixed 300 ms": lambda: Fixed(300),
    }
    for name, make in (("aiortc", Aiortc), ("speexdsp", Speexdsp)):
        try:
            make()
        except (ImportError, OSError):
            continue
        found[name] = make
    return found


def burst_peers() -> dict[str, Callable[[], Buffer]]:
    """Return the compared buffers for bursts: fixed ones, and those that are installed."""
    live = live_peers()
    found: dict[str, Callable[[], Buffer]] = {
        "fixed 0 ms": lambda: Fixed(0),
        "fixed 120 ms": lambda: Fixed(120),
        "fixed 300 ms, again": lambda: Fixed(300, again=True),
    }
    for name in ("aiortc", "speexdsp"):
        if name in live:
            found[name] = lambda make=live[name]: PerItem(make)
    return found
