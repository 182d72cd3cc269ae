"""A tool function has a schema, and is called with arguments that a model has written."""

import dataclasses
import datetime
import decimal
import enum
import json
import math
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import attrs
import numpy as np
import pytest

from inworld_sync.errors import ConfigError, RemoteProtocolError
from inworld_sync.models.realtime import FunctionTool, Session, UpdateSession
from inworld_sync.tools.function import tool

from support.realtime_wire import write


class Unit(enum.Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


class Size(str, enum.Enum):
    SMALL = "s"


class Level(enum.IntEnum):
    LOW = 1


@attrs.frozen
class Place:
    """
    Somewhere.

    Attributes:
        city: Its name.
        tags: What it is
            known for.
    """

    city: str
    tags: list[str] = attrs.field(factory=list)


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass
class Stay:
    day: datetime.date
    tags: set[str]


class Model:
    """A class with the method ``model_dump`` of a pydantic model."""

    def model_dump(self) -> dict[str, object]:
        return {"a": 1, "when": datetime.date(2026, 1, 2)}


@attrs.define
class Tree:
    left: Optional["Tree"] = None


PLACE_SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"description": "Its name.", "type": "string"},
        "tags": {
            "description": "What it is known for.",
            "type": "array",
            "items": {"type": "string"},
        },
    },
    "required": ["city"],
    "additionalProperties": False,
}


def taking(annotation, *default):
    """Return a tool that has one argument and returns this argument."""

    def echo(value):
        return value

    echo.__annotations__ = {"value": annotation}
    echo.__defaults__ = default or None
    return tool(echo)


def argument_schema(function):
    """Return the schema of the only argument of a tool."""
    return function.definition.parameters["properties"]["value"]


