"""
Errors for wrong keyword arguments that name the public method and the nearest right name.

Thread safety: nothing here changes after import.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

__all__ = ["reject_unknown", "with_keyword_hints"]

F = TypeVar("F", bound=Callable[..., object])

_LANGUAGE = ("language",)
_MODEL = ("model",)
_VOICE = ("voice",)
_SAMPLE_RATE = ("sample_rate_hz", "audio")
_FORMAT = ("encoding", "audio", "output_format")
_TIMEOUT = ("connect_timeout", "timeout", "reconnect_timeout")
_CREDENTIAL = ("api_key", "token")
_ADDRESS = ("base_url", "endpoint")
_RECONNECTS = ("max_reconnects", "reconnect_timeout")
_CALLBACK = ("on_transcript", "on_word")
_VOCABULARY = ("prompts",)
_INSTRUCTIONS = ("instructions", "prompts", "synthesis_context")
_TIMESTAMPS = ("include_word_timestamps", "timestamp_type")
_DIARIZATION = ("enable_speaker_diarization",)
_SETTING = ("session",)

# Names that other libraries and the service's JSON use, too far from the right ones for difflib.
# The first name that the method accepts is suggested.
_HINTS: Final[dict[str, tuple[str, ...]]] = {
    "address": _ADDRESS,
    "api_token": _CREDENTIAL,
    "apikey": _CREDENTIAL,
    "audio_config": _FORMAT,
    "audio_encoding": _FORMAT,
    "audio_format": _FORMAT,
    "callback": _CALLBACK,
    "channel_count": ("channels",),
    "codec": _FORMAT,
    "connection_timeout": _TIMEOUT,
    "diarization": _DIARIZATION,
    "diarize": _DIARIZATION,
    "encoding": _FORMAT,
    "format": _FORMAT,
    "frequency": _SAMPLE_RATE,
    "host": _ADDRESS,
    "instructions": _SETTING,
    "keywords": _VOCABULARY,
    "lang": _LANGUAGE,
    "language_code": _LANGUAGE,
    "locale": _LANGUAGE,
    "max_retries": _RECONNECTS,
    "model": _SETTING,
    "model_id": _MODEL,
    "model_name": _MODEL,
    "num_channels": ("channels",),
    "number_of_channels": ("channels",),
    "on_event": _CALLBACK,
    "on_final": _CALLBACK,
    "on_partial": _CALLBACK,
    "on_result": _CALLBACK,
    "output_format": _FORMAT,
    "phrases": _VOCABULARY,
    "prompt": _INSTRUCTIONS,
    "rate": _SAMPLE_RATE,
    "rate_hz": _SAMPLE_RATE,
    "response_format": _FORMAT,
    "retries": _RECONNECTS,
    "sample_rate": _SAMPLE_RATE,
    "sample_rate_hertz": _SAMPLE_RATE,
    "samplerate": _SAMPLE_RATE,
    "speaker_labels": _DIARIZATION,
    "speaking_rate": ("speed", "audio"),
    "system": _INSTRUCTIONS,
    "system_prompt": _INSTRUCTIONS,
    "timeout": _TIMEOUT,
    "timestamps": _TIMESTAMPS,
    "tools": _SETTING,
    "turn_detection": _SETTING,
    "url": _ADDRESS,
    "vocabulary": _VOCABULARY,
    "voice": _SETTING,
    "voice_id": _VOICE,
    "voice_name": _VOICE,
    "word_timestamps": _TIMESTAMPS,
    "words": _TIMESTAMPS,
}


def reject_unknown(method: str, given: Iterable[str], known: Iterable[str]) -> None:
    """
    Check the names of keyword arguments.

    Args:
        method: The public name of what was called, such as ``Stt.stream``.
        given: The names in the call.
        known: The names that it accepts.

    Raises:
        TypeError: A name is not accepted; the message has the nearest accepted name or, where no
            name is near, all of them.
    """
    accepted = list(known)
    for name in given:
        if name in accepted:
            continue
        nearest = _nearest(name, accepted)
        advice = f"did you mean {nearest!r}?" if nearest else f"it accepts {', '.join(accepted)}"
        raise TypeError(f"{method}() got an unexpected keyword argument {name!r}; {advice}")


def with_keyword_hints(target: F) -> F:
    """
    Make a function, method or class raise the error of :func:`reject_unknown`.

    The signature stays as it is, for type checkers, editors and :func:`help`. A call that
    succeeds costs one more Python call; names are compared after a failure only.

    For an attrs class this is the outermost decorator.
    """
    kind: object = target
    if isinstance(kind, type):
        # Where attrs has written __init__ there is no definition to decorate.
        kind.__init__ = _hinting(kind.__init__)  # type: ignore[misc]
        return target
    return _hinting(target)


def _hinting(function: F) -> F:
    method = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def call(*args: object, **keywords: object) -> object:
        try:
            return function(*args, **keywords)
        except TypeError:
            # An unknown name fails before the body runs, so any other TypeError passes through.
            reject_unknown(method, keywords, _keywords_of(function))
            raise

    return call  # type: ignore[return-value]


def _keywords_of(function: Callable[..., object]) -> list[str]:
    import inspect

    # The first parameter of a method is left out.
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]


def _nearest(name: str, accepted: list[str]) -> str | None:
    import difflib

    # The service's documents write sampleRateHertz.
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    for candidate in (snake, *_HINTS.get(snake, ())):
        if candidate in accepted:
            return candidate
    return next(iter(difflib.get_close_matches(snake, accepted, 1)), None)
