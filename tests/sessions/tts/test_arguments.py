"""Wrong arguments of every call for speech: refused where they are given, in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inworld_sync import AudioChunk, ConfigError, Inworld, NullSpeaker, TtsConnection

# (call, words): what is refused before anything is sent.
CALLS: list[tuple[Callable[[Inworld], object], str]] = [
    (lambda iw: iw.tts.synthesize("Hi.", config="Ashley"), "voice='Ashley'"),  # type: ignore[arg-type]
    (lambda iw: iw.tts.synthesize("Hi.", timeout="5"), "a timeout must be a number"),  # type: ignore[arg-type]
    (lambda iw: iw.tts.connect(timeout="5"), "a timeout must be a number"),  # type: ignore[arg-type]
    (lambda iw: iw.tts.speak("Hi.", speaker="x"), "speaker must be an AudioSink"),  # type: ignore[arg-type]
    (lambda iw: iw.tts.speak("Hi.", speaker=NullSpeaker), "speaker must be an AudioSink"),  # type: ignore[arg-type]
    (lambda iw: iw.tts.speak("Hi.", on_word="x"), "on_word must be callable, got 'x'"),  # type: ignore[arg-type]
    (lambda iw: iw.tts.synthesize("Hi.").play("x"), "speaker must be an AudioSink"),  # type: ignore[arg-type]
    (lambda iw: iw.voices.get(""), "voice must be the id of a voice, got ''"),
    (lambda iw: iw.voices.get(None), "voice must be the id of a voice, got None"),  # type: ignore[arg-type]
    (lambda iw: iw.voices.list(timeout="x"), "a timeout must be a number"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "words"), CALLS)
def test_calls(iw: Inworld, call: Callable[[Inworld], object], words: str) -> None:
    """An argument of the wrong kind is named, with what came in its place."""
    with pytest.raises(ConfigError, match=words):
        call(iw)


# (call, words): the same for what a connection and its contexts are asked.
ON_A_CONNECTION: list[tuple[Callable[[TtsConnection], object], str]] = [
    (lambda c: c.context("Ashley"), "voice='Ashley'"),  # type: ignore[arg-type]
    (lambda c: c.context(timeout="x"), "a timeout must be a number"),  # type: ignore[arg-type]
    (lambda c: c.context().on(5, print), "kind must be a class or a name"),  # type: ignore[arg-type]
    (lambda c: c.context().on(AudioChunk, None), "handler must be callable"),  # type: ignore[type-var]
    (lambda c: c.context().subscribe("a"), "maxsize must be a whole number"),  # type: ignore[arg-type]
    (lambda c: c.context().send(None), "text must be a str"),  # type: ignore[arg-type]
    (lambda c: c.context().update(5), "changes must be a mapping"),  # type: ignore[arg-type]
    (lambda c: next(c.context().events(timeout="x")), "a timeout must be a number"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "words"), ON_A_CONNECTION)
def test_calls_on_a_connection(
    iw: Inworld, call: Callable[[TtsConnection], object], words: str
) -> None:
    """An argument of the wrong kind is named, and the connection goes on."""
    with iw.tts.connect() as connection:
        with pytest.raises(ConfigError, match=words):
            call(connection)

        assert connection.ended is None


@pytest.mark.parametrize("timeout", [0, -1])
def test_no_time_at_all(iw: Inworld, timeout: float) -> None:
    """A timeout of nothing is a deadline that has passed, for HTTP as for WebSockets."""
    with pytest.raises(TimeoutError):
        iw.voices.list(timeout=timeout)
    with pytest.raises(TimeoutError):
        iw.tts.connect(timeout=timeout)
