"""Tests of responses that stream the speech of a text, and of errors before the first byte."""

from __future__ import annotations

import json
import struct
import threading

import pytest

from inworld_sync import (
    AudioConfig,
    ConfigError,
    ConnectionLimiter,
    ContextConfig,
    Inworld,
    errors,
    web,
)
from inworld_sync.emulator import Emulator

from support.scripted import Service, scripted
from support.web_pages import Answer, Page


def error_of(answer: Answer) -> tuple[int, str]:
    assert "application/json" == answer.headers["Content-Type"]
    assert "no-store" == answer.headers["Cache-Control"]
    return answer.status, json.loads(answer.body)["error"]


def message_of(answer: Answer) -> str:
    return str(json.loads(answer.body)["message"])


@pytest.mark.parametrize(
    ("audio_format", "content_type", "magic"),
    [("mp3", "audio/mpeg", b"\xff"), ("wav", "audio/wav", b"RIFF")],
)
def test_formats(iw: Inworld, page: Page, audio_format, content_type, magic) -> None:
    """The response has the audio, the content type, and the headers that prevent buffering."""
    answer = page.call(lambda r: web.stream_response(r, iw.tts, "Hello.", format=audio_format))

    assert 200 == answer.status
    assert answer.body.startswith(magic)
    assert content_type == answer.headers["Content-Type"]
    assert ("no", "no-store") == (
        answer.headers["X-Accel-Buffering"],
        answer.headers["Cache-Control"],
    )
    assert "Content-Length" not in answer.headers


