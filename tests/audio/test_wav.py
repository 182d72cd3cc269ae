"""WAV headers in streamed chunks and in files, compared with the standard library."""

from __future__ import annotations

import errno
import gzip
import io
import os
import struct
import wave
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from inworld_sync.audio import wav
from inworld_sync.audio.source import open_recording
from inworld_sync.errors import AudioError, ClosedError

PCM = bytes(range(1, 101))


def chunk(name: bytes, body: bytes, announced: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if announced is None else announced) + body


def riff(*chunks: bytes, announced: int = 0) -> bytes:
    return b"RIFF" + struct.pack("<I", announced) + b"WAVE" + b"".join(chunks)


def fmt(form: int = 1, channels: int = 1, rate: int = 24000, bits: int = 16) -> bytes:
    frame = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", form, channels, rate, rate * frame, frame, bits))


FMT = fmt()
LIST = chunk(b"LIST", b"INFOISFT\x04\0\0\0abc\0")

# (name, chunk of the service, its samples). Some have other RIFF chunks around the samples, or
# impossible lengths.
CHUNKS = [
    ("raw", PCM, PCM),
    ("empty", b"", b""),
    ("short raw", b"RI", b"RI"),
    ("usual header", riff(FMT, chunk(b"data", PCM)), PCM),
    ("the short last chunk: 44 bytes and 5 samples", riff(FMT, chunk(b"data", PCM[:10])), PCM[:10]),
    ("header alone", riff(FMT, chunk(b"data", b"")), b""),
    ("chunk before the samples", riff(FMT, LIST, chunk(b"data", PCM)), PCM),
    ("chunk before the format", riff(LIST, FMT, chunk(b"data", PCM)), PCM),
    ("chunk behind the samples", riff(FMT, chunk(b"data", PCM), LIST), PCM),
    ("two chunks behind", riff(FMT, chunk(b"data", PCM), LIST, LIST), PCM),
    ("odd chunk with pad", riff(FMT, chunk(b"note", b"abc") + b"\0", chunk(b"data", PCM)), PCM),
    ("odd samples with pad", riff(FMT, chunk(b"data", PCM[:9]) + b"\0"), PCM[:9]),
    ("odd samples, pad, chunk", riff(FMT, chunk(b"data", PCM[:9]) + b"\0", LIST), PCM[:9]),
    ("odd chunk behind, no pad", riff(FMT, chunk(b"data", PCM), chunk(b"note", b"abc")), PCM),
    ("cut chunk behind", riff(FMT, chunk(b"data", PCM) + b"LIST\x05\0\0\0info"), None),
    ("announces 0", riff(FMT, chunk(b"data", PCM, 0)), PCM),
    ("announces 4 GiB", riff(FMT, chunk(b"data", PCM, 0xFFFFFFFF)), PCM),
    ("announces more", riff(FMT, chunk(b"data", PCM, 5000)), PCM),
    ("announces one more", riff(FMT, chunk(b"data", PCM, len(PCM) + 1)), PCM),
    ("announces less", riff(FMT, chunk(b"data", PCM, 40)), PCM),
    (
        "samples that begin like a name",
        riff(FMT, chunk(b"data", b"ab" + b"name\xff\0\0\0", 2)),
        None,
    ),
    ("no data chunk", riff(FMT, chunk(b"junk", PCM)), None),
    ("a length past the end", riff(FMT, chunk(b"junk", PCM, 5000)), None),
    ("cut inside the header", riff(FMT), b""),
    ("cut inside the format", riff(FMT)[:20], b""),
    ("RIFF of another kind", b"RIFF\0\0\0\0AVI LIST" + PCM, b"RIFF\0\0\0\0AVI LIST" + PCM),
    ("too short to tell", b"RIFF\0\0\0\0WAV", b"RIFF\0\0\0\0WAV"),
]


@pytest.mark.parametrize(("name", "data", "samples"), CHUNKS, ids=[name for name, *_ in CHUNKS])
def test_strip_riff(name: str, data: bytes, samples: bytes | None) -> None:
    """strip_riff() returns the samples of a chunk, with any header or without a header."""
    if samples is None:
        # Without a data chunk, the samples begin after 44 bytes. A wrong length is ignored.
        samples = data[44:]

    assert samples == wav.strip_riff(data), name


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_strip_riff_makes_no_copy(kind: type) -> None:
    """strip_riff() returns a view of the chunk, not a copy."""
    data = kind(riff(FMT, chunk(b"data", PCM)))
    view = wav.strip_riff(data)

    assert (data if kind is not memoryview else data.obj) is view.obj


@given(st.binary(max_size=200))
def test_strip_riff_any_bytes(data: bytes) -> None:
    """For any bytes after RIFF, the result is a part of the chunk."""
    whole = b"RIFF\0\0\0\0WAVE" + data

    assert bytes(wav.strip_riff(whole)) in whole


