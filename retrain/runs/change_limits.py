"""Each limit of a run's envelope, what it was declared as and what was measured: the core of its change document. Pure.

The document's maker and its checker both read the limits from the evidence with `limits_of`, so a document can only
say what its evidence says.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from monitor.fairness import FAIRNESS
from monitor.kpi import KPIS
from monitor.spec.envelope import Envelope
from monitor.spec.parse import parse_spec
from retrain.envelope import Plan
from retrain.limits import RunFacts, allowed, checks, declared, facts_from
from retrain.train.kinds import is_table

FORMAT: Final = "assay-predetermined-changes/1"
LAW: Final = (
    "Regulation (EU) 2024/1689 (AI Act), Article 43(4): changes that the provider determined beforehand",
    "Regulation (EU) 2024/1689 (AI Act), Annex IV, point 2(f): description of predetermined changes",
)
INAPPLICABLE: Final = "does not apply"  # verdict on a limit that a run of this kind has nothing to hold against
OPEN: Final = ("queued", "curating", "training", "evaluating", "awaiting_approval")
GATES: Final = {
    "kpi_floor": "no_regression", "max_regression": "no_regression", "fairness": "fairness",
    "max_forgetting": "forgetting", "regression_margin": "no_regression", "forgetting_margin": "forgetting",
}  # fmt: skip


def limits_of(evidence: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One line for each limit of each spec revision that the run was held to.

    `verdict` is inside, outside, exception (a person allowed it once), not measured, does not apply or no limit.
    """
    recipe = _recipe(evidence)
    train = evidence["datasets"].get("train") or {}
    found = facts_from(
        evidence["record"], train.get("provenance", {}), train.get("rows"),
        datetime.fromisoformat(evidence["created_at"]),
    )  # fmt: skip
    facts = RunFacts(**{name: getattr(found, name) for name in RunFacts.__slots__} | {"recipe": recipe})
    envelopes = [
        (spec["revision"], Envelope.model_validate(spec["document"]["retrain"].get("envelope", {})))
        for spec in evidence["specs"]
    ]
    found_by = {at: [check.record() for check in checks(envelope, facts)] for at, envelope in envelopes}
    # What stopped the run before it was measured otherwise stands with the exception, or with what the run waits for.
    for one in (*evidence["exceptions"], *evidence["outside"]):
        at = next((at for at, envelope in envelopes if _declares(envelope, one)), envelopes[0][0])
        if not any(_same(one, other) for other in found_by[at]):
            found_by[at].append({**one, "inside": False})
    return [
        {"revision": at, **line}
        for at, envelope in envelopes
        for line in _of_revision(envelope, found_by[at], evidence)
    ]


def _declares(envelope: Envelope, one: Mapping[str, Any]) -> bool:
    value = declared(envelope).get(str(one["limit"]).split(".")[0])
    return _equal(_json(value), one["declared"])


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["limit"] == other["limit"]) and _equal(one["declared"], other["declared"])


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other)
    return bool(one == other)


def _recipe(evidence: Mapping[str, Any]) -> Mapping[str, Any]:
    if evidence["config"]:
        recipe: Mapping[str, Any] = evidence["config"]["recipe"]
        return recipe
    return Plan.of(parse_spec(evidence["specs"][0]["document"])).recipe.model_dump(mode="json")


