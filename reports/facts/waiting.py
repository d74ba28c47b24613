"""What waits for people: runs, limits that a run is past, changes of a spec, stops; and whether one may decide it.

The oldest come first. What a person may not decide is listed all the same, with the reason.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from core.errors import AppError
from governance.access.roles import PERMISSIONS, Caller, Permission
from governance.access.signers import Signer
from governance.policy import changes
from governance.policy.approvals import LASTS, ApprovalRefusedError, check_other_person
from governance.policy.stops import Stop, agreed_to_lift, standing_stops
from governance.tables import ChangeRequest, LedgerEntry
from monitor.site import Site
from monitor.tables import Model, SpecRevision
from reports.paths import without_paths
from retrain.registry.standing import Standing, standing_of
from retrain.runs.deciding import approval_refused, attestation_refused, person_of, unnamed
from retrain.runs.stopped import tier_of
from retrain.tables import GateRow, Run

Kind = Literal["run", "limits", "change", "stop"]
KINDS: Final[dict[Kind, str]] = {
    "run": "candidate of a run", "limits": "limits of a run", "change": "change of a spec", "stop": "stop of a model",
}  # fmt: skip
MOST: Final = 20  # lines of one page
MOST_RUNS: Final = 1_000  # that are looked at


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that may be decided: what its button says, what it does, and why this caller may not."""

    path: str
    label: str
    does: str
    refused: str | None = None
    evidence: bool = False  # asks for a second field


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that waits. `since` is when it began to, `until` when what was given or asked runs out."""

    kind: Kind
    id: str
    model: str
    link: str
    what: str
    since: datetime
    until: datetime | None = None
    asked_by: str = "the policy"
    needed: int = 0
    given: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    acts: tuple[Act, ...] = ()

    @property
    def mine(self) -> bool:
        """Whether the caller can move it on."""
        return any(act.refused is None for act in self.acts)

    @property
    def refused(self) -> str | None:
        """Why the caller can do nothing; None where something can be done."""
        return None if self.mine else next((act.refused for act in self.acts if act.refused), None)


@dataclass(frozen=True, slots=True)
class Inbox:
    items: tuple[Waiting, ...] = ()
    more: int = 0  # that wait and are not listed
    total: int = 0

    @property
    def mine(self) -> tuple[Waiting, ...]:
        return tuple(one for one in self.items if one.mine)


Dated = tuple[datetime, str, Callable[[], Waiting]]  # since when it waits, its id, and what makes its line


def inbox_of(
    site: Site, db: Session, caller: Caller, *, model: str | None = None, kind: Kind | None = None, most: int = MOST,
    skip: int = 0,
) -> Inbox:  # fmt: skip
    """What waits for people, of the models in the caller's scope, the oldest first.

    Args:
        most, skip: a page of it; looking who may decide a run takes some milliseconds each.
    """
    names: Collection[str] | None = caller.models
    if model is not None:
        names = [model] if caller.sees(model) else []
    stops = standing_stops(db)
    dated: list[Dated] = []
    if kind in (None, "run", "limits"):
        dated += _runs(site, db, caller, names, stops, kind)
    if kind in (None, "change"):
        dated += _changes(site, db, caller, names)
    if kind in (None, "stop"):
        dated += _stops(site, db, caller, names, stops)
    dated.sort(key=lambda one: one[:2])
    items = tuple(make() for _, _, make in dated[skip : skip + most])
    return Inbox(items, max(0, len(dated) - skip - len(items)), len(dated))


def acts_on(db: Session, caller: Caller, run: Run, name: str, found: Standing) -> tuple[Act, ...]:
    """What may be decided about a waiting run, and whether this caller may."""
    stop = standing_stops(db).get(name)
    return _acts_on(db, caller, run, name, found, stop)


def _runs(
    site: Site, db: Session, caller: Caller, names: Collection[str] | None, stops: Mapping[str, Stop], kind: Kind | None
) -> list[Dated]:
    query = select(Run, Model.name).join(Model, Model.id == Run.model_id).where(Run.state == "awaiting_approval")
    if names is not None:
        query = query.where(Model.name.in_(names))
    large = (defer(Run.metrics), defer(Run.evaluation), defer(Run.config))
    rows = db.execute(query.options(*large).order_by(Run.created_at).limit(MOST_RUNS)).all()
    newest = select(GateRow.run_id, func.max(GateRow.at)).where(GateRow.run_id.in_([run.id for run, _ in rows]))
    judged: dict[UUID, datetime] = {run_id: at for run_id, at in db.execute(newest.group_by(GateRow.run_id)).all()}  # noqa: C416 - rows, typed
    told = _outside_since(db, [run.id for run, _ in rows if run.outside])
    found: list[Dated] = []
    for run, name in rows:
        if kind is not None and kind != ("limits" if run.outside else "run"):
            continue
        since = told.get(run.id) or judged.get(run.id) or run.started_at or run.created_at
        found.append((since, str(run.id), partial(_run, site, db, caller, run, name, since, stops.get(name))))
    return found


def _outside_since(db: Session, runs: Sequence[UUID]) -> dict[UUID, datetime]:
    """When each of these runs last began to wait past its limits."""
    subjects = {f"run:{run}": run for run in runs}
    query = select(LedgerEntry.subject, LedgerEntry.entry).where(LedgerEntry.kind == "run.outside")
    lines = db.execute(query.where(LedgerEntry.subject.in_(subjects)).order_by(LedgerEntry.index)).all()
    return {subjects[subject]: datetime.fromisoformat(json.loads(line)["at"]) for subject, line in lines}


def _run(site: Site, db: Session, caller: Caller, run: Run, name: str, since: datetime, stop: Stop | None) -> Waiting:
    link = f"/runs/{run.id}"
    try:
        standing = standing_of(db, run, site.clock.now())
    except (AppError, ValueError) as error:  # of an earlier release, or changed by hand
        why = f"the spec that the run is judged by cannot be read: {without_paths(str(error))}"
        acts = (Act(f"{link}/approve", "Approve", "", why), _rejection(caller, run))
        return Waiting("run", str(run.id), name, link, f"Run of {name} waits, and {why}", since, acts=acts)
    given = tuple(s.named for s in standing.counted.by)
    until = min((datetime.fromisoformat(str(a["at"])) for a in run.approvals if a.get("at")), default=None)
    limits = "; ".join(str(without_paths(one["reason"])) for one in run.outside)
    what = (
        f"The retrain of {name} from {run.champion_version} is outside its limits: {limits}"
        if run.outside
        else f"{run.candidate_version or 'The candidate'} of {name} was judged against {run.champion_version}"
    )
    return Waiting(
        "limits" if run.outside else "run", str(run.id), name, link, what, since,
        until=None if until is None or not given else until + LASTS,
        asked_by=standing.starter.named if standing.starter else "the policy", needed=standing.rules.approvals,
        given=given,
        missing=standing.waits_for if run.outside else standing.missing,
        acts=_acts_on(db, caller, run, name, standing, stop),
    )  # fmt: skip


def _acts_on(db: Session, caller: Caller, run: Run, name: str, found: Standing, stop: Stop | None) -> tuple[Act, ...]:
    if run.state != "awaiting_approval":
        return ()
    who, link, version = person_of(db, caller), f"/runs/{run.id}", run.candidate_version or "the candidate"
    halted = None if stop is None else f"{stop.words(name)}; lift the stop first"
    named = unnamed(db, caller, who)
    approve = _lacks(caller, Permission.RUN_APPROVE) or halted
    left = found.rules.approvals - len(found.counted.by) - 1
    if run.outside:
        does = "Allow: the run goes on past these limits, this once; the reason stands in the ledger and in its proof."
        first = Act(f"{link}/approve", "Allow once", does, approve or named or approval_refused(run, found, who))
    else:
        why = approve or "; ".join(found.rules.blocked()) or named or approval_refused(run, found, who)
        first = Act(f"{link}/approve", "Approve", f"Approve: {_effect(run, found, version, left)}", why or None)
    acts = [first, _rejection(caller, run)]
    if not run.outside and found.rules.attestation and not found.attested.by:
        does = (
            "Attest: records what you validated and where that can be read. It cannot be undone. Whoever started or "
            "approves the run may not."
        )
        why = _lacks(caller, Permission.VALIDATE) or halted or named or attestation_refused(run, found, who)
        acts.append(Act(f"{link}/attest", "Attest", does, why, evidence=True))
    return tuple(acts)


def _rejection(caller: Caller, run: Run) -> Act:
    stays = f"Reject: {run.champion_version} stays champion. It cannot be undone; a new run is needed."
    return Act(f"/runs/{run.id}/reject", "Reject", stays, _lacks(caller, Permission.RUN_APPROVE))


def _effect(run: Run, found: Standing, version: str, left: int) -> str:
    """What an approval brings about."""
    place = (
        run.to_stage if run.traffic_share is None else f"{run.to_stage} with {100 * run.traffic_share:g} % of requests"
    )
    if found.stale:
        return f"the rules have changed, so the gates of {version} are judged again first, and approvals given again."
    if left > 0:
        return (
            f"{left} more {'person' if left == 1 else 'people'} must approve after you, then {version} becomes {place}."
        )
    if found.missing_attestation:
        return f"{version} becomes {place} once a validator has attested."
    if found.missing_gates:
        return f"a gate still blocks {version}: {'; '.join(found.missing_gates)}."
    return f"promotes {version} to {place} at once; no further approver is needed. A promotion can be rolled back."


def _changes(site: Site, db: Session, caller: Caller, names: Collection[str] | None) -> list[Dated]:
    now = site.clock.now()
    query = (
        select(ChangeRequest)
        .join(Model, Model.name == ChangeRequest.model)
        .join(SpecRevision, (SpecRevision.model_id == Model.id) & (SpecRevision.revision == Model.revision))
        .where(ChangeRequest.state == "waiting", ChangeRequest.expires_at > now)
        .where(ChangeRequest.base == SpecRevision.digest)
    )
    if names is not None:
        query = query.where(ChangeRequest.model.in_(names))
    rows = db.scalars(query.order_by(ChangeRequest.asked_at).limit(MOST_RUNS)).all()
    return [(row.asked_at, str(row.id), partial(_change, site, db, caller, row)) for row in rows]


def _change(site: Site, db: Session, caller: Caller, row: ChangeRequest) -> Waiting:
    path, who, lacks = f"/models/{row.model}/changes/{row.id}", person_of(db, caller), None
    loosened = "; ".join(
        f"{one['field']} from {_or_none(one.get('before'))} to {_or_none(one.get('after'))}" for one in row.loosened
    )
    lacks = _lacks(caller, Permission.RUN_APPROVE)
    try:
        agreed = changes.agreement(db, row, site.clock.now())
    except AppError as error:
        acts: tuple[Act, ...] = (Act(f"{path}/approve", "Approve", "", error.message),)
        return Waiting("change", str(row.id), row.model, f"/models/{row.model}/governance",
                       f"A change of the spec of {row.model} cannot be decided", row.asked_at, row.expires_at,
                       acts=acts)  # fmt: skip
    left = max(0, row.needed - agreed.given - 1)
    does = "Approve: the spec is in force at once." if not left else f"Approve: {left} more must agree after you."
    why = lacks or unnamed(db, caller, who) or _other(
        who, agreed.asked_by, agreed.by, did=f"asked for change {row.id}", may="approve it"
    )  # fmt: skip
    acts = (Act(f"{path}/approve", "Approve", does, why),
            Act(f"{path}/reject", "Reject", "Reject: the spec in force stays.", lacks))  # fmt: skip
    return Waiting(
        "change", str(row.id), row.model, f"/models/{row.model}/governance",
        f"A change of the spec of {row.model} loosens {loosened}", row.asked_at, row.expires_at, agreed.asked_by.named,
        row.needed, tuple(s.named for s in agreed.by), (f"{row.needed - agreed.given} of {row.needed} must agree",),
        acts,
    )  # fmt: skip


def _stops(
    site: Site, db: Session, caller: Caller, names: Collection[str] | None, stops: Mapping[str, Stop]
) -> list[Dated]:
    return [
        (stop.at, f"stop:{stop.entry}", partial(_stop, site, db, caller, name, stop))
        for name, stop in stops.items()
        if names is None or name in names
    ]


def _stop(site: Site, db: Session, caller: Caller, name: str, stop: Stop) -> Waiting:
    who, lacks = person_of(db, caller), _lacks(caller, Permission.RUN_APPROVE)
    agreed = agreed_to_lift(db, name, stop, site.clock.now())
    try:
        needed = tier_of(site, db, name).lifting
    except (AppError, ValueError) as error:
        needed, lacks = 1, lacks or f"the spec of {name} cannot be read: {without_paths(str(error))}"
    why = lacks
    if needed and why is None:
        why = unnamed(db, caller, who) or _other(who, stop.by, agreed, did=f"stopped {name}", may="lift the stop")
    left = needed - len(agreed) - 1
    does = f"Lift: {left} more must agree after you." if left > 0 else "Lift: runs that paused go on at once."
    missing = (f"{needed - len(agreed)} of {needed} other people must agree",) if needed else ()
    return Waiting(
        "stop", f"stop:{stop.entry}", name, f"/models/{name}/governance", f"{stop.words(name)}. Nothing is promoted or "
        "trained until the stop is lifted", stop.at, None, stop.by.named, needed, tuple(s.named for s in agreed),
        missing, (Act(f"/models/{name}/stop/lift", "Lift the stop", does, why),),
    )  # fmt: skip


def _other(who: Signer, first: Signer, agreed: Sequence[Signer], *, did: str, may: str) -> str | None:
    try:
        check_other_person(who, first, agreed, did=did, may=may)
    except ApprovalRefusedError as error:
        return error.message
    return None


def _lacks(caller: Caller, permission: Permission) -> str | None:
    if caller.may(permission):
        return None
    able = " or ".join(role.value for role, granted in PERMISSIONS.items() if permission in granted)
    return f"your role is {caller.role.value}; a person with the role {able} decides this"


def _or_none(value: object) -> object:
    return "none" if value is None else value
