"""A wrong keyword argument raises an error that names the method and a similar argument."""

from __future__ import annotations

import inspect
from typing import Any

import attrs
import pytest

from inworld_sync.models.keywords import reject_unknown, with_keyword_hints


class Service:
    @with_keyword_hints
    def stream(self, *, language: str = "en", sample_rate_hz: int = 16000) -> str:
        """Open a stream."""
        return f"{language} {sample_rate_hz}"

    @with_keyword_hints
    def fail(self, *, language: str = "en") -> None:
        """Fail in the body."""
        int(lang=language)  # type: ignore[call-overload]


@with_keyword_hints
@attrs.frozen(kw_only=True)
class Settings:
    voice: str = "Ashley"


@with_keyword_hints
class Client:
    def __init__(self, api_key: str | None = None, *, connect_timeout: float = 10.0) -> None:
        self.arguments = (api_key, connect_timeout)


# (wrong name, accepted name, suggested name)
NAMES = [
    ("voice_id", "voice model", "voice"),
    ("model_id", "voice model", "model"),
    ("modelId", "voice model", "model"),
    ("lang", "language", "language"),
    ("format", "encoding", "encoding"),
    ("format", "audio voice", "audio"),
    ("apikey", "api_key token", "api_key"),
    ("timeout", "connect_timeout send_timeout", "connect_timeout"),
    ("sample_rate", "sample_rate_hz channels", "sample_rate_hz"),
    ("sampleRateHertz", "sample_rate_hz channels", "sample_rate_hz"),
    ("includeWordTimestamps", "include_word_timestamps", "include_word_timestamps"),
    ("includ_word_timestamp", "language include_word_timestamps", "include_word_timestamps"),
]


@pytest.mark.parametrize(("name", "known", "expected"), NAMES)
def test_suggestion(name: str, known: str, expected: str) -> None:
    """The suggestion is an accepted name that has a similar meaning or a similar spelling."""
    words = rf"^Tts\.stream\(\) got an unexpected keyword argument '{name}'; did you mean "
    with pytest.raises(TypeError, match=rf"{words}'{expected}'\?$"):
        reject_unknown("Tts.stream", [name], known.split())


def test_no_suggestion() -> None:
    """If no accepted name is similar, the error lists the accepted names."""
    with pytest.raises(TypeError, match=r"'color'; it accepts voice, model$"):
        reject_unknown("Tts.stream", ["voice", "color"], ["voice", "model"])


def test_known_names() -> None:
    """A call with accepted names raises no error."""
    reject_unknown("Tts.stream", ["voice"], ["voice", "model"])


def test_method() -> None:
    """The error has the names of the class and the method. A right call returns the result."""
    assert "de 8000" == Service().stream(language="de", sample_rate_hz=8000)
    with pytest.raises(TypeError, match=r"^Service\.stream\(\) got .* 'lang'; .* 'language'\?$"):
        Service().stream(lang="de")  # type: ignore[call-arg]


def test_error_of_the_body() -> None:
    """A TypeError that the method itself raises is not changed."""
    with pytest.raises(TypeError, match="int") as caught:
        Service().fail(language="de")
    assert "Service.fail" not in str(caught.value)


def test_missing_and_surplus_arguments() -> None:
    """Missing and surplus positional arguments raise Python's own error."""
    with pytest.raises(TypeError, match="positional argument"):
        Service().stream("de")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Settings(voice_id="A"), r"^Settings\(\) got .*'voice_id'; did you mean 'voice'"),
        (lambda: attrs.evolve(Settings(), voice_id="A"), r"^Settings\(\) got"),
        (lambda: Client(timeout=1), r"^Client\(\) got .*'timeout'; .*'connect_timeout'"),
        (lambda: Client(apikey="a"), r"^Client\(\) got .*'apikey'; did you mean 'api_key'"),
    ],
)
def test_class(make: Any, words: str) -> None:
    """The error has the name of the class, also if attrs generated ``__init__``."""
    with pytest.raises(TypeError, match=words):
        make()


def test_right_calls_of_classes() -> None:
    """A call of a class with accepted names creates the object."""
    assert "Craig" == Settings(voice="Craig").voice
    assert ("k", 2.0) == Client("k", connect_timeout=2.0).arguments


def test_signature() -> None:
    """help() and editors see the signature and the docstring of the method."""
    assert ["self", "language", "sample_rate_hz"] == list(
        inspect.signature(Service.stream).parameters
    )
    assert "Open a stream." == Service.stream.__doc__
    assert ["voice"] == list(inspect.signature(Settings).parameters)
