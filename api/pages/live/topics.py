"""What a page may be told of, and the state of each: small enough to be read every second."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from api.http.reach import require_owners
from api.pages.reports.steps import STEPS, step_of
from api.pages.runs.progress import progress
from core.errors import InvalidError
from core.queue import Job
from governance.access.roles import Caller
from governance.access.scopes import require_model
from monitor.site import Site
from monitor.tables import Alert, Model, Window
from reports.tables import Report
from retrain.tables import ExplanationBatch, GateRow, Run

MAX_TOPICS: Final = 20  # of one page
LISTS: Final = ("alerts", "runs", "reports")  # of all models that the caller may see
MAX_JOBS: Final = 500  # that wait or run, of which the states of models know
State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing: a kind and its id or name. `models` are those that a list may be about, None for all."""

    kind: str
    ref: str = ""
    models: frozenset[str] | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.ref}" if self.ref else self.kind


def topics(site: Site, caller: Caller, asked: Sequence[str]) -> frozenset[Topic]:
    """What was asked for, checked.

    Raises:
        InvalidError: a topic that is none, or too many of them.
        NotInScopeError: one of a model that the caller may not see.
    """
    if not 0 < len(asked) <= MAX_TOPICS:
        raise InvalidError(f"on: {len(asked)} topics were asked for; name 1 to {MAX_TOPICS}", field="on")
    return frozenset(_topic(site, caller, name) for name in asked)


def _topic(site: Site, caller: Caller, name: str) -> Topic:
    kind, _, ref = name.partition(":")
    if name in LISTS:
        return Topic(name, models=caller.models)
    if kind == "model" and ref:
        require_model(caller, ref, f"model {ref[:100]!r}")
        return Topic(kind, ref[:100])
    if kind in OWNED:
        try:
            found = Topic(kind, str(UUID(ref)))
        except ValueError:
            pass
        else:
            if caller.models is not None:
                _require(site, caller, found)
            return found
    known = ", ".join(f"{kind}:ID" for kind in OWNED)
    raise InvalidError(
        f"on: {name[:60]!r} is no topic; take {', '.join(LISTS)}, model:NAME, {known}", field="on", value=name[:60]
    )


def _require(site: Site, caller: Caller, topic: Topic) -> None:
    if (part := OWNED[topic.kind]) is not None:
        require_owners(site, caller, {part: topic.ref})
        return
    with site.database.read() as db:
        if topic.kind == "job":
            job = db.get(Job, UUID(topic.ref))
            model = None if job is None else job.payload.get("model")
        else:
            model = db.scalar(
                select(Model.name)
                .join(ExplanationBatch, ExplanationBatch.model_id == Model.id)
                .where(ExplanationBatch.id == UUID(topic.ref))
            )
    require_model(caller, model, topic.name)


def states(db: Session, asked: Iterable[Topic]) -> dict[Topic, State]:
    """The state of each topic; nothing for what does not exist.

    `token` is another one when a page that shows the thing is out of date. `done`, `total` and `words` say how far work
    is; `total` is None where nobody knows.
    """
    by_kind: dict[str, list[Topic]] = {}
    for topic in asked:
        by_kind.setdefault(topic.kind, []).append(topic)
    found: dict[Topic, State] = {}
    for kind, wanted in by_kind.items():
        found |= READ[kind](db, wanted)
    return found


