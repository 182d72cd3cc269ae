"""The local copy of a conversation follows the messages of the service."""

import json

import pytest
from hypothesis import given, strategies as st

from inworld_sync.models import realtime as rt
from inworld_sync.wire.realtime.conversation import Conversation

from support.realtime_wire import read


def added(item_id, role="assistant", *, previous=None, content=(), kind="added", **item):
    """Return the service's message about an item that was added or is done."""
    body = {"id": item_id, "type": "message", "role": role, "content": list(content), **item}
    return {"type": f"conversation.item.{kind}", "previous_item_id": previous, "item": body}


def done(item_id, role="assistant", **rest):
    """Return the service's message about an item that is done."""
    return added(item_id, role, kind="done", **rest)


def output(name, item_id="a1", response_id="r1", **fields):
    """Return a message about an item of a response."""
    place = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
    return {"type": f"response.{name}", **place, **fields}


def heard(kind, text, item_id="u1", index=0):
    """Return a message with a transcript of the user's speech."""
    field = "delta" if kind == "delta" else "transcript"
    return {
        "type": f"conversation.item.input_audio_transcription.{kind}",
        "item_id": item_id,
        "content_index": index,
        field: text,
    }


def response_done(response_id="r1", status="completed", items=()):
    """Return the service's message about the end of a response."""
    response = {"id": response_id, "status": status, "output": list(items)}
    return {"type": "response.done", "response": response}


def conversation(*messages):
    """Return a conversation that has handled these messages."""
    mirror = Conversation()
    for message in messages:
        mirror.handle(read(json.dumps(message)))
    return mirror


def ids(mirror):
    """Return the ids of the items, in order."""
    return [entry.item.id for entry in mirror.entries]


# (messages, ids of the items in order)
ORDERS = [
    ([added("a"), added("b"), added("c")], ["a", "b", "c"]),
    ([added("a"), added("b"), added("c", previous="a")], ["a", "c", "b"]),
    ([added("a"), added("b", previous="root")], ["b", "a"]),
    ([added("a"), added("b", previous="gone")], ["a", "b"]),
    ([added("a"), added("a"), done("a")], ["a"]),
    ([added("a"), added("b"), done("a", previous="b")], ["a", "b"]),
    ([done("a")], ["a"]),
    ([added("a"), {"type": "conversation.item.deleted", "item_id": "a"}], []),
    ([{"type": "conversation.item.deleted", "item_id": "a"}], []),
    (
        [added("a"), {"type": "conversation.item.deleted", "item_id": "a"}, added("a")],
        ["a"],
    ),
    ([{**added("a"), "type": "conversation.item.created"}], ["a"]),
    ([{**added("a"), "type": "conversation.item.retrieved"}], ["a"]),
]


@pytest.mark.parametrize(("messages", "order"), ORDERS)
def test_order(messages, order):
    """The items are in the order of the service."""
    assert order == ids(conversation(*messages))


