"""Tests of call recordings. No audio is lost or inserted, and both channels are aligned."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from websockets.sync.server import ServerConnection

from inworld_sync import PcmFormat
from inworld_sync.audio import g711
from inworld_sync.emulator.phone import SimulatedCall
from inworld_sync.telephony import CallFormat, CallOptions, CallSummary
from inworld_sync.telephony.asterisk import AudioSocketServer, WebSocketChannel
from inworld_sync.telephony.calls import CallStart
from inworld_sync.telephony.formats import MULAW
from inworld_sync.telephony.recording import Recorder
from inworld_sync.telephony.telnyx import MediaStream as TelnyxStream
from inworld_sync.telephony.twilio import MediaStream as TwilioStream

from support.phone import answer, connected, in_call, mulaw, serve_call, session, websocket_server
from support.scripted_realtime import realtime
from support.wav_files import read_wav

LOGGER = logging.getLogger("test")
START = CallStart("", "", MULAW, MULAW)
RATE_HZ = 8000
FRAME = 160
FRAME_SECONDS = 0.02
LOUD = b"\x80" * FRAME
# These constants are for the tests with a scripted clock. All times are seconds. The stream of the
# carrier begins at BEGAN. A message arrives NETWORK after the carrier has sent it. The carrier
# plays audio PLAYED after the process has sent it.
BEGAN = 100.0
NETWORK = 0.03
PLAYED = 0.05
SECONDS = 30.0
SPEAKS_AT = 5.0
SPEAKS_FOR = 10.0
MARK_SECONDS = 0.2
# The process needs this many seconds for a message.
WORK = 0.0001

Samples = np.ndarray[Any, Any]
Span = tuple[float, float]


def channels(path: Path) -> tuple[Samples, Samples]:
    """Return the samples of the caller and of the assistant."""
    samples = np.frombuffer(read_wav(path).pcm, "<i2").reshape(-1, 2)
    return samples[:, 0], samples[:, 1]


def decoded(audio: bytes) -> Samples:
    return np.frombuffer(g711.decode_ulaw(audio), "<i2")


def caller_frame(number: int) -> bytes:
    """Return a frame whose samples differ from those of the frames around it."""
    return bytes((number * 7 + index) % 120 + 1 for index in range(FRAME))


@attrs.frozen(order=True)
class Event:
    """An event of the call, and the time from which the process can handle the event."""

    at: float
    kind: str
    number: int


def record(path: Path, *, has_timestamps: bool, stalls: Sequence[Span], gap: Span) -> list[int]:
    """
    Record a call with a scripted clock. The caller speaks in each frame, and the assistant speaks
    once.

    Args:
        path: The file.
        has_timestamps: Whether the carrier sends timestamps.
        stalls: The times when the process handles no messages.
        gap: The time when the carrier sends no frames.

    Returns:
        The numbers of the caller's frames.
    """
    frames = [
        number
        for number in range(round(SECONDS / FRAME_SECONDS))
        if not gap[0] <= number * FRAME_SECONDS < gap[1]
    ]
    # A frame is sent when its 20 ms have passed.
    events = [Event((each + 1) * FRAME_SECONDS + NETWORK, "frame", each) for each in frames]
    events += [
        Event(SPEAKS_AT + each * FRAME_SECONDS, "send", each)
        for each in range(round(SPEAKS_FOR / FRAME_SECONDS))
    ]
    events += [
        Event(SPEAKS_AT + (each + 1) * MARK_SECONDS + PLAYED, "mark", each)
        for each in range(round(SPEAKS_FOR / MARK_SECONDS))
    ]
    recorder = Recorder(path, START, BEGAN, 0.0, LOGGER)
    now = 0.0
    for event in sorted(events):
        now = max(now + WORK, event.at)
        now = max([now, *(end for begin, end in stalls if begin <= now < end)])
        if event.kind == "frame":
            stamp = event.number * 20 if has_timestamps else None
            recorder.received(caller_frame(event.number), stamp, BEGAN + now)
        elif event.kind == "send":
            # A stall does not delay the sent audio, so the carrier's queue never becomes empty.
            recorder.sent(LOUD, event.number * FRAME, BEGAN + event.at)
        else:
            played_at = SPEAKS_AT + (event.number + 1) * MARK_SECONDS
            position = round((event.number + 1) * MARK_SECONDS * RATE_HZ)
            recorder.reported(position, now - played_at)
        recorder.write(BEGAN + now)
    recorder.close(BEGAN + now)
    return frames


def check_assistant(samples: Samples) -> None:
    """Check that the assistant's audio is complete and within 1 ms of the right place."""
    loud = np.flatnonzero(samples > 10000)
    assert len(loud) == SPEAKS_FOR * RATE_HZ == loud[-1] - loud[0] + 1
    # The recording begins with the caller's first frame, which arrives NETWORK late. So the
    # assistant's audio is NETWORK earlier in the recording.
    assert loud[0] == pytest.approx((SPEAKS_AT + PLAYED - NETWORK) * RATE_HZ, abs=8)


