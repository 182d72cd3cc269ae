"""If a text is spoken again, its speech comes from the cache, complete and unchanged."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from inworld_sync import (
    AudioConfig,
    ConfigError,
    Endpoint,
    Inworld,
    InworldError,
    Speech,
    TraceEvent,
)
from inworld_sync.audio import whole_file
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.sessions.tts import cache as cache_module

from support.scripted import scripted
from support.spelling import SpellingSynthesizer, spelled


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(
        synthesizer=SpellingSynthesizer(samples=400), settings=Settings(chunk_ms=20)
    ) as server:
        yield server


def client(server: Emulator, folder: Path, **settings: Any) -> Inworld:
    return Inworld(api_key=server.api_key, base_url=server.url, cache=folder, **settings)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("speech/*/*"))


def without_source(speech: Speech) -> Speech:
    return attrs.evolve(speech, from_cache=False, usage=attrs.evolve(speech.usage, characters=0))


@pytest.mark.parametrize("method", ["stream", "http"])
def test_a_hit_is_the_same_speech(server: Emulator, tmp_path: Path, method: Any) -> None:
    """A hit has the same audio, words, phonemes and tokens as the first request."""
    with client(server, tmp_path) as iw:
        settings: dict[str, Any] = {"method": method, "timestamp_type": "WORD"}
        first = iw.tts.synthesize("One two. Three four.", **settings)
        again = iw.tts.synthesize("One two. Three four.", **settings)

    assert (False, True) == (first.from_cache, again.from_cache)
    assert first.words
    assert attrs.asdict(without_source(first)) | {"usage": 0} == attrs.asdict(
        without_source(again)
    ) | {"usage": 0}
    assert (20, 0) == (first.usage.characters, again.usage.characters)


def test_chunks_of_a_hit(server: Emulator, tmp_path: Path) -> None:
    """The stream of a hit has the same chunks with the same times as the first request."""

    def chunks(iw: Inworld) -> list[tuple[object, ...]]:
        with iw.tts.stream("One two three.") as stream:
            return [(bytes(c.data), c.start_ms, c.words, c.encoding) for c in stream]

    with client(server, tmp_path) as iw:
        first = chunks(iw)
        assert len(first) > 3
        assert first == chunks(iw)


def test_another_process_gets_a_hit(server: Emulator, tmp_path: Path) -> None:
    """Another process gets a hit. All emulators on this machine count as the same service."""
    with client(server, tmp_path) as iw:
        iw.tts.synthesize("One.")
    with Emulator(synthesizer=SpellingSynthesizer()) as other, client(other, tmp_path) as iw:
        assert iw.tts.synthesize("One.").from_cache


@pytest.mark.parametrize(
    "change",
    [
        {"text": "Two."},
        {"voice": "Dennis"},
        {"model": "inworld-tts-1"},
        {"audio": AudioConfig("PCM", 16000)},
        {"timestamp_type": "CHARACTER"},
        {"temperature": 0.5},
    ],
    ids=str,
)
def test_another_text_or_setting_is_a_miss(
    server: Emulator, tmp_path: Path, change: dict[str, Any]
) -> None:
    """The key of an entry includes the text and every setting."""
    with client(server, tmp_path) as iw:
        iw.tts.synthesize("One.")
        assert not iw.tts.synthesize(**{"text": "One.", **change}).from_cache
        assert iw.tts.synthesize("One.").from_cache


def test_off_by_default(server: Emulator, tmp_path: Path) -> None:
    """Without the option, nothing is kept. An iterable of pieces is never kept."""
    with Inworld(api_key=server.api_key, base_url=server.url) as iw:
        assert not iw.tts.synthesize("One.").from_cache
        assert not iw.tts.synthesize("One.").from_cache
    with client(server, tmp_path) as iw:
        assert not iw.tts.synthesize(iter(["One."])).from_cache
        assert not iw.tts.synthesize(iter(["One."])).from_cache
    assert [] == entries(tmp_path)


def test_traces(server: Emulator, tmp_path: Path) -> None:
    """Each hit and each miss emits a trace event."""
    events: list[TraceEvent] = []
    with client(server, tmp_path, on_trace=events.append) as iw:
        size = len(iw.tts.synthesize("One.").data)
        iw.tts.synthesize("One.")

    found = [(e.name, e.facts["bytes"]) for e in events if e.connection == "cache"]
    assert [("cache_miss", 0), ("cache_hit", size)] == found


def test_incomplete_speech_is_not_kept(server: Emulator, tmp_path: Path) -> None:
    """Speech that was stopped, or that ended with an error, is not kept."""
    with client(server, tmp_path) as iw:
        for _ in iw.tts.stream("One two three four five."):
            break
        with iw.tts.stream("One two three.") as stream:
            next(stream)
            stream.close()
            list(stream)
    server.faults.add("drop@3")
    with client(server, tmp_path) as iw, pytest.raises(InworldError):
        iw.tts.synthesize("One two three four five six.")

    assert [] == entries(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "cut_head", "empty", "changed", "other"])
def test_a_damaged_entry(server: Emulator, tmp_path: Path, damage: str, caplog) -> None:
    """An entry that is cut off or changed is replaced by new speech."""
    with client(server, tmp_path) as iw:
        first = iw.tts.synthesize("One two.")
        [entry] = entries(tmp_path)
        data = entry.read_bytes()
        changed = data[:-1] + bytes([data[-1] ^ 1])
        cases = {"cut": data[:-10], "cut_head": data[:30], "empty": b"", "changed": changed}
        entry.write_bytes(cases.get(damage, b"{}"))
        again = iw.tts.synthesize("One two.")
        third = iw.tts.synthesize("One two.")

    assert (False, True) == (again.from_cache, third.from_cache)
    assert first.data == again.data == third.data
    assert 1 == caplog.text.count("is damaged and is removed")


class FullDisk:
    """A file that accepts no bytes."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, _: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        self._file.close()


