"""What each gate of a run saw: the figure with its interval, the limit, and what difference it could have seen."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from reports.charts.text import number
from reports.facts.citations import Citations
from reports.facts.runs import signed
from reports.paths import without_paths
from retrain.tables import GateRow

ORDER: Final = ("fail", "unknown", "pass", "not_applicable")


@dataclass(frozen=True, slots=True)
class GateFact:
    """One gate. Texts are empty where the gate has no such figure."""

    gate: str
    verdict: str
    blocking: bool
    figure: str
    interval: str
    limit: str
    rows: str
    power: str
    reason: str
    entry: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Challenger minus champion on the same rows, for a picture; all finite."""

    metric: str
    rows: str
    value: float
    low: float
    high: float
    n: int
    champion: float | None
    challenger: float | None
    margin: float | None = None  # loss that the gate must rule out, above 0


def gate_facts(gates: Sequence[GateRow], blocking: Sequence[str], citations: Citations) -> list[GateFact]:
    """Those that block first, and of them those that did not pass."""
    found = [_fact(gate, gate.gate in blocking, citations) for gate in gates]
    return sorted(found, key=lambda fact: (not fact.blocking, ORDER.index(fact.verdict), fact.gate))


def _fact(row: GateRow, blocking: bool, citations: Citations) -> GateFact:
    evidence = row.evidence or {}
    figure, interval, limit, rows = _figures(evidence)
    return GateFact(
        row.gate, row.verdict, blocking, figure, interval, limit, rows, power_words(evidence.get("power")),
        str(without_paths(row.reason)), citations.find("gate.result", row.run_id, row.gate, last=True),
    )  # fmt: skip


def _figures(evidence: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Figure, interval, limit and number of rows of a gate."""
    checks = evidence.get("checks")
    if isinstance(checks, list):
        return _worst(checks)
    value, rows = evidence.get("value"), evidence.get("n", evidence.get("rows"))
    counted = f"{rows:,}" if isinstance(rows, int) else ""
    if not _finite(value):
        return "", "", "", counted
    metric = str(evidence.get("metric") or "").replace("_", " ")
    allowed, margin = evidence.get("allowed"), evidence.get("margin")
    said = [f"loss at most {number(allowed)}" if _finite(allowed) else "",
            f"a loss of {number(margin)} ruled out" if _finite(margin) else ""]  # fmt: skip
    return f"{metric} {signed(value)}".strip(), _ends(evidence, sign=True), ", ".join(filter(None, said)), counted


def _worst(checks: Sequence[Mapping[str, Any]]) -> tuple[str, str, str, str]:
    """Of several comparisons of groups the first that has a value; the reason names them all."""
    one = next((c for c in checks if _finite(c.get("challenger"))), None)
    if one is None:
        return "", "", "", ""
    rows = sum(n for n in (one.get("groups") or {}).values() if isinstance(n, int)) or one.get("n")
    figure = f"{str(one.get('metric')).replace('_', ' ')} by {one.get('by')} {number(one['challenger'])}"
    more = f" and {len(checks) - 1} more" if len(checks) > 1 else ""
    limit = number(one["limit"]) if _finite(one.get("limit")) else "not worse than the champion"
    return figure + more, _ends(one), limit, f"{rows:,}" if isinstance(rows, int) else ""


def power_words(found: Any) -> str:
    """What a comparison could have seen, in words; empty where the gate keeps no power."""
    if not isinstance(found, Mapping):
        return ""
    loss, equal, needed = (found.get(name) for name in ("detectable_loss", "pass_if_equal", "rows_needed"))
    parts = []
    if _finite(loss):
        parts.append(
            f"a loss of {number(loss)} or more is stopped 4 times in 5" if loss else "every observed loss is stopped"
        )
    if _finite(equal):
        parts.append(f"an equally good challenger passes in {100 * equal:.0f} of 100 tries")
    rows = found.get("rows")
    if isinstance(needed, int) and isinstance(rows, int) and needed > rows:
        parts.append(f"{needed:,} rows would let it pass 4 times in 5")
    return "; ".join(parts)


def differences(evaluation: Mapping[str, Any] | None, gates: Sequence[GateRow]) -> list[Difference]:
    """Every compared metric that has a finite interval, in the order of the evaluation."""
    found: list[Difference] = []
    values = {(e.get("name"), e.get("rows"), e.get("model")): e.get("value")
              for e in (evaluation or {}).get("evaluations") or ()}  # fmt: skip
    margins = {g.evidence.get("metric"): g.evidence.get("margin") for g in gates if g.gate == "no_regression"}
    for one in (evaluation or {}).get("differences") or ():
        name, rows = str(one.get("name")), str(one.get("rows"))
        if not all(_finite(one.get(part)) for part in ("value", "low", "high")):
            continue
        sides = (values.get((one.get("name"), one.get("rows"), side)) for side in ("champion", "challenger"))
        champion, challenger = (v if _finite(v) else None for v in sides)
        margin = margins.get(one.get("name")) if rows == "new" else None
        n = one.get("n")
        found.append(
            Difference(name.replace("_", " "), rows, one["value"], one["low"], one["high"],
                       n if isinstance(n, int) else 0, champion, challenger, margin if _finite(margin) else None)
        )  # fmt: skip
    return found


def _ends(found: Mapping[str, Any], *, sign: bool = False) -> str:
    low, high, word = found.get("low"), found.get("high"), signed if sign else number
    return f"{word(low)} to {word(high)}" if _finite(low) and _finite(high) else ""


def _finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
