"""Where a run stands before its promotion: the rules, the gates judged, who approved, and what is missing."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from core.canonical import digest
from governance.access.api_keys import key_named
from governance.access.roles import Permission
from governance.access.signers import Signer, signer
from governance.ledger.read import ledger_entries
from governance.policy.approvals import expired, lost_right
from monitor.spec.parse import parse_spec
from monitor.store import spec_revision
from monitor.tables import Model
from retrain import store
from retrain.envelope import Plan, breaches
from retrain.limits import LimitCheck, RunFacts, allowed
from retrain.registry.rules import Approval, Counted, Rules, RuleSet, count, missing_gates
from retrain.tables import GateRow, Run

APPROVED: Final = "run.approved"
ATTESTED: Final = "run.attested"


@dataclass(frozen=True, eq=False)
class Standing:
    rules: Rules
    judged: Mapping[str, tuple[str, str]]  # verdict and reason by gate
    stale: bool  # the gates were judged under other rules than those that hold now
    starter: Signer | None  # None: the policy started the run
    counted: Counted
    attested: Counted  # validators whose statement counts; nobody is both validator and approver
    covers: str  # digest of what approvals and attestations hold for
    waits_for: tuple[str, ...]  # limits that the run is past, and that nobody has allowed

    @property
    def unjudged(self) -> bool:
        """Whether the gates must be judged, for the first time or again."""
        return self.stale or not self.judged

    @property
    def missing_gates(self) -> tuple[str, ...]:
        return missing_gates(self.rules, self.judged)

    @property
    def nameless_starter(self) -> str | None:
        """Why nobody can approve: it is not known who started the run, so anybody might be that person."""
        if self.starter is None or self.starter.owners:
            return None
        return (
            f"it was started with key {self.starter.actor}, which has no declared owner, and the one who started a run "
            "may not approve it; an admin declares who holds that key: assay keys own "
            f"{self.starter.key or self.starter.actor} --owner NAME"
        )

    @property
    def missing_approvals(self) -> tuple[str, ...]:
        needed, given = self.rules.approvals, len(self.counted.by)
        nameless = (self.nameless_starter,) if needed and self.nameless_starter else ()
        if given >= needed:
            return nameless
        void = "".join(f"; that of {signer.named} does not count: {why}" for signer, why in self.counted.void)
        return (f"{given} of {needed} approvals given{void}", *nameless)

    @property
    def missing_attestation(self) -> tuple[str, ...]:
        if not self.rules.attestation or self.attested.by:
            return ()
        void = "".join(f"; that of {s.named} does not count: {why}" for s, why in self.attested.void)
        return (f"a validator attests that the candidate was validated, which the tier asks for{void}",)

    @property
    def missing_people(self) -> tuple[str, ...]:
        return (*self.missing_approvals, *self.missing_attestation)

    @property
    def missing(self) -> tuple[str, ...]:
        """All that stands between the run and its promotion, in words; empty when nothing does."""
        again = ("the rules have changed since the gates were judged; they are judged again",) if self.stale else ()
        limits = tuple(f"somebody allows, once: {words}" for words in self.waits_for)
        return (*self.rules.blocked(), *limits, *(again or self.missing_gates), *self.missing_people)


def rules_of(db: Session, run: Run) -> Rules:
    """The rules of a run. Raises NoPolicyError never: a run exists only under a policy."""
    model = db.get_one(Model, run.model_id)
    start = RuleSet.of(run.spec_revision, store.spec_at(db, model.id, run.spec_revision))
    assert start is not None  # a run exists only under a policy
    now = model.revision
    if run.state in store.FINAL_STATES:  # later revisions do not reach back
        now = (run.rules or {}).get("now") or run.spec_revision
    return Rules(start, start if now == run.spec_revision else RuleSet.of(now, store.spec_at(db, model.id, now)))


def standing_of(db: Session, run: Run, now: datetime | None = None) -> Standing:
    """
    Args:
        now: of a run that is open, the time at which approvals are counted; without it none has expired.
    """
    rules, starter = rules_of(db, run), starter_of(db, run)
    gates = store.gates(db, run.id)
    judged = {g.gate: (g.verdict, g.reason) for g in gates}
    # A run of an earlier release was judged under the rules it started with.
    under = run.rules["terms"] if run.rules else Rules(rules.start, rules.start).terms
    covers, until = covers_of(db, run, gates), run.finished_at or now
    recorded = {_mark(e["body"]) for e in ledger_entries(db, (APPROVED,), f"run:{run.id}")}
    given = [_approval(db, run, a, until, recorded) for a in run.approvals]
    counted = count(given, starter, rules.terms, covers)
    if run.state in store.FINAL_STATES and not run.rules:  # counted as an earlier release did
        counted = Counted(tuple(a.signer for a in given), ())
    attested = _attested(db, run, starter, rules.terms, covers, counted.by, until)
    asked = tuple(str(one["reason"]) for one in run.outside)
    return Standing(rules, judged, bool(judged) and under != rules.terms, starter, counted, attested, covers, asked)


def starter_of(db: Session, run: Run) -> Signer | None:
    """Who asked for a run, with a key of a person or of a scheduler; None if the policy started it by itself."""
    if run.started_by is not None:
        return signer(db, run.started_by)
    # A run of an earlier release: the decision names the person.
    for finding in store.decision(db, run.decision_id).triggers:
        if finding["name"] == "manual" and finding["fire"]:
            return signer(db, str(finding["evidence"][0]))
    return None


def covers_of(db: Session, run: Run, gates: Sequence[GateRow]) -> str:
    """Digest of what an approval holds for: the candidate with its weights, and the verdicts of its gates."""
    row = store.candidate(db, run)
    verdicts = sorted((g.gate, g.verdict) for g in gates)
    return digest(
        {
            "run": run.id, "version": run.candidate_version, "adapter": row.adapter if row else None,
            "base": row.base_digest if row else None, "champion": run.champion_version, "stage": run.to_stage,
            "share": run.traffic_share, "config": run.config_digest, "gates": verdicts,
        }
    )  # fmt: skip


def _mark(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return line.get("actor"), line.get("key"), line.get("terms"), line.get("covers")


def _attested(
    db: Session, run: Run, starter: Signer | None, terms: str, covers: str, approvers: Sequence[Signer],
    until: datetime | None,
) -> Counted:  # fmt: skip
    """Validators whose statement about this candidate counts: people who neither started nor approve the run."""
    model = db.get_one(Model, run.model_id).name
    statements = []
    for entry in ledger_entries(db, (ATTESTED,), f"run:{run.id}"):
        body, at = entry["body"], datetime.fromisoformat(entry["at"])
        who = signer(db, body["actor"], body.get("key"), body.get("owner"))
        same = next((s for s in approvers if s.marks & who.marks), None)
        void = f"approves the run too, as {same.named}; a validator is another person" if same else None
        void = void or lost_right(db, who, Permission.VALIDATE, model) or (expired(at, until) if until else None)
        statements.append(Approval(who, body.get("terms"), body.get("spec_revision"), body.get("covers"), void))
    return count(statements, starter, terms, covers)


def _approval(
    db: Session, run: Run, given: Mapping[str, Any], until: datetime | None, recorded: Set[tuple[Any, ...]]
) -> Approval:
    who = signer(db, given["actor"], given.get("key"), given.get("owner"))
    row = key_named(db, given["actor"])
    if row is not None and row.revoked_at is not None and run.finished_at is not None:
        who = replace(who, revoked=row.revoked_at <= run.finished_at)
    void = None
    if run.state not in store.FINAL_STATES:
        model = db.get_one(Model, run.model_id).name
        void = lost_right(db, who, Permission.RUN_APPROVE, model)
        if until is not None:
            void = void or expired(datetime.fromisoformat(given["at"]), until)
        if _mark(given) not in recorded:
            void = "stands in the table and not in the ledger, so it was added outside Assay"
    return Approval(who, given.get("terms"), given.get("spec_revision"), given.get("covers"), void)


def exceptions_of(db: Session, run: Run) -> tuple[Mapping[str, Any], ...]:
    """What people allowed a run, once; what was allowed with a key that was revoked since counts no more."""
    return tuple(e for e in run.exceptions if not signer(db, str(e["actor"]), e.get("key"), e.get("owner")).revoked)


def outside(
    db: Session, run: Run, rules: Rules, facts: RunFacts, exceptions: Sequence[Mapping[str, Any]] = ()
) -> tuple[LimitCheck, ...]:
    """Limits of either envelope that the run's recipe, or what is known of it by now, leaves, and nobody has allowed.

    `exceptions` are those of another run with the same candidate.
    """
    document = spec_revision(db, run.model_id, run.spec_revision).document
    plan = Plan.of(parse_spec(document))
    found = (
        check for s in rules.sets for check in breaches(Plan(plan.recipe, plan.rehearsal, s.envelope), facts)
    )  # fmt: skip
    given = (*exceptions_of(db, run), *exceptions)
    asked = {(c.limit, str(c.declared)): c for c in found if not allowed(given, c.limit, c.measured)}
    return tuple(asked.values())
