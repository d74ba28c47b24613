"""`start: best`: one run trains from the champion's adapter and from the base, and keeps what is better.

They are compared on validation rows that neither was trained on, and that the champion never learned; the held-out
rows of the gates play no part. Each training has a folder of its own below `starts/` with its checkpoints, so a killed
run goes on in the one it was in. At the end what was chosen is moved into place and `starts/` is removed.
"""

import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl
import torch

from retrain.train.adapter import Trained
from retrain.train.config import Recipe, RunConfig
from retrain.train.energy import Meter
from retrain.train.errors import LimitError, NonFiniteLossError
from retrain.train.kinds import KINDS
from retrain.train.merge import merge
from retrain.train.model import Classifier, Generator
from retrain.train.output import finished
from retrain.train.progress import Progress, write_json
from retrain.train.tasks.base import Setting

Phase = Literal["champion", "fresh"]
PHASES: Final[tuple[Phase, ...]] = ("champion", "fresh")
NAMES: Final = {"champion": "the champion's adapter, trained on,", "fresh": "a fresh one"}
FOLDER: Final = "starts"
FAILED: Final = "failed.json"
MIN_ROWS: Final = 20  # new training rows without which there is nothing to choose by
TrainOnce = Callable[[RunConfig, Progress, Meter], None]


