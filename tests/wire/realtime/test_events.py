"""The messages of the service are read as events. Known errors of messages are accepted."""

import json

import attrs
import pytest
from hypothesis import given, strategies as st

from inworld_sync.errors import RemoteProtocolError
from inworld_sync.models import realtime as rt
from inworld_sync.models.events import UnknownEvent
from inworld_sync.wire.realtime.faults import SessionFault

from support.realtime_wire import read

PLACE = {"response_id": "r1", "item_id": "i1", "output_index": 2, "content_index": 1}
OUTPUT = {"response_id": "r1", "item_id": "i1", "output_index": 2}
USER_MESSAGE = {
    "id": "i1",
    "object": "realtime.item",
    "type": "message",
    "role": "user",
    "status": "completed",
    "content": [{"type": "input_audio", "transcript": "Hi."}],
}
USER_ITEM = rt.Message(
    role="user", content=[rt.InputAudio(transcript="Hi.")], id="i1", status="completed"
)
CALL_MESSAGE = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": ""}
CALL_ITEM = rt.FunctionCall(id="f1", call_id="c1", name="f")

# (name, fields, event): every message, with all fields of the message.
EVENTS = [
    (
        "session.created",
        {"session": {"id": "s1"}},
        rt.SessionCreated(rt.SessionInfo(id="s1", raw={"id": "s1"})),
    ),
    (
        "session.updated",
        {"session": {"model": "m"}},
        rt.SessionUpdated(rt.SessionInfo(model="m", raw={"model": "m"})),
    ),
    (
        "input_audio_buffer.speech_started",
        {"audio_start_ms": 420, "item_id": "i1"},
        rt.InputSpeechStarted(420, "i1"),
    ),
    (
        "input_audio_buffer.speech_stopped",
        {"audio_end_ms": 900, "item_id": "i1"},
        rt.InputSpeechStopped(900, "i1"),
    ),
    (
        "input_audio_buffer.committed",
        {"item_id": "i1", "previous_item_id": "i0"},
        rt.InputAudioCommitted("i1", "i0"),
    ),
    ("input_audio_buffer.cleared", {}, rt.InputAudioCleared()),
    (
        "input_audio_buffer.timeout_triggered",
        {"audio_start_ms": 0, "audio_end_ms": 5000, "item_id": "i2"},
        rt.IdleTimeoutTriggered(0, 5000, "i2"),
    ),
    (
        "input_audio_buffer.turn_suggestion",
        {
            "item_id": "i1",
            "utterance_index": 2,
            "probability": 0.8,
            "trailing_silence_ms": 200,
            "audio_duration_ms": 1500,
            "inference_ms": 12,
        },
        rt.TurnSuggested("i1", 2, 0.8, 200, 1500, 12),
    ),
    (
        "input_audio_buffer.turn_suggestion_revoked",
        {"item_id": "i1", "utterance_index": 2},
        rt.TurnSuggestionRevoked("i1", 2),
    ),
    (
        "conversation.item.added",
        {"item": USER_MESSAGE, "previous_item_id": "i0"},
        rt.ItemAdded(USER_ITEM, "i0"),
    ),
    (
        "conversation.item.done",
        {"item": CALL_MESSAGE, "previous_item_id": "i0"},
        rt.ItemDone(CALL_ITEM, "i0"),
    ),
    ("conversation.item.deleted", {"item_id": "i1"}, rt.ItemDeleted("i1")),
    (
        "conversation.item.truncated",
        {"item_id": "i1", "content_index": 0, "audio_end_ms": 1200},
        rt.ItemTruncated("i1", 0, 1200),
    ),
    ("conversation.item.retrieved", {"item": USER_MESSAGE}, rt.ItemRetrieved(USER_ITEM)),
    (
        "conversation.item.input_audio_transcription.delta",
        {"item_id": "i1", "content_index": 1, "delta": "what time"},
        rt.UserTranscriptUpdated("i1", "what time", 1),
    ),
    (
        "conversation.item.input_audio_transcription.completed",
        {"item_id": "i1", "content_index": 1, "transcript": "What time is it?"},
        rt.UserTranscriptCompleted("i1", "What time is it?", 1),
    ),
    (
        "conversation.item.input_audio_transcription.failed",
        {"item_id": "i1", "content_index": 1, "error": {"code": "x", "message": "no"}},
        rt.UserTranscriptFailed("i1", 1, rt.ErrorInfo(code="x", message="no")),
    ),
    (
        "response.created",
        {
            "response": {
                "object": "realtime.response",
                "id": "r1",
                "status": "in_progress",
                "output": [],
                "metadata": {"client_event_id": "e"},
            }
        },
        rt.ResponseCreated(
            rt.ResponseInfo(id="r1", status="in_progress", metadata={"client_event_id": "e"})
        ),
    ),
    (
        "response.done",
        {
            "response": {
                "id": "r1",
                "status": "failed",
                "status_details": {
                    "type": "failed",
                    "reason": "server_error",
                    "error": {"type": "server_error", "code": "x"},
                },
                "output": [
                    CALL_MESSAGE,
                    {
                        "id": "i1",
                        "type": "message",
                        "role": "assistant",
                        "content": [{"type": "audio", "transcript": "Hello."}],
                    },
                ],
                "usage": {
                    "total_tokens": 30,
                    "input_tokens": 20,
                    "output_tokens": 10,
                    "input_token_details": {"cached_tokens": 4},
                    "output_token_details": {"audio_tokens": 7},
                },
            }
        },
        rt.ResponseDone(
            rt.ResponseInfo(
                id="r1",
                status="failed",
                status_details=rt.StatusDetails(
                    type="failed",
                    reason="server_error",
                    error=rt.ErrorInfo(type="server_error", code="x"),
                ),
                output=(
                    CALL_ITEM,
                    rt.Message(role="assistant", content=[rt.OutputAudio("Hello.")], id="i1"),
                ),
                usage=rt.Usage(
                    total_tokens=30,
                    input_tokens=20,
                    output_tokens=10,
                    input_token_details=rt.TokenDetails(cached_tokens=4),
                    output_token_details=rt.TokenDetails(audio_tokens=7),
                ),
            )
        ),
    ),
    (
        "response.output_item.added",
        {"response_id": "r1", "output_index": 2, "item": CALL_MESSAGE},
        rt.OutputItemAdded("r1", CALL_ITEM, output_index=2),
    ),
    (
        "response.output_item.done",
        {"response_id": "r1", "output_index": 2, "item": CALL_MESSAGE},
        rt.OutputItemDone("r1", CALL_ITEM, output_index=2),
    ),
    (
        "response.content_part.added",
        {**PLACE, "part": {"type": "audio", "transcript": ""}},
        rt.ContentPartAdded("r1", "i1", rt.OutputAudio(""), output_index=2, content_index=1),
    ),
    (
        "response.content_part.done",
        {**PLACE, "part": {"type": "text", "text": "Hi"}},
        rt.ContentPartDone("r1", "i1", rt.OutputText("Hi"), output_index=2, content_index=1),
    ),
    (
        "response.output_text.delta",
        {**PLACE, "delta": "Hel"},
        rt.TextDelta("r1", "i1", "Hel", output_index=2, content_index=1),
    ),
    (
        "response.output_text.done",
        {**PLACE, "text": "Hello."},
        rt.TextDone("r1", "i1", "Hello.", output_index=2, content_index=1),
    ),
    (
        "response.output_audio.delta",
        {**PLACE, "delta": "AAEC"},
        rt.AudioDelta("r1", "i1", b"\0\1\2", output_index=2, content_index=1),
    ),
    (
        "response.output_audio.done",
        PLACE,
        rt.AudioDone("r1", "i1", output_index=2, content_index=1),
    ),
    (
        "response.output_audio_transcript.delta",
        {**PLACE, "delta": "Hel"},
        rt.TranscriptDelta("r1", "i1", "Hel", output_index=2, content_index=1),
    ),
    (
        "response.output_audio_transcript.done",
        {**PLACE, "transcript": "Hello."},
        rt.TranscriptDone("r1", "i1", "Hello.", output_index=2, content_index=1),
    ),
    (
        "response.function_call_arguments.delta",
        {**OUTPUT, "call_id": "c1", "delta": '{"ci'},
        rt.FunctionArgumentsDelta("r1", "i1", '{"ci', "c1", output_index=2),
    ),
    (
        "response.function_call_arguments.done",
        {**OUTPUT, "call_id": "c1", "name": "f", "arguments": '{"city":"Oslo"}'},
        rt.FunctionArgumentsDone("r1", "i1", '{"city":"Oslo"}', "c1", "f", output_index=2),
    ),
    ("mcp_list_tools.in_progress", {"item_id": "i1"}, rt.McpListStarted("i1")),
    ("mcp_list_tools.completed", {"item_id": "i1"}, rt.McpListCompleted("i1")),
    ("mcp_list_tools.failed", {"item_id": "i1"}, rt.McpListFailed("i1")),
    (
        "response.mcp_call_arguments.delta",
        {**OUTPUT, "delta": "{"},
        rt.McpArgumentsDelta("r1", "i1", "{", output_index=2),
    ),
    (
        "response.mcp_call_arguments.done",
        {**OUTPUT, "arguments": "{}"},
        rt.McpArgumentsDone("r1", "i1", "{}", output_index=2),
    ),
    (
        "response.mcp_call.in_progress",
        {"item_id": "i1", "output_index": 2},
        rt.McpCallStarted("i1", 2),
    ),
    (
        "response.mcp_call.completed",
        {"item_id": "i1", "output_index": 2},
        rt.McpCallCompleted("i1", 2),
    ),
    ("response.mcp_call.failed", {"item_id": "i1", "output_index": 2}, rt.McpCallFailed("i1", 2)),
    ("output_audio_buffer.started", {"response_id": "r1"}, rt.OutputAudioStarted("r1")),
    ("output_audio_buffer.stopped", {"response_id": "r1"}, rt.OutputAudioStopped("r1")),
    ("output_audio_buffer.cleared", {"response_id": "r1"}, rt.OutputAudioCleared("r1")),
    (
        "response.backchannel.audio.delta",
        {"backchannel_id": "b1", "delta": "AAEC"},
        rt.BackchannelDelta("b1", b"\0\1\2"),
    ),
    (
        "response.backchannel.audio.done",
        {"backchannel_id": "b1", "phrase": "uh-huh"},
        rt.BackchannelDone("b1", "uh-huh"),
    ),
    (
        "response.backchannel.skipped",
        {"backchannel_id": "b1", "reason": "deadline_missed"},
        rt.BackchannelSkipped("b1", "deadline_missed"),
    ),
    ("ping", {"timestamp": 1790000000000}, rt.PingReceived(1790000000000)),
    (
        "rate_limits.updated",
        {"rate_limits": [{"name": "t", "limit": 9, "remaining": 8, "reset_seconds": 0.5}]},
        rt.RateLimitsUpdated((rt.RateLimit("t", 9, 8, 0.5),)),
    ),
    (
        "error",
        {
            "error": {
                "type": "invalid_request_error",
                "code": "unknown_event_type",
                "message": "no",
                "param": "type",
                "event_id": "e1",
            }
        },
        rt.ErrorReported(
            rt.ErrorInfo(
                type="invalid_request_error",
                code="unknown_event_type",
                message="no",
                param="type",
                event_id="e1",
            )
        ),
    ),
]
NAMES = [name for name, _, _ in EVENTS]

