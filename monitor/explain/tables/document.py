"""One line of attributions as the record that people read: the answer given, its columns, and what was checked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from monitor.explain.base import ColumnAttribution, OutputSum, TableExplanation

Line = Mapping[str, Any]  # of a block, as retrain.evals.explain_rows writes them
Facts = Mapping[str, Any]


def table_document(line: Line, facts: Facts, given: Mapping[str, Any]) -> dict[str, Any]:
    """The record of one decision.

    Args:
        line: `base`, `output`, `residual`, `tolerance` by output; `values` one column after the other, each by output,
            null where they are withheld; `index`, the explained class; `reason`, `note`, `unseen`, `own`, `score`.
        facts: of all lines: columns, classes, outputs, unit, method, background, seed, budget, notes.
        given: the event's value of each column.

    Returns:
        A TableExplanation with `model_answer`, the raw `values` by column and output, and what identifies the model.
    """
    outputs, classes = list(facts["outputs"]), list(facts["classes"])
    label = classes[line["index"]] if classes else outputs[0]
    sign, place = _place(label, outputs, classes)
    kinds, flat = len(outputs), line["values"]
    values = None if flat is None else [flat[at : at + kinds] for at in range(0, len(flat), kinds)]
    reason, sums = line["reason"], _sums(line, outputs, classes)
    if place is None:
        reason, place = f"the model has no output for {label!r}, which it was never trained on", 0
    explained = next((one for one in sums if one.label == label), sums[0])
    rows = values if values is not None and reason is None else None
    parts = [
        ColumnAttribution(name, None if rows is None else sign * rows[i][place], given.get(name))
        for i, name in enumerate(facts["columns"])
    ]
    notes = [*facts["notes"], *([line["note"]] if line["note"] else [])]
    record = TableExplanation(
        state="explained" if reason is None else "withheld", reason=reason, label=label,
        label_index=sums.index(explained), unit=facts["unit"], base_value=explained.base_value,
        output=explained.output, residual=explained.residual, tolerance=line["tolerance"][place],
        outputs=sums, method=facts["method"], background=facts["background"], seed=facts["seed"],
        budget=facts["budget"], evals=facts["evals"], notes=tuple(notes), columns=tuple(parts),
    )  # fmt: skip
    kept = ("background_rows", "background_source", "model_format", "version_digest", "libraries")
    return asdict(record) | {
        "kind": "table", "values": None if rows is None else dict(
            zip(facts["columns"], [dict(zip(outputs, row, strict=True)) for row in rows], strict=True)
        ),
        "score": line["score"] if classes else None, "model_answer": line["own"], "unseen": line["unseen"],
        **{name: facts[name] for name in kept},
    }  # fmt: skip


def _place(label: str, outputs: Sequence[str], classes: Sequence[str]) -> tuple[int, int | None]:
    """The raw output of a label and its sign: one output stands for both of two classes."""
    if label in outputs:
        return 1, outputs.index(label)
    return (-1, 0) if len(classes) == 2 and len(outputs) == 1 else (1, None)


def _sums(line: Line, outputs: Sequence[str], classes: Sequence[str]) -> tuple[OutputSum, ...]:
    parts = zip(outputs, line["base"], line["output"], line["residual"], strict=True)
    sums = [OutputSum(*part) for part in parts]
    if len(classes) == 2 and len(sums) == 1:
        only = sums[0]
        sums.insert(0, OutputSum(classes[0], -only.base_value, -only.output, only.residual))
    return tuple(sums)


def finite(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as JSON can hold it: what is no finite number is null."""
    return {name: _finite(value) for name, value in document.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return finite(value)
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
