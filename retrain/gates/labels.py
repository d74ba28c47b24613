"""Whether two models can be compared on labels at all. Pure.

A champion that answers NEGATIVE and POSITIVE is right on none of the outcomes false and true, whatever it knows, and
every challenger looks better. Where that is so, the gates that compare answers with outcomes are unknown.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from retrain.gates.base import ComparedScores, GateInputs, GateResult

COMPARING: Final = ("no_regression", "fairness", "forgetting", "calibration", "robustness")
MAX_SHOWN: Final = 12  # labels of one side in a sentence


def checked(result: GateResult, inputs: GateInputs) -> GateResult:
    """The result of a gate; unknown, with both label sets, where the champion has other labels than the outcomes."""
    if result.gate not in COMPARING or (words := unlike(inputs.new, inputs.old)) is None:
        return result
    return replace(result, verdict="unknown", reason=words, evidence=dict(result.evidence) | {"labels": words})


def unlike(*sets: ComparedScores | None) -> str | None:
    """Why the champion's answers cannot be compared with the outcomes of the held-out rows; None where they can.

    Args:
        sets: the held-out rows; those without labels, such as texts, say nothing.
    """
    parts = [part for part in sets if part is not None and part.champion_labels]
    outcomes = {label for part in parts for label in part.truth}
    known = {label for part in parts for label in part.champion_labels}
    if not outcomes or not known:
        return None
    both = f"the outcomes are {_shown(outcomes)}; the champion answers {_shown(known)}"
    if not outcomes & known:
        return (
            f"no label is shared: {both}. Name the classes alike: in id2label of the base model's config.json, in what "
            "is sent as outcome, or by another outcome with predicts"
        )
    spelled = {_plain(label): label for label in known}
    twice = {label: spelled[_plain(label)] for label in sorted(outcomes - known) if _plain(label) in spelled}
    if twice:
        pairs = ", ".join(f"{sent} is {answered}" for sent, answered in twice.items())
        return f"some labels are spelled in two ways, and so count as wrong ({pairs}): {both}. Spell them alike"
    return None


def _plain(label: str) -> str:
    return re.sub(r"[\s_-]+", " ", label).strip().casefold()


def _shown(labels: Iterable[str]) -> str:
    ordered = sorted(labels)
    more = f" and {len(ordered) - MAX_SHOWN} more" if len(ordered) > MAX_SHOWN else ""
    return ", ".join(ordered[:MAX_SHOWN]) + more
