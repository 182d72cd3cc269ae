"""Messages with hostile values are read, or refused with an error that a terminal can show."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from inworld_sync.errors import RemoteProtocolError, ServiceError
from inworld_sync.models.stt import Transcript
from inworld_sync.sessions.realtime.connection import MessageReader
from inworld_sync.transport.http import HttpResponse
from inworld_sync.transport.rejection import error_from_response
from inworld_sync.wire import catalog, chat, stt, tts, voices
from inworld_sync.wire.codec import load_object

from support.service_messages import CHAT_COMPLETION, CHAT_EVENT, JOB_RESULT, REALTIME, STT, TTS
from support.untrusted import CONTROL, ESCAPES, HOSTILE, variants

Read = Callable[[str], object]


def body_of(text: str) -> object:
    return HttpResponse(status=200, headers={}, body=text.encode()).json()


def subtitles(text: str) -> object:
    """Read the result of an STT job, and return it as text, as SRT and as WebVTT."""
    transcript = stt.read_document(body_of(text))
    assert isinstance(transcript, Transcript)
    texts = (transcript.text, transcript.to_srt(), transcript.to_vtt())
    assert not CONTROL.search("".join(texts[1:]))
    assert "<script" not in texts[2]
    return texts


def realtime(text: str) -> object:
    return MessageReader().read(text.encode())


# (name, function that reads a message, messages)
READERS: list[tuple[str, Read, list[dict[str, Any]]]] = [
    ("tts", tts.read, TTS),
    ("tts over http", lambda text: tts.read_line(text.encode(), "c1"), TTS),
    ("stt", stt.read, STT),
    ("stt over http", lambda text: stt.read_whole(body_of(text)), [STT[0]["result"]]),
    ("job", subtitles, [JOB_RESULT]),
    (
        "operation",
        lambda text: stt.read_operation(body_of(text)),
        [{"name": "a/b", "done": True, "error": {"code": 3, "message": "m", "details": []}}],
    ),
    ("realtime", realtime, REALTIME),
    ("chat", lambda text: chat.read_completion(body_of(text)), [CHAT_COMPLETION]),
    ("chat stream", chat.read_event, [CHAT_EVENT, {"error": {"code": 3, "message": "m"}}]),
    (
        "model",
        lambda text: catalog.read_model(load_object(text)),
        [
            {
                "model": "m",
                "provider": "p",
                "spec": {"contextLength": 5, "capabilities": {"a": True}},
            }
        ],
    ),
    (
        "voice",
        lambda text: voices.read_voice(body_of(text)),
        [{"voiceId": "v", "displayName": "V", "tags": ["t"], "langCode": "EN_US"}],
    ),
    (
        "error",
        lambda text: str(error_from_response(400, {}, text.encode(), url="https://x")),
        [{"code": 3, "message": "m", "details": [{"a": 1}]}, {"error": {"code": "x"}}],
    ),
]


def shown(read: Read, text: str) -> tuple[bool, str]:
    """Return whether a message is accepted, and the result or error as a program would show it."""
    try:
        return True, repr(read(text))
    except (RemoteProtocolError, ServiceError) as error:
        return False, str(error)


@pytest.mark.parametrize("row", READERS, ids=[row[0] for row in READERS])
def test_hostile_values(row: tuple[str, Read, list[dict[str, Any]]]) -> None:
    """A hostile value in any place is read, or the message is refused with a printable error."""
    _, read, messages = row
    accepted = 0
    for message in messages:
        assert "InvalidMessage" not in shown(read, json.dumps(message))[1], message
        for name, text in variants(message):
            try:
                is_accepted, words = shown(read, text)
            except BaseException as error:
                raise AssertionError(f"{name} of {message}") from error
            accepted += is_accepted
            assert not CONTROL.search(words), name
            assert is_accepted or len(words) < 10_000, name
    assert accepted, "at least the optional fields may have any value"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_message(name: str) -> None:
    """If a whole message is a hostile value, the message is refused or has no effect."""
    for _, read, _ in READERS:
        assert not CONTROL.search(shown(read, HOSTILE[name])[1])


@pytest.mark.parametrize("levels", [101, 400, 5_000, 100_000])
def test_levels(levels: int) -> None:
    """A message with more than 100 levels is refused, on every version of Python."""
    text = '{"a":' * levels + "1" + "}" * levels

    with pytest.raises(RemoteProtocolError, match="more than 100 levels"):
        load_object(text)
    assert load_object('{"a":' * 100 + "1" + "}" * 100)
    assert load_object('{"a":[' + ",".join(["{}"] * 5_000) + "]}")


def test_service_error() -> None:
    """Error texts are one line without control characters. The details are not changed."""
    error = ServiceError(ESCAPES, code=ESCAPES, request_id=ESCAPES, details=["plain"])

    assert not CONTROL.search(str(error))
    assert "\n" not in str(error)
    assert "\\x1b]0;owned\\x07" in error.message
    assert "\\u202e" in error.message
