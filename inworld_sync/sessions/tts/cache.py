"""
Stores speech on the disk, so that the same text needs no second request.

An entry is one file, which is replaced as a whole::

    inworld-speech 1
    <SHA-256 of the rest, in hexadecimal>
    {"chunks": [...]}           the chunks without their audio, as JSON
    <audio of all chunks>

The name of the file is the SHA-256 of the text, all settings and the service. An entry that is
damaged or cut off is removed and counts as missing. The modification time of the file is the time
of its last use. Several processes may use one folder, because no process changes an entry in place.

Threads: everything runs on the calling thread. There is no lock, because a forked child could not
release a lock of its parent. If two threads store entries at the same time, the estimated size of
the folder may lack one of the two entries, until the folder is measured again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from inworld_sync.audio.whole_file import WholeFile
from inworld_sync.errors import ConfigError
from inworld_sync.models.options import Options
from inworld_sync.models.tts import (
    AudioEncoding,
    CharacterTime,
    ContextConfig,
    Phoneme,
    TtsUsage,
    Viseme,
    WordTime,
)
from inworld_sync.sessions.tts.speech import AnyUtterance, AudioChunk
from inworld_sync.transport.observers import Observers

__all__ = ["CachedUtterance", "SpeechCache"]

_MAGIC = b"inworld-speech 1\n"
_DIGEST_BYTES = 64
_SUFFIX = ".speech"

# The name of the cache in traces, and the context id of chunks from the cache.
_NAME = "cache"

# When the limit is exceeded, entries are removed until only this part of the limit is used. So most
# new entries remove no other entry.
_KEPT_PART = 0.9
# After this many new entries of this process, the folder is measured again, since other processes
# add entries too.
_MEASURE_EVERY = 64
# An entry that would use a larger part of the limit is not stored.
_MAX_ENTRY_PART = 0.25


class SpeechCache:
    """
    The cache in a folder.

    Args:
        options: The settings with the folder, the limit and the service.

    Raises:
        ConfigError: Other users may read or change the folder.
        OSError: The folder cannot be created.

    Thread safety: every method may be called from any thread, and by several processes.
    """

    def __init__(self, options: Options) -> None:
        assert options.cache is not None
        self._options = options
        self._folder = _private_folder(Path(options.cache))
        self._max_bytes = options.cache_max_bytes
        self._observers = Observers(options, _NAME)
        # The size of the folder, as far as this process knows; None before the first measurement.
        self._size: int | None = None
        self._added = 0

    @property
    def max_entry_bytes(self) -> int:
        """The largest size of an entry."""
        return int(self._max_bytes * _MAX_ENTRY_PART)

    def utterance(self, text: str, utterance: AnyUtterance) -> AnyUtterance:
        """
        Return an utterance whose speech comes from the cache. If the cache does not have the
        speech, it comes from *utterance* and is stored.
        """
        return CachedUtterance(self, text, utterance)

    def path(self, text: str, config: ContextConfig) -> Path:
        """Return the path of the entry of a text."""
        facts = {"text": text, "service": self._options.service_name, **attrs.asdict(config)}
        name = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
        return self._folder / name[:2] / (name + _SUFFIX)

    def get(self, path: Path) -> list[AudioChunk] | None:
        """Return the chunks of an entry, or None if the entry is missing or damaged."""
        began = time.monotonic()
        chunks = None
        try:
            data = path.read_bytes()
            chunks = _read(data)
            os.utime(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._warn("cannot be read", path, error)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            self._warn("is damaged and is removed", path, error)
            with contextlib.suppress(OSError):
                path.unlink()
        name = "cache_miss" if chunks is None else "cache_hit"
        facts = {"bytes": sum(len(chunk.data) for chunk in chunks or ())}
        self._observers.trace(name, time.monotonic() - began, facts)
        return chunks

    def put(self, path: Path, chunks: list[AudioChunk]) -> None:
        """Store chunks. If the disk is full or fails, log a warning."""
        data = _written(chunks)
        if len(data) > self.max_entry_bytes:
            return
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with WholeFile(path) as file:
                file.write(data)
            self._make_room(len(data))
        except OSError as error:
            self._warn("cannot be written", path, error)

    def _make_room(self, added_bytes: int) -> None:
        """Remove the entries that were not used for the longest time, if the limit is exceeded."""
        self._added += 1
        if self._size is not None:
            self._size += added_bytes
            if self._size <= self._max_bytes and self._added % _MEASURE_EVERY:
                return
        entries = sorted(_entries(self._folder))
        size = sum(size_bytes for _, size_bytes, _ in entries)
        if size > self._max_bytes:
            for _, size_bytes, path in entries:
                if size <= self._max_bytes * _KEPT_PART:
                    break
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                size -= size_bytes
        self._size = size

    def _warn(self, what: str, path: Path, error: Exception) -> None:
        self._options.logger.log(
            logging.WARNING, "the cached speech %s %s: %s", path.name, what, error
        )


class CachedUtterance:
    """
    One utterance, from the cache or from the service. Complete speech of the service is stored.

    Args:
        cache: The cache of the client.
        text: The text to speak.
        utterance: Speaks the text if the cache does not have it.

    Thread safety: as for the utterance.

    Attributes:
        from_cache: Whether the speech comes from the cache; False before the iteration begins.
    """

    def __init__(self, cache: SpeechCache, text: str, utterance: AnyUtterance) -> None:
        self._cache = cache
        self._path = cache.path(text, utterance.config)
        self._utterance = utterance
        self._is_stopped = False
        self.from_cache = False

    @property
    def config(self) -> ContextConfig:
        """The settings of the utterance."""
        return self._utterance.config

    @property
    def state(self) -> str:
        """The state as text, for a repr."""
        return "from the cache" if self.from_cache else self._utterance.state

    @property
    def usage(self) -> TtsUsage:
        """The characters that the service has counted so far."""
        return self._utterance.usage

    @property
    def is_own_service(self) -> bool:
        """Whether the service of the client speaks, and not the service of a further endpoint."""
        return self._utterance.is_own_service

    @property
    def is_read_here(self) -> bool:
        """Whether the current thread is running the user's iterator of the text."""
        return self._utterance.is_read_here

    def stop(self) -> None:
        """Interrupt the utterance, and end an iteration that waits."""
        self._is_stopped = True
        self._utterance.stop()

    def chunks(self) -> Iterator[AudioChunk]:
        """Iterate over the audio."""
        kept = self._cache.get(self._path)
        if kept is not None:
            self.from_cache = True
            for chunk in kept:
                if self._is_stopped:
                    return
                yield chunk
            return
        received: list[AudioChunk] | None = []
        room = self._cache.max_entry_bytes
        for chunk in self._utterance.chunks():
            room -= len(chunk.data)
            if room < 0:
                received = None
            if received is not None:
                received.append(chunk)
            yield chunk
        # An utterance that was stopped ends without an error too, but its speech is incomplete. The
        # speech of another endpoint, such as the emulator, is not stored, because a later call
        # would return this speech as speech of the client's service.
        if received and not self._is_stopped and self._utterance.is_own_service:
            self._cache.put(self._path, received)