STALLS: dict[str, list[Span]] = {
    "none": [],
    "short": [(7.0, 7.5)],
    "longer than the delay of the file": [(7.0, 20.0)],
    "at the start": [(0.0, 3.0)],
    "three in a row": [(6.0, 8.2), (8.21, 11.0), (11.01, 14.0)],
    "always": [(0.37 * each, 0.37 * each + 0.33) for each in range(90)],
}


@pytest.mark.parametrize("has_timestamps", [True, False])
@pytest.mark.parametrize("stalls", STALLS.values(), ids=STALLS)
def test_a_process_that_stalls(tmp_path: Path, stalls: list[Span], has_timestamps: bool) -> None:
    """Even if the process stalls, all audio is at the right place, with or without timestamps."""
    path = tmp_path / "call.wav"
    frames = record(path, has_timestamps=has_timestamps, stalls=stalls, gap=(0.0, 0.0))

    caller, assistant = channels(path)
    assert np.array_equal(caller, decoded(b"".join(map(caller_frame, frames))))
    check_assistant(assistant)


@pytest.mark.parametrize("has_timestamps", [True, False])
@pytest.mark.parametrize("stalls", [[], [(7.5, 8.7)], [(8.5, 11.0)]], ids=str)
@pytest.mark.parametrize("gap_seconds", [0.06, 1.5, 2.5])
def test_a_carrier_that_pauses(
    tmp_path: Path, stalls: list[Span], has_timestamps: bool, gap_seconds: float
) -> None:
    """If the carrier sends no audio for a time, the recording has silence of this duration."""
    path, gap = tmp_path / "call.wav", (8.0, 8.0 + gap_seconds)
    frames = record(path, has_timestamps=has_timestamps, stalls=stalls, gap=gap)

    caller, assistant = channels(path)
    # No sample of the caller's audio is 0.
    silent = np.flatnonzero(caller == 0)
    assert len(silent) == pytest.approx(gap_seconds * RATE_HZ, abs=8)
    assert np.array_equal(caller[caller != 0], decoded(b"".join(map(caller_frame, frames))))
    # If the process stalls when the carrier pauses, the arrival times of the last frames are not
    # known.
    begins = [begin - NETWORK - FRAME_SECONDS for begin, _ in stalls if not has_timestamps]
    earliest = min([gap[0], *begins])
    assert earliest * RATE_HZ - 8 <= silent[0] <= gap[0] * RATE_HZ
    assert silent[-1] <= gap[1] * RATE_HZ + 16
    check_assistant(assistant)


def test_a_caller_who_sends_nothing(tmp_path: Path) -> None:
    """While no audio of the caller arrives, at most a minute of the recording is in memory."""
    path = tmp_path / "call.wav"
    recorder = Recorder(path, START, BEGAN, 0.0, LOGGER)
    for number in range(75 * 50):
        recorder.sent(LOUD, number * FRAME, BEGAN + number * FRAME_SECONDS)
        recorder.write(BEGAN + number * FRAME_SECONDS)
    [partial] = tmp_path.iterdir()
    written_bytes = partial.stat().st_size
    recorder.close(BEGAN + 75.0)

    # The buffer of the file object has not been written yet.
    assert written_bytes > 14 * RATE_HZ * 4 - io.DEFAULT_BUFFER_SIZE
    assert len(np.flatnonzero(channels(path)[1] > 10000)) == 75 * RATE_HZ


def test_a_cleared_part(tmp_path: Path) -> None:
    """Audio that was cleared is not in the recording. A late frame does not move the channels."""
    recorder = Recorder(tmp_path / "call.wav", START, BEGAN, 0.04, LOGGER)
    for number in range(100):
        # The network needs 30 ms for most frames, and 230 ms for every tenth frame.
        late = 0.2 if number % 10 == 5 else 0.0
        arrival = BEGAN + (number + 1) * FRAME_SECONDS + NETWORK + late
        recorder.received(LOUD if number == 50 else b"\xff" * FRAME, number * 20, arrival)
    # The caller hears this audio at BEGAN + 1.54. The recording begins at BEGAN + NETWORK, so the
    # audio is at 1.51 s of the recording.
    recorder.sent(LOUD, 0, BEGAN + 1.5)
    recorder.sent(LOUD, 160, BEGAN + 1.52)
    recorder.sent(LOUD, 320, BEGAN + 1.54)
    recorder.cleared(240)
    recorder.write(BEGAN + 10.0)
    recorder.close(BEGAN + 10.0)

    assert (2, RATE_HZ) == (read_wav(tmp_path / "call.wav")[2], read_wav(tmp_path / "call.wav")[1])
    caller, assistant = (np.flatnonzero(each > 10000) for each in channels(tmp_path / "call.wav"))
    assert (50 * FRAME, 51 * FRAME - 1) == (caller[0], caller[-1])
    assert 240 == len(assistant), "the cleared part was not heard"
    assert abs(assistant[0] / 8 - 1510) <= 1


