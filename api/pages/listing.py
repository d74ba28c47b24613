"""Lists whose filters, order and page stand in the address: declared once, read from it, and written back as links.

A list declares its filters and the columns it can be sorted by. What an address says beyond that is refused with its
field, its value and what to write instead, so that nobody takes an unfiltered list for a filtered one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, Literal
from urllib.parse import urlencode

from fastapi import Request
from sqlalchemy import ColumnElement

from core.errors import InvalidError
from core.text import unfit

MAX_PAGE: Final = 10_000
MAX_CHARS: Final = 200  # of one value
Kind = Literal["choice", "many", "text", "day", "time", "number"]


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter of a list: its name in the address, what people read, and what it takes.

    A `choice` takes one of `choices`, `many` any number of them; the value is the text of the address, what is shown
    its words. A `day` becomes a date, a `time` a time in UTC, a `number` a finite float, a `text` stays as it is.
    """

    name: str
    label: str
    kind: Kind = "text"
    choices: tuple[tuple[str, str], ...] = ()


def choice(name: str, label: str, values: Sequence[str], *, many: bool = False) -> Filter:
    """A filter over words of our own, shown with spaces instead of underscores."""
    return Filter(name, label, "many" if many else "choice", tuple((v, v.replace("_", " ")) for v in values))


@dataclass(frozen=True, slots=True)
class Listing:
    """What the address of a list may say.

    `sorts` are the keys of `sort=`; `default` is one of them, with `-` before it for the largest or newest first.
    `kept` are further parameters of the page, which links keep and the page reads itself. Lists too long to count are
    paged by `cursor`, a text that the page makes.
    """

    sorts: tuple[str, ...]
    default: str
    filters: tuple[Filter, ...] = ()
    size: int = 50
    kept: tuple[str, ...] = ()
    by_cursor: bool = False

    def asked(self, request: Request) -> "Asked":
        """What the address asks for.

        Raises:
            InvalidError: with the field, its value and what to write instead.
        """
        given = {name: found for name in request.query_params if (found := _given(request, name))}
        place = "cursor" if self.by_cursor else "page"
        known = {*(f.name for f in self.filters), "sort", place, *self.kept}
        for name in given:
            if name not in known:
                raise _invalid(name, given[name][0], f"is not known here; take one of {', '.join(sorted(known))}")
        values = {f.name: _value(f, given[f.name]) for f in self.filters if f.name in given}
        _in_order(values)
        sort = _single("sort", given, self.default)
        if sort.removeprefix("-") not in self.sorts:
            raise _invalid(
                "sort", sort, f"is no column to sort by; take one of {', '.join(self.sorts)}, or -{self.sorts[0]}"
            )
        page = 1 if self.by_cursor else _page(_single("page", given, "1"))
        cursor = _single("cursor", given, "") or None if self.by_cursor else None
        raw = {name: found for name, found in given.items() if name not in ("sort", place)}
        return Asked(self, values, sort, page, cursor, raw)


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address asked of a list. `values` has the filters that are set, converted."""

    listing: Listing
    values: Mapping[str, Any]
    sort: str
    page: int
    cursor: str | None
    raw: Mapping[str, Sequence[str]]

    @property
    def limit(self) -> int:
        return self.listing.size

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.listing.size

    @property
    def key(self) -> str:
        return self.sort.removeprefix("-")

    @property
    def descending(self) -> bool:
        return self.sort.startswith("-")

    def order(self, columns: Mapping[str, ColumnElement[Any]], *ties: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        """ORDER BY for the asked column, empty values last, and then by `ties`, so that no row is on two pages."""
        column = columns[self.key]
        return [column.is_(None), column.desc() if self.descending else column.asc(), *ties]

    def get(self, name: str) -> Any:
        """The value of a filter, None where it is not set."""
        return self.values.get(name)

    def listed(self, rows: Sequence[Any], total: int | None = None, *, next_cursor: str | None = None) -> "Listed":
        """The page to show. `total` counts all rows that match; None where nobody counted.

        Where nobody counted and there is no cursor, pass one row more than `limit`: it says that a page follows.
        """
        more = total is None and len(rows) > self.limit
        return Listed(self, list(rows[: self.limit]), total, next_cursor, more)


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of a list, for the macros of `lists.html`."""

    asked: Asked
    rows: list[Any]
    total: int | None
    next_cursor: str | None = None
    more: bool = False
    pages: int | None = field(init=False)

    def __post_init__(self) -> None:
        pages = None if self.total is None else max(1, math.ceil(self.total / self.asked.limit))
        object.__setattr__(self, "pages", pages)

    @property
    def filtered(self) -> bool:
        return bool(self.asked.values)

    @property
    def first(self) -> int:
        return self.asked.offset + 1

    @property
    def last(self) -> int:
        return self.asked.offset + len(self.rows)

    @property
    def previous(self) -> str | None:
        """A link to the page before; of a list by cursor, to its beginning."""
        if self.asked.listing.by_cursor:
            return self.link() if self.asked.cursor else None
        if self.asked.page <= 1:
            return None
        return self.link(page=min(self.asked.page - 1, self.pages or MAX_PAGE))

    @property
    def following(self) -> str | None:
        if self.asked.listing.by_cursor:
            return self.link(cursor=self.next_cursor) if self.next_cursor else None
        there = self.more if self.pages is None else self.asked.page < self.pages
        return self.link(page=self.asked.page + 1) if there and self.asked.page < MAX_PAGE else None

    def link(self, *, page: int | None = None, cursor: str | None = None, sort: str | None = None) -> str:
        """This list with another order or another page, its filters kept."""
        parts = [(name, text) for name, texts in self.asked.raw.items() for text in texts]
        order = sort or self.asked.sort
        if order != self.asked.listing.default:
            parts.append(("sort", order))
        if page is not None and page > 1:
            parts.append(("page", str(page)))
        if cursor:
            parts.append(("cursor", cursor))
        return f"?{urlencode(parts)}"

    def plain(self) -> str:
        """This list without filters."""
        parts = [
            (name, text) for name, texts in self.asked.raw.items() if name in self.asked.listing.kept for text in texts
        ]
        return f"?{urlencode(parts)}"

    def sorted_by(self, key: str) -> str:
        """The link of a header: turns the order around if the list is sorted by it, and the newest or largest first
        where that is what the list begins with."""
        if self.asked.key == key:
            return self.link(sort=key if self.asked.descending else f"-{key}")
        return self.link(
            sort=self.asked.listing.default if self.asked.listing.default.removeprefix("-") == key else key
        )

    def direction(self, key: str) -> str | None:
        """The value of aria-sort."""
        return None if self.asked.key != key else "descending" if self.asked.descending else "ascending"

    def chosen(self, wanted: Filter) -> list[str]:
        """What the form shows of a filter: the texts of the address."""
        return list(self.asked.raw.get(wanted.name, ()))

    def hidden(self) -> list[tuple[str, str]]:
        """What the form must keep: the order, and parameters of the page itself."""
        kept = [(n, t) for n, texts in self.asked.raw.items() if n in self.asked.listing.kept for t in texts]
        return kept if self.asked.sort == self.asked.listing.default else [*kept, ("sort", self.asked.sort)]