@given(st.lists(st.tuples(st.sampled_from([b"fmt ", b"data", b"LIST"]), st.integers(0, 2**32 - 1))))
def test_strip_riff_any_lengths(chunks: list[tuple[bytes, int]]) -> None:
    """For any lengths in the header, the result is a part of the chunk."""
    whole = riff(*(chunk(name, bytes(20), announced) for name, announced in chunks))

    assert len(wav.strip_riff(whole)) <= len(whole)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (24000, 1), (48000, 2), (1, 32767)])
def test_header(rate: int, channels: int) -> None:
    """The header is equal to the header that the standard library writes."""
    expected = io.BytesIO()
    with wave.open(expected, "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(bytes(6 * channels))

    assert expected.getvalue()[:44] == wav.header(rate, channels, 6 * channels)


def test_header_of_a_stream() -> None:
    """If the length is unknown, both lengths in the header have the largest value, 4 GiB."""
    header = wav.header(24000)

    assert (header[4:8], header[40:44]) == (b"\xff" * 4, b"\xff" * 4)
    assert len(header) == wav.HEADER_BYTES


# (rate, channels, bytes, words of the message)
BAD_HEADERS = [
    (0, 1, 0, "got 1 channels at 0 Hz"),
    (-1, 1, 0, "got 1 channels at -1 Hz"),
    (8000, 0, 0, "got 0 channels"),
    (8000, 32768, 0, "got 32768 channels"),
    (2**31, 1, 0, "less than 4 GiB per second"),
    (8000, 1, -2, "got -2"),
    (8000, 1, 2**32 - 37, "must be 0 to 4294967258"),
]


@pytest.mark.parametrize(("rate", "channels", "data_bytes", "words"), BAD_HEADERS)
def test_bad_header(rate: int, channels: int, data_bytes: int, words: str) -> None:
    """A value that does not fit into the header raises an error."""
    with pytest.raises(AudioError, match=words):
        wav.header(rate, channels, data_bytes)


def read_by_package(source: Path | io.BytesIO) -> tuple[bytes, int, int]:
    file = open_recording(source)
    return b"".join(file), file.sample_rate_hz, file.channels


def read_by_stdlib(path: Path) -> tuple[bytes, int, int]:
    with wave.open(str(path), "rb") as file:
        assert file.getsampwidth() == 2
        return file.readframes(file.getnframes()), file.getframerate(), file.getnchannels()


class FullDisk(io.BytesIO):
    """A file on a full disk."""

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


class ShortWriter(io.RawIOBase):
    """A raw file that accepts at most 30 bytes in one call."""

    data = b""

    def write(self, data: object) -> int:
        part = bytes(data)[:30]  # type: ignore[call-overload]
        self.data += part
        return len(part)


class TestWavWriter:
    """Files that WavWriter writes while the audio arrives."""

    def test_path(self, tmp_path: Path) -> None:
        """The standard library can read a file that was written to a path."""
        path = tmp_path / "a.wav"
        with wav.WavWriter(path, 24000, 2) as writer:
            writer.write(PCM[:40])
            writer.write(PCM[40:])
            assert writer.data_bytes == 100

        assert (PCM, 24000, 2) == read_by_stdlib(path) == read_by_package(path)

    def test_no_sound(self, tmp_path: Path) -> None:
        """A file without samples is valid."""
        wav.WavWriter(tmp_path / "a.wav", 8000).close()

        assert read_by_stdlib(tmp_path / "a.wav") == (b"", 8000, 1)

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
    def test_exception(self, tmp_path: Path, error: type[BaseException]) -> None:
        """After an exception or Ctrl-C, the partial file is valid and the old file is unchanged."""
        path = tmp_path / "a.wav"
        path.write_bytes(b"old")
        writer = wav.WavWriter(path, 24000)

        def record() -> None:
            with writer:
                writer.write(PCM + b"\x01")
                raise error

        with pytest.raises(error):
            record()

        assert b"old" == path.read_bytes()
        assert writer.partial_path is not None
        assert writer.partial_path.name.startswith("a.partial-")
        assert read_by_stdlib(writer.partial_path) == (PCM, 24000, 1)

    def test_failed_write(self, tmp_path: Path) -> None:
        """
        After a failed write, close() keeps the partial file. The error names the path and the
        partial file.
        """
        path = tmp_path / "a.wav"
        writer = wav.WavWriter(path, 24000)
        writer.write(PCM)
        partial = writer.partial_path
        file = FullDisk()
        writer._file, whole = file, writer._file
        with pytest.raises(OSError, match=r"No space left.*'.*a\.wav' -> '.*a\.partial-") as raised:
            writer.write(PCM)
        writer._file = whole
        writer.close()

        assert (str(path), str(partial)) == (raised.value.filename, raised.value.filename2)
        assert partial is not None
        assert read_by_stdlib(partial) == (PCM, 24000, 1)
        assert not path.exists()

    @pytest.mark.parametrize("mode", ["ab", "r+b"])
    def test_file_with_content(self, tmp_path: Path, mode: str) -> None:
        """The earlier content is kept. In append mode, the header declares an unknown length."""
        path = tmp_path / "a"
        path.write_bytes(b"before")
        with path.open(mode) as file:
            file.seek(0, 2)
            with wav.WavWriter(file, 24000) as writer:
                writer.write(PCM)

        length = None if mode == "ab" else len(PCM)
        assert b"before" + wav.header(24000, 1, length) + PCM == path.read_bytes()

    def test_gzip(self, tmp_path: Path) -> None:
        """The header in a gzip file cannot be rewritten, so it declares an unknown length."""
        with gzip.open(tmp_path / "a.gz", "wb") as file, wav.WavWriter(file, 24000) as writer:
            writer.write(PCM)

        assert wav.header(24000) + PCM == gzip.decompress((tmp_path / "a.gz").read_bytes())

    def test_short_writes(self) -> None:
        """If a raw file accepts only a part of a write, the rest is written too."""
        file = ShortWriter()
        with wav.WavWriter(file, 24000) as writer:  # type: ignore[arg-type]
            writer.write(PCM)

        assert wav.header(24000) + PCM == file.data

    def test_before_close(self, tmp_path: Path) -> None:
        """A file can be read while it is being written, or after its writer was killed."""
        path = tmp_path / "a.wav"
        with path.open("wb", buffering=0) as file:
            writer = wav.WavWriter(file, 24000)
            writer.write(PCM)

            assert read_by_package(path) == (PCM, 24000, 1)

    def test_interrupted_write(self, tmp_path: Path) -> None:
        """If a write was interrupted, the cut frame at the end of the file is removed."""
        path = tmp_path / "a.wav"
        writer = wav.WavWriter(path, 24000)
        writer.write(PCM)
        assert writer._file is not None
        writer._file.write(b"\x01\x02\x03")
        writer.close()

        assert path.stat().st_size == 44 + 102
        assert read_by_stdlib(path) == (PCM + b"\x01\x02", 24000, 1)

    def test_open_file(self) -> None:
        """A file that the caller has opened is written from its position on, and stays open."""
        file = io.BytesIO(b"before" + bytes(200))
        file.seek(6)
        with wav.WavWriter(file, 24000) as writer:
            writer.write(PCM)
        file.write(b"behind")

        assert b"before" + wav.header(24000, 1, 100) + PCM + b"behind" == file.getvalue()[:156]
        assert len(file.getvalue()) == 206

    def test_pipe(self) -> None:
        """If the output cannot seek, the header declares an unknown length."""
        receive, send = os.pipe()
        with open(receive, "rb") as reader:  # noqa: PTH123
            with open(send, "wb") as pipe, wav.WavWriter(pipe, 24000) as writer:  # noqa: PTH123
                writer.write(PCM)
            received = reader.read()

        assert wav.header(24000) + PCM == received
        assert read_by_package(io.BytesIO(received)) == (PCM, 24000, 1)

    def test_cut_between_writes(self, tmp_path: Path) -> None:
        """A frame may be divided between two calls of write()."""
        path = tmp_path / "a.wav"
        with wav.WavWriter(path, 24000, 2) as writer:
            for at in range(0, 100, 7):
                writer.write(PCM[at : at + 7])

        assert read_by_stdlib(path)[0] == PCM

    def test_cut_end(self, tmp_path: Path) -> None:
        """If audio ends inside a sample, close() raises an error. The file is valid."""
        path = tmp_path / "a.wav"
        writer = wav.WavWriter(path, 24000)
        writer.write(PCM + b"\x01")
        with pytest.raises(AudioError, match="the last sample is cut"):
            writer.close()
        writer.close()

        assert read_by_stdlib(path)[0] == PCM

    def test_closed(self, tmp_path: Path) -> None:
        """After close(), write() raises an error. close() may be called again."""
        writer = wav.WavWriter(tmp_path / "a.wav", 24000)
        writer.close()
        writer.close()
        with pytest.raises(ClosedError, match=r"write\(\) was called on a closed WavWriter"):
            writer.write(PCM)

    def test_bad_rate_makes_no_file(self, tmp_path: Path) -> None:
        """A constructor with a wrong argument creates no file."""
        with pytest.raises(AudioError, match="at 0 Hz"):
            wav.WavWriter(tmp_path / "a.wav", 0)

        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
    def test_full_disk(self) -> None:
        """If the disk is full, OSError is raised, and no file stays open."""
        with pytest.raises(OSError, match="No space left"):
            wav.WavWriter("/dev/full", 24000).close()

    def test_too_long(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file larger than the limit of the format raises an error."""
        monkeypatch.setattr(wav, "_MAX_DATA_BYTES", 150)
        path = tmp_path / "a.wav"
        with wav.WavWriter(path, 24000) as writer:
            writer.write(PCM)
            with pytest.raises(AudioError, match="up to 150 bytes of samples, got 200"):
                writer.write(PCM)

        assert read_by_stdlib(path)[0] == PCM
