"""The mirror of a conversation, by scripts of messages as services send them."""

import json

import pytest
from hypothesis import given, strategies as st

from inworld_sync.models import realtime as rt
from inworld_sync.wire.realtime.conversation import Conversation

from support.realtime_wire import read


def added(item_id, role="assistant", *, previous=None, content=(), kind="added", **item):
    """A message that an item joined, or is done."""
    body = {"id": item_id, "type": "message", "role": role, "content": list(content), **item}
    return {"type": f"conversation.item.{kind}", "previous_item_id": previous, "item": body}


def done(item_id, role="assistant", **rest):
    """A message that an item is whole."""
    return added(item_id, role, kind="done", **rest)


def output(name, item_id="a1", response_id="r1", **fields):
    """A message about a response's item."""
    place = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
    return {"type": f"response.{name}", **place, **fields}


def heard(kind, text, item_id="u1", index=0):
    """A message with what the user says."""
    field = "delta" if kind == "delta" else "transcript"
    return {
        "type": f"conversation.item.input_audio_transcription.{kind}",
        "item_id": item_id,
        "content_index": index,
        field: text,
    }


def response_done(response_id="r1", status="completed", items=()):
    """A message that a response has ended."""
    response = {"id": response_id, "status": status, "output": list(items)}
    return {"type": "response.done", "response": response}


def conversation(*messages):
    """A conversation that has followed some messages."""
    mirror = Conversation()
    for message in messages:
        mirror.handle(read(json.dumps(message)))
    return mirror


def ids(mirror):
    """The items' ids, in order."""
    return [entry.item.id for entry in mirror.entries]


# (messages, the order of the items): where an item goes.
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
    """Items stand in the service's order."""
    assert order == ids(conversation(*messages))


def test_calls_join_at_the_tail():
    """A call whose previous item is null joins a long conversation at its end."""
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
    """A reply's transcript grows piece by piece, in an item that is not done."""
    entry = conversation(*SPOKEN_TURN).get("a1")

    assert rt.ConversationEntry(entry.item) == entry
    assert (rt.OutputAudio("Hello."),) == entry.item.content


def test_spoken_reply_is_done():
    """What a done item says of itself is what counts."""
    whole = {"type": "audio", "transcript": "Hello there."}
    entry = conversation(*SPOKEN_TURN, done("a1", content=[whole], status="completed")).get("a1")

    assert entry.is_done
    assert "Hello there." == entry.item.text


def test_done_item_that_says_nothing():
    """An item that is done without its text keeps the text that came."""
    entry = conversation(*SPOKEN_TURN, done("a1", content=[{"type": "audio"}])).get("a1")

    assert "Hello." == entry.item.text


def test_transcript_is_done():
    """The whole transcript replaces its pieces."""
    mirror = conversation(*SPOKEN_TURN, output("output_audio_transcript.done", transcript="Hi."))

    assert "Hi." == mirror.get("a1").item.text


def test_written_reply():
    """A reply in text alone is kept as text."""
    mirror = conversation(
        added("a1"),
        output("output_text.delta", delta="Hel"),
        output("output_text.delta", delta="lo"),
        output("output_text.done", text="Hello"),
    )

    assert (rt.OutputText("Hello"),) == mirror.get("a1").item.content


# The first kind of delta, and the other one.
STREAMS = [
    ("output_text", "output_audio_transcript"),
    ("output_audio_transcript", "output_text"),
]


@pytest.mark.parametrize(("first", "second"), STREAMS)
@pytest.mark.parametrize("index", [0, 1], ids=["same part", "other part"])
def test_text_and_transcript(first, second, index):
    """Where text and transcript both come, the kind that comes first counts alone."""
    mirror = conversation(
        added("a1"),
        output(f"{first}.delta", delta="Hel"),
        output(f"{second}.delta", delta="Hel", content_index=index),
        output(f"{first}.delta", delta="lo"),
        output(f"{second}.delta", delta="lo", content_index=index),
    )

    assert "Hello" == mirror.get("a1").item.text


def test_rolling_transcript():
    """What the user says is the whole turn each time, and may take words back."""
    mirror = conversation(
        added("u1", "user", content=[{"type": "input_audio", "transcript": None}]),
        heard("delta", "what"),
        heard("delta", "what time"),
        heard("delta", "what time"),
        heard("delta", "what kind"),
    )

    assert "what kind" == mirror.get("u1").item.text


