"""The contexts of a connection: every command and answer in every state, and the limit."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from inworld_sync.errors import ConfigError, ContextLimitError, LocalProtocolError
from inworld_sync.models.events import UnknownEvent
from inworld_sync.models.tts import ContextClosed, ContextConfig, ContextCreated, FlushCompleted
from inworld_sync.wire import tts
from inworld_sync.wire.contexts import Contexts, ContextState

CONFIG = ContextConfig()

# The steps of each row's name, done to the context "c".
COMMANDS = {
    "create": lambda contexts: contexts.create("c", CONFIG),
    "text": lambda contexts: contexts.send_text("c", "Hi."),
    "flush": lambda contexts: contexts.flush("c"),
    "update": lambda contexts: contexts.update("c", {"temperature": 1}),
    "close": lambda contexts: contexts.close("c"),
}
ANSWERS = {
    "created": ContextCreated("c", {}),
    "audio": tts.AudioReceived("c", "AAA="),
    "flushed": FlushCompleted("c"),
    "closed": ContextClosed("c"),
    "not found": tts.ContextFault("c", 5, "context c not found"),
    "limit": tts.ContextFault("c", 8, "limit of 5 TTS contexts"),
    "refused": tts.ContextFault("c", 3, "text length"),
    "connection fault": tts.ConnectionFault(3, "malformed"),
    "unreadable": tts.Unreadable("c", ValueError()),  # type: ignore[arg-type]
    "unknown": UnknownEvent("x", {}),
}

OPEN, CLOSING, NONE = ContextState.OPEN, ContextState.CLOSING, None

# state: what each command makes of it; an error changes nothing.
AFTER_COMMAND = {
    NONE: {"create": OPEN, "text": "error", "flush": "error", "update": "error", "close": NONE},
    OPEN: {"create": "error", "text": OPEN, "flush": OPEN, "update": OPEN, "close": CLOSING},
    CLOSING: {
        "create": "error",
        "text": "error",
        "flush": "error",
        "update": "error",
        "close": CLOSING,
    },
}
GOES_WITH = {"closed", "not found", "limit"}


def in_state(state: ContextState | None) -> Contexts:
    contexts = Contexts()
    if state is not NONE:
        contexts.create("c", CONFIG)
    if state is CLOSING:
        contexts.close("c")
    return contexts


@pytest.mark.parametrize(
    ("state", "command", "after"),
    [
        (state, command, after)
        for state, row in AFTER_COMMAND.items()
        for command, after in row.items()
    ],
)
def test_commands(state: ContextState | None, command: str, after: ContextState | str) -> None:
    """A command does what the table says, and one that is not allowed changes nothing."""
    contexts = in_state(state)
    if after == "error":
        with pytest.raises(LocalProtocolError):
            COMMANDS[command](contexts)
        after = state  # type: ignore[assignment]
    else:
        COMMANDS[command](contexts)

    assert after is contexts.state("c")


@pytest.mark.parametrize("state", AFTER_COMMAND)
@pytest.mark.parametrize("answer", ANSWERS)
def test_answers(state: ContextState | None, answer: str) -> None:
    """A context is gone with the service's last word about it, and with nothing else."""
    contexts = in_state(state)
    gone = contexts.note(ANSWERS[answer])

    assert (state is not NONE and answer in GOES_WITH) == gone
    assert (NONE if gone else state) is contexts.state("c")


def test_one_close_is_sent() -> None:
    """Close is said once, since the service answers a second one with an error."""
    contexts = in_state(OPEN)

    assert {"close_context": {}, "contextId": "c"} == json.loads(contexts.close("c") or "")
    assert contexts.close("c") is None


def test_closing_contexts_count() -> None:
    """A place is free only when the service has said that the context is gone."""
    contexts = Contexts(2)
    contexts.create("a", CONFIG)
    contexts.create("b", CONFIG)
    contexts.close("a")
    with pytest.raises(ContextLimitError, match="at most 2 contexts"):
        contexts.create("c", CONFIG)

    assert (0, 1, 2) == (contexts.free, contexts.closing, len(contexts))
    contexts.note(ContextClosed("a"))
    assert (1, 0, 1) == (contexts.free, contexts.closing, len(contexts))


def test_refused_create_takes_no_place() -> None:
    """A create that cannot be written leaves nothing behind."""
    contexts = Contexts()
    with pytest.raises(ConfigError):
        contexts.create("c", ContextConfig(extra={"bad": object()}))

    assert contexts.state("c") is None


def test_forget() -> None:
    """A context whose create never left gives its place back."""
    contexts = in_state(OPEN)
    contexts.forget("c")
    contexts.forget("c")

    assert 5 == contexts.free


STEPS = st.tuples(
    st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["create", "close", "closed", "fault"])
)


@given(st.lists(STEPS, max_size=40))
def test_never_more_than_the_limit(steps: list[tuple[str, str]]) -> None:
    """Whatever is asked in whatever order, no more contexts live than the limit."""
    contexts, living = Contexts(3), dict[str, bool]()
    for name, step in steps:
        if step == "create":
            allowed = name not in living and len(living) < 3
            try:
                contexts.create(name, CONFIG)
            except (LocalProtocolError, ContextLimitError):
                assert not allowed
            else:
                assert allowed
                living[name] = True
        elif step == "close":
            assert living.get(name, False) == (contexts.close(name) is not None)
            living.update({name: False} if name in living else {})
        else:
            answer = ContextClosed(name) if step == "closed" else tts.ContextFault(name, 5, "")
            assert (living.pop(name, None) is not None) == contexts.note(answer)
        assert len(living) == len(contexts) == 3 - contexts.free
