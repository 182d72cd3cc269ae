"""The pacing of audio to a carrier, with simulated time."""

from __future__ import annotations

import pytest

from inworld_sync import MulawFormat, PcmFormat
from inworld_sync.telephony import output as output_module
from inworld_sync.telephony.formats import MULAW, CallFormat
from inworld_sync.telephony.output import CallOutput, Pacing

from support.clock import Clock
from support.phone import mulaw


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    clock.now = 0.0
    monkeypatch.setattr(output_module, "time", clock)
    return clock


def make(**changes: object) -> CallOutput:
    settings = {
        "lead_ms": 100.0,
        "start_ms": 60.0,
        "delay_ms": 0.0,
        "pads_tails": False,
        "reports": "none",
    }
    return CallOutput(MULAW, Pacing(**{**settings, **changes}))  # type: ignore[arg-type]


def sent(output: CallOutput) -> list[bytes]:
    """Return all frames that are due now."""
    frames = []
    while (frame := output.next_frame(0)) is not None:
        frames.append(frame.audio)
    return frames


def push(output: CallOutput, audio: bytes, *, end: bool = False, item: str = "a") -> None:
    assert output.push(item, audio, MulawFormat(), end=end)


def test_frames_are_sent_by_an_absolute_schedule(clock: Clock) -> None:
    """Late frames are sent at once, so no time is lost after a stall of the process."""
    output = make()
    push(output, mulaw(2000))
    counts = []
    for now_ms in (0, 25, 45, 65, 135, 145, 155, 165):
        clock.now = now_ms / 1000
        counts.append(len(sent(output)))

    # The first frame is played at once, and the lead is five frames. At 135 ms, three frames are
    # late.
    assert [6, 1, 1, 1, 3, 1, 0, 1] == counts


def test_the_lead_is_an_option(clock: Clock) -> None:
    """Audio is sent ahead by at most the lead, even if the model is fast."""
    for lead_ms in (0.0, 40.0, 400.0):
        output = make(lead_ms=lead_ms)
        push(output, mulaw(5000))
        assert 1 + lead_ms / 20 == len(sent(output))


def test_the_first_audio_is_collected(clock: Clock) -> None:
    """After a pause, audio is sent as soon as 60 ms of audio or a whole item is queued."""
    output = make()
    push(output, mulaw(40))
    assert [] == sent(output)
    push(output, mulaw(20))
    assert 3 == len(sent(output))

    clock.now = 10.0
    push(output, mulaw(40))
    assert [] == sent(output)
    push(output, b"", end=True)
    assert 2 == len(sent(output))


def test_tails(clock: Clock) -> None:
    """The last frame of an item is short, or is padded if the carrier needs whole frames."""
    for pads_tails, size in ((False, 40), (True, 160)):
        output = make(pads_tails=pads_tails)
        push(output, mulaw(65), end=True)
        frames = sent(output)
        assert mulaw(65) == b"".join(frames)[: 65 * 8]
        assert [160, 160, 160, size] == [len(each) for each in frames]
        assert set(b"".join(frames)[65 * 8 :]) <= {0xFF}


def test_two_items_share_a_frame(clock: Clock) -> None:
    """The next item follows without a gap. Each item has its own count of heard samples."""
    output = make(pads_tails=True, lead_ms=1000.0)
    push(output, mulaw(70), end=True)
    push(output, mulaw(50), end=True, item="b")
    assert mulaw(70) + mulaw(50) == b"".join(sent(output))

    clock.now = 0.1
    assert {"a": 70 * 8, "b": 30 * 8} == output.clear()


def test_the_count_is_in_samples_of_the_session(clock: Clock) -> None:
    """If the audio is resampled, heard samples are still counted at the rate of the session."""
    output = make(lead_ms=5000.0)
    assert output.push("a", bytes(2 * 24000), PcmFormat(24000), end=True)
    sent(output)

    clock.now = 0.5
    assert 12000 == output.clear()["a"]


def test_audio_that_cannot_be_taken_back(clock: Clock) -> None:
    """If the carrier has no command to clear, the caller hears all audio that was sent."""
    output = make(can_clear=False)
    push(output, mulaw(500))
    assert 6 == len(sent(output))

    assert {"a": 120 * 8} == output.clear()
    assert output.next_frame(0) is None
    assert 0.0 == output.heard_ms
    clock.now = 0.2
    assert 120.0 == output.heard_ms


def test_a_clear_is_requested_once(clock: Clock) -> None:
    """A clear is sent once, before new audio, and only if the caller has not heard all audio."""
    output = make(lead_ms=1000.0)
    output.clear()
    assert output.next_frame(0) is None

    push(output, mulaw(500))
    sent(output)
    clock.now = 0.2
    output.clear()
    output.clear()
    push(output, mulaw(60), item="b")
    frames = [output.next_frame(0) for _ in range(5)]

    assert [True, False, False, False] == [each.is_clear for each in frames[:4] if each]
    assert frames[4] is None
    assert 1 == output.interruptions
    assert 200.0 == output.heard_ms


def test_a_full_queue_of_the_carrier(clock: Clock) -> None:
    """Nothing is sent while the carrier has no room."""
    output = make()
    push(output, mulaw(200))
    output.pause(is_paused=True)
    assert [] == sent(output)
    output.pause(is_paused=False)
    assert 6 == len(sent(output))


def test_marks_are_sent_every_200_ms(clock: Clock) -> None:
    """One mark is sent for each 200 ms of audio: a mark for each delta would delay the audio."""
    output = make(reports="marks", lead_ms=5000.0)
    for _ in range(10):
        push(output, mulaw(50))
    push(output, b"", end=True)
    marks = []
    while (frame := output.next_frame(0)) is not None:
        marks.append(frame.mark)

    assert ["iw:0:1600", "iw:0:3200", "iw:0:4000"] == [each for each in marks if each]


def test_too_much_audio_is_refused(clock: Clock) -> None:
    """While ten minutes of audio are queued, push() accepts no more audio."""
    output = make()
    for _ in range(12):
        accepted = output.push("a", bytes(8000 * 60), MulawFormat())
    assert not accepted


def test_a_format_must_be_possible() -> None:
    """G.711 with another rate than 8000 Hz is refused."""
    with pytest.raises(ValueError, match="sample_rate_hz"):
        CallFormat("mulaw", 16000)