def test_transcript_before_its_item():
    """A transcript that comes before its turn is committed joins the item when that comes."""
    mirror = conversation(
        heard("delta", "hi"),
        added("u1", "user", content=[{"type": "input_audio", "transcript": None}]),
    )

    assert (rt.InputAudio(transcript="hi"),) == mirror.get("u1").item.content
    assert [] == ids(conversation(heard("delta", "hi")))


def test_transcript_after_its_item():
    """The transcript of a turn often comes after the item is done."""
    mirror = conversation(
        done("u1", "user", content=[{"type": "input_audio"}]), heard("completed", "Hi there.")
    )

    assert "Hi there." == mirror.get("u1").item.text


def test_completed_transcripts():
    """A completed transcript may come again, as a snapshot; an older delta does not undo it."""
    mirror = conversation(
        done("u1", "user", content=[{"type": "input_audio"}]),
        heard("completed", "Hi."),
        heard("completed", "Hi there."),
        heard("delta", "hi"),
    )

    assert "Hi there." == mirror.get("u1").item.text


def test_item_without_transcript_keeps_it():
    """An item that is done after its transcript, but without it, keeps it."""
    mirror = conversation(
        heard("completed", "Hi."), done("u1", "user", content=[{"type": "input_audio"}])
    )

    assert "Hi." == mirror.get("u1").item.text


def test_deleted_before_it_joined():
    """An item that is deleted before it joined is forgotten with its transcript."""
    mirror = conversation(
        heard("delta", "hi"),
        {"type": "conversation.item.deleted", "item_id": "u1"},
        added("u1", "user"),
    )

    assert "" == mirror.get("u1").item.text


def test_waiting_is_bounded():
    """Transcripts whose items never come are forgotten, the oldest first."""
    mirror = conversation(
        *(heard("delta", str(n), f"u{n}") for n in range(40)),
        *(added(f"u{n}", "user", content=[{"type": "input_audio"}]) for n in range(40)),
    )
    texts = [entry.item.text for entry in mirror.entries]

    assert [""] * 8 + [str(n) for n in range(8, 40)] == texts


def test_truncated_item():
    """An item that is cut says where; its text stays whole."""
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
    """An item that was asked for is as the service holds it."""
    whole = {
        **added("a1", content=[{"type": "text", "text": "new"}]),
        "type": "conversation.item.retrieved",
    }
    mirror = conversation(added("a1", content=[{"type": "text", "text": "old"}]), whole)

    assert "new" == mirror.get("a1").item.text


@pytest.mark.parametrize("status", ["completed", "cancelled", "failed", "incomplete"])
def test_response_ends_its_items(status):
    """However a response ends, none of its items stays open."""
    assert conversation(*SPOKEN_TURN, response_done(status=status)).get("a1").is_done


def test_response_end_brings_text():
    """The end of a response says what its items are."""
    item = {
        "id": "a1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "audio", "transcript": "All of it."}],
    }

    assert (
        "All of it." == conversation(*SPOKEN_TURN, response_done(items=[item])).get("a1").item.text
    )


def test_response_beside_the_conversation():
    """The items of a response beside the conversation do not join it."""
    mirror = conversation(
        added("u1", "user"),
        output("output_item.added", item={"id": "a1", "type": "message", "role": "assistant"}),
        output("output_text.delta", delta="x"),
        response_done(),
    )

    assert ["u1"] == ids(mirror)
    assert mirror.get("a1") is None


def test_ended_response_is_forgotten():
    """What a response beside the conversation wrote does not turn up in it later."""
    mirror = conversation(output("output_text.delta", delta="x"), response_done(), added("a1"))

    assert "" == mirror.get("a1").item.text


def test_arguments_of_a_call():
    """A call has its arguments as soon as they are whole."""
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
    """Whatever order messages come in, the items are those that joined and did not leave."""
    present = set()
    for message in messages:
        if message["type"].endswith(("added", "done")) and "previous_item_id" in message:
            present.add(message["item"]["id"])
        elif message["type"].endswith("deleted"):
            present.discard(message["item_id"])
    mirror = conversation(*messages)

    assert sorted(present) == sorted(ids(mirror))
    assert len(present) == len(mirror)
