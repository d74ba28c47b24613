"""`python -m retrain.evals.run CONFIG.json`: champion and challenger on the same held-out rows, in its own process.

Writes `evaluation.json` and `predictions.parquet` into `output_dir`, and `exit.json` however it ends.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retrain.evals import EVALS
from retrain.evals.base import Difference
from retrain.evals.compared import SIDES, Side, compare_labels, comparison, files_of
from retrain.evals.config import EvalConfig, ModelFiles
from retrain.evals.integrity import adapter_facts
from retrain.evals.paired import accuracy_difference, perplexity_difference
from retrain.evals.preference import PREFERENCE, preferred
from retrain.evals.probes import Probes
from retrain.evals.written import columns, compared
from retrain.train.base_model import load_tokenizer
from retrain.train.data import answered_counts
from retrain.train.kinds import KINDS, AnyTask
from retrain.train.model import Classifier, Generator, load_classifier, load_generator
from retrain.train.progress import Progress, report_exit
from retrain.train.shape import is_whole, saved_chat

SETS: Final = {"new": "eval", "old": "holdout"}


def evaluate(path: Path) -> None:
    """Load, predict with both models, score, compare, probe the adapters, write."""
    comparison(path, _compare)


def _compare(config: EvalConfig, rows: pl.DataFrame, progress: Progress) -> tuple[pl.DataFrame, Mapping[str, Any]]:
    asked = Probes()
    predictions, evaluations, differences, probe = COMPARE[config.task](config, rows, progress, asked)
    adapters = {
        side: asdict(adapter_facts(folder)) if (folder := files_of(config, side).adapter_dir) is not None else None
        for side in SIDES
    }
    found = {
        "evaluations": evaluations, "differences": differences,
        "integrity": {"adapters": adapters, "probe": probe}, "counts": _counts(config, rows), **asked.document(config),
    }  # fmt: skip
    return predictions.with_columns(asked.columns(rows)), found


def _counts(config: EvalConfig, rows: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """What the longest text leaves of the rows of each set; none without a limit."""
    if config.max_length is None:
        return {}
    tokenizer, trained = load_tokenizer(config.challenger.base_dir), config.challenger.adapter_dir
    chat = config.chat if trained is None else saved_chat(trained)
    sets = {set_name: rows.filter(pl.col("rows") == name) for name, set_name in SETS.items()}
    return {
        name: answered_counts(part, tokenizer, config.max_length, chat).record()
        for name, part in sets.items() if not part.is_empty()
    }  # fmt: skip


Compared = tuple[pl.DataFrame, list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]


def _classification(config: EvalConfig, rows: pl.DataFrame, progress: Progress, asked: Probes) -> Compared:
    probe_texts = rows["text"].head(config.probe_rows).to_list()
    named: dict[Side, dict[str, NDArray[np.float32]]] = {}
    probe: dict[str, Any] = {"rows": len(probe_texts), "unit": "logit"}
    predictions = rows.select("rows", "row_id", "label")
    for step, side in enumerate(SIDES, start=1):
        files = files_of(config, side)
        if files.headless:
            most = most_frequent(rows)
            predictions = predictions.with_columns(
                most.alias(side), pl.lit(1.0, pl.Float32).alias(f"{side}_confidence")
            )
            named[side] = {str(name): np.zeros(len(probe_texts), np.float32) for name in most.unique().sort()}
            probe[f"{side}_adapter_on_off"], probe[f"{side}_finite"] = None, True
            probe[f"{side}_baseline"] = "the most frequent label, for the base has no usable head"
            asked.take_constant(config, side, str(most[0]), rows)  # of the new rows, which come first
            continue
        model = load_classifier(
            files.base_dir,
            files.adapter_dir,
            device=config.device,
            threads=config.threads,
            quantise=files.quantise,
            max_length=config.max_length,
        )
        names, shares = model.predict(rows["text"].to_list())
        predictions = predictions.with_columns(
            pl.Series(side, names, dtype=pl.String), pl.Series(f"{side}_confidence", shares, dtype=pl.Float32)
        )
        scores = model.logits(probe_texts)
        named[side] = dict(zip(model.labels, scores.T, strict=True))
        probe[f"{side}_adapter_on_off"] = _on_off(model, files, probe_texts, scores) if files.adapter_dir else None
        probe[f"{side}_finite"] = bool(np.isfinite(scores).all())
        asked.take(config, side, model, rows)
        progress.write("evaluate", step, len(SIDES))
    shared = named["champion"].keys() & named["challenger"].keys()
    probe["labels"] = {side: list(named[side]) for side in SIDES}
    probe["shared_labels"] = len(shared)
    probe["champion_challenger"] = (
        max(float(np.abs(named["champion"][x] - named["challenger"][x]).max()) for x in shared) if shared else None
    )
    return predictions, *compare_labels(config, predictions), probe


def most_frequent(rows: pl.DataFrame) -> pl.Series:
    """For each row the most frequent label of its set of rows; of equally frequent ones the first by name."""
    by_set = rows.group_by("rows", "label").len().sort("len", "label", descending=[True, False])
    first = by_set.group_by("rows", maintain_order=True).first().select("rows", pl.col("label").alias("most"))
    return rows.join(first, on="rows", how="left", maintain_order="left")["most"].cast(pl.String)


def _on_off(model: Classifier, files: ModelFiles, texts: Sequence[str], scores: NDArray[np.float32]) -> float:
    """Largest change of a logit of a label the base knows, when the adapter is switched off.

    A whole model has none to switch off: it is compared with its base, by label.
    """
    if files.adapter_dir is not None and is_whole(files.adapter_dir):
        plain = load_classifier(files.base_dir, quantise=False, max_length=model.max_length)
        known_rows = dict(zip(plain.labels, plain.logits(texts).T, strict=True))
        base = np.stack([known_rows.get(name, np.zeros(len(texts), np.float32)) for name in model.labels], axis=1)
    else:
        with model.without_adapter():
            base = model.logits(texts)
    known = np.abs(base).max(axis=0) > 0
    return float(np.abs(scores - base)[:, known].max()) if known.any() else float(np.abs(scores).max())


def _completion(config: EvalConfig, rows: pl.DataFrame, progress: Progress, asked: Probes) -> Compared:
    prompts, completions = rows["prompt"].to_list(), rows[KINDS[config.task].columns[1]].to_list()
    few = slice(0, config.probe_rows)
    found: dict[Side, list[NDArray[np.float32]]] = {}
    other: dict[Side, list[NDArray[np.float32]]] = {}
    written: dict[Side, list[str]] = {}
    probe: dict[str, Any] = {"rows": len(prompts[few]), "unit": "nats per token"}
    for step, side in enumerate(SIDES, start=1):
        files = files_of(config, side)
        model = load_generator(
            files.base_dir,
            files.adapter_dir,
            device=config.device,
            threads=config.threads,
            quantise=files.quantise,
            max_length=config.max_length,
            chat=config.chat,
        )
        found[side] = model.token_logprobs(prompts, completions)
        if "rejected" in rows.columns:
            other[side] = model.token_logprobs(prompts, rows["rejected"].to_list())
        if config.writes:
            written[side] = model.generate(prompts, max_new_tokens=model.room(completions))
        on_off = _generator_on_off(model, files, prompts[few], completions[few], found[side][few])
        probe[f"{side}_adapter_on_off"] = on_off if files.adapter_dir else None
        probe[f"{side}_finite"] = all(bool(np.isfinite(row).all()) for row in found[side][few])
        asked.take(config, side, model, rows)
        progress.write("evaluate", step, len(SIDES))
    probe["champion_challenger"] = _largest(found["champion"][few], found["challenger"][few])
    predictions = rows.select("rows", "row_id").with_columns(
        pl.Series("tokens", [len(row) for row in found["champion"]]),
        pl.Series("challenger_tokens", [len(row) for row in found["challenger"]]),
        *(pl.Series(f"{side}_logprob", [float(row.sum()) for row in found[side]]) for side in SIDES),
    )
    evaluations, differences = list[dict[str, Any]](), list[dict[str, Any]]()
    if other:
        taken = {side: preferred(found[side], other[side]) for side in SIDES}
        predictions = predictions.with_columns(
            pl.Series(f"{side}_prefers_chosen", taken[side], dtype=pl.Boolean) for side in SIDES
        )
        more = _preferences(config, predictions)
        evaluations = [score for scores, _ in more for score in scores]
        differences = [difference for _, difference in more]
    if written:
        predictions = predictions.with_columns(columns(written, completions))
        more_scores, more_gaps = compared(written, rows, predictions, confidence=config.confidence)
        evaluations, differences = [*evaluations, *more_scores], [*differences, *more_gaps]
    for name in rows["rows"].unique(maintain_order=True):
        at = np.flatnonzero((rows["rows"] == name).to_numpy())
        sides = [[found[side][i] for i in at] for side in SIDES]
        for side, values in zip(SIDES, sides, strict=True):
            score = EVALS["perplexity"].compute(values, confidence=config.confidence, seed=config.seed)
            evaluations.append({"model": side, "rows": name} | asdict(score))
        differences.append({"rows": name} | asdict(_less_perplexed(config, *sides)))
    return predictions, evaluations, differences, probe


def _less_perplexed(
    config: EvalConfig, champion: Sequence[NDArray[np.float32]], challenger: Sequence[NDArray[np.float32]]
) -> Difference:
    """The difference of perplexities; undefined where the models read an answer as different tokens."""
    if [len(row) for row in champion] != [len(row) for row in challenger]:
        words = "the models read answers as different tokens, for they differ in format or tokenizer"
        return Difference("perplexity", None, words, "1", False, len(champion), None, None)
    return perplexity_difference(champion, challenger, confidence=config.confidence, seed=config.seed)


def _preferences(config: EvalConfig, predictions: pl.DataFrame) -> list[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Per set of rows the preference accuracy of both models, and the difference, on pairs that both could score."""
    found = []
    for name in predictions["rows"].unique(maintain_order=True):
        part = predictions.filter(pl.col("rows") == name).drop_nulls([f"{side}_prefers_chosen" for side in SIDES])
        sides = [part[f"{side}_prefers_chosen"].cast(pl.String).to_list() for side in SIDES]
        truth = ["true"] * part.height
        scores = []
        for side, guess in zip(SIDES, sides, strict=True):
            score = replace(EVALS["accuracy"].compute(truth, guess, confidence=config.confidence), name=PREFERENCE)
            scores.append({"model": side, "rows": name} | asdict(score))
        gap = replace(accuracy_difference(truth, *sides, confidence=config.confidence), name=PREFERENCE)
        found.append((scores, {"rows": name} | asdict(gap)))
    return found


