"""On every instruction set, base64 has the results of the standard library and RFC 4648."""

from __future__ import annotations

import base64 as stdlib
import binascii
import json
import random
from array import array
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from inworld_sync.audio import base64
from inworld_sync.errors import AudioError

VECTORS = json.loads(Path(__file__, "../../vectors/base64_rfc4648.json").resolve().read_text())
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
# The longest texts run the unrolled loop, the single steps and the tail of the widest kernel.
LENGTHS = [*range(301), 767, 768, 769, 1535, 1536, 1537, 3000]

ANY_LEVEL = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize(("plain", "text"), VECTORS)
def test_rfc_vectors(plain: str, text: str) -> None:
    """The test vectors of RFC 4648 are encoded and decoded correctly."""
    assert text.encode() == base64.encode(plain.encode())
    assert plain.encode() == base64.decode(text)


@pytest.mark.usefixtures("level")
def test_encode_every_length() -> None:
    """Data of every length is encoded to the same text as in the standard library."""
    expected = [stdlib.b64encode(noise(size)) for size in LENGTHS]

    assert expected == [base64.encode(noise(size)) for size in LENGTHS]


@pytest.mark.usefixtures("level")
def test_decode_every_length() -> None:
    """Text of every length is decoded to the original bytes."""
    expected = [noise(size) for size in LENGTHS]

    assert expected == [base64.decode(stdlib.b64encode(noise(size))) for size in LENGTHS]


