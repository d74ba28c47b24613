"""The columns of a model: what changed most in the newest window that was judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.pages.listing import Asked, Filter, Listing, choice
from api.pages.models import store
from api.pages.models.summary import head_of
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor import store as monitor_store
from monitor.profile.coding import DERIVED_PARTS
from monitor.service import current_spec
from monitor.spec.columns import Column
from monitor.spec.model import ModelSpec
from monitor.tables import Measurement, Window

router = APIRouter(route_class=PageRoute, include_in_schema=False)
State = Literal["alarmed", "above_floor", "below_floor", "not_judged"]
STATES: Final[tuple[State, ...]] = ("alarmed", "above_floor", "below_floor", "not_judged")
ROLES: Final = ("input", "prediction", "score", "segment", "agent", "protected", "measure", "outcome", "subject")


@dataclass(frozen=True, slots=True)
class ColumnLine:
    """One column in the newest judged window. `finding` is its largest change; `name` may be derived, as `text.oov`."""

    name: str
    base: str
    column: Column | None
    finding: Mapping[str, Any] | None
    faults: Sequence[Measurement] = ()
    shap: float | None = None

    @property
    def state(self) -> State:
        if self.finding is None:
            return "not_judged"
        if self.finding.get("alarmed"):
            return "alarmed"
        return "above_floor" if self.finding.get("above_floor") else "below_floor"

    @property
    def size(self) -> float:
        """How large the change is, for an order: as a multiple of its floor, or in standard errors."""
        found = self.finding or {}
        size = found.get("times_floor")
        return float(size) if size is not None else abs(float(found.get("t") or 0.0)) / 1000 if found else -1.0


def base_of(spec: ModelSpec, name: str) -> str:
    """The declared column that a watched one is or is derived from."""
    head, _, part = name.rpartition(".")
    return head if name not in spec.columns and head and part in DERIVED_PARTS else name


def column_lines(
    spec: ModelSpec, window: Window | None, faults: Sequence[Measurement], shap: Sequence[Measurement]
) -> list[ColumnLine]:
    """A line for each declared column, and one for each that is derived from a text or vector."""
    findings = {str(c["column"]): c for c in (window.decision.get("columns") or [] if window is not None else [])}
    by_column: dict[str, list[Measurement]] = {}
    for m in faults:
        by_column.setdefault(m.column, []).append(m)
    importance = {m.column: m.value for m in shap}
    names = [n for n in spec.columns if not any(f"{n}.{part}" in findings for part in DERIVED_PARTS)]
    names += [n for n in findings if n not in spec.columns]
    return [
        ColumnLine(n, b := base_of(spec, n), spec.columns.get(b), findings.get(n), by_column.get(b, []),
                   importance.get(b))
        for n in dict.fromkeys(names)
    ]  # fmt: skip


@router.get("/models/{name}/columns")
def columns_page(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, site: SiteDep, db: ReadDb, request: Request
) -> HTMLResponse:
    current = current_spec(site, db, name)
    model, spec = current.model, current.spec
    asked = Listing(
        sorts=("change", "name", "faults", "shap"), default="-change",
        filters=(
            Filter("q", "Name contains"), choice("role", "Role", ROLES), choice("state", "Change", STATES, many=True),
        ),
    ).asked(request)  # fmt: skip
    window = store.judged_window(db, model.id)
    faults = store.newest_of_monitor(db, window.id, "quality") if window is not None else ()
    shap = store.newest_of_monitor(db, window.id, "attribution") if window is not None else ()
    found = [line for line in column_lines(spec, window, faults, shap) if _matches(line, asked)]
    _sort(found, asked)
    attributions = newest_attributions(db, model.id) if spec.monitors.attribution else None
    return page(
        "models/columns.html", caller=caller, model=model, spec=spec, head=head_of(site, db, current), window=window,
        attributed=bool(shap), attributions=attributions,
        listed=asked.listed(found[asked.offset : asked.offset + asked.limit], len(found)),
    )  # fmt: skip


def newest_attributions(db: Session, model: UUID) -> dict[str, Any] | None:
    """What the newest explained window says of attributions as a whole, by both rules; None where none is explained."""
    drift = store.newest_number(db, model, "attribution_drift")
    if drift is None:
        return None
    here = {m.metric: m for m in monitor_store.window_measurements(db, drift.window_id, monitor="attribution")}
    pairs = (drift.details.get("interactions") or {}).get("pairs") or []
    return {"drift": drift, "ndcg": here.get("attribution_ndcg"), "pairs": pairs}


def _matches(line: ColumnLine, asked: Asked) -> bool:
    text, role, states = asked.get("q"), asked.get("role"), asked.get("state")
    return (
        (text is None or text.lower() in line.name.lower())
        and (role is None or (line.column is not None and line.column.role == role))
        and (not states or line.state in states)
    )


def _most_faults(line: ColumnLine) -> float:
    return max((m.value or 0.0 for m in line.faults), default=-1.0)


def _sort(found: list[ColumnLine], asked: Asked) -> None:
    """In place, by the order asked for; equal ones stay in the order of the spec."""
    match asked.key:
        case "name":
            found.sort(key=lambda line: line.name, reverse=asked.descending)
        case "faults":
            found.sort(key=_most_faults, reverse=asked.descending)
        case "shap":
            found.sort(key=lambda line: -1.0 if line.shap is None else line.shap, reverse=asked.descending)
        case _:
            found.sort(key=lambda line: (line.state == "alarmed", line.size), reverse=asked.descending)
