"""Every fault of the emulator is tried at every message of an STT stream."""

from __future__ import annotations

import pytest

from inworld_sync import (
    ConnectError,
    InvalidRequestError,
    Inworld,
    PartialTranscript,
    Reconnected,
    RemoteProtocolError,
    ServiceError,
    TransportError,
)
from inworld_sync.emulator import Emulator, FaultKind, Settings
from inworld_sync.emulator.faults import WEBRTC_KINDS
from inworld_sync.emulator.recognition.engine import SpeechEngine
from inworld_sync.sessions.stt import completion, delivery

from support.spoken_words import RATE_HZ, NumberedRecognizer, NumberedVad, spoken_turns

PCM, SAID = spoken_turns(2, 3, 1)
# Three turns with a start, a stop and a final transcript, at least one partial transcript, and the
# usage, which is the last message of a stream.
FEWEST_MESSAGES = 11

# After each of these faults, a stream continues on the same connection.
HARMLESS = [
    "delay:0.005",
    "slow:20000",
    "pause:0.1",
    "fragments:7",
    "binary",
    "ping",
    "error:13",
    "unknown_message",
    "duplicate",
]
# After each of these faults, a stream continues on a new connection.
MENDED = [
    "drop",
    "reset",
    "close:1011",
    "close:1000",
    "close:4321",
    "half_frame",
    "stall",
    "fatal_error:14",
]
# These faults end a stream. The error has the transcript and the audio that was not transcribed.
ENDING = {
    "bad_utf8": RemoteProtocolError,
    "reserved_opcode": RemoteProtocolError,
    "masked": RemoteProtocolError,
    "huge_frame:9000000000": RemoteProtocolError,
    "fatal_error:3": InvalidRequestError,
}
# If one of these faults occurs before the first message, the stream cannot be opened.
REFUSED = {
    "http_status:503": ServiceError,
    "drop_request": ConnectError,
    "reset_request": ConnectError,
    "accept_delay:6": TransportError,
    "response_delay:6": TransportError,
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Make reconnects quick, and shorten the wait for final transcripts after the last message."""
    monkeypatch.setattr(delivery, "_FIRST_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(completion, "_AFTER_USAGE_SECONDS", 0.1)


@pytest.fixture(scope="module")
def server(request):
    """Yield a server. The parameter is true if the server sends the times of words."""
    engine = SpeechEngine(NumberedRecognizer(), new_vad=NumberedVad)
    settings = Settings(stt_words_of_default_model=getattr(request, "param", False))
    with Emulator(speech_engine=engine, settings=settings) as server:
        yield server


@pytest.fixture
def iw(server):
    with Inworld(api_key=server.api_key, base_url=server.url) as iw:
        yield iw
    server.faults.clear()


@pytest.fixture
def hasty(server):
    """Return a client that detects a dead connection quickly."""
    settings = {"ping_interval": 0.1, "ping_timeout": 2.0, "connect_timeout": 3.0}
    with Inworld(api_key=server.api_key, base_url=server.url, max_retries=0, **settings) as iw:
        yield iw
    server.faults.clear()


def stream(iw, pcm=PCM):
    """Return the text and the events of a stream that ends normally."""
    with iw.stt.stream(max_chunks_per_second=5000) as stream:
        stream.send(pcm)
        text = stream.close().text
    return text.replace(".", ""), list(stream)


@pytest.fixture(scope="module")
def message_count(server):
    """Return the number of messages that a stream gets without faults."""
    with Inworld(api_key=server.api_key, base_url=server.url) as iw:
        text, events = stream(iw)
    assert SAID == text
    assert len(events) >= FEWEST_MESSAGES
    return len(events)


def test_every_fault_is_here():
    """Every kind of WebSocket fault is in one of the lists."""
    named = [*HARMLESS, *MENDED, *ENDING, *REFUSED, "lose", "bad_json", "cut_upload"]

    assert set(FaultKind) - WEBRTC_KINDS == {FaultKind(name.partition(":")[0]) for name in named}


@pytest.mark.parametrize(
    ("server", "fault"), [(fault == "duplicate", fault) for fault in HARMLESS], indirect=["server"]
)
def test_harmless(iw, server, message_count, fault):
    """
    After a harmless fault, no word is lost or doubled, and the stream uses only one connection.

    A duplicate of a final transcript can be detected only if the service sends times of words.
    """
    for after in range(message_count):
        server.faults.add(f"{fault}@{after}")
        text, events = stream(iw)

        assert SAID == text, after
        assert not any(isinstance(event, Reconnected) for event in events), after


@pytest.mark.parametrize("fault", MENDED)
def test_replaced_connection(iw, hasty, server, message_count, fault):
    """If a connection is lost at any message, the client reconnects, and no word is lost."""
    # A stall is detected after two seconds.
    client, step = (hasty, 5) if fault == "stall" else (iw, 1)
    for after in range(0, message_count, step):
        server.faults.add(f"{fault}@{after}")
        text, events = stream(client)

        assert SAID == text, after
        assert 1 == sum(isinstance(event, Reconnected) for event in events), after


@pytest.mark.parametrize("server", [True], indirect=True)
@pytest.mark.parametrize("fault", ENDING)
def test_fatal(iw, server, message_count, fault):
    """
    A fatal fault raises a typed error, which has a transcript and the audio without a transcript.

    If this audio is transcribed, both transcripts together have all words. Without times of words,
    some words are in both transcripts.
    """
    for after in range(message_count):
        server.faults.add(f"{fault}@{after}")
        with pytest.raises(ENDING[fault]) as caught:
            stream(iw)

        left = caught.value.partial
        assert isinstance(left, PartialTranscript)
        assert (RATE_HZ, len(PCM)) == (left.sample_rate_hz, left.start_ms * 32 + len(left.pcm))
        rest, _ = stream(iw, left.pcm)
        assert SAID == f"{left.transcript.text} {rest}".replace(".", "").strip(), after


@pytest.mark.parametrize("fault", REFUSED)
def test_refused(hasty, server, fault):
    """If the first connection is refused, opening fails. A refused reconnect is tried again."""
    server.faults.add(fault)
    with pytest.raises(REFUSED[fault]):
        stream(hasty)

    server.faults.add("drop@4")
    server.faults.add(fault)
    text, events = stream(hasty)

    [reconnected] = [event for event in events if isinstance(event, Reconnected)]
    assert SAID == text
    assert 2 == reconnected.attempts


@pytest.mark.parametrize("fault", ["lose", "bad_json"])
def test_lost_messages(iw, server, message_count, fault):
    """
    If a message is not sent or cannot be read, at most the words of this message are lost.

    If the end of the last turn is missing, the audio of this turn is sent again. If the final
    transcript of an earlier turn is missing, the client does not notice this, because the final
    transcript of the next turn ends both turns.
    """
    turns = ["w1 w2", "w3 w4 w5", "w6"]
    texts = []
    # The last message is the usage. Without the usage, a stream does not end.
    for after in range(message_count - 1):
        server.faults.add(f"{fault}@{after}")
        texts.append(stream(iw)[0])

    without_one = {f"{turns[1]} {turns[2]}", f"{turns[0]} {turns[2]}"}
    assert {SAID, *without_one} == set(texts)
    assert 2 == sum(text in without_one for text in texts)
