"""The contexts of a connection: each command and answer in each state, and the limit."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given, settings, strategies as st

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
    ContextUpdated,
    FlushCompleted,
    TtsUsage,
)
from inworld_sync.wire import tts
from inworld_sync.wire.contexts import ContextProgress, ContextRequest, Contexts

CONFIG = ContextConfig()

# The tests below use these names. All commands and answers are about the context "c".
COMMANDS = {
    "create": lambda contexts: create(contexts),
    "text": lambda contexts: contexts.send_text("c", "Hi.", 0.0),
    "flush": lambda contexts: contexts.flush("c", 0.0),
    "update": lambda contexts: contexts.update("c", {"temperature": 1}, 0.0),
    "close": lambda contexts: contexts.close("c", 0.0),
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

OPEN, CLOSING, NONE = "open", "closing", "none"

# The first key is the state before a command, and the second key is the command. The value is the
# state after the command, or "error". A refused command does not change the state.
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
ENDING = {"closed", "not found", "limit"}


def create(contexts: Contexts, name: str = "c", config: ContextConfig = CONFIG) -> None:
    contexts.create(name, config, ContextProgress(), 0.0)


def in_state(state: str) -> Contexts:
    contexts = Contexts()
    if state != NONE:
        create(contexts)
    if state == CLOSING:
        contexts.close("c", 0.0)
    return contexts


def state_of(contexts: Contexts) -> str:
    if "c" not in contexts:
        return NONE
    return CLOSING if contexts.is_closing("c") else OPEN


@pytest.mark.parametrize(
    ("state", "command", "after"),
    [
        (state, command, after)
        for state, row in AFTER_COMMAND.items()
        for command, after in row.items()
    ],
)
def test_commands(state: str, command: str, after: str) -> None:
    """Each command changes the state as in the table. A refused command raises an error."""
    contexts = in_state(state)
    if after == "error":
        with pytest.raises(LocalProtocolError):
            COMMANDS[command](contexts)
        after = state
    else:
        COMMANDS[command](contexts)

    assert after == state_of(contexts)


@pytest.mark.parametrize("state", AFTER_COMMAND)
@pytest.mark.parametrize("answer", ANSWERS)
def test_answers(state: str, answer: str) -> None:
    """Only the last message about a context removes the context from the table."""
    contexts = in_state(state)
    gone = contexts.handle("c", ANSWERS[answer], 0.0)

    assert (state != NONE and answer in ENDING) == gone
    assert (NONE if gone else state) == state_of(contexts)


def test_one_close_is_sent() -> None:
    """Only one close is sent for a context, because a second close causes an error."""
    contexts = in_state(OPEN)
    assert contexts.unsent_close("c") is None
    contexts.close("c", 0.0)
    contexts.close("c", 0.0)

    message = contexts.unsent_close("c")
    assert {"close_context": {}, "contextId": "c"} == json.loads(message or "")
    assert message is not None
    contexts.close_sent("c", message)
    contexts.close("c", 0.0)
    assert contexts.unsent_close("c") is None


def test_a_cancel_while_the_close_is_sent() -> None:
    """If a context is interrupted while its close is being sent, the cancel is sent too."""
    contexts = in_state(OPEN)
    contexts.close("c", 0.0)
    close = contexts.unsent_close("c")
    assert close is not None
    contexts.interrupt("c", 0.0)
    contexts.close_sent("c", close)

    cancel = contexts.unsent_close("c")
    assert {"cancel_context": {}, "contextId": "c"} == json.loads(cancel or "")


def test_an_unsent_close_is_sent_at_the_deadline() -> None:
    """If a close was recorded but not sent, it is sent when the context expires."""
    contexts, _ = opened()
    contexts.close("c", 0.0)

    (expired,) = contexts.expire(100.0)
    assert {"close_context": {}, "contextId": "c"} == json.loads(expired.close or "")
    assert contexts.unsent_close("c") is None


def test_closing_contexts_count() -> None:
    """A closing context counts toward the limit until the service has confirmed the end."""
    contexts = Contexts(2)
    create(contexts, "a")
    create(contexts, "b")
    contexts.close("a", 0.0)
    with pytest.raises(ContextLimitError, match="at most 2 contexts"):
        create(contexts)

    assert (0, 1, 2) == (contexts.free, contexts.closing, len(contexts))
    contexts.handle("a", ContextClosed("a"), 0.0)
    assert (1, 0, 1) == (contexts.free, contexts.closing, len(contexts))


def test_refused_create_takes_no_place() -> None:
    """If a create cannot be converted to JSON, the context is not added."""
    contexts = Contexts()
    with pytest.raises(ConfigError):
        create(contexts, config=ContextConfig(extra={"bad": object()}))

    assert NONE == state_of(contexts)


def test_commands_that_were_not_sent() -> None:
    """If the message of a command was not sent, the command is removed from the table."""
    contexts, progress = Contexts(), ContextProgress(10.0, 30.0)
    contexts.cancel(contexts.create("c", CONFIG, progress, 0.0))
    assert (5, math.inf) == (contexts.free, contexts.next_deadline())

    contexts.create("c", CONFIG, progress, 0.0)
    contexts.handle("c", ANSWERS["created"], 0.0)
    contexts.cancel(contexts.send_text("c", "Hi.", 0.0, flush=True))
    contexts.cancel(contexts.update("c", {"temperature": 1}, 0.0))
    assert (0, math.inf) == (progress.sent_characters, contexts.next_deadline())


# Deadlines. The service must confirm a context within 10 s. While the service owes an answer, it
# must send a message every 30 s.


def opened(*, is_confirmed: bool = True) -> tuple[Contexts, ContextProgress]:
    """
    Return a table with a context that was created at 0 s.

    If *is_confirmed* is true, the service has confirmed the context at 1 s.
    """
    contexts, progress = Contexts(), ContextProgress(10.0, 30.0)
    contexts.create("c", CONFIG, progress, 0.0)
    if is_confirmed:
        contexts.handle("c", ANSWERS["created"], 1.0)
    return contexts, progress


def test_a_context_that_is_not_confirmed() -> None:
    """If the create of a context is not answered, the context expires, and a close is sent."""
    contexts, _ = opened(is_confirmed=False)
    contexts.send_text("c", "Hi.", 5.0)

    assert 10.0 == contexts.next_deadline()
    assert [] == contexts.expire(9.9)
    (expired,) = contexts.expire(10.0)
    assert "c" == expired.context_id
    assert "the creation of the context within 10 s" in str(expired.error)
    assert {"close_context": {}, "contextId": "c"} == json.loads(expired.close or "")
    assert (5, math.inf) == (contexts.free, contexts.next_deadline())


@pytest.mark.parametrize("answer", ["created", "audio", "flushed", "unknown", "unreadable"])
def test_any_message_confirms_a_context(answer: str) -> None:
    """Any message about a context shows that the service has created the context."""
    contexts, _ = opened(is_confirmed=False)
    contexts.handle("c", ANSWERS[answer], 1.0)

    assert math.inf == contexts.next_deadline()


@pytest.mark.parametrize(
    ("ask", "answer"), [("flush", "flushed"), ("update", ""), ("close", "closed")]
)
def test_a_request_that_is_answered(ask: str, answer: str) -> None:
    """The deadline of a request moves with each message about the context, until the answer."""
    contexts, _ = opened()
    contexts.send_text("c", "Hi.", 2.0)
    assert math.inf == contexts.next_deadline()
    COMMANDS[ask](contexts)
    assert 31.0 == contexts.next_deadline()
    contexts.handle("c", ANSWERS["audio"], 20.0)
    assert 50.0 == contexts.next_deadline()
    contexts.handle("c", ANSWERS[answer] if answer else ContextUpdated("c", {}), 49.0)

    assert math.inf == contexts.next_deadline()
    assert [] == contexts.expire(1e9)


@pytest.mark.parametrize(
    ("ask", "named"),
    [("flush", "a flush"), ("update", "an update"), ("close", "the closing of the context")],
)
def test_a_request_that_is_not_answered(ask: str, named: str) -> None:
    """If a request is not answered, its context expires. A close is never sent twice."""
    contexts, _ = opened()
    contexts.send_text("c", "Hi.", 2.0)
    COMMANDS[ask](contexts)
    contexts.close_sent("c", contexts.unsent_close("c") or "")
    contexts.handle("c", ANSWERS["audio"], 20.0)

    assert [] == contexts.expire(49.9)
    (expired,) = contexts.expire(50.0)
    assert f"did not answer {named}" in str(expired.error)
    assert "for 30 s" in str(expired.error)
    assert (ask == "close") == (expired.close is None)
    assert 5 == contexts.free


def test_two_requests_expire_together() -> None:
    """A context with several unanswered requests expires only once. A close is not sent twice."""
    contexts, _ = opened(is_confirmed=False)
    contexts.send_text("c", "Hi.", 0.0, flush=True)
    contexts.close("c", 0.0)
    contexts.close_sent("c", contexts.unsent_close("c") or "")

    (expired,) = contexts.expire(100.0)
    assert expired.close is None
    assert math.inf == contexts.next_deadline()


def test_other_contexts_do_not_expire() -> None:
    """The deadline of one context does not change the deadline of another context."""
    contexts, _ = opened()
    other = ContextProgress(10.0, 30.0)
    contexts.create("d", CONFIG, other, 0.0)
    contexts.handle("d", ContextCreated("d", {}), 1.0)
    contexts.close("c", 2.0)
    contexts.close("d", 2.0)
    contexts.handle("d", FlushCompleted("d"), 30.0)

    assert ["c"] == [expired.context_id for expired in contexts.expire(32.0)]
    assert 60.0 == contexts.next_deadline()
    assert "d" in contexts


# (commands, whether the service must answer a flush after these commands)
FLUSHES = [
    ([], False),
    (["text"], True),
    (["text", "flush"], False),
    (["text", "flush", "text"], True),
    (["text", "audio", "flushed"], False),
    (["text", "audio", "text", "flushed"], True),
    (["text", "flushed"], False),
    (["text", "update"], False),
]


@pytest.mark.parametrize(("steps", "is_owed"), FLUSHES)
def test_a_flush_without_text(steps: list[str], is_owed: bool) -> None:
    """
    A flush needs an answer only if there is text that the service has certainly not spoken.

    The service may speak text before a flush. If no text is left, the service does not answer a
    flush.
    """
    contexts, progress = opened()
    for step in steps:
        if step in COMMANDS:
            COMMANDS[step](contexts)
        else:
            contexts.handle("c", ANSWERS[step], 1.0)
            if step == "audio":
                progress.handle_audio(2, None)
            else:
                progress.handle(FlushCompleted("c"), was_closing=False)
    command = contexts.flush("c", 2.0)

    assert is_owed == (command.request is not None)
    assert command.request is None or command.request.kind is ContextRequest.FLUSH


STEPS = st.tuples(
    st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["create", "close", "closed", "fault"])
)


@given(st.lists(STEPS, max_size=40))
def test_never_more_than_the_limit(steps: list[tuple[str, str]]) -> None:
    """Commands in any order never open more contexts than the limit allows."""
    contexts, living = Contexts(3), dict[str, bool]()
    for name, step in steps:
        if step == "create":
            allowed = name not in living and len(living) < 3
            try:
                create(contexts, name)
            except (LocalProtocolError, ContextLimitError):
                assert not allowed
            else:
                assert allowed
                living[name] = True
        elif step == "close":
            contexts.close(name, 0.0)
            assert living.get(name, False) == (contexts.unsent_close(name) is not None)
            contexts.close_sent(name, contexts.unsent_close(name) or "")
            living.update({name: False} if name in living else {})
        else:
            answer = ContextClosed(name) if step == "closed" else tts.ContextFault(name, 5, "")
            assert (living.pop(name, None) is not None) == contexts.handle(name, answer, 0.0)
        assert len(living) == len(contexts) == 3 - contexts.free


EVENTS = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["create", "text", "flush", "update", "close", *ANSWERS]),
    st.floats(0, 20),
)


@settings(max_examples=200)
@given(st.lists(EVENTS, max_size=60))
def test_every_context_ends(history: list[tuple[str, str, float]]) -> None:
    """
    Every context ends, even if messages are lost, repeated, late or reordered.

    At the end, each context is closed or has expired, and the table is empty.
    """
    contexts, now = Contexts(), 0.0
    for name, step, seconds in history:
        now += seconds
        with contextlib.suppress(LocalProtocolError, ContextLimitError):
            if step == "create":
                contexts.create(name, CONFIG, ContextProgress(10.0, 30.0), now)
            elif step == "text":
                contexts.send_text(name, "Hi.", now, flush=seconds > 10)
            elif step == "flush":
                contexts.flush(name, now)
            elif step == "update":
                contexts.update(name, {}, now)
            elif step == "close":
                contexts.close(name, now)
            else:
                contexts.handle(name, ANSWERS[step], now)
        assert contexts.next_deadline() > now - 1e-6 or contexts.expire(now)
        contexts.expire(now)
        assert contexts.closing <= len(contexts) <= 3
    for name in "abc":
        contexts.close(name, now)
    contexts.expire(now + 30.0)

    assert (5, 0, math.inf) == (contexts.free, contexts.closing, contexts.next_deadline())


# The progress of one context.


def test_usage_is_summed() -> None:
    """The counts of the service are added, and the latest name of the model is kept."""
    progress = ContextProgress()
    for usage in (TtsUsage(3, "m"), None, TtsUsage(4, ""), TtsUsage(5, "n")):
        progress.handle_audio(10, usage)

    assert TtsUsage(12, "n") == progress.usage
    assert (40, True) == (progress.received_bytes, progress.was_answered)


@pytest.mark.parametrize(
    "message", [ContextCreated("c", {}), FlushCompleted("c"), ANSWERS["unknown"]]
)
def test_a_message_that_ends_nothing(message: tts.ContextMessage) -> None:
    """Most messages count as an answer, and do not end the context."""
    progress = ContextProgress()

    assert progress.handle(message, was_closing=True) is None
    assert progress.was_answered


def test_a_fault_is_no_answer() -> None:
    """A fault ends the context with an error. A fault is no answer, so a retry is allowed."""
    progress = ContextProgress()
    ended = progress.handle(tts.ContextFault("c", 3, "text length"), was_closing=False)

    assert ended is not None
    assert ("server", "text length") == (ended.by, ended.reason)
    assert isinstance(ended.error, InvalidRequestError)
    assert not progress.was_answered


def test_an_unreadable_message() -> None:
    """A message that cannot be read ends the context, and the reason says why."""
    error = RemoteProtocolError("expected an array")
    progress = ContextProgress()

    assert StreamEnded("client", reason="unreadable message", error=error) == progress.handle(
        tts.Unreadable("c", error), was_closing=False
    )


# (sent characters, received bytes, whether the client has closed the context, part of the error)
CLOSES = [
    (0, 0, True, None),
    (5, 2, True, None),
    (5, 0, True, "without audio for 5 characters"),
    (5, 2, False, "before it was asked to"),
    (0, 0, False, "before it was asked to"),
]


@pytest.mark.parametrize(("sent", "received", "was_closing", "words"), CLOSES)
def test_closed(sent: int, received: int, was_closing: bool, words: str | None) -> None:
    """A context ends without an error only if the client closed it and all text was spoken."""
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
