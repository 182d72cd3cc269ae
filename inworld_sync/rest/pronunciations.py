"""Lists, gets, creates, updates and deletes pronunciation dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from inworld_sync.errors import ConfigError, RemoteProtocolError
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.pronunciations import Pronunciation, PronunciationDictionary
from inworld_sync.rest.advice import explained
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient
from inworld_sync.transport.urls import quote_part
from inworld_sync.wire.codec import JsonObject, object_in
from inworld_sync.wire.faults import text_in
from inworld_sync.wire.voices import objects_in

__all__ = ["Pronunciations"]

_PATH: Final = "/pronunciations/v1"
# Source: the service's reference. The service returns at most five dictionaries on a page.
_PAGE_SIZE: Final = 5
_MAX_PAGES: Final = 500
_MAX_WORDS: Final = 1000
_MAX_NAME_CHARACTERS: Final = 64


class Pronunciations:
    """
    The pronunciation dictionaries of a workspace. Programs use this object as
    ``iw.pronunciations``.

    Each *timeout* is the largest number of seconds for the whole call, retries and all pages
    included. A call that changes something is sent once; only an attempt that could not connect is
    repeated.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    def list(
        self, workspace: str, *, timeout: float | None = 30.0
    ) -> list[PronunciationDictionary]:
        """
        Return all dictionaries of a workspace.

        Args:
            workspace: The id of the workspace, without ``workspaces/``.
            timeout: The largest number of seconds for the whole list.

        Raises:
            ConfigError: *workspace* is not an id.
            ServiceError: The service refused the request.
        """
        path = _collection(workspace)
        deadline = Deadline(timeout, "listing the dictionaries")
        query = {"pageSize": str(_PAGE_SIZE)}
        found: list[PronunciationDictionary] = []
        seen: set[str] = set()
        for _ in range(_MAX_PAGES):
            page = self._call("GET", path, deadline, query=query)
            found += map(_read, objects_in(page, "pronunciationDictionaries"))
            token = text_in(page, "nextPageToken")
            if not token:
                return found
            if token in seen:
                raise RemoteProtocolError("the service sent the same page of dictionaries twice")
            seen.add(token)
            query["pageToken"] = token
        raise RemoteProtocolError(
            f"expected at most {_MAX_PAGES} pages of dictionaries, the service announced more"
        )

    def get(self, dictionary: str, *, timeout: float | None = 10.0) -> PronunciationDictionary:
        """
        Return the dictionary whose id is *dictionary*. The result has the present etag.

        Args:
            dictionary: The id, such as ``workspaces/w/pronunciationDictionaries/u``.
            timeout: The largest number of seconds for the call.

        Raises:
            ConfigError: *dictionary* is not the id of a dictionary.
            NotFoundError: No dictionary has this id.
        """
        deadline = Deadline(timeout, "getting the dictionary")
        return _read(self._call("GET", _resource(dictionary), deadline))

    @with_keyword_hints
    def create(
        self,
        workspace: str,
        *,
        name: str,
        pronunciations: Sequence[Pronunciation],
        timeout: float | None = 30.0,
    ) -> PronunciationDictionary:
        """
        Make a dictionary. The service checks all words; if one word is wrong, the service refuses
        the dictionary.

        Args:
            workspace: The id of the workspace, without ``workspaces/``.
            name: The name that people see, at most 64 characters.
            pronunciations: At most 1000 words; a word may occur once for each language.
            timeout: The largest number of seconds for the call.

        Raises:
            ConfigError: An argument is wrong; nothing was sent.
            InvalidRequestError: The service refuses a word; the error names the word.
            TransportError: The request failed; the error says if the request may have arrived.
        """
        body = {"displayName": _name(name), "pronunciations": _words(pronunciations)}
        advice = (
            f"the service may or may not have made the dictionary: look for {name!r} in "
            "iw.pronunciations.list() before you create it again"
        )
        deadline = Deadline(timeout, "creating the dictionary")
        return _read(self._call("POST", _collection(workspace), deadline, body, advice))

    @with_keyword_hints
    def update(
        self,
        dictionary: PronunciationDictionary,
        *,
        name: str | None = None,
        pronunciations: Sequence[Pronunciation] | None = None,
        timeout: float | None = 30.0,
    ) -> PronunciationDictionary:
        """
        Change the name or replace all words of a dictionary.

        Args:
            dictionary: The dictionary as :meth:`get` or another call returned it; its etag must be
                the latest.
            name: The new name; None keeps the present name.
            pronunciations: All new words; None keeps the present words.
            timeout: The largest number of seconds for the call.

        Returns:
            The dictionary with its changes and its new etag.

        Raises:
            ConfigError: There is no change, or an argument is wrong; nothing was sent.
            ServiceError: The status 409 means that another client has changed the dictionary. Get
                the dictionary again.
            TransportError: The request failed; the error says if the request may have arrived.
        """
        fields: dict[str, object] = {}
        if name is not None:
            fields["displayName"] = _name(name)
        if pronunciations is not None:
            fields["pronunciations"] = _words(pronunciations)
        if not fields:
            raise ConfigError("update needs at least one of name and pronunciations")
        known = _known(dictionary)
        body = {"name": known.id, "etag": known.etag, **fields}
        advice = f"the change may or may not be made: see iw.pronunciations.get({known.id!r})"
        deadline = Deadline(timeout, "updating the dictionary")
        query = {"updateMask": ",".join(fields)}
        path = _resource(known.id)
        return _read(self._call("PATCH", path, deadline, body, advice, query))

    def delete(self, dictionary: PronunciationDictionary, *, timeout: float | None = 30.0) -> None:
        """
        Delete a dictionary.

        Args:
            dictionary: The dictionary as :meth:`get` or another call returned it; its etag must be
                the latest.
            timeout: The largest number of seconds for the call.

        Raises:
            NotFoundError: No dictionary has this id.
            ServiceError: The status 409 means that another client has changed the dictionary. Get
                the dictionary again.
            TransportError: The request failed; the error says if the request may have arrived.
        """
        known = _known(dictionary)
        advice = (
            f"the dictionary may or may not be deleted: see iw.pronunciations.get({known.id!r})"
        )
        deadline = Deadline(timeout, "deleting the dictionary")
        query = {"etag": known.etag}
        self._call("DELETE", _resource(known.id), deadline, None, advice, query)

    def _call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        body: Mapping[str, object] | None = None,
        advice: str = "",
        query: Mapping[str, str] | None = None,
    ) -> JsonObject:
        with explained(advice):
            answer = self._http.request(method, path, json=body, query=query, deadline=deadline)
            return {} if method == "DELETE" else object_in(answer.json(), "the dictionary")