def _of_revision(
    envelope: Envelope, measured: Sequence[Mapping[str, Any]], evidence: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    names = {str(one["limit"]).split(".")[0] for one in measured}
    yield from (_line(one, evidence["exceptions"]) for one in measured)
    for name, value in declared(envelope).items():
        if name not in names:
            reason = _inapplicable(name, evidence)
            nothing = not value  # none, an empty list, and a least number of 0
            verdict = "no limit" if nothing else INAPPLICABLE if reason else "not measured"
            yield _blank(name, _json(value), verdict) | {"reason": None if nothing else reason}
    yield from _of_gates(envelope, evidence["gates"])


def _inapplicable(name: str, evidence: Mapping[str, Any]) -> str | None:
    """Why a run has nothing that a limit could be held against; None where it only was not measured."""
    if name == "max_cut_share" and is_table(_recipe(evidence)["task"]):
        return "a row of a table is neither cut nor dropped for its length"
    return None


def _line(one: Mapping[str, Any], exceptions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    given = [e for e in exceptions if allowed([e], one["limit"], one["measured"])]
    verdict = "inside" if one["inside"] else "exception" if given else "outside"
    by = [{name: e.get(name) for name in ("owner", "actor", "key", "at", "why", "granted")} for e in given]
    return {
        "limit": one["limit"], "declared": one["declared"], "measured": one["measured"], "unit": one.get("unit", ""),
        "verdict": verdict, "reason": None if verdict == "inside" else one["reason"],
        "allowed_by": by if verdict == "exception" else [],
    }  # fmt: skip


def _blank(limit: str, value: Any, verdict: str) -> dict[str, Any]:
    return {
        "limit": limit, "declared": value, "measured": None, "unit": "", "verdict": verdict, "reason": None,
        "allowed_by": [],
    }  # fmt: skip


def _of_gates(envelope: Envelope, gates: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Limits that gates keep; a gate that could not judge leaves them unmeasured, and blocks."""
    wanted: list[tuple[str, Any]] = [(f"kpi_floor.{name}", floor) for name, floor in envelope.kpi_floor.items()]
    wanted += [(f"fairness.{name}", most) for name, most in envelope.fairness.items()]
    wanted += [("max_forgetting", envelope.max_forgetting), ("max_regression", envelope.max_regression)]
    wanted += [("regression_margin", envelope.regression_margin), ("forgetting_margin", envelope.forgetting_margin)]
    for limit, value in wanted:
        name, _, metric = limit.partition(".")
        gate = gates.get(GATES[name])
        if gate is None or gate["verdict"] == "unknown":
            yield _blank(limit, value, "not measured") | {"reason": gate["reason"] if gate else None}
            continue
        found = _measured_by_gate(name, metric, gate["evidence"])
        inside = gate["verdict"] == "pass"
        if found is not None and name in ("kpi_floor", "fairness"):
            higher = KPIS[metric].higher_is_better if name == "kpi_floor" else FAIRNESS[metric].higher_is_better
            inside = found >= value if higher else found <= value
        elif found is not None:
            # A gate fails for either of two limits, and takes a margin below the allowed loss as the allowed loss.
            inside = found < max(value, gate["evidence"]["allowed"]) if name.endswith("margin") else found <= value
        words = f"gate {GATES[name]}: {gate['verdict']}, {gate['reason']}"
        yield _blank(limit, value, "inside" if inside else "outside") | {"measured": found, "reason": words}


def _measured_by_gate(name: str, metric: str, evidence: Mapping[str, Any]) -> float | None:
    """What a gate measured of a limit: a KPI, the worst group's fairness, the loss seen, or the largest not ruled out.

    None where the gate recorded no such number.
    """
    if name == "kpi_floor":
        found: float | None = evidence.get("challenger_values", {}).get(metric)
        return found
    if name == "fairness":
        values = [c["challenger"] for c in evidence.get("checks", ()) if c["metric"] == metric]
        known = [value for value in values if value is not None]
        return (min if FAIRNESS[metric].higher_is_better else max)(known) if known else None
    difference = evidence.get("low" if name.endswith("margin") else "value")
    return None if difference is None or "allowed" not in evidence else max(0.0, -difference)


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _json(one) for name, one in value.items()}
    return [_json(one) for one in value] if isinstance(value, tuple) else value


def verdict_of(lines: Sequence[Mapping[str, Any]], state: str) -> str:
    """The document's first sentence in a word or two."""
    found = {line["verdict"] for line in lines}
    if "outside" in found:
        return "outside"
    if state in OPEN:
        return "not finished"
    if "exception" in found:
        return "inside, with exceptions"
    return "inside" if state == "promoted" or "not measured" not in found else "inside as far as measured"
