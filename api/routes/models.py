"""Routes for models and their specs."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field
from sqlalchemy.orm import Session

from api.http.applied import AppliedOut, applied, previewed
from api.http.auth import requires
from api.http.deps import Db, Out, Page, ReadDb, SiteDep, body_of, media_type_of, taken
from api.http.reach import Reach
from core import queue
from core.errors import ConflictError
from core.jobs import EvaluateJob
from governance.access.roles import Caller, Permission
from monitor import store
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import load_spec

router = APIRouter(prefix="/api/v1/models", tags=["models"])
YAML = ("application/yaml", "application/x-yaml", "text/yaml")
SpecBody = Annotated[bytes, Depends(body_of("application/json", *YAML, limit_mb=1))]


class RejudgedOut(Out):
    """One number of one window. `would` is null where `why` says why it cannot be told."""

    window: UUID
    scale: str
    from_ts: datetime
    to_ts: datetime
    monitor: str
    metric: str
    column: str
    did: bool
    would: bool | None
    value: float | None
    n: int
    before: str
    after: str
    why: str | None


class LineOut(Out):
    """One limit, or one monitor of all columns; counts are of windows."""

    monitor: str
    metric: str
    column: str
    before: str
    after: str
    windows: int
    did: int
    would: int
    more: int = Field(description="would alarm and did not")
    fewer: int = Field(description="alarmed and would not")
    unknown: int


class BacktestOut(Out):
    sentence: str
    windows: int
    from_ts: datetime | None
    to_ts: datetime | None
    did: int = Field(description="windows that alarmed by what is judged again")
    would: int
    lines: list[LineOut]
    changed: list[RejudgedOut] = Field(description="what would be judged otherwise or cannot be told, newest first")
    unlisted: int = Field(description="of those, how many are not listed")
    cannot: list[str] = Field(description="what is not judged again, and why")


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
    if dry_run:
        return previewed(site, db, caller, spec)
    found = applied(site, db, caller, spec)
    response.status_code = {"waits": 202, "created": 201}.get(found.outcome, 200)
    return found


@router.post("/{model}/spec/backtest", openapi_extra=taken("application/json", *YAML))
def backtest_spec(
    caller: Annotated[Caller, requires(Permission.MODEL_WRITE)], model: str, spec: Annotated[ModelSpec, Depends(_spec)],
    site: SiteDep, db: ReadDb,
) -> BacktestOut:  # fmt: skip
    """Which stored windows would have alarmed under this spec, and which did; nothing is stored.

    Only what is kept of windows is judged again: values with their intervals against other limits, p values and effects
    against another budget and other floors. `cannot` says what is not.
    """
    from monitor.service import in_force
    from monitor.windows.threshold_backtest import backtest  # loads numpy and polars

    current = in_force(site, db, store.model(db, model))
    return BacktestOut.of(backtest(db, current.model.id, current.spec, spec))


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