def test_a_full_disk(server: Emulator, tmp_path: Path, monkeypatch, caplog) -> None:
    """If the disk is full, the speech is returned, nothing is kept, and a warning is logged."""
    enter = whole_file.WholeFile.__enter__
    monkeypatch.setattr(whole_file.WholeFile, "__enter__", lambda self: FullDisk(enter(self)))
    with client(server, tmp_path) as iw:
        assert "One." == spelled(iw.tts.synthesize("One.").data, 400)

    assert [] == entries(tmp_path)
    assert 1 == caplog.text.count("cannot be written: [Errno 28]")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of files")
def test_only_this_user_may_read(server: Emulator, tmp_path: Path) -> None:
    """The folder has mode 0700. A folder that others may read is refused."""
    folder = tmp_path / "cache"
    with client(server, folder) as iw:
        iw.tts.synthesize("One.")
    for path in (folder, folder / "speech", entries(folder)[0].parent):
        assert 0o700 == stat.S_IMODE(path.stat().st_mode)
    (folder / "speech").chmod(0o750)
    with client(server, folder) as iw, pytest.raises(ConfigError, match="its mode is 750"):
        _ = iw.tts
    (folder / "speech").chmod(0o700)
    # Other users could replace `speech` if they may write to its parent folder.
    folder.chmod(0o777)
    with client(server, folder) as iw, pytest.raises(ConfigError, match=r"chmod o-w .*mode is 777"):
        _ = iw.tts
    folder.chmod(0o1777)
    with client(server, folder) as iw:
        assert iw.tts.synthesize("One.").from_cache


def test_the_limit(server: Emulator, tmp_path: Path) -> None:
    """Beyond the limit, the entries that were not used for the longest time are removed."""
    with client(server, tmp_path, cache_max_bytes=1 << 20) as iw:
        text = "word " * 60
        for number in range(8):
            iw.tts.synthesize(f"{number} {text}")
            for age, path in enumerate(sorted(entries(tmp_path), key=lambda p: -p.stat().st_mtime)):
                os.utime(path, (1e9 - age, 1e9 - age))
            # The first text is used again after each new text, so that it is never the oldest
            # entry.
            assert iw.tts.synthesize(f"0 {text}").from_cache
        size = sum(path.stat().st_size for path in entries(tmp_path))
        assert iw.tts.synthesize(f"0 {text}").from_cache
        assert not iw.tts.synthesize(f"1 {text}").from_cache

    assert size <= 1 << 20