# The required fields of each message.
REQUIRED = {
    "input_audio_buffer.committed": ["item_id"],
    "conversation.item.added": ["item"],
    "conversation.item.done": ["item"],
    "conversation.item.deleted": ["item_id"],
    "conversation.item.truncated": ["item_id", "content_index", "audio_end_ms"],
    "conversation.item.retrieved": ["item"],
    "conversation.item.input_audio_transcription.delta": ["item_id", "delta"],
    "conversation.item.input_audio_transcription.completed": ["item_id", "transcript"],
    "conversation.item.input_audio_transcription.failed": ["item_id"],
    "response.created": ["response"],
    "response.done": ["response"],
    "response.output_item.added": ["response_id", "item"],
    "response.output_item.done": ["response_id", "item"],
    "response.content_part.added": ["response_id", "item_id", "part"],
    "response.content_part.done": ["response_id", "item_id", "part"],
    "response.output_text.delta": ["response_id", "item_id", "delta"],
    "response.output_text.done": ["response_id", "item_id", "text"],
    "response.output_audio.delta": ["response_id", "item_id", "delta"],
    "response.output_audio.done": ["response_id", "item_id"],
    "response.output_audio_transcript.delta": ["response_id", "item_id", "delta"],
    "response.output_audio_transcript.done": ["response_id", "item_id", "transcript"],
    "response.function_call_arguments.delta": ["response_id", "item_id", "delta"],
    "response.function_call_arguments.done": ["response_id", "item_id"],
    "response.mcp_call_arguments.delta": ["response_id", "item_id", "delta"],
    "response.mcp_call_arguments.done": ["response_id", "item_id"],
    "response.backchannel.audio.delta": ["backchannel_id", "delta"],
    "response.backchannel.audio.done": ["backchannel_id"],
}
MISSING = [(name, field) for name, fields in REQUIRED.items() for field in fields]

