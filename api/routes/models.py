"""Routes for models and their specs."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Db, Out, Page, ReadDb, SiteDep, body_of, media_type_of, taken
from api.http.reach import Reach
from core import queue
from core.errors import ConflictError
from core.jobs import EvaluateJob
from governance.access.roles import Caller, Permission
from governance.access.scopes import require_model
from monitor import store
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import load_spec
from monitor.spec.positive import unnamed_class

router = APIRouter(prefix="/api/v1/models", tags=["models"])
YAML = ("application/yaml", "application/x-yaml", "text/yaml")
SpecBody = Annotated[bytes, Depends(body_of("application/json", *YAML, limit_mb=1))]


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


class ModelRow(Out):
    name: str
    revision: int
    created_at: datetime
    part_of: dict[str, str] | None = Field(None, description="the whole of a part, and which of its agents it is")
    evaluating: bool = Field(description="an evaluation runs or is due, so windows and alerts may be added soon")


class TargetOut(Out):
    """The outcome that predictions are compared with; `how`: declared, matched by its type, or assumed."""

    column: str
    how: Literal["declared", "matched", "assumed"]
    others: tuple[str, ...]  # outcomes that fit as well
    note: str


class ModelOut(ModelRow):
    digest: str
    author: str
    changed_at: datetime
    target: TargetOut | None  # of KPIs, fairness, triggers, gates and retraining
    spec: dict[str, Any]
    reference: dict[str, Any]  # monitor.windows.reference_standing


class ModelNameError(ConflictError):
    code = "model_name"


def _spec(model: str, body: SpecBody, request: Request) -> ModelSpec:
    """The spec of the body; read before a transaction begins, because that of a large one takes a while."""
    spec = load_spec(body, "yaml" if media_type_of(request) in YAML else "json")
    if spec.model != model:
        raise ModelNameError(
            f"the spec names model {spec.model!r}, the path {model!r}; make them the same",
            field="model",
            value=spec.model,
        )
    return spec


@router.put(
    "/{model}",
    responses={201: {"model": AppliedOut}, 202: {"model": AppliedOut}},
    openapi_extra=taken("application/json", *YAML),
)
def apply(
    caller: Annotated[Caller, requires(Permission.MODEL_WRITE)],
    model: str,
    spec: Annotated[ModelSpec, Depends(_spec)],
    site: SiteDep,
    db: Db,
    response: Response,
    dry_run: Annotated[bool, Query(description="store nothing; say what would happen")] = False,
) -> AppliedOut:
    """Declare a model or change its spec (JSON or YAML): 201 new, 200 changed or unchanged, 202 where it must wait.

    A spec that loosens a limit, a gate or a watch waits where the risk tier of the model asks for other people's
    approval; one that only tightens is in force at once.

    The answer of a dry run, for which nothing is stored, has a forecast: when the first verdict comes, and at which
    rate.
    """
    from monitor import service
    from retrain.registry.versions import check_applicable
    from retrain.runs.changes import Waits, apply_or_ask

    if spec.part_of is not None:
        require_model(caller, spec.part_of.model, f"model {spec.part_of.model!r}")
    if dry_run:
        previewed = service.preview_spec(site, db, spec, caller.name)
        if spec.retrain is not None:
            check_applicable(site, db, model, spec)
        loosened = service.Loosened((), 0)
        if previewed.outcome == "changed":
            loosened = service.loosened_by(site, db, store.model(db, model), spec)
        return AppliedOut(
            model=model, revision=previewed.revision, outcome="waits" if loosened.needed else previewed.outcome,
            digest=spec.digest, needed=loosened.needed,
            loosened=tuple(LooseningOut.model_validate(one.record()) for one in loosened.found),
            judged_again=previewed.judged_again, forecast=tuple(ForecastOut.of(one) for one in previewed.forecast),
            notes=_notes(spec),
        )  # fmt: skip
    applied = apply_or_ask(site, db, spec, caller)
    if isinstance(applied, Waits):
        response.status_code = 202
        row = applied.request
        return AppliedOut(
            model=model, revision=applied.revision, outcome="waits", digest=spec.digest, change=row.id,
            needed=row.needed, loosened=tuple(LooseningOut.model_validate(one) for one in row.loosened),
        )  # fmt: skip
    response.status_code = 201 if applied.outcome == "created" else 200
    return AppliedOut(
        model=model, revision=applied.revision, outcome=applied.outcome, digest=spec.digest,
        judged_again=applied.judged_again, notes=_notes(spec),
    )  # fmt: skip


def _notes(spec: ModelSpec) -> tuple[str, ...]:
    note = unnamed_class(spec)
    return () if note is None else (note,)


@router.get("")
def list_models(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], site: SiteDep, db: ReadDb,
    part_of: Annotated[str | None, Query(description="only the parts of this model of models")] = None,
) -> Page[ModelRow]:  # fmt: skip
    evaluating = _evaluating(site, db)
    rows = [
        ModelRow(
            name=m.name, revision=m.revision, created_at=m.created_at, part_of=document.get("part_of"),
            evaluating=m.name in evaluating,
        )
        for m, document in store.models_with_specs(db)
        if caller.sees(m.name)
        and (part_of is None or (document.get("part_of") or {}).get("model") == part_of)
    ]  # fmt: skip
    return Page[ModelRow](items=rows)


def _evaluating(site: Site, db: Session) -> set[str]:
    """Models that are being evaluated, or will be for what arrived.

    To be asked before anything else is read: arrivals are settled once their job is queued, and a transaction that
    began earlier would see neither.
    """
    arrived = site.events.arrivals.unsettled()
    return arrived | queue.under_way(db, EvaluateJob.name, now=site.clock.now())


@router.get("/{model}")
def read(_: Annotated[Caller, requires(Permission.READ)], model: str, site: SiteDep, db: ReadDb) -> ModelOut:
    """The spec in force, and the reference in force with what a person should know about it."""
    from monitor.service import in_force
    from monitor.spec.target import target_of  # loads the catalogues
    from monitor.windows.reference_standing import reference_standing  # loads numpy and polars

    evaluating = model in _evaluating(site, db)
    found = store.model(db, model)
    revision = store.spec_revision(db, found.id, found.revision)
    target = target_of(in_force(site, db, found).spec)
    return ModelOut(
        name=found.name, revision=found.revision, created_at=found.created_at, digest=revision.digest,
        author=revision.author, changed_at=revision.created_at, spec=revision.document,
        part_of=revision.document.get("part_of"),
        evaluating=evaluating,
        target=None if target is None else TargetOut.of(target),
        reference=reference_standing(site, db, in_force(site, db, found)),
    )  # fmt: skip
