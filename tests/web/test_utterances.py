"""Tests of the audio and the words of one synthesis in separate responses."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inworld_sync import ConfigError, ConnectionLost, Inworld, web
from inworld_sync.web import event_response, shared_speech

from support.scripted import Script, Service, scripted
from support.web_pages import Answer, Page, events_of

TEXT = "Hello, you there. And you."


@pytest.fixture
def utterances(iw: Inworld) -> Iterator[web.Utterances]:
    with web.Utterances(iw.tts) as made:
        yield made


def started(utterances: web.Utterances, page: Page, text: str = TEXT) -> str:
    answer = page.call(lambda request: utterances.start_response(request, text), "POST")
    assert (201, "no-store") == (answer.status, answer.headers["Cache-Control"])
    return str(json.loads(answer.body)["id"])


def audio(utterances: web.Utterances, page: Page, speech_id: str, **options) -> Answer:
    return page.call(lambda request: utterances.stream_response(request, speech_id), **options)


def words(utterances: web.Utterances, page: Page, speech_id: str, **options) -> Answer:
    return page.call(lambda request: utterances.sse_response(request, speech_id), **options)


def error_of(answer: Answer) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["error"]


def test_audio_and_words(utterances: web.Utterances, page: Page) -> None:
    """
    All responses with the audio are equal. All responses with the words are equal, and their events
    have ids.
    """
    speech_id = started(utterances, page)
    first, second = (audio(utterances, page, speech_id) for _ in range(2))
    sent, again = (words(utterances, page, speech_id) for _ in range(2))
    events = events_of(sent.body)[1:]

    assert "audio/mpeg" == first.headers["Content-Type"]
    assert first.body.startswith(b"\xff")
    assert (first.body, sent.body) == (second.body, again.body)
    assert [str(number) for number in range(len(events))] == [event["id"] for event in events]
    assert ["word"] * (len(events) - 1) + ["end"] == [event["event"] for event in events]
    found = {word["index"]: word for word in (json.loads(e["data"]) for e in events[:-1])}
    assert TEXT == " ".join(word["text"] for word in found.values())
    assert all(word["start_ms"] <= word["end_ms"] for word in found.values())


def test_words_after_a_lost_connection(utterances: web.Utterances, page: Page) -> None:
    """A browser that connects again gets the events that it has not received."""
    speech_id = started(utterances, page)
    whole = words(utterances, page, speech_id)
    events = events_of(whole.body)[1:]
    rest = words(utterances, page, speech_id, headers={"Last-Event-ID": events[1]["id"]})
    unknown = words(utterances, page, speech_id, headers={"Last-Event-ID": "x"})
    end = words(utterances, page, speech_id, headers={"Last-Event-ID": events[-1]["id"]})

    assert events[2:] == events_of(rest.body)[1:]
    assert whole.body == unknown.body
    # Only the status 204 keeps EventSource from connecting again.
    assert (204, b"") == (end.status, end.body)


RANGES = [
    ("bytes=0-1", 206, slice(0, 2)),
    ("bytes=2-", 206, slice(2, None)),
    ("bytes=-3", 206, slice(-3, None)),
    ("bytes=0-", 206, slice(0, None)),
    ("bytes=0-0,5-6", 200, slice(0, None)),
]


@pytest.mark.parametrize(("header", "status", "part"), RANGES)
def test_parts(utterances: web.Utterances, page: Page, header: str, status: int, part) -> None:
    """A browser can request a part of a complete speech, as Safari does."""
    speech_id = started(utterances, page)
    whole = audio(utterances, page, speech_id, headers={"Range": "bytes=0-9999999"})
    answer = audio(utterances, page, speech_id, headers={"Range": header})
    expected = whole.body[part]

    assert (status, expected) == (answer.status, answer.body)
    assert str(len(expected)) == answer.headers["Content-Length"]
    start = part.indices(len(whole.body))[0]
    shown = f"bytes {start}-{start + len(expected) - 1}/{len(whole.body)}"
    assert (shown if status == 206 else None) == answer.headers.get("Content-Range")


def test_a_part_outside(utterances: web.Utterances, page: Page) -> None:
    speech_id = started(utterances, page)
    answer = audio(utterances, page, speech_id, headers={"Range": "bytes=9999999-"})
    length_bytes = len(audio(utterances, page, speech_id).body)

    assert (416, f"bytes */{length_bytes}") == (answer.status, answer.headers["Content-Range"])


def test_if_range(utterances: web.Utterances, page: Page) -> None:
    """With If-Range, the browser gets the whole speech, since a speech has no entity tag."""
    speech_id = started(utterances, page)
    answer = audio(utterances, page, speech_id, headers={"Range": "bytes=1-2", "If-Range": '"tag"'})

    assert 200 == answer.status
    assert len(answer.body) > 2


def test_head(utterances: web.Utterances, page: Page) -> None:
    """The response to HEAD has the length of a complete speech."""
    speech_id = started(utterances, page)
    whole = audio(utterances, page, speech_id, headers={"Range": "bytes=0-9999999"})
    head = audio(utterances, page, speech_id, method="HEAD")
    events = words(utterances, page, speech_id, method="HEAD")

    assert (200, b"") == (head.status, head.body)
    assert str(len(whole.body)) == head.headers["Content-Length"]
    assert (200, b"") == (events.status, events.body)


@pytest.mark.parametrize("read", [audio, words])
def test_an_unknown_id(utterances: web.Utterances, page: Page, read: Callable) -> None:
    assert (404, "not_found") == error_of(read(utterances, page, "unknown"))


@pytest.mark.parametrize("text", [None, "", "x" * 5001])
def test_text_that_cannot_be_spoken(utterances: web.Utterances, page: Page, text) -> None:
    answer = page.call(lambda request: utterances.start_response(request, text), "POST")

    assert (400, "bad_request") == error_of(answer)


def test_an_unknown_voice(utterances: web.Utterances, page: Page) -> None:
    answer = page.call(lambda r: utterances.start_response(r, TEXT, voice="Nobody"), "POST")

    assert (400, "bad_request") == error_of(answer)


def test_a_wrong_config_is_an_error_of_the_program(utterances: web.Utterances, page: Page) -> None:
    wrong: Any = {"voice": "Ashley"}
    for view in (
        lambda r: utterances.start_response(r, TEXT, config=wrong),
        lambda r: web.stream_response(r, utterances._tts, TEXT, config=wrong),
    ):
        with pytest.raises(ConfigError, match="config must be a ContextConfig, got dict"):
            page.call(view, "POST")


@pytest.mark.parametrize("name", ["voice", "model", "language"])
def test_a_name_that_is_too_long(utterances: web.Utterances, page: Page, name: str) -> None:
    """A long name is refused, because a huge message would end the connection of other speeches."""
    options = {name: "x" * 257}
    answer = page.call(lambda r: utterances.start_response(r, TEXT, **options), "POST")

    assert (400, f"{name} may have at most 256 characters, got 257") == (
        answer.status,
        json.loads(answer.body)["message"],
    )


def test_the_oldest_speech_is_replaced(iw: Inworld, page: Page) -> None:
    with web.Utterances(iw.tts, max_utterances=2) as utterances:
        ids = []
        for _ in range(3):
            ids.append(started(utterances, page))
            audio(utterances, page, ids[-1])
        statuses = [words(utterances, page, speech_id).status for speech_id in ids]

    assert [404, 200, 200] == statuses


def test_old_speeches_are_dropped(iw: Inworld, page: Page) -> None:
    with web.Utterances(iw.tts, keep_seconds=0) as utterances:
        first = started(utterances, page)
        audio(utterances, page, first)
        started(utterances, page)

        assert 404 == audio(utterances, page, first).status


@contextlib.contextmanager
def held(script: Script, **options) -> Iterator[web.Utterances]:
    """Yield the utterances of a client of a scripted service."""
    with (
        scripted(script, sends_cancel_context=True, max_retries=0) as iw,
        web.Utterances(iw.tts, **options) as utterances,
    ):
        yield utterances


def test_too_many_speeches(page: Page) -> None:
    """If all speeches are still being generated, a new text gets the status 503."""

    def script(service: Service) -> None:
        service.audio(service.until("send_text"), b"\1\2")
        service.until_left()

    with held(script, max_utterances=1) as utterances:
        started(utterances, page)
        answer = page.call(lambda request: utterances.start_response(request, TEXT), "POST")

    assert (503, "busy") == error_of(answer)
    assert "5" == answer.headers["Retry-After"]


def test_a_speech_that_nobody_reads(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    If no response reads a speech, the synthesis is cancelled, and the speech is no longer kept.
    """
    monkeypatch.setattr(shared_speech, "_LEAVE_SECONDS", 0.0)
    go_on, cancelled = threading.Event(), threading.Event()

    def script(service: Service) -> None:
        context_id = service.until("close_context")
        service.audio(context_id, b"\1\2")
        assert go_on.wait(30)
        service.audio(context_id, b"\3\4")
        service.until("cancel_context")
        cancelled.set()
        service.until_left()

    with held(script) as utterances:
        speech_id = started(utterances, page)
        with page.request() as request:
            response = utterances.stream_response(request, speech_id)
        assert b"\1\2" == next(page.blocks(response))
        response.close()
        go_on.set()
        assert cancelled.wait(30)
        # A request for a part waits for the end of the speech.
        answer = audio(utterances, page, speech_id, headers={"Range": "bytes=0-1"})
        assert 404 in (answer.status, audio(utterances, page, speech_id).status)


