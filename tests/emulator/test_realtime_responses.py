"""The events, audio, cancelling, options and quirks of responses to written turns."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inworld_sync.emulator import Emulator, Settings
from inworld_sync.emulator.realtime.replies import ReplyPart, ReplyRequest
from inworld_sync.emulator.realtime.settings import RealtimeSettings

from support.realtime_client import Event, RealtimeClient, kinds_of, open_realtime
from support.tone import ToneSynthesizer, tone_seconds

# The kinds of events in the order of the service, from response.created to response.done.
SPOKEN = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "deltas",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]
WRITTEN = [
    *SPOKEN[:5],
    "response.output_text.done",
    *SPOKEN[7:],
]
REPLY = "Hello! How can I help you?"


def deltas(events: list[Event], kind: str) -> list[str]:
    return [event["delta"] for event in events if event["type"] == f"response.{kind}.delta"]


def audio_of(events: list[Event]) -> bytes:
    return b"".join(base64.b64decode(delta) for delta in deltas(events, "output_audio"))


def with_quirk(**settings: Any) -> Emulator:
    realtime = RealtimeSettings(**settings)
    return Emulator(synthesizer=ToneSynthesizer(), settings=Settings(realtime=realtime))


def test_spoken_reply(realtime: RealtimeClient) -> None:
    """A spoken reply has audio and a transcript, and its events have the order of the service."""
    realtime.write("Hi there!")
    realtime.until("conversation.item.done")
    realtime.send("response.create")

    events = realtime.until("response.done")

    assert SPOKEN == kinds_of(events)
    assert REPLY == "".join(deltas(events, "output_audio_transcript"))
    assert round(tone_seconds(REPLY) * 24000) * 2 == len(audio_of(events))
    response = events[-1]["response"]
    assert ("realtime.response", "completed", None) == (
        response["object"],
        response["status"],
        response["status_details"],
    )
    assert [{"type": "audio", "transcript": REPLY}] == response["output"][0]["content"]
    assert response["usage"]["total_tokens"] > 0


def test_ids_agree(realtime: RealtimeClient) -> None:
    """
    Every event of a part has the ids of the response and the item, and the indexes of the part.
    """
    events = realtime.ask("Hi there!")[2:]

    response_id = events[0]["response"]["id"]
    item_id = events[1]["item"]["id"]
    parts = [event for event in events if "content_index" in event]
    expected = (response_id, item_id, 0, 0)
    assert {expected} == {
        tuple(event[name] for name in ("response_id", "item_id", "output_index", "content_index"))
        for event in parts
    }
    assert all(isinstance(event["event_id"], str) for event in events)


def test_written_reply(realtime: RealtimeClient) -> None:
    """A response without audio has text deltas and a text part."""
    realtime.write("Hi there!")
    realtime.until("conversation.item.done")
    realtime.send("response.create", response={"output_modalities": ["text"]})

    events = realtime.until("response.done")

    assert WRITTEN == kinds_of(events)
    assert REPLY == "".join(deltas(events, "output_text"))
    assert [{"type": "text", "text": REPLY}] == events[-1]["response"]["output"][0]["content"]


# (format, number of bytes for a second of audio in this format)
FORMATS = [
    ({"type": "audio/pcm", "rate": 16000}, 32000),
    ({"type": "audio/pcm", "rate": 48000}, 96000),
    ({"type": "audio/pcmu"}, 8000),
    ({"type": "audio/pcma"}, 8000),
    ({"type": "audio/float32"}, 96000),
]


@pytest.mark.parametrize(("audio_format", "bytes_a_second"), FORMATS)
def test_formats(
    realtime: RealtimeClient, audio_format: dict[str, Any], bytes_a_second: int
) -> None:
    """The reply is spoken in the session's output format."""
    realtime.update(audio={"output": {"format": audio_format}})

    audio = audio_of(realtime.ask("Hi there!"))

    assert round(tone_seconds(REPLY) * bytes_a_second) == pytest.approx(len(audio), abs=16)


