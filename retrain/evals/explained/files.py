"""Explain files of decisions, each a call of the engine: here, in processes of this machine, or on a Ray cluster.

`decisions-N.parquet` has the columns `event_id`, `input` and `answer`; `records-N.json` is written once all of its
decisions are explained, a record or an error for each. A file that has its records is not explained again.
"""

import functools
from pathlib import Path

import polars as pl
from pydantic import Field

from core import engine as engines
from core.engine import Call
from core.jobs import Opinion
from core.settings import EngineSettings
from monitor.explain.text import MAX_EVALS
from retrain.evals.explain import Kept, answered
from retrain.evals.explained.base import Asked, Decision, ExplainedModel
from retrain.train.config import Frozen, Place
from retrain.train.config_file import load_config
from retrain.train.progress import write_json


class FilesConfig(Frozen):
    """`files`: how many lie in `output_dir`."""

    model: ExplainedModel
    opinions: tuple[Opinion, ...] = ()
    max_evals: int = Field(default=MAX_EVALS, ge=2)
    seed: int = Field(default=0, ge=0, lt=2**32)
    files: int = Field(ge=0)
    engine: EngineSettings
    output_dir: Place


def decisions_file(folder: Path, number: int) -> Path:
    return folder / f"decisions-{number:05}.parquet"


def records_file(folder: Path, number: int) -> Path:
    return folder / f"records-{number:05}.json"


def explain_files(path: Path) -> None:
    """Explain every file of a config that has no records yet."""
    config = load_config(path, FilesConfig)
    missing = [n for n in range(config.files) if not records_file(config.output_dir, n).exists()]
    calls = [Call(f"decisions {n}", explain_file, (path, n)) for n in missing]
    for _ in engines.run(config.engine, calls):
        pass


def explain_file(path: Path, number: int) -> int:
    """Explain one file, and return how many decisions it has. The model stays loaded in the process that did it."""
    config = load_config(path, FilesConfig)
    rows = pl.read_parquet(decisions_file(config.output_dir, number))
    decisions = tuple(Decision(input=r["input"], answer=r["answer"]) for r in rows.iter_rows(named=True))
    asked = Asked(
        model=config.model, decisions=decisions, opinions=config.opinions, max_evals=config.max_evals, seed=config.seed
    )
    found = answered(_kept(), asked)
    records = [{"event_id": event, "record": one} for event, one in zip(rows["event_id"], found, strict=True)]
    write_json(records_file(config.output_dir, number), records)
    return len(records)


@functools.cache
def _kept() -> Kept:
    return Kept()
