"""Whether two models can be compared on labels at all. Pure.

A champion that answers NEGATIVE and POSITIVE is right on none of the outcomes false and true, whatever it knows, and
every challenger looks better. Where that is so, the gates that compare answers with outcomes are unknown.
"""

from collections.abc import Set
from dataclasses import replace
from typing import Final

from monitor.kpi.vocabularies import differ, of_another_kind, plain_label, shown_labels
from retrain.gates.base import ComparedScores, GateInputs, GateResult

COMPARING: Final = ("no_regression", "fairness", "forgetting", "calibration", "robustness")


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
    if (words := none_shared(outcomes, known)) is not None:
        return words
    spelled = {plain_label(label): label for label in known}
    twice = {label: spelled[plain_label(label)] for label in sorted(outcomes - known) if plain_label(label) in spelled}
    if twice:
        pairs = ", ".join(f"{sent} is {answered}" for sent, answered in twice.items())
        both = _both(outcomes, known)
        return f"some labels are spelled in two ways, and so count as wrong ({pairs}): {both}. Spell them alike"
    for part in parts:  # outcomes that were renamed meanwhile: those of the old rows are still the champion's
        told = set(part.truth)
        new = told - known
        if (told and not told & known and differ(known, told)) or (len(new) > 1 and of_another_kind(known, new)):
            return (
                f"the outcomes {shown_labels(new)} are written in another way than what the champion answers, "
                f"{shown_labels(known)}, so it is right on none of them. Send outcomes as before, or correct the "
                "earlier ones and make a first model that answers the new names"
            )
    return None


def none_shared(outcomes: Set[str], known: Set[str]) -> str | None:
    """Why a champion that answers `known` can be right on none of the outcomes; None where it can, or one is empty."""
    if not outcomes or not known or outcomes & known:
        return None
    return (
        f"no label is shared: {_both(outcomes, known)}. Name the classes alike: in id2label of the base model's "
        "config.json, in what is sent as outcome, or by another outcome with predicts"
    )


def _both(outcomes: Set[str], known: Set[str]) -> str:
    return f"the outcomes are {shown_labels(outcomes)}; the champion answers {shown_labels(known)}"
