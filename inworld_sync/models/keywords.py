"""
Raises errors for wrong keyword arguments. Each error names the public method and the nearest right
name.

Thread safety: nothing in this module changes after import.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from inworld_sync.secret import Secret

__all__ = ["reject_unknown", "with_keyword_hints"]

F = TypeVar("F", bound=Callable[..., object])

# Maps right names to wrong names that difflib does not find. The wrong names come from other
# libraries and from the JSON of the service. The first right name that the method accepts is
# suggested.
_HINTS: Final = {
    "api_key token": "api_token apikey",
    "base_url endpoint": "address host url",
    "channels": "channel_count num_channels number_of_channels",
    "connect_timeout timeout reconnect_timeout": "connection_timeout timeout",
    "enable_speaker_diarization": "diarization diarize speaker_labels",
    "encoding audio output_format": (
        "audio_config audio_encoding audio_format codec encoding format output_format "
        "response_format"
    ),
    "include_word_timestamps timestamp_type": "timestamps word_timestamps words",
    "fallback_models": "fallbacks models",
    "extra": "extra_body frequency_penalty logit_bias n presence_penalty stream_options",
    "instructions prompts synthesis_context messages": "prompt system system_prompt",
    "language": "lang language_code locale",
    "max_tokens": "max_completion_tokens max_output_tokens",
    "max_reconnects max_retries reconnect_timeout": "max_retries retries",
    "model": "model_id model_name",
    "on_transcript on_word": "callback on_event on_final on_partial on_result",
    "prompts": "keywords phrases vocabulary",
    "stop": "stop_sequences",
    "session": "instructions model tools turn_detection",
    "session audio": "voice",
    "tools": "functions",
    "sample_rate_hz audio": "frequency rate rate_hz sample_rate sample_rate_hertz samplerate",
    "speed audio": "speaking_rate",
    "voice": "voice_id voice_name",
}
_RIGHT_NAMES = {
    wrong: right.split() for right, wrongs in _HINTS.items() for wrong in wrongs.split()
}


def reject_unknown(method: str, given: Iterable[str], known: Iterable[str]) -> None:
    """
    Check the names of keyword arguments.

    Args:
        method: The public name of the method, such as ``Stt.stream``.
        given: The names in the call.
        known: The names that the method accepts.

    Raises:
        TypeError: A name is not accepted. The message has the nearest accepted name. If no name is
            near, the message has all accepted names.
    """
    accepted = list(known)
    for name in given:
        if name in accepted:
            continue
        nearest = _nearest(name, accepted)
        advice = f"did you mean {nearest!r}?" if nearest else f"it accepts {', '.join(accepted)}"
        raise TypeError(f"{method}() got an unexpected keyword argument {name!r}; {advice}")


# Keywords with credentials.
_SECRETS = {"api_key", "token", "proxy"}


def with_keyword_hints(target: F) -> F:
    """
    Make a function, method or class raise the error of :func:`reject_unknown`.

    The signature stays unchanged for type checkers, editors and :func:`help`. A successful call
    costs one more Python call. Names are compared only after a failure.

    On an attrs class this must be the outermost decorator.
    """
    kind: object = target
    if isinstance(kind, type):
        # An __init__ that attrs wrote is not in the source, so no decorator can be written above
        # it.
        kind.__init__ = _hinting(kind.__init__)  # type: ignore[misc]
        return target
    return _hinting(target)


def _hinting(function: F) -> F:
    method = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def call(*args: object, **keywords: object) -> object:
        # A traceback may show the local variables, so they hold credentials only as a Secret.
        for name in _SECRETS & keywords.keys():
            if isinstance(keywords[name], str):
                keywords[name] = Secret(str(keywords[name]))
        try:
            return function(*args, **keywords)
        except TypeError:
            # An unknown name fails before the body runs. Any other TypeError is raised again.
            reject_unknown(method, keywords, _keywords_of(function))
            raise

    return call  # type: ignore[return-value]


def _keywords_of(function: Callable[..., object]) -> list[str]:
    import inspect

    # A caller of a method does not pass ``self``.
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]


def _nearest(name: str, accepted: list[str]) -> str | None:
    import difflib

    # The service's documents write names such as sampleRateHertz.
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    for candidate in (snake, *_RIGHT_NAMES.get(snake, [])):
        if candidate in accepted:
            return candidate
    return next(iter(difflib.get_close_matches(snake, accepted, 1)), None)
