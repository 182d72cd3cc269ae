"""The clients of all three services accept JSON in binary frames as well as in text frames."""

from __future__ import annotations

from support import scripted, scripted_realtime
from support.peers import BINARY
from support.scripted_stt import SttConnectionScript, stt_server
from support.spoken_words import spoken_turns


def test_tts() -> None:
    """Speech in binary frames is complete, and the statistics count the frames."""

    def script(service: scripted.Service) -> None:
        service.first = BINARY
        scripted.obedient(service)

    with scripted.scripted(script) as iw, iw.tts.connect() as connection:
        with connection.context() as context:
            context.send("Hello.")
            context.close()
            audio = b"".join(chunk.pcm for chunk in context.audio())
        stats = connection.stats

    assert scripted.text_of(audio) == "Hello."
    assert stats.messages_in == stats.binary_messages == 4


def test_stt() -> None:
    """A stream reads results that arrive in binary frames."""

    def hook(service: SttConnectionScript, _: str) -> None:
        service.first = BINARY

    pcm, said = spoken_turns(3)
    with stt_server(hook) as (iw, _), iw.stt.stream(max_chunks_per_second=2000) as stream:
        stream.send(pcm)
        stream.end_turn()
        assert stream.close().text == said


def test_realtime() -> None:
    """A reply is complete even if the service sends every message in a binary frame."""

    def script(service: scripted_realtime.Service) -> None:
        service.first = BINARY
        scripted_realtime.obedient(service)

    with scripted_realtime.realtime(script) as iw, iw.realtime.connect() as rt:
        reply = rt.send_message("Hello").wait(30)

    assert reply.text.strip() == "You said Hello"
