"""The rules a promotion is judged by: those its run started under and those in force now, and each must be kept. Pure.

No limit is merged with another. Every gate is judged under both sets of rules and the worse verdict counts, so a limit
that is stricter in either set decides, whichever field it is in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

from core.canonical import digest
from governance.access.signers import Signer
from governance.policy.tiers import Tier, asked
from monitor.spec.envelope import Envelope
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import FairnessRule
from monitor.spec.retraining import Retrain

if TYPE_CHECKING:
    from retrain.gates.base import GateInputs, GateResult  # all gates come with it

# What says when a run starts and what it trains was decided at its start; no promotion rests on it.
STARTING: Final = frozenset(
    {"when", "cooldown", "worse_by", "allowed_hours", "min_outcomes", "budget", "recipe", "approval"}
)
ROLES: Final = ("input", "prediction")  # with the target, the columns that say what the model was made for
_WORST: Final = ("not_applicable", "pass", "unknown", "fail")


@dataclass(frozen=True, eq=False)
class RuleSet:
    """What one revision of a spec asks of a promotion."""

    revision: int
    policy: Retrain
    fairness: tuple[FairnessRule, ...]
    columns: Mapping[str, Any]  # those of ROLES and the target: role and type
    risk: str = "limited"

    @classmethod
    def of(cls, revision: int, spec: ModelSpec) -> Self | None:
        """None where the spec has no retraining policy."""
        if spec.retrain is None:
            return None
        columns: dict[str, list[str]] = {n: [c.role, c.type] for n, c in spec.columns.items() if c.role in ROLES}
        if spec.target is not None:
            columns[spec.target] = ["target", spec.columns[spec.target].type]
        return cls(revision, spec.retrain, tuple(spec.monitors.fairness), columns, spec.risk)

    @property
    def envelope(self) -> Envelope:
        return self.policy.envelope

    def terms(self) -> dict[str, Any]:
        """All that the verdict of a gate may rest on."""
        fairness = [rule.model_dump(mode="json") for rule in self.fairness]
        return {"policy": self.policy.model_dump(mode="json", exclude=set(STARTING)), "fairness": fairness}

    def judge_under(self, inputs: "GateInputs") -> "GateInputs":
        """The same rows and answers under the limits of this set."""
        return replace(inputs, envelope=self.envelope, fairness=self.fairness)


@dataclass(frozen=True, eq=False)
class Rules:
    """The two sets of rules of one run."""

    start: RuleSet
    now: RuleSet | None  # None: the policy was taken out of the spec

    @property
    def sets(self) -> tuple[RuleSet, ...]:
        """The sets that differ, start first."""
        if self.now is None or self.now.terms() == self.start.terms():
            return (self.start,)
        return (self.start, self.now)

    @property
    def approvals(self) -> int:
        """How many people must approve: the larger number."""
        return max(tier.promotion for tier in self._tiers)

    @property
    def attestation(self) -> bool:
        """Whether a validator must attest, by the tier of either set."""
        return any(tier.attestation for tier in self._tiers)

    @property
    def _tiers(self) -> tuple[Tier, ...]:
        return tuple(asked(s.risk, s.policy.approval) for s in (self.start, self.now) if s is not None)

    @property
    def gates(self) -> tuple[str, ...]:
        """Gates that either set names."""
        return tuple(dict.fromkeys(name for s in self.sets for name in s.policy.gates))

    @property
    def terms(self) -> str:
        """Digest of what gates are judged by and approvals are given for; the number of approvals is not part of it."""
        return digest([s.terms() for s in self.sets])

    def blocked(self) -> tuple[str, ...]:
        """Why nothing this run made may be promoted any more, whatever its gates say."""
        if self.now is None:
            return ("the spec in force has no retrain section, so nothing may be promoted; add one and apply it",)
        changed = sorted(
            name
            for name in {*self.start.columns, *self.now.columns}
            if self.start.columns.get(name) != self.now.columns.get(name)
        )
        if not changed:
            return ()
        return (
            f"what the model reads, answers or learns has changed since the run started: {', '.join(changed)} "
            f"(revision {self.start.revision} to {self.now.revision}); start a new run",
        )

    def document(self) -> dict[str, Any]:
        """The rules in JSON, for the record of a run."""
        return {
            "terms": self.terms, "start": self.start.revision, "now": None if self.now is None else self.now.revision,
            "gates": list(self.gates), "approvals": self.approvals,
        }  # fmt: skip


def worse(results: Sequence[tuple[int, "GateResult"]]) -> "GateResult":
    """One gate's result under several sets of rules, given with their revisions, start first.

    Returns:
        The worst, with what each said; of equally bad ones the last, whose rules are in force.
    """
    revision, found = max(reversed(results), key=lambda r: _WORST.index(r[1].verdict))
    if len(results) == 1:
        return found
    each = {str(at): {"verdict": result.verdict, "reason": result.reason} for at, result in results}
    reason = found.reason if found.verdict == "pass" else f"{found.reason} (rules of revision {revision})"
    return replace(found, reason=reason, evidence={**found.evidence, "by_revision": each})


def missing_gates(rules: Rules, judged: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    """Gates of the rules that were not passed, each with the reason; `judged` has verdict and reason by gate."""
    missing = []
    for name in rules.gates:
        verdict, reason = judged.get(name, ("unknown", ""))
        if name not in judged:
            missing.append(f"gate {name} was not evaluated")
        elif verdict not in ("pass", "not_applicable"):
            missing.append(f"gate {name}: {verdict}, {reason}")
    return tuple(missing)


@dataclass(frozen=True, slots=True)
class Approval:
    signer: Signer
    terms: str | None  # of the rules it was given under; None if they were not recorded
    revision: int | None = None
    covers: str | None = None  # digest of what was approved; None of an earlier release, which recorded none
    void: str | None = None  # why it counts no more, whatever the rules are


@dataclass(frozen=True, slots=True)
class Counted:
    """Which approvals count, and why others do not."""

    by: tuple[Signer, ...]
    void: tuple[tuple[Signer, str], ...]


def count(approvals: Sequence[Approval], starter: Signer | None, terms: str, covers: str | None = None) -> Counted:
    """Count the people who approve a run under these terms. The one who started it is never among them.

    Args:
        covers: digest of what would be promoted.
    """
    people: list[tuple[Signer, frozenset[str]]] = []
    void = []
    for approval in approvals:
        signer, marks = approval.signer, approval.signer.marks
        if reason := _why_not(approval, starter, terms, covers):
            void.append((signer, reason))
            continue
        same = [entry for entry in people if entry[1] & marks]
        if same:  # one person, perhaps known by several marks
            void.append((signer, f"is the person of {same[0][0].named}, who is counted already"))
            people = [entry for entry in people if entry not in same[1:]]
            people[people.index(same[0])] = (same[0][0], marks.union(*(m for _, m in same)))
        else:
            people.append((signer, marks))
    return Counted(tuple(signer for signer, _ in people), tuple(void))


def _why_not(approval: Approval, starter: Signer | None, terms: str, covers: str | None) -> str | None:
    signer = approval.signer
    if signer.revoked:
        return f"key {signer.actor} was revoked; approve again with another key"
    if not signer.owners:
        return f"key {signer.actor} has no declared owner, and approvals count people"
    if starter is not None and signer.marks & starter.marks:
        return "is the person who started the run"
    if approval.void is not None:
        return approval.void
    if covers is not None and approval.covers is not None and approval.covers != covers:
        return "was given for another candidate or other verdicts of its gates; approve again"
    if approval.terms != terms:
        at = "before rules were recorded" if approval.terms is None else f"under revision {approval.revision}"
        return f"approved {at}, and the rules have changed since; approve again"
    return None
