"""Deletion curves: the explained probability as words are taken out, the most important first, against random orders.

The area under a curve is the mean of the probability over the steps; the lower, the better the order. An order beats
random where its area is below the mean of random orders of the same text.
"""

import argparse
from typing import Any

import numpy as np

from bench.load.results import write_lines
from bench.reasons.classifier import classifier, sample
from retrain.evals.config import ModelFiles
from retrain.evals.explained.base import Asked, Decision, ExplainedModel

ORDERS = 20
LEAST = 0.95


def run(options: argparse.Namespace) -> bool:
    model, texts = classifier(options), sample(options)
    files = ExplainedModel(files=ModelFiles(base_dir=options.data), task="sequence_classification")
    found = model.explain(Asked(model=files, decisions=tuple(Decision(input=text) for text in texts)))
    draw = np.random.default_rng(options.seed)
    beaten, gaps = 0, []
    compared = [one for one in found if len(one["words"]) > 1]
    for one in compared:
        values = np.array([word["value"] for word in one["words"]])
        orders = [np.argsort(-values, kind="stable"), *(draw.permutation(len(values)) for _ in range(ORDERS))]
        areas = areas_of(model, [word["piece"] for word in one["words"]], orders, one["label_index"])
        beaten += bool(areas[0] < areas[1:].mean())
        gaps.append(areas[1:].mean() - areas[0])
    share = beaten / len(compared)
    print(
        f"deletion: beats random on {beaten} of {len(compared)} texts ({100 * share:.1f} %); "
        f"mean gap {np.mean(gaps):.3f}"
    )
    write_lines(
        options.out, "deletion", {"beats_random": (share, "share"), "gap": (float(np.mean(gaps)), "probability")},
        bench="explain", texts=len(compared), orders=ORDERS,
    )  # fmt: skip
    return share >= LEAST


def areas_of(model: Any, parts: list[str], orders: list[Any], label: int) -> Any:
    """The area of each order, shape (orders,)."""
    texts = []
    for order in orders:
        gone: set[int] = set()
        for at in (None, *order):
            gone |= {int(at)} if at is not None else set()
            texts.append("".join(part for i, part in enumerate(parts) if i not in gone).strip())
    places: dict[str, int] = {}
    rows = [places.setdefault(text, len(places)) for text in texts]
    shares = model.outputs(list(enumerate(places)))[rows, label]
    return shares.reshape(len(orders), -1).mean(axis=1)
