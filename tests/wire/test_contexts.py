"""The contexts of a connection: every command and answer in every state, and the limit."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from inworld_sync.errors import (
    ConfigError,
    ContextLimitError,
    InvalidRequestError,
    LocalProtocolError,
    RemoteProtocolError,
    ServiceError,
)
from inworld_sync.models.events import StreamEnded, UnknownEvent
from inworld_sync.models.tts import (
    ContextClosed,
    ContextConfig,
    ContextCreated,
    FlushCompleted,
    TtsUsage,
)
from inworld_sync.wire import tts
from inworld_sync.wire.contexts import ContextProgress, Contexts, ContextState

CONFIG = ContextConfig()

# The steps that the rows name, on the context "c".
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

# state: the state after each command; an error changes nothing.
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
    """A command has the effect of the table; a command that is not allowed changes nothing."""
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
    """A context leaves the table with the last message about it, and with no other message."""
    contexts = in_state(state)
    gone = contexts.handle(ANSWERS[answer])

    assert (state is not NONE and answer in GOES_WITH) == gone
    assert (NONE if gone else state) is contexts.state("c")


def test_one_close_is_sent() -> None:
    """Only one close is sent, since the service answers a second one with an error."""
    contexts = in_state(OPEN)

    assert {"close_context": {}, "contextId": "c"} == json.loads(contexts.close("c") or "")
    assert contexts.close("c") is None


def test_closing_contexts_count() -> None:
    """A place is free only when the service has confirmed the end of the context."""
    contexts = Contexts(2)
    contexts.create("a", CONFIG)
    contexts.create("b", CONFIG)
    contexts.close("a")
    with pytest.raises(ContextLimitError, match="at most 2 contexts"):
        contexts.create("c", CONFIG)

    assert (0, 1, 2) == (contexts.free, contexts.closing, len(contexts))
    contexts.handle(ContextClosed("a"))
    assert (1, 0, 1) == (contexts.free, contexts.closing, len(contexts))


def test_refused_create_takes_no_place() -> None:
    """A create that cannot be written takes no place."""
    contexts = Contexts()
    with pytest.raises(ConfigError):
        contexts.create("c", ContextConfig(extra={"bad": object()}))

    assert contexts.state("c") is None


def test_forget() -> None:
    """A context whose create was not sent takes no place."""
    contexts = in_state(OPEN)
    contexts.forget("c")
    contexts.forget("c")

    assert 5 == contexts.free


STEPS = st.tuples(
    st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["create", "close", "closed", "fault"])
)


@given(st.lists(STEPS, max_size=40))
def test_never_more_than_the_limit(steps: list[tuple[str, str]]) -> None:
    """Commands in any order never open more contexts than the limit."""
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
            assert (living.pop(name, None) is not None) == contexts.handle(answer)
        assert len(living) == len(contexts) == 3 - contexts.free


# The progress of one context.


def test_usage_is_summed() -> None:
    """The counts of the service are added up; the latest model name is kept."""
    progress = ContextProgress()
    for usage in (TtsUsage(3, "m"), None, TtsUsage(4, ""), TtsUsage(5, "n")):
        progress.handle_audio(10, usage)

    assert TtsUsage(12, "n") == progress.usage
    assert (40, True) == (progress.received_bytes, progress.was_answered)


@pytest.mark.parametrize(
    "message", [ContextCreated("c", {}), FlushCompleted("c"), ANSWERS["unknown"]]
)
def test_a_message_that_ends_nothing(message: tts.ContextMessage) -> None:
    """Most messages are answers, and the context continues."""
    progress = ContextProgress()

    assert progress.handle(message, was_closing=True) is None
    assert progress.was_answered


def test_a_fault_is_no_answer() -> None:
    """
    A fault ends the context with its error; it does not count as an answer, so a retry is
    allowed.
    """
    progress = ContextProgress()
    ended = progress.handle(tts.ContextFault("c", 3, "text length"), was_closing=False)

    assert ended is not None
    assert ("server", "text length") == (ended.by, ended.reason)
    assert isinstance(ended.error, InvalidRequestError)
    assert not progress.was_answered


def test_an_unreadable_message() -> None:
    """A message that cannot be read ends the context with the reason."""
    error = RemoteProtocolError("expected an array")
    progress = ContextProgress()

    assert StreamEnded("client", reason="unreadable message", error=error) == progress.handle(
        tts.Unreadable("c", error), was_closing=False
    )


# (characters sent, bytes received, whether the client had closed it, part of the error)
CLOSES = [
    (0, 0, True, None),
    (5, 2, True, None),
    (5, 0, True, "without audio for 5 characters"),
    (5, 2, False, "before it was asked to"),
    (0, 0, False, "before it was asked to"),
]


@pytest.mark.parametrize(("sent", "received", "was_closing", "words"), CLOSES)
def test_closed(sent: int, received: int, was_closing: bool, words: str | None) -> None:
    """A context ends without an error if the client closed it and its text was spoken."""
    progress = ContextProgress()
    progress.sent_characters = sent
    progress.handle_audio(received, None)
    ended = progress.handle(ContextClosed("c"), was_closing=was_closing)

    assert ended is not None
    if words is None:
        assert StreamEnded("client", reason="closed") == ended
    else:
        assert isinstance(ended.error, ServiceError)
        assert words in ended.error.message
        assert ended.error.retryable
