"""The challenger answers about as fast as the champion, measured one text at a time in the same process."""

from typing import Final

import numpy as np

from retrain.gates.base import Gate, GateInputs, GateResult

NAME: Final = "latency"
MIN_TEXTS: Final = 20  # fewer have no 95th percentile to speak of


def judge(inputs: GateInputs) -> GateResult:
    times, limit = inputs.times, inputs.envelope.max_latency_ratio
    if times is None or len(times.challenger) < MIN_TEXTS:
        texts = 0 if times is None else len(times.challenger)
        words = f"{texts} texts were timed, at least {MIN_TEXTS} needed; wait for outcomes"
        return GateResult(NAME, "unknown", words, {"rows": texts})
    if not times.champion:
        return GateResult(NAME, "not_applicable", "the champion cannot answer, so there is no time to compare with", {})
    before, after = (float(np.quantile(side, 0.95)) for side in (times.champion, times.challenger))
    evidence = {
        "rows": len(times.challenger), "unit": "ms", "champion_p95": before, "challenger_p95": after,
        "ratio": after / before, "max_latency_ratio": limit, "adapter_bytes": times.adapter_bytes,
        "loaded_bytes": times.loaded_bytes,
    }  # fmt: skip
    words = (
        f"95th percentile of the time of one text {after:.2f} ms against the champion's {before:.2f} ms on "
        f"{len(times.challenger)} texts, {after / before:.2f} times; allowed {limit:g} times. The adapter has "
        f"{times.adapter_bytes / 1e6:.1f} MB"
    )
    if times.loaded_bytes is not None:
        loads = [size / 1e6 for size in times.loaded_bytes]
        words += f"; serving loads {loads[1]:.1f} MB of weights, {loads[0]:.1f} MB for the champion"
    return GateResult(NAME, "pass" if after <= limit * before else "fail", words, evidence)


GATE = Gate(NAME, judge)
