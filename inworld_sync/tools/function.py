"""
Defines functions that the model may call. The schema of a function comes from the signature of the
function. The arguments of a call come from JSON.

This module has no threads; a session decides on which thread a function runs.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial, update_wrapper
from typing import Generic, ParamSpec, TypeVar, cast, get_args, get_type_hints, overload

from inworld_sync.errors import ConfigError, RemoteProtocolError
from inworld_sync.models.checks import require_seconds
from inworld_sync.models.realtime import FunctionTool
from inworld_sync.tools.arguments import plain, plain_result, read_argument
from inworld_sync.tools.schema import object_schema, read_docs, schema_of

__all__ = ["ToolFunction", "error_text", "tool"]

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

_REFUSED_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only",
    inspect.Parameter.VAR_POSITIONAL: "takes any number of arguments",
    inspect.Parameter.VAR_KEYWORD: "takes arguments of any name",
}


class ToolFunction(Generic[P, R]):
    """
    A function that the model may call. Calling this object calls the function.

    Attributes:
        definition: The name, description and schema that the model gets.
        timeout: After this many seconds, a session sends an error as the output; None means the
            timeout of the session.

    Thread safety: the same as that of the function. A session may run several calls at once.
    """

    def __init__(
        self, function: Callable[P, R], *, name: str | None, timeout: float | None
    ) -> None:
        self._function = function
        self._name = name or str(getattr(function, "__name__", ""))
        if timeout is not None:
            require_seconds(f"timeout of tool {self._name}", timeout)
        self.timeout = timeout
        self._parameters = _parameters(function, self._name)
        self._required = [
            each
            for each, parameter in self._parameters.items()
            if parameter.default is parameter.empty
        ]
        self._kinds = _kinds(function, self._name, self._parameters)
        self.definition = self._define()
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function as if it were not decorated."""
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self._name}>"

    def run(self, arguments: str) -> str:
        """
        Call the function with the arguments of a model.

        Args:
            arguments: A JSON object as text; ``""`` and ``null`` mean no arguments.

        Returns:
            The result for the model: a str is unchanged, other values are JSON.

        Raises:
            RemoteProtocolError: The arguments do not fit the function.
            ConfigError: The result cannot be written as JSON.
            Exception: Any exception of the function.
        """
        return self.render(self.call(self.parse(arguments)))

    def call(self, values: Mapping[str, object]) -> object:
        """
        Call the function with the result of :meth:`parse`, which fits the signature of the
        function.
        """
        function = cast("Callable[..., object]", self._function)
        return function(**values)

    def parse(self, arguments: str) -> dict[str, object]:
        """
        Read the model's arguments as values of the annotated types.

        If a parameter has a default and does not accept None, null means the default.

        Raises:
            RemoteProtocolError: *arguments* is not a JSON object, or an argument is missing,
                unknown or of another type. The model gets the message of the error.
        """
        given = self._load(arguments)
        unknown = [name for name in given if name not in self._parameters]
        missing = [name for name in self._required if name not in given]
        problems = [f"{name} is not an argument" for name in unknown]
        problems += [f"{name} is missing" for name in missing]
        values: dict[str, object] = {}
        for name in self._parameters:
            if name not in given or (given[name] is None and self._means_default(name)):
                continue
            try:
                values[name] = read_argument(given[name], self._kinds[name], name)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise RemoteProtocolError(f"wrong arguments for {self._name}: {'; '.join(problems)}")
        return values

    def _means_default(self, name: str) -> bool:
        # Only a union with None accepts None.
        accepts_none = type(None) in get_args(self._kinds[name])
        return name not in self._required and not accepts_none

    def _load(self, arguments: str) -> dict[str, object]:
        try:
            # Some models write line breaks inside strings, or the whole object as a string.
            load = partial(json.loads, strict=False, parse_constant=_refuse_constant)
            given = load(arguments.strip() or "{}")
            if isinstance(given, str) and given.lstrip().startswith("{"):
                given = load(given)
        except (ValueError, RecursionError) as error:
            raise RemoteProtocolError(
                f"wrong arguments for {self._name}: expected a JSON object, got text that is"
                f" not JSON ({error})"
            ) from None
        if given is None:
            return {}
        if not isinstance(given, dict):
            raise RemoteProtocolError(
                f"wrong arguments for {self._name}: expected a JSON object,"
                f" got {type(given).__name__}"
            )
        return given

    def render(self, result: object) -> str:
        """
        Return the text of a result for the model.

        Raises:
            ConfigError: The result cannot be written as JSON, or is not valid Unicode.
        """
        try:
            if isinstance(result, str):
                text = str.__str__(result)
            else:
                text = json.dumps(plain_result(result), ensure_ascii=False)
            text.encode()
        except Exception as error:  # the methods of the user's objects may raise anything
            raise ConfigError(
                f"tool {self._name} must return a str or a value that JSON can represent,"
                f" got {type(result).__name__} ({error})"
            ) from error
        return text

    def _define(self) -> FunctionTool:
        docs = read_docs(self._function)
        properties: dict[str, object] = {}
        for name, parameter in self._parameters.items():
            schema = schema_of(self._kinds[name], f"{name} of tool {self._name}")
            if parameter.default is None and "anyOf" in schema:
                # Some models cannot send null, but every model can leave the argument out.
                described = {k: v for k, v in schema.items() if k == "description"}
                schema = {**schema["anyOf"][0], **described}  # type: ignore[index]
            elif name not in self._required:
                schema = {**schema, **_default(parameter.default)}
            if name in docs.entries:
                schema = {"description": docs.entries[name], **schema}
            properties[name] = schema
        return FunctionTool(
            name=self._name,
            description=docs.text or None,
            parameters=object_schema(properties, self._required),
        )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _default(value: object) -> dict[str, object]:
    default = plain(value)
    try:
        json.dumps(default, allow_nan=False)
    except (TypeError, ValueError):
        return {}
    return {"default": default}