# (older name, present name) of the same message.
OLDER_NAMES = [
    ("response.audio.delta", "response.output_audio.delta"),
    ("response.audio.done", "response.output_audio.done"),
    ("response.audio_transcript.delta", "response.output_audio_transcript.delta"),
    ("response.audio_transcript.done", "response.output_audio_transcript.done"),
    ("response.text.delta", "response.output_text.delta"),
    ("response.text.done", "response.output_text.done"),
    ("conversation.item.created", "conversation.item.added"),
    (
        "input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.delta",
    ),
    (
        "input_audio_buffer.transcription.delta",
        "conversation.item.input_audio_transcription.delta",
    ),
]


def message(name, fields):
    """Return the JSON text of one message."""
    return json.dumps({"type": name, **fields})


def fields_of(name):
    """Return the fields that the table above has for a message."""
    return next(fields for each, fields, _ in EVENTS if each == name)


@pytest.mark.parametrize(("name", "fields", "event"), EVENTS, ids=NAMES)
def test_messages(name, fields, event):
    """Each message is read as the event of the same name, with or without an event id."""
    assert event == read(message(name, fields))
    assert attrs.evolve(event, event_id="evt_1") == read(
        message(name, {"event_id": "evt_1", **fields})
    )
    assert name == event.type


def test_every_event_is_in_the_table():
    """The table above contains every event."""
    names = {
        kind.type
        for kind in (getattr(rt, name) for name in rt.__all__)
        if isinstance(kind, type)
        and issubclass(kind, rt.RealtimeEvent)
        and kind is not rt.RealtimeEvent
    }

    assert names == set(NAMES)