def test_acknowledged_item(realtime: RealtimeClient) -> None:
    """A created item is acknowledged with the client's id and the id of the previous item."""
    realtime.write("One.", id="mine_1")
    realtime.write("Two.", id="mine_2")

    added = [realtime.next("conversation.item.added") for _ in range(2)]

    assert ["mine_1", "mine_2"] == [event["item"]["id"] for event in added]
    assert [None, "mine_1"] == [event["previous_item_id"] for event in added]


def test_cancel(paced: RealtimeClient) -> None:
    """
    A cancelled response ends at once with response.done. The output of the response is incomplete.
    """
    paced.write("Count to 90.")
    paced.send("response.create")
    paced.next("response.output_audio.delta")
    paced.send("response.cancel")

    response = paced.next("response.done")["response"]

    assert "cancelled" == response["status"]
    assert {"type": "cancelled", "reason": "client_cancelled"} == response["status_details"]
    assert "incomplete" == response["output"][0]["status"]


def test_truncate_right_after_cancel(paced: RealtimeClient) -> None:
    """
    A client may truncate a reply right after the cancel, for example after an interruption.

    The truncation is accepted even before the last events of the reply.
    """
    paced.write("Count to 90.")
    paced.send("response.create")
    item_id = paced.next("response.output_audio.delta")["item_id"]
    paced.send("response.cancel")
    paced.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=20)

    assert "conversation.item.done" == paced.next("conversation.item.done")["type"]
    assert item_id == paced.next("conversation.item.truncated")["item_id"]


def test_truncate_before_cancel(paced: RealtimeClient) -> None:
    """A reply may be truncated while it is spoken. The final item has only the played words."""
    paced.write("Count to 90.")
    paced.send("response.create")
    item_id = paced.next("response.output_audio.delta")["item_id"]
    paced.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=20)
    assert item_id == paced.next("conversation.item.truncated")["item_id"]
    paced.send("response.cancel")
    paced.next("response.done")
    paced.send("conversation.item.retrieve", item_id=item_id)

    item = paced.next("conversation.item.retrieved")["item"]
    assert [{"type": "audio", "transcript": "One."}] == item["content"]


def test_truncate_without_audio(realtime: RealtimeClient) -> None:
    """An item without audio of the assistant cannot be truncated."""
    realtime.write("Hello.", id="mine")
    realtime.send("conversation.item.truncate", item_id="mine", content_index=0, audio_end_ms=0)

    assert "unsupported_content_type" == realtime.error()["code"]


def test_next_response_right_after_cancel(paced: RealtimeClient) -> None:
    """A response that is requested after a cancel begins after the cancelled response has ended."""
    paced.write("Count to 90.")
    paced.send("response.create")
    first = paced.next("response.created")["response"]["id"]
    paced.send("response.cancel")
    paced.send("response.create", response={"output_modalities": ["text"]})

    assert first == paced.next("response.done")["response"]["id"]
    assert first != paced.next("response.created")["response"]["id"]
    assert "completed" == paced.next("response.done")["response"]["status"]


def test_responses_follow_each_other() -> None:
    """After a cancel, the next response begins only after the cancelled response has ended."""
    may_end = threading.Event()

    def slow_to_end(request: ReplyRequest) -> Iterator[ReplyPart]:
        try:
            yield from ["One. ", "Two. "] * 50
        finally:
            assert may_end.wait(30)

    settings = Settings(pace=1)
    with Emulator(
        synthesizer=ToneSynthesizer(), reply_maker=slow_to_end, settings=settings
    ) as server:
        with open_realtime(server) as client:
            client.write("Hi there!")
            client.send("response.create")
            client.next("response.output_audio.delta")
            client.send("response.cancel")
            client.send("response.create")
            client.send("input_audio_buffer.clear")
            before = types_of(client.until("input_audio_buffer.cleared"))
            may_end.set()
            events = client.until("response.created")
            client.send("response.cancel")
            client.until("response.done")

    assert "response.created" not in before
    assert "cancelled" == next(
        event["response"]["status"] for event in events if event["type"] == "response.done"
    )


