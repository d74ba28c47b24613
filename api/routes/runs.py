"""Routes for retraining: datasets, decisions and runs."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import Field

from api.http.auth import requires
from api.http.deps import Db, In, Out, Page, ReadDb, SiteDep, StorableText, body_of, taken
from api.routes.versions import Mover, ReasonIn, RolledBackOut, VersionOut, rolled_back
from governance.access.roles import Caller, Permission
from monitor import store as monitored
from monitor.tables import Model
from retrain import store

router = APIRouter(prefix="/api/v1", tags=["retraining"])
Reader = Annotated[Caller, requires(Permission.READ)]
Approver = Annotated[Caller, requires(Permission.RUN_APPROVE)]
PARQUET = ("application/vnd.apache.parquet", "application/octet-stream")
ParquetBody = Annotated[bytes, Depends(body_of(*PARQUET))]


class StartIn(ReasonIn):
    if_due: bool = Field(
        False,
        description="consider the policy as a scheduler does, and start a run only if one of its triggers fires and "
        "nothing blocks; otherwise a person's request is a trigger of its own",
    )


class AttestIn(In):
    statement: str = Field(min_length=1, max_length=2000, description="what was validated, and what was found")
    evidence: str = Field(
        min_length=1, max_length=2000,
        description="where it can be looked up: digest, address or number of a document; kept in the ledger, no "
        "personal data",
    )  # fmt: skip


class DatasetOut(Out):
    id: UUID
    name: str
    role: str
    digest: str
    rows: int
    provenance: dict[str, Any]
    run_id: UUID | None
    created_at: datetime
    created_by: str


class DecisionOut(Out):
    id: UUID
    cause: str
    fired: bool
    reason: str
    triggers: list[Any]
    blocked_by: list[Any]
    window_id: UUID | None
    spec_revision: int
    at: datetime


class GateOut(Out):
    gate: str
    verdict: str
    reason: str
    evidence: dict[str, Any]
    at: datetime


class RunRow(Out):
    id: UUID
    purpose: str = Field(description="train: make a version; promote: judge one that exists again")
    to_stage: str
    traffic_share: float | None
    state: str
    decision_id: UUID
    spec_revision: int
    champion_version: str
    candidate_version: str | None
    config_digest: str | None
    progress: dict[str, Any] | None
    attempts: int
    approvals: list[Any]
    outside: list[Any] = Field(description="limits that the run is past and waits for a person to allow, once")
    waits_at: str | None = Field(description="the state in which it goes on once they are allowed")
    exceptions: list[Any] = Field(description="limits that people allowed it to be past, with who and why")
    used: dict[str, Any] | None = Field(description="seconds, kWh and CO2e of its processes, estimated; by day")
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class ApprovalStandingOut(Out):
    needed: int
    given: int = Field(description="people whose approval counts")
    started_by: str | None = Field(description="null: the policy")
    by: list[str]
    void: list[str] = Field(description="approvals that do not count, each with the reason")
    attestation: bool = Field(description="whether the tier asks for a validator's attestation")
    attested_by: list[str] = Field(description="validators whose attestation counts")
    missing: list[str] = Field(description="all that stands between the run and its promotion")


class RunOut(RunRow):
    config: dict[str, Any] | None
    metrics: dict[str, Any] | None
    evaluation: dict[str, Any] | None
    train_dataset_id: UUID | None
    eval_dataset_id: UUID | None
    holdout_dataset_id: UUID | None
    rules: dict[str, Any] | None
    gates: tuple[GateOut, ...] = ()
    approval: ApprovalStandingOut | None = None


class StartedOut(Out):
    """The recorded decision and, where it fired, the run.

    `outcome` is `nothing_to_do` where no trigger fires or no outcome has arrived since the last training set, and
    `blocked` where something else holds the run back; the decision says what.
    """

    outcome: Literal["started", "nothing_to_do", "blocked"]
    decision: DecisionOut
    run: RunRow | None


@router.post("/models/{model}/datasets", status_code=201, openapi_extra=taken(*PARQUET))
def register_dataset(
    caller: Annotated[Caller, requires(Permission.DATASET_WRITE)], model: str,
    name: Annotated[StorableText, Query(min_length=1, max_length=100)],
    role: Literal["train", "holdout", "golden", "reference"],
    body: ParquetBody, site: SiteDep, db: Db,
    source: Annotated[StorableText, Query(max_length=500)] = "uploaded over the API",
    synthetic: Annotated[bool, Query(description="rows were made, not observed; the envelope limits them")] = False,
) -> DatasetOut:  # fmt: skip
    """Register labelled rows as a Parquet file."""
    from retrain.runs.datasets import record_dataset

    return DatasetOut.of(record_dataset(site, db, model, name, role, body, source, caller.name, synthetic))


@router.get("/models/{model}/datasets")
def datasets(_: Reader, model: str, db: ReadDb) -> Page[DatasetOut]:
    return Page[DatasetOut].of(store.datasets(db, monitored.model(db, model).id))


@router.post("/models/{model}/runs", status_code=202, responses={200: {"model": StartedOut}})
def start(
    caller: Annotated[Caller, requires(Permission.RUN_START)], model: str, body: StartIn, site: SiteDep, db: Db,
    response: Response,
    idempotency_key: Annotated[
        StorableText | None,
        Header(description="the same key gets the same decision and run; with another body, 409"),
    ] = None,
) -> StartedOut:  # fmt: skip
    """Request a retrain now: 202 with the run, or 200 with the decision that says why there is none."""
    from retrain.runs.consider import start_if_due, start_manual
    from retrain.runs.requests import Request
    from retrain.triggers.decision import answer

    request = None if idempotency_key is None else Request.of(idempotency_key, body.model_dump())
    begin = start_if_due if body.if_due else start_manual
    considered = begin(site, db, model, caller.name, body.reason, request)
    response.status_code = 202 if considered.run is not None else 200
    made = considered.decision
    outcome = answer(fired=made.fired, triggers=made.triggers, blocked_by=made.blocked_by)
    run = RunRow.of(considered.run) if considered.run is not None else None
    return StartedOut(outcome=outcome, decision=DecisionOut.of(made), run=run)


@router.get("/models/{model}/runs")
def runs(_: Reader, model: str, db: ReadDb) -> Page[RunRow]:
    """Newest first."""
    return Page[RunRow].of(store.runs(db, monitored.model(db, model).id))


@router.get("/runs/{run_id}")
def read(_: Reader, run_id: UUID, site: SiteDep, db: ReadDb) -> RunOut:
    from retrain.registry.standing import standing_of

    run = store.run(db, run_id)
    found, gates = standing_of(db, run, site.clock.now()), tuple(GateOut.of(gate) for gate in store.gates(db, run_id))
    counted = found.counted
    approval = ApprovalStandingOut(
        needed=found.rules.approvals, given=len(counted.by), by=[s.named for s in counted.by],
        started_by=found.starter.named if found.starter else None,
        void=[f"{s.named}: {why}" for s, why in (*counted.void, *found.attested.void)],
        attestation=found.rules.attestation, attested_by=[s.named for s in found.attested.by],
        missing=list(found.missing) if run.state not in store.FINAL_STATES else [],
    )  # fmt: skip
    return RunOut.of(run).model_copy(update={"gates": gates, "approval": approval})


@router.get("/runs/{run_id}/envelope")
def envelope(
    _: Reader, run_id: UUID, site: SiteDep, db: ReadDb,
    format_: Annotated[Literal["json", "markdown"], Query(alias="format")] = "json",
) -> Response:  # fmt: skip
    """The change document: each limit of the run, declared and measured, with what proves it; checked offline."""
    from retrain.runs.change_check import as_markdown
    from retrain.runs.change_document import change_document

    document = change_document(site, db, run_id)
    if format_ == "markdown":
        return PlainTextResponse(as_markdown(document), media_type="text/markdown")
    return JSONResponse(document)


@router.post("/runs/{run_id}/approve")
def approve(caller: Approver, run_id: UUID, body: ReasonIn, site: SiteDep, db: Db) -> RunRow:
    from retrain.runs.approve import approve_run

    return RunRow.of(approve_run(site, db, run_id, caller, body.reason))


@router.post("/runs/{run_id}/attest")
def attest(
    caller: Annotated[Caller, requires(Permission.VALIDATE)], run_id: UUID, body: AttestIn, site: SiteDep, db: Db
) -> RunRow:
    """A validator's statement about the candidate, which the high tier asks for beside the approvals."""
    from retrain.runs.approve import attest_run

    return RunRow.of(attest_run(site, db, run_id, caller, body.statement, body.evidence))


