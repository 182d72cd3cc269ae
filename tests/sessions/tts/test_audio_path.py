"""The two ways to decode the audio of a TTS message give the same result."""

from __future__ import annotations

import json

import pytest

from inworld_sync import AudioChunk, AudioConfig, ContextConfig
from inworld_sync.audio.split import Splitter
from inworld_sync.sessions.tts.assembler import Assembler
from inworld_sync.wire import tts

from support.scripted import Service, scripted

PCM = AudioConfig("PCM", 24000)

_TIMES = (
    '"timestampInfo":{"wordAlignment":{"words":["aud\\u0069o"],'
    '"wordStartTimeSeconds":[0.5],"wordEndTimeSeconds":[1]}}'
)
_USAGE = '"usage":{"processedCharactersCount":7,"modelId":"m"}'

# (message in which @ is the id of the context, whether the audio of the message is split off)
MESSAGES = [
    ('{"result":{"contextId":"@","audioChunk":{"audioContent":"AAECAw=="}}}', True),
    (
        '{"result":{"audioChunk":{' + _USAGE + ',"audioContent":"AAEC",' + _TIMES + "},"
        '"status":{"code":0},"contextId":"@"}}',
        True,
    ),
    (' {\n"result" : { "contextId" : "@", "audioChunk" : {"audioContent" : "AAEC" } } }\n', True),
    ('{"audioContent":"A","result":{"contextId":"@","audioChunk":{"audioContent":"AAEC"}}}', True),
    (
        '{"result":{"contextId":"@","audioChunk":{"x":{"audioContent":1},"audioContent":"AA=="}}}',
        True,
    ),
    ('{"result":{"contextId":"@","audioChunk":{"audioContent":""}}}', True),
    ('{"result":{"contextId":"@","audioChunk":{"audioContent":"AA=="}}}', True),
    ('{"result":{"contextId":"@","audioChunk":{"audioContent":"AAE="}}}', True),
    ('{"result":{"contextId":"@","audioChunk":{"audioContent":null,' + _TIMES + "}}}", False),
    ('{"result":{"contextId":"@","audioChunk":{' + _TIMES + "}}}", False),
    ('{"result":{"contextId":"@","audioContent":"AAECAw=="}}', False),
    ('{"result":{"contextId":"@","audioChunk":null,"audioContent":"AAECAw=="}}', False),
    ('{"result":{"contextId":"@","audioChunk":{"audioContent":"AAECAw\\u003d\\u003d"}}}', False),
    ('{"result":{"contextId":"@","audioChunk":{"audioContent":"\\/\\/8A"}}}', False),
    ('{"result":{"contextId":"@","audio\\u0043hunk":{"audioContent":"AAEC"}}}', False),
    (
        '{"result":{"contextId":"@","audioChunk":{"audioContent":"AAAA","audioContent":"AAEC"}}}',
        False,
    ),
    ('{"result":{"contextId":"@","audioChunk":{},"audioChunk":{"audioContent":"AAEC"}}}', False),
]


def heard(*messages: str) -> list[AudioChunk]:
    """Return the events that a user gets if the service sends these messages about a context."""

    def script(service: Service) -> None:
        context_id = service.until("close_context")
        for message in messages:
            service.send(message.replace("@", context_id))
        # The audio of a context must end on a whole sample.
        if odd:
            service.audio(context_id, b"\0")
        service.flushed(context_id)
        service.closed(context_id)
        service.until_left()

    odd = _sent_bytes(*messages) % 2
    with scripted(script) as iw, iw.tts.connect() as connection:
        context = connection.context(ContextConfig(audio=PCM))
        context.close()
        chunks = [event for event in context if isinstance(event, AudioChunk)]
    return chunks[: len(messages)]


def _read(message: str) -> tts.AudioReceived:
    event = tts.read(message)
    assert isinstance(event, tts.AudioReceived)
    return event


def _sent_bytes(*messages: str) -> int:
    texts = [str(_read(message).audio) for message in messages]
    return sum(len(text) * 3 // 4 - text.count("=") for text in texts)


def expected(*messages: str, context_id: str = "@") -> list[AudioChunk]:
    """Return the expected events, from a reader that does not split messages."""
    assembler = Assembler(context_id, PCM)
    return [assembler.chunk(_read(message)) for message in messages]


def _without_id(chunk: AudioChunk) -> tuple[object, ...]:
    return (chunk.data, chunk.start_ms, chunk.words, chunk.phonemes, chunk.usage)


@pytest.mark.parametrize(("message", "is_taken"), MESSAGES)
def test_both_ways_agree(message: str, is_taken: bool) -> None:
    """The audio, times and usage are the same whether or not the audio is split off first."""
    [chunk] = heard(message)

    assert _without_id(expected(message)[0]) == _without_id(chunk)


@pytest.mark.parametrize(("message", "is_taken"), MESSAGES)
def test_which_way(message: str, is_taken: bool) -> None:
    """The audio of plain messages is split off. The audio of other messages is not split off."""
    split = Splitter(tts.AUDIO_PATH).split(message.encode())

    assert is_taken is (split is not None and split.audio is not None)


def test_samples_over_both_ways() -> None:
    """A sample that is cut between two messages is joined in both ways of decoding."""
    quick, slow = (json.dumps(body) for body in (_chunk("AAEC"), _chunk("AwQFBg==")))
    slow = slow.replace("=", "\\u003d")
    messages = (quick, slow, quick, quick, slow)

    assert [*map(_without_id, expected(*messages))] == [*map(_without_id, heard(*messages))]
    assert b"\0\1" == expected(*messages)[0].data


def _chunk(audio: str) -> object:
    return {"result": {"contextId": "@", "audioChunk": {"audioContent": audio}}}


def test_decoded_audio_stands_for_the_text() -> None:
    """If decoded audio is passed to read(), the audio field of the message is ignored."""
    message = json.dumps(_chunk(""))

    assert tts.AudioReceived("@", b"\0\1") == tts.read(message, b"\0\1")