def ident_of(document: Any) -> str:
    """Names a document of JSON, the same in every process."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def _ids(wanted: Sequence[Topic]) -> dict[UUID, Topic]:
    return {UUID(topic.ref): topic for topic in wanted}


def _runs(db: Session, wanted: Sequence[Topic]) -> dict[Topic, State]:
    ids = _ids(wanted)
    counted = select(GateRow.run_id, func.count()).where(GateRow.run_id.in_(ids)).group_by(GateRow.run_id)
    gates: dict[UUID, int] = {ident: count for ident, count in db.execute(counted)}  # noqa: C416 - rows are no pairs for mypy
    found = {}
    for run in db.scalars(select(Run).where(Run.id.in_(ids))):
        how = run.progress or {}
        token = f"{run.state} {run.attempts} {gates.get(run.id, 0)} {len(run.approvals)}"
        if how.get("series"):  # its curves grow, and are drawn anew every ten seconds
            token += f" {str(how.get('at'))[:18]}"
        total = how.get("steps") or None
        found[ids[run.id]] = {
            "token": token, "state": run.state, "done": how.get("step", 0), "total": total, "words": progress(run)
        }  # fmt: skip
    return found


def _reports(db: Session, wanted: Sequence[Topic]) -> dict[Topic, State]:
    ids = _ids(wanted)
    found = {}
    for report in db.scalars(select(Report).where(Report.id.in_(ids))):
        step = step_of(report)
        far = {} if step is None else {"done": step.done, "total": STEPS, "words": step.words}
        found[ids[report.id]] = _plain(report.state) | far
    return found


def _jobs(db: Session, wanted: Sequence[Topic]) -> dict[Topic, State]:
    ids = _ids(wanted)
    query = select(Job.id, Job.state).where(Job.id.in_(ids))
    return {ids[ident]: _plain(state) for ident, state in db.execute(query)}


def _batches(db: Session, wanted: Sequence[Topic]) -> dict[Topic, State]:
    ids = _ids(wanted)
    found = {}
    for batch in db.scalars(select(ExplanationBatch).where(ExplanationBatch.id.in_(ids))):
        done = batch.explained + sum(batch.failed.values())
        words = f"{done:,} of {batch.total:,} explained"
        found[ids[batch.id]] = {**_plain(batch.state), "done": done, "total": batch.total, "words": words}
    return found


def _plain(state: str) -> State:
    return {"token": state, "state": state, "done": 0, "total": None, "words": state}


def _models(db: Session, wanted: Sequence[Topic]) -> dict[Topic, State]:
    """Of a model: its newest windows, its alerts, runs and reports, and whether something is being done for it."""
    jobs = db.execute(select(Job.payload).where(Job.state.in_(("queued", "running"))).limit(MAX_JOBS))
    busy = {payload.get("model") for (payload,) in jobs}
    found = {}
    for topic in wanted:
        ident = db.scalar(select(Model.id).where(Model.name == topic.ref))
        if ident is not None:
            words = "working" if topic.ref in busy else ""
            found[topic] = {"token": _newest(db, ident), "state": "", "done": 0, "total": None, "words": words}
    return found


def _newest(db: Session, model: UUID) -> str:
    """Differs once anything newer is stored about a model."""
    parts = [
        select(Window.closed_at, Window.refreshed_at, Window.corrected_at)
        .where(Window.model_id == model)
        .order_by(Window.to_ts.desc())
        .limit(5),
        select(
            func.count(), func.max(Alert.opened_at), func.max(Alert.acknowledged_at), func.max(Alert.resolved_at)
        ).where(Alert.model_id == model),
        select(func.count(), func.max(Run.created_at), func.max(Run.finished_at)).where(Run.model_id == model),
        select(func.count(), func.max(Report.finished_at)).where(Report.model_id == model),
    ]
    return ident_of([[str(value) for value in row] for query in parts for row in db.execute(query)])


def _alerts(db: Session, wanted: Sequence[Topic]) -> dict[Topic, State]:
    """How many alerts of each model are not resolved, and the newest one."""
    open_ones = _by_model(Alert, func.count(), func.max(Alert.opened_at)).where(Alert.state != "resolved")
    return _listed(db, wanted, open_ones, "not resolved")


def _run_list(db: Session, wanted: Sequence[Topic]) -> dict[Topic, State]:
    return _listed(db, wanted, _by_model(Run, func.count(), Run.state).group_by(Run.state), "runs")


def _report_list(db: Session, wanted: Sequence[Topic]) -> dict[Topic, State]:
    return _listed(db, wanted, _by_model(Report, func.count(), Report.state).group_by(Report.state), "reports")


def _by_model(table: Any, *columns: Any) -> Select[*tuple[Any, ...]]:
    query: Select[*tuple[Any, ...]] = (
        select(Model.name, *columns)
        .select_from(table)
        .outerjoin(Model, Model.id == table.model_id)
        .group_by(Model.name)
    )  # fmt: skip
    return query


def _listed(
    db: Session, wanted: Sequence[Topic], query: Select[*tuple[Any, ...]], words: str
) -> dict[Topic, State]:  # fmt: skip
    """A list of things of all models, as far as whoever listens may see them."""
    rows = sorted((name or "", count, str(further)) for name, count, further in db.execute(query))
    found = {}
    for topic in wanted:
        mine = [row for row in rows if topic.models is None or row[0] in topic.models]
        count = sum(row[1] for row in mine)
        found[topic] = {"token": ident_of(mine), "state": "", "done": 0, "total": None, "words": f"{count:,} {words}"}
    return found


Reader = Callable[[Session, Sequence[Topic]], dict[Topic, State]]
READ: Final[Mapping[str, Reader]] = {
    "alerts": _alerts, "runs": _run_list, "reports": _report_list, "model": _models, "run": _runs, "report": _reports,
    "job": _jobs, "batch": _batches,
}  # fmt: skip
# Topics with an id, and what the address of a route calls it where api/http/reach.py knows whose it is.
OWNED: Final[Mapping[str, str | None]] = {"run": "run_id", "report": "report_id", "job": None, "batch": None}
