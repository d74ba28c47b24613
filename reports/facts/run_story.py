"""What became of a run: a first sentence, and its way from the trigger to a promotion or a rollback.

Every step has its time and the entry of the ledger that proves it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from reports.facts.citations import Citations
from reports.paths import without_paths
from reports.store import Entry
from reports.wording.phrases import brief_words
from retrain.registry.standing import Standing
from retrain.tables import GateRow, Run, TriggerDecision

WORDS: Final[Mapping[str, str]] = {
    "dataset.registered": "Rows registered",
    "run.started": "Rows chosen, and training begun",
    "run.trained": "Trained",
    "run.judges_again": "Held-out rows chosen",
    "run.evaluated": "Champion and challenger asked for the same rows",
    "run.outside": "Outside its limits: waits",
    "run.allowed": "Allowed to go on past its limits, once",
    "run.approved": "Approved",
    "run.attested": "Attested",
    "run.judged_again": "Judged again, for the rules have changed",
    "run.rejected": "Rejected",
    "run.failed": "Failed",
    "version.registered": "Registered as a version",
    "version.promoted": "Promoted",
    "version.staged": "Moved to another stage",
    "version.rolled_back": "Rolled back",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to a run."""

    at: datetime
    what: str
    words: str
    entry: int | None
    actor: str = ""
    link: str | None = None


def lead(run: Run, decision: TriggerDecision | None, standing: Standing | None, progress: str) -> str:
    """What started the run, what came of it, and what waits for whom."""
    version, began = run.candidate_version or "the candidate", _began(run, decision, standing)
    end = without_paths(run.error or "")
    if run.state == "promoted":
        at = f" on {run.finished_at:%Y-%m-%d %H:%M} UTC" if run.finished_at is not None else ""
        then = f"{version} was promoted to {run.to_stage}{at}"
    elif run.state == "rejected":
        then = f"{run.champion_version} stays champion: {end or 'rejected'}"
    elif run.state == "failed":
        then = f"It failed, and {run.champion_version} stays champion: {end or 'no reason was recorded'}"
    elif run.outside:
        reasons = "; ".join(str(without_paths(one.get("reason") or one.get("limit"))) for one in run.outside)
        then = f"It is outside its limits and waits for a person to allow it once: {reasons}"
    elif run.state == "awaiting_approval":
        missing = "; ".join(standing.missing_people) if standing is not None else "the rules cannot be read"
        then = f"{version} passed its gates and waits for people: {missing or 'nothing is missing'}"
    else:
        then = f"In progress: {progress}"
    return f"{began}. {then.rstrip('.')}."


def _began(run: Run, decision: TriggerDecision | None, standing: Standing | None) -> str:
    who = standing.starter.named if standing is not None and standing.starter is not None else run.started_by
    what = "Judging a version again" if run.purpose == "promote" else f"Retrain of {run.champion_version}"
    if who is not None:
        return f"{what}, asked for by {who}"
    if decision is None:
        return f"{what}; the decision that started it is not there any more"
    return f"{what}, started by the policy: {brief_words(decision.reason, decision.triggers)}".rstrip(".")


def steps(
    run: Run, decision: TriggerDecision | None, gates: Sequence[GateRow], entries: Sequence[Entry], citations: Citations
) -> list[Step]:
    """The way of a run in order of time.

    Args:
        entries: those about the run, and those about its model that name the candidate.
    """
    found = [step for step in (_decided(decision, citations),) if step is not None]
    found += [step for entry in entries if (step := _step(entry, run)) is not None]
    if gates:
        found.append(_gated(gates, citations))
    if not any(step.what.startswith("Queued") for step in found):
        found.append(Step(run.created_at, "Queued", "", None))
    found.sort(key=lambda step: (step.at, step.entry if step.entry is not None else -1))
    return found


def _decided(decision: TriggerDecision | None, citations: Citations) -> Step | None:
    if decision is None:
        return None
    words = brief_words(decision.reason, decision.triggers)
    link = f"/windows/{decision.window_id}" if decision.window_id else None
    return Step(decision.at, "Decided", words, citations.find("trigger.decision", decision.id), link=link)


def _gated(gates: Sequence[GateRow], citations: Citations) -> Step:
    counts: dict[str, int] = {}
    for gate in gates:
        counts[gate.verdict] = counts.get(gate.verdict, 0) + 1
    words = ", ".join(f"{n} {verdict.replace('_', ' ')}" for verdict, n in sorted(counts.items()))
    last = max(gates, key=lambda gate: gate.at)
    return Step(last.at, "Gates judged", words, citations.find("gate.result", last.run_id, last.gate, last=True))


def _step(entry: Entry, run: Run) -> Step | None:
    if entry.kind not in WORDS or (entry.kind.startswith("version.") and not _about(entry, run)):
        return None
    body = entry.body
    return Step(
        datetime.fromisoformat(entry.at), _what(entry, run), "; ".join(_details(entry.kind, body)), entry.index,
        _actor(entry),
    )  # fmt: skip


def _about(entry: Entry, run: Run) -> bool:
    version = run.candidate_version
    return version is not None and version in (entry.body.get("version"), entry.body.get("previous"))


def _what(entry: Entry, run: Run) -> str:
    words = WORDS[entry.kind]
    if entry.kind == "version.rolled_back":
        left = entry.body.get("previous") == run.candidate_version
        return f"Rolled back from {run.candidate_version}" if left else f"Put back as champion: {run.candidate_version}"
    if entry.kind == "version.promoted" and entry.body.get("previous") == run.candidate_version:
        return f"Succeeded by {entry.body.get('version')}"
    return words


def _details(kind: str, body: Mapping[str, Any]) -> Iterator[str]:
    if kind in ("run.approved", "run.attested"):
        if body.get("needed") is not None:
            yield f"{body.get('given')} of {body['needed']}"
        yield str(body.get("reason") or body.get("statement") or "")
        if body.get("evidence"):
            yield f"evidence: {body['evidence']}"
    elif kind in ("run.rejected", "run.allowed", "version.promoted", "version.staged", "version.rolled_back"):
        if body.get("reason"):
            yield str(body["reason"])
    elif kind == "run.outside":
        for one in body.get("limits") or ():
            yield f"{one.get('limit')}: {one.get('measured')}, declared {one.get('declared')}"
    elif kind == "run.failed":
        yield str(body.get("code") or "").replace("_", " ")
    elif kind == "dataset.registered":
        yield f"{body.get('role')}: {body.get('rows'):,} rows" if isinstance(body.get("rows"), int) else ""
    elif kind == "version.registered":
        yield str(body.get("version") or "")


def _actor(entry: Entry) -> str:
    by = entry.body.get("by") if isinstance(entry.body.get("by"), Mapping) else entry.body
    owner = by.get("owner") if isinstance(by, Mapping) else None
    return str(owner or entry.actor)