def _private_folder(folder: Path) -> Path:
    """Create the folder of the entries. No other user may read the folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = folder / "speech"
    own.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "geteuid"):
        mode = folder.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise ConfigError(
                f"cache must be a folder in which other users cannot replace files: run chmod o-w "
                f"{str(folder)!r}; its mode is {stat.S_IMODE(mode):o}"
            )
        found = own.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise ConfigError(
                f"cache: the folder {str(own)!r} must belong to this user, and no other user may "
                f"have access: remove this folder, or run chmod 700 if it is yours; its owner is "
                f"the user {found.st_uid}, and its mode is {found.st_mode & 0o777:o}"
            )
    return own


def _entries(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield the time of the last use, the size and the path of each file."""
    for path in folder.glob("*/*"):
        with contextlib.suppress(OSError):
            found = path.stat()
            if stat.S_ISREG(found.st_mode):
                yield found.st_mtime, found.st_size, path


_TIMES: dict[str, Any] = {
    "words": WordTime,
    "characters": CharacterTime,
    "phonemes": Phoneme,
    "visemes": Viseme,
}


def _written(chunks: list[AudioChunk]) -> bytes:
    rows = []
    for chunk in chunks:
        row: dict[str, object] = {
            "bytes": len(chunk.data),
            "encoding": chunk.encoding.value,
            "rate": chunk.sample_rate_hz,
            "start_ms": chunk.start_ms,
            "tokens": chunk.tokens,
        }
        for name in _TIMES:
            row[name] = [attrs.astuple(each) for each in getattr(chunk, name)]
        rows.append(row)
    head = json.dumps({"chunks": rows}, separators=(",", ":")).encode() + b"\n"
    rest = b"".join([head, *(chunk.data for chunk in chunks)])
    return _MAGIC + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def _read(data: bytes) -> list[AudioChunk]:
    """Read an entry; raise ValueError if it is damaged."""
    start = len(_MAGIC) + _DIGEST_BYTES + 1
    digest, rest = data[len(_MAGIC) : start - 1], memoryview(data)[start:]
    if not data.startswith(_MAGIC) or digest != hashlib.sha256(rest).hexdigest().encode():
        raise ValueError("its check sum is wrong")
    end = data.index(b"\n", start) + 1
    chunks = []
    for row in json.loads(data[start:end])["chunks"]:
        audio = data[end : end + row["bytes"]]
        end += row["bytes"]
        times: dict[str, Any] = {
            name: tuple(kind(*each) for each in row[name]) for name, kind in _TIMES.items()
        }
        chunks.append(
            AudioChunk(
                context_id=_NAME,
                data=audio,
                encoding=AudioEncoding(row["encoding"]),
                sample_rate_hz=row["rate"],
                start_ms=row["start_ms"],
                tokens=tuple(row["tokens"]),
                **times,
            )
        )
    return chunks
