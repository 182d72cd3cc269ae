"""Whatever happens to the connections of an STT stream, every word comes once."""

from __future__ import annotations

import pytest

from inworld_sync import Reconnected, SpeechStarted, SpeechStopped, Transcription

from support.scripted_stt import hearing_server
from support.spoken_words import spoken_turns

TURNS = (2, 3, 1)

# The moment, and which one of its kind: before the configuration was read, in the middle of the
# audio, around partial and final transcripts, after the end of a turn, at the end of the stream.
MOMENTS = [
    ("config", 1),
    ("chunk", 1),
    ("chunk", 9),
    ("chunk", 20),
    ("partial", 1),
    ("partial", 4),
    ("final", 1),
    ("final", 2),
    ("told", 1),
    ("told", 2),
    ("endTurn", 1),
    ("closeStream", 1),
    ("usage", 1),
]
# What happens then.
ENDS = ["hang_up", "reset", "say_close", "fail", "half_a_frame"]


def struck(moment, nth, end):
    """A hook that ends the first connection once."""

    def hook(hearing, name):
        if hearing.number == 1 and (name, hearing.counts[name]) == (moment, nth):
            getattr(hearing, end)()

    return hook


def transcribe(iw, pcm, **settings):
    """Stream some audio, end the turn, and give the transcript and all events."""
    with iw.stt.stream(max_chunks_per_second=2000, **settings) as stream:
        stream.send(pcm)
        stream.end_turn()
        transcript = stream.close()
    return transcript, list(stream)


@pytest.mark.parametrize("is_timed", [True, False], ids=["timed", "untimed"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("moment", "nth"), MOMENTS)
def test_cut(moment, nth, end, is_timed):
    """A connection that ends at any moment, in any way, costs no word and doubles none."""
    pcm, said = spoken_turns(*TURNS)
    with hearing_server(struck(moment, nth, end), ears={"is_timed": is_timed}) as (iw, server):
        transcript, events = transcribe(iw, pcm)

    assert said == transcript.text
    assert 2 == len(server.connections)
    assert 1 == sum(isinstance(event, Reconnected) for event in events)
    assert said == " ".join(
        event.text for event in events if isinstance(event, Transcription) and event.is_final
    )
    speech = [type(event) for event in events if isinstance(event, (SpeechStarted, SpeechStopped))]
    assert [SpeechStarted, SpeechStopped] * (len(speech) // 2) == speech
