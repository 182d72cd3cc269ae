"""After errors and expired sessions, an STT stream has lost no word and repeated no word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inworld_sync import (
    AuthError,
    DeadlineExceeded,
    InvalidRequestError,
    Inworld,
    Reconnected,
    ServiceError,
    Transcript,
)
from inworld_sync.sessions.stt import delivery
from inworld_sync.wire.stt_turns import SttEvent

from support.scripted_stt import SttConnectionScript, stt_server
from support.spoken_words import spoken_turns

PCM, SAID = spoken_turns(2, 3, 1)

MOMENTS = [
    ("config", 1),
    ("chunk", 5),
    ("partial", 2),
    ("partial", 4),
    ("final", 1),
    ("final", 2),
    ("final_sent", 1),
    ("final_sent", 3),
    ("endTurn", 1),
    ("closeStream", 1),
    ("usage", 1),
]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the waits before a reconnect short."""
    monkeypatch.setattr(delivery, "_FIRST_DELAY_SECONDS", 0.01)


def details(**fields: str) -> list[dict[str, str]]:
    return [{"@type": "InworldStatus", **fields}]


def error(connection: SttConnectionScript, code: int, rows: list[dict[str, str]]) -> None:
    """Report an error of the connection, and stay silent."""
    connection.send({"error": {"code": code, "message": "the session is over", "details": rows}})
    connection.until_left()


def status(connection: SttConnectionScript, code: int, rows: list[dict[str, str]]) -> None:
    """Report an error status, and stay silent."""
    fields = {"code": code, "message": "the session is over", "details": rows}
    connection.send({"result": {"status": fields}})
    connection.until_left()


def status_with_final(connection: SttConnectionScript, code: int, rows: list[Any]) -> None:
    """Report an error status with a wrong final transcript, and stay silent."""
    said = {"transcription": {"transcript": "wrong", "isFinal": True}}
    fields = {"code": code, "message": "the session is over", "details": rows}
    connection.send({"result": {**said, "status": fields}})
    connection.until_left()


def error_and_close(connection: SttConnectionScript, code: int, rows: list[dict[str, str]]) -> None:
    connection.send({"error": {"code": code, "message": "the session is over", "details": rows}})
    connection.send_close(1000)


# Ends of a connection after which the stream reconnects.
ENDS: dict[str, Callable[[SttConnectionScript], None]] = {
    "expired": lambda c: error(c, 5, details(errorType="SESSION_EXPIRED")),
    "expired status": lambda c: status(c, 9, details(errorType="AUDIO_SESSION_EXPIRED")),
    "immediate": lambda c: error(c, 10, details(reconnectType="IMMEDIATE")),
    "expired and closed": lambda c: error_and_close(c, 16, details(errorType="SESSION_EXPIRED")),
    "unavailable": lambda c: status(c, 14, []),
    "with a final": lambda c: status_with_final(c, 13, []),
    "going away": lambda c: c.send_close(1001),
}


def struck(
    moment: str, nth: int, end: Callable[[SttConnectionScript], None], *, always: bool = False
) -> Callable[[SttConnectionScript, str], None]:
    def hook(connection: SttConnectionScript, name: str) -> None:
        is_struck = always or connection.number == 1
        if is_struck and (name, connection.counts[name]) == (moment, nth):
            end(connection)

    return hook


def transcribe(iw: Inworld) -> tuple[Transcript, list[SttEvent]]:
    with iw.stt.stream(max_chunks_per_second=2000) as stream:
        stream.send(PCM)
        stream.end_turn()
        transcript = stream.close()
    return transcript, list(stream)


@pytest.mark.parametrize(("moment", "nth"), MOMENTS)
@pytest.mark.parametrize("end", ENDS)
def test_reconnect(moment: str, nth: int, end: str) -> None:
    """The audio that no final transcript covers is sent again on another connection."""
    with stt_server(struck(moment, nth, ENDS[end])) as (iw, server):
        transcript, events = transcribe(iw)

    assert SAID == transcript.text
    assert 2 == len(server.connections)
    assert 1 == len([event for event in events if isinstance(event, Reconnected)])


FORBIDDEN = [{"errorType": "SESSION_EXPIRED", "reconnectType": "NO_RETRY"}]

# (report, code, details, class of the error) of errors that would occur again after a reconnect.
LASTING: list[tuple[Callable[..., None], int, list[dict[str, str]], type[ServiceError]]] = [
    (status, 3, [], InvalidRequestError),
    (status_with_final, 3, [], InvalidRequestError),
    (status, 7, [], AuthError),
    (status, 16, FORBIDDEN, AuthError),
    (error_and_close, 5, FORBIDDEN, ServiceError),
]


@pytest.mark.parametrize(("report", "code", "rows", "kind"), LASTING)
def test_lasting_error(
    report: Callable[..., None], code: int, rows: list[dict[str, str]], kind: type[ServiceError]
) -> None:
    """A lasting error ends the stream. The error has the finished turns and the remaining audio."""
    hook = struck("partial", 4, lambda connection: report(connection, code, rows))
    with stt_server(hook) as (iw, server):
        with pytest.raises(kind, match="the session is over") as caught:
            transcribe(iw)
        assert 1 == len(server.connections)
    left = caught.value.partial

    assert code == caught.value.code
    assert "w1 w2" == left.transcript.text  # type: ignore[union-attr]
    assert PCM.endswith(left.pcm)  # type: ignore[union-attr]


def test_every_session_expires() -> None:
    """If every session expires immediately, the stream raises an error after all attempts."""
    hook = struck("chunk", 1, ENDS["expired"], always=True)
    with stt_server(hook) as (iw, server):
        with pytest.raises(ServiceError, match="the session is over") as caught:
            with iw.stt.stream(max_chunks_per_second=2000, max_reconnects=2) as stream:
                stream.send(PCM)
                stream.close()
        assert 3 == len(server.connections)

    assert PCM == caught.value.partial.pcm  # type: ignore[union-attr]


def test_fault_without_a_close() -> None:
    """If a service reports an error and sends no more, the timeout error names the first error."""
    hook = struck("final", 2, lambda connection: error(connection, 13, []))
    with stt_server(hook) as (iw, _):
        stream = iw.stt.stream(max_chunks_per_second=2000)
        stream.send(PCM)
        with pytest.raises(DeadlineExceeded) as caught:
            stream.close(timeout=0.3)

    assert "w1 w2" == caught.value.partial.transcript.text  # type: ignore[union-attr]
    assert "; the service had reported: the session is over (code 13)" in str(caught.value)
    assert isinstance(caught.value.__cause__, ServiceError)