@pytest.mark.parametrize(("name", "field"), MISSING)
@pytest.mark.parametrize("present", [False, True], ids=["missing", "null"])
def test_required_fields(name, field, present):
    """A message without a required field raises an error that names the field."""
    fields = {key: value for key, value in fields_of(name).items() if key != field}
    if present:
        fields[field] = None
    with pytest.raises(RemoteProtocolError, match=field):
        read(message(name, fields))


OPTIONAL = [
    (name, field)
    for name, fields, _ in EVENTS
    for field in fields
    if field not in REQUIRED.get(name, [])
]


@pytest.mark.parametrize(("name", "field"), OPTIONAL)
def test_optional_fields(name, field):
    """Each optional field may be missing or null, with the same result."""
    fields = {key: value for key, value in fields_of(name).items() if key != field}

    assert read(message(name, fields)) == read(message(name, {**fields, field: None}))


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("session.")])
def test_unknown_fields(name):
    """An unknown field is kept in ``extra``."""
    novel = {"novel": {"a": [1, None]}, "new": None}
    event = read(message(name, {**fields_of(name), **novel}))

    assert novel == event.extra


# (name, field, value, part of the error): required fields with values of a wrong type.
WRONG_TYPES = [
    ("response.output_text.delta", "delta", 5, "delta"),
    ("response.output_text.delta", "item_id", 5, "item_id"),
    ("response.output_audio.delta", "delta", ["AA"], "delta"),
    ("response.output_audio.delta", "delta", "*AA*", "delta"),
    ("conversation.item.added", "item", "i1", "item"),
    ("conversation.item.added", "item", {"type": "message", "role": "user"}, "item.id"),
    ("conversation.item.added", "item", {"type": "message", "id": 5}, "item.id"),
    ("conversation.item.added", "item", {"type": "function_call", "id": "f1"}, "item.call_id"),
    ("response.done", "response", [], "response"),
    ("response.done", "response", {"status": "completed"}, "response.id"),
    ("response.content_part.added", "part", 5, "part"),
]


