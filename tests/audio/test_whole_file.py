"""Files that are replaced only when the new content is complete."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from inworld_sync.audio.whole_file import WholeFile


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_is_replaced_when_complete(tmp_path: Path) -> None:
    """The new file replaces the old file at the end of the with block."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with WholeFile(path) as file:
        file.write(b"new")
        file.flush()
        assert b"old" == path.read_bytes()

    assert (b"new", ["a.wav"]) == (path.read_bytes(), names(tmp_path))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    """After an error or Ctrl-C, the old file is unchanged and no other file is left."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with pytest.raises(error), WholeFile(path) as file:
        file.write(b"new")
        raise error

    assert (b"old", ["a.wav"]) == (path.read_bytes(), names(tmp_path))


def test_the_partial_file_is_kept(tmp_path: Path) -> None:
    """With keeps_partial, the partial file is kept. Its name has the suffix of the format."""
    path = tmp_path / "a.wav"
    whole = WholeFile(path, keeps_partial=True)
    with pytest.raises(ValueError, match="broken"), whole as file:
        file.write(b"half")
        raise ValueError("broken")

    assert whole.partial_path is not None
    assert [whole.partial_path.name] == names(tmp_path)
    assert whole.partial_path.name.startswith("a.partial-")
    assert (".wav", b"half") == (whole.partial_path.suffix, whole.partial_path.read_bytes())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device exists on Linux only")
def test_a_full_disk(tmp_path: Path) -> None:
    """The error of a write names the path that the caller has passed."""
    link = tmp_path / "a.wav"
    link.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"a\.wav") as raised, WholeFile(link) as file:
        file.write(b"new")
        file.flush()

    assert errno.ENOSPC == raised.value.errno


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    """The error names the path that the caller has passed, not the path of the partial file."""
    path = tmp_path / "none" / "a.wav"
    with pytest.raises(FileNotFoundError) as raised:
        WholeFile(path)

    assert str(path) == raised.value.filename
    assert str(raised.value).endswith(f"{str(path)!r}")


@pytest.mark.skipif(os.name != "posix", reason="named pipes are POSIX")
def test_a_pipe_is_written_directly(tmp_path: Path) -> None:
    """Bytes for a named pipe are written to the pipe. No file replaces the pipe."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    with WholeFile(path) as file:
        file.write(b"new")
    reader.join(30)

    assert ([b"new"], True) == (received, path.is_fifo())


@pytest.mark.skipif(os.name != "posix", reason="permissions and links are POSIX")
def test_permissions_and_links(tmp_path: Path) -> None:
    """The new file has the permissions of the old file. A symbolic link is not replaced."""
    path, link = tmp_path / "a.wav", tmp_path / "link.wav"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    with WholeFile(link) as file:
        file.write(b"new")

    assert (b"new", 0o640) == (path.read_bytes(), path.stat().st_mode & 0o777)
    assert link.is_symlink()


def test_two_writers_at_once(tmp_path: Path) -> None:
    """If two writers use one path, the file has only the bytes of the writer that closes last."""
    path = tmp_path / "a.wav"
    with WholeFile(path) as first, WholeFile(path) as second:
        first.write(b"first" * 1000)
        second.write(b"second")

    assert (b"first" * 1000, ["a.wav"]) == (path.read_bytes(), names(tmp_path))
