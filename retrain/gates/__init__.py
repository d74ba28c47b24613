"""What a challenger must pass before it may become champion: one file per gate, and the table that lists them."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Final

from retrain.gates import (
    calibration,
    fairness,
    forgetting,
    golden,
    integrity,
    labels,
    latency,
    no_regression,
    robustness,
    safety,
)
from retrain.gates.base import Gate, GateInputs, GateResult, Verdict

# Judged in every run, for nothing has to be measured for them alone; the others where the rules name them.
ALWAYS: Final = ("no_regression", "fairness", "forgetting", "integrity")
GATES: Final[dict[str, Gate]] = {
    g.name: g
    for g in (
        no_regression.GATE, fairness.GATE, forgetting.GATE, integrity.GATE, golden.GATE, calibration.GATE,
        robustness.GATE, latency.GATE, safety.GATE,
    )
}  # fmt: skip

SCORED: Final = ("no_regression", "forgetting")  # gates that compare scores of rows
WORST: Final[tuple[Verdict, ...]] = ("fail", "unknown", "pass")


def judge_all(inputs: GateInputs, named: Collection[str] = ()) -> tuple[GateResult, ...]:
    """Those judged in every run and those named, in the order of the table; none is skipped because another failed."""
    wanted = [gate for gate in GATES.values() if gate.name in ALWAYS or gate.name in named]
    return tuple(labels.checked(_judged(gate, inputs), inputs) for gate in wanted)


def _judged(gate: Gate, inputs: GateInputs) -> GateResult:
    """Scores beside others are judged too: the worst verdict counts, with the reasons of all that have it."""
    found = [gate.judge(inputs)]
    if gate.name in SCORED:
        found += [gate.judge(one) for one in _beside(inputs)]
    if len(found) == 1:
        return found[0]
    verdict = min((result.verdict for result in found), key=WORST.index)
    words = "; ".join(result.reason for result in found if result.verdict == verdict)
    beside = [dict(result.evidence) for result in found[1:]]
    return GateResult(gate.name, verdict, words, {**found[0].evidence, "beside": beside})


def _beside(inputs: GateInputs) -> Iterator[GateInputs]:
    new, old = ((rows.beside if rows is not None else ()) for rows in (inputs.new, inputs.old))
    for first, second in zip_longest(new, old):
        yield replace(inputs, new=first, old=second)
