"""What the address of the event explorer says, and what its form adds to it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Query

from api.http.deps import StorableText
from api.http.event_filters import Searched, asked_for
from core.clock import day_or_time
from monitor.explore.filters import EventFilter, SearchColumn
from monitor.site import Site

Text = Annotated[StorableText, Query(max_length=600)]
_VALUELESS: Final = ("missing", "present")


@dataclass(frozen=True, slots=True)
class SearchField:
    """The parameters as they were sent. Only a form has a column: what somebody writes there may be the key of a
    person, and comes into an address as it is stored."""

    where: list[str]
    outcome: str
    answer: str
    from_: str
    to: str
    column: str = ""
    operator: str = ""
    value: str = ""


def _field(
    where: Annotated[list[StorableText], Query(max_length=40)] = [],  # noqa: B006 - FastAPI copies it
    outcome: Text = "", answer: Text = "", from_: Annotated[StorableText, Query(alias="from", max_length=60)] = "",
    to: Annotated[StorableText, Query(max_length=60)] = "",
) -> SearchField:  # fmt: skip
    return SearchField(where, outcome, answer, from_.strip(), to.strip())


Field = Annotated[SearchField, Depends(_field)]


@dataclass(frozen=True, slots=True)
class SearchForm:
    """The filter, and whether the address should say it otherwise: a condition was added, or a text is stored so."""

    asked: EventFilter
    judged: bool
    changed: bool


def search_form(site: Site, of: Searched, field: SearchField) -> SearchForm:
    """The filter of an address.

    Raises:
        InvalidError, ForbiddenError: as `asked_for`.
    """
    where = list(field.where)
    if field.column:
        where.append(_written(of.columns, field))
    bounds: list[datetime | None] = [
        day_or_time(name, text, UTC, last=last) if text else None
        for name, text, last in (("from", field.from_, False), ("to", field.to, True))
    ]
    matching = asked_for(
        site, of, where, outcome=field.outcome or None, answer=field.answer or None, from_ts=bounds[0], to_ts=bounds[1]
    )
    asked = matching.asked
    stored = [value for name, value in asked.parameters if name == "where"]
    judged = of.spec.task == "classification" and of.spec.target is not None
    return SearchForm(asked, judged, changed=bool(field.column) or stored != field.where)


def _written(columns: dict[str, SearchColumn], field: SearchField) -> str:
    """The condition of the form's three fields; without a comparison, the usual one of the column's kind."""
    operator = field.operator
    if not operator:
        kind = columns[field.column].kind if field.column in columns else "category"
        operator = "contains" if kind == "text" else "eq"
    value = "" if operator in _VALUELESS else field.value
    return f"{field.column}:{operator}:{value}" if value else f"{field.column}:{operator}"