def test_settings(iw: Inworld, page: Page) -> None:
    """The format replaces the encoding of the settings. The sample rate stays the same."""
    config = ContextConfig(voice="Dennis", audio=AudioConfig("MULAW", 8000))
    answer = page.call(
        lambda r: web.stream_response(r, iw.tts, "Hello.", format="wav", config=config)
    )

    assert 8000 == struct.unpack_from("<I", answer.body, 24)[0]
    assert len(answer.body) > 44


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "text is missing in the request"),
        ("", "text must have something to speak"),
        (" \n", "text must have something to speak"),
        (b"Hello.", "text must be a string, got bytes"),
        ("\ud800", "lone surrogate"),
        ("x" * 11, "at most 10 characters, got 11"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_text_that_cannot_be_spoken(page: Page, text, message: str, method: str) -> None:
    """A text that cannot be spoken gets the status 400, and nothing is sent to the service."""
    with Inworld("a2V5OnNlY3JldA==", base_url="http://127.0.0.1:9") as iw:
        answer = page.call(
            lambda r: web.stream_response(r, iw.tts, text, max_characters=10), method
        )

    assert (400, "bad_request") == error_of(answer)
    assert message in message_of(answer)


def test_head_speaks_nothing(page: Page) -> None:
    """HEAD gets the headers of GET without a length, and the service gets no request."""
    with Inworld("a2V5OnNlY3JldA==", base_url="http://127.0.0.1:9") as iw:
        answer = page.call(lambda r: web.stream_response(r, iw.tts, "Hello."), "HEAD")

    assert (200, b"") == (answer.status, answer.body)
    assert "audio/mpeg" == answer.headers["Content-Type"]
    assert "Content-Length" not in answer.headers


def test_range_is_ignored(iw: Inworld, page: Page) -> None:
    """A request for a part of the speech gets the whole speech."""
    whole = page.call(lambda r: web.stream_response(r, iw.tts, "Hello."))
    part = page.call(
        lambda r: web.stream_response(r, iw.tts, "Hello."), headers={"Range": "bytes=0-1"}
    )

    assert (200, "none") == (part.status, part.headers["Accept-Ranges"])
    assert whole.body == part.body


def test_a_name_that_is_too_long(page: Page) -> None:
    """A long name is refused, because a huge message would end the connection of other speeches."""
    with Inworld("a2V5OnNlY3JldA==", base_url="http://127.0.0.1:9") as iw:
        answer = page.call(lambda r: web.stream_response(r, iw.tts, "Hello.", voice="x" * 257))

    assert (400, "bad_request") == error_of(answer)
    assert "voice may have at most 256 characters, got 257" == message_of(answer)


def test_an_unknown_voice(iw: Inworld, page: Page) -> None:
    answer = page.call(lambda r: web.stream_response(r, iw.tts, "Hello.", voice="Nobody"))

    assert (400, "bad_request") == error_of(answer)
    assert "Nobody" in message_of(answer)


@pytest.mark.parametrize("setting", [{"language": ["x"]}, {"voice": ""}, {"model": 3}])
def test_a_wrong_setting(iw: Inworld, page: Page, setting) -> None:
    """If the client refuses a setting, the status is 400."""
    answer = page.call(lambda r: web.stream_response(r, iw.tts, "Hello.", **setting))

    assert (400, "bad_request") == error_of(answer)


def test_a_wrong_key(iw: Inworld, page: Page, caplog: pytest.LogCaptureFixture) -> None:
    """If the service refuses the API key, the status is 500. The browser gets no details."""
    with Inworld("aGlkZGVuLXNlY3JldDpoaWRkZW4=", base_url=iw.options.base_url) as wrong:
        answer = page.call(lambda r: web.stream_response(r, wrong.tts, "Hello."))

    assert (500, "server_error") == error_of(answer)
    assert "the server has no access to the speech service" == message_of(answer)
    assert "aGlk" not in caplog.text
    assert 1 == caplog.text.count("AuthError")


def test_a_service_that_is_down(page: Page) -> None:
    with Inworld("a2V5OnNlY3JldA==", base_url="http://127.0.0.1:9", max_retries=0) as iw:
        answer = page.call(lambda r: web.stream_response(r, iw.tts, "Hello."))

    assert (502, "service_failed") == error_of(answer)


def test_a_silent_service(page: Page) -> None:
    with scripted(Service.until_left, max_retries=0) as iw:
        answer = page.call(lambda r: web.stream_response(r, iw.tts, "Hello.", timeout=0.3))

    assert (504, "timeout") == error_of(answer)


def test_no_audio(page: Page) -> None:
    """If the service ends a text without audio, the status is 502."""

    def script(service: Service) -> None:
        service.closed(service.until("close_context"))
        service.until_left()

    with scripted(script, max_retries=0) as iw:
        answer = page.call(lambda r: web.stream_response(r, iw.tts, "Hello."))

    assert (502, "service_failed") == error_of(answer)


def test_all_places_in_use(web_server: Emulator, page: Page) -> None:
    """
    If no place becomes free in time, the status is 503, and Retry-After says when to try again.
    """
    limiter = ConnectionLimiter(1)
    assert limiter.acquire(0)
    key, url = web_server.api_key, web_server.url
    with Inworld(key, base_url=url, limiter=limiter) as busy:
        answer = page.call(lambda r: web.stream_response(r, busy.tts, "Hello.", timeout=0.1))
        limiter.release()
        later = page.call(lambda r: web.stream_response(r, busy.tts, "Hello."))

    assert (503, "busy") == error_of(answer)
    assert "5" == answer.headers["Retry-After"]
    assert 200 == later.status


def test_a_closed_client(iw: Inworld, page: Page) -> None:
    """If the client is closed, the status is 503."""
    tts = iw.tts
    iw.close()
    answer = page.call(lambda r: web.stream_response(r, tts, "Hello."))

    assert (503, "unavailable") == error_of(answer)


STATUSES = [
    (errors.QuotaError("x", code=8), 503, "busy", "5"),
    (errors.QuotaError("x", status=429, retry_after=2.2), 503, "busy", "3"),
    (errors.QuotaError("x", retry_after=float("inf")), 503, "busy", "86400"),
    (errors.QuotaError("x", retry_after=float("nan")), 503, "busy", "5"),
    (errors.ServiceError("x", code=14), 503, "unavailable", "5"),
    (errors.ServiceError("x", status=503, retry_after=9), 503, "unavailable", "9"),
    (errors.ServiceError("x", code=13), 502, "service_failed", None),
    (errors.InvalidRequestError("x", code=3), 400, "bad_request", None),
    (errors.NotFoundError("x", code=5), 400, "bad_request", None),
    (errors.AuthError("x", code=16), 500, "server_error", None),
    (errors.DeadlineExceeded("x"), 504, "timeout", None),
    (errors.ConnectError("x"), 502, "service_failed", None),
    (errors.ConnectionLost("x"), 502, "service_failed", None),
    (errors.RemoteProtocolError("x"), 502, "service_failed", None),
    (errors.ConfigError("x"), 400, "bad_request", None),
    (errors.ClosedError("x"), 503, "unavailable", "5"),
    (errors.DeviceError("x"), 500, "server_error", None),
]


@pytest.mark.parametrize(("error", "status", "code", "retry_after"), STATUSES)
def test_the_status_of_an_error(
    page: Page, error, status: int, code: str, retry_after: str | None, caplog
) -> None:
    """
    Each error has one status. Errors of the server are logged once. Errors of a browser are not
    logged.
    """
    answer = page.call(lambda request: web.error_response(request, error))

    assert (status, code) == error_of(answer)
    assert retry_after == answer.headers.get("Retry-After")
    assert int(status >= 500) == len(caplog.records)
    assert (message_of(answer) == "x") == (status < 500)


def test_long_message(page: Page) -> None:
    answer = page.call(lambda request: web.error_response(request, errors.ConfigError("x" * 999)))

    assert "x" * 300 == message_of(answer)


@pytest.mark.parametrize("value", [0, -1, True, 1.5, None])
def test_a_wrong_limit_is_an_error_of_the_program(iw: Inworld, page: Page, value) -> None:
    with page.request() as request, pytest.raises(ConfigError, match="max_characters must be"):
        web.stream_response(request, iw.tts, "Hello.", max_characters=value)


def test_a_wrong_format_is_an_error_of_the_program(iw: Inworld, page: Page) -> None:
    with (
        page.request() as request,
        pytest.raises(ConfigError, match=r"'opus': the service"),
    ):
        web.stream_response(request, iw.tts, "Hello.", format="opus")


def test_closing_frees_the_place(page: Page) -> None:
    """If a browser leaves, its place becomes free. So seven browsers can use one place in turn."""

    def script(service: Service) -> None:
        while True:
            service.audio(service.until("send_text"), b"\1\2")
            service.closed(service.until("cancel_context"))

    options = {"limiter": ConnectionLimiter(1), "sends_cancel_context": True}
    with scripted(script, **options) as iw:
        for _ in range(7):
            with page.request() as request:
                response = web.stream_response(request, iw.tts, "Hello.", timeout=20)
            response.close()

            assert 200 == response.status_code


def test_the_client_instead_of_its_tts(iw: Inworld, page: Page) -> None:
    with page.request() as request, pytest.raises(ConfigError, match=r"tts must be iw.tts .*, got"):
        web.stream_response(request, iw, "Hello.")
    with pytest.raises(ConfigError, match=r"tts must be iw.tts .*, got Inworld"):
        web.Utterances(iw)


def test_another_framework(iw: Inworld) -> None:
    with pytest.raises(ConfigError, match=r"request must be flask.request, or .*, got dict"):
        web.stream_response({}, iw.tts, "Hello.")


@pytest.mark.parametrize("has_begun", [False, True])
def test_closing_stops_the_synthesis(page: Page, has_begun: bool) -> None:
    """If the server closes the response, the utterance is cancelled."""
    cancelled = threading.Event()

    def script(service: Service) -> None:
        context_id = service.until("send_text")
        service.audio(context_id, b"\1\2")
        assert context_id == service.until("cancel_context")
        cancelled.set()
        service.until_left()

    with scripted(script, sends_cancel_context=True) as iw, page.request() as request:
        response = web.stream_response(request, iw.tts, "Hello.")
        if has_begun:
            assert b"\1\2" == next(page.blocks(response))
        response.close()
        assert cancelled.wait(30)
