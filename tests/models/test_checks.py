"""Each check accepts the right values. The error of a check describes the accepted values."""

from __future__ import annotations

import enum
import math
from typing import Any

import attrs
import pytest

from inworld_sync.errors import ConfigError
from inworld_sync.models import checks


class Color(str, enum.Enum):
    """Two colors."""

    RED = "RED"
    BLUE = "BLUE"


# (check, accepted values, refused values with words of the error). The values are on both sides of
# each limit. Some refused values have types that Python would convert.
CHECKS: list[tuple[Any, list[Any], list[tuple[Any, str]]]] = [
    (
        checks.text,
        ["a"],
        [
            ("", "a string that is not blank, got ''"),
            (" ", "a string"),
            (b"a", "a str"),
            (5, "a str"),
        ],
    ),
    (checks.string, ["", "a"], [(b"a", "a string, got bytes"), (5, "a string, got int")]),
    (checks.flag, [True, False], [(1, "True or False, got 1"), ("true", "True or False")]),
    (
        checks.number(0.5, 2, " s"),
        [0.5, 1, 2],
        [
            (0.4, "0.5 to 2 s, got 0.4"),
            (2.1, "0.5 to 2 s"),
            (math.nan, "0.5 to 2 s"),
            (math.inf, "0.5 to 2 s"),
            (True, "a number, got True"),
            ("1", "a number"),
        ],
    ),
    (checks.number(0), [0, 1e300], [(-0.1, "0 or more, got -0.1"), (math.nan, "0 or more")]),
    (
        checks.whole(1, 8),
        [1, 8],
        [(0, "1 to 8"), (9, "1 to 8"), (1.0, "an integer, got 1.0"), (True, "an integer")],
    ),
    (
        checks.positive,
        [1e-9, 5],
        [
            (0, "above 0, got 0"),
            (-1, "above 0"),
            (math.nan, "above 0"),
            ("5", "a number, got '5'"),
            (10**400, "a number"),
        ],
    ),
    (checks.one_of(("a", "b")), ["a"], [("c", "one of a, b, got 'c'"), (5, "one of a, b")]),
    (checks.instance(int, str), [1, "a"], [(1.5, "int or str, got float")]),
    (
        checks.mapping,
        [{}, {"a": 1}],
        [([], "a mapping, got list"), ({1: 2}, "strings as keys, got 1")],
    ),
    (checks.string_map, [{"a": "b"}], [({"a": 1}, "strings as values, got int for 'a'")]),
    (
        checks.texts,
        [(), ("a", "b")],
        [
            ("a", "a list of strings, got 'a': put it in a list"),
            ((1,), "a list of strings, got (1,)"),
        ],
    ),
]


@pytest.mark.parametrize(("check", "good", "bad"), CHECKS)
def test_checks(check: Any, good: list[Any], bad: list[tuple[Any, str]]) -> None:
    """The error has the name of the field, the accepted values and the given value."""
    kind = attrs.make_class("Kind", {"it": attrs.field(validator=check)}, frozen=True)
    for value in good:
        assert value == kind(value).it
    for value, words in [*bad, (None, "")]:
        with pytest.raises(ConfigError) as caught:
            kind(value)
        assert str(caught.value).startswith("it must ")
        assert words in str(caught.value)


# The checks that allow None. A model, a name and a duration are always required.
OPTIONAL = [row[0] for row in CHECKS if row[0] not in (checks.text, checks.positive)]


@pytest.mark.parametrize("check", OPTIONAL)
def test_none_is_accepted(check: Any) -> None:
    """Each check of a field whose default is None accepts None."""
    kind = attrs.make_class("Kind", {"it": checks.optional(check)})

    assert kind().it is None


def test_optional_field() -> None:
    """An optional field checks its value. A field with repr=False is not in the repr."""
    fields = {
        "it": checks.optional(checks.string),
        "key": checks.optional(checks.string, repr=False),
    }
    kind = attrs.make_class("Kind", fields)

    assert repr(kind("a", "secret")) == "Kind(it='a')"
    for name in fields:
        with pytest.raises(ConfigError, match=f"{name} must be a string, got int"):
            kind(**{name: 5})


def test_members() -> None:
    """Members of an enumeration and their values are accepted. The error lists all members."""
    assert Color.RED is checks.member(Color, "RED", "color")
    assert Color.BLUE is checks.member_or_none(Color, Color.BLUE, "color")
    assert checks.member_or_none(Color, None, "color") is None
    for value in ("GREEN", None, 5):
        with pytest.raises(ConfigError, match=f"color must be one of RED, BLUE, got {value!r}"):
            checks.member(Color, value, "color")


def test_lists() -> None:
    """A list is converted to a tuple. Any other value is unchanged."""
    assert ("a", "b") == checks.to_tuple(iter(["a", "b"]))
    for value in ("ab", b"ab", 5, None):
        assert value is checks.to_tuple(value)  # type: ignore[arg-type]


def test_values_of_mappings_stay_secret() -> None:
    """The error for a wrong header does not show the value, because the value may be a key."""
    kind = attrs.make_class("Kind", {"it": attrs.field(validator=checks.string_map)})
    for value in ({"Authorization": "secret", "n": 1}, {1: "secret"}, "secret"):
        with pytest.raises(ConfigError) as caught:
            kind(value)
        assert "secret" not in str(caught.value)
