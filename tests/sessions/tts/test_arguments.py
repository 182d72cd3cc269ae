"""A wrong argument of a TTS call raises an error at once, with a helpful message."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import attrs
import pytest

from inworld_sync import (
    AudioChunk,
    AudioConfig,
    ConfigError,
    ContextConfig,
    Inworld,
    NullSpeaker,
    QuotaError,
    SynthesisContext,
    TtsConnection,
    TtsContext,
)
from inworld_sync.sessions.tts.service import DEFAULTS, Tts

# (call that is refused before anything is sent, part of the error)
CALLS: list[tuple[Callable[[Inworld], object], str]] = [
    (lambda iw: iw.tts.synthesize("Hi.", config="Ashley"), "voice='Ashley'"),  # type: ignore[arg-type]
    (lambda iw: iw.tts.synthesize("Hi.", timeout="5"), "timeout must be a number of seconds"),  # type: ignore[arg-type]
    (lambda iw: iw.tts.connect(timeout="5"), "timeout must be a number of seconds"),  # type: ignore[arg-type]
    (lambda iw: iw.tts.speak("Hi.", speaker="x"), "speaker must be an AudioSink"),  # type: ignore[arg-type]
    (lambda iw: iw.tts.speak("Hi.", speaker=NullSpeaker), "speaker must be an AudioSink"),  # type: ignore[arg-type]
    (lambda iw: iw.tts.speak("Hi.", on_word="x"), "on_word must be callable, got 'x'"),  # type: ignore[arg-type]
    (lambda iw: iw.tts.synthesize("Hi.").play("x"), "speaker must be an AudioSink"),  # type: ignore[arg-type]
    (lambda iw: iw.voices.get(""), "voice must be the id of a voice, got ''"),
    (lambda iw: iw.voices.get(None), "voice must be the id of a voice, got None"),  # type: ignore[arg-type]
    (lambda iw: iw.voices.list(timeout="x"), "timeout must be a number of seconds"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "words"), CALLS)
def test_calls(iw: Inworld, call: Callable[[Inworld], object], words: str) -> None:
    """The error names the argument that has a wrong type, and shows the wrong value."""
    with pytest.raises(ConfigError, match=words):
        call(iw)


# (call of a connection and of its context, part of the error)
ON_A_CONNECTION: list[tuple[Callable[[TtsConnection, TtsContext], object], str]] = [
    (lambda c, _: c.context("Ashley"), "voice='Ashley'"),  # type: ignore[arg-type]
    (lambda c, _: c.context(timeout="x"), "timeout must be a number of seconds"),  # type: ignore[arg-type]
    (lambda _, x: x.on(5, print), "kind must be a class of events or the name"),  # type: ignore[arg-type]
    (lambda _, x: x.on(AudioChunk, None), "handler must be callable"),  # type: ignore[type-var]
    (lambda _, x: x.subscribe("a"), "maxsize must be an integer"),  # type: ignore[arg-type]
    (lambda _, x: x.send(None), "text must be a str"),  # type: ignore[arg-type]
    (lambda _, x: x.update(5), "changes must be a mapping"),  # type: ignore[arg-type]
    (lambda _, x: next(x.events(timeout="x")), "timeout must be a number of seconds"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "words"), ON_A_CONNECTION)
def test_calls_on_a_connection(
    iw: Inworld, call: Callable[[TtsConnection, TtsContext], object], words: str
) -> None:
    """The error names the argument of the wrong type, and the connection continues."""
    with iw.tts.connect() as connection, connection.context() as context:
        with pytest.raises(ConfigError, match=words):
            call(connection, context)

        assert connection.ended is None


def test_no_time_at_all(iw: Inworld) -> None:
    """With a timeout of 0, a request, a connection and an utterance raise an error at once."""
    with pytest.raises(TimeoutError):
        iw.voices.list(timeout=0)
    with pytest.raises(TimeoutError):
        iw.tts.connect(timeout=0)
    with pytest.raises((TimeoutError, QuotaError)):
        iw.tts.synthesize("Hi.", timeout=0)


# Settings by name.

# For every setting, a value that differs from the default.
SETTINGS: dict[str, object] = {
    "voice": "Dennis",
    "model": "another-model",
    "audio": AudioConfig("PCM", 16000),
    "temperature": 1.5,
    "language": "de-DE",
    "delivery_mode": "STABLE",
    "timestamp_type": "CHARACTER",
    "timestamp_transport": "ASYNC",
    "text_normalization": "OFF",
    "auto_mode": True,
    "max_buffer_delay_ms": 5,
    "buffer_char_threshold": 7,
    "pronunciation_dictionaries": ["one"],
    "enable_custom_pronunciation": False,
    "synthesis_context": SynthesisContext(["a story"]),
    "viseme_set": "OPENXR",
    "extra": {"further": 1},
}
METHODS = ["synthesize", "stream", "stream_bytes", "speak"]


def test_the_values_are_those_of_every_setting() -> None:
    """The table above has every attribute of the config."""
    changed = attrs.asdict(ContextConfig(**SETTINGS), recurse=False)  # type: ignore[arg-type]

    assert list(SETTINGS) == [field.name for field in attrs.fields(ContextConfig)]
    assert all(value != getattr(ContextConfig(), name) for name, value in changed.items())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_arrives(monkeypatch: pytest.MonkeyPatch, method: str, name: str) -> None:
    """A keyword argument changes only its own setting. All other settings have their defaults."""
    configs: list[ContextConfig] = []
    stream = Tts.stream

    def spied(self: Tts, *args: object, **settings: object) -> object:
        found = stream(self, *args, **settings)  # type: ignore[arg-type]
        configs.append(found.config)
        raise ZeroDivisionError

    monkeypatch.setattr(Tts, "stream", spied)
    wanted = attrs.evolve(DEFAULTS, **{name: SETTINGS[name]})  # type: ignore[arg-type]
    with Inworld(api_key="k") as iw:
        further = {"speaker": NullSpeaker(wanted.audio.sample_rate_hz)} if method == "speak" else {}
        with pytest.raises(ZeroDivisionError):
            getattr(iw.tts, method)("Hi.", **further, **{name: SETTINGS[name]})

    assert [wanted] == configs


def test_every_setting_of_a_context(iw: Inworld) -> None:
    """Keyword arguments are settings of the context, and replace settings of a config."""
    # The service refuses the model of these settings and closes the connection.
    with iw.tts.connect() as connection:
        given = connection.context(**SETTINGS)  # type: ignore[arg-type]
        assert ContextConfig(**SETTINGS) == given.config
    with iw.tts.connect() as connection:
        given = connection.context(ContextConfig(temperature=2, voice="Sarah"), temperature=1)
        assert ContextConfig(temperature=1, voice="Sarah") == given.config


# (call, part of the error). The error names the method and the most similar keyword.
UNKNOWN: list[tuple[Callable[[Inworld], object], str]] = [
    (lambda iw: iw.tts.synthesize("Hi.", voice_id="A"), "Tts.synthesize.*'voice_id'.*'voice'"),  # type: ignore[call-arg]
    (lambda iw: iw.tts.stream("Hi.", lang="en"), "Tts.stream.*'lang'.*'language'"),  # type: ignore[call-arg]
    (lambda iw: iw.tts.stream_bytes("Hi.", encoding="PCM"), "stream_bytes.*'encoding'.*'audio'"),  # type: ignore[call-arg]
    (lambda iw: iw.tts.speak("Hi.", model_id="m"), "Tts.speak.*'model_id'.*'model'"),  # type: ignore[call-arg]
    (
        lambda iw: TtsConnection.context(cast("TtsConnection", iw), voices="A"),  # type: ignore[call-arg]
        "TtsConnection.context.*'voices'.*'voice'",
    ),
]


@pytest.mark.parametrize(("call", "words"), UNKNOWN)
def test_an_unknown_name(iw: Inworld, call: Callable[[Inworld], object], words: str) -> None:
    """An unknown keyword raises an error with the method and the most similar keyword."""
    with pytest.raises(TypeError, match=words):
        call(iw)