@router.post("/runs/{run_id}/reject")
def reject(caller: Approver, run_id: UUID, body: ReasonIn, site: SiteDep, db: Db) -> RunRow:
    from retrain.runs.approve import reject_run

    return RunRow.of(reject_run(site, db, run_id, caller, body.reason))


@router.post("/runs/{run_id}/promote", responses={202: {"model": VersionOut}})
def promote(caller: Mover, run_id: UUID, body: ReasonIn, site: SiteDep, db: Db, response: Response) -> VersionOut:
    """Make the run's candidate champion; gates, approvals and the rules in force are checked again.

    202 where a new run judges the version first: the rules have changed, or the version was rolled back from.
    """
    from retrain.runs.promote import promote_by_hand

    version = promote_by_hand(site, db, run_id, caller, body.reason)
    response.status_code = 200 if version.stage == store.run(db, run_id).to_stage else 202
    return VersionOut.of(version)


@router.post("/runs/{run_id}/rollback")
def rollback(caller: Mover, run_id: UUID, body: ReasonIn, site: SiteDep) -> RolledBackOut:
    """Restore the champion that preceded this run's version, and list the predictions it made."""
    with site.database.read() as db:
        run = store.run(db, run_id)
        name, candidate = db.get_one(Model, run.model_id).name, run.candidate_version
    return rolled_back(site, name, caller, body.reason, only=candidate)


@router.get("/models/{model}/decisions")
def decisions(
    _: Reader, model: str, db: ReadDb, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> Page[DecisionOut]:
    """Considerations of the retrain policy, fired or not; newest first."""
    return Page[DecisionOut].of(store.decisions(db, monitored.model(db, model).id, limit))