@pytest.mark.usefixtures("level")
def test_every_bad_byte_at_each_place() -> None:
    """A byte outside the alphabet raises an error with the position of the byte."""
    size = 344
    text = bytearray(stdlib.b64encode(noise(size * 3 // 4)))
    bad_bytes = sorted(set(range(256)) - set(ALPHABET) - set(b"="))
    wrong = []
    for place in range(size):
        good = text[place]
        for bad in bad_bytes:
            text[place] = bad
            try:
                base64.decode(text)
            except AudioError as error:
                if error.offset_bytes == place:
                    continue
            wrong.append((place, bad))
        text[place] = good

    assert wrong == []


@pytest.mark.usefixtures("level")
def test_padding_before_the_end() -> None:
    """One '=' before the last two characters raises an error with the position of the '='."""
    places = range(342)
    found = []
    for place in places:
        text = bytearray(b"A" * 344)
        text[place] = ord("=")
        with pytest.raises(AudioError, match="padding") as caught:
            base64.decode(text)
        found.append(caught.value.offset_bytes)

    assert list(places) == found


# (text, offset of the error, words of the message): impossible lengths, and padding that is
# missing, too long, without data, or followed by data. Each text is tested alone and after 96 valid
# characters.
BAD_ENDS = [
    ("A", 1, "ends inside"),
    ("AA", 2, "ends inside"),
    ("AAA", 3, "ends inside"),
    ("AA=", 2, "padding"),
    ("AAA=A", 3, "padding"),
    ("AA==A", 2, "padding"),
    ("AA==AAAA", 2, "padding"),
    ("AAA=AAAA", 3, "padding"),
    ("AAAA=", 4, "padding"),
    ("AAAA==", 4, "padding"),
    ("AAAA===", 4, "padding"),
    ("AAAA====", 4, "padding"),
    ("=", 0, "padding"),
    ("==", 0, "padding"),
    ("====", 0, "padding"),
    ("A===", 1, "padding"),
    ("AA=A", 2, "padding"),
    ("A=AA", 1, "padding"),
    ("A==A", 1, "padding"),
    ("=AAA", 0, "padding"),
    ("A\nAA", 1, "outside"),
    ("AAAA\n", 4, "outside"),
    ("AAAA\r\n", 4, "outside"),
    (" AAAA", 0, "outside"),
    ("AA==\n", 2, "padding"),
    ("AA-_", 2, "outside"),
    ("AA\0=", 2, "outside"),
    ("A-==", 1, "outside"),
    ("-A==", 0, "outside"),
    ("AA-=", 2, "outside"),
]


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("before", ["", "A" * 96])
@pytest.mark.parametrize(("text", "offset", "words"), BAD_ENDS)
def test_bad_ends(text: str, offset: int, words: str, before: str) -> None:
    """A text with a wrong end raises an error with the position of the first error."""
    with pytest.raises(AudioError, match=words) as caught:
        base64.decode(before + text)

    assert len(before) + offset == caught.value.offset_bytes


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize(("padding", "step"), [("=", 4), ("==", 16)])
def test_unused_bits(padding: str, step: int) -> None:
    """If the last character before the padding has unused bits set, an error is raised."""
    expected = [chr(character) for character in ALPHABET[::step]]
    accepted = []
    for character in ALPHABET.decode():
        try:
            base64.decode("A" * (3 - len(padding)) + character + padding)
        except AudioError as error:
            assert "bits" in str(error)  # noqa: PT017
        else:
            accepted.append(character)

    assert expected == accepted


@pytest.mark.usefixtures("level")
@ANY_LEVEL
@given(st.binary(max_size=2000))
def test_round_trip(data: bytes) -> None:
    """Decoding an encoded text returns the original bytes."""
    assert data == base64.decode(base64.encode(data))


@pytest.mark.usefixtures("level")
@ANY_LEVEL
@given(st.text(st.sampled_from([*ALPHABET.decode(), "=", "-", "\n", " "]), max_size=120))
def test_accepts_only_texts_of_an_encoder(text: str) -> None:
    """A text is accepted only if encoding the decoded bytes returns the same text."""
    try:
        loose = stdlib.b64decode(text, validate=False)
        canonical = stdlib.b64encode(loose).decode() == text
    except binascii.Error:
        canonical = False
    try:
        strict = base64.decode(text)
    except AudioError:
        assert not canonical
    else:
        assert (canonical, loose) == (True, strict)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("shift", range(1, 9))
def test_any_alignment(shift: int) -> None:
    """Input and output may begin at any memory address."""
    data = noise(700)
    text = stdlib.b64encode(data)
    out = bytearray(len(text) + shift)

    written = base64.decode_into(memoryview(bytes(shift) + text)[shift:], memoryview(out)[shift:])
    assert (700, data) == (written, out[shift : shift + 700])

    written = base64.encode_into(memoryview(bytes(shift) + data)[shift:], memoryview(out)[shift:])
    assert (len(text), text) == (written, out[shift:])


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("size", range((16 << 10) - 4, (16 << 10) + 200, 7))
def test_long_texts_at_any_place_of_a_cache_line(size: int) -> None:
    """A long text is written correctly at any memory address, and no byte around it changes."""
    plain, around = noise(size), 64
    expected = stdlib.b64encode(plain)
    for shift in range(0, 68, 3):
        out = bytearray(b"\xa5" * (len(expected) + shift + around))
        with memoryview(out)[shift : shift + len(expected)] as place:
            assert len(expected) == base64.encode_into(plain, place)

        assert out == b"\xa5" * shift + expected + b"\xa5" * around


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("size", LENGTHS[::7])
def test_into_leaves_the_following_bytes(size: int) -> None:
    """The bytes of the buffer after the result are unchanged."""
    data = noise(size)
    text = stdlib.b64encode(data)
    behind = b"\xa5" * 200

    out = bytearray(behind * 20)
    assert size == base64.decode_into(text, out)
    assert out == data + (behind * 20)[size:]

    out = bytearray(behind * 20)
    assert len(text) == base64.encode_into(data, out)
    assert out == text + (behind * 20)[len(text) :]


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("size", [1, 2, 3, 47, 48, 49, 300])
def test_too_small_a_buffer(size: int) -> None:
    """A buffer that is one byte too small raises an error and is not changed."""
    data = noise(size)
    text = stdlib.b64encode(data)
    small = bytearray(size - 1)
    with pytest.raises(AudioError, match=f"got a buffer of {size - 1}"):
        base64.decode_into(text, small)
    assert small == bytearray(size - 1)

    small = bytearray(len(text) - 1)
    with pytest.raises(AudioError, match=f"needs {len(text)} bytes"):
        base64.encode_into(data, small)
    assert small == bytearray(len(text) - 1)


def test_exact_room() -> None:
    """A buffer of exactly the decoded size is enough, with and without padding."""
    for size in range(100):
        out = bytearray(size)
        base64.decode_into(stdlib.b64encode(noise(size)), out)

        assert noise(size) == out


def test_large_buffers() -> None:
    """A megabyte is encoded and decoded with the same results as in the standard library."""
    data = noise(1_000_003)

    assert stdlib.b64encode(data) == base64.encode(data)
    assert data == base64.decode(stdlib.b64encode(data))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda text: array("B", text)])
def test_accepts_any_buffer(kind: type) -> None:
    """The text may be a str or any object with a buffer."""
    assert b"\0\0\0" == base64.decode(kind(b"AAAA")) == base64.decode("AAAA")
    assert base64.encode(kind(b"\0\0\0")) == b"AAAA"


def test_refuses_text_beyond_ascii() -> None:
    """A character that is not ASCII raises an error with its position."""
    with pytest.raises(AudioError, match="got 'é' at offset 3") as caught:
        base64.decode("AAAé")

    assert caught.value.offset_bytes == 3


def test_refuses_scattered_memory() -> None:
    """A memoryview with gaps raises an error."""
    with pytest.raises(AudioError, match="contiguous buffer, got memoryview"):
        base64.decode(memoryview(b"AAAAAAAA")[::2])


def test_refuses_read_only_output() -> None:
    """An output buffer that is not writable raises an error."""
    with pytest.raises(AudioError, match="writable contiguous buffer, got bytes"):
        base64.decode_into("AAAA", bytes(3))


def test_error_frees_the_buffers() -> None:
    """After an error, the buffers can be resized, even while the exception still exists."""
    text, out = bytearray(b"A-=="), bytearray(10)
    with pytest.raises(AudioError) as caught:
        base64.decode_into(text, out)
    text.clear()
    out.clear()

    assert caught.value.offset_bytes == 1


def test_error_shows_no_audio() -> None:
    """The message of an error shows no part of the text."""
    with pytest.raises(AudioError) as caught:
        base64.decode("c2VjcmV0-")

    assert "c2Vj" not in str(caught.value)
