"""The text of a response has each piece once, even if several messages contain the piece."""

import json

import pytest
from hypothesis import given, strategies as st

from inworld_sync.models import realtime as rt
from inworld_sync.wire.realtime.response_text import ResponseText
from inworld_sync.wire.realtime.responses import Responses

from support.realtime_wire import read


def message(kind, item_id="a1", index=0, **fields):
    """Return a message of response r1 about a content part."""
    place = {"response_id": "r1", "item_id": item_id, "output_index": 0, "content_index": index}
    return read(json.dumps({"type": f"response.{kind}", **place, **fields}))


def text_delta(text, **place):
    return message("output_text.delta", delta=text, **place)


def text_done(text, **place):
    return message("output_text.done", text=text, **place)


def transcript_delta(text, **place):
    return message("output_audio_transcript.delta", delta=text, **place)


def part_done(text, kind="text", **place):
    field = "text" if kind == "text" else "transcript"
    return message("content_part.done", part={"type": kind, field: text}, **place)


def item_done(*texts, kind="text", item_id="a1"):
    return message("output_item.done", item=item(*texts, kind=kind, item_id=item_id))


def item(*texts, kind="text", item_id="a1"):
    field = "text" if kind == "text" else "transcript"
    content = [{"type": kind, field: text} for text in texts]
    return {"id": item_id, "type": "message", "role": "assistant", "content": content}


# name: (messages, expected pieces)
SCRIPTS = {
    "deltas": ([text_delta("Hel"), text_delta("lo")], ["Hel", "lo"]),
    "deltas and complete texts": (
        [
            text_delta("Hel"),
            text_delta("lo"),
            text_done("Hello"),
            part_done("Hello"),
            item_done("Hello"),
        ],
        ["Hel", "lo"],
    ),
    "text done only": ([text_done("Hello"), item_done("Hello")], ["Hello"]),
    "part done only": ([part_done("Hello", "audio")], ["Hello"]),
    "item done only": ([item_done("Hello", kind="audio")], ["Hello"]),
    "item completes the deltas": ([text_delta("Hel"), item_done("Hello")], ["Hel", "lo"]),
    "complete text differs": ([text_delta("Hel"), text_done("Good day")], ["Hel"]),
    "two parts, one in deltas": (
        [text_delta("One. "), part_done("Two.", index=1), item_done("One. ", "Two.")],
        ["One. ", "Two."],
    ),
    "two items, one in deltas": (
        [text_delta("One. "), item_done("One. "), item_done("Two.", item_id="a2")],
        ["One. ", "Two."],
    ),
    "same text in two items": (
        [text_delta("No. "), text_delta("No. ", item_id="a2")],
        ["No. ", "No. "],
    ),
    "complete text, other index": ([text_delta("Hi", index=1), part_done("Hi", index=0)], ["Hi"]),
    "complete text, other item": ([text_delta("Hi"), item_done("Hi", item_id="b")], ["Hi"]),
    "both kinds": (
        [
            transcript_delta("Hi"),
            text_delta("Hi"),
            part_done("Hi", index=1),
            item_done("Hi", kind="audio"),
        ],
        ["Hi"],
    ),
    "both kinds in one item": (
        [
            message(
                "output_item.done",
                item={
                    **item(),
                    "content": [
                        {"type": "audio", "transcript": "Hi"},
                        {"type": "text", "text": "Hi"},
                    ],
                },
            )
        ],
        ["Hi"],
    ),
    "a user's item": (
        [message("output_item.done", item={**item("Hi"), "role": "user"})],
        [],
    ),
    "delta of the specification": (
        [
            message("content_part.delta", delta="Hel"),
            message("content_part.delta", delta={"type": "output_text", "text": "lo"}),
            message("content_part.delta", part={"type": "text", "text": "!"}),
            message("content_part.delta", part={"type": "audio", "transcript": "!"}),
        ],
        ["Hel", "lo", "!"],
    ),
}


@pytest.mark.parametrize(("events", "pieces"), SCRIPTS.values(), ids=SCRIPTS)
def test_pieces(events, pieces):
    """Each piece of the text is returned once, in the order of arrival."""
    text = ResponseText()
    changes = [text.add(event, is_cancelled=False) for event in events]

    assert pieces == text.pieces
    assert len(pieces) == sum(changes)


@given(
    st.lists(st.text("ab ", min_size=1, max_size=4), min_size=1, max_size=6),
    st.integers(0, 6),
    st.sets(st.sampled_from(["text", "part", "item", "response"])),
)
def test_lost_deltas(deltas, kept, wholes):
    """If the last deltas are lost and the whole text arrives, the text is returned once."""
    whole = "".join(deltas)
    text = ResponseText()
    for delta in deltas[:kept]:
        text.add(text_delta(delta), is_cancelled=False)
    if "text" in wholes:
        text.add(text_done(whole), is_cancelled=False)
    if "part" in wholes:
        text.add(part_done(whole), is_cancelled=False)
    if "item" in wholes:
        text.add(item_done(whole), is_cancelled=False)
    if "response" in wholes:
        text.add_items([item_done(whole).item], is_cancelled=False)

    assert (whole if wholes else "".join(deltas[:kept])) == "".join(text.pieces)


def done(status, *output):
    response = {"id": "r1", "status": status, "output": list(output)}
    return read(json.dumps({"type": "response.done", "response": response}))


@pytest.mark.parametrize(
    ("status", "text"), [("completed", "Hello"), ("cancelled", "Hel"), ("failed", "Hel")]
)
def test_text_after_a_cancel(status, text):
    """Text after a cancel is returned only if the response is completed in spite of the cancel."""
    table = Responses()
    state = table.handle(rt.ResponseCreated(rt.ResponseInfo(id="r1", status="in_progress")))
    table.handle(text_delta("Hel"))
    table.cancel("r1")
    for event in (text_delta("l"), item_done("Hello")):
        assert table.handle(event) is None
    assert "Hel" == state.text
    table.handle(done(status, item("Hello")))

    assert (status, text) == (state.status, state.text)


def test_text_in_the_output_of_a_response():
    """Text that is only in ``response.done`` is returned, even without any earlier message."""
    table = Responses()
    state = table.handle(done("completed", item("One. "), item("Two.", item_id="a2")))

    assert "One. Two." == state.text
