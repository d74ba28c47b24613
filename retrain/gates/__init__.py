"""What a challenger must pass before it may become champion: one file per gate, and the table that lists them."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Final

from monitor.spec.gate_limits import LIKELIHOOD
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
    """Of scores beside others each is judged: the worst verdict counts, with the reasons of all that have it."""
    if gate.name not in SCORED:
        return gate.judge(inputs)
    asked = [metric for metric in inputs.envelope.compared_by if metric != LIKELIHOOD]
    plain = not asked or LIKELIHOOD in inputs.envelope.compared_by
    found = [gate.judge(one) for one in (inputs, *_beside(inputs))] if plain else []
    found += [_of_written(gate, inputs, metric) for metric in asked]
    if len(found) == 1:
        return found[0]
    verdict = min((result.verdict for result in found), key=WORST.index)
    words = "; ".join(result.reason for result in found if result.verdict == verdict)
    beside = [dict(result.evidence) for result in found[1:]]
    return GateResult(gate.name, verdict, words, {**found[0].evidence, "beside": beside})


def _of_written(gate: Gate, inputs: GateInputs, metric: str) -> GateResult:
    """The gate by a metric of the answers that both models wrote."""
    sides = [(rows.written.get(metric) if rows is not None else None) for rows in (inputs.new, inputs.old)]
    found = gate.judge(replace(inputs, new=sides[0], old=sides[1]))
    there = inputs.new if gate.name == no_regression.NAME else inputs.old
    if there is not None and metric not in there.written:
        words = f"{metric} was not measured, for no answers were written when the run was evaluated; start a new run"
        return replace(found, verdict="unknown", reason=words)
    return found


def _beside(inputs: GateInputs) -> Iterator[GateInputs]:
    new, old = ((rows.beside if rows is not None else ()) for rows in (inputs.new, inputs.old))
    for first, second in zip_longest(new, old):
        yield replace(inputs, new=first, old=second)
