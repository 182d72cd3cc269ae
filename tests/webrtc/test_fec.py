"""Both sides send copies of packets (in-band FEC) and ask for copies in their SDP."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from aiortc.jitterbuffer import JitterBuffer

from inworld_sync import Inworld, Session
from inworld_sync.audio import opus_decoder
from inworld_sync.emulator import Emulator
from inworld_sync.emulator.rtc import call
from inworld_sync.emulator.rtc.call import uses_fec
from inworld_sync.emulator.rtc.tracks import InputTrack
from inworld_sync.webrtc.incoming import IncomingAudio

from support.opus_tone import has_copy
from support.rtc_client import RtcClient, RtcConnection, open_rtc, post_offer
from support.tone import ToneSynthesizer

RTPMAP = re.compile(r"^a=rtpmap:(\d+) opus/48000/2\r\n", re.MULTILINE)
WITH_FEC = re.compile(r"^a=rtpmap:(\d+) opus/48000/2\r\na=fmtp:\1 useinbandfec=1\r\n", re.MULTILINE)
# The speech of these tests lasts longer than this many packets.
MANY = 10


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(synthesizer=ToneSynthesizer()) as server:
        yield server


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[bytes]]:
    """Return a function that records the packets of a class with the method ``add``."""

    def recorded(receiver: Any) -> list[bytes]:
        packets: list[bytes] = []
        add = receiver.add

        def record_and_add(self: Any, packet: Any) -> Any:
            packets.append(packet.payload)
            return add(self, packet)

        monkeypatch.setattr(receiver, "add", record_and_add)
        return packets

    return recorded


def test_copies_in_both_directions(server: Emulator, record: Callable[[Any], list[bytes]]) -> None:
    """The packets with speech have copies."""
    from_user, from_service = record(InputTrack), record(IncomingAudio)
    with Inworld(server.api_key, base_url=server.url) as iw:
        speech = iw.tts.synthesize("Good morning.")
        with iw.connect_webrtc(Session()) as rt:
            rt.send_audio(speech.pcm, speech.sample_rate_hz)
            reply = rt.send_message("Say something.")
            assert sum(len(chunk.pcm) for chunk in reply.audio) > 0
    assert sum(map(has_copy, from_user)) >= MANY
    assert sum(map(has_copy, from_service)) >= MANY


@pytest.mark.parametrize(
    ("parameters", "has_copies"),
    [("", False), ("minptime=10;useinbandfec=0", False), ("minptime=10;useinbandfec=1", True)],
)
def test_copies_only_for_clients_that_ask(
    server: Emulator,
    record: Callable[[Any], list[bytes]],
    parameters: str,
    has_copies: bool,
) -> None:
    """The emulator sends copies if the client's offer asks for copies."""
    packets = record(JitterBuffer)

    def change(sdp: str) -> str:
        line = rf"\g<0>a=fmtp:\1 {parameters}\r\n"
        return RTPMAP.sub(line, sdp) if parameters else sdp

    with open_rtc(server, changed_offer=change) as client:
        client.ask("Say something.")
        client.rtc.listen(1.0)
    assert len(packets) > MANY
    if has_copies:
        assert sum(map(has_copy, packets)) >= MANY
    else:
        assert not any(map(has_copy, packets))


@pytest.mark.parametrize("has_library", [True, False])
def test_the_sdp_of_both_sides(
    server: Emulator, monkeypatch: pytest.MonkeyPatch, has_library: bool
) -> None:
    """
    The SDP asks for copies. Without libopus it does not, and a session works nevertheless.
    """
    if not has_library:
        monkeypatch.setattr(opus_decoder, "load_libopus", lambda: None)
    offers: list[str] = []
    answer = call.Call.answer

    async def answered(self: call.Call, offer: str) -> str:
        offers.append(offer)
        return await answer(self, offer)

    monkeypatch.setattr(call.Call, "answer", answered)
    with Inworld(server.api_key, base_url=server.url) as iw, iw.connect_webrtc(Session()) as rt:
        reply = rt.send_message("Say something.")
        assert sum(len(chunk.pcm) for chunk in reply.audio) > 0
    [offer] = offers
    with closing(RtcConnection()) as rtc:
        status, answer_sdp, _ = post_offer(server, rtc.offer())
        rtc.accept(answer_sdp)
        assert RtcClient(rtc).receive()["type"] == "session.created"

    assert status == 200
    assert bool(WITH_FEC.search(offer)) == bool(WITH_FEC.search(answer_sdp)) == has_library
    assert has_library or "fmtp" not in offer + answer_sdp


@pytest.mark.parametrize(
    ("lines", "is_used"),
    [
        ("a=rtpmap:96 opus/48000/2\r\na=fmtp:96 minptime=10;useinbandfec=1\r\n", True),
        ("a=rtpmap:96 opus/48000/2\r\na=fmtp:96 UseInbandFec = 1; minptime=10\r\n", True),
        ("a=rtpmap:96 opus/48000/2\r\na=fmtp:97 useinbandfec=1\r\n", False),
        ("a=rtpmap:96 opus/48000/2\r\na=fmtp:96 x-useinbandfec=1\r\n", False),
        ("a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=10\r\n", False),
    ],
)
def test_forms_of_the_parameter(lines: str, is_used: bool) -> None:
    """Only the parameter of Opus counts, in any case of letters."""
    assert is_used == uses_fec(lines)
