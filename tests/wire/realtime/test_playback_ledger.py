"""What is cut when the assistant is interrupted: what was not heard, and no more."""

import pytest
from hypothesis import given, strategies as st

from inworld_sync.models import realtime as rt
from inworld_sync.wire.realtime.playback_ledger import PlaybackLedger

PCM = rt.PcmFormat(24000)

# (format, samples received, whole, samples heard, where it is cut or None).
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
    An item is cut at what was heard, rounded down, never beyond what was received.

    In a G.711 session the service counts at 24 kHz, so a third of the time is sent.
    """
    items = PlaybackLedger(form)
    items.receive("a1", "r1", 0, received, is_played=True)
    if is_whole:
        items.complete("a1")
    expected = [] if cut_ms is None else [rt.TruncateItem("a1", 0, cut_ms)]

    assert expected == list(items.interrupt({"a1": heard}).commands)


def test_each_item_is_counted_by_itself():
    """Of a queue of items the first is whole, the next is cut, and the last was not heard."""
    items = PlaybackLedger(PCM)
    for item_id in ("a1", "a2", "a3"):
        items.receive(item_id, "r1", 1, 12000, is_played=True)
        items.receive(item_id, "r1", 1, 12000, is_played=True)
        items.complete(item_id)

    assert [rt.TruncateItem("a2", 1, 500), rt.TruncateItem("a3", 1, 0)] == list(
        items.interrupt({"a1": 24000, "a2": 12000}).commands
    )


def test_items_heard_to_their_end():
    """An item that was heard to its end is not spoken of again."""
    items = PlaybackLedger(PCM)
    items.receive("a1", "r1", 0, 24000, is_played=True)
    items.complete("a1")
    items.forget("a1")
    items.forget("a1")

    assert (0, ()) == (len(items), items.interrupt({}).commands)


def test_a_second_interruption():
    """What was cut once is not cut again."""
    items = PlaybackLedger(PCM)
    items.receive("a1", "r1", 0, 24000, is_played=True)
    items.interrupt({"a1": 10})

    assert () == items.interrupt({"a1": 10}).commands


def test_nothing_was_said():
    """An end that comes without sound, and an interruption of silence, cut nothing."""
    items = PlaybackLedger(PCM)
    items.complete("a1")

    assert () == items.interrupt({"a1": 10}).commands


def test_audio_that_the_application_plays():
    """An item that no player of the session has is cut only where the caller says so."""
    for heard, cuts in ({}, []), ({"a1": 12000}, [rt.TruncateItem("a1", 0, 500)]):
        items = PlaybackLedger(PCM)
        items.receive("a1", "r1", 0, 24000, is_played=False)

        assert cuts == list(items.interrupt(heard).commands)


def test_what_was_heard():
    """The heard time is real time, and the share is that of what was received."""
    items = PlaybackLedger(rt.MulawFormat())
    items.receive("a1", "r1", 0, 16000, is_played=True)
    items.receive("a2", "r2", 0, 8000, is_played=True)
    cut = items.interrupt({"a1": 4000})

    assert {"a1": 500.0, "a2": 0.0} == cut.heard_ms
    assert {"a1": 0.25, "a2": 0.0} == cut.heard_share


def test_the_items_of_a_response():
    """Items are found by their response, and each is complete once."""
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
def test_never_beyond_what_came(chunks, heard, rate_hz):
    """Whatever a device claims, a cut lies within the sound and what was heard of it."""
    items = PlaybackLedger(rt.PcmFormat(rate_hz))
    for samples in chunks:
        items.receive("a1", "r1", 0, samples, is_played=True)
    (cut,) = items.interrupt({"a1": heard}).commands

    assert 0 <= cut.audio_end_ms * rate_hz <= max(0, min(heard, sum(chunks))) * 1000
