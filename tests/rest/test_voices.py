"""The list of voices has the voices of all pages. Pages that cannot be read raise errors."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from inworld_sync import DeadlineExceeded, Inworld, RemoteProtocolError, Voice
from inworld_sync.rest import voices
from inworld_sync.transport.deadline import Deadline

from support.peers import Peer, serve
from support.scripted import KEY


@contextmanager
def pages(*answers: object) -> Iterator[tuple[Inworld, list[dict[str, list[str]]]]]:
    """Yield a client of a server with these answers. The server repeats the last answer."""
    queries: list[dict[str, list[str]]] = []

    def answer(peer: Peer) -> None:
        while True:
            head = peer.read_head().decode()
            queries.append(parse_qs(urlsplit(head.split()[1]).query))
            body = json.dumps(answers[min(len(queries), len(answers)) - 1]).encode()
            peer.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )

    with (
        serve(answer) as server,
        Inworld(api_key=KEY, base_url=f"http://127.0.0.1:{server.port}") as iw,
    ):
        yield iw, queries


# (JSON of the service, voice). The JSON has only required fields, all fields, older names, or
# fields of a wrong type.
VOICES = [
    ({"voiceId": "A"}, Voice("A", "A")),
    (
        {
            "voiceId": "A",
            "displayName": "Anna",
            "description": "warm",
            "languages": ["EN_US", "DE_DE"],
            "gender": "female",
            "tags": ["calm"],
            "source": "SYSTEM",
            "new": 1,
        },
        Voice("A", "Anna", "warm", ("EN_US", "DE_DE"), "female", ("calm",), "SYSTEM"),
    ),
    ({"voiceId": "A", "langCode": "EN_US", "tags": None}, Voice("A", "A", "", ("EN_US",))),
    ({"voiceId": "A", "languages": 5, "tags": {"a": 1}}, Voice("A", "A")),
    ({"voiceId": "A", "languages": True}, Voice("A", "A")),
]


@pytest.mark.parametrize(("value", "voice"), VOICES)
def test_voice(value: dict[str, object], voice: Voice) -> None:
    """A voice is read from every form of answer."""
    with pages({"voices": [value]}) as (iw, _):
        assert [voice] == iw.voices.list()


def test_all_pages() -> None:
    """Every page is requested with the token of the previous page, and with the same filter."""
    answers = [
        {"voices": [{"voiceId": "A"}], "nextPageToken": "t1"},
        {"voices": [{"voiceId": "B"}], "nextPageToken": "t2"},
        {"voices": None, "nextPageToken": ""},
    ]
    with pages(*answers) as (iw, queries):
        voices = iw.voices.list(language="EN_US")

    assert ["A", "B"] == [voice.id for voice in voices]
    assert [None, ["t1"], ["t2"]] == [query.get("pageToken") for query in queries]
    assert [["EN_US"]] * 3 == [query["languages"] for query in queries]


def test_pages_in_a_circle() -> None:
    """
    A page token that repeats raises an error.

    Otherwise the client would request the page forever.
    """
    with pages({"voices": [], "nextPageToken": "t"}) as (iw, queries):
        with pytest.raises(RemoteProtocolError, match="same page"):
            iw.voices.list()

    assert 2 == len(queries)


@pytest.mark.parametrize(
    "page", [[], {"voices": {"a": 1}}, {"voices": ["A"]}, {"voices": [{"name": "A"}]}]
)
def test_wrong_pages(page: object) -> None:
    """A page that does not have the documented form raises a protocol error."""
    with pages(page) as (iw, _), pytest.raises(RemoteProtocolError, match="expected"):
        iw.voices.list()


def test_a_voice_without_id_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """An entry that cannot be read is left out, and a warning has the count of such entries."""
    entries = [{"voiceId": "A"}, {"displayName": "Anna"}, "B", {"voiceId": 5}, {"voiceId": "C"}]
    with pages({"voices": entries}) as (iw, _):
        assert ["A", "C"] == [voice.id for voice in iw.voices.list()]

    (record,) = caplog.records
    assert "3 of 5 voices have no voiceId" in record.getMessage()


@contextmanager
def endless_pages() -> Iterator[Inworld]:
    """Yield a client of a server. Each page of this server announces another page."""
    count = itertools.count()

    def answer(peer: Peer) -> None:
        while True:
            peer.read_head()
            body = json.dumps({"voices": [], "nextPageToken": f"p{next(count)}"}).encode()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with (
        serve(answer) as server,
        Inworld(api_key=KEY, base_url=f"http://127.0.0.1:{server.port}") as iw,
    ):
        yield iw


def test_limit_of_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list with too many pages raises an error."""
    monkeypatch.setattr(voices, "_MAX_PAGES", 5)
    with endless_pages() as iw, pytest.raises(RemoteProtocolError, match="at most 5 pages"):
        iw.voices.list(timeout=30)


def test_one_timeout_for_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout is for the whole list, not for each page."""
    monkeypatch.setattr(voices, "_MAX_PAGES", 10**9)
    with endless_pages() as iw, pytest.raises(DeadlineExceeded, match="listing the voices took"):
        iw.voices.list(timeout=0.5)


def test_a_timeout_that_passes_just_before_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the timeout passes between the last check and the request, the error is the same."""
    monkeypatch.setattr(Deadline, "check", lambda _: None)
    with endless_pages() as iw, pytest.raises(DeadlineExceeded, match="listing the voices took"):
        iw.voices.list(timeout=0)
