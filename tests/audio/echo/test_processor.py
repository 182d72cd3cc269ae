"""Arguments are checked, because livekit crashes the process if a frame has a wrong length."""

from __future__ import annotations

import sys

import pytest

from inworld_sync.audio.echo import processor
from inworld_sync.audio.echo.processor import Processor, has_processor
from inworld_sync.errors import AudioError, ConfigError, DeviceError

pytestmark = pytest.mark.usefixtures("audio_processing")


def new(rate_hz: int = 16000, delay_ms: int = 40) -> Processor:
    return Processor(
        rate_hz, cancel_echo=True, noise_suppression=False, auto_gain=False, delay_ms=delay_ms
    )


@pytest.mark.parametrize("rate_hz", processor.RATES_HZ)
def test_processes_frames_of_10_ms(rate_hz: int) -> None:
    """Processing a frame of 10 ms returns a frame of 10 ms, and does not change the arguments."""
    frame = b"\x05\x00" * (rate_hz // 100)

    assert len(frame) == len(new(rate_hz).process(frame, frame))
    assert frame == b"\x05\x00" * (rate_hz // 100)


@pytest.mark.parametrize("samples", [0, 1, 159, 161, 320])
def test_refuses_other_lengths(samples: int) -> None:
    """A frame of another length raises an error and does not end the process."""
    good, bad = bytes(320), bytes(2 * samples)
    each = new()
    for played, recorded in ((good, bad), (bad, good)):
        with pytest.raises(AudioError, match="10 ms"):
            each.process(played, recorded)

    assert 320 == len(each.process(good, good))


@pytest.mark.parametrize("arguments", [(22050, 40), (0, 40), (16000, -5), (16000, 1000)])
def test_arguments_are_checked(arguments: tuple[int, int]) -> None:
    """A rate or delay that livekit does not accept raises an error."""
    with pytest.raises(ConfigError):
        new(*arguments)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without livekit, the error says what to install and what to use instead."""
    assert has_processor()
    monkeypatch.setitem(sys.modules, "livekit", None)

    with pytest.raises(DeviceError, match=r"inworld-sync\[echo\].*mute_while"):
        new()
