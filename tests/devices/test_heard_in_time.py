"""
Words and marks are reported at the time when their sample is heard.

The error is at most one period of the device, even after minutes of audio, and even if the clock of
the device is fast or slow. The device is simulated. The simulated device plays at its own rate,
calls back irregularly, and reports a latency that is a little wrong. The samples of the
speech are not zero, and all other samples are zero. So the test finds each sample of the speech in
the played audio, and knows when this sample is heard.
"""

from __future__ import annotations

import numpy as np
import pytest

from inworld_sync._native import ffi, lib
from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.playout_events import PlayoutEventKind
from inworld_sync.audio.streams import SoundGate, SpeakerFeed
from inworld_sync.models.tts import WordTime
from inworld_sync.sessions.cues import Cues

RATE_HZ = 24000
PERIOD = 480  # 20 ms, which PortAudio requests for a latency of 80 ms
PERIOD_MS = 20.0
LATENCY_MS = 60.0
ITEM_FRAMES = 6 * RATE_HZ
LOOK_MS = 1.0  # between two polls of words and marks
START_NS = 1_000_000_000


class Device:
    """A sound card whose clock is wrong by *ppm* parts per million."""

    def __init__(self, ppm: float, minutes: int, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.frame_ms = 1000.0 / (RATE_HZ * (1 + ppm * 1e-6))
        self.blocks = int(minutes * 60_000 / (PERIOD * self.frame_ms))
        self._out = ffi.new("uint8_t[]", 2 * PERIOD)
        self.played = np.zeros(self.blocks * PERIOD, np.int16)

    def heard_ms(self, frame: int) -> float:
        """Return the time in ms at which a frame of the device is heard."""
        return LATENCY_MS + frame * self.frame_ms

    def play(self, feed: SpeakerFeed, block: int) -> float:
        """Read a block. Return the time of the callback in ms."""
        heard_ms = self.heard_ms(block * PERIOD)
        # The callback is up to 12 ms late, and the reported latency is wrong by up to 2 ms.
        now_ms = heard_ms - LATENCY_MS + self._random.uniform(0, 12)
        latency_ms = heard_ms - now_ms + self._random.uniform(-2, 2)
        now_ns = START_NS + round(now_ms * 1e6)
        lib.iw_speaker_play(feed._core, self._out, PERIOD, round(latency_ms * 1e6), now_ns)
        self.played[block * PERIOD :][:PERIOD] = np.frombuffer(ffi.buffer(self._out)[:], "<i2")
        return now_ms


class Speech:
    """Items of 6 s. Their audio arrives about 2 s early. A pause follows every fourth item."""

    def __init__(self, playout: Playout, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._playout = playout
        self.pushed_frames = 0
        self.words: list[int] = []  # the frames at which words begin
        self._paused_until_ms = 0.0

    def push_arrived(self, now_ms: float, heard_frames: int) -> None:
        """Push the audio that has arrived until *now_ms*."""
        ahead = self.pushed_frames - heard_frames
        while ahead < 2 * RATE_HZ and now_ms >= self._paused_until_ms:
            item, within = divmod(self.pushed_frames, ITEM_FRAMES)
            if within == 0:
                self._mark(item)
            size = int(min(self._random.integers(1000, 12_000), ITEM_FRAMES - within))
            sound = 1 + np.arange(self.pushed_frames, self.pushed_frames + size) % 30_000
            end = within + size == ITEM_FRAMES
            now_ns = START_NS + round(now_ms * 1e6)
            pcm = sound.astype("<i2").tobytes()
            assert self._playout.push(pcm, item=item, end=end, now_ns=now_ns)
            self.pushed_frames += size
            ahead += size
            if end and item % 4 == 3:
                self._paused_until_ms = now_ms + 4000

    def _mark(self, item: int) -> None:
        at = int(self._random.integers(0, 4000))
        while at < ITEM_FRAMES:
            self.words.append(item * ITEM_FRAMES + at)
            self._playout.mark(item, at * 1000 / RATE_HZ, item * ITEM_FRAMES + at)
            at += int(self._random.integers(1500, 12_000))


@pytest.mark.parametrize("minutes", [4, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_words_and_marks_are_reported_in_time(ppm: float, minutes: int) -> None:
    """Each event is at most a period earlier or later than its sample. The error does not grow."""
    playout = Playout(RATE_HZ, output_format="f32", capacity_ms=10_000)
    mixer = Mixer(RATE_HZ)
    track = mixer.add(playout)
    feed = SpeakerFeed(mixer, SoundGate(), channels=1, latency_ms=LATENCY_MS, warm_up_ms=10)
    device, speech = Device(ppm, minutes, 1), Speech(playout, 2)
    words: Cues[WordTime] = Cues()
    reported: dict[int, float] = {}
    marked: dict[int, float] = {}
    now_ms = 0.0
    for block in range(device.blocks):
        known = len(speech.words)
        speech.push_arrived(now_ms, track.taken_frames)
        for frame in speech.words[known:]:
            start_ms = frame * 1000 / RATE_HZ
            words.add([WordTime(str(frame), start_ms, start_ms + 50)])
        called_ms = device.play(feed, block)
        while now_ms < called_ms:
            now_ms += LOOK_MS
            now_ns = START_NS + round(now_ms * 1e6)
            for word in words.reach(track.heard_frames(now_ns) * 1000 / RATE_HZ):
                reported[int(word.text)] = now_ms
            for event in playout.poll(track=track, now_ns=now_ns):
                if event.kind is PlayoutEventKind.MARK:
                    assert isinstance(event.tag, int)
                    marked[event.tag] = now_ms

    places = np.flatnonzero(device.played)
    assert np.array_equal(device.played[places], 1 + np.arange(len(places)) % 30_000)
    reached = [frame for frame in speech.words if frame in reported and frame in marked]
    assert len(reached) > 150 * minutes
    assert reached == sorted(reached) == list(reported)[: len(reached)]
    for moments in (reported, marked):
        errors = np.array([moments[frame] - device.heard_ms(places[frame]) for frame in reached])
        # The reported latency is wrong by up to 2 ms, and the next poll is up to 1 ms later.
        assert errors.min() >= -2.1
        assert errors.max() <= 3.1 <= PERIOD_MS
        minute = len(errors) // minutes
        assert abs(np.median(errors[-minute:]) - np.median(errors[:minute])) < 1.0