def test_second_response_is_refused(paced: RealtimeClient) -> None:
    """While a response is active, the request for another response gets an error."""
    paced.write("Count to 90.")
    paced.send("response.create")
    paced.send("response.create")

    assert "conversation_already_has_active_response" == paced.error()["code"]


def test_nothing_to_cancel(realtime: RealtimeClient) -> None:
    """Without an active response, a cancel gets an error that is not fatal."""
    realtime.send("response.cancel")

    assert "response_cancel_not_active" == realtime.error()["code"]
    realtime.ask("Hi there!")


def test_out_of_band(realtime: RealtimeClient) -> None:
    """An out-of-band response uses its own input and adds no item to the conversation."""
    text = {"type": "input_text", "text": "Say elsewhere."}
    asked = [{"type": "message", "role": "user", "content": [text]}]
    realtime.write("My name is Alice.")
    realtime.send(
        "response.create",
        response={
            "conversation": "none",
            "input": asked,
            "metadata": {"client_event_id": "42"},
            "output_modalities": ["text"],
        },
    )

    events = realtime.until("response.done")

    created = next(event for event in events if event["type"] == "response.created")
    assert {"client_event_id": "42"} == created["response"]["metadata"]
    assert {"client_event_id": "42"} == events[-1]["response"]["metadata"]
    assert "elsewhere." == "".join(deltas(events, "output_text"))
    item_id = events[-1]["response"]["output"][0]["id"]
    realtime.send("conversation.item.retrieve", item_id=item_id)
    assert "item_retrieve_invalid_item_id" == realtime.error()["code"]


def test_truncate(realtime: RealtimeClient) -> None:
    """After a truncation, the transcript of a spoken reply has only the words that had begun."""
    events = realtime.ask("Say alpha bravo charlie.")
    item_id = events[-1]["response"]["output"][0]["id"]
    # "alpha" has five characters of 50 ms each, so the second word begins at 250 ms.
    realtime.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=300)

    told = realtime.next("conversation.item.truncated")
    assert (item_id, 0, 300) == (told["item_id"], told["content_index"], told["audio_end_ms"])
    realtime.send("conversation.item.retrieve", item_id=item_id)
    item = realtime.next("conversation.item.retrieved")["item"]
    assert [{"type": "audio", "transcript": "alpha bravo"}] == item["content"]


def test_truncate_g711_on_24khz(realtime: RealtimeClient) -> None:
    """In a G.711 session, ``audio_end_ms`` is a third of the real time, as in the service."""
    realtime.update(audio={"output": {"format": "g711_ulaw"}})
    events = realtime.ask("Say alpha bravo charlie.")
    item_id = events[-1]["response"]["output"][0]["id"]
    realtime.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=100)
    realtime.send("conversation.item.retrieve", item_id=item_id)

    item = realtime.next("conversation.item.retrieved")["item"]
    assert "alpha bravo" == item["content"][0]["transcript"]


@pytest.mark.parametrize("end_ms", [60_000, -1])
def test_truncate_out_of_range(realtime: RealtimeClient, end_ms: int) -> None:
    """A truncation before the start or after the end of the audio is refused."""
    item_id = realtime.ask("Hi there!")[-1]["response"]["output"][0]["id"]
    realtime.send(
        "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=end_ms
    )

    assert "audio_end_ms" in str(realtime.error()["param"])


def test_delete(realtime: RealtimeClient) -> None:
    """The deletion of an item is acknowledged, and the item is removed."""
    realtime.write("Forget me.", id="mine")
    realtime.send("conversation.item.delete", item_id="mine")
    assert "mine" == realtime.next("conversation.item.deleted")["item_id"]
    realtime.send("conversation.item.delete", item_id="mine")

    assert "item_delete_invalid_item_id" == realtime.error()["code"]


