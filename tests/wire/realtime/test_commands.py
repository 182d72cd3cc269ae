"""Each command of a realtime session is converted to the JSON of the service."""

import importlib.util
import itertools
import json
from functools import partial
from types import ModuleType

import attrs
import pytest

from inworld_sync.errors import ConfigError
from inworld_sync.models import realtime as rt
from inworld_sync.wire.realtime.commands import APPEND_HEAD, APPEND_TAIL

from support.interrupts import interrupted
from support.realtime_wire import write

# (command, message): every command without optional fields, and with all optional fields.
COMMANDS = [
    (rt.CommitInputAudio(), {"type": "input_audio_buffer.commit"}),
    (rt.ClearInputAudio(), {"type": "input_audio_buffer.clear"}),
    (rt.ClearOutputAudio(), {"type": "output_audio_buffer.clear"}),
    (
        rt.AppendInputAudio("AAAA"),
        {"type": "input_audio_buffer.append", "audio": "AAAA"},
    ),
    (
        rt.CommitInputAudio(event_id="e1"),
        {"type": "input_audio_buffer.commit", "event_id": "e1"},
    ),
    (
        rt.UpdateSession(rt.Session(voice="Dennis"), event_id="e2"),
        {
            "type": "session.update",
            "event_id": "e2",
            "session": {"type": "realtime", "audio": {"output": {"voice": "Dennis"}}},
        },
    ),
    (
        rt.CreateItem(rt.Message.user("Hi there!")),
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hi there!"}],
            },
        },
    ),
    (
        rt.CreateItem(rt.Message.assistant("Hello.", id="i1"), previous_item_id="root"),
        {
            "type": "conversation.item.create",
            "previous_item_id": "root",
            "item": {
                "type": "message",
                "role": "assistant",
                "id": "i1",
                "content": [{"type": "text", "text": "Hello."}],
            },
        },
    ),
    (
        rt.CreateItem(
            rt.Message.user(
                rt.InputAudio.from_pcm(b"\x01\x02\x03"),
                rt.InputImage.from_bytes(b"\xff", "image/jpeg"),
                rt.InputImage("https://example.com/a.png", detail="low"),
            )
        ),
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_audio", "audio": "AQID"},
                    {"type": "input_image", "image_url": "data:image/jpeg;base64,/w=="},
                    {
                        "type": "input_image",
                        "image_url": "https://example.com/a.png",
                        "detail": "low",
                    },
                ],
            },
        },
    ),
    (
        rt.CreateItem(rt.Message.system(rt.UnknownPart("x", {"type": "x", "y": [1]}))),
        {
            "type": "conversation.item.create",
            "item": {"type": "message", "role": "system", "content": [{"type": "x", "y": [1]}]},
        },
    ),
    (
        rt.CreateItem(rt.FunctionCall(call_id="c1", name="f", arguments="{}", status="completed")),
        {
            "type": "conversation.item.create",
            "item": {
                "type": "function_call",
                "call_id": "c1",
                "name": "f",
                "arguments": "{}",
                "status": "completed",
            },
        },
    ),
    (
        rt.CreateItem(rt.FunctionCallOutput(call_id="c1", output="")),
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "c1", "output": ""},
        },
    ),
    (
        rt.CreateItem(rt.McpApprovalResponse(approval_request_id="a1", approve=False, reason="no")),
        {
            "type": "conversation.item.create",
            "item": {
                "type": "mcp_approval_response",
                "approval_request_id": "a1",
                "approve": False,
                "reason": "no",
            },
        },
    ),
    (
        rt.CreateItem(rt.UnknownItem("new", {"type": "new", "z": None})),
        {"type": "conversation.item.create", "item": {"type": "new", "z": None}},
    ),
    (
        rt.TruncateItem("item_a1", 0, 1200),
        {
            "type": "conversation.item.truncate",
            "item_id": "item_a1",
            "content_index": 0,
            "audio_end_ms": 1200,
        },
    ),
    (rt.DeleteItem("i1"), {"type": "conversation.item.delete", "item_id": "i1"}),
    (rt.RetrieveItem("i1"), {"type": "conversation.item.retrieve", "item_id": "i1"}),
    (rt.CreateResponse(), {"type": "response.create"}),
    (rt.CreateResponse(rt.ResponseConfig()), {"type": "response.create", "response": {}}),
    (
        rt.CreateResponse(
            rt.ResponseConfig(
                instructions="Sum up.",
                conversation="none",
                input=[rt.Message.user("x"), rt.ItemReference("i7")],
                output_modalities=["text"],
                voice="Sarah",
                temperature=0.5,
                max_output_tokens="inf",
                tools=[rt.FunctionTool(name="f")],
                tool_choice="required",
                metadata={"topic": "sum"},
                extra={"later": True},
            )
        ),
        {
            "type": "response.create",
            "response": {
                "instructions": "Sum up.",
                "conversation": "none",
                "input": [
                    {
                        "type": "message",
                        "role": "user",
                        "content": [{"type": "input_text", "text": "x"}],
                    },
                    {"type": "item_reference", "id": "i7"},
                ],
                "output_modalities": ["text"],
                "voice": "Sarah",
                "temperature": 0.5,
                "max_output_tokens": "inf",
                "tools": [
                    {
                        "type": "function",
                        "name": "f",
                        "parameters": {"type": "object", "properties": {}},
                    }
                ],
                "tool_choice": "required",
                "metadata": {"topic": "sum"},
                "later": True,
            },
        },
    ),
    (
        rt.CreateResponse(rt.ResponseConfig(input=[])),
        {"type": "response.create", "response": {"input": []}},
    ),
    (rt.CancelResponse(), {"type": "response.cancel"}),
    (rt.CancelResponse("r1"), {"type": "response.cancel", "response_id": "r1"}),
]


