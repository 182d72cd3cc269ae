"""Tests of pronunciation dictionaries, with bad input and conflicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inworld_sync import (
    ConfigError,
    ConnectionLost,
    InvalidRequestError,
    Inworld,
    NotFoundError,
    Pronunciation,
    PronunciationDictionary,
    QuotaError,
    RemoteProtocolError,
    ServiceError,
)
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.transport.deadline import Deadline

from support.peers import Peer
from support.rest_client import answering, client_of

ID = "workspaces/w/pronunciationDictionaries/u"
CAT = Pronunciation("Cat", ["k", "æ", "t"])
ROW = {"displayHeadword": "Cat", "languageCode": "en-US", "phoneSymbols": ["k", "æ", "t"]}
ANSWER = {"name": ID, "displayName": "Names", "pronunciations": [ROW], "etag": "e1"}
KNOWN = PronunciationDictionary(ID, "Names", (CAT,), "e1")
PATH = "/pronunciations/v1/workspaces/w/pronunciationDictionaries"
OK = "200 OK"


def test_requests() -> None:
    """Each call sends its arguments, and returns the dictionary that the service sends."""
    with answering((OK, ANSWER)) as (iw, sent):
        assert KNOWN == iw.pronunciations.create("w", name="Names", pronunciations=[CAT])
        assert KNOWN == iw.pronunciations.get(ID)
        assert KNOWN == iw.pronunciations.update(KNOWN, name="Names")
        iw.pronunciations.update(KNOWN, pronunciations=[CAT], name="Other")
        iw.pronunciations.delete(KNOWN)

    assert [(each.method, each.target, each.body) for each in sent] == [
        ("POST", PATH, {"displayName": "Names", "pronunciations": [ROW]}),
        ("GET", f"{PATH}/u", {}),
        (
            "PATCH",
            f"{PATH}/u?updateMask=displayName",
            {"name": ID, "etag": "e1", "displayName": "Names"},
        ),
        (
            "PATCH",
            f"{PATH}/u?updateMask=displayName%2Cpronunciations",
            {"name": ID, "etag": "e1", "displayName": "Other", "pronunciations": [ROW]},
        ),
        ("DELETE", f"{PATH}/u?etag=e1", {}),
    ]


def test_pages() -> None:
    """All pages are requested. A page token that repeats raises an error."""
    first = {"pronunciationDictionaries": [ANSWER], "nextPageToken": "t"}
    with answering((OK, first), (OK, {"pronunciationDictionaries": [ANSWER]})) as (iw, sent):
        assert [KNOWN, KNOWN] == iw.pronunciations.list("w")
    assert [f"{PATH}?pageSize=5", f"{PATH}?pageSize=5&pageToken=t"] == [
        each.target for each in sent
    ]
    with answering((OK, first)) as (iw, sent), pytest.raises(RemoteProtocolError, match="twice"):
        iw.pronunciations.list("w")


WRONG: list[tuple[Callable[[Inworld], object], str]] = [
    (lambda iw: iw.pronunciations.list("workspaces/w"), "workspace must be the id"),
    (lambda iw: iw.pronunciations.get("u"), "dictionary must be an id such as"),
    (
        lambda iw: iw.pronunciations.get("workspaces/../pronunciationDictionaries/u"),
        "dictionary must be an id such as",
    ),
    (lambda iw: iw.pronunciations.create("w", name="", pronunciations=[]), "name must have"),
    (lambda iw: iw.pronunciations.create("w", name="x" * 65, pronunciations=[]), "1 to 64"),
    (
        lambda iw: iw.pronunciations.create("w", name="x", pronunciations="cat"),  # type: ignore[arg-type]
        "pronunciations must be a list of Pronunciation",
    ),
    (
        lambda iw: iw.pronunciations.create("w", name="x", pronunciations=[ROW]),  # type: ignore[list-item]
        "got one dict",
    ),
    (
        lambda iw: iw.pronunciations.create("w", name="x", pronunciations=[CAT] * 1001),
        "at most 1000 words, got 1001",
    ),
    (lambda iw: iw.pronunciations.list("\ud800"), "workspace must be valid Unicode"),
    (lambda iw: iw.pronunciations.list(".."), "workspace must be an id"),
    (lambda iw: iw.pronunciations.update(KNOWN), "at least one of name and pronunciations"),
    (lambda iw: iw.pronunciations.delete(ID), "must be a PronunciationDictionary"),  # type: ignore[arg-type]
    (lambda _: Pronunciation("two words", ("a",)), "word must be one word"),
    (lambda _: Pronunciation("", ("a",)), "word must be one word"),
    (lambda _: Pronunciation("x" * 129, ("a",)), "at most 128 characters"),
    (lambda _: Pronunciation("cat", "kæt"), "phones must be a list"),
    (lambda _: Pronunciation("cat", ()), "1 to 64 symbols"),
    (lambda _: Pronunciation("cat", ("a",) * 65), "1 to 64 symbols"),
    (lambda _: Pronunciation("cat", ("a",), "en"), "such as en-US"),
    (lambda _: Pronunciation("cat", ("a",), "en-us"), "such as en-US"),
]


@pytest.mark.parametrize(("call", "reason"), WRONG)
def test_wrong_arguments(call: Callable[[Inworld], object], reason: str) -> None:
    """A wrong argument raises an error before anything is sent."""
    with answering((OK, ANSWER)) as (iw, sent), pytest.raises(ConfigError, match=reason):
        call(iw)

    assert not sent


@pytest.mark.parametrize(
    "answer",
    [{}, [], {"name": ""}, {**ANSWER, "pronunciations": [{}]}, {**ANSWER, "pronunciations": 5}],
)
def test_wrong_answers(answer: object) -> None:
    """A dictionary that cannot be read raises a protocol error."""
    with answering((OK, answer)) as (iw, _), pytest.raises(RemoteProtocolError):
        iw.pronunciations.get(ID)


def test_lost_create() -> None:
    """If the connection is lost, the error says that the dictionary may exist."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.hang_up()
        raise EOFError

    with client_of(script) as iw, pytest.raises(ConnectionLost, match="look for 'Names' in"):
        iw.pronunciations.create("w", name="Names", pronunciations=[CAT])


