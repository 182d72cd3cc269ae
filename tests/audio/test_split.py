"""Audio in JSON messages: the splitter returns the same result as a JSON parser."""

from __future__ import annotations

import base64
import json
import struct

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from inworld_sync import _native
from inworld_sync.audio.split import Splitter
from inworld_sync.errors import AudioError, ConfigError

from support.guarded import GuardedBytes

AUDIO = "result.chunk.audio"
PICKS = ("result.id", "result.status.code", "type")

pytestmark = pytest.mark.usefixtures("level")


def slowly(message: bytes) -> tuple[bytes | None, object, list[object]]:
    """Parse a message with json. Return the audio, the other values, and the values at PICKS."""
    value = json.loads(message)

    def at(path: str) -> object:
        found = value
        for key in path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return found

    text = at(AUDIO)
    picks = [at(path) for path in PICKS]
    if isinstance(text, str):
        value["result"]["chunk"]["audio"] = ""
        return base64.b64decode(text, validate=True), value, picks
    return None, value, picks


def around(text: str) -> bytes:
    """Return a message that has *text* at the path of the audio."""
    return json.dumps({"result": {"chunk": {"audio": text}}}).encode()


def agrees(splitter: Splitter, message: bytes) -> bool:
    """Return whether the splitter could read the message. Fail if a result is wrong."""
    found = splitter.split(message)
    if found is None:
        return False
    audio, rest, picks = slowly(message)

    assert audio == found.audio
    assert rest == json.loads(found.rest)
    for expected, pick in zip(picks, found.picks, strict=True):
        if pick is not None:
            assert expected == (pick.decode() if isinstance(expected, str) else json.loads(pick))
        else:
            assert expected is None or isinstance(expected, (str, dict, list))
    return True


A = base64.b64encode(bytes(range(30))).decode()

# Messages that the splitter reads. They differ in the order of keys, in white space, in keys of the
# same name in other objects, in the value at the path, and in escapes of other strings. @ stands
# for the audio.
TAKEN = [
    '{"result":{"id":"c1","chunk":{"audio":"@","usage":null},"status":{"code":0}}}',
    '{"result":{"status":{"code":-12},"chunk":{"usage":{},"audio":"@"},"id":"c1"},"type":"t"}',
    ' {\n "result" : { "chunk" : { "audio" : "@" } , "id" : "x" } }\r\n\t',
    '{"audio":"AAAA","chunk":{"audio":"AAAA"},"result":{"audio":"AAAA","chunk":{"audio":"@"}}}',
    '{"result":{"chunk":{"x":{"audio":"AAAA"},"audio":"@"}}}',
    '{"result":{"chunk":{"audio":""}}}',
    '{"result":{"chunk":{"audio":"AA=="}}}',
    '{"result":{"chunk":{"audio":"AAA="}}}',
    '{"result":{"chunk":{"audio":null}}}',
    '{"result":{"chunk":{"audio":17}}}',
    '{"result":{"chunk":{"audio":["AAAA"]}}}',
    '{"result":{"chunk":null}}',
    '{"result":{"chunk":[{"audio":"AAAA"}]}}',
    '{"result":"chunk"}',
    "{}",
    '{"type":"a\\"b","x":"\\\\","result":{"id":{"a":"}"},"chunk":{"audio":"@"}}}',
    '{"x":"\\u0061\\\\\\"{[","result":{"chunk":{"audio":"@"},"id":true}}',
    '{"type":1e5,"result":{"id":"ä€😀","chunk":{"audio":"@"}}}',
]

# Messages that need a JSON parser, each for another reason.
LEFT = [
    '{"result":{"chunk":{"audio":"AA\\u003d\\u003d"}}}',
    '{"result":{"chunk":{"audio":"AA\\/A"}}}',
    '{"result":{"chunk":{"audio":"AAAA\\nAAAA"}}}',
    '{"res\\u0075lt":{"chunk":{"audio":"AAAA"}}}',
    '{"result":{"chunk":{"audio":"AAAA"}},"result":{}}',
    '{"result":{},"result":{"chunk":{"audio":"AAAA"}}}',
    '{"result":{"chunk":{"audio":"AAAA","audio":"BBBB"}}}',
    '{"result":{"id":1,"id":2}}',
    '{"result":{"chunk":{"audio":"AAA"}}}',
    '{"result":{"chunk":{"audio":"AAAA===="}}}',
    '{"result":{"chunk":{"audio":"AA-_"}}}',
    '{"result":{"chunk":{"audio":"AA A"}}}',
    '{"result":{"chunk":{"audio":"AAAA"}}} x',
    '{"result":{"chunk":{"audio":"AAAA"}}',
    '{"result":{"chunk":{"audio":"AAAA"',
    '{"result":{"chunk":{"audio":"AAAA',
    '["result"]',
    "",
    "null",
    '{"result"}',
    '{"result":}',
    "{1:2}",
    '{"x":"a control\x01character","result":{"chunk":{"audio":"AAAA"}}}',
    '{"x":"\x00","result":{"id":"a"}}',
]


