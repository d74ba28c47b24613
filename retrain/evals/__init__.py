"""Evaluations of a trained model on held-out rows: one file each, one table."""

from typing import Final

from retrain.evals import accuracy, f1_macro, perplexity
from retrain.evals.base import Eval

EVALS: Final[dict[str, Eval]] = {e.name: e for e in (accuracy.EVAL, f1_macro.EVAL, perplexity.EVAL)}
