"""Who let which version into service: each promotion with the people who approved it, or that nobody was asked."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from governance.policy.tiers import asked
from monitor.spec.model import ModelSpec
from reports import document as doc
from reports.facts.said import SaidBy
from reports.store import Entry

MOVED: Final[Mapping[str, str]] = {"version.promoted": "promoted", "version.rolled_back": "rolled back to"}
STAGED: Final = "version.staged"
GIVEN: Final[Mapping[str, str]] = {
    "run.approved": "approved", "run.attested": "attested", "run.allowed": "allowed once outside a limit",
}  # fmt: skip


def promotion_lines(
    entries: Sequence[Entry], specs: Mapping[int, ModelSpec], revisions: Mapping[str, int], since: datetime,
    until: datetime, runs: Iterable[str], said: SaidBy,
) -> tuple[doc.PromotionLine, ...]:  # fmt: skip
    """Every version that was put into service in a period, or by a run of it, in order.

    Args:
        entries: about the model and its runs.
        specs: by revision.
        revisions: of the spec that each run was judged under, by run.
        runs: that belong to the period.
    """
    wanted, given = set(runs), _given(entries, said)
    lines = []
    for entry in entries:
        if entry.kind not in MOVED and entry.kind != STAGED:
            continue
        run = entry.body.get("run")
        run = None if run is None else str(run)
        if not (since <= datetime.fromisoformat(entry.at) <= until or run in wanted):
            continue
        did = MOVED.get(entry.kind) or f"placed as {entry.body.get('stage')}"
        own = run if entry.kind in ("version.promoted", STAGED) else None
        needed, words = _asked(None if own is None else specs.get(revisions.get(own, 0)), own, entry.kind)
        lines.append(
            doc.PromotionLine(
                did=did, version=str(entry.body["version"]), previous=_text(entry.body.get("previous")), at=entry.at,
                by=who_of(entry), reason=said.words([entry.body.get("reason")])[0], run=run, needed=needed, asked=words,
                approved=tuple(given.get(own, ())) if own is not None else (), entry=entry.index,
            )
        )  # fmt: skip
    return tuple(lines)


def _given(entries: Sequence[Entry], said: SaidBy) -> dict[str, list[doc.ApprovedBy]]:
    """What people said of each run, by run."""
    mine = [e for e in entries if e.kind in GIVEN]
    reasons = said.words([_why(e) for e in mine])
    found: dict[str, list[doc.ApprovedBy]] = {}
    for entry, reason in zip(mine, reasons, strict=True):
        line = doc.ApprovedBy(did=GIVEN[entry.kind], who=who_of(entry), at=entry.at, reason=reason, entry=entry.index)
        found.setdefault(entry.subject.removeprefix("run:"), []).append(line)
    return found


def _why(entry: Entry) -> str | None:
    return entry.body.get("reason") or entry.body.get("statement")


def _asked(spec: ModelSpec | None, run: str | None, kind: str) -> tuple[int | None, str]:
    """How many people a promotion asked for, and by what."""
    if kind == "version.rolled_back":
        return 0, "a rollback asks for no approval: it goes back to a version that was in service"
    if run is None:
        return 0, "no approval was asked for: the model began with it"
    if spec is None or spec.retrain is None:
        return None, "what was asked for is not recorded"
    tier = asked(spec.risk, spec.retrain.approval)
    by = f"risk tier {spec.risk}, retrain.approval {spec.retrain.approval}"
    if not tier.promotion and not tier.attestation:
        return 0, f"no approval was asked for ({by})"
    people = "1 approval" if tier.promotion == 1 else f"{tier.promotion} approvals"
    one = tier.promotion == 1 and not tier.attestation
    extra = " and an attestation" if tier.attestation else ""
    return tier.promotion, f"{people}{extra} {'was' if one else 'were'} asked for ({by})"


def approval_words(lines: Sequence[doc.PromotionLine], spec: ModelSpec) -> str:
    """One sentence for the first page, also where nobody was asked or nothing was promoted."""
    if not lines:
        if spec.retrain is None:
            return "Nothing was put into service in the period: the spec declares no retrain policy."
        return f"Nothing was put into service in the period. A promotion: {_asked(spec, 'any', '')[1]}."
    names = dict.fromkeys(one.who for line in lines for one in line.approved if one.did == "approved")
    moved = "1 version was" if len(lines) == 1 else f"{len(lines)} versions were"
    if not names and all(line.needed == 0 for line in lines):
        return f"{moved} put into service; no approval was asked for."
    said = f"approved by {', '.join(names)}" if names else "no approval is recorded"
    without = [line.version for line in lines if not any(one.did == "approved" for one in line.approved)]
    rest = f"; without an approval: {', '.join(without)}" if names and without else ""
    return f"{moved} put into service; {said}{rest}."


def who_of(entry: Entry) -> str:
    """Who an entry says acted: the owner of the key, with the key, or the actor."""
    line = entry.body.get("by") if isinstance(entry.body.get("by"), Mapping) else entry.body
    owner: Any = line.get("owner") if isinstance(line, Mapping) else None
    return f"{owner} (key {entry.actor})" if owner and owner != entry.actor else entry.actor


def _text(value: object) -> str | None:
    return None if value is None else str(value)