@pytest.mark.parametrize(("name", "field", "value", "named"), WRONG_TYPES)
def test_wrong_types(name, field, value, named):
    """A required field of a wrong type raises an error that names the message and the field."""
    with pytest.raises(RemoteProtocolError, match=named):
        read(message(name, {**fields_of(name), field: value}))


# (name, field, wrong value, warnings): optional fields of wrong types, as services send them.
IGNORED = [
    ("input_audio_buffer.speech_started", "audio_start_ms", "420", ["audio_start_ms"]),
    ("input_audio_buffer.speech_started", "audio_start_ms", 12.5, ["audio_start_ms"]),
    ("input_audio_buffer.speech_started", "item_id", 5, ["item_id"]),
    ("response.output_audio.delta", "event_id", 17, ["event_id"]),
    ("response.output_audio.delta", "output_index", 1.5, ["output_index"]),
    ("response.output_audio.delta", "content_index", True, ["content_index"]),
    ("conversation.item.added", "previous_item_id", 3, ["previous_item_id"]),
    ("ping", "timestamp", "2026-01-01T00:00:00Z", ["timestamp"]),
    ("mcp_list_tools.failed", "item_id", 5, ["item_id"]),
    ("rate_limits.updated", "rate_limits", "none", ["rate_limits"]),
    ("rate_limits.updated", "rate_limits", [{"reset_seconds": "6ms"}], ["reset_seconds"]),
    ("response.done", "response", {"id": "r", "output": ["x"]}, ["output"]),
    ("response.done", "response", {"id": "r", "usage": [1]}, ["usage"]),
    (
        "response.done",
        "response",
        {"id": "r", "usage": {"total_tokens": 2.5, "input_token_details": {"text_tokens": "1"}}},
        ["total_tokens", "text_tokens"],
    ),
    ("response.done", "response", {"id": "r", "status_details": "x"}, ["status_details"]),
    ("session.updated", "session", "x", ["session"]),
    ("session.updated", "event_id", 5, ["event_id"]),
    ("session.created", "session", {"expires_at": "soon"}, ["expires_at"]),
    (
        "session.created",
        "session",
        {"audio": {"output": {"speed": "1", "format": "mp3"}}},
        ["speed", "output_format"],
    ),
    (
        "session.created",
        "session",
        {"providerData": {"memory": {"state": {"facts": 5}}}},
        ["memory.facts"],
    ),
]


@pytest.mark.parametrize(("name", "field", "value", "ignored"), IGNORED)
def test_ignored_fields(name, field, value, ignored):
    """An optional field of a wrong type is ignored. A warning names the message and the field."""
    warnings = []
    event = read(message(name, {**fields_of(name), field: value}), warnings)

    assert name == event.type
    assert [f"{name}.{each}" for each in ignored] == warnings


@pytest.mark.parametrize(
    ("name", "field"), [each for each in OPTIONAL if each[1] not in ("session", "error")]
)
def test_only_the_wrong_field_is_ignored(name, field):
    """If one field is ignored, all other fields are read, and ``extra`` has the ignored value."""
    fields = fields_of(name)
    # The field `arguments` may be an object, so the wrong value for this field is a number.
    wrong = 5 if field == "arguments" else {"wrong": 1}
    without = read(message(name, {**fields, field: None}))

    expected = attrs.evolve(without, extra={**without.extra, field: wrong})
    assert expected == read(message(name, {**fields, field: wrong}))


# (content of an item, its parts): content with malformed parts.
CONTENTS = [
    ("Hi", (rt.OutputText("Hi"),)),
    (["Hi", {"type": "text", "text": "!"}], (rt.OutputText("Hi"), rt.OutputText("!"))),
    ([5, {"type": "text", "text": "Hi"}], (rt.OutputText("Hi"),)),
    (5, ()),
    (
        [{"type": "input_image", "image_url": "", "detail": "auto"}],
        (
            rt.UnknownPart(
                "input_image", {"type": "input_image", "image_url": "", "detail": "auto"}
            ),
        ),
    ),
    (
        [{"type": "input_image", "image_url": "https://x/y", "detail": "original"}],
        (rt.InputImage("https://x/y", extra={"detail": "original"}),),
    ),
    ([{"type": "audio", "transcript": 5}], (rt.OutputAudio(extra={"transcript": 5}),)),
]


