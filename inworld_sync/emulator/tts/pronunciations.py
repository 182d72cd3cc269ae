"""
Serves pronunciation dictionaries over HTTP. The emulator checks and stores dictionaries, but the
speech does not use the dictionaries.

Source: the service's reference of pronunciation dictionaries, and its examples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from inworld_sync.emulator import fields
from inworld_sync.emulator.dictionary_store import Dictionary
from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.protojson import read_body
from inworld_sync.emulator.routes import HttpRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import INVALID_ARGUMENT, Malformed, Refused

__all__ = ["ROUTES"]

_BASE: Final = "/pronunciations/v1/"
_PATH: Final = f"{_BASE}workspaces/*/pronunciationDictionaries"
_MAX_PAGE: Final = 5
_MAX_WORDS: Final = 1000
_MAX_WORD_CHARACTERS: Final = 128
_MAX_PHONES: Final = 64
_MAX_PHONE_CHARACTERS: Final = 8
_MAX_NAME_CHARACTERS: Final = 64
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?-([A-Z]{2}|\d{3})")


def _list(request: Request, shared: SharedState) -> Response:
    try:
        size = int(request.query_value("pagesize") or 0) or _MAX_PAGE
        start = int(request.query_value("pagetoken") or 0)
    except ValueError:
        size = start = -1
    if size < 0 or start < 0:
        raise Refused(INVALID_ARGUMENT, "invalid pageSize or pageToken")
    found = shared.dictionaries.of(_name(request))
    end = start + min(size, _MAX_PAGE)
    return Response.of_json(
        {
            "pronunciationDictionaries": [_described(each) for each in found[start:end]],
            "nextPageToken": str(end) if end < len(found) else "",
        }
    )


def _get(request: Request, shared: SharedState) -> Response:
    return Response.of_json(_described(shared.dictionaries.require(_name(request))))


def _create(request: Request, shared: SharedState) -> Response:
    body = _body(request)
    made = shared.dictionaries.add(_name(request), _display_name(body), _words(body))
    return Response.of_json(_described(made))


def _update(request: Request, shared: SharedState) -> Response:
    body = _body(request)
    mask = (request.query_value("updatemask") or "displayName,pronunciations").split(",")
    changes: dict[str, object] = {}
    if "displayName" in mask:
        changes["display_name"] = _display_name(body)
    if "pronunciations" in mask:
        changes["words"] = _words(body)
    changed = shared.dictionaries.update(_name(request), _text(body, "etag"), changes)
    return Response.of_json(_described(changed))


def _delete(request: Request, shared: SharedState) -> Response:
    shared.dictionaries.delete(_name(request), request.query_value("etag") or "")
    return Response.of_json({})


ROUTES: Final = (
    HttpRoute(method="GET", path=_PATH, handler=_list),
    HttpRoute(method="POST", path=_PATH, handler=_create),
    HttpRoute(method="GET", path=f"{_PATH}/*", handler=_get),
    HttpRoute(method="PATCH", path=f"{_PATH}/*", handler=_update),
    HttpRoute(method="DELETE", path=f"{_PATH}/*", handler=_delete),
)


def _name(request: Request) -> str:
    return request.path.removeprefix(_BASE)


def _body(request: Request) -> Mapping[str, object]:
    body = read_body(request)
    if not isinstance(body, dict):
        raise Refused(INVALID_ARGUMENT, "the body must be a JSON object")
    return body


def _text(body: Mapping[str, object], name: str) -> str:
    try:
        return fields.text(body, name)
    except Malformed:
        raise Refused(INVALID_ARGUMENT, f"invalid value for {name}") from None


def _display_name(body: Mapping[str, object]) -> str:
    name = _text(body, "displayName")
    if not name.strip() or len(name) > _MAX_NAME_CHARACTERS:
        message = f"display_name must have 1 to {_MAX_NAME_CHARACTERS} characters"
        raise Refused(INVALID_ARGUMENT, message)
    return name


def _words(body: Mapping[str, object]) -> tuple[Mapping[str, object], ...]:
    rows = body.get("pronunciations") or []
    if not isinstance(rows, list) or len(rows) > _MAX_WORDS:
        message = f"pronunciations must be an array of at most {_MAX_WORDS} words"
        raise Refused(INVALID_ARGUMENT, message)
    known: set[tuple[str, str]] = set()
    for number, row in enumerate(rows):
        where = f"pronunciation_dictionary.pronunciations[{number}]"
        if not isinstance(row, dict):
            raise Refused(INVALID_ARGUMENT, f"{where} must be an object")
        word, language = _text(row, "displayHeadword"), _text(row, "languageCode")
        if len(word.split()) != 1 or len(word) > _MAX_WORD_CHARACTERS:
            raise Refused(INVALID_ARGUMENT, f"{where}.display_headword must be one word")
        if not _LANGUAGE.fullmatch(language):
            raise Refused(INVALID_ARGUMENT, f"{where}.language_code must be a tag such as en-US")
        if (word.casefold(), language) in known:
            raise Refused(INVALID_ARGUMENT, f"{where} repeats a word")
        known.add((word.casefold(), language))
        _check_phones(row.get("phoneSymbols"), where)
    return tuple(rows)


def _check_phones(phones: object, where: str) -> None:
    if not isinstance(phones, list) or not 1 <= len(phones) <= _MAX_PHONES:
        message = f"{where}.phone_symbols must have 1 to {_MAX_PHONES} phones"
        raise Refused(INVALID_ARGUMENT, message)
    for number, phone in enumerate(phones):
        is_phone = isinstance(phone, str) and 1 <= len(phone) <= _MAX_PHONE_CHARACTERS
        if not is_phone or "/" in phone or phone != phone.strip():
            raise Refused(INVALID_ARGUMENT, f"{where}.phone_symbols[{number}] is not a phone")


def _described(dictionary: Dictionary) -> dict[str, object]:
    return {
        "name": dictionary.name,
        "displayName": dictionary.display_name,
        "pronunciations": list(dictionary.words),
        "etag": dictionary.etag,
    }
