"""The clock of a device is estimated well, although the times of its blocks have errors."""

from __future__ import annotations

import numpy as np
import pytest

from inworld_sync.audio.echo.clock import DeviceClock
from inworld_sync.audio.taps import BlockTime

RATE_HZ = 16000
BLOCK = 160


class Device:
    """A device whose clock is fast by *ppm*. Its callbacks are late, on average by *late_ms*."""

    def __init__(self, ppm: float = 0.0, late_ms: float = 0.0, seed: int = 1) -> None:
        self.rate_hz = RATE_HZ * (1 + ppm * 1e-6)
        self.late_ms = late_ms
        self.random = np.random.default_rng(seed)
        self.clock = DeviceClock(RATE_HZ)
        self.start_ns = 10**12
        self.position = 0
        self.breaks = self.devices = 1

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * RATE_HZ / BLOCK)):
            late_ns = self.random.exponential(self.late_ms) * 1e6 if self.late_ms else 0
            time_ns = int(self.time_ns(self.position) + late_ns)
            self.clock.add(BlockTime(self.position, time_ns, self.breaks, self.devices))
            self.position += BLOCK

    def time_ns(self, position: float) -> float:
        return self.start_ns + position / self.rate_hz * 1e9

    def error_ms(self, position: float) -> float:
        return (self.clock.time_ns(position) - self.time_ns(position)) / 1e6


@pytest.mark.parametrize("ppm", [0, 200, -1000])
def test_finds_the_rate(ppm: float) -> None:
    """After 30 s, the error of the rate is below 10 ppm. Callbacks are 3 ms late on average."""
    device = Device(ppm, late_ms=3)
    device.run(30)

    assert -ppm == pytest.approx(device.clock.skew * 1e6, abs=10)
    # The estimated times are late by the median delay of the callbacks, about 2 ms.
    assert 2.0 == pytest.approx(device.error_ms(device.position), abs=0.5)
    assert device.position - BLOCK == pytest.approx(
        device.clock.position(device.time_ns(device.position - BLOCK)), abs=48
    )


def test_does_not_trust_the_first_blocks() -> None:
    """In the first second, late callbacks change the rate by less than 300 ppm."""
    device = Device(late_ms=5)
    device.run(1)

    assert abs(device.clock.skew) < 300e-6


def test_a_late_block_has_no_effect() -> None:
    """One block that is very late does not change the estimated times."""
    device = Device()
    device.run(5)
    device.clock.add(BlockTime(device.position, int(device.time_ns(device.position)) + 10**8, 1, 1))
    device.position += BLOCK
    device.run(1)

    assert abs(device.error_ms(device.position)) < 0.1
    assert device.clock.stretches == 1


@pytest.mark.parametrize("is_reported", [True, False])
def test_missing_samples(is_reported: bool) -> None:
    """The times before and after a gap are right, even if the device does not report the gap."""
    device = Device(300)
    device.run(10)
    gap = device.position
    before_ns = device.time_ns(gap)
    device.start_ns += 50_000_000
    device.breaks += is_reported
    device.run(2)

    assert device.clock.stretches == 2
    (found,) = device.clock.gaps()
    if is_reported:
        assert found == (gap, pytest.approx(0.05, abs=1e-4))
    assert abs(device.error_ms(device.position)) < 0.5
    assert abs(device.clock.time_ns(gap - RATE_HZ) - before_ns + 1e9 / 1.0003) < 3e5
    assert -300 == pytest.approx(device.clock.skew * 1e6, abs=20)
    if is_reported:
        assert device.clock.position(before_ns + 25e6) is None
        position = device.clock.position(before_ns + 60e6)
        assert gap + 160 == pytest.approx(position or 0.0, abs=5)


def test_several_gaps() -> None:
    """The measured rate is kept if gaps follow each other soon."""
    device = Device(300, late_ms=1)
    device.run(30)
    for _ in range(5):
        device.start_ns += 30_000_000
        device.breaks += 1
        device.run(1)

    assert device.clock.stretches == 6
    assert -300 == pytest.approx(device.clock.skew * 1e6, abs=10)


def test_a_short_gap() -> None:
    """A gap of 1.5 ms is found if the times of the blocks are exact."""
    device = Device()
    device.run(5)
    device.start_ns += 1_500_000
    device.breaks += 1
    device.run(1)

    assert device.clock.gaps() == [(5 * RATE_HZ, pytest.approx(0.0015, abs=1e-5))]


@pytest.mark.parametrize("late_ms", [0, 0.1, 2])
def test_gaps_that_did_not_occur(late_ms: float) -> None:
    """If a system reports gaps that did not occur, the estimated times continue."""
    device = Device(late_ms=late_ms)
    device.run(3)
    for _ in range(10):
        device.breaks += 1
        device.run(0.1)

    assert device.clock.stretches == 1


def test_another_device() -> None:
    """If another device is used, the rate of the new device is measured."""
    device = Device(1000)
    device.run(20)
    device.devices += 1
    device.rate_hz = RATE_HZ * (1 - 200e-6)
    device.start_ns = 2 * 10**12
    device.run(20)

    assert device.clock.devices == 2
    assert 200 == pytest.approx(device.clock.skew * 1e6, abs=5)
    assert abs(device.error_ms(device.position)) < 0.3


def test_before_the_first_block() -> None:
    """A time before the first block has no position."""
    device = Device()

    assert not device.clock.is_started
    assert device.clock.position(10**12) is None
    device.run(1)
    assert device.clock.is_started
    assert device.clock.position(10**12 - 10**7) is None
