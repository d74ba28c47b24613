"""The adapter is what was trained: safetensors only, not empty, finite, effective, and under the registered digests."""

from dataclasses import asdict
from typing import Any, Final

from retrain.gates.base import Gate, GateInputs, GateResult, IntegrityFacts
from retrain.train.tabular.files import ALLOWED
from retrain.train.weights import PICKLED

NAME: Final = "integrity"
MIN_CHANGE: Final = 1e-6  # of a logit; below this the adapter does nothing


def judge(inputs: GateInputs) -> GateResult:
    facts = inputs.integrity
    if facts is None:
        return GateResult(NAME, "unknown", "the adapter was not probed", {})
    evidence = asdict(facts) | {"min_change": MIN_CHANGE}
    if facts.table:
        return _of_table(facts, evidence)
    if faults := _faults(facts):
        return GateResult(NAME, "fail", "; ".join(faults), evidence)
    if facts.logits_change is None:
        return GateResult(NAME, "unknown", "whether the adapter changes the logits was not measured", evidence)
    words = f"{facts.tensors} finite tensors, logits change by up to {facts.logits_change:.3g}, digests as registered"
    return GateResult(NAME, "pass", words, evidence)


def _of_table(facts: IntegrityFacts, evidence: dict[str, Any]) -> GateResult:
    """A tabular model is whole: its own files and no others, fitted, finite, other than the first champion."""
    found = _digests(facts)
    if others := [name for name in facts.files if name not in ALLOWED]:
        found.append(f"the model's folder holds other files than {', '.join(ALLOWED)}: {', '.join(others)}")
    if facts.tensors == 0:
        found.append("nothing was fitted")
    if not facts.finite:
        found.append("the model predicts values that are not finite")
    if facts.logits_change is not None and facts.logits_change < MIN_CHANGE:
        found.append("the model predicts what the first champion does, on every row")
    if found:
        return GateResult(NAME, "fail", "; ".join(found), evidence)
    if facts.logits_change is None:
        return GateResult(NAME, "unknown", "whether the model differs from the first champion was not seen", evidence)
    words = f"scores change by up to {facts.logits_change:.3g} from the first champion's, digests as registered"
    return GateResult(NAME, "pass", words, evidence)


def _faults(facts: IntegrityFacts) -> list[str]:
    found = []
    if not any(name.endswith(".safetensors") for name in facts.files):
        found.append("the adapter holds no safetensors file")
    if pickled := [name for name in facts.files if name.endswith(PICKLED)]:
        found.append(f"the adapter holds pickled files: {', '.join(pickled)}")
    if facts.tensors == 0:
        found.append("the adapter is empty")
    if not facts.finite:
        found.append("the adapter holds values that are not finite")
    if facts.logits_change is not None and facts.logits_change < MIN_CHANGE:
        found.append(f"the adapter changes no logit by more than {facts.logits_change:.3g}")
    return [*found, *_digests(facts)]


def _digests(facts: IntegrityFacts) -> list[str]:
    found = []
    if facts.adapter_digest != facts.registered_digest:
        found.append(f"the adapter's digest is {facts.adapter_digest}, registered was {facts.registered_digest}")
    if facts.base_digest != facts.registered_base_digest:
        found.append(f"the base model's digest is {facts.base_digest}, registered was {facts.registered_base_digest}")
    return found


GATE = Gate(NAME, judge)