@pytest.mark.parametrize("message", TAKEN)
def test_messages_that_the_splitter_reads(message: str) -> None:
    """The splitter returns the same result as a JSON parser for a plain message."""
    assert agrees(Splitter(AUDIO, *PICKS), message.replace("@", A).encode())


@pytest.mark.parametrize("message", LEFT)
def test_messages_that_need_a_parser(message: str) -> None:
    """The splitter returns None for a message that needs a JSON parser."""
    assert Splitter(AUDIO, *PICKS).split(message.encode()) is None


@pytest.mark.parametrize("message", TAKEN)
def test_every_cut_message_needs_a_parser(message: str) -> None:
    """The splitter returns None for a cut message, and reads no byte after the message."""
    splitter = Splitter(AUDIO, *PICKS)
    text = message.rstrip().replace("@", A).encode()
    guarded = GuardedBytes(len(text))
    for size in range(len(text)):
        cut = _native.ffi.buffer(guarded.at_end(size), size)
        cut[:] = text[:size]
        assert splitter.split(cut) is None
    guarded.close()


_scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
_values = st.recursive(
    _scalars | st.just(A),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["result", "chunk", "audio", "id", "status", "code", "type", "x"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(st.sampled_from(["result", "chunk", "type", "x"]), _values, max_size=4),
    st.binary(max_size=400),
    st.booleans(),
    st.sampled_from([None, 0, 1]),
)
def test_any_message(message: dict, audio: bytes, is_ascii: bool, indent: int | None) -> None:
    """For any message, the splitter returns None or the same result as a JSON parser."""
    result = message.setdefault("result", {})
    if isinstance(result, dict):
        chunk = result.setdefault("chunk", {})
        if isinstance(chunk, dict):
            chunk["audio"] = base64.b64encode(audio).decode()
    try:
        slowly(json.dumps(message).encode())
    except ValueError:
        return  # the text at the path of the audio is not base64

    agrees(
        Splitter(AUDIO, *PICKS),
        json.dumps(message, ensure_ascii=is_ascii, indent=indent).encode("utf-8", "surrogatepass"),
    )


@pytest.mark.parametrize("size", [*range(130), 3071, 3072, 3073, 4096, 6144, 100_001])
def test_every_length(size: int) -> None:
    """Audio of any length is complete, even if it is longer than a block of the conversion."""
    audio = bytes(index * 7 % 251 for index in range(size))
    message = around(base64.b64encode(audio).decode())
    splitter = Splitter(AUDIO)
    out, floats = bytearray(size), bytearray(2 * size)

    assert splitter.split(message).audio == audio
    assert splitter.split_into(message, out) == size
    assert audio == out
    if size % 2:
        assert splitter.split_into(message, floats, floats=True) is None
        return
    assert splitter.split_into(message, floats, floats=True) == 2 * size
    samples = struct.unpack(f"<{size // 2}h", audio)
    assert [sample / 32768 for sample in samples] == list(struct.unpack(f"<{size // 2}f", floats))


def test_padding_ends_the_text_of_floats() -> None:
    """If text follows the padding, the splitter returns None, even if the padding ends a block."""
    text = base64.b64encode(bytes(3070)).decode()
    assert text.endswith("==")
    message = around(text + "AAAA")

    assert Splitter(AUDIO).split_into(message, bytearray(10_000), floats=True) is None


@pytest.mark.parametrize("floats", [False, True])
def test_too_small_a_buffer(floats: bool) -> None:
    """A buffer that is too small for the audio raises an error. The audio is not cut."""
    message = around(base64.b64encode(bytes(600)).decode())

    with pytest.raises(AudioError, match="does not fit into the buffer"):
        Splitter(AUDIO).split_into(message, bytearray(100), floats=floats)


def test_accepts_any_buffer() -> None:
    """A message may be a memoryview."""
    message = TAKEN[0].replace("@", A).encode()

    assert Splitter(AUDIO).split(message) == Splitter(AUDIO).split(memoryview(bytearray(message)))


@pytest.mark.parametrize(
    "paths", [["a"] * 13, ["a.b.c.d.e.f.g"], [""], ["a..b"], ["x" * 600], ["a\0b"], ["é"]]
)
def test_refused_paths(paths: list[str]) -> None:
    """Paths that exceed the limits of the core raise an error with these limits."""
    with pytest.raises(ConfigError, match="up to 12 ASCII paths of up to 6 keys"):
        Splitter(*paths)