# (annotation, its schema) of every type that can be described.
SCHEMAS = [
    (str, {"type": "string"}),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (bool, {"type": "boolean"}),
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
    (Literal[1, "b"], {"enum": [1, "b"]}),
    (Unit, {"type": "string", "enum": ["c", "f"]}),
    (Size, {"type": "string", "enum": ["s"]}),
    (Level, {"type": "integer", "enum": [1]}),
    (list[int], {"type": "array", "items": {"type": "integer"}}),
    (Sequence[str], {"type": "array", "items": {"type": "string"}}),
    (tuple[str, ...], {"type": "array", "items": {"type": "string"}}),
    (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
    (frozenset[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
    (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
    (Mapping[str, str], {"type": "object", "additionalProperties": {"type": "string"}}),
    (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
    (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    (Annotated[str, "A name."], {"type": "string", "description": "A name."}),
    (Place, PLACE_SCHEMA),
    (list[Place], {"type": "array", "items": PLACE_SCHEMA}),
    (
        Point,
        {
            "type": "object",
            "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
            "required": ["x"],
            "additionalProperties": False,
        },
    ),
]


@pytest.mark.parametrize(("annotation", "schema"), SCHEMAS)
def test_schemas(annotation, schema):
    """Each type has a schema with the keywords that language models follow."""
    assert schema == argument_schema(taking(annotation))


# (annotation, default, schema) of an argument that may be left out.
DEFAULTS = [
    (int, 1, {"type": "integer", "default": 1}),
    (Unit, Unit.CELSIUS, {"type": "string", "enum": ["c", "f"], "default": "c"}),
    (int | None, None, {"type": "integer"}),
    (int | None, 3, {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": 3}),
    (Annotated[int | None, "How many."], None, {"type": "integer", "description": "How many."}),
    (list[str], [], {"type": "array", "items": {"type": "string"}, "default": []}),
    (Place, Place("Oslo"), {**PLACE_SCHEMA, "default": {"city": "Oslo", "tags": []}}),
    (float, float("inf"), {"type": "number"}),
]


@pytest.mark.parametrize(("annotation", "default", "schema"), DEFAULTS)
def test_defaults(annotation, default, schema):
    """A default makes an argument optional. The schema has the defaults that JSON can represent."""
    function = taking(annotation, default)

    assert schema == argument_schema(function)
    assert [] == function.definition.parameters["required"]
    assert {} == function.parse("")


def test_definition():
    """The name, description and arguments of a tool come from a function and its docstring."""

    @tool
    def weather(city: str, days: int = 1) -> str:
        """
        Weather for a city.

        Use it whenever
        weather is asked for.

        Args:
            city: Its name,
                in English.
            days (int): How many
                days: 1 is today.

        Returns:
            A sentence.

        Raises:
            KeyError: No such city.
        """
        return f"{city} {days}"

    assert weather.definition == FunctionTool(
        name="weather",
        description="Weather for a city.\n\nUse it whenever\nweather is asked for.",
        parameters={
            "type": "object",
            "properties": {
                "city": {"description": "Its name, in English.", "type": "string"},
                "days": {
                    "description": "How many days: 1 is today.",
                    "type": "integer",
                    "default": 1,
                },
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    )


def test_the_function_stays_a_function():
    """A decorated function is called as before, and keeps its name and docstring."""

    @tool(name="add_up", timeout=2.0)
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    assert (3, 3) == (add(1, 2), add(a=1, b=2))
    assert ("add", "Add.", "add_up", 2.0) == (
        add.__name__,
        add.__doc__,
        add.definition.name,
        add.timeout,
    )


def test_bound_method():
    """A bound method can be a tool."""

    class Counter:
        total = 0

        def add(self, by: int) -> int:
            self.total += by
            return self.total

    counter = Counter()

    assert ["2", "5"] == [tool(counter.add).run(f'{{"by":{by}}}') for by in (2, 3)]


def test_in_a_session():
    """If a tool of a session is a decorated function, the message has the tool's definition."""

    @tool
    def now() -> str:
        """Time of day."""
        return "noon"

    message = json.loads(write(UpdateSession(Session(tools=[now]))))

    assert message["session"]["tools"] == [
        {
            "type": "function",
            "name": "now",
            "description": "Time of day.",
            "parameters": {
                "type": "object",
                "properties": {},
                "required": [],
                "additionalProperties": False,
            },
        }
    ]


# (annotation of an argument, JSON of the argument, the value that the function gets).
VALUES = [
    (str, "Oslo", "Oslo"),
    (int, 3, 3),
    (int, 3.0, 3),
    (float, 3, 3.0),
    (bool, True, True),
    (Literal["a", 1], 1, 1),
    (Unit, "f", Unit.FAHRENHEIT),
    (Size, "s", Size.SMALL),
    (Level, 1, Level.LOW),
    (list[int], [1, 2], [1, 2]),
    (Sequence[int], [1], [1]),
    (tuple[int, ...], [1, 2], (1, 2)),
    (set[int], [1, 1], {1}),
    (frozenset[int], [1], frozenset({1})),
    (dict[str, list[int]], {"a": [1]}, {"a": [1]}),
    (int | None, None, None),
    (Annotated[int, "x"], 1, 1),
    (Place, {"city": "Oslo"}, Place("Oslo")),
    (list[Place], [{"city": "Oslo", "tags": ["x"]}], [Place("Oslo", ["x"])]),
    (Point, {"x": 1}, Point(1.0)),
]


@pytest.mark.parametrize(("annotation", "given", "value"), VALUES)
def test_values(annotation, given, value):
    """A function gets values of the types in its annotations."""
    parsed = taking(annotation).parse(json.dumps({"value": given}))["value"]

    assert value == parsed
    assert type(value) is type(parsed)


# (annotation of an argument, JSON of the argument, words of the error). No value is converted, and
# the error names every fault.
WRONG = [
    (str, 5, "expected str, got int @ value"),
    (int, "5", "expected int, got str @ value"),
    (int, 1.5, "expected int, got float"),
    (int, True, "expected int, got bool"),
    (bool, 1, "expected bool, got int"),
    (float, "1", "expected float, got str"),
    (str, None, "expected str, got NoneType"),
    (Literal["a", "b"], "c", "expected one of 'a', 'b', got 'c'"),
    (Literal[1], True, "expected one of 1, got True"),
    (Unit, "x", "expected one of 'c', 'f', got 'x'"),
    (Size, "x", "expected one of 's', got 'x'"),
    (Level, "1", "expected one of 1, got '1'"),
    (list[str], "abc", "expected an array, got str"),
    (list[int], {"a": 1}, "expected an array, got dict"),
    (list[int], [1, "2"], "expected int, got str"),
    (dict[str, int], [1], "expected an object, got list"),
    (Place, 5, "expected an object, got int"),
    (Place, {}, "missing @ value.city"),
    (Place, {"city": 5, "tags": "x"}, r"got int @ value.city; expected an array"),
    (Place, {"city": "a", "town": "b"}, "unknown fields town @ value"),
    (Point, {"x": "1"}, "expected float, got str @ value.x"),
]


@pytest.mark.parametrize(("annotation", "given", "named"), WRONG)
def test_wrong_values(annotation, given, named):
    """A value of another type is refused with a message for the model."""
    with pytest.raises(RemoteProtocolError, match=named):
        taking(annotation).parse(json.dumps({"value": given}))


# (JSON of the arguments, words of the error).
NO_ARGUMENTS = [
    ("{", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("[]", "expected a JSON object, got list"),
    ('"text"', "expected a JSON object, got str"),
    ("null", "value is missing"),
    ("{}", "value is missing"),
    ('{"value": NaN}', "NaN is not a JSON value"),
    ('{"value": -Infinity}', "-Infinity is not a JSON value"),
    ('{"value": "a", "other": 1, "more": 2}', "other is not an argument; more is not an argument"),
]


@pytest.mark.parametrize(("arguments", "named"), NO_ARGUMENTS)
def test_wrong_arguments(arguments, named):
    """Arguments must be a JSON object. A missing or an unknown argument is refused."""
    with pytest.raises(RemoteProtocolError, match=named):
        taking(str).parse(arguments)


@pytest.mark.parametrize("arguments", ["", " ", "{}", "null", '{"value": null}', '"{}"'])
def test_left_out(arguments):
    """An argument whose default is None may be absent or null. Empty text means no arguments."""
    assert "null" == taking(int | None, None).run(arguments)


@pytest.mark.parametrize(
    ("annotation", "default", "given", "value"),
    [(int, 3, None, 3), (list[str], [], None, []), (int | None, 3, None, None), (int, 3, 4, 4)],
)
def test_null_for_a_default(annotation, default, given, value):
    """null means the default of a parameter, unless the type of the parameter accepts None."""
    received = taking(annotation, default).parse(json.dumps({"value": given}))
    assert value == received.get("value", default)


AS_WRITTEN = ['{"value": "a\nb"}', '{"value": "a\\nb"}', json.dumps('{"value": "a\\nb"}')]


@pytest.mark.parametrize("arguments", AS_WRITTEN)
def test_arguments_as_models_write_them(arguments):
    """Arguments may have a line break in a string, or be a JSON object inside a string."""
    assert {"value": "a\nb"} == taking(str).parse(arguments)


# (what a function returns, what the model reads).
RESULTS = [
    ("plain", "plain"),
    ("", ""),
    (5, "5"),
    (None, "null"),
    ({"ü": [1, True]}, '{"ü": [1, true]}'),
    (Place("Oslo"), '{"city": "Oslo", "tags": []}'),
    ([Unit.CELSIUS, Point(1.0)], '["c", {"x": 1.0, "y": 0.0}]'),
    ((1, 2), "[1, 2]"),
    (Size.SMALL, "s"),
    (b"ab", '"YWI="'),
    ({"b"}, '["b"]'),
    (deque([1]), "[1]"),
    (range(2), "[0, 1]"),
    ([math.nan, math.inf, 1.5], "[null, null, 1.5]"),
    (datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), '"2026-01-02T00:00:00+00:00"'),
    ({"on": datetime.date(2026, 1, 2)}, '{"on": "2026-01-02"}'),
    (datetime.time(3, 4), '"03:04:00"'),
    (datetime.timedelta(minutes=1), "60.0"),
    (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    (decimal.Decimal("1.10"), '"1.10"'),
    (Path("a.txt"), '"a.txt"'),
    (Stay(datetime.date(2026, 1, 2), {"x"}), '{"day": "2026-01-02", "tags": ["x"]}'),
    (Model(), '{"a": 1, "when": "2026-01-02"}'),
    ([np.int64(5), np.float32(0.5), np.arange(2), np.bool_(True)], "[5, 0.5, [0, 1], true]"),
    (
        {1: "a", datetime.date(2026, 1, 2): 2, Unit.CELSIUS: 3},
        '{"1": "a", "2026-01-02": 2, "c": 3}',
    ),
]


@pytest.mark.parametrize(("result", "text"), RESULTS)
def test_results(result, text):
    """The model gets a str unchanged, and other values as JSON."""

    @tool
    def give() -> object:
        return result

    assert text == give.run("")


ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)


class Unreadable:
    def model_dump(self) -> object:
        raise RuntimeError("broken")


@pytest.mark.parametrize(
    "result",
    [object(), {1: object()}, {(1, 2): 3}, iter([1]), ENDLESS, Unreadable(), "\ud800"],
    ids=["object", "inner", "key", "iterator", "endless", "raises", "surrogate"],
)
def test_results_that_json_lacks(result):
    """A result that JSON cannot represent raises an error with its type."""

    @tool
    def give() -> object:
        return result

    with pytest.raises(ConfigError, match="tool give must return"):
        give.run("")


def test_an_error_of_the_function():
    """If the function raises an exception, ``run`` raises the same exception."""

    @tool
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        fail.run("")


# Annotations that a model would not follow, and words of the error.
UNDESCRIBED = [
    (Any, "value of tool echo must have a type that JSON can represent"),
    (object, "got object"),
    (None, "got NoneType"),
    (bytes, "got bytes"),
    (list, "must name the type of its elements"),
    (tuple[int, str], "must name the type of its elements"),
    (tuple[int], "must name the type of its elements"),
    (dict, "must have str keys"),
    (dict[int, str], "must have str keys"),
    (Union[int, str], "one type, or one type and None"),  # noqa: UP007
    (int | str | None, "one type, or one type and None"),
    (Literal[b"x"], "must have choices of type"),
    (Tree, "must not contain its own type"),
    (list[bytes], "got bytes"),
    ("Missing", "must name types that are defined before"),
]


@pytest.mark.parametrize(("annotation", "named"), UNDESCRIBED)
def test_types_without_a_schema(annotation, named):
    """A type without a JSON schema is refused when the function is decorated."""
    with pytest.raises(ConfigError, match=named):
        taking(annotation)


async def asynchronous() -> None: ...
def no_annotation(value): ...
def positional(value: int, /): ...
def many(*value: int): ...
def any_name(**value: int): ...


# Functions that the model could not call, and words of the error.
UNCALLABLE = [
    (asynchronous, "synchronous function, got an async function"),
    (no_annotation, "value of tool no_annotation must have a type annotation"),
    (positional, "is positional-only"),
    (many, "takes any number of arguments"),
    (any_name, "takes arguments of any name"),
    (lambda: None, "1 to 64 letters"),
    (type("C", (), {"m": lambda self: None}).m, "1 to 64 letters|decorate the bound method"),
]


@pytest.mark.parametrize(("function", "named"), UNCALLABLE)
def test_functions_that_cannot_be_called(function, named):
    """A function that the model cannot call is refused when it is decorated."""
    with pytest.raises(ConfigError, match=named):
        tool(function)