def test_with_the_emulator(iw: Inworld) -> None:
    """Dictionaries are made, listed, changed and deleted. An old etag causes a conflict."""
    made = [
        iw.pronunciations.create("w", name=f"D{number}", pronunciations=[CAT])
        for number in range(7)
    ]
    assert made == iw.pronunciations.list("w")
    assert [] == iw.pronunciations.list("other")
    changed = iw.pronunciations.update(made[0], name="New")
    assert ("New", (CAT,)) == (changed.name, changed.pronunciations)
    assert changed == iw.pronunciations.get(made[0].id)
    assert changed.etag != made[0].etag
    for call in (
        lambda: iw.pronunciations.update(made[0], name="Late"),
        lambda: iw.pronunciations.delete(made[0]),
    ):
        with pytest.raises(ServiceError, match="etag") as caught:
            call()
        assert 409 == caught.value.status
    assert iw.tts.synthesize("Cat.", pronunciation_dictionaries=[changed.id]).data
    iw.pronunciations.delete(changed)
    with pytest.raises(NotFoundError):
        iw.pronunciations.get(changed.id)
    with pytest.raises(InvalidRequestError, match=r"pronunciations\[1\] repeats a word"):
        iw.pronunciations.create("w", name="D", pronunciations=[CAT, CAT])


def test_limit_of_the_emulator() -> None:
    """The emulator limits the number of dictionaries, and so its memory."""
    with (
        Emulator(settings=Settings(max_dictionaries=1)) as server,
        Inworld(server.api_key, base_url=server.url) as iw,
    ):
        iw.pronunciations.create("w", name="D", pronunciations=[])
        with pytest.raises(QuotaError) as caught:
            iw.pronunciations.create("w", name="D", pronunciations=[])

    assert 429 == caught.value.status


ROWS: list[tuple[Any, str]] = [
    (5, "array"),
    ([5], r"\[0\] must be an object"),
    ([{**ROW, "displayHeadword": "a b"}], "display_headword"),
    ([{**ROW, "displayHeadword": 5}], "displayHeadword"),
    ([{**ROW, "languageCode": "en"}], "language_code"),
    (
        [ROW, {**ROW, "displayHeadword": "b", "phoneSymbols": ["k", "/a/"]}],
        r"\[1\].phone_symbols\[1\]",
    ),
    ([{**ROW, "phoneSymbols": []}], "1 to 64 phones"),
]


@pytest.mark.parametrize(("rows", "reason"), ROWS)
def test_refusals_of_the_emulator(iw: Inworld, rows: Any, reason: str) -> None:
    """If one word is wrong, the whole dictionary is refused. The message names the word."""
    body = {"displayName": "D", "pronunciations": rows}
    with pytest.raises(InvalidRequestError, match=reason):
        iw.pronunciations._http.request("POST", PATH, json=body, deadline=Deadline(30, "x"))
    assert [] == iw.pronunciations.list("w")
