"""Many contexts speak at the same time, and each context receives exactly its own audio."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inworld_sync import ConnectionLimiter, FlushCompleted, Inworld, TtsConnection
from inworld_sync.emulator import Emulator, Settings

from support.counting import CountingLimiter
from support.spelling import SpellingSynthesizer, spelled, spoken_part

CONNECTIONS, CONTEXTS = 20, 5


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def server(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    # With small chunks, the service sends chunks of all contexts of a connection in turn.
    with Emulator(
        synthesizer=SpellingSynthesizer(samples=24),
        settings=Settings(chunk_ms=20),
        tls=request.param,
    ) as server:
        yield server


def client(server: Emulator, **settings: Any) -> Inworld:
    return Inworld(
        api_key=server.api_key, base_url=server.url, ssl_context=server.ssl_context, **settings
    )


def text_of(connection: int, context: int, turn: int) -> str:
    return " ".join(
        f"Sentence {n} of turn {turn} by voice {context} of line {connection}."
        for n in range(3 + (connection + context) % 4)
    )


def in_parallel(count: int, work: Callable[[int], None]) -> list[BaseException]:
    """Run work on threads that start together. Return their exceptions."""
    barrier, errors = threading.Barrier(count), []

    def run(number: int) -> None:
        try:
            barrier.wait(30)
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread still waits for its audio"
    return errors


def test_twenty_connections_of_five_contexts(server: Emulator) -> None:
    """
    A hundred contexts on twenty connections speak at the same time. Each speaks two turns.

    The audio encodes the text, so the expected value of every sample is known.
    """
    spoken: dict[tuple[int, int], str] = {}
    expected = {
        (line, voice): "".join(spoken_part(text_of(line, voice, turn)) for turn in range(2))
        for line in range(CONNECTIONS)
        for voice in range(CONTEXTS)
    }

    with client(server) as iw:
        connections = [iw.tts.connect() for _ in range(CONNECTIONS)]

        def speak(number: int) -> None:
            line, voice = divmod(number, CONTEXTS)
            spoken[line, voice] = conversation(connections[line], line, voice)

        errors = in_parallel(CONNECTIONS * CONTEXTS, speak)

    assert [] == errors
    assert expected == spoken


def conversation(connection: TtsConnection, line: int, voice: int) -> str:
    """Speak two turns. The second turn begins when all audio of the first turn has arrived."""
    data, turn = b"", 0
    with connection.context(timestamp_type="WORD") as context:
        context.send(text_of(line, voice, 0))
        context.flush()
        for event in context.events(30):
            if isinstance(event, FlushCompleted):
                turn += 1
                if turn == 2:
                    break
                context.send(text_of(line, voice, 1))
                context.flush()
            elif hasattr(event, "data"):
                data += event.data
    assert len(text_of(line, voice, 0) + text_of(line, voice, 1)) == context.usage.characters
    return spelled(data, samples=24)


def test_a_hundred_utterances_share_twenty_connections(server: Emulator) -> None:
    """Each utterance of a pool receives exactly its own audio. The limit of connections is kept."""
    limiter = CountingLimiter(CONNECTIONS)
    spoken: dict[int, str] = {}
    texts = {number: text_of(number, number, number) for number in range(100)}

    with client(server, limiter=limiter) as iw:

        def speak(number: int) -> None:
            text = texts[number]
            form = text if number % 2 else iter(text[i : i + 9] for i in range(0, len(text), 9))
            speech = iw.tts.synthesize(form)
            spoken[number] = spelled(speech.data, samples=24)
            assert text.split() == [word.text for word in speech.words]

        errors = in_parallel(100, speak)

    assert [] == errors
    assert {number: spoken_part(text) for number, text in texts.items()} == spoken
    assert limiter.most <= CONNECTIONS
    assert 0 == limiter.taken


def test_interruptions_among_many(server: Emulator) -> None:
    """Interrupted utterances do not affect other utterances, and keep no place of the limiter."""
    spoken: dict[int, str] = {}
    limiter = ConnectionLimiter(4)
    with client(server, limiter=limiter) as iw:

        def speak(number: int) -> None:
            stream = iw.tts.stream(text_of(number, number, 0), timeout=60)
            if number % 3 == 0:
                next(stream)
                stream.close()
                return
            spoken[number] = spelled(b"".join(chunk.data for chunk in stream), samples=24)

        errors = in_parallel(60, speak)

    assert [] == errors
    assert {n: spoken_part(text_of(n, n, 0)) for n in range(60) if n % 3} == spoken


def test_real_speech_of_many_voices(inworld_local: Emulator) -> None:
    """
    Utterances that are spoken at the same time have the same audio as utterances spoken in turn.

    The engine of the emulator makes the same samples for the same text.
    """
    texts = [f"This is voice number {number}, and it is not alone." for number in range(10)]
    together: dict[int, bytes] = {}
    with Inworld(api_key=inworld_local.api_key, base_url=inworld_local.url) as iw:
        alone = [iw.tts.synthesize(text).data for text in texts]
        errors = in_parallel(10, lambda n: together.update({n: iw.tts.synthesize(texts[n]).data}))

    assert [] == errors
    assert alone == [together[number] for number in range(10)]
