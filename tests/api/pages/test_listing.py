"""What the address of a list may say, and the links that a list makes."""

from datetime import UTC, date, datetime

import pytest
from fastapi import Request

from api.pages.listing import Asked, Filter, Listing, choice
from core.errors import InvalidError

ALERTS = Listing(
    filters=(
        choice("state", "State", ("open", "in_work")), choice("kind", "Kind", ("drift", "kpi"), many=True),
        Filter("model", "Model"), Filter("since", "From", "day"), Filter("until", "Until", "day"),
        Filter("at", "At", "time"), Filter("least", "At least", "number"),
    ),
    sorts=("at", "n"), default="-at", size=10, kept=("tab",),
)  # fmt: skip
CALLS = Listing(sorts=("at",), default="-at", size=10, by_cursor=True)


def asked(query: str, listing: Listing = ALERTS) -> Asked:
    return listing.asked(Request({"type": "http", "query_string": query.encode(), "headers": []}))


def test_filters_are_read_from_the_address_and_empty_ones_left_out() -> None:
    found = asked("state=open&kind=kpi&kind=drift&kind=kpi&model=&since=2026-01-31&at=2026-01-31T12:00&least=0.5&tab=x")
    assert found.values == {
        "state": "open", "kind": ("kpi", "drift"), "since": date(2026, 1, 31),
        "at": datetime(2026, 1, 31, 12, tzinfo=UTC), "least": 0.5,
    }  # fmt: skip
    assert (found.sort, found.page, found.limit, found.offset) == ("-at", 1, 10, 0)
    assert not asked("tab=x&sort=n&page=3").listed([], 0).filtered


@pytest.mark.parametrize(
    ("query", "field", "fix"),
    [
        ("state=gone", "state", "take one of open, in_work"),
        ("kind=drift&kind=nope", "kind", "take one of drift, kpi"),
        ("state=open&state=in_work", "state", "give it once"),
        ("colour=red", "colour", "take one of at, kind"),
        ("sort=name", "sort", "take one of at, n, or -at"),
        ("sort=--at", "sort", "take one of at, n, or -at"),
        ("page=0", "page", "a number from 1 to 10000"),
        ("page=-1", "page", "a number"), ("page=1e3", "page", "a number"), ("page=99999999999999", "page", "a number"),
        ("page=%D9%A3", "page", "a number"),
        ("since=yesterday", "since", "one such as 2026-01-31"), ("since=0000-01-01", "since", "one such as"),
        ("since=2026-02-01&until=2026-01-01", "since", "exchange them"),
        ("at=0001-01-01T00:00%2B14:00", "at", "in UTC"), ("at=noon", "at", "in UTC"),
        ("least=nan", "least", "one such as 0.25"), ("least=1e999", "least", "one such as 0.25"),
        ("model=a%00b", "model", "leave it out"), ("model=" + 201 * "x", "model", "at most 200"),
    ],
)  # fmt: skip
def test_what_is_not_declared_is_refused_with_field_value_and_fix(query: str, field: str, fix: str) -> None:
    with pytest.raises(InvalidError, match=fix) as refused:
        asked(query)
    assert refused.value.facts["field"] == field
    assert refused.value.facts["value"]


def test_links_keep_the_filters_and_leave_out_what_goes_without_saying() -> None:
    shown = asked("model=a%26b&state=open&tab=x&page=2").listed(list(range(10)), 35)
    assert (shown.first, shown.last, shown.pages) == (11, 20, 4)
    assert shown.following == "?model=a%26b&state=open&tab=x&page=3"
    assert shown.previous == "?model=a%26b&state=open&tab=x"
    assert shown.sorted_by("n") == "?model=a%26b&state=open&tab=x&sort=n"
    assert shown.sorted_by("at") == "?model=a%26b&state=open&tab=x&sort=at"
    assert shown.direction("at") == "descending"
    assert shown.direction("n") is None
    assert shown.plain() == "?tab=x"
    assert shown.hidden() == [("tab", "x")]


def test_the_ends_of_a_list_have_no_link() -> None:
    assert asked("page=4").listed([1], 31).following is None
    assert asked("").listed([1], 31).previous is None
    assert asked("page=900").listed([], 31).previous == "?page=4"
    uncounted = asked("page=2").listed(list(range(11)))
    assert (len(uncounted.rows), uncounted.following) == (10, "?page=3")
    assert asked("page=2").listed(list(range(10))).following is None


def test_a_list_by_cursor_goes_on_and_back_to_its_beginning() -> None:
    first = asked("", CALLS).listed([1], next_cursor="abc")
    assert (first.previous, first.following) == (None, "?cursor=abc")
    assert asked("cursor=abc", CALLS).listed([1]).previous == "?"
    with pytest.raises(InvalidError, match="page"):
        asked("page=2", CALLS)