@pytest.mark.parametrize(("content", "parts"), CONTENTS)
def test_malformed_content(content, parts):
    """A malformed part of an item is left out. The item and its other parts are returned."""
    item = {"id": "a1", "type": "message", "role": "assistant", "content": content}
    event = read(message("conversation.item.done", {"item": item}))

    assert parts == event.item.content


def test_malformed_item_of_a_response():
    """A malformed item of a response is left out. The other items are returned."""
    output = {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text"}]}
    text = {"id": "a1", "type": "message", "role": "assistant", "content": "Hi"}
    warnings = []
    event = read(
        message("response.done", {"response": {"id": "r1", "output": [output, text]}}), warnings
    )

    assert rt.UnknownItem("function_call_output", output) == event.response.output[0]
    assert "Hi" == event.response.output[1].text
    assert ["response.done.function_call_output"] == warnings


def test_response_id_outside_the_response():
    """If the id of a response is only in the message, the response still has the id."""
    text = message("response.done", {"response_id": "r1", "response": {"status": "completed"}})

    assert "r1" == read(text).response.id


@pytest.mark.parametrize(("older", "name"), OLDER_NAMES)
def test_older_names(older, name):
    """A message with an older name is read as the same event."""
    assert read(message(name, fields_of(name))) == read(message(older, fields_of(name)))


@pytest.mark.parametrize("name", ["response.start", "conversation.created", "", "x"])
def test_unknown_messages(name):
    """An unknown message is read as an UnknownEvent with the JSON object of the message."""
    raw = {"type": name, "a": None}

    assert UnknownEvent(name, raw) == read(json.dumps(raw))


# (message, fault): messages without a type that end a session.
UNTYPED = [
    (
        {"errorType": "SESSION_RESOURCES_EXHAUSTED"},
        SessionFault(
            "SESSION_RESOURCES_EXHAUSTED", "", ({"errorType": "SESSION_RESOURCES_EXHAUSTED"},)
        ),
    ),
    (
        {"error": {"code": 7, "message": "no", "details": []}},
        SessionFault(7, "no"),
    ),
    (
        {"error": {"code": 16, "message": "no", "details": [{"errorType": "SESSION_EXPIRED"}]}},
        SessionFault("SESSION_EXPIRED", "no", ({"errorType": "SESSION_EXPIRED"},)),
    ),
    ({"error": {}}, SessionFault("", "")),
]


@pytest.mark.parametrize(("raw", "fault"), UNTYPED)
def test_faults_without_a_type(raw, fault):
    """An error without a type is read as a fault of the session, not as an unknown message."""
    assert fault == read(json.dumps(raw))


@pytest.mark.parametrize("raw", [{}, {"a": 1}, {"type": 5}, {"error": "x"}])
def test_untyped_messages(raw):
    """Any other message without a type is read as an UnknownEvent with its JSON object."""
    assert UnknownEvent("", raw) == read(json.dumps(raw))


@pytest.mark.parametrize("text", [b"\xff", "{", "[]", "null", "5", "[" * 100_000])
def test_no_messages(text):
    """A text that is not a JSON object raises an error."""
    with pytest.raises(RemoteProtocolError):
        read(text)


def response(**fields):
    """Return the response of a ``response.done`` with these fields."""
    return read(message("response.done", {"response": {"id": "r1", **fields}})).response


def test_usage_outside_the_response():
    """If the usage is only in the message, the response still has the usage."""
    text = message("response.done", {"response": {"id": "r1"}, "usage": {"total_tokens": 3}})

    assert rt.Usage(total_tokens=3) == read(text).response.usage


# (usage in the message, usage of the response)
USAGES = [
    (None, None),
    ({"total_tokens": None}, rt.Usage()),
    ({"total_tokens": "9", "x": 1}, rt.Usage(extra={"total_tokens": "9", "x": 1})),
    ([1], None),
]


@pytest.mark.parametrize(("raw", "usage"), USAGES)
def test_usage_in_any_form(raw, usage):
    """If a usage count has a wrong type, the end of the response is still read."""
    assert usage == response(usage=raw).usage


# (metadata in the message, metadata of the response)
METADATA = [
    (None, {}),
    ({"attempts": [{"model": "m"}], "client_event_id": "e"},) * 2,
    ([{"model": "m"}], {"metadata": [{"model": "m"}]}),
]


@pytest.mark.parametrize(("raw", "metadata"), METADATA)
def test_metadata_in_any_form(raw, metadata):
    """Metadata is read even if it contains lists or is a list."""
    assert metadata == response(metadata=raw).metadata


@pytest.mark.parametrize("details", [None, "x", []])
def test_no_status_details(details):
    """A failed response is read even if it has no details of its status."""
    assert response(status="failed", status_details=details).status_details is None


# (part in the message, part): both names of the assistant's parts, and unknown parts.
PARTS = [
    ({"type": "text", "text": "a"}, rt.OutputText("a")),
    ({"type": "output_text", "text": "a"}, rt.OutputText("a")),
    ({"type": "audio", "transcript": "a"}, rt.OutputAudio("a")),
    ({"type": "output_audio", "transcript": "a"}, rt.OutputAudio("a")),
    ({"type": "audio", "transcript": None}, rt.OutputAudio()),
    ({"type": "text"}, rt.OutputText()),
    ({"type": "input_text"}, rt.UnknownPart("input_text", {"type": "input_text"})),
    ({"type": "video", "a": 1}, rt.UnknownPart("video", {"type": "video", "a": 1})),
    ({"a": 1}, rt.UnknownPart("", {"a": 1})),
    ({"type": "text", "text": "a", "b": 1}, rt.OutputText("a", extra={"b": 1})),
]


@pytest.mark.parametrize(("raw", "part"), PARTS)
def test_parts(raw, part):
    """Both names of a part are read. An unknown or incomplete part is an UnknownPart."""
    item = {"id": "i1", "type": "message", "role": "assistant", "content": [raw]}

    assert (part,) == response(output=[item]).output[0].content


# (item in the message, item): all kinds of items except complete messages.
ITEMS = [
    (CALL_MESSAGE, CALL_ITEM),
    (
        {"type": "function_call_output", "call_id": "c1", "output": "x"},
        rt.FunctionCallOutput(call_id="c1", output="x"),
    ),
    (
        {"type": "mcp_list_tools", "id": "l", "server_label": "s", "tools": [{"name": "t"}]},
        rt.McpToolList(id="l", server_label="s", tools=({"name": "t"},)),
    ),
    (
        {"type": "mcp_call", "id": "m", "server_label": "s", "name": "t", "error": {"code": 1}},
        rt.McpCall(id="m", server_label="s", name="t", error={"code": 1}),
    ),
    (
        {"type": "mcp_approval_request", "server_label": "s", "name": "t", "arguments": "{}"},
        rt.McpApprovalRequest(server_label="s", name="t", arguments="{}"),
    ),
    ({"type": "novel", "id": "n"}, rt.UnknownItem("novel", {"type": "novel", "id": "n"}, "n")),
    (
        {"type": "message", "role": "developer"},
        rt.UnknownItem("message", {"type": "message", "role": "developer"}),
    ),
]


@pytest.mark.parametrize(("raw", "item"), ITEMS)
def test_items(raw, item):
    """An item is read as the class of its type. An unknown item is an UnknownItem."""
    assert (item,) == response(output=[raw]).output


def test_voice_profile():
    """Estimates about the speaker are returned as objects. Malformed estimates are left out."""
    profile = {
        "age": [{"label": "adult", "confidence": 0.9}, {"label": "odd"}, 5],
        "language": "en",
    }
    fields = {"item_id": "i", "transcript": "x", "providerData": {"voiceProfile": profile}}
    event = read(message("conversation.item.input_audio_transcription.completed", fields))

    assert {"age": (rt.VoiceLabel("adult", 0.9),)} == event.voice_profile
    assert profile == event.extra["providerData"]["voiceProfile"]


# (fields, error): all forms of an error that services have sent.
ERRORS = [
    ({"error": "it broke"}, rt.ErrorInfo(message="it broke")),
    ({"message": "it broke"}, rt.ErrorInfo(message="it broke")),
    ({"error": None}, rt.ErrorInfo()),
    ({"error": {"code": None, "param": None}}, rt.ErrorInfo()),
    ({"error": {"code": 42, "x": None}}, rt.ErrorInfo(code="42", extra={"x": None})),
    ({"error": [1]}, rt.ErrorInfo(extra={"error": [1]})),
]


@pytest.mark.parametrize(("fields", "error"), ERRORS)
def test_errors_in_any_form(fields, error):
    """Each form of an error is read as the same object."""
    assert error == read(message("error", fields)).error


def test_call_without_name_or_arguments():
    """A call without arguments is read, even if it has no name and no call id."""
    event = read(
        message(
            "response.function_call_arguments.done",
            {"response_id": "r1", "item_id": "f1", "arguments": None},
        )
    )

    assert rt.FunctionArgumentsDone("r1", "f1") == event


WORDS = st.sampled_from(["", "message", "i1", "function_call", "text", "null"])


def json_values(floats):
    """Return a strategy for JSON values with these floats."""
    return st.recursive(
        st.none() | st.booleans() | st.integers() | floats | WORDS,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "id", "item", "content", "role", "usage", "error", "x"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=6,
    )


JSON = json_values(st.floats())
FINITE_JSON = json_values(st.floats(allow_nan=False, allow_infinity=False))


def places(value, above=()):
    """Yield the path of every value inside a JSON value."""
    yield above
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*above, key))