def test_the_limit_with_a_folder_in_the_way(server: Emulator, tmp_path: Path) -> None:
    """A folder among the entries does not prevent the removal of old entries."""
    (tmp_path / "speech").mkdir(mode=0o700)
    (tmp_path / "speech" / "00" / "folder").mkdir(parents=True)
    os.utime(tmp_path / "speech" / "00" / "folder", (1, 1))
    with client(server, tmp_path, cache_max_bytes=1 << 20) as iw:
        for number in range(8):
            iw.tts.synthesize(f"{number} " + "word " * 60)

    assert sum(p.stat().st_size for p in entries(tmp_path) if p.is_file()) <= 1 << 20


def test_speech_of_another_service_is_not_kept(server: Emulator, tmp_path: Path) -> None:
    """After a failover, speech of the other service is not kept as speech of the first service."""
    dead = "http://127.0.0.1:1"
    other = Endpoint(base_url=server.url, api_key=server.api_key)
    with Inworld(
        api_key=server.api_key, base_url=dead, cache=tmp_path, failover=[other], max_retries=0
    ) as iw:
        assert "One." == spelled(iw.tts.synthesize("One.").data, 400)
        assert not iw.tts.synthesize("One.").from_cache

    assert [] == entries(tmp_path)


def test_speech_of_another_key_is_kept(server: Emulator, tmp_path: Path) -> None:
    """Speech is kept after a failover to another credential of the same service."""
    with Inworld(
        api_key="d3Jvbmc6d3Jvbmc=",
        base_url=server.url,
        cache=tmp_path,
        failover=[Endpoint(api_key=server.api_key)],
    ) as iw:
        iw.tts.synthesize("One.")
        assert iw.tts.synthesize("One.").from_cache


def test_two_writers_of_one_entry(server: Emulator, tmp_path: Path) -> None:
    """If threads and clients write one entry at the same time, one complete entry remains."""
    barrier = threading.Barrier(8)
    data: list[bytes] = []
    with client(server, tmp_path) as one, client(server, tmp_path) as two:

        def speak(iw: Inworld) -> None:
            barrier.wait(30)
            for _ in range(5):
                data.append(iw.tts.synthesize("One two three.").data)

        threads = [threading.Thread(target=speak, args=(iw,)) for iw in (one, two) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert one.tts.synthesize("One two three.").from_cache

    assert (40, 1) == (len(data), len(set(data)))
    assert 1 == len(entries(tmp_path))


def test_too_large_for_an_entry(server: Emulator, tmp_path: Path, monkeypatch) -> None:
    """Speech that would fill a large part of the cache is not kept."""
    monkeypatch.setattr(cache_module, "_MAX_ENTRY_PART", 0.001)
    with client(server, tmp_path, cache_max_bytes=1 << 20) as iw:
        iw.tts.synthesize("One two three.")

    assert [] == entries(tmp_path)


@pytest.mark.parametrize("wrong", [3, "", True])
def test_wrong_cache(wrong: Any) -> None:
    """A cache that is not a path is refused."""
    with pytest.raises(ConfigError, match="cache must be the path of a folder"):
        Inworld(api_key="k", cache=wrong)


def test_a_hit_needs_no_service(server: Emulator, tmp_path: Path) -> None:
    """A hit opens no connection."""
    with client(server, tmp_path) as iw:
        data = iw.tts.synthesize("One.").data

    def refuse(_: object) -> None:
        raise AssertionError("a connection was opened")

    with scripted(refuse, cache=tmp_path) as iw:
        assert data == iw.tts.synthesize("One.").data
