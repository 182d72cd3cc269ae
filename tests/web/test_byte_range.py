"""Tests of the header ``Range``, with the examples of RFC 9110."""

from __future__ import annotations

import pytest

from inworld_sync.web.byte_range import asks_part, byte_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-499", (0, 500)),
        ("bytes=500-999", (500, 1000)),
        ("bytes=9500-", (9500, 10000)),
        ("bytes=-500", (9500, 10000)),
        ("bytes=-99999", (0, 10000)),
        ("bytes=0-", (0, 10000)),
        ("bytes=0-99999", (0, 10000)),
        (" Bytes = 1 - 1 ", (1, 2)),
        ("bytes=10000-", (10000, 10000)),
        ("bytes=-0", (10000, 10000)),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=20000-4", None),
        ("bytes=a-b", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
    ],
)
def test_ranges(header: str, expected: tuple[int, int] | None) -> None:
    assert expected == byte_range(header, 10000)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("bytes=0-", False),
        ("bytes=0-1", True),
        ("bytes=1-", True),
        ("bytes=-5", True),
        ("x", False),
    ],
)
def test_whether_the_length_must_be_known(header: str, expected: bool) -> None:
    assert expected == asks_part(header)