def _collection(workspace: object) -> str:
    if not isinstance(workspace, str) or not workspace or "/" in workspace:
        raise ConfigError(
            f"workspace must be the id of a workspace, without workspaces/, got {workspace!r:.100}"
        )
    return f"{_PATH}/workspaces/{quote_part('workspace', workspace)}/pronunciationDictionaries"


def _resource(dictionary: object) -> str:
    parts = dictionary.split("/") if isinstance(dictionary, str) else []
    is_id = len(parts) == 4 and parts[::2] == ["workspaces", "pronunciationDictionaries"]
    if not is_id or any(part in ("", ".", "..") for part in parts):
        raise ConfigError(
            "dictionary must be an id such as workspaces/w/pronunciationDictionaries/u, got "
            f"{dictionary!r:.100}"
        )
    return "/".join([_PATH, *(quote_part("dictionary", part) for part in parts)])


def _known(dictionary: object) -> PronunciationDictionary:
    if not isinstance(dictionary, PronunciationDictionary):
        raise ConfigError(
            "dictionary must be a PronunciationDictionary, as iw.pronunciations.get() returns it, "
            f"got {dictionary!r:.100}"
        )
    return dictionary


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_NAME_CHARACTERS:
        raise ConfigError(
            f"name must have 1 to {_MAX_NAME_CHARACTERS} characters, got {value!r:.100}"
        )
    return value


def _words(pronunciations: object) -> list[dict[str, object]]:
    if isinstance(pronunciations, str) or not isinstance(pronunciations, Sequence):
        raise ConfigError(
            f"pronunciations must be a list of Pronunciation, got {type(pronunciations).__name__}"
        )
    if len(pronunciations) > _MAX_WORDS:
        raise ConfigError(
            f"pronunciations must have at most {_MAX_WORDS} words, got {len(pronunciations)}"
        )
    rows: list[dict[str, object]] = []
    for each in pronunciations:
        if not isinstance(each, Pronunciation):
            raise ConfigError(
                f"pronunciations must be a list of Pronunciation, got one {type(each).__name__}"
            )
        rows.append(
            {
                "displayHeadword": each.word,
                "languageCode": each.language,
                "phoneSymbols": [*each.phones],
            }
        )
    return rows


def _read(body: JsonObject) -> PronunciationDictionary:
    dictionary = text_in(body, "name")
    if not dictionary:
        raise RemoteProtocolError("expected a dictionary with a name")
    words = []
    for row in objects_in(body, "pronunciations"):
        phones = row.get("phoneSymbols")
        try:
            words.append(
                Pronunciation(
                    text_in(row, "displayHeadword"),
                    tuple(map(str, phones)) if isinstance(phones, list) else (),
                    text_in(row, "languageCode"),
                )
            )
        except ConfigError as error:
            raise RemoteProtocolError(f"cannot read a word of the dictionary: {error}") from error
    return PronunciationDictionary(
        dictionary, text_in(body, "displayName"), tuple(words), text_in(body, "etag")
    )
