"""Stores the pronunciation dictionaries that clients have made."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping

import attrs

from inworld_sync.emulator.status import ABORTED, NOT_FOUND, RESOURCE_EXHAUSTED, Refused

__all__ = ["Dictionary", "DictionaryStore"]


@attrs.frozen
class Dictionary:
    """
    A dictionary. Each change makes a new object.

    Attributes:
        name: The id of the dictionary.
        display_name: The name that people see.
        words: The words, as the client sent them.
        etag: The version of the dictionary.
    """

    name: str
    display_name: str
    words: tuple[Mapping[str, object], ...]
    etag: str = attrs.field(factory=lambda: uuid.uuid4().hex)


class DictionaryStore:
    """
    Stores the dictionaries of one server.

    Args:
        limit: The largest number of dictionaries that may exist.

    Thread safety: any thread may use this object; one lock guards the table.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._table: dict[str, Dictionary] = {}

    def of(self, collection: str) -> list[Dictionary]:
        """Return the dictionaries whose names begin with the name of a collection."""
        with self._lock:
            found = list(self._table.values())
        return [each for each in found if each.name.startswith(f"{collection}/")]

    def require(self, name: str) -> Dictionary:
        """Return the dictionary with this name, or raise Refused."""
        found = self._table.get(name)
        if found is None:
            raise Refused(NOT_FOUND, f"pronunciation dictionary {name} not found")
        return found

    def add(
        self, collection: str, display_name: str, words: tuple[Mapping[str, object], ...]
    ) -> Dictionary:
        """Add a dictionary under a new name."""
        made = Dictionary(f"{collection}/{uuid.uuid4()}", display_name, words)
        with self._lock:
            if len(self._table) >= self._limit:
                message = f"the workspace has {self._limit} dictionaries, which is its limit"
                raise Refused(RESOURCE_EXHAUSTED, message, http_status=429)
            self._table[made.name] = made
        return made

    def update(self, name: str, etag: str, changes: Mapping[str, object]) -> Dictionary:
        """Change fields of a dictionary, and give it a new etag. *etag* is its present etag."""
        with self._lock:
            known = self._current(name, etag)
            changed = attrs.evolve(known, etag=uuid.uuid4().hex, **changes)  # type: ignore[arg-type]
            self._table[name] = changed
        return changed

    def delete(self, name: str, etag: str) -> None:
        """Remove a dictionary. *etag* is its present etag."""
        with self._lock:
            self._current(name, etag)
            del self._table[name]

    def _current(self, name: str, etag: str) -> Dictionary:
        known = self.require(name)
        if etag != known.etag:
            raise Refused(ABORTED, "the etag is not that of the latest version")
        return known
