"""After lost connections, an STT stream returns each word exactly once, or ends with an error."""

from __future__ import annotations

import threading
import time

import pytest

from inworld_sync import (
    AuthError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequestError,
    InworldError,
    InworldSttConfig,
    NotFoundError,
    Reconnected,
    RemoteProtocolError,
    SpeechStarted,
    SpeechStopped,
    SttUsage,
    Transcription,
)
from inworld_sync.sessions.stt import audio_buffer, completion, delivery
from inworld_sync.sessions.stt.connection import SttConnection

from support.scripted_stt import stt_server
from support.spoken_words import spoken_turns

TURNS = (2, 3, 1)

# (moment, how often the moment must occur). The moments are the configuration, the audio, partial
# and final transcripts, the ends of turns, and the end of the stream.
MOMENTS = [
    ("config", 1),
    ("chunk", 1),
    ("chunk", 9),
    ("chunk", 20),
    ("partial", 1),
    ("partial", 4),
    ("final", 1),
    ("final", 2),
    ("final_sent", 1),
    ("final_sent", 2),
    ("endTurn", 1),
    ("closeStream", 1),
    ("usage", 1),
]
# The faults that are tried at each of these moments.
ENDS = ["hang_up", "reset", "send_close", "fail", "half_a_frame"]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    """
    Make reconnects quick, and shorten the wait for final transcripts after the last message.

    Other tests check the real times.
    """
    monkeypatch.setattr(delivery, "_FIRST_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(completion, "_AFTER_USAGE_SECONDS", 0.1)
    monkeypatch.setattr(delivery, "LONGEST_WAIT_SECONDS", 0.1)


def struck(moment, nth, end):
    """Return a hook that ends the first connection at the given moment."""

    def hook(connection, name):
        if connection.number == 1 and (name, connection.counts[name]) == (moment, nth):
            getattr(connection, end)()

    return hook


def transcribe(iw, pcm, **settings):
    """Stream some audio, end the turn, and return the transcript and all events."""
    with iw.stt.stream(max_chunks_per_second=2000, **settings) as stream:
        stream.send(pcm)
        stream.end_turn()
        transcript = stream.close()
    return transcript, list(stream)


@pytest.mark.parametrize("is_timed", [True, False], ids=["timed", "untimed"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("moment", "nth"), MOMENTS)
def test_cut(moment, nth, end, is_timed):
    """If a connection ends at any moment and in any way, no word is lost or doubled."""
    pcm, said = spoken_turns(*TURNS)
    with stt_server(struck(moment, nth, end), recognizer={"is_timed": is_timed}) as (iw, server):
        transcript, events = transcribe(iw, pcm)

    assert said == transcript.text
    assert 2 == len(server.connections)
    assert 1 == sum(isinstance(event, Reconnected) for event in events)
    assert said == " ".join(
        event.text for event in events if isinstance(event, Transcription) and event.is_final
    )
    speech = [type(event) for event in events if isinstance(event, (SpeechStarted, SpeechStopped))]
    assert [SpeechStarted, SpeechStopped] * (len(speech) // 2) == speech


@pytest.mark.parametrize("moment", ["partial", "final", "chunk"])
def test_cut_again_and_again(moment):
    """After many lost connections, every word still arrives once."""
    pcm, said = spoken_turns(3, 2, 4, 1)

    def hook(connection, name):
        if connection.number <= 3 and (name, connection.counts[name]) == (moment, 2):
            connection.reset()

    with stt_server(hook) as (iw, server):
        transcript, _ = transcribe(iw, pcm)

    assert said == transcript.text
    assert 4 == len(server.connections)


# Pauses between turns. The shortest pause is just long enough to end a turn.
PAUSES_MS = [200, 275, 350, 500]


@pytest.mark.parametrize("pause_ms", PAUSES_MS)
@pytest.mark.parametrize(("moment", "nth"), [("partial", 4), ("final", 2), ("final_sent", 2)])
def test_rest_of_a_word(moment, nth, pause_ms):
    """
    Audio that is sent again begins in a pause, not in the last word.

    In an earlier version, without word times, this audio began half a second before the last
    speech. If the pause was shorter than half a second, the audio began inside a word, and the
    rest of this word was transcribed again as another word.
    """
    pcm, said = spoken_turns(2, 3, 2, pause_ms=pause_ms)
    with stt_server(struck(moment, nth, "hang_up"), recognizer={"is_timed": False}) as (iw, server):
        transcript, events = transcribe(iw, pcm)

    assert said == transcript.text
    assert 2 == len(server.connections)
    assert [0] == [event.lost_ms for event in events if isinstance(event, Reconnected)]


@pytest.mark.parametrize("error_ms", [-50, 0, 50])
@pytest.mark.parametrize(("moment", "nth"), [("partial", 5), ("final", 2), ("final_sent", 3)])
def test_turns_without_silence(moment, nth, error_ms):
    """If turns end right after a word and times are inexact, audio is still cut between words."""
    pcm, said = spoken_turns(12)
    recognizer = {"max_words": 4, "time_error_ms": error_ms}
    with stt_server(struck(moment, nth, "hang_up"), recognizer=recognizer) as (iw, server):
        transcript, events = transcribe(iw, pcm)

    assert said == transcript.text
    assert 2 == len(server.connections)
    assert [0] == [event.lost_ms for event in events if isinstance(event, Reconnected)]


@pytest.mark.parametrize("offset_ms", range(0, 300, 50))
def test_turn_longer_than_the_buffer(offset_ms, monkeypatch):
    """If a turn exceeds the buffer, only complete words arrive, and an event reports the loss."""
    monkeypatch.setattr(delivery, "KEEP_SECONDS", 2)
    # Of 7 s of audio, the last half second is sent again, instead of the last two seconds.
    monkeypatch.setattr(audio_buffer, "_LIVE_LEAD_SECONDS", 6.5)
    pcm, said = spoken_turns(20, pause_ms=500 + offset_ms)
    with stt_server(struck("partial", 18, "hang_up")) as (iw, _):
        transcript, events = transcribe(iw, pcm)

    words = transcript.text.split()
    assert said.endswith(transcript.text)
    assert 3 <= len(words) < 20
    [reconnected] = [event for event in events if isinstance(event, Reconnected)]
    # Each word, with the gap after the word, lasts 300 ms.
    assert 20 - len(words) == round(reconnected.lost_ms / 300)
    assert reconnected.lost_ms == reconnected.from_ms - 500 - offset_ms


def test_word_times_after_a_cut():
    """Words of a later connection have times that count from the start of the stream."""
    pcm, _ = spoken_turns(2, 2)
    with stt_server() as (iw, _):
        whole, _ = transcribe(iw, pcm)
    with stt_server(struck("final", 2, "hang_up")) as (iw, _):
        cut, events = transcribe(iw, pcm)

    assert [(word.text, word.start_ms, word.end_ms) for word in whole.words] == [
        (word.text, word.start_ms, word.end_ms) for word in cut.words
    ]
    [reconnected] = [event for event in events if isinstance(event, Reconnected)]
    assert 1100 <= reconnected.from_ms <= 1600, "it begins in the silence between the turns"
    assert 0 == reconnected.lost_ms
    assert 1 == reconnected.attempts
    assert isinstance(reconnected.cause, ConnectionLost)


def test_manual_turns():
    """If a connection is lost, the ends of manual turns are kept."""
    first, _ = spoken_turns(2)
    second, _ = spoken_turns(3)
    manual = {"inworld": InworldSttConfig(vad_threshold=0.0)}
    for moment in ("endTurn", "final", "final_sent"):
        with stt_server(struck(moment, 1, "hang_up"), recognizer={"is_manual": True}) as (iw, _):
            with iw.stt.stream(max_chunks_per_second=2000, **manual) as stream:
                stream.send(first)
                stream.end_turn()
                stream.send(second)
                stream.end_turn()
                transcript = stream.close()

        assert ["w1 w2", "w1 w2 w3"] == [turn.text for turn in transcript.turns], moment


def test_push_to_talk():
    """If the connection is lost after a turn, the turn is transcribed without further audio."""
    pcm, said = spoken_turns(2)
    with stt_server(struck("endTurn", 1, "hang_up"), recognizer={"is_manual": True}) as (iw, _):
        with iw.stt.stream(
            max_chunks_per_second=2000, inworld=InworldSttConfig(vad_threshold=0.0)
        ) as stream:
            stream.send(pcm)
            stream.end_turn()
            final = next(
                event for event in stream.events(timeout=30)
                if isinstance(event, Transcription) and event.is_final
            )  # fmt: skip

    assert said == final.text


def test_stall():
    """If the service pauses for a second, the stream keeps the connection."""
    pcm, said = spoken_turns(2, 2)

    def hook(connection, name):
        if name == "chunk" and connection.counts[name] == 8:
            assert not connection.peer.released.wait(1)

    with stt_server(hook) as (iw, server):
        transcript, _ = transcribe(iw, pcm)

    assert said == transcript.text
    assert 1 == len(server.connections)


def test_slow_reader():
    """If the service reads slowly, the stream sends slowly, and the service gets all audio."""
    pcm, said = spoken_turns(6, 6, 6, 6)

    def hook(connection, name):
        if name == "chunk":
            assert not connection.peer.released.wait(0.005)

    with stt_server(hook, receive_buffer_bytes=4096, max_queued_bytes=8192) as (iw, server):
        transcript, _ = transcribe(iw, pcm, max_waiting_bytes=64_000)

    assert said == transcript.text
    assert 1 == len(server.connections)
    assert pcm == bytes(server.connections[0].pcm)


def test_half_open_peer():
    """If the service sends no pongs, the stream continues on another connection."""
    pcm, said = spoken_turns(2, 2)

    def hook(connection, name):
        if connection.number == 1 and name == "chunk" and connection.counts[name] == 12:
            connection.peer.hold()

    settings = {"ping_interval": 0.1, "ping_timeout": 2.0}
    with stt_server(hook, **settings) as (iw, _):
        transcript, events = transcribe(iw, pcm)

    assert said == transcript.text
    [reconnected] = [event for event in events if isinstance(event, Reconnected)]
    assert "silent" in str(reconnected.cause)


def test_error_that_is_not_fatal():
    """After an error message without a CLOSE, the stream continues."""
    pcm, said = spoken_turns(2, 2)

    def hook(connection, name):
        if name == "partial":
            connection.error(3, "invalid WebSocket request for the selected response protocol")

    with stt_server(hook) as (iw, server):
        transcript, _ = transcribe(iw, pcm)

    assert said == transcript.text
    assert 1 == len(server.connections)


# (code that the service reports before CLOSE, class of the stream's error)
FATAL = [(3, InvalidRequestError), (5, NotFoundError), (7, AuthError), (16, AuthError)]


@pytest.mark.parametrize(("code", "kind"), FATAL)
def test_fatal_error(code, kind):
    """An error that a retry cannot solve ends the stream. The error has the remaining audio."""
    pcm, _ = spoken_turns(2, 2)

    def hook(connection, name):
        if name == "final" and connection.counts[name] == 2:
            connection.fail(code)

    with stt_server(hook) as (iw, server):
        with pytest.raises(kind) as caught:
            transcribe(iw, pcm)

    assert 1 == len(server.connections)
    left = caught.value.partial
    assert "w1 w2" == left.transcript.text
    assert pcm.endswith(left.pcm)
    assert len(pcm) - len(left.pcm) == left.start_ms * 32


def test_unsent_audio_can_be_transcribed():
    """The transcript of the remaining audio of a failed stream has the missing words."""
    pcm, said = spoken_turns(2, 3)

    def hook(connection, name):
        if name == "final" and connection.counts[name] == 2 and connection.number == 1:
            connection.fail(3)

    with stt_server(hook) as (iw, _):
        with pytest.raises(InvalidRequestError) as caught:
            transcribe(iw, pcm)
        left = caught.value.partial
        rest = iw.stt.transcribe(left.pcm, sample_rate_hz=left.sample_rate_hz)

    assert said == f"{left.transcript.text} {rest.text}"


def test_no_progress():
    """If connections are lost repeatedly without progress, the stream ends with an error."""
    pcm, _ = spoken_turns(2, 3)

    def hook(connection, name):
        if name == "final" and (connection.number > 1 or connection.counts[name] == 2):
            connection.hang_up()

    with stt_server(hook) as (iw, server):
        with pytest.raises(ConnectionLost, match="2 attempts") as caught:
            transcribe(iw, pcm, max_reconnects=2)

    assert 3 == len(server.connections)
    assert "w1 w2" == caught.value.partial.transcript.text
    assert pcm.endswith(caught.value.partial.pcm)


def test_no_reconnects():
    """If no reconnect is allowed, the loss of the first connection is raised as the error."""
    pcm, _ = spoken_turns(2)
    with stt_server(struck("final", 1, "send_close")) as (iw, server):
        with pytest.raises(ConnectionLost, match="0 attempts"):
            transcribe(iw, pcm, max_reconnects=0)

    assert 1 == len(server.connections)


def test_server_gone():
    """If the server does not come back, the stream ends, and waiting calls raise an error."""
    pcm, _ = spoken_turns(2)
    with stt_server() as (iw, _):
        stream = iw.stt.stream(max_reconnects=2, max_chunks_per_second=2000)
    with pytest.raises(InworldError):
        stream.send(pcm)
        stream.close()


# (messages in an unusual order, the texts of the transcript)
ORDERS = {
    "final before speech": (["final:one", "started:0", "final:two"], ["one", "two"]),
    "stopped alone": (["stopped", "final:one"], ["one"]),
    "two starts": (["started:0", "started:10", "final:one"], ["one"]),
    "usage in the middle": (["usage", "final:one"], ["one"]),
    "usage before the last final": (["started:0", "close", "usage", "final:one"], ["one"]),
    "empty finals": (["started:0", "final:", "final:", "final:one"], ["one"]),
    "unknown kinds": (["unknown", "final:one", "unknown"], ["one"]),
}


@pytest.mark.parametrize("name", ORDERS)
def test_order(name):
    """Messages in an unusual order are read correctly."""
    results, turns = ORDERS[name]

    def hook(connection, moment):
        if moment == "config":
            for result in results:
                say(connection, result)
            if "close" not in results:
                connection.until_close_stream()
            connection.usage(0)
            connection.until_left()

    with stt_server(hook) as (iw, _):
        with iw.stt.stream() as stream:
            if name == "usage in the middle":
                assert isinstance(next(stream.events(timeout=30)), SttUsage)
            transcript = stream.close()

    assert turns == [turn.text for turn in transcript.turns]
    assert not stream.is_speaking


def say(connection, result):
    kind, _, value = result.partition(":")
    if kind == "final":
        body = {"transcription": {"transcript": value, "isFinal": True}}
    elif kind == "started":
        body = {"speechStarted": {"startTimeMs": int(value)}}
    elif kind == "stopped":
        body = {"speechStopped": {"silenceDurationMs": 150}}
    elif kind == "usage":
        return connection.usage(0)
    elif kind == "close":
        return connection.until_close_stream()
    else:
        body = {"sentiment": {"label": "fine"}}
    return connection.send({"result": body})


def test_closes_instead_of_usage():
    """
    If the service closes repeatedly without sending the usage, the transcript is complete.

    After the first close, audio without a final transcript is sent again.
    """
    pcm, said = spoken_turns(2)
    with stt_server(lambda h, name: name == "usage" and h.send_close(1000)) as (iw, server):
        transcript, _ = transcribe(iw, pcm)

    assert said == transcript.text
    assert transcript.usage is None
    assert 2 == len(server.connections)


@pytest.mark.parametrize("nth", [1, 2])
def test_closes_before_the_end(nth):
    """If the service closes before sending the words, the audio is sent again."""
    pcm, said = spoken_turns(2, 3)

    def hook(connection, name):
        if connection.number == 1 and name == "chunk" and connection.counts[name] == nth:
            connection.until_close_stream()
            connection.send_close(1000)

    with stt_server(hook) as (iw, server):
        transcript, _ = transcribe(iw, pcm)

    assert said == transcript.text
    assert 2 == len(server.connections)


def unfinished_turn(is_everywhere, *, has_words):
    """Return a hook that omits the end of a turn, on the first or on every connection."""

    def hook(connection, name):
        if name == "config" and (is_everywhere or connection.number == 1):
            say(connection, "started:0")
            if has_words:
                connection.send({"result": {"transcription": {"transcript": "w1"}}})
            connection.until_close_stream()
            connection.usage(0)
            connection.until_left()

    return hook


def test_usage_in_an_open_turn():
    """If a turn has not ended when the usage arrives, the audio of the turn is sent again."""
    pcm, said = spoken_turns(2)
    for has_words in (False, True):
        with stt_server(unfinished_turn(False, has_words=has_words)) as (iw, server):
            transcript, _ = transcribe(iw, pcm)

        assert said == transcript.text
        assert 2 == len(server.connections)


def test_first_messages_of_another_connection(monkeypatch):
    """If a message arrives while the client reconnects, the message is not lost."""
    pcm, _ = spoken_turns(2)

    def hook(connection, name):
        if name == "config":
            connection.send({"result": {"transcription": {"transcript": "w1"}}})
            connection.until_close_stream()
            connection.usage(0)
            connection.until_left()

    open_connection = SttConnection.open

    def open_and_receive(*args, **settings):
        connection = open_connection(*args, **settings)
        deadline = time.monotonic() + 30
        while connection._link.stats().messages_in == 0:
            assert time.monotonic() < deadline, "the service sent nothing"
            time.sleep(0.001)
        return connection

    monkeypatch.setattr(SttConnection, "open", open_and_receive)
    with stt_server(hook) as (iw, server):
        with pytest.raises(RemoteProtocolError, match="final transcript"):
            transcribe(iw, pcm)

    assert 2 == len(server.connections)


def test_turns_without_an_end():
    """If a turn never ends, the stream raises an error only if the turn has words."""
    pcm, _ = spoken_turns(2)
    with stt_server(unfinished_turn(True, has_words=True)) as (iw, server):
        with pytest.raises(RemoteProtocolError, match="final transcript") as caught:
            transcribe(iw, pcm)
    assert pcm == caught.value.partial.pcm
    assert 2 == len(server.connections)
    with stt_server(unfinished_turn(True, has_words=False)) as (iw, server):
        transcript, _ = transcribe(iw, pcm)
    assert () == transcript.turns


def test_silent_at_the_end():
    """
    If only the usage is missing, close() returns the transcript after its timeout.

    If the final transcript is missing too, close() raises an error.
    """
    pcm, said = spoken_turns(2)
    for moment, complete in (("usage", True), ("final", False)):

        def hook(connection, name, moment=moment):
            if name == moment:
                connection.until_left()

        with stt_server(hook) as (iw, _):
            stream = iw.stt.stream(max_chunks_per_second=2000)
            stream.send(pcm)
            if complete:
                assert said == stream.close(timeout=2).text
                continue
            with pytest.raises(DeadlineExceeded, match=r"0\.5 s") as caught:
                stream.close(timeout=0.5)
            assert pcm == caught.value.partial.pcm


def test_quiet_close_waits_for_audio(monkeypatch):
    """If the service closes an idle connection, the stream reconnects when it gets new audio."""
    monkeypatch.setattr(delivery, "_IDLE_SECONDS", 0.0)
    pcm, said = spoken_turns(2)
    closed = threading.Event()

    def hook(connection, name):
        if connection.number == 1 and name == "endTurn":
            closed.set()
            connection.send_close(1000)

    with stt_server(hook) as (iw, server):
        with iw.stt.stream(max_chunks_per_second=2000) as stream:
            stream.send(pcm)
            stream.end_turn()
            assert closed.wait(30)
            with pytest.raises(DeadlineExceeded):
                while True:
                    next(stream.events(timeout=0.5))
            quiet = len(server.connections)
            stream.send(pcm)
            transcript = stream.close()

    assert 1 == quiet
    assert 2 == len(server.connections)
    assert f"{said} {said}" == transcript.text
