"""``converse`` sends and plays audio until one side ends the session or something fails."""

from __future__ import annotations

import base64
import io
import itertools
import threading
from collections.abc import Iterator

import pytest

from inworld_sync import (
    ClosedError,
    ConnectionLost,
    DeviceError,
    NullSpeaker,
    WavSink,
    WavSource,
)
from inworld_sync.audio.wav import WavWriter
from inworld_sync.sessions.realtime.session import RealtimeSession

from support.scripted_realtime import Service, realtime

RATE_HZ = 24000
SAID = b"\1\0" * RATE_HZ
ANSWERED = b"\2\0" * (RATE_HZ // 2)


def recording(pcm: bytes = SAID) -> io.BytesIO:
    file = io.BytesIO()
    with WavWriter(file, RATE_HZ) as writer:
        writer.write(pcm)
    file.seek(0)
    return file


class Silent:
    """A microphone that returns no audio. ``close`` ends a wait for audio."""

    sample_rate_hz = RATE_HZ

    def __init__(self) -> None:
        self.taken = threading.Event()
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        self.taken.set()
        assert self.closed.wait(30)
        return iter(())

    def close(self) -> None:
        self.closed.set()


def hear(service: Service, size_bytes: int) -> bytes:
    heard = b""
    while len(heard) < size_bytes:
        heard += base64.b64decode(service.until("input_audio_buffer.append")["audio"])
    return heard


def answer(service: Service) -> None:
    service.created("r1")
    service.item("r1", "a1")
    service.audio("r1", "a1", ANSWERED)
    service.item_done("r1", "a1", "Yes.")
    service.done("r1")


def test_a_recording() -> None:
    """A file is sent, the reply is played to its end, and then ``converse`` returns."""
    heard: list[bytes] = []

    def script(service: Service) -> None:
        service.open()
        heard.append(hear(service, len(SAID)))
        answer(service)
        service.until_left()

    speaker = WavSink(file := io.BytesIO(), RATE_HZ, realtime=True)
    with speaker, realtime(script) as iw, iw.realtime.connect() as rt:
        rt.converse(WavSource(recording()), speaker, hang_up_after=0.3)
        assert rt.ended is None

    assert [SAID] == heard
    assert ANSWERED == file.getvalue()[44:]


def test_a_turn_without_a_transcript_is_waited_for() -> None:
    """``converse`` does not return while the service still processes the user's last words."""

    def script(service: Service) -> None:
        service.open()
        hear(service, len(SAID))
        service.event("input_audio_buffer.speech_started", audio_start_ms=0, item_id="u1")
        # Wait for half a second of silence in real time. This is longer than hang_up_after.
        hear(service, RATE_HZ)
        service.event("input_audio_buffer.committed", item_id="u1")
        answer(service)
        service.until_left()

    speaker = WavSink(file := io.BytesIO(), RATE_HZ)
    with speaker, realtime(script) as iw, iw.realtime.connect() as rt:
        rt.converse(WavSource(recording()), speaker, hang_up_after=0.25)

    assert ANSWERED == file.getvalue()[44:]


def test_the_service_closes() -> None:
    """If the service closes the session normally, ``converse`` returns without an error."""

    def script(service: Service) -> None:
        service.open()
        service.until("input_audio_buffer.append")
        service.close()

    with NullSpeaker(RATE_HZ) as speaker, realtime(script) as iw, iw.realtime.connect() as rt:
        rt.converse(WavSource(recording(SAID * 20), realtime=True), speaker)

        assert rt.ended is not None
        assert "server" == rt.ended.by


def test_a_lost_connection() -> None:
    """If the connection is lost and not replaced, ``converse`` raises ``ConnectionLost``."""

    def script(service: Service) -> None:
        service.open()
        service.until("input_audio_buffer.append")
        service.hang_up()

    with NullSpeaker(RATE_HZ) as speaker, realtime(script) as iw:
        with iw.realtime.connect(reconnect_timeout=0) as rt, pytest.raises(ConnectionLost):
            rt.converse(WavSource(recording(SAID * 20), realtime=True), speaker)


def ends(rt: RealtimeSession, microphone: Silent) -> None:
    assert microphone.taken.wait(30)
    rt.close()


def idle(service: Service) -> None:
    service.open()
    service.until_left()


def test_close_ends_a_read_of_the_microphone() -> None:
    """``converse`` ends when the session is closed, even while a read of the microphone waits."""
    microphone = Silent()
    with NullSpeaker(RATE_HZ) as speaker, realtime(idle) as iw, iw.realtime.connect() as rt:
        closer = threading.Thread(target=ends, args=(rt, microphone))
        closer.start()
        rt.converse(microphone, speaker)
        closer.join()

    assert microphone.closed.is_set()


def test_a_close_of_the_service_ends_a_read_of_the_microphone() -> None:
    """If the service closes the session, ``converse`` ends, even while a microphone read waits."""

    microphone = Silent()

    def script(service: Service) -> None:
        service.open()
        assert microphone.taken.wait(30)
        service.close()

    with NullSpeaker(RATE_HZ) as speaker, realtime(script) as iw, iw.realtime.connect() as rt:
        rt.converse(microphone, speaker)

    assert microphone.closed.is_set()


def test_a_speaker_that_fails() -> None:
    """If the speaker fails, ``converse`` raises the error, and the session continues."""

    class Broken(NullSpeaker):
        def write(
            self, pcm: bytes | bytearray | memoryview, *, timeout: float | None = None
        ) -> None:
            raise DeviceError("unplugged")

    def script(service: Service) -> None:
        service.open()
        service.until("input_audio_buffer.append")
        answer(service)
        service.until_left()

    with Broken(RATE_HZ) as speaker, realtime(script) as iw, iw.realtime.connect() as rt:
        with pytest.raises(DeviceError, match="unplugged"):
            rt.converse(WavSource(recording(SAID * 20), realtime=True), speaker)
        assert rt.ended is None


def test_a_microphone_that_fails() -> None:
    """If the microphone fails, ``converse`` raises the error, and the session continues."""

    class Broken(Silent):
        def __iter__(self) -> Iterator[bytes]:
            yield SAID
            raise DeviceError("unplugged")

    with NullSpeaker(RATE_HZ) as speaker, realtime(idle) as iw, iw.realtime.connect() as rt:
        with pytest.raises(DeviceError, match="unplugged"):
            rt.converse(Broken(), speaker)
        assert rt.ended is None


def test_a_closed_session() -> None:
    """If the session is closed, ``converse`` raises an error."""
    with NullSpeaker(RATE_HZ) as speaker, realtime(idle) as iw:
        rt = iw.realtime.connect()
        rt.close()
        with pytest.raises(ClosedError):
            rt.converse(Silent(), speaker)


def test_twice_in_one_session() -> None:
    """``converse`` may be called more than once in a session."""
    heard = itertools.count()

    def script(service: Service) -> None:
        service.open()
        for _ in range(2):
            hear(service, len(SAID))
            next(heard)
        service.until_left()

    with NullSpeaker(RATE_HZ) as speaker, realtime(script) as iw, iw.realtime.connect() as rt:
        for _ in range(2):
            rt.converse(WavSource(recording()), speaker, hang_up_after=0.1)
        rt.send_message("Still there?")

    assert 2 == next(heard)
