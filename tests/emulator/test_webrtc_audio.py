"""The queue of audio between a session and its track: order, silence, clearing, limits."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from inworld_sync.emulator.peer import PeerGone
from inworld_sync.emulator.realtime.events import EventSender
from inworld_sync.emulator.rtc import track_audio
from inworld_sync.emulator.rtc.offer import checked_offer
from inworld_sync.emulator.rtc.track_audio import TrackAudio

NEVER = threading.Event()


class RecordingPeer:
    """Keeps the events that are sent."""

    is_open = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, object]] = []

    def send(self, message: Mapping[str, object], *, wait: bool = True) -> None:
        name = str(message["type"]).removeprefix("output_audio_buffer.")
        self.sent.append((name, message["response_id"]))

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def peer() -> RecordingPeer:
    return RecordingPeer()


@pytest.fixture
def audio(peer: RecordingPeer) -> TrackAudio:
    return TrackAudio(EventSender(peer, beta_names=False))


def send(audio: TrackAudio, response_id: str, pcm: bytes, cancelled: Any = NEVER) -> None:
    audio.send({"response_id": response_id}, pcm, {}, cancelled)


def test_order(audio: TrackAudio, peer: RecordingPeer) -> None:
    """
    Audio keeps its order. Events report when the playback of each message starts and ends.
    """
    send(audio, "one", b"ab")
    send(audio, "one", b"cdef")
    audio.end("one")
    send(audio, "two", b"gh")

    assert peer.sent == []
    assert audio.pop(4) == b"abcd"
    assert peer.sent == [("started", "one")]
    assert audio.pop(4) == b"efgh"
    assert peer.sent[1:] == [("stopped", "one"), ("started", "two")]
    audio.end("two")
    assert audio.pop(2) == bytes(2)
    assert peer.sent[3:] == [("stopped", "two")]


def test_silence_replaces_missing_audio(audio: TrackAudio, peer: RecordingPeer) -> None:
    """If a reply is generated slowly, silence is sent, and no second start is reported."""
    send(audio, "one", b"ab")
    assert audio.pop(4) == b"ab\0\0"
    assert audio.pop(4) == bytes(4)
    send(audio, "one", b"cd")
    audio.end("one")
    assert audio.pop(4) == b"cd\0\0"

    assert peer.sent == [("started", "one"), ("stopped", "one")]


def test_message_without_audio(audio: TrackAudio, peer: RecordingPeer) -> None:
    """For a message without audio, no event is sent."""
    audio.begin("one")
    audio.end("one")
    audio.pop(4)

    assert peer.sent == []


def test_interruption(audio: TrackAudio, peer: RecordingPeer) -> None:
    """
    An interruption drops the audio that is not played yet, and later audio of the same response.
    """
    send(audio, "one", b"abcdef")
    audio.pop(2)
    audio.interrupt()
    send(audio, "one", b"gh")
    audio.end("one")
    send(audio, "two", b"ij")

    assert audio.pop(4) == b"ij\0\0"
    assert peer.sent == [("started", "one"), ("cleared", "one"), ("started", "two")]


def test_interruption_of_silence(audio: TrackAudio, peer: RecordingPeer) -> None:
    """If no audio is played, an interruption sends no event."""
    audio.interrupt()
    send(audio, "one", b"ab")
    audio.end("one")
    audio.pop(4)
    audio.interrupt()

    assert [name for name, _ in peer.sent] == ["started", "stopped"]


def test_clear_names_the_response(audio: TrackAudio, peer: RecordingPeer) -> None:
    """
    ``clear`` always sends an event. The event has the id of the response that is played. If no
    response is played, the event has the id of the active response, or no id.
    """
    audio.clear(None)
    audio.clear("one")
    send(audio, "one", b"ab")
    assert audio.pop(2) == bytes(2)
    audio.end("one")
    send(audio, "two", b"ab")
    audio.end("two")
    audio.clear("three")

    assert peer.sent == [("cleared", None), ("cleared", "one"), ("cleared", "two")]


def test_cancelled_audio_is_dropped(audio: TrackAudio) -> None:
    """A piece of audio that is generated after its response was cancelled is not played."""
    cancelled = threading.Event()
    cancelled.set()
    send(audio, "one", b"ab", cancelled)

    assert audio.pop(2) == bytes(2)


def test_response_waits_for_room(audio: TrackAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response waits while too much audio is queued, until audio is played or dropped."""
    monkeypatch.setattr(track_audio, "_MAX_QUEUED_BYTES", 2)
    send(audio, "one", b"abcd")
    ended: list[str] = []

    def respond(name: str) -> None:
        send(audio, "one", b"ef")
        ended.append(name)

    def start(name: str) -> threading.Thread:
        thread = threading.Thread(target=respond, args=(name,))
        thread.start()
        return thread

    first = start("played")
    assert audio.pop(1) == b"a"
    assert ended == []
    assert audio.pop(1) == b"b"
    first.join(20)
    second = start("dropped")
    audio.clear(None)
    second.join(20)

    assert ended == ["played", "dropped"]


def test_close_wakes_a_response(audio: TrackAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the call ends, a response that is waiting gets an error."""
    monkeypatch.setattr(track_audio, "_MAX_QUEUED_BYTES", 2)
    send(audio, "one", b"abcd")
    raised: list[Exception] = []

    def respond() -> None:
        try:
            send(audio, "one", b"ef")
        except PeerGone as error:
            raised.append(error)

    thread = threading.Thread(target=respond)
    thread.start()
    audio.close()
    thread.join(20)

    assert len(raised) == 1


def test_candidates_of_an_offer() -> None:
    """Candidates with host names, and the line end-of-candidates, are removed from an offer."""
    kept = [
        "v=0",
        "a=fingerprint:sha-256 AA",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=mid:0",
        "a=candidate:1 1 udp 2130706431 127.0.0.1 50000 typ host generation 0",
        "a=candidate:2 1 tcp 1518280447 ::1 9 typ host tcptype active",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "a=mid:1",
    ]
    removed = "a=candidate:3 1 udp 2113937151 0c0e1a2b-3c4d-4e5f.local 50001 typ host"
    lines = [*kept[:3], removed, *kept[3:], "a=end-of-candidates"]

    assert kept == checked_offer("\n".join(lines)).splitlines()
    assert kept == checked_offer("\r\n".join(lines)).splitlines()
