"""The table of requests that the service has not answered yet."""

from __future__ import annotations

import math

from hypothesis import given, strategies as st

from inworld_sync.wire.pending import Pending, PendingTable


def table_of(*entries: tuple[str, str | None, float, float]) -> PendingTable[str]:
    table = PendingTable[str]()
    for kind, key, sent_at, deadline in entries:
        table.add(kind, key, sent_at=sent_at, deadline=deadline)
    return table


def test_resolved_by_id_once() -> None:
    """An answer with an id removes only the request with this id."""
    table = table_of(("item", "a", 0, 10), ("item", "b", 1, 11))
    resolved = table.resolve_by_id("b")

    assert resolved is not None
    assert ("b", 1) == (resolved.key, len(table))
    assert table.resolve_by_id("b") is None


def test_one_id_twice() -> None:
    """If two requests have the same id, the answers belong to them in the order of sending."""
    table = table_of(("item", "a", 0, 10), ("update", "a", 1, 11))

    assert ["item", "update"] == [table.resolve_by_id("a").kind for _ in range(2)]  # type: ignore[union-attr]


def test_resolved_by_id_and_kind() -> None:
    """Of several requests with one id, an answer removes the oldest request of the given kind."""
    table = PendingTable[str]()
    create, flush, close = (
        table.add(kind, "a", sent_at=0.0) for kind in ("create", "flush", "close")
    )
    later = table.add("flush", "a", sent_at=1.0)
    other = table.add("flush", "b", sent_at=0.0)

    assert flush is table.resolve_by_id("a", "flush")
    assert later is table.resolve_by_id("a", "flush")
    assert table.resolve_by_id("a", "flush") is None
    assert [create, close, other] == list(table)
    assert [create, close] == table.clear("a")
    assert [other] == table.clear()


def test_no_id_matches_nothing() -> None:
    """An answer without an id does not match requests without an id."""
    table = table_of(("update", None, 0, 10))

    assert table.resolve_by_id(None) is None
    assert 1 == len(table)


def test_resolved_as_the_only_one() -> None:
    """An answer without an id removes the only request of its kind."""
    table = table_of(("response", "r", 0, 10), ("item", "i", 0, 10))
    resolved = table.resolve_only("response")

    assert resolved is not None
    assert "r" == resolved.key
    assert ["item"] == [entry.kind for entry in table.clear()]


def test_not_resolved_among_several() -> None:
    """An answer without an id removes nothing if there are several requests of the kind."""
    table = table_of(("item", "a", 0, 10), ("item", "b", 0, 10))

    assert table.resolve_only("item") is None
    assert table.resolve_only("response") is None
    assert 2 == len(table)


def test_contradicted() -> None:
    """A message that contradicts a kind of request removes the earlier requests of this kind."""
    table = table_of(("cancel", "a", 0, 10), ("cancel", "b", 5, 15), ("item", "c", 0, 10))

    assert ["a"] == [entry.key for entry in table.contradict("cancel", sent_before=5)]
    assert ["b"] == [entry.key for entry in table.contradict("cancel")]
    assert 1 == len(table)


def test_cancelled_once() -> None:
    """A request can be cancelled once. A later answer finds no request."""
    table = PendingTable[str]()
    entry = table.add("item", "a", sent_at=0.0)

    assert entry in table
    assert [True, False] == [table.cancel(entry), table.cancel(entry)]
    assert table.resolve_by_id("a") is None


def test_expired() -> None:
    """A request expires at its deadline, not before. A request without a deadline never expires."""
    table = table_of(("item", "a", 0, 10), ("item", "b", 1, 11), ("item", "c", 2, math.inf))

    assert [] == table.expire(now=9.9)
    assert ["a"] == [entry.key for entry in table.expire(now=10)]
    assert ["b"] == [entry.key for entry in table.expire(now=1e9)]
    assert 1 == len(table)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "by_id", "only", "contradict", "cancel", "expire"]),
        st.sampled_from(["item", "response"]),
        st.sampled_from([None, "a", "b"]),
    )
)


@given(OPERATIONS)
def test_every_entry_is_removed_once(operations: list[tuple[str, str, str | None]]) -> None:
    """For requests and answers in any order, each request leaves the table exactly once."""
    table = PendingTable[str]()
    added: list[Pending[str]] = []
    removed: list[Pending[str]] = []
    for now, (operation, kind, key) in enumerate(operations):
        found: Pending[str] | None = None
        if operation == "add":
            added.append(table.add(kind, key, sent_at=now, deadline=now + 3))
        elif operation == "by_id":
            found = table.resolve_by_id(key)
        elif operation == "only":
            found = table.resolve_only(kind)
        elif operation == "contradict":
            removed += table.contradict(kind)
        elif operation == "cancel" and added and table.cancel(added[-1]):
            found = added[-1]
        elif operation == "expire":
            removed += table.expire(now)
        removed += [found] if found else []
        assert len(added) == len(removed) + len(table)
    removed += table.clear()

    assert 0 == len(table)
    assert sorted(map(id, added)) == sorted(map(id, removed))


def test_the_next_deadline() -> None:
    """next_deadline() is the earliest deadline, in any order of the requests."""
    table = table_of(("item", "a", 0, 12), ("item", "b", 1, 11))
    assert 11 == table.next_deadline()

    table.expire(11)
    assert 12 == table.next_deadline()

    table.clear()
    assert math.inf == table.next_deadline()
