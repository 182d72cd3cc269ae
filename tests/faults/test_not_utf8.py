"""
For all three services, the client closes the connection with 1007 if a text message is not UTF-8.

RFC 6455, section 8.1, requires this close code. If a binary message has the same bytes, the client
ignores the message.
"""

from __future__ import annotations

import pytest

from inworld_sync import Inworld, RemoteProtocolError
from inworld_sync.wire.codec import NotUtf8Error, load_object

from support import scripted, scripted_realtime
from support.peers import BINARY, CLOSE, TEXT
from support.scripted_stt import SttConnectionScript, stt_server
from support.spoken_words import spoken_turns

# A wrong byte, an incomplete character, a surrogate, an overlong form, a code point over 0x10FFFF.
NOT_UTF8 = [b"a\xff", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]

# In this order: bytes that are not JSON, an audio delta with a wrong byte, a TTS result with a
# wrong byte, and a message whose type has an incomplete character.
MESSAGES = [
    b"\xff\xfe{}",
    b'{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"AA\xffA"}',
    b'{"result":{"contextId":"c","audioChunk":{"audioContent":"AA\xffA"}}}',
    b'{"type":"unknown \xe2\x82"}',
]


def answer_of(service: scripted.Service) -> bytes:
    """Return the close code that the client sends, as two bytes."""
    while (frame := service.peer.read_frame())[0] != CLOSE:
        pass
    return frame[1][:2]


@pytest.mark.parametrize("payload", NOT_UTF8)
def test_the_reader_of_messages(payload: bytes) -> None:
    """The error names the wrong byte, and shows nothing else of the message."""
    with pytest.raises(NotUtf8Error, match="in UTF-8, got the byte 0x"):
        load_object(b'{"a":"' + payload + b'"}')


@pytest.mark.parametrize("message", MESSAGES)
def test_tts(message: bytes) -> None:
    """
    A text message that is not UTF-8 makes the synthesis fail with RemoteProtocolError.
    """
    answers: list[bytes] = []

    def script(service: scripted.Service) -> None:
        service.until("flush_context")
        service.peer.send_frame(TEXT, message)
        answers.append(answer_of(service))

    with scripted.scripted(script) as iw, iw.tts.connect() as connection:
        with connection.context() as context:
            context.send("Hello.")
            context.flush()
            with pytest.raises(RemoteProtocolError, match="UTF-8"):
                list(context.audio())

    assert answers == [b"\x03\xef"]


@pytest.mark.parametrize("message", MESSAGES)
def test_stt(message: bytes) -> None:
    """
    A text message that is not UTF-8 makes the stream fail with RemoteProtocolError.
    """
    answers: list[bytes] = []

    def hook(service: SttConnectionScript, point: str) -> None:
        if point == "final":
            service.peer.send_frame(TEXT, message)
            answers.append(answer_of(service))
            raise scripted.ScriptEnded

    pcm, _ = spoken_turns(1)
    with stt_server(hook) as (iw, _):
        stream = iw.stt.stream(max_chunks_per_second=2000)
        stream.send(pcm)
        stream.end_turn()
        with pytest.raises(RemoteProtocolError, match="UTF-8"):
            stream.close()

    assert answers == [b"\x03\xef"]


@pytest.mark.parametrize("message", MESSAGES)
def test_realtime(message: bytes) -> None:
    """
    A text message that is not UTF-8 ends the session. The client does not reconnect.
    """
    answers: list[bytes] = []

    def script(service: scripted_realtime.Service) -> None:
        service.open()
        service.request()
        service.peer.send_frame(TEXT, message)
        answers.append(answer_of(service))

    with scripted_realtime.realtime(script) as iw, iw.realtime.connect() as rt:
        reply = rt.send_message("Hello")
        with pytest.raises(RemoteProtocolError, match="UTF-8"):
            reply.wait(30)
        assert rt.ended is not None
        assert rt.ended.code == 1007

    assert answers == [b"\x03\xef"]


def spoken(iw: Inworld) -> bool:
    with iw.tts.connect() as connection, connection.context() as context:
        context.send("Hello.")
        context.close()
        return scripted.text_of(b"".join(chunk.pcm for chunk in context.audio())) == "Hello."


def answered(iw: Inworld) -> bool:
    with iw.realtime.connect() as rt:
        return rt.send_message("Hello").wait(30).text.strip() == "You said Hello"


def heard(iw: Inworld) -> bool:
    pcm, said = spoken_turns(1)
    with iw.stt.stream(max_chunks_per_second=2000) as stream:
        stream.send(pcm)
        stream.end_turn()
        return stream.close().text == said


@pytest.mark.parametrize("message", MESSAGES)
def test_binary_messages(message: bytes) -> None:
    """The client ignores a binary message that is not UTF-8, and the call succeeds."""

    def speak(service: scripted.Service) -> None:
        service.peer.send_frame(BINARY, message)
        scripted.obedient(service)

    def answer(service: scripted_realtime.Service) -> None:
        service.peer.send_frame(BINARY, message)
        scripted_realtime.obedient(service)

    def hook(service: SttConnectionScript, point: str) -> None:
        if point == "config":
            service.peer.send_frame(BINARY, message)

    with scripted.scripted(speak) as iw:
        assert spoken(iw)
    with scripted_realtime.realtime(answer) as iw:
        assert answered(iw)
    with stt_server(hook) as (iw, _):
        assert heard(iw)
