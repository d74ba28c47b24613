"""The events of a model, searched: filters in the address, pages by time, counts by day, exports and saved views."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import parse_qs, urlencode
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse, Response

from api.http.auth import requires
from api.http.deps import Db, ReadDb, SiteDep, StorableText
from api.http.event_filters import Searched, searched
from api.pages.events.search_form import Field, SearchField, search_form
from api.pages.forms import Form
from api.pages.render import PageRoute, page
from core.errors import InvalidError
from governance.access.roles import Caller, Permission
from monitor import store
from monitor.explore import views
from monitor.explore.filters import FITTING, OPERATORS, WORDS, EventFilter, Sort
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.upkeep.protected import record_read

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.EVENTS_READ)]
ROWS: Final = 50  # of a page
MOST_COLUMNS: Final = 40  # shown at a time
USUAL_COLUMNS: Final = 8
LISTED_COLUMNS: Final = 500  # offered by the form
MOST_BARS: Final = 120
_FIRST: Final = ("prediction", "score", "segment", "agent", "outcome", "input", "measure")  # roles, as they are shown


@router.get("/models/{name}/events")
def explorer(
    caller: Reader, name: str, site: SiteDep, db: ReadDb, field: Field,
    sort: Sort = "newest",
    cursor: Annotated[StorableText | None, Query(max_length=60)] = None,
    columns: Annotated[StorableText, Query(max_length=4000)] = "",
    count: Literal["1", ""] = "",
) -> Response:  # fmt: skip
    from monitor.explore.search import search

    of = searched(site, db, caller, name)
    form = search_form(site, of, field)
    shown, withheld = _columns(of, columns)
    kept = [*form.asked.parameters, *([("columns", ",".join(shown))] if columns else [])]
    kept += [("sort", sort)] if sort != "newest" else []
    if form.changed:
        return RedirectResponse(f"/models/{name}/events?{urlencode(kept)}", 303)
    found = search(site, of.spec, form.asked, columns=[*shown, "trace_id"], sort=sort, limit=ROWS, cursor=cursor)
    _recorded(site, caller, name, of, {*shown} | form.asked.columns, form.asked, len(found.rows))
    query = urlencode(kept)
    return page(
        "events/explorer.html", caller=caller, model=name, found=found, shown=shown, withheld=withheld, sort=sort,
        form=form, query=query, kept=kept, columns=columns, cursor=cursor, lines=[_line(r, shown) for r in found.rows],
        offered=sorted(of.columns)[:LISTED_COLUMNS], total_columns=len(of.columns), operators=OPERATORS, words=WORDS,
        fitting=FITTING, volume=_volume(site, of.spec, form.asked, counted=bool(count)),
        views=views.views_for(db, store.model(db, name), caller), numeric=_numeric(of.spec, shown),
        ways=_links(name, form.asked, kept, sort, found.next), judged=form.judged,
        has_outcomes=any(c.outcome for c in of.columns.values()), seconds_limit=_bound(),
    )  # fmt: skip


@router.post("/models/{name}/events/filter")
def filter_events(caller: Reader, name: str, site: SiteDep, db: ReadDb, form: Form) -> RedirectResponse:
    """Add to the search what the form says: personal data comes into the address as it is stored, never as written."""
    of, given = searched(site, db, caller, name), _given(form.get("query", ""))
    single = [form.get(part, "").strip() for part in ("outcome", "answer", "from", "to", "column", "operator", "value")]
    kept = search_form(site, of, SearchField(given.get("where", []), *single)).asked.parameters
    if columns := form.get("columns", "").strip():
        _columns(of, columns)
        kept.append(("columns", columns))
    return RedirectResponse(f"/models/{name}/events?{urlencode([*kept, *_order(given)])}", 303)


@router.post("/models/{name}/events/views")
def keep_view(caller: Reader, name: str, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    """Keep the search that the form names."""
    of, given = searched(site, db, caller, name), _given(form.get("query", ""))
    single = [given.get(part, [""])[0] for part in ("outcome", "answer", "from", "to")]
    kept = search_form(site, of, SearchField(given.get("where", []), *single)).asked.parameters
    if columns := given.get("columns", [""])[0]:
        _columns(of, columns)
        kept.append(("columns", columns))
    kept += _order(given)
    views.keep_view(
        db, store.model(db, name), caller, name=form.get("name", ""), query=urlencode(kept),
        shared=form.get("shared") == "yes", now=site.clock.now(),
    )  # fmt: skip
    return RedirectResponse(f"/models/{name}/events?{urlencode(kept)}", 303)


def _given(query: str) -> dict[str, list[str]]:
    """The parameters of a search that a form holds.

    Raises:
        InvalidError: they cannot be read.
    """
    try:
        return parse_qs(query, max_num_fields=200, strict_parsing=bool(query))
    except ValueError as error:
        raise InvalidError(
            "query: the search cannot be read; begin from the page of the events", field="query"
        ) from error


def _order(given: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    sort = given.get("sort", ["newest"])[0]
    if sort not in get_args(Sort):
        raise InvalidError(f"sort is {sort[:40]!r}; write newest or oldest", field="sort", value=sort[:200])
    return [("sort", sort)] if sort != "newest" else []


@router.post("/models/{name}/events/views/{view}/remove")
def remove_view(caller: Reader, name: str, view: UUID, db: Db) -> RedirectResponse:
    views.remove_view(db, store.model(db, name), caller, view)
    return RedirectResponse(f"/models/{name}/events", 303)


def _bound() -> float:
    from monitor.explore.search import SECONDS

    return SECONDS


def _columns(of: Searched, written: str) -> tuple[list[str], list[str]]:
    """The columns to show, and those among the chosen that this caller may not read.

    Raises:
        InvalidError: a chosen column does not exist, or too many are chosen.
    """
    chosen = list(dict.fromkeys(part.strip() for part in written.split(",") if part.strip()))
    if len(chosen) > MOST_COLUMNS:
        raise InvalidError(
            f"columns names {len(chosen)} columns; choose at most {MOST_COLUMNS} at a time", field="columns",
            value=len(chosen),
        )  # fmt: skip
    if unknown := [name for name in chosen if name not in of.columns]:
        known = ", ".join(sorted(of.columns)[:200])
        raise InvalidError(
            f"columns names {unknown[0][:100]!r}, which this model does not have; it has {known}", field="columns",
            value=unknown[0][:200],
        )  # fmt: skip
    if not chosen:
        roles = of.spec.columns
        by_role = sorted((_FIRST.index(c.role), name) for name, c in roles.items() if c.role in _FIRST)
        order = {name: at for at, name in enumerate(roles)}
        by_role.sort(key=lambda part: (part[0], order[part[1]]))
        chosen = [name for _, name in by_role if name not in of.protected][:USUAL_COLUMNS]
    withheld = [name for name in chosen if name in of.withheld]
    return [name for name in chosen if name not in withheld and name not in ("event_id", "ts")], withheld


def _recorded(
    site: Site, caller: Caller, name: str, of: Searched, read: set[str], asked: EventFilter, rows: int
) -> None:  # fmt: skip
    """Values of protected columns that were shown, or searched, are recorded as read."""
    if there := of.protected & read:
        record_read(site, caller, name, there, "search", count=rows, since=asked.from_ts, until=asked.to_ts)


def _links(
    name: str, asked: EventFilter, kept: Sequence[tuple[str, str]], sort: str, following: str | None
) -> dict[str, Any]:  # fmt: skip
    """Addresses that the page leads to."""
    here, rest = f"/models/{name}/events", [part for part in kept if part[0] in ("columns", "sort")]
    without = [f"{here}?{urlencode([*asked.without(at).parameters, *rest])}" for at in range(len(asked.conditions))]
    less = {
        "outcome": replace(asked, outcome=None), "answer": replace(asked, answer=None),
        "from_ts": replace(asked, from_ts=None), "to_ts": replace(asked, to_ts=None),
    }  # fmt: skip
    others = {part: f"{here}?{urlencode([*left.parameters, *rest])}" for part, left in less.items()}
    other = "oldest" if sort == "newest" else "newest"
    turned = [part for part in kept if part[0] != "sort"] + ([("sort", other)] if other != "newest" else [])
    api = f"/api/v1/models/{name}/events"
    return {
        "next": f"{here}?{urlencode([*kept, ('cursor', following)])}" if following else None,
        "first": f"{here}?{urlencode(kept)}", "turned": f"{here}?{urlencode(turned)}", "all": here,
        "count": f"{here}?{urlencode([*kept, ('count', '1')])}#volume", "without": without, "others": others,
        "exports": [(form, f"{api}?{urlencode([*asked.parameters, ('format', form)])}") for form in
                    ("ndjson", "csv", "parquet")],
    }  # fmt: skip


def _line(row: Mapping[str, Any], shown: Sequence[str]) -> dict[str, Any]:
    """A row as the table prints it."""
    return {
        "id": row["event_id"], "at": row["ts"], "trace": row.get("trace_id"),
        "cells": [_cell(row.get(name)) for name in shown],
    }  # fmt: skip


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return f"{len(value):,} {'numbers' if value and isinstance(value[0], float) else 'texts'}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if not isinstance(value, str) or len(value) <= 200 else f"{value[:200]}…"


def _numeric(spec: ModelSpec, shown: Sequence[str]) -> set[str]:
    return {name for name in shown if name in spec.columns and spec.columns[name].type == "number"}


def _volume(site: Site, spec: ModelSpec, asked: EventFilter, *, counted: bool) -> dict[str, Any] | None:
    """Events by day: from the table's log where no more than a period is asked, else where the count is asked for."""
    from monitor.explore.volume import stored_days, volume

    reached = None
    if asked.is_period and not counted:
        first = asked.from_ts.date() if asked.from_ts else date.min
        last = asked.to_ts.date() if asked.to_ts else date.max
        days = [(day, rows) for day, rows in stored_days(site, spec.model) if first <= day <= last]
    elif counted:
        found = volume(site, spec, asked)
        days, reached = found.days, found.reached
    else:
        return None
    total = sum(rows for _, rows in days)
    unit, bars = "day", [(day.isoformat(), rows) for day, rows in days]
    if days and (days[-1][0] - days[0][0]).days > MOST_BARS:
        unit, by_month = "month", dict[str, int]()
        for day, rows in days:
            month = day.replace(day=1).isoformat()
            by_month[month] = by_month.get(month, 0) + rows
        bars = list(by_month.items())[-MOST_BARS:]
    return {
        "total": total, "unit": unit, "bars": bars, "reached": reached, "stored": not counted,
        "spec": _chart(bars, unit),
    }  # fmt: skip


def _chart(bars: Sequence[tuple[str, int]], unit: str) -> dict[str, Any]:
    grain = "utcyearmonthdate" if unit == "day" else "utcyearmonth"
    return {
        "data": {"values": [{"at": at, "events": rows} for at, rows in bars]},
        "mark": {"type": "bar", "color": "var(--chart-series)"},
        "encoding": {
            "x": {"field": "at", "type": "temporal", "timeUnit": grain, "title": None},
            "y": {"field": "events", "type": "quantitative", "title": "events"},
            "tooltip": [{"field": "at", "type": "temporal", "title": unit}, {"field": "events", "format": ","}],
        },
    }  # fmt: skip