@pytest.mark.parametrize(("command", "message"), COMMANDS)
def test_messages(command, message):
    """The JSON of each command is the message that the service documents."""
    assert message == json.loads(write(command))


def test_every_command_is_in_the_table():
    """The table above contains every command."""
    kinds = {
        kind
        for kind in (getattr(rt, name) for name in rt.__all__)
        if isinstance(kind, type) and issubclass(kind, rt.Command) and kind is not rt.Command
    }

    assert kinds == {type(command) for command, _ in COMMANDS}


# (call, part of the error): arguments that the service never accepts.
REFUSED = [
    (lambda: rt.AppendInputAudio(b"AAAA"), "base64 text"),
    (lambda: rt.TruncateItem("", 0, 0), "item_id"),
    (lambda: rt.TruncateItem("i", -1, 0), "content_index"),
    (lambda: rt.TruncateItem("i", 0, 1.5), "audio_end_ms"),
    (lambda: rt.TruncateItem("i", 0, -1), "audio_end_ms must be 0 or more ms"),
    (lambda: rt.DeleteItem(None), "item_id"),
    (lambda: rt.CreateItem("Hi"), "Message.user"),
    (lambda: rt.CreateResponse({"voice": "x"}), "ResponseConfig"),
    (lambda: rt.UpdateSession({"voice": "x"}), "Session"),
    (lambda: rt.ResponseConfig(input=["Hi"]), "Message.user"),
    (lambda: rt.ResponseConfig(conversation="other"), "conversation must be one of auto, none"),
    (lambda: rt.ResponseConfig(metadata={"n": 1}), "metadata"),
    (lambda: rt.Message(role="bot"), "role must be one of user"),
    (lambda: rt.Message(role="user", content=["Hi"]), "InputText"),
    (lambda: rt.InputText(None), "text"),
    (lambda: rt.InputImage("photo.png"), "InputImage.from_bytes"),
    (lambda: rt.FunctionCallOutput(call_id="", output="x"), "call_id"),
    (lambda: rt.FunctionCallOutput(call_id="c", output=5), "output"),
    (lambda: rt.McpApprovalResponse(approval_request_id="a", approve=None), "approve"),
]


@pytest.mark.parametrize(("make", "named"), REFUSED)
def test_wrong_commands(make, named):
    """A wrong argument of a command raises an error that names the argument."""
    with pytest.raises(ConfigError, match=named):
        make()


def test_lone_surrogate():
    """Text that cannot be written as UTF-8 raises an error before anything is sent."""
    with pytest.raises(ConfigError, match="lone surrogate"):
        write(rt.CreateItem(rt.Message.user("\ud800")))


def test_audio_message_from_its_parts():
    """The head, the audio in base64 and the tail together are the text of the audio command."""
    assert write(rt.AppendInputAudio("AAEC")) == APPEND_HEAD + "AAEC" + APPEND_TAIL


def test_commands_do_not_show_audio():
    """The repr of a command does not show audio, and shows only the start of a picture."""
    picture = rt.InputImage.from_bytes(bytes(1000))
    shown = repr([rt.AppendInputAudio("QUJD"), rt.InputAudio("QUJD"), picture])

    assert "QUJD" not in shown
    assert len(shown) < 300


def test_commands_are_frozen():
    """The fields of a command cannot be changed after they were checked."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        rt.DeleteItem("i1").item_id = ""


def new_codec() -> ModuleType:
    """Return the module of the codec, which has not written anything yet."""
    spec = importlib.util.find_spec("inworld_sync.wire.realtime.codec")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_interrupted_write() -> None:
    """If a signal handler interrupts the first write, later writes have the type."""
    message = rt.Message.user("Hi.")
    for point in itertools.count():
        plain = new_codec().plain
        was_interrupted = interrupted(partial(plain, message), point)
        body = plain(message)

        assert ("message", "input_text") == (body["type"], body["content"][0]["type"]), point
        if not was_interrupted:
            break
    assert point > 10
