"""Extract the evaluations and feedback that spans carry, and the events they refer to."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from monitor.ingest.otlp.spans import Attributes, Span
from monitor.spec.columns import ColumnType

_MAX_EVALUATIONS: Final = 1000  # in one span
_FLATTENED: Final = (("evaluations", "evaluation"), ("annotations", "annotation"))  # OpenInference
_MARKER_ATTRIBUTES: Final = (
    "gen_ai.evaluation.name",
    *(f"{plural}.0.{singular}.name" for plural, singular in _FLATTENED),
)
_TRUE_LABELS, _FALSE_LABELS = frozenset({"true", "pass", "yes"}), frozenset({"false", "fail", "no"})


@dataclass(frozen=True, slots=True)
class SpanEvaluation:
    score: Any
    label: Any


def evaluations_of(span: Span) -> dict[str, SpanEvaluation]:
    """Return the evaluations of a span by name; the last of several with the same name counts."""
    if not span.events and span.attributes.keys().isdisjoint(_MARKER_ATTRIBUTES):  # the usual case
        return {}
    found: dict[str, SpanEvaluation] = {}
    for attributes in (*(event for _, event in span.events), span.attributes):
        name = attributes.get("gen_ai.evaluation.name")
        if isinstance(name, str):
            found[name] = SpanEvaluation(
                attributes.get("gen_ai.evaluation.score.value"), attributes.get("gen_ai.evaluation.score.label")
            )
    found.update(pair for names in _FLATTENED for pair in _unflattened(span.attributes, *names))
    return found


def evaluated_event(span: Span) -> str | None:
    """Return the event that a pure evaluation span refers to: its first link, else its parent, else itself.

    None for every other span.
    """
    if "gen_ai.evaluation.name" not in span.attributes:
        return None
    if span.links:
        return "-".join(span.links[0])
    return f"{span.trace_id}-{span.parent_id}" if span.parent_id else span.event_id


def typed(evaluation: SpanEvaluation, kind: ColumnType) -> Any:
    """Return the part of an evaluation (score or label) that a column of this type needs.

    Raises:
        ValueError: the evaluation has no such part.
    """
    match kind:
        case "number":
            if evaluation.score is None:
                raise ValueError("has a label and no score; declare the column as a category")
            return evaluation.score
        case "boolean":
            return _boolean(evaluation)
    if evaluation.label is None:
        raise ValueError("has a score and no label; declare the column as a number")
    return evaluation.label


def _boolean(evaluation: SpanEvaluation) -> bool:
    label = evaluation.label.lower() if isinstance(evaluation.label, str) else None
    if label in _TRUE_LABELS or label in _FALSE_LABELS:
        return label in _TRUE_LABELS
    if type(evaluation.score) in {bool, int, float} and evaluation.score in {0, 1}:
        return bool(evaluation.score)
    raise ValueError("is neither 0 nor 1, true nor false, pass nor fail; declare the column as a number or category")


def _unflattened(attributes: Attributes, plural: str, singular: str) -> Iterator[tuple[str, SpanEvaluation]]:
    for i in range(_MAX_EVALUATIONS):
        start = f"{plural}.{i}.{singular}."
        name = attributes.get(f"{start}name")
        if not isinstance(name, str):
            return
        yield name, SpanEvaluation(attributes.get(f"{start}score"), attributes.get(f"{start}label"))
