"""The rules of other tools, each at its own settings, from the same profiles; and the tools themselves on some windows.

The case `peers` compares the rules that are reimplemented here with the tools: Evidently in this environment, NannyML
in an environment of its own.
"""

import json
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.speed.work import peer_python
from monitor.detect.fixed_rules import row_tests
from monitor.drift import METHODS, Score
from monitor.drift.score import score_window
from monitor.profile.block import BlockProfile, merge_all
from monitor.profile.reference_profile import ReferenceProfile

PEERS = ("evidently_any", "evidently_half", "ks_bonferroni", "three_sigma", "psi_0.1")
_METHODS_USED = [METHODS[name] for name in ("wasserstein", "jensen_shannon", "psi")]


class PeerRules:
    """The rules of the peers after one reference."""

    def __init__(self, profile: ReferenceProfile, days: int) -> None:
        self._profile = profile
        self._columns = [*profile.coding.numbers, *profile.coding.categories]
        chunk = (np.array(profile.labels) - profile.labels[0]) // (4 * days)
        seen: dict[str, list[float]] = {}
        for number in range(int(chunk.max()) + 1):
            part = merge_all([b for b, c in zip(profile.blocks, chunk, strict=True) if c == number])
            for score in score_window(profile, part, _METHODS_USED[1:2], ()):
                if score.value is not None:
                    seen.setdefault(score.column, []).append(score.value)
        self._limits = {column: float(np.mean(v) + 3 * np.std(v)) for column, v in seen.items()}

    def fired(self, blocks: Sequence[BlockProfile]) -> dict[str, bool]:
        scores = score_window(self._profile, merge_all(blocks), _METHODS_USED, ())
        drifted = self.evidently(scores)
        tests = row_tests(self._profile, blocks, alpha=0.05, min_effects=dict.fromkeys(self._profile.columns, 0.0))
        return {
            "evidently_any": any(drifted.values()),
            "evidently_half": bool(np.mean(list(drifted.values())) >= 0.5),
            "ks_bonferroni": tests.p is not None and tests.p <= 0.05,
            "three_sigma": any(self.three_sigma(scores).values()),
            "psi_0.1": any(s.method == "psi" and s.value is not None and s.value > 0.1 for s in scores),
        }

    def evidently(self, scores: Sequence[Score]) -> dict[str, bool]:
        """Evidently above 1,000 reference rows: Wasserstein / std for numbers, Jensen-Shannon for categories; 0.1."""
        found = dict.fromkeys(self._columns, False)
        for score in scores:
            number = score.column in self._profile.coding.numbers
            if score.value is not None and score.method == ("wasserstein" if number else "jensen_shannon"):
                found[score.column] = score.value * (1.0 if number else np.log(2) ** 0.5) >= 0.1
        return found

    def three_sigma(self, scores: Sequence[Score]) -> dict[str, bool]:
        """NannyML: Jensen-Shannon distance beyond mean + 3 standard deviations of the reference's own chunks."""
        return {
            s.column: s.value > self._limits[s.column]
            for s in scores
            if s.method == "jensen_shannon" and s.value is not None and s.column in self._limits
        }

    def verdicts(self, blocks: Sequence[BlockProfile]) -> tuple[dict[str, bool], dict[str, bool]]:
        """By column, the verdicts of Evidently's default and of three standard deviations."""
        scores = score_window(self._profile, merge_all(blocks), _METHODS_USED, ())
        return self.evidently(scores), self.three_sigma(scores)


def real_evidently(reference: pl.DataFrame, window: pl.DataFrame, numbers: Sequence[str]) -> dict[str, bool]:
    """The verdict on each column by the library's default."""
    warnings.simplefilter("ignore")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    categories = [c for c in reference.columns if c not in numbers]
    definition = DataDefinition(numerical_columns=list(numbers), categorical_columns=categories)
    sides = [Dataset.from_pandas(f.to_pandas(), data_definition=definition) for f in (window, reference)]
    found: dict[str, bool] = {}
    for metric in Report([DataDriftPreset()]).run(*sides).dict()["metrics"]:
        config = metric.get("config", {})
        if config.get("type") == "evidently:metric_v2:ValueDrift":
            found[config["column"]] = float(metric["value"]) >= config["threshold"]
    return found


_NANNYML = """
import sys, json, warnings; warnings.simplefilter("ignore")
import nannyml, pandas as pd
folder, chunk = sys.argv[1], int(sys.argv[2])
reference, windows = (pd.read_parquet(folder + "/" + n + ".parquet") for n in ("reference", "windows"))
calculator = nannyml.UnivariateDriftCalculator(
    column_names=list(reference.columns), chunk_size=chunk,
    continuous_methods=["jensen_shannon"], categorical_methods=["jensen_shannon"])
table = calculator.fit(reference).calculate(windows).filter(period="analysis").to_df()
print(json.dumps({c: [bool(x) for x in table[(c, "jensen_shannon", "alert")]] for c in reference.columns}))
"""


def real_nannyml(reference: pl.DataFrame, windows: Sequence[pl.DataFrame], peers: Path) -> list[dict[str, bool]]:
    """The verdict on each column of each window, all of equal length, by the library in its own environment."""
    python = peer_python(peers, "nannyml")
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        reference.write_parquet(f"{folder}/reference.parquet")
        pl.concat(windows).write_parquet(f"{folder}/windows.parquet")
        command = [str(python), "-c", _NANNYML, folder, str(windows[0].height)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return [{column: alerts[i] for column, alerts in found.items()} for i in range(len(windows))]
