"""Second opinions about a record of a text, each with how far it agrees."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from core.arrays import Floats
from core.jobs import Opinion
from monitor.explain.agreement import agreement
from monitor.explain.base import TextExplanation
from monitor.explain.lime import lime_weights
from retrain.evals.explained.gradients import STEPS, attention, integrated_gradients

SAYS: Final[Mapping[Opinion, str]] = {
    "lime": "a line through texts that lack words at random; unlike the record, its values need not add up",
    "integrated_gradients": "what the gradient along the way from a text of pad tokens adds; the model is asked about "
    "embeddings between words, which no text has",
    "attention": "where the model looked, not why it answered: a word can be looked at and not used",
}  # fmt: skip
FAILS: Final = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    KeyError,
    ImportError,
)


@dataclass(frozen=True)
class Question:
    """What a second opinion asks a model about.

    Attributes:
        outputs: texts -> the explained output, shape (n,).
        ids: tokens of the text as the model reads it; `spans` where each lies in the text, of no length for
            others; no spans where that is not known.
        baseline: tokens that stand for a text without words.
        score: tokens of shape (n, tokens) -> the explained output, shape (n,).
        answer: how many tokens at the end are the answer, which attention is not asked about.
    """

    outputs: Callable[[Sequence[str]], Floats]
    ids: Sequence[int]
    spans: Sequence[tuple[int, int]]
    baseline: Sequence[int]
    score: Callable[[torch.Tensor], torch.Tensor]
    answer: int = 0


def second_opinions(
    names: Sequence[Opinion], record: TextExplanation, model: Any, question: Question, seed: int
) -> dict[str, Any]:
    """By name the values for each word, how far they agree with the record, and what such values say.

    Where an opinion cannot be had of this model, its `reason` says why.
    """
    found = dict[str, Any]()
    for name in names:
        try:
            values, facts = _asked(name, record, model, question, seed)
        except FAILS as error:
            found[name] = {"values": None, "reason": f"not to be had of this model: {error}"[:300], "says": SAYS[name]}
            continue
        read = [i for i, word in enumerate(record.words) if word.value is not None]
        told: dict[str, Any] = {"rank_correlation": None, "reason": "the record is withheld", "top": 0, "shared": 0}
        if read:
            ours, theirs = [record.words[i].value or 0.0 for i in read], [values[i] or 0.0 for i in read]
            told = agreement(ours, theirs, signed=name != "attention")
        found[name] = {"values": values, "reason": None, "says": SAYS[name], "agreement": told, **facts}
    return found


Found = tuple[list[float | None], dict[str, Any]]


def _asked(name: Opinion, record: TextExplanation, model: Any, question: Question, seed: int) -> Found:
    if name == "lime":
        return _lime(record, question, seed)
    if not question.spans:
        raise ValueError("the tokens of a chat are not those of its words")
    ask = _gradients if name == "integrated_gradients" else _attention
    return ask(record, model, question)


def _lime(record: TextExplanation, question: Question, seed: int) -> Found:
    pieces = [word.piece for word in record.words]
    shown = [i for i, word in enumerate(record.words) if word.value is not None or record.state == "withheld"]
    read = {i: k for k, i in enumerate(shown)}

    def ask(masks: Any) -> Floats:
        texts = [
            "".join(p for i, p in enumerate(pieces) if i in read and mask[read[i]]).strip() if not mask.all()
            else "".join(pieces) for mask in masks
        ]  # fmt: skip
        places: dict[str, int] = {}
        rows = [places.setdefault(text, len(places)) for text in texts]
        return np.asarray(question.outputs(list(places)))[rows]

    found = lime_weights(len(read), ask, seed=seed)
    values = [float(found.values[read[i]]) if i in read else None for i in range(len(pieces))]
    return values, {"method": "lime", "fit": found.fit, "samples": found.samples, "seed": seed, "unit": record.unit}


def _gradients(record: TextExplanation, model: Any, question: Question) -> Found:
    tokens, delta = integrated_gradients(model, question.ids, question.baseline, question.score)
    facts = {"method": "integrated gradients (captum)", "delta": delta, "steps": STEPS, "unit": record.unit}
    return _by_word(record, question, tokens), facts


def _attention(record: TextExplanation, model: Any, question: Question) -> Found:
    tokens = np.zeros(len(question.ids))
    read = len(question.ids) - question.answer
    tokens[:read] = attention(model, question.ids[:read])
    facts = {"method": "attention, mean of layers and heads", "unit": "share of attention"}
    return _by_word(record, question, tokens), facts


def _by_word(record: TextExplanation, question: Question, tokens: Floats) -> list[float | None]:
    """The sum of each word's tokens; None where it has none that is read."""
    ends = np.cumsum([len(word.piece) for word in record.words])
    found: list[float | None] = [None] * len(record.words)
    for value, (begin, end) in zip(tokens, question.spans, strict=True):
        if end > begin:
            at = int(np.searchsorted(ends, end - 1, side="right"))  # a token may begin with the space before it
            found[at] = (found[at] or 0.0) + float(value)
    return found