def replaced(value, place, new):
    """Return a copy of a JSON value in which the value at a path is replaced."""
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = replaced(value[place[0]], place[1:], new)
    return copy


@given(st.data(), st.sampled_from(NAMES), JSON)
def test_any_json_is_read_or_refused(data, name, value):
    """A message with any JSON value in a field is read, or raises RemoteProtocolError."""
    fields = fields_of(name)
    place = data.draw(st.sampled_from([each for each in places(fields) if each] or [("x",)]))
    text = message(name, replaced({"x": 0, **fields}, place, value))
    try:
        event = read(text)
    except RemoteProtocolError:
        return
    assert name == event.type


def essentials(event):
    """Return the required fields of an event."""
    return {
        field.name: getattr(event, field.name)
        for field in attrs.fields(type(event))
        if field.default is attrs.NOTHING
    }


WRONG = [None, True, -1, 2.5, 1e300, "text", "12", "", [], [None], [{}], {}, {"id": 5}]


@given(
    st.data(), st.sampled_from([each for each in OPTIONAL if each[1] not in ("session", "error")])
)
def test_a_wrong_optional_field_keeps_other_fields(data, place):
    """If an optional field is wrong, the required fields are read, and a warning is added."""
    name, field = place
    value = data.draw(st.sampled_from(WRONG) | FINITE_JSON)
    fields = fields_of(name)
    warnings = []
    event = read(message(name, {**fields, field: value}), warnings)

    assert essentials(read(message(name, fields))) == essentials(event)
    if field in event.extra:
        assert any(each.startswith(f"{name}.") for each in warnings)


# The paths of optional fields inside responses and items.
INNER = [
    (name, path)
    for name in ("response.created", "response.done", "conversation.item.added")
    for path in places(fields_of(name))
    if len(path) > 1 and path[-1] not in ("id", "object", "type", "role", "call_id")
]


@given(st.data(), st.sampled_from(INNER))
def test_a_wrong_inner_field_keeps_its_response_or_item(data, place):
    """If a value inside a response or an item is wrong, the response or item is still read."""
    name, path = place
    fields = fields_of(name)
    value = data.draw(st.sampled_from(WRONG) | FINITE_JSON)
    event = read(message(name, replaced(fields, path, value)))

    whole = read(message(name, fields))
    kept, expected = (getattr(each, path[0]) for each in (event, whole))
    assert expected.id == kept.id
    if "status" not in path:
        assert getattr(expected, "status", None) == getattr(kept, "status", None)


@given(st.binary(max_size=50))
def test_any_bytes_are_read_or_refused(data):
    """A message of any bytes is read, or raises RemoteProtocolError."""
    try:
        read(data)
    except RemoteProtocolError:
        return