def test_insertion(realtime: RealtimeClient) -> None:
    """An item can be inserted after another item, or as the first item."""
    realtime.write("One.", id="a")
    realtime.write("Two.", id="b")
    for item_id, after in (("c", "a"), ("d", "root")):
        content = [{"type": "input_text", "text": "x"}]
        item = {"id": item_id, "type": "message", "role": "user", "content": content}
        realtime.send("conversation.item.create", item=item, previous_item_id=after)

    added = [realtime.next("conversation.item.added") for _ in range(4)]
    assert [None, "a", "a", None] == [event["previous_item_id"] for event in added]


def test_token_limit(realtime: RealtimeClient) -> None:
    """A reply that is longer than the limit is incomplete, with the reason."""
    response = realtime.ask("Count to 90.", max_output_tokens=10)[-1]["response"]

    assert "incomplete" == response["status"]
    assert {"type": "incomplete", "reason": "max_output_tokens"} == response["status_details"]


def types_of(events: list[Event]) -> set[str]:
    return {event["type"] for event in events}


def response_of(events: list[Event]) -> Any:
    return events[-1]["response"]


# (setting, its effect on a reply)
QUIRKS: list[tuple[dict[str, bool], Callable[[list[Event]], bool]]] = [
    (
        {"openai_part_names": True},
        lambda events: response_of(events)["output"][0]["content"][0]["type"] == "output_audio",
    ),
    (
        {"text_beside_transcript": True},
        lambda events: deltas(events, "output_text") == deltas(events, "output_audio_transcript"),
    ),
    (
        {"usage_beside_response": True},
        lambda events: "usage" in events[-1] and "usage" not in response_of(events),
    ),
    (
        {"lists_attempts": True},
        lambda events: "attempts" in (response_of(events)["metadata"] or {}),
    ),
    (
        {"output_buffer_events": True},
        lambda events: (
            {"output_audio_buffer.started", "output_audio_buffer.stopped"} <= types_of(events)
        ),
    ),
    ({"beta_names": True}, lambda events: "response.audio.delta" in types_of(events)),
]


@pytest.mark.parametrize(("settings", "shows"), QUIRKS, ids=[str(row[0]) for row in QUIRKS])
def test_quirks(settings: dict[str, Any], shows: Any) -> None:
    """
    Each quirk of the service has a setting. Without the setting, replies do not have the quirk.
    """
    with with_quirk() as plain, open_realtime(plain) as client:
        assert not shows(client.ask("Hi there!"))
    with with_quirk(**settings) as server, open_realtime(server) as client:
        assert shows(client.ask("Hi there!"))


def test_failing_reply() -> None:
    """If a reply maker raises an error, the response fails, and the session continues."""

    def broken(request: ReplyRequest) -> Iterator[ReplyPart]:
        yield "So far so good."
        raise RuntimeError("no more")

    with Emulator(synthesizer=ToneSynthesizer(), reply_maker=broken) as server:
        with open_realtime(server) as client:
            response = client.ask("Hi there!")[-1]["response"]
            again = client.ask("Hi there!")[-1]["response"]

    assert "failed" == response["status"] == again["status"]
    assert "server_error" == response["status_details"]["reason"]
    assert "incomplete" == response["output"][0]["status"]


def test_unexplained() -> None:
    """Without explains_failures and explains_errors, failures and errors have no reasons."""
    with with_quirk(explains_failures=False, explains_errors=False, max_responses=1) as server:
        with open_realtime(server) as client:
            client.ask("Hi there!")
            response = client.ask("Hi there!")[-1]["response"]
            client.send("response.cancel", event_id="mine")
            error = client.error()

    assert ("failed", None) == (response["status"], response["status_details"])
    assert (None, None, "invalid_request_error") == (
        error["code"],
        error["event_id"],
        error["type"],
    )


def test_quota() -> None:
    """If the quota is used up, a response fails with the service's message."""
    with with_quirk(max_responses=1) as server, open_realtime(server) as client:
        assert "completed" == client.ask("Hi there!")[-1]["response"]["status"]
        response = client.ask("Hi there!")[-1]["response"]

    assert "failed" == response["status"]
    assert "server_error" == response["status_details"]["reason"]
