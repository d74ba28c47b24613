"""What only some gates ask of a model while it is loaded: golden rows, changed texts, safety probes, times."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl

from core.arrays import Floats
from retrain.evals.changed_texts import CHANGES, changed
from retrain.evals.config import EvalConfig
from retrain.evals.preference import preferred
from retrain.train.data import read_rows
from retrain.train.kinds import KINDS
from retrain.train.model import Classifier, Generator

MAX_CHANGED: Final = 300  # rows whose texts are changed, each in every way
MAX_TIMED: Final = 60
TRIES: Final = 3
ANSWER_TOKENS: Final = 128
PREFERRED: Final = "the preferred answer"
OTHER: Final = "the other one"


@dataclass
class Probes:
    """What the two models answered, by side."""

    golden: dict[str, list[str]] = field(default_factory=dict)
    changed: dict[str, Floats] = field(default_factory=dict)  # share of the changed texts right, by row
    by_change: dict[str, dict[str, float]] = field(default_factory=dict)  # accuracy by kind of change
    safety: dict[str, list[str]] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)  # ms

    def take(self, config: EvalConfig, side: str, model: Classifier | Generator, rows: pl.DataFrame) -> None:
        """Ask one model. `rows`: all held-out rows, the new ones named `new` in column `rows`."""
        text = "text" if isinstance(model, Classifier) else "prompt"
        if config.golden is not None:
            self.golden[side] = _golden_answers(model, _golden(config))
        new = rows.filter(pl.col("rows") == "new")
        if "robustness" in config.probes and isinstance(model, Classifier):
            few = new.head(MAX_CHANGED)
            right = {kind: _right(model, few, kind, config.seed) for kind in CHANGES}
            self.changed[side] = np.mean(list(right.values()), axis=0)
            self.by_change[side] = {kind: float(values.mean()) for kind, values in right.items()}
        if config.safety_prompts and isinstance(model, Generator):
            self.safety[side] = _written(model, config.safety_prompts)
        if "latency" in config.probes:
            self.times[side] = _times(model, new[text].head(MAX_TIMED).to_list())

    def take_constant(self, config: EvalConfig, side: str, most: str, rows: pl.DataFrame) -> None:
        """The same for a side whose model cannot answer, and for which one label stands; it takes no time."""
        if config.golden is not None:
            self.golden[side] = [most] * _golden(config).height
        if "robustness" in config.probes:
            right = (rows.filter(pl.col("rows") == "new")["label"].head(MAX_CHANGED) == most).to_numpy()
            self.changed[side] = right.astype(np.float64)
            self.by_change[side] = dict.fromkeys(CHANGES, float(right.mean()))

    def document(self, config: EvalConfig) -> dict[str, Any]:
        """What evaluation.json keeps; the rows of the changed texts go to the predictions."""
        found: dict[str, Any] = {}
        if config.golden is not None:
            rows = _golden(config)
            names = KINDS[config.task].columns
            paired = is_pair(rows)
            found["golden"] = [
                {
                    "row_id": row, "expected": PREFERRED if pair else wanted, "pair": pair,
                    **{side: self.golden[side][i] for side in self.golden},
                }
                for i, (row, wanted, pair) in enumerate(zip(rows["row_id"], rows[names[1]], paired, strict=True))
            ]  # fmt: skip
        if self.by_change:
            found["robustness"] = self.by_change
        if self.safety:
            found["safety"] = [
                {"prompt": prompt, **{side: answers[i] for side, answers in self.safety.items()}}
                for i, prompt in enumerate(config.safety_prompts)
            ]
        if self.times:
            found["times_ms"] = self.times
        return found

    def columns(self, rows: pl.DataFrame) -> list[pl.Series]:
        """By side: share of a new row's changed texts that were answered rightly; null where none was changed."""
        new = (rows["rows"] == "new").to_list()
        found = []
        for side, values in self.changed.items():
            left = iter(values.tolist())
            found.append(pl.Series(f"{side}_changed", [next(left, None) if n else None for n in new], dtype=pl.Float64))
        return found


def _golden(config: EvalConfig) -> pl.DataFrame:
    assert config.golden is not None
    names = KINDS[config.task].columns[:2]
    return read_rows(config.golden, "golden", ("row_id", *names))


def is_pair(rows: pl.DataFrame) -> list[bool]:
    """Which golden rows hold two answers, of which one is to be preferred; the others hold what is to be answered."""
    return rows["rejected"].is_not_null().to_list() if "rejected" in rows.columns else [False] * rows.height


def _golden_answers(model: Classifier | Generator, rows: pl.DataFrame) -> list[str]:
    """A model's label or text for each golden row; of a pair, whether it finds the preferred answer likelier."""
    if isinstance(model, Classifier):
        return model.predict(rows["text"].to_list())[0]
    pair = pl.Series(is_pair(rows), dtype=pl.Boolean)
    both, alone = rows.filter(pair), rows.filter(~pair)
    written = iter(_written(model, alone["prompt"].to_list()))
    prompts, sides = both["prompt"].to_list(), (both[name].to_list() for name in KINDS["dpo"].columns[1:])
    chosen = iter(preferred(*(model.token_logprobs(prompts, side) for side in sides)) if prompts else ())
    return [(PREFERRED if next(chosen) else OTHER) if one else next(written) for one in pair]


def _right(model: Classifier, rows: pl.DataFrame, kind: str, seed: int) -> Floats:
    names, _ = model.predict([changed(text, kind, seed) for text in rows["text"]])
    return (pl.Series(names) == rows["label"]).to_numpy().astype(np.float64)


def _written(model: Generator, prompts: Sequence[str]) -> list[str]:
    return model.generate(prompts, max_new_tokens=ANSWER_TOKENS)


def _times(model: Classifier | Generator, texts: Sequence[str]) -> list[float]:
    """Milliseconds of each text alone, the least of TRIES; a text is scored, not continued, where the model writes."""

    def once(text: str) -> float:
        begin = time.perf_counter()
        if isinstance(model, Classifier):
            model.predict([text])
        else:
            model.token_logprobs([text], [""])
        return (time.perf_counter() - begin) * 1000

    for text in texts[:3]:
        once(text)
    return [min(once(text) for _ in range(TRIES)) for text in texts]