def test_a_speech_that_is_read_continues(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that reads only the words keeps the synthesis running."""
    monkeypatch.setattr(shared_speech, "_LEAVE_SECONDS", 0.0)
    go_on = threading.Event()

    def script(service: Service) -> None:
        context_id = service.until("close_context")
        service.audio(context_id, b"\1\2")
        assert go_on.wait(30)
        for _ in range(9):
            service.audio(context_id, b"\3\4")
        service.closed(context_id)
        service.until_left()

    with held(script) as utterances:
        speech_id = started(utterances, page)
        with page.request() as request:
            response = utterances.sse_response(request, speech_id)
        go_on.set()
        events = events_of(b"".join(page.blocks(response)))
        response.close()

        assert "end" == events[-1]["event"]
        assert b"\1\2" + b"\3\4" * 9 == audio(utterances, page, speech_id).body


@pytest.mark.parametrize("kind", ["audio", "words"])
def test_a_response_that_is_closed_while_it_waits(
    page: Page, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another thread closes a response, as in an ASGI server, the read of the response ends."""
    monkeypatch.setattr(event_response, "_PING_SECONDS", 1000.0)

    def script(service: Service) -> None:
        service.audio(service.until("close_context"), b"\1\2")
        service.until_left()

    with held(script, timeout=1000) as utterances:
        speech_id = started(utterances, page)
        view = utterances.stream_response if kind == "audio" else utterances.sse_response
        with page.request() as request:
            response = view(request, speech_id)
        blocks = page.blocks(response)
        next(blocks)
        rest: list[bytes] = []
        thread = threading.Thread(target=lambda: rest.extend(blocks))
        thread.start()
        response.close()
        thread.join(30)
        has_ended = not thread.is_alive()
        utterances.close()
        thread.join(30)

    assert has_ended
    assert [] == rest


def test_a_speech_that_fails(page: Page) -> None:
    """
    If a speech fails, the audio is cut off, the words end with "failed", and later requests fail.
    """
    go_on = threading.Event()

    def script(service: Service) -> None:
        service.audio(service.until("close_context"), b"\1\2")
        assert go_on.wait(30)
        service.peer.reset()

    with held(script) as utterances:
        speech_id = started(utterances, page)
        with page.request() as request:
            response = utterances.stream_response(request, speech_id)
        with page.request() as request:
            sent = utterances.sse_response(request, speech_id)
        blocks = page.blocks(response)
        assert b"\1\2" == next(blocks)
        go_on.set()
        with pytest.raises(ConnectionLost):
            next(blocks)
        events = events_of(b"".join(page.blocks(sent)))
        response.close()
        sent.close()
        later = audio(utterances, page, speech_id)

    assert "failed" == events[-1]["event"]
    assert (502, "service_failed") == error_of(later)


def test_a_part_of_a_slow_speech(page: Page) -> None:
    """A request for a part waits for the complete speech, but at most for the timeout."""

    def script(service: Service) -> None:
        service.audio(service.until("send_text"), b"\1\2")
        service.until_left()

    with held(script, timeout=0.3) as utterances:
        speech_id = started(utterances, page)
        answer = audio(utterances, page, speech_id, headers={"Range": "bytes=0-1"})

    assert (504, "timeout") == error_of(answer)


def test_a_request_of_a_part_keeps_the_synthesis(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The synthesis continues while the only request waits for the end of the speech."""
    monkeypatch.setattr(shared_speech, "_LEAVE_SECONDS", 0.0)
    go_on = threading.Event()
    wait = shared_speech.SharedSpeech.wait_complete

    def wait_complete(speech: shared_speech.SharedSpeech, timeout: float) -> int | None:
        go_on.set()
        return wait(speech, timeout)

    monkeypatch.setattr(shared_speech.SharedSpeech, "wait_complete", wait_complete)

    def script(service: Service) -> None:
        context_id = service.until("close_context")
        service.audio(context_id, b"\1\2")
        assert go_on.wait(30)
        for _ in range(9):
            service.audio(context_id, b"\3\4")
        service.closed(context_id)
        service.until_left()

    with held(script) as utterances:
        speech_id = started(utterances, page)
        answer = audio(utterances, page, speech_id, headers={"Range": "bytes=1-2"})

    assert (206, b"\2\3") == (answer.status, answer.body)


def test_closed(iw: Inworld, page: Page) -> None:
    """After close(), no speech is kept, and no text is accepted."""
    utterances = web.Utterances(iw.tts)
    speech_id = started(utterances, page)
    utterances.close()
    answer = page.call(lambda request: utterances.start_response(request, TEXT), "POST")

    assert 404 == audio(utterances, page, speech_id).status
    assert (503, "unavailable") == error_of(answer)


def test_close_while_a_text_starts(page: Page) -> None:
    """
    If close() is called before the first audio of a text arrives, the text gets the status 503.
    """
    is_asked, go_on = threading.Event(), threading.Event()

    def script(service: Service) -> None:
        context_id = service.until("send_text")
        is_asked.set()
        assert go_on.wait(30)
        service.audio(context_id, b"\1\2")
        service.until("cancel_context")
        service.until_left()

    answers: list[Answer] = []
    with held(script) as utterances:
        start = lambda request: utterances.start_response(request, TEXT)  # noqa: E731
        thread = threading.Thread(target=lambda: answers.append(page.call(start, "POST")))
        thread.start()
        assert is_asked.wait(30)
        utterances.close()
        go_on.set()
        thread.join(30)

    assert [(503, "unavailable")] == [error_of(answer) for answer in answers]


def test_words_before_the_first_audio(page: Page) -> None:
    """Words whose times arrive before the audio are not lost."""
    times = {"words": ["Hi."], "wordStartTimeSeconds": [0.1], "wordEndTimeSeconds": [0.2]}

    def script(service: Service) -> None:
        context_id = service.until("close_context")
        service.audio(context_id, b"", timestampInfo={"wordAlignment": times})
        service.audio(context_id, b"\1\2")
        service.closed(context_id)
        service.until_left()

    with held(script) as utterances:
        events = events_of(words(utterances, page, started(utterances, page)).body)

    expected = {"index": 0, "text": "Hi.", "start_ms": 100, "end_ms": 200}
    assert expected == json.loads(events[1]["data"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_utterances", 0),
        ("max_characters", True),
        ("keep_seconds", -1),
        ("timeout", float("nan")),
    ],
)
def test_wrong_options(iw: Inworld, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        web.Utterances(iw.tts, **{name: value})
