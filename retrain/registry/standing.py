"""Where a run stands before its promotion: the rules, the gates judged, who approved, and what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from governance.access.api_keys import key_named
from governance.access.signers import Signer, signer
from monitor.spec.parse import parse_spec
from monitor.store import spec_revision
from monitor.tables import Model
from retrain import store
from retrain.envelope import Plan, breaches
from retrain.limits import LimitCheck, RunFacts, allowed
from retrain.registry.rules import Approval, Counted, Rules, RuleSet, count, missing_gates
from retrain.tables import Run


@dataclass(frozen=True, eq=False)
class Standing:
    rules: Rules
    judged: Mapping[str, tuple[str, str]]  # verdict and reason by gate
    stale: bool  # the gates were judged under other rules than those that hold now
    starter: Signer | None  # None: the policy started the run
    counted: Counted
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
    def missing(self) -> tuple[str, ...]:
        """All that stands between the run and its promotion, in words; empty when nothing does."""
        again = ("the rules have changed since the gates were judged; they are judged again",) if self.stale else ()
        limits = tuple(f"somebody allows, once: {words}" for words in self.waits_for)
        return (*self.rules.blocked(), *limits, *(again or self.missing_gates), *self.missing_approvals)


def rules_of(db: Session, run: Run) -> Rules:
    """The rules of a run. Raises NoPolicyError never: a run exists only under a policy."""
    model = db.get_one(Model, run.model_id)
    start = RuleSet.of(run.spec_revision, store.spec_at(db, model.id, run.spec_revision))
    assert start is not None  # a run exists only under a policy
    now = model.revision
    if run.state in store.FINAL_STATES:  # later revisions do not reach back
        now = (run.rules or {}).get("now") or run.spec_revision
    return Rules(start, RuleSet.of(now, store.spec_at(db, model.id, now)))


def standing_of(db: Session, run: Run) -> Standing:
    rules, starter = rules_of(db, run), starter_of(db, run)
    judged = {g.gate: (g.verdict, g.reason) for g in store.gates(db, run.id)}
    # A run of an earlier release was judged under the rules it started with.
    under = run.rules["terms"] if run.rules else Rules(rules.start, rules.start).terms
    given = [_approval(db, run, a) for a in run.approvals]
    counted = count(given, starter, rules.terms)
    if run.state in store.FINAL_STATES and not run.rules:  # counted as an earlier release did
        counted = Counted(tuple(a.signer for a in given), ())
    asked = tuple(str(one["reason"]) for one in run.outside)
    return Standing(rules, judged, bool(judged) and under != rules.terms, starter, counted, asked)


def starter_of(db: Session, run: Run) -> Signer | None:
    """Who asked for a run, with a key of a person or of a scheduler; None if the policy started it by itself."""
    if run.started_by is not None:
        return signer(db, run.started_by)
    # A run of an earlier release: the decision names the person.
    for finding in store.decision(db, run.decision_id).triggers:
        if finding["name"] == "manual" and finding["fire"]:
            return signer(db, str(finding["evidence"][0]))
    return None


def _approval(db: Session, run: Run, given: Mapping[str, Any]) -> Approval:
    who = signer(db, given["actor"], given.get("key"), given.get("owner"))
    row = key_named(db, given["actor"])
    if row is not None and row.revoked_at is not None and run.finished_at is not None:
        who = replace(who, revoked=row.revoked_at <= run.finished_at)
    return Approval(who, given.get("terms"), given.get("spec_revision"))


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