def chosen_rows(rows: pl.DataFrame, rehearsed: int, recipe: Recipe) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows to train on, validation rows): a share of the rows that are new to the champion, drawn by the seed.

    At least MIN_ROWS, and at most half of the new rows. The champion may have been trained on the first `rehearsed`.
    """
    new = range(min(rehearsed, rows.height), rows.height)
    count = min(len(new) // 2, max(MIN_ROWS, round(recipe.validation * len(new))))
    drawn = random.Random(recipe.seed).sample(new, count)  # noqa: S311  no secret
    mask = pl.int_range(rows.height, eager=True).is_in(drawn)
    return rows.filter(~mask), rows.filter(mask)


def judged(setting: Setting, model: Trained, rows: pl.DataFrame) -> dict[str, Any]:
    """How right a trained model is on validation rows.

    Returns:
        `rows`; `accuracy`, of a classifier; `loss` in nats: of a row's label, or of a token of a completion.
    """
    recipe = setting.config.recipe
    if KINDS[recipe.task].classifies:
        labels = list(setting.config.labels)
        classifier = Classifier(model, setting.tokenizer, labels, setting.device, recipe.max_length)
        shares = classifier.predict_proba(rows["text"].to_list())
        truth = np.array([labels.index(name) for name in rows["label"]])
        given = np.maximum(shares[np.arange(len(truth)), truth], np.finfo(np.float32).tiny)
        right = float((shares.argmax(axis=1) == truth).mean())
        return {"rows": rows.height, "accuracy": right, "loss": float(-np.log(given).mean())}
    writer = Generator(model, setting.tokenizer, setting.device, recipe.max_length, recipe.chat)
    tokens = np.concatenate(writer.token_logprobs(rows["prompt"].to_list(), rows["completion"].to_list()))
    return {"rows": rows.height, "accuracy": None, "loss": float(-tokens.mean())}


def only_start(config: RunConfig) -> tuple[Phase, str] | None:
    """The one start that a run has, and why it has no other; None where it trains both, or nobody asked for two."""
    if config.fresh_because is not None:
        return "fresh", config.fresh_because
    if config.recipe.start != "best" or config.phase is not None:
        return None
    if config.teacher is not None:
        return "champion", "recipe.teacher is set, and a teacher is asked for one training only"
    if config.cards > 1:
        return "champion", f"train.cards is {config.cards}, and both starts are trained on one card only"
    rows = int(pl.scan_parquet(config.train.path).select(pl.len()).collect().item())
    if (new := rows - (config.rehearsed or 0)) < MIN_ROWS:
        return "champion", f"{new} training rows are new to the champion, and choosing needs {MIN_ROWS}"
    return None


def trains_both(config: RunConfig) -> bool:
    return config.recipe.start == "best" and config.phase is None and only_start(config) is None


def train_best(config: RunConfig, train_once: TrainOnce, progress: Progress, meter: Meter) -> None:
    """Train from both starts as far as the limits allow, choose, and move what was chosen into place.

    Raises:
        LimitError: a limit was passed before anything was trained to its end.
        NonFiniteLossError: of both trainings.
    """
    found: dict[Phase, dict[str, Any]] = {}
    for phase in PHASES:
        folder = config.output_dir / FOLDER / phase
        parent = config.parent_adapter if phase == "champion" else None
        own = config.model_copy(update={"phase": phase, "output_dir": folder, "parent_adapter": parent})
        first = found.get("champion", {})
        found[phase] = _one(own, first if "loss" in first else None, train_once, progress, meter)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    trained = {phase: facts for phase, facts in found.items() if "loss" in facts}
    if not trained:
        raise NonFiniteLossError("; ".join(f"{phase}: {facts['reason']}" for phase, facts in found.items()))
    chosen, reason = choose(found)
    _move(
        config,
        chosen,
        {"chosen": chosen, "reason": reason} | {str(name): facts for name, facts in found.items()},
        meter,
    )


def _one(
    config: RunConfig, first: Mapping[str, Any] | None, train_once: TrainOnce, progress: Progress, meter: Meter
) -> dict[str, Any]:
    """The figures of one training, or the reason why it has none.

    Args:
        first: figures of the training before; with them a limit stops this one alone.
    """
    failed = config.output_dir / FAILED
    if failed.is_file():
        kept: dict[str, Any] = json.loads(failed.read_text(encoding="utf-8"))
        return kept
    seconds, kwh = (first["train_seconds"], first["kwh"]) if first else (0.0, 0.0)
    if not finished(config):
        if first is not None and (reason := too_much(config, first)) is not None:
            return {"reason": reason}  # asked again after a kill, with the same figures
        try:
            train_once(config, progress, meter)
        except NonFiniteLossError as error:
            return _gave_up(config.output_dir, error.message)
        except LimitError as error:
            if first is None:
                raise
            return _gave_up(config.output_dir, f"it was stopped at a limit: {error.message}")
    record = json.loads((config.output_dir / "adapter" / "run.json").read_text(encoding="utf-8"))
    used = record["used"]["kwh"]  # as the seconds, of all trainings so far
    return {
        **record["validation"], "steps": record["steps"], "train_seconds": record["train_seconds"] - seconds,
        "kwh": None if used is None or kwh is None else used - kwh,
    }  # fmt: skip


def _gave_up(folder: Path, reason: str) -> dict[str, Any]:
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    write_json(folder / FAILED, {"reason": reason})
    return {"reason": reason}


def too_much(config: RunConfig, first: Mapping[str, Any]) -> str | None:
    """Why a second training is not begun: it takes as long as the first, and so much is not left. None if it is."""
    took, most = first["train_seconds"], config.max_seconds
    if most is not None and 2 * took > most:
        return (
            f"the first training took {took:.1f} s, and two would take {2 * took:.1f} s of the {most:.1f} s that "
            "envelope and budget leave the run"
        )
    used, limit = first["kwh"], config.max_kwh
    if limit is not None and used is not None and 2 * used > limit:
        return (
            f"the first training used {used:.4g} kWh, and two would use {2 * used:.4g} of the {limit:.4g} kWh that "
            "envelope and budget leave the run"
        )
    return None


def choose(found: Mapping[Phase, Mapping[str, Any]]) -> tuple[Phase, str]:
    """Which start is kept, and why: the one that is right more often, then the one with the smaller loss.

    Where they are equal, the champion's adapter goes on.
    """
    for phase in PHASES:
        if "loss" not in found[phase]:
            other: Phase = "fresh" if phase == "champion" else "champion"
            return other, f"{NAMES[phase]} was not trained to its end: {found[phase]['reason']}"
    champion, fresh = found["champion"], found["fresh"]
    rows = champion["rows"]
    if champion["accuracy"] != fresh["accuracy"]:
        better: Phase = "fresh" if fresh["accuracy"] > champion["accuracy"] else "champion"
        worse = champion if better == "fresh" else fresh
        return better, (
            f"{NAMES[better]} is right on {found[better]['accuracy']:.4f} of {rows} validation rows, the other on "
            f"{worse['accuracy']:.4f}"
        )
    better = "fresh" if fresh["loss"] < champion["loss"] else "champion"
    worse = champion if better == "fresh" else fresh
    alike = "" if champion["accuracy"] is None else f"both are right on {champion['accuracy']:.4f} of them; "
    return better, (
        f"on {rows} validation rows {alike}{NAMES[better]} has the loss {found[better]['loss']:.4f}, the other "
        f"{worse['loss']:.4f}"
    )


def _move(config: RunConfig, chosen: Phase, starts: dict[str, Any], meter: Meter) -> None:
    """Put the chosen result where that of any run lies, with the figures of both; the other is removed."""
    partial = config.output_dir / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(config.output_dir / FOLDER / chosen / "adapter", partial)
    record = json.loads((partial / "run.json").read_text(encoding="utf-8"))
    if config.recipe.serve == "merged":
        record["merged"] = merge(partial, config, on_card=record["device"] != "cpu")
    used = meter.keep(meter.trained_s)
    record |= {
        "config": config.record(), "digests": record["digests"] | {"config": config.digest()}, "starts": starts,
        "train_seconds": meter.trained_s, "wall_seconds": used.seconds, "used": used.record(),
    }  # fmt: skip
    write_json(partial / "run.json", record)
    partial.rename(config.output_dir / "adapter")
    drop_starts(config)


def drop_starts(config: RunConfig) -> None:
    """Remove what is left of two trainings, once their run is whole."""
    shutil.rmtree(config.output_dir / FOLDER, ignore_errors=True)
