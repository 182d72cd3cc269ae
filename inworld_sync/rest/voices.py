"""Lists the voices of an account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from inworld_sync.errors import ConfigError, RemoteProtocolError
from inworld_sync.models.tts import Voice
from inworld_sync.sessions.connector import Connector
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient
from inworld_sync.wire.codec import object_in

__all__ = ["Voices"]

_PATH = "/voices/v1/voices"
_PAGE_SIZE = 200
_MAX_PAGES = 500


class Voices:
    """
    The voices of the account. Reached as ``iw.voices``.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, connector: Connector, http: HttpClient) -> None:
        self._connector = connector
        self._http = http

    def list(self, *, language: str | None = None, timeout: float = 10.0) -> list[Voice]:
        """
        Return all voices, or the voices of one language.

        Args:
            language: As the service spells it, such as ``EN_US``.
            timeout: The most seconds for the whole list, retries included.

        Raises:
            ServiceError: The service refused the request.
            TransportError: Could not connect, or the connection was lost.
        """
        return list(self._pages(language, Deadline(timeout, "listing the voices")))

    def get(self, voice: str, *, timeout: float = 10.0) -> Voice:
        """
        Return the voice with an id.

        Args:
            voice: The id.
            timeout: The most seconds for the request, retries included.

        Raises:
            ConfigError: *voice* is blank or not a str.
            NotFoundError: No voice has this id.
        """
        if not isinstance(voice, str) or not voice.strip():
            raise ConfigError(f"voice must be the id of a voice, got {voice!r}")
        deadline = Deadline(timeout, "getting the voice")
        return _voice(self._get(f"{_PATH}/{quote(voice, safe='')}", {}, deadline))

    def _pages(self, language: str | None, deadline: Deadline) -> Iterator[Voice]:
        query = {"pageSize": str(_PAGE_SIZE)}
        if language:
            query["languages"] = language
        seen: set[str] = set()
        for _ in range(_MAX_PAGES):
            page = self._get(_PATH, query, deadline)
            voices = page.get("voices") or []
            if not isinstance(voices, list):
                raise RemoteProtocolError(
                    f"expected an array as voices, got {type(voices).__name__}"
                )
            yield from map(_voice, voices)
            token = str(page.get("nextPageToken") or "")
            if not token:
                return
            if token in seen:
                raise RemoteProtocolError("the service sent the same page of voices twice")
            seen.add(token)
            query["pageToken"] = token
        raise RemoteProtocolError(
            f"expected at most {_MAX_PAGES} pages of voices, the service announced more"
        )

    def _get(self, path: str, query: Mapping[str, str], deadline: Deadline) -> Mapping[str, object]:
        answer = self._http.request("GET", path, query=query, deadline=deadline)
        return object_in(answer.json(), f"the answer to {path}")


def _voice(value: object) -> Voice:
    if not isinstance(value, dict) or not isinstance(value.get("voiceId"), str):
        raise RemoteProtocolError("expected a voice with a voiceId")
    languages = value.get("languages") or value.get("langCode")
    return Voice(
        id=value["voiceId"],
        name=str(value.get("displayName") or value["voiceId"]),
        description=str(value.get("description") or ""),
        languages=_texts([languages] if isinstance(languages, str) else languages),
        gender=str(value.get("gender") or ""),
        tags=_texts(value.get("tags")),
        source=str(value.get("source") or ""),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
