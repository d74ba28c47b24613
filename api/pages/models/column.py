"""The page of one column: reference against window, its history, its faults and its sub-groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.http.protected import GROUPS
from api.pages.models import store
from api.pages.models.column_chart import history_chart
from api.pages.models.columns import base_of
from api.pages.models.distribution_chart import distribution_chart, distribution_rows, distribution_words, height_of
from api.pages.models.summary import head_of
from api.pages.render import PageRoute, page
from core.errors import AppError, InvalidError, NotFoundError
from governance.access.roles import Caller, Permission
from monitor.profile.block import BlockProfile
from monitor.quality import QUALITY
from monitor.reference.profile_job import load_profile
from monitor.service import CurrentSpec, current_spec, spec_for
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import Measurement, ReferenceRow, Window
from monitor.upkeep.protected import protected_columns, record_read
from reports import store as reports_store
from reports.charts.records import Distribution
from reports.facts.distributions import distributions, named_levels, slices_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
EFFECTS: Final = {
    "location": "The mean", "spread": "The spread", "share": "The share of one value",
    "share_below": "The share below a value",
    "missing": "The share of missing values", "other": "The share of rarer values",
    "unseen": "The share of values never seen before",
}  # fmt: skip
HISTORY: Final = 200  # windows
FEW: Final = 10  # alerts


@dataclass(frozen=True, slots=True)
class Slice:
    """One column in one segment of a window. `mean` and `largest` are None where the column is not of that kind."""

    name: str
    n: int
    missing: float | None
    mean: float | None
    largest: tuple[str, float] | None


@router.get("/models/{name}/columns/{column}")
def column_page(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, column: str, site: SiteDep, db: ReadDb,
    window: Annotated[UUID | None, Query()] = None, segment: Annotated[str, Query(max_length=200)] = "",
) -> HTMLResponse:  # fmt: skip
    current = current_spec(site, db, name)
    model, spec = current.model, current.spec
    base = base_of(spec, column)
    shown = _window(db, model.id, window)
    history = _history(db, model.id, column, base, shown)
    if base not in spec.columns and not any(history):
        raise NotFoundError(
            f"model {name} has no column {column[:100]!r}; the list of its columns has them all", column=column[:100]
        )
    why = _withheld(site, db, caller, current, base)
    drawn, slices, reason = (
        (None, (), why) if why or shown is None else _drawn(site, db, current, shown, column, segment)
    )
    if drawn is not None and base in protected_columns(site, db, model) and caller.may(Permission.PROTECTED_READ):
        record_read(site, caller, name, frozenset({base}), "column", count=shown.rows if shown else 0)
    effects, faults = history
    return page(
        "models/column.html", caller=caller, model=model, spec=spec, head=head_of(site, db, current), name=column,
        base=base, declared=spec.columns.get(base), window=shown, finding=_finding(shown, column), why=reason,
        drawn=drawn, rows=distribution_rows(drawn) if drawn else None,
        chart=distribution_chart(drawn) if drawn else None, words=distribution_words(drawn) if drawn else "",
        height=height_of(drawn) if drawn else 0, slices=slices, segment=segment,
        history=history_chart(effects, faults) if effects or faults else None, effects=effects[::-1],
        faults=faults[::-1],
        alerts=store.alerts_of_column(db, model.id, {column, base}, FEW), floors=spec.monitors.drift.floors,
        effects_in_words=EFFECTS,
    )  # fmt: skip


def _window(db: Session, model: UUID, asked: UUID | None) -> Window | None:
    if asked is None:
        return store.judged_window(db, model)
    found = reports_store.window(db, asked)
    if found is None or found.model_id != model:
        raise NotFoundError(f"window {asked} is not of this model", window=str(asked))
    return found


def _history(
    db: Session, model: UUID, column: str, base: str, shown: Window | None
) -> tuple[list[Measurement], list[Measurement]]:
    """The effects and the faults of a column in the windows of the shown one's length, up to now."""
    if shown is None:
        return [], []
    windows, _ = store.course_windows(db, model, shown.scale, None, None, HISTORY)
    ids, ends = {w.id for w in windows}, [w.to_ts for w in windows]
    metrics = {"effect", *QUALITY}
    found = store.column_values(db, model, metrics, {column, base}, min(ends), max(ends) + timedelta(microseconds=1))
    mine = [m for m in found if m.window_id in ids]
    effects = [m for m in mine if m.monitor == "drift" and m.column == column and m.value is not None]
    return effects, [m for m in mine if m.monitor == "quality" and m.column == base]


def _withheld(site: Site, db: Session, caller: Caller, current: CurrentSpec, base: str) -> str | None:
    """Why this caller may not see the distribution of a column, whose levels may quote people; None if they may."""
    if not caller.may(Permission.EVENTS_READ):
        return "your role does not read single events, and values of a column may quote them"
    if base not in protected_columns(site, db, current.model) or caller.may(Permission.PROTECTED_READ):
        return None
    declared = current.spec.columns.get(base)
    if declared is not None and declared.type in GROUPS:
        return None  # counts of groups, which the fairness page shows too
    return "it is a protected column, and your role does not read values of those"


def _drawn(
    site: Site, db: Session, current: CurrentSpec, window: Window, column: str, segment: str
) -> tuple[Distribution | None, Sequence[Slice], str | None]:
    reference = reports_store.baseline(db, window.baseline_id)
    if reference is None or reference.artifact is None:
        return None, (), "the window has no reference yet"
    spec = spec_for(site, db, current.model, window.spec_revision, reference).spec
    try:
        slices = _slices(site, db, spec, window, reference, column)
        if segment and segment not in {s.name for s in slices}:
            raise InvalidError(
                f"segment: the window has no counts of {segment[:60]!r}; the page lists those it has", field="segment",
                value=segment[:60],
            )  # fmt: skip
        found, why = distributions(site, db, spec, window, reference, [column], segment=segment)
    except InvalidError:
        raise
    except AppError as error:
        return None, (), error.message
    if found:
        return found[0], slices, None
    return None, slices, why or "no distribution of this column is kept; only watched columns have one"


def _slices(
    site: Site, db: Session, spec: ModelSpec, window: Window, reference: ReferenceRow, column: str
) -> list[Slice]:
    assert reference.artifact is not None  # checked by the caller
    baseline = load_profile(site.artifacts.root, reference.artifact)
    kept = baseline.coding.categories[column].kept if column in baseline.coding.categories else ()
    levels = named_levels(baseline, column, kept)
    found = slices_of(db, spec, window, reference, baseline)
    return [one for name, part in found.items() if (one := _slice(name, part, column, levels)) is not None]


def _slice(name: str, part: BlockProfile, column: str, levels: Sequence[str]) -> Slice | None:
    if column in part.numbers:
        counts = part.numbers[column]
        n = int(counts.counts.sum())
        return Slice(
            name, part.rows, counts.nulls / part.rows if part.rows else None, counts.total / n if n else None, None
        )
    if column in part.categories and part.rows:
        category = part.categories[column]
        top = max(range(len(levels)), key=lambda i: int(category.levels[i]), default=None)
        largest = None if top is None else (levels[top], int(category.levels[top]) / part.rows)
        return Slice(name, part.rows, category.nulls / part.rows, None, largest)
    return None


def _finding(window: Window | None, column: str) -> Mapping[str, Any] | None:
    found = (window.decision.get("columns") or []) if window is not None else []
    return next((c for c in found if c["column"] == column), None)
