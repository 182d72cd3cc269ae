"""Speech into a playout that the program reads: straight from the messages while that can be."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from inworld_sync import AudioConfig, Inworld, PlayoutSink, WordTime
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.split import Splitter
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
    """Reads a playout ten times as fast as real time, or so; keeps what it got."""

    def __init__(self, playout: Playout, seconds: float = 0.001) -> None:
        self.playout = playout
        self.seconds = seconds  # for each 10 ms
        self.pcm = bytearray()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        block = bytearray(2 * RATE_HZ // 100)
        while not self._over.wait(self.seconds):
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
    with Playout(RATE_HZ, time_scaling=False) as playout:
        yield playout


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many messages went straight into a playout, and how many were kept for a while."""
    counts = {"straight": 0, "kept": 0}
    split, split_to = Splitter.split, Splitter.split_to

    def kept(self: Splitter, message: bytes) -> object:
        found = split(self, message)
        counts["kept"] += bool(found and found.audio)
        return found

    def straight(self: Splitter, *arguments: object, **more: object) -> object:
        found = split_to(self, *arguments, **more)
        counts["straight"] += bool(found and found.result and found.size_bytes)
        return found

    monkeypatch.setattr(Splitter, "split", kept)
    monkeypatch.setattr(Splitter, "split_to", straight)
    return counts


def speaking(*pieces: bytes, **further: object) -> Service:
    """A service that says these pieces of each utterance."""

    def script(service: Service) -> None:
        while True:
            context_id = service.until("close_context")
            service.result(context_id, contextCreated={})
            for piece in pieces:
                service.audio(context_id, piece, **further)
            service.flushed(context_id)
            service.closed(context_id)

    return script


def test_speech_goes_straight_into_the_playout(playout: Playout, ways: dict[str, int]) -> None:
    """All of an utterance is played in order, without being kept, and its words are told."""
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
    assert {"straight": 10, "kept": 0} == ways


def test_a_full_playout_takes_the_rest_later(ways: dict[str, int]) -> None:
    """What does not fit waits its turn, and what follows it stays behind it."""
    pieces = [counting(start, 2400) for start in range(0, 24_000, 2400)]
    playout = Playout(RATE_HZ, capacity_ms=350, time_scaling=False)
    with scripted(speaking(*pieces)) as iw:
        playback = iw.tts.speak("one", speaker=PlayoutSink(playout))
        until(lambda: ways["kept"])
        # No faster than the writer, which looks for room every few milliseconds.
        with Reader(playout, seconds=0.01) as reader:
            playback.wait(PATIENCE_S)

    assert counting(0, 24_000) in reader.pcm
    assert playback.heard_ms == 1000
    assert {"straight": 3, "kept": 7} == ways


def test_a_cut_sample_is_put_together(playout: Playout, ways: dict[str, int]) -> None:
    """Where a message ends within a sample, the usual way takes over and nothing is lost."""
    pcm = counting(0, 4800)
    pieces = [pcm[:1000], pcm[1000:2001], pcm[2001:5000], pcm[5000:]]
    with scripted(speaking(*pieces)) as iw, Reader(playout) as reader:
        iw.tts.speak("one", speaker=PlayoutSink(playout)).wait(PATIENCE_S)

    assert pcm in reader.pcm
    assert {"straight": 1, "kept": 3} == ways


def test_utterances_take_turns(playout: Playout, ways: dict[str, int]) -> None:
    """One that waits for another is kept until its turn comes."""
    with scripted(speaking(counting(0, 2400))) as iw, Reader(playout) as reader:
        sink = PlayoutSink(playout)
        sink.pause()
        playbacks = [iw.tts.speak("one", speaker=sink) for _ in range(3)]
        until(lambda: sum(ways.values()) == 3)
        sink.resume()
        for playback in playbacks:
            playback.wait(PATIENCE_S)

    assert [100.0] * 3 == [playback.heard_ms for playback in playbacks]
    heard = bytes(reader.pcm)
    # A pause fades out and in: what it touches is not found again.
    assert heard.count(counting(200, 2000)) == 3
    assert ways["straight"] == 1


def test_an_interruption_is_final(playout: Playout) -> None:
    """What comes after it is not heard, and the reader got what is reported."""
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
        until(lambda: playout.stats().received_frames)
        playout.read(bytearray(2 * 2400))
        heard_ms = playback.interrupt()
        go_on.set()
        out = bytearray(2 * RATE_HZ)
        playout.read(out)

    assert heard_ms == 105.0
    assert bytes(2 * RATE_HZ - 240) == out[240:]


def test_other_contexts_are_not_played(playout: Playout, ways: dict[str, int]) -> None:
    """On the same connection, only the utterance of the sink goes into its playout."""

    def script(service: Service) -> None:
        contexts = [service.until("close_context") for _ in range(2)]
        for number in range(5):
            for context_id in contexts:
                service.audio(context_id, counting(number * 1000, 1000))
        for context_id in contexts:
            service.closed(context_id)
        service.until_left()

    with scripted(script) as iw, iw.tts.connect() as connection, Reader(playout) as reader:
        sink = PlayoutSink(playout)
        played, other = connection.context(audio=PCM), connection.context(audio=PCM)
        played._core.play_into(sink)
        for context in (played, other):
            context.send("one")
            context.close()
        kept = b"".join(bytes(chunk.pcm) for chunk in other.audio(PATIENCE_S))
        empty = [chunk.data for chunk in played.audio(PATIENCE_S)]
        sink.drain(timeout=PATIENCE_S)

    assert counting(0, 5000) == kept
    assert [b""] * 5 == empty
    assert counting(0, 5000) in reader.pcm
    assert {"straight": 5, "kept": 5} == ways


def test_a_failure_is_raised_after_what_came(playout: Playout) -> None:
    """What was played before the service failed is heard, and the error reaches the caller."""

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


def test_compressed_speech_is_kept(playout: Playout) -> None:
    """What is not plain PCM does not go into a playout as it is."""
    with scripted(speaking(b"ID3 and so on")) as iw, iw.tts.connect() as connection:
        context = connection.context(audio=AudioConfig("MP3", RATE_HZ))
        context._core.play_into(PlayoutSink(playout))
        context.send("one")
        context.close()

        assert [b"ID3 and so on"] == [chunk.data for chunk in context.audio(PATIENCE_S)]


def test_real_speech(inworld_local: Emulator, playout: Playout) -> None:
    """The local server's speech is heard whole, as it is when it is kept."""
    text = "Straight into the playout it goes."
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
