"""Texts explained together, against shap's Partition explainer called text by text with its defaults.

Both ask the same classifier about the same words, with a budget of 500 evaluations a text. Their trees differ, and so
does the number of evaluations that a short text needs; what is compared is evaluations a second.
"""

import argparse
import time
import warnings
from typing import Any

import numpy as np

from bench.load.results import write_lines
from bench.reasons.classifier import classifier, sample
from monitor.explain.segments import pieces
from retrain.evals.config import ModelFiles
from retrain.evals.explained.base import Asked, Decision, ExplainedModel

LEAST = 3.0  # times shap's evaluations a second


class Words:
    """shap's tokenizer: a token is a word with the white space after it."""

    mask_token = None

    def __call__(self, text: str, return_offsets_mapping: bool = True) -> dict[str, Any]:
        parts = pieces(text)
        ends = np.cumsum([len(part) for part in parts]).tolist()
        return {"input_ids": parts, "offset_mapping": list(zip([0, *ends][: len(ends)], ends, strict=True))}


def run(options: argparse.Namespace) -> bool:
    model, texts = classifier(options), sample(options)
    files = ExplainedModel(files=ModelFiles(base_dir=options.data), task="sequence_classification")
    asked = Asked(model=files, decisions=tuple(Decision(input=text) for text in texts), seed=options.seed)
    model.explain(asked.model_copy(update={"decisions": asked.decisions[:2]}))  # what loads at first use
    begun = time.perf_counter()
    found = model.explain(asked)
    seconds = time.perf_counter() - begun
    evals = sum(one["evals"] for one in found)
    off = [one for one in found if one["state"] != "explained"]
    theirs_s, theirs = shap_one_by_one(model.model.predict_proba, texts[: options.peer_rows])
    ratio = (evals / seconds) / (theirs / theirs_s)
    stored = sum(one["residual"] is not None for one in found) / len(found)
    print(
        f"text: {len(texts)} texts, {evals:,} evaluations in {seconds:.1f} s ({evals / seconds:,.0f}/s); shap text by "
        f"text {theirs:,} in {theirs_s:.1f} s ({theirs / theirs_s:,.0f}/s): {ratio:.2f} times; residual stored for "
        f"{100 * stored:.0f} %, {len(off)} withheld"
    )
    write_lines(
        options.out, "text", {"rows_per_s": (evals / seconds, "evaluations/s"), "seconds": (seconds, "s")},
        peer="shap Partition, text by text", beside={"rows_per_s": theirs / theirs_s}, bench="explain",
        texts=len(texts), texts_per_s=round(len(texts) / seconds, 2),
    )  # fmt: skip
    write_lines(options.out, "text", {"residual_share": (stored, "share")}, bench="explain", withheld=len(off))
    return ratio >= LEAST and stored == 1.0 and not off


def shap_one_by_one(predict: Any, texts: list[str]) -> tuple[float, int]:
    """Seconds, and how often the model was asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        calls = 0

        def outputs(given: Any) -> Any:
            nonlocal calls
            calls += len(given)
            return predict([str(text) for text in given])

        explainer = shap.Explainer(outputs, shap.maskers.Text(Words()))
        explainer(texts[:1], silent=True)
        calls, begun = 0, time.perf_counter()
        for text in texts:
            explainer([text], silent=True)
        return time.perf_counter() - begun, calls