def test_calls_are_added_at_the_end():
    """If the previous item of a call is null, the call is added at the end of the conversation."""
    call = {"id": "f", "type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
    event = {"type": "conversation.item.added", "previous_item_id": None, "item": call}

    assert ["a", "b", "f"] == ids(conversation(added("a"), added("b"), event))


SPOKEN_TURN = [
    output("output_item.added", item={"id": "a1", "type": "message", "role": "assistant"}),
    added("a1", status="in_progress"),
    output("content_part.added", part={"type": "audio", "transcript": ""}),
    output("output_audio_transcript.delta", delta="Hel"),
    output("output_audio.delta", delta="AAAA"),
    output("output_audio_transcript.delta", delta="lo."),
]


def test_spoken_reply_grows():
    """The transcript of an item that is not done grows with each delta."""
    entry = conversation(*SPOKEN_TURN).get("a1")

    assert rt.ConversationEntry(entry.item) == entry
    assert (rt.OutputAudio("Hello."),) == entry.item.content


def test_spoken_reply_is_done():
    """The text of a done item replaces the text of the deltas."""
    whole = {"type": "audio", "transcript": "Hello there."}
    entry = conversation(*SPOKEN_TURN, done("a1", content=[whole], status="completed")).get("a1")

    assert entry.is_done
    assert "Hello there." == entry.item.text


def test_done_item_without_text():
    """If a done item has no text, the item keeps the text of the deltas."""
    entry = conversation(*SPOKEN_TURN, done("a1", content=[{"type": "audio"}])).get("a1")

    assert "Hello." == entry.item.text


def test_transcript_is_done():
    """A complete transcript replaces the text of the deltas."""
    mirror = conversation(*SPOKEN_TURN, output("output_audio_transcript.done", transcript="Hi."))

    assert "Hi." == mirror.get("a1").item.text


def test_written_reply():
    """A reply without speech has its text in the item."""
    mirror = conversation(
        added("a1"),
        output("output_text.delta", delta="Hel"),
        output("output_text.delta", delta="lo"),
        output("output_text.done", text="Hello"),
    )

    assert (rt.OutputText("Hello"),) == mirror.get("a1").item.content


# (first kind of delta, other kind)
STREAMS = [
    ("output_text", "output_audio_transcript"),
    ("output_audio_transcript", "output_text"),
]


@pytest.mark.parametrize(("first", "second"), STREAMS)
@pytest.mark.parametrize("index", [0, 1], ids=["same part", "other part"])
def test_text_and_transcript(first, second, index):
    """If an item gets text and transcript deltas, only deltas of the first kind are used."""
    mirror = conversation(
        added("a1"),
        output(f"{first}.delta", delta="Hel"),
        output(f"{second}.delta", delta="Hel", content_index=index),
        output(f"{first}.delta", delta="lo"),
        output(f"{second}.delta", delta="lo", content_index=index),
    )

    assert "Hello" == mirror.get("a1").item.text


def test_rolling_transcript():
    """Each partial transcript of the user is the whole turn, and may change earlier words."""
    mirror = conversation(
        added("u1", "user", content=[{"type": "input_audio", "transcript": None}]),
        heard("delta", "what"),
        heard("delta", "what time"),
        heard("delta", "what time"),
        heard("delta", "what kind"),
    )

    assert "what kind" == mirror.get("u1").item.text


def test_transcript_before_its_item():
    """If a transcript arrives before its item, the item has the transcript when it is added."""
    mirror = conversation(
        heard("delta", "hi"),
        added("u1", "user", content=[{"type": "input_audio", "transcript": None}]),
    )

    assert (rt.InputAudio(transcript="hi"),) == mirror.get("u1").item.content
    assert [] == ids(conversation(heard("delta", "hi")))


def test_transcript_after_its_item():
    """If a transcript arrives after its item is done, the item still gets the transcript."""
    mirror = conversation(
        done("u1", "user", content=[{"type": "input_audio"}]), heard("completed", "Hi there.")
    )

    assert "Hi there." == mirror.get("u1").item.text


def test_completed_transcripts():
    """A completed transcript replaces earlier transcripts, and a later delta changes nothing."""
    mirror = conversation(
        done("u1", "user", content=[{"type": "input_audio"}]),
        heard("completed", "Hi."),
        heard("completed", "Hi there."),
        heard("delta", "hi"),
    )

    assert "Hi there." == mirror.get("u1").item.text


def test_item_without_transcript_keeps_it():
    """If a done item has no transcript, the item keeps the transcript that has already arrived."""
    mirror = conversation(
        heard("completed", "Hi."), done("u1", "user", content=[{"type": "input_audio"}])
    )

    assert "Hi." == mirror.get("u1").item.text


def test_deleted_before_it_is_added():
    """If an item is deleted before it is added, its transcript is dropped."""
    mirror = conversation(
        heard("delta", "hi"),
        {"type": "conversation.item.deleted", "item_id": "u1"},
        added("u1", "user"),
    )

    assert "" == mirror.get("u1").item.text


def test_waiting_is_bounded():
    """The count of transcripts without items is limited. The oldest transcripts are dropped."""
    mirror = conversation(
        *(heard("delta", str(n), f"u{n}") for n in range(40)),
        *(added(f"u{n}", "user", content=[{"type": "input_audio"}]) for n in range(40)),
    )
    texts = [entry.item.text for entry in mirror.entries]

    assert [""] * 8 + [str(n) for n in range(8, 40)] == texts


def test_truncated_item():
    """A truncated item has the position of the truncation. Its text is not cut."""
    cut = {
        "type": "conversation.item.truncated",
        "item_id": "a1",
        "content_index": 0,
        "audio_end_ms": 700,
    }
    entry = conversation(*SPOKEN_TURN, cut).get("a1")

    assert (700, "Hello.") == (entry.truncated_ms, entry.item.text)
    assert 0 == len(conversation(cut))


def test_retrieved_item():
    """An item that was requested from the service replaces the content of the local item."""
    whole = {
        **added("a1", content=[{"type": "text", "text": "new"}]),
        "type": "conversation.item.retrieved",
    }
    mirror = conversation(added("a1", content=[{"type": "text", "text": "old"}]), whole)

    assert "new" == mirror.get("a1").item.text


@pytest.mark.parametrize("status", ["completed", "cancelled", "failed", "incomplete"])
def test_response_ends_its_items(status):
    """The end of a response ends the items of the response, for every status."""
    assert conversation(*SPOKEN_TURN, response_done(status=status)).get("a1").is_done


def test_response_end_brings_text():
    """The text in the output of a done response replaces the text of its items."""
    item = {
        "id": "a1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "audio", "transcript": "All of it."}],
    }

    assert (
        "All of it." == conversation(*SPOKEN_TURN, response_done(items=[item])).get("a1").item.text
    )


def test_out_of_band_response():
    """The items of an out-of-band response are not added to the conversation."""
    mirror = conversation(
        added("u1", "user"),
        output("output_item.added", item={"id": "a1", "type": "message", "role": "assistant"}),
        output("output_text.delta", delta="x"),
        response_done(),
    )

    assert ["u1"] == ids(mirror)
    assert mirror.get("a1") is None


def test_ended_response_is_removed():
    """After the end of an out-of-band response, no later item gets the text of this response."""
    mirror = conversation(output("output_text.delta", delta="x"), response_done(), added("a1"))

    assert "" == mirror.get("a1").item.text


def test_arguments_of_a_call():
    """A call has its arguments as soon as the arguments are complete."""
    call = {"id": "f1", "type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
    mirror = conversation(
        {"type": "conversation.item.added", "item": call},
        output("function_call_arguments.done", item_id="f1", arguments='{"a":1}'),
    )

    assert '{"a":1}' == mirror.get("f1").item.arguments


NAMES = st.sampled_from(["a", "b", "c"])
MESSAGES = st.one_of(
    st.builds(lambda i, p: added(i, previous=p), NAMES, NAMES | st.just("root") | st.none()),
    st.builds(done, NAMES),
    st.builds(lambda i: {"type": "conversation.item.deleted", "item_id": i}, NAMES),
    st.builds(lambda i: heard("delta", "x", i), NAMES),
    st.builds(lambda i: output("output_text.delta", i, delta="x"), NAMES),
    st.builds(lambda i: output("content_part.added", i, part={"type": "text"}), NAMES),
    st.just(response_done()),
)


@given(st.lists(MESSAGES, max_size=30))
def test_any_order_of_messages(messages):
    """After messages in any order, the items are the added items without the deleted items."""
    present = set()
    for message in messages:
        if message["type"].endswith(("added", "done")) and "previous_item_id" in message:
            present.add(message["item"]["id"])
        elif message["type"].endswith("deleted"):
            present.discard(message["item_id"])
    mirror = conversation(*messages)

    assert sorted(present) == sorted(ids(mirror))
    assert len(present) == len(mirror)
