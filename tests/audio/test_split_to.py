"""A message's audio straight into a playout: what two steps would put there, in one."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from inworld_sync.audio.playout import Playout
from inworld_sync.audio.playout_events import PushResult
from inworld_sync.audio.split import Splitter
from inworld_sync.errors import ClosedError

from support.playing import PER_MS, RATE_HZ, counting

AUDIO = "result.chunk.audio"
ID = "result.id"


def message(pcm: bytes, item: str = "a", **more: object) -> bytes:
    """A message with so much audio."""
    text = base64.b64encode(pcm).decode()
    return json.dumps({"result": {"chunk": {"audio": text}, "id": item, **more}}).encode()


@pytest.fixture
def splitter() -> Splitter:
    return Splitter(AUDIO, ID)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("input_format", ["s16", "f32"])
def test_every_length_arrives(splitter: Splitter, input_format: str) -> None:
    """Audio of any length comes out of the playout sample for sample."""
    playout = Playout(RATE_HZ, input_format=input_format, time_scaling=False)
    lengths = [*range(1, 200), 4000, 1, 3071, 3072, 3073]
    done = 0
    for length in lengths:
        found = splitter.split_to(playout, message(counting(done, length)), item="a")
        assert found is not None
        assert (PushResult.ACCEPTED, 2 * length, (b"a",)) == (
            found.result,
            found.size_bytes,
            found.picks,
        )
        assert json.loads(found.rest) == {"result": {"chunk": {"audio": ""}, "id": "a"}}
        done += length
    playout.end("a")
    out = bytearray(2 * done)
    for start in range(0, len(out), 320):
        playout.read(memoryview(out)[start : start + 320])

    assert counting(0, done) == out


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.binary(max_size=400), st.booleans()), max_size=12),
    st.sampled_from([1, 2]),
)
def test_it_is_split_and_push(pieces: list[tuple[bytes, bool]], channels: int) -> None:
    """Whatever messages come, with cut frames among them, nothing differs from two steps."""
    splitter = Splitter(AUDIO, ID)
    direct, copied = (Playout(RATE_HZ, channels, capacity_ms=30) for _ in range(2))
    for pcm, end in pieces:
        text = message(pcm, more=["x"])
        found = splitter.split_to(direct, text, item="a", end=end)
        split = splitter.split(text)
        assert split is not None
        if len(pcm) % (2 * channels):
            assert found is None
            continue
        assert found is not None
        assert copied.push(split.audio or b"", item="a", end=end) is found.result
        assert (split.rest, split.picks) == (found.rest, found.picks)
    outs = [np.zeros((40 * PER_MS, channels), np.int16) for _ in range(2)]
    for playout, out in zip((direct, copied), outs, strict=True):
        playout.read(out, now_ns=0)

    assert np.array_equal(*outs)
    assert direct.stats().received_frames == copied.stats().received_frames


# A name that is asked for, and whether a message of item "a" has it.
NAMES = [(b"a", True), (b"b", False), (b"", False), (b"aa", False), (b"a\x01", False)]


@pytest.mark.parametrize(("name", "is_its"), NAMES)
def test_only_messages_of_a_name(splitter: Splitter, name: bytes, is_its: bool) -> None:
    """Where a name is asked for, a message of another one is told apart and not pushed."""
    playout = Playout(RATE_HZ)
    found = splitter.split_to(playout, message(counting(0, 160)), item="x", name=name)

    assert found is not None
    assert found.result is (PushResult.ACCEPTED if is_its else None)
    assert found.picks == (b"a",)
    assert playout.stats().received_frames == 160 * is_its


def test_a_message_without_a_name(splitter: Splitter) -> None:
    """Where nothing stands at the first pick, it is not the name that is asked for."""
    playout = Playout(RATE_HZ)
    nameless = json.dumps({"result": {"chunk": {"audio": "AAAA" * 2}}}).encode()
    for name in (b"a", b"\x02", b""):
        found = splitter.split_to(playout, nameless, name=name)
        assert found is not None
        assert found.result is None
    alone = Splitter(AUDIO).split_to(playout, nameless, name=b"a")
    assert alone is not None
    assert alone.result is None

    assert playout.stats().received_frames == 0


def test_a_full_playout_takes_nothing(splitter: Splitter) -> None:
    """What does not fit is refused as a whole, and fits later."""
    playout = Playout(RATE_HZ, capacity_ms=20)
    text = message(counting(0, 15 * PER_MS))
    results = [splitter.split_to(playout, text) for _ in range(2)]
    playout.end()
    playout.read(bytearray(2 * 10 * PER_MS))
    again = splitter.split_to(playout, text, item="next")

    assert [PushResult.ACCEPTED, PushResult.FULL] == [one and one.result for one in results]
    assert again is not None
    assert again.result is PushResult.ACCEPTED


def test_a_cleared_item_takes_nothing(splitter: Splitter) -> None:
    """What comes late for a cleared item is stale."""
    playout = Playout(RATE_HZ)
    splitter.split_to(playout, message(counting(0, 1600)), item="a")
    playout.clear()
    found = splitter.split_to(playout, message(counting(0, 1600)), item="a")

    assert found is not None
    assert found.result is PushResult.STALE


# Messages that leave the playout as it was, and whether the message was understood.
NOTHING = [
    (b'{"result":{"id":"c1"}}', True),
    (b'{"result":{"id":"c1","chunk":{"audio":null}}}', True),
    (b'{"result":{"chunk":{"audio":"AA\\u0041A"}}}', False),
    (b'{"result":{"chunk":{"audio":"AAAA"}', False),
    (b'{"result":{"chunk":{"audio":"AAA"}}}', False),
    (b'{"result":{"chunk":{"audio":"AA=="}}}', False),
    (b"", False),
]


@pytest.mark.parametrize(("text", "understood"), NOTHING)
def test_nothing_is_pushed(splitter: Splitter, text: bytes, understood: bool) -> None:
    """Without audio, or with audio that only others can read, nothing happens to the playout."""
    playout = Playout(RATE_HZ)
    found = splitter.split_to(playout, text)

    assert understood == (found is not None)
    assert found is None or found.result is None
    assert playout.stats().received_frames == 0


def test_a_closed_playout(splitter: Splitter) -> None:
    """The error is that of any push."""
    playout = Playout(RATE_HZ)
    playout.close()

    with pytest.raises(ClosedError, match="the playout is closed"):
        splitter.split_to(playout, message(bytes(2)))
