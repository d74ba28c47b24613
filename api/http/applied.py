"""What applying a spec does or would do, for the route and the page: told before it is stored, and afterwards."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy.orm import Session

from api.http.deps import Out
from governance.access.roles import Caller
from governance.access.scopes import require_model
from monitor import store
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.positive import unnamed_class


class ForecastOut(Out):
    rows_per_day: float
    windows: list[str]
    rule: str
    reference_rows: int
    first_verdict_s: float | None
    visible_std: float | None
    visible_share: float | None
    why: str | None
    change: str
    sentence: str


class LooseningOut(Out):
    """One key that holds less than before."""

    field: str
    before: Any
    after: Any
    why: str


class AppliedOut(Out):
    """What became of a spec. `waits`: it loosens something, and other people must agree before it is in force."""

    model: str
    revision: int = Field(description="in force now")
    outcome: Literal["created", "changed", "unchanged", "waits"]
    change: UUID | None = Field(None, description="the change that waits; decided under .../changes")
    needed: int = Field(0, description="people other than the one who applied the spec that must agree")
    loosened: tuple[LooseningOut, ...] = ()
    digest: str
    judged_again: int = 0  # closed windows that will be judged again under this revision, without an alarm
    forecast: tuple[ForecastOut, ...] = ()  # of a dry run: one at a known rate, or several
    notes: tuple[str, ...] = ()  # what the spec leaves open


def previewed(site: Site, db: Session, caller: Caller, spec: ModelSpec) -> AppliedOut:
    """What `applied` would do; nothing is stored."""
    from monitor import service
    from retrain.registry.versions import check_applicable

    _check_part(caller, spec)
    found = service.preview_spec(site, db, spec, caller.name)
    if spec.retrain is not None:
        check_applicable(site, db, spec.model, spec)
    loosened = service.Loosened((), 0)
    if found.outcome == "changed":
        loosened = service.loosened_by(site, db, store.model(db, spec.model), spec)
    return AppliedOut(
        model=spec.model, revision=found.revision, outcome="waits" if loosened.needed else found.outcome,
        digest=spec.digest, needed=loosened.needed,
        loosened=tuple(LooseningOut.model_validate(one.record()) for one in loosened.found),
        judged_again=found.judged_again, forecast=tuple(ForecastOut.of(one) for one in found.forecast),
        notes=_notes(spec),
    )  # fmt: skip


def applied(site: Site, db: Session, caller: Caller, spec: ModelSpec) -> AppliedOut:
    """Apply a spec, or let it wait where people must agree."""
    from retrain.runs.changes import Waits, apply_or_ask

    _check_part(caller, spec)
    found = apply_or_ask(site, db, spec, caller)
    if isinstance(found, Waits):
        row = found.request
        return AppliedOut(
            model=spec.model, revision=found.revision, outcome="waits", digest=spec.digest, change=row.id,
            needed=row.needed, loosened=tuple(LooseningOut.model_validate(one) for one in row.loosened),
        )  # fmt: skip
    return AppliedOut(
        model=spec.model, revision=found.revision, outcome=found.outcome, digest=spec.digest,
        judged_again=found.judged_again, notes=_notes(spec),
    )  # fmt: skip


def _check_part(caller: Caller, spec: ModelSpec) -> None:
    if spec.part_of is not None:
        require_model(caller, spec.part_of.model, f"model {spec.part_of.model!r}")


def _notes(spec: ModelSpec) -> tuple[str, ...]:
    note = unnamed_class(spec)
    return () if note is None else (note,)