def _given(request: Request, name: str) -> list[str]:
    """The values of a parameter without those left empty, as forms send them."""
    found = [text.strip() for text in request.query_params.getlist(name)]
    for text in found:
        if reason := unfit(text):
            raise _invalid(name, text, reason)
        if len(text) > MAX_CHARS:
            raise _invalid(name, text, f"has {len(text)} characters; write at most {MAX_CHARS}")
    return [text for text in found if text]


def _single(name: str, given: Mapping[str, list[str]], default: str) -> str:
    found = given.get(name, [default])
    if len(found) > 1:
        raise _invalid(name, ", ".join(found), "is there more than once; give it once")
    return found[0]


def _page(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= MAX_PAGE and len(text) <= 6):
        raise _invalid("page", text, f"is no page; write a number from 1 to {MAX_PAGE}")
    return int(text)


def _value(wanted: Filter, texts: list[str]) -> Any:
    if wanted.kind == "many":
        return tuple(dict.fromkeys(_chosen(wanted, text) for text in texts))
    text = _single(wanted.name, {wanted.name: texts}, "")
    match wanted.kind:
        case "choice":
            return _chosen(wanted, text)
        case "day":
            return _day(wanted, text)
        case "time":
            return _time(wanted, text)
        case "number":
            return _number(wanted, text)
    return text


def _chosen(wanted: Filter, text: str) -> str:
    if text not in {value for value, _ in wanted.choices}:
        known = ", ".join(value for value, _ in wanted.choices) or "nothing: there is none yet"
        raise _invalid(wanted.name, text, f"is not among the choices; take one of {known}")
    return text


def _day(wanted: Filter, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise _invalid(wanted.name, text, "is no day; write one such as 2026-01-31") from error


def _time(wanted: Filter, text: str) -> datetime:
    """A time; without a zone it is UTC, as everything on the pages."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _invalid(wanted.name, text, "is no time; write one such as 2026-01-31T12:00, in UTC") from error


def _number(wanted: Filter, text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise _invalid(wanted.name, text, "is no number; write one such as 0.25")
    return found


def _in_order(values: Mapping[str, Any]) -> None:
    """A period is named `since` and `until` in every list."""
    since, until = values.get("since"), values.get("until")
    if since and until and type(since) is type(until) and since > until:
        raise _invalid("since", str(since), f"is after until, {until}; exchange them")


def _invalid(name: str, value: str, fault: str) -> InvalidError:
    short = value if len(value) <= 60 else f"{value[:60]}..."
    return InvalidError(f"{name[:60]}: {short!r} {fault}", field=name[:60], value=short)
