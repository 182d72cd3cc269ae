"""Speech is played through a Playout, which the program reads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from inworld_sync import AudioConfig, Inworld, PlayoutSink, WordTime
from inworld_sync.audio.playout import Playout
from inworld_sync.emulator import Emulator
from inworld_sync.errors import ServiceError

from support.playing import counting
from support.scripted import Service, scripted
from support.sound_card import PATIENCE_S, until

RATE_HZ = 24000
PCM = AudioConfig("PCM", RATE_HZ)
WORDS = {
    "timestampInfo": {
        "wordAlignment": {
            "words": ["one"],
            "wordStartTimeSeconds": [0.05],
            "wordEndTimeSeconds": [0.1],
        }
    }
}


class Reader:
    """Reads a playout about ten times as fast as real time, and keeps the samples."""

    def __init__(self, playout: Playout) -> None:
        self.playout = playout
        self.pcm = bytearray()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        block = bytearray(2 * RATE_HZ // 100)
        while not self._over.wait(0.001):
            self.playout.read(block)
            self.pcm += block

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE_S)


@pytest.fixture
def playout() -> Iterator[Playout]:
    # Playing starts only when an utterance is complete, so a slow writer causes no gap.
    with Playout(RATE_HZ, start_ms=10_000, time_scaling=False) as playout:
        yield playout


def speaking(*pieces: bytes, **further: object) -> Service:
    """Return a service that answers each utterance with these pieces of audio."""

    def script(service: Service) -> None:
        while True:
            context_id = service.until("close_context")
            service.result(context_id, contextCreated={})
            for piece in pieces:
                service.audio(context_id, piece, **further)
            service.flushed(context_id)
            service.closed(context_id)

    return script


def test_an_utterance_is_played_whole(playout: Playout) -> None:
    """An utterance is played in order, and each word is reported when it is heard."""
    pieces = [counting(start, 2400) for start in range(0, 24_000, 2400)]
    told: list[WordTime] = []
    with scripted(speaking(*pieces, **WORDS)) as iw, Reader(playout) as reader:
        sink = PlayoutSink(playout)
        playback = iw.tts.speak("one", speaker=sink, on_word=told.append)
        playback.wait(PATIENCE_S)

    assert counting(0, 24_000) in reader.pcm
    assert playback.heard_ms == 1000
    assert sink.heard_samples == 24_000
    assert [word.text for word in told] == ["one"] * 10


def test_a_full_playout() -> None:
    """Audio that does not fit waits for room and stays in order."""
    pieces = [counting(start, 2400) for start in range(0, 24_000, 2400)]
    playout = Playout(RATE_HZ, capacity_ms=350, time_scaling=False)
    with scripted(speaking(*pieces)) as iw:
        playback = iw.tts.speak("one", speaker=PlayoutSink(playout))
        out = bytearray(2 * 24_000)
        for start in range(0, len(out), 480):
            # Read no more than the writer has added.
            until(
                lambda: playout.stats().queued_ms > 300 or playout.stats().received_frames == 24_000
            )
            playout.read(memoryview(out)[start : start + 480])
        playback.wait(PATIENCE_S)

    assert counting(0, 24_000) == out
    assert playback.heard_ms == 1000


def test_a_cut_sample_is_put_together(playout: Playout) -> None:
    """A sample that is cut between two messages is joined."""
    pcm = counting(0, 4800)
    pieces = [pcm[:1000], pcm[1000:2001], pcm[2001:5000], pcm[5000:]]
    with scripted(speaking(*pieces)) as iw, Reader(playout) as reader:
        iw.tts.speak("one", speaker=PlayoutSink(playout)).wait(PATIENCE_S)

    assert pcm in reader.pcm


def test_utterances_take_turns(playout: Playout) -> None:
    """An utterance begins when the previous utterance was heard to its end."""
    with scripted(speaking(counting(0, 2400))) as iw, Reader(playout) as reader:
        sink = PlayoutSink(playout)
        sink.pause()
        playbacks = [iw.tts.speak("one", speaker=sink) for _ in range(3)]
        until(lambda: playout.stats().received_frames == 2400)
        sink.resume()
        for playback in playbacks:
            playback.wait(PATIENCE_S)

    assert [100.0] * 3 == [playback.heard_ms for playback in playbacks]
    heard = bytes(reader.pcm)
    # A pause fades the audio out and in. The fades change the samples next to the pause.
    assert heard.count(counting(200, 2000)) == 3


def test_an_interruption_is_final() -> None:
    """interrupt() returns the duration of the heard audio. No audio is heard afterwards."""
    playout = Playout(RATE_HZ, time_scaling=False)
    began, go_on = threading.Event(), threading.Event()

    def script(service: Service) -> None:
        context_id = service.until("close_context")
        service.audio(context_id, counting(0, 24_000))
        began.set()
        go_on.wait(PATIENCE_S)
        service.audio(context_id, counting(0, 24_000))
        service.closed(context_id)
        service.until_left()

    with scripted(script) as iw:
        playback = iw.tts.speak("one", speaker=PlayoutSink(playout))
        assert began.wait(PATIENCE_S)
        until(lambda: playout.stats().received_frames == 24_000)
        playout.read(bytearray(2 * 2400))
        heard_ms = playback.interrupt()
        go_on.set()
        out = bytearray(2 * RATE_HZ)
        playout.read(out)

    assert heard_ms == 105.0
    assert bytes(2 * RATE_HZ - 240) == out[240:]


def test_a_failure_is_raised_after_the_audio(playout: Playout) -> None:
    """Audio before a failure is played, then the error is raised."""

    def script(service: Service) -> None:
        context_id = service.until("close_context")
        service.audio(context_id, counting(0, 2400))
        service.fault(context_id, 13)
        service.until_left()

    with scripted(script) as iw, Reader(playout) as reader:
        playback = iw.tts.speak("one", speaker=PlayoutSink(playout))
        with pytest.raises(ServiceError):
            playback.wait(PATIENCE_S)

    assert counting(0, 2400) in reader.pcm
    assert playback.heard_ms == 100


def test_real_speech(inworld_local: Emulator, playout: Playout) -> None:
    """The emulator's speech is played whole, as :meth:`synthesize` returns it."""
    text = "Each word goes into the playout."
    words: list[str] = []
    with Inworld(api_key=inworld_local.api_key, base_url=inworld_local.url) as iw:
        with Reader(playout) as reader:
            playback = iw.tts.speak(
                text, speaker=PlayoutSink(playout), on_word=lambda word: words.append(word.text)
            )
            playback.wait(PATIENCE_S)
        speech = iw.tts.synthesize(text, audio=PCM)

    assert playback.heard_ms == speech.duration_ms
    assert bytes(speech.pcm) in bytes(reader.pcm)
    assert words == [word.text for word in speech.words]