def _parameters(function: Callable[..., object], name: str) -> dict[str, inspect.Parameter]:
    if inspect.iscoroutinefunction(function):
        raise ConfigError(f"tool {name} must be a synchronous function, got an async function")
    try:
        parameters = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"tool {name} must have a signature that can be inspected: {error}"
        ) from error
    for each in parameters.values():
        if each.kind in _REFUSED_KINDS:
            raise ConfigError(
                f"{each.name} of tool {name} {_REFUSED_KINDS[each.kind]}: use named parameters"
            )
    return parameters


def _kinds(
    function: Callable[..., object], name: str, parameters: Mapping[str, inspect.Parameter]
) -> dict[str, object]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigError(
            f"the annotations of tool {name} must name types that are defined before the function "
            f"is decorated: {error}"
        ) from error
    for each in parameters:
        if each not in hints:
            hint = ", decorate the bound method instead" if each == "self" else ""
            raise ConfigError(f"{each} of tool {name} must have a type annotation{hint}")
    return hints


@overload
def tool(function: Callable[P, R], /) -> ToolFunction[P, R]: ...
@overload
def tool(
    *, name: str | None = None, timeout: float | None = None
) -> Callable[[Callable[P, R]], ToolFunction[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float | None = None,
) -> ToolFunction[P, R] | Callable[[Callable[P, R]], ToolFunction[P, R]]:
    """
    Decorate a function, so that the model may call the function.

    The model gets the name, types, defaults and docstring. ``Annotated[str, "..."]`` and an
    ``Args:`` section describe arguments. Types may be str, int, float, bool, Literal, an Enum,
    lists, sets, ``tuple[X, ...]``, ``dict[str, X]``, attrs classes and dataclasses, each optionally
    with ``| None``.

    Args:
        function: The function. Its arguments are passed by name.
        name: The name that the model uses; by default the name of the function.
        timeout: After this many seconds, a session sends an error as the output; None means the
            ``tool_timeout`` of the session.

    Raises:
        ConfigError: An annotation of the function is missing, or a type has no JSON schema.

    >>> @tool
    ... def weather(city: str, days: int = 1) -> str:
    ...     "Weather for a city."
    ...     return f"sunny in {city}"
    >>> weather.run('{"city": "Oslo"}')
    'sunny in Oslo'
    """
    if function is not None:
        return ToolFunction(function, name=name, timeout=timeout)
    return lambda function: ToolFunction(function, name=name, timeout=timeout)


def error_text(error: Exception) -> str:
    """Return the output that describes an error to the model."""
    text = str(error)
    kind = type(error).__name__
    return json.dumps({"error": f"{kind}: {text}" if text else kind}, ensure_ascii=False)
