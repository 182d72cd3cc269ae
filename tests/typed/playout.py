"""Programs that use the playout and its mixer. Type checkers check this file. It never runs."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_type

from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.playout_events import (
    Cleared,
    PlayoutEvent,
    PlayoutPart,
    PlayoutStats,
    PushResult,
)
from inworld_sync.audio.track import Track


def feed(playout: Playout, pcm: bytes | bytearray | memoryview) -> None:
    assert_type(playout.push(pcm, item="a"), PushResult)
    assert_type(playout.push(pcm, item=("call", 7), end=True, timestamp=160), PushResult)
    assert_type(playout.push(pcm, sequence=1, now_ns=0), PushResult)
    assert_type(playout.end("a"), PushResult)
    if not playout.push(pcm):
        playout.mark("a", 12.5, tag=object())


def take(playout: Playout) -> None:
    assert_type(playout.read(bytearray(640)), int)
    assert_type(playout.numpy(160), npt.NDArray[np.int16] | npt.NDArray[np.float32])
    assert_type(playout.parts(), list[PlayoutPart])
    assert_type(playout.attach(), tuple[int, int])


def ask(playout: Playout) -> None:
    assert_type(playout.position_ms("a", latency_ms=20), float)
    assert_type(playout.poll(), list[PlayoutEvent])
    assert_type(playout.stats(), PlayoutStats)
    cleared = playout.clear()
    assert_type(cleared, dict[Hashable, Cleared])
    assert_type(cleared["a"].audio_end_ms, int)


def mix() -> None:
    with Mixer(24000, output_format="f32") as mixer, Playout(24000, mode="live") as playout:
        track = mixer.add(playout, gain=0.5, duck_db=20, priority=1)
        assert_type(track, Track)
        assert_type(track.heard_frames(), int)
        mixer.adjust(playout, gain=1)
        assert_type(mixer.read(bytearray(4)), int)
        mixer.remove(playout)
