"""Items are truncated when the user interrupts the assistant."""

import pytest
from hypothesis import given, strategies as st

from inworld_sync.models import realtime as rt
from inworld_sync.wire.realtime.playback_ledger import PlaybackLedger

PCM = rt.PcmFormat(24000)

# (format, received samples, whether complete, heard samples, position of the truncation or None)
CUTS = [
    (PCM, 48000, True, 24000, 1000),
    (PCM, 48000, True, 48000, None),
    (PCM, 48000, False, 48000, 2000),
    (PCM, 48000, True, 99999, None),
    (PCM, 48000, False, 99999, 2000),
    (PCM, 48000, True, 0, 0),
    (PCM, 48000, True, -5, 0),
    (PCM, 48000, True, 47999, 1999),
    (PCM, 48000, True, 23, 0),
    (PCM, 48000, True, 24, 1),
    (rt.PcmFormat(16000), 32000, True, 16000, 1000),
    (rt.PcmFormat(48000), 96000, True, 48000, 1000),
    (rt.PcmFormat(44100), 44100, True, 22050, 500),
    (rt.Float32Format(), 48000, True, 24000, 1000),
    (rt.MulawFormat(), 16000, True, 12000, 500),
    (rt.MulawFormat(), 16000, True, 8000, 333),
    (rt.AlawFormat(), 16000, False, 16000, 666),
]


@pytest.mark.parametrize(("form", "received", "is_whole", "heard", "cut_ms"), CUTS)
def test_cuts(form, received, is_whole, heard, cut_ms):
    """
    An item is truncated where the playback stopped, rounded down to a whole millisecond.

    The position is never after the end of the received audio. The service counts G.711 audio
    as if its rate were 24000 Hz, so a third of the position in ms is sent.
    """
    items = PlaybackLedger(form)
    items.receive("a1", "r1", 0, received, is_played=True)
    if is_whole:
        items.complete("a1")
    expected = [] if cut_ms is None else [rt.TruncateItem("a1", 0, cut_ms)]

    assert expected == list(items.interrupt({"a1": heard}).commands)


def test_each_item_is_counted_separately():
    """A heard item stays whole, the item that plays is cut, and an unheard item is cut to 0 ms."""
    items = PlaybackLedger(PCM)
    for item_id in ("a1", "a2", "a3"):
        items.receive(item_id, "r1", 1, 12000, is_played=True)
        items.receive(item_id, "r1", 1, 12000, is_played=True)
        items.complete(item_id)

    assert [rt.TruncateItem("a2", 1, 500), rt.TruncateItem("a3", 1, 0)] == list(
        items.interrupt({"a1": 24000, "a2": 12000}).commands
    )


def test_items_heard_to_their_end():
    """An item that was heard to its end is not truncated."""
    items = PlaybackLedger(PCM)
    items.receive("a1", "r1", 0, 24000, is_played=True)
    items.complete("a1")
    items.forget("a1")
    items.forget("a1")

    assert (0, ()) == (len(items), items.interrupt({}).commands)


def test_a_second_interruption():
    """A truncated item is not truncated again."""
    items = PlaybackLedger(PCM)
    items.receive("a1", "r1", 0, 24000, is_played=True)
    items.interrupt({"a1": 10})

    assert () == items.interrupt({"a1": 10}).commands


def test_item_without_audio():
    """An item without audio is not truncated."""
    items = PlaybackLedger(PCM)
    items.complete("a1")

    assert () == items.interrupt({"a1": 10}).commands


def test_audio_that_the_application_plays():
    """An item that the application plays is truncated only if the application gives a position."""
    for heard, cuts in ({}, []), ({"a1": 12000}, [rt.TruncateItem("a1", 0, 500)]):
        items = PlaybackLedger(PCM)
        items.receive("a1", "r1", 0, 24000, is_played=False)

        assert cuts == list(items.interrupt(heard).commands)


def test_another_player():
    """The audio that earlier players have played is counted. The next player gets later audio."""
    items = PlaybackLedger(PCM)
    for item_id in ("a1", "a2", "a3"):
        items.receive(item_id, "r1", 0, 24000, is_played=True)
    items.complete("a1")
    items.change_player({"a1": 24000, "a2": 12000, "a3": 2400})
    items.change_player({})
    for item_id in ("a2", "a3"):
        items.receive(item_id, "r1", 0, 24000, is_played=False)

    assert {"a3": 36000} == items.positions({"a2": 0, "a3": 12000, "a9": 5})
    cut = items.interrupt(items.positions({"a2": 0, "a3": 12000}))
    assert (rt.TruncateItem("a2", 0, 500), rt.TruncateItem("a3", 0, 1500)) == cut.commands


def test_a_player_that_does_not_count():
    """Items of an earlier player are not truncated if it is unknown how much was played."""
    items = PlaybackLedger(PCM)
    items.receive("a1", "r1", 0, 24000, is_played=True)
    items.change_player(None)

    assert () == items.interrupt({}).commands


def test_heard_time_and_share():
    """The heard time is in real time. The heard share is relative to the received audio."""
    items = PlaybackLedger(rt.MulawFormat())
    items.receive("a1", "r1", 0, 16000, is_played=True)
    items.receive("a2", "r2", 0, 8000, is_played=True)
    cut = items.interrupt({"a1": 4000})

    assert {"a1": 500.0, "a2": 0.0} == cut.heard_ms
    assert {"a1": 0.25, "a2": 0.0} == cut.heard_share


def test_the_items_of_a_response():
    """items_of() returns the items of a response. Only the first complete() of an item is True."""
    items = PlaybackLedger(PCM)
    items.receive("a1", "r1", 0, 10, is_played=True)
    items.receive("a2", "r2", 0, 10, is_played=True)

    assert (["a1"], ["a1", "a2"]) == (items.items_of("r1"), items.items_of())
    assert (True, False, False) == tuple(items.complete(each) for each in ("a1", "a1", "a3"))


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=5),
    st.integers(-10, 10**7),
    st.sampled_from([8000, 16000, 24000, 32000, 44100, 48000]),
)
def test_never_beyond_the_received_audio(chunks, heard, rate_hz):
    """For any heard position, the truncation is within the received and the heard audio."""
    items = PlaybackLedger(rt.PcmFormat(rate_hz))
    for samples in chunks:
        items.receive("a1", "r1", 0, samples, is_played=True)
    (cut,) = items.interrupt({"a1": heard}).commands

    assert 0 <= cut.audio_end_ms * rate_hz <= max(0, min(heard, sum(chunks))) * 1000


def test_items_that_begin_after_an_interruption_stay():
    """An interruption removes only items that had begun before the interruption."""
    items = PlaybackLedger(PCM)
    items.receive("a1", "r1", 0, 24000, is_played=True)
    begun = items.begun
    items.receive("a1", "r1", 0, 24000, is_played=True)
    items.receive("a2", "r2", 0, 24000, is_played=True)

    assert ["a1"] == list(items.interrupt({"a1": 240}, begun).heard_ms)
    assert ["a2"] == items.items_of()
    assert ["a2"] == list(items.interrupt({}).heard_ms)
