"""The items of a session: the order of items, and items that are sent again."""

import pytest

from inworld_sync.models import realtime as rt
from inworld_sync.wire.realtime.items import Items


def added(item_id, previous=None):
    """Return the service's message about an item that was added."""
    return rt.ItemAdded(rt.Message.user("x", id=item_id), previous)


# (previous id in the command, previous id in the answer, order of the items)
PLACES = [
    ("root", None, ["n", "a", "b"]),
    ("root", "root", ["n", "a", "b"]),
    ("a", None, ["a", "n", "b"]),
    (None, None, ["a", "b", "n"]),
    (None, "a", ["a", "n", "b"]),
    ("root", "b", ["a", "b", "n"]),
]


@pytest.mark.parametrize(("asked", "answered", "order"), PLACES)
def test_place_of_an_added_item(asked, answered, order):
    """An item follows the item that the service names, or else the item that the command names."""
    items = Items(is_inworld=True)
    for item_id in ("a", "b"):
        items.handle(added(item_id))
    items.add(rt.CreateItem(rt.Message.user("x", id="n"), asked))
    event = items.handle(added("n", answered))

    assert added("n", answered) == event
    assert order == [entry.item.id for entry in items.conversation.entries]


def test_replay_of_a_first_item():
    """If an item was put first and is not acknowledged yet, the replay puts it first again."""
    items = Items(is_inworld=True)
    items.handle(added("a"))
    items.add(rt.CreateItem(rt.Message.user("x", id="n"), "root"))
    items.add(rt.CreateItem(rt.Message.user("x", id="m"), "a"))
    commands = [(each.item.id, each.previous_item_id) for each in items.replay()]

    assert [("a", None), ("n", "root"), ("m", None)] == commands


def test_replay_without_a_malformed_part():
    """A picture that the service sent back without its content is left out of the replay."""
    items = Items(is_inworld=True)
    picture = rt.UnknownPart("input_image", {"type": "input_image", "image_url": ""})
    novel = rt.UnknownPart("novel", {"type": "novel"})
    message = rt.Message.user("Look:", picture, novel, id="a")
    items.handle(rt.ItemDone(message))
    [command] = items.replay()

    assert (rt.InputText("Look:"), novel) == command.item.content


# (code of the error, whether the item stays in the conversation)
REFUSALS = [("invalid_value", False), (None, False), ("item_create_duplicate_item_id", True)]


@pytest.mark.parametrize(("code", "stays"), REFUSALS)
def test_refused_replay(code, stays):
    """An item that the new session refuses is removed, unless the session already has the item."""
    items = Items(is_inworld=True)
    items.handle(added("a"))
    items.replay()
    items.refuse("a", rt.ErrorInfo(code=code))

    assert stays is bool(items.conversation.entries)


@pytest.mark.parametrize(
    ("arguments", "sent"), [('{"a": 1}', '{"a": 1}'), ('{"a', "{}"), ("", "{}")]
)
def test_replay_of_a_call(arguments, sent):
    """Services refuse arguments that are not JSON, so the replay sends {} instead of them."""
    items = Items(is_inworld=True)
    call = rt.FunctionCall(call_id="c1", name="f", arguments=arguments, id="f1")
    items.handle(rt.ItemAdded(call, None))
    items.handle(rt.ItemDone(call, None))

    assert [sent] == [command.item.arguments for command in items.replay()]
