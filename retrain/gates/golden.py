"""The golden rows, which people registered as a dataset of role golden, are answered rightly."""

from dataclasses import asdict
from typing import Final

from retrain.evals.base import wilson
from retrain.gates.base import Gate, GateInputs, GateResult, Verdict

NAME: Final = "golden"
NAMED: Final = 20  # wrong rows in the evidence
SHOWN: Final = 3  # of them in the reason


def judge(inputs: GateInputs) -> GateResult:
    golden, wanted = inputs.golden, inputs.envelope.golden_share
    if golden is None or golden.rows == 0:
        return GateResult(NAME, "unknown", "no golden rows; register a dataset with role golden", {"rows": 0})
    right = golden.rows - len(golden.wrong)
    low, high = wilson(right, golden.rows)
    evidence = {
        "rows": golden.rows, "right": right, "share": right / golden.rows, "low": low, "high": high,
        "golden_share": wanted, "wrong": [asdict(row) for row in golden.wrong[:NAMED]],
        "wrong_more": max(0, len(golden.wrong) - NAMED),
    }  # fmt: skip
    words = f"{right} of {golden.rows} golden rows are right, {wanted:g} of them must be"
    if golden.wrong:
        listed = "; ".join(f"{row.row} is {row.expected}, answered {row.given}" for row in golden.wrong[:SHOWN])
        more = len(golden.wrong) - SHOWN
        words += f": {listed}" + (f"; {more} more" if more > 0 else "")
    missed = f"of other rows like them up to {1 - low:.1%} may be wrong"
    verdict: Verdict = "pass" if right >= wanted * golden.rows - 1e-9 else "fail"
    return GateResult(NAME, verdict, f"{words}; {missed}" if verdict == "pass" else words, evidence)


GATE = Gate(NAME, judge)