def _generator_on_off(
    model: Generator,
    files: ModelFiles,
    prompts: Sequence[str],
    completions: Sequence[str],
    on: Sequence[NDArray[np.float32]],
) -> float | None:
    if files.adapter_dir is not None and is_whole(files.adapter_dir):
        chat = saved_chat(files.adapter_dir)
        plain = load_generator(files.base_dir, quantise=False, max_length=model.max_length, chat=chat)
        return _largest(on, plain.token_logprobs(prompts, completions))
    with model.without_adapter():
        return _largest(on, model.token_logprobs(prompts, completions))


def _largest(one: Sequence[NDArray[np.float32]], other: Sequence[NDArray[np.float32]]) -> float | None:
    """Largest absolute difference over all tokens; None without a token, or when the tokens do not correspond."""
    if [len(row) for row in one] != [len(row) for row in other] or not any(len(row) for row in one):
        return None
    return float(np.abs(np.concatenate(list(one)) - np.concatenate(list(other))).max())


COMPARE: Final[dict[AnyTask, Callable[[EvalConfig, pl.DataFrame, Progress, Probes], Compared]]] = {
    "sequence_classification": _classification,
    "causal_lm": _completion,
    "dpo": _completion,
}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m retrain.evals.run CONFIG.json")
    sys.exit(report_exit(Path(sys.argv[1]), evaluate))