def test_wrong_timestamps(tmp_path: Path) -> None:
    """A timestamp far in the future does not make an endless file."""
    start = CallStart("", "", MULAW, CallFormat("pcm", 16000))
    recorder = Recorder(tmp_path / "call.wav", start, BEGAN, 0.0, LOGGER)
    recorder.received(b"\x80" * FRAME, 10**12, BEGAN + 0.1)
    recorder.sent(bytes(640), 0, BEGAN + 0.1)
    recorder.close(BEGAN + 1.0)

    assert len(read_wav(tmp_path / "call.wav").pcm) < RATE_HZ * 4


def test_a_recording_that_cannot_be_written(tmp_path: Path) -> None:
    """If the recording cannot be written, the call continues."""
    options = CallOptions(recording=tmp_path / "missing" / "call.wav")
    script = serve_call(connected, lambda service: answer(service, 1, mulaw(100)))
    with SimulatedCall() as call, realtime(script) as iw, iw.realtime.connect(session()) as rt:
        with in_call(call, rt, options) as running:
            call.wait(lambda each: each.heard_ms >= 100)
            call.hang_up()
            summary = running.summary()

    assert "caller_hung_up" == summary.end
    assert summary.recording is None


# Calls over real sockets.

SPOKEN_MS = 4000
# This much audio is sent in advance, so that the carrier plays without a gap even on a busy
# machine.
LEAD_MS = 1500


@contextlib.contextmanager
def serving(carrier: str, script: Any, options: CallOptions) -> Iterator[tuple[str, list[Any]]]:
    """Serve calls of a carrier, and yield the address and the summaries."""
    with realtime(script) as iw:
        if carrier == "audiosocket":
            summaries: list[CallSummary] = []
            connect = lambda _: iw.realtime.connect(session(PcmFormat(RATE_HZ)))  # noqa: E731
            with AudioSocketServer(
                connect, port=0, options=options, on_end=summaries.append
            ) as server:
                yield f"tcp://127.0.0.1:{server.port}", summaries
            return

        def run(connection: ServerConnection) -> CallSummary:
            connect = lambda _: iw.realtime.connect(session())  # noqa: E731
            if carrier == "twilio":
                return TwilioStream(connection, connect, verify=False, options=options).run()
            if carrier == "telnyx":
                return TelnyxStream(
                    connection, connect, sent="PCMU", verify=False, options=options
                ).run()
            return WebSocketChannel(connection, connect, options=options).run()

        with websocket_server(run) as served:
            yield served


# Asterisk reports no positions for AudioSocket, so the alignment depends on the latency of the
# machine.
AUDIOSOCKET = pytest.param("audiosocket", marks=pytest.mark.slow)


@pytest.mark.parametrize("carrier", ["twilio", "telnyx", "asterisk", AUDIOSOCKET])
def test_a_live_call(tmp_path: Path, carrier: str) -> None:
    """
    The channels of a recording have the samples that the caller has spoken and heard. The channels
    are aligned within 20 ms.
    """
    path = tmp_path / "call.wav"
    options = CallOptions(recording=path, lead_ms=LEAD_MS)
    audio = bytes(range(1, 121)) * (SPOKEN_MS * 8 // 120 + 1)
    audio = audio[: SPOKEN_MS * 8]
    if carrier == "audiosocket":
        audio = g711.decode_ulaw(audio)
    script = serve_call(connected, lambda service: answer(service, 1, audio))
    with serving(carrier, script, options) as (url, summaries), SimulatedCall(carrier) as call:
        noise = np.random.default_rng(1).integers(-8000, 8000, RATE_HZ * 3).astype("<i2")
        call.say(noise.tobytes(), RATE_HZ)
        call.connect(url)
        call.wait(lambda each: len(each.heard) >= len(audio))
        call.hang_up()
        call.wait(lambda _: summaries)

    caller, assistant = channels(path)
    # The first frame of AudioSocket only shows the sample rate, and is not recorded.
    skipped = FRAME if carrier == "audiosocket" else 0
    spoken = np.frombuffer(call.spoken, "<i2")[skipped:]
    assert len(spoken) > RATE_HZ * 3
    assert np.array_equal(caller[: len(spoken)], spoken)

    line = np.frombuffer(call.line, "<i2")[skipped:]
    heard, recorded = (np.flatnonzero(each) for each in (line, assistant))
    assert len(heard) == len(recorded) == SPOKEN_MS * 8
    assert np.array_equal(line[heard], assistant[recorded])
    # On a busy machine, the simulated carrier may run out of audio in spite of LEAD_MS.
    if len(heard) == heard[-1] - heard[0] + 1:
        assert len(recorded) == recorded[-1] - recorded[0] + 1
    assert abs(int(recorded[0]) - int(heard[0])) <= FRAME_SECONDS * RATE_HZ
