"""Statistics against Evidently as it is installed, and against values NannyML gave."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from monitor.drift import METHODS, Counts, drift_scores
from monitor.profile.block import profile_block
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ColumnKind
from tests.monitor.drift.nannyml_constants import sides

COLUMNS: dict[str, ColumnKind] = {"x": "number", "c": "category"}
# Printed by nannyml_constants.py under NannyML 0.13.1; its Wasserstein distance is in the column's own unit.
NANNYML = {
    "c_chi2": 283.76638884633894,
    "c_hellinger": 0.5212628283097409,
    "c_jensen_shannon": 0.5268368878502476,
    "c_l_infinity": 0.36333333333333334,
    "x_kolmogorov_smirnov": 0.06,
    "x_wasserstein": 2.9700000000000006,
}


def scores(reference: pl.DataFrame, window: pl.DataFrame, columns: dict[str, ColumnKind]) -> dict[tuple[str, str], Any]:
    baseline = fit_reference(reference, columns, blocks=10)
    return {(s.column, s.method): s.value for s in drift_scores(baseline, profile_block(window, baseline))}


def test_statistics_are_those_of_nannyml() -> None:
    reference, window = (pl.DataFrame(side) for side in sides())
    found = scores(reference, window, COLUMNS)
    assert found["x", "ks"] == pytest.approx(NANNYML["x_kolmogorov_smirnov"])
    std = float(np.std(reference["x"].to_numpy()))
    assert found["x", "wasserstein"] * std == pytest.approx(NANNYML["x_wasserstein"])
    for name in ("chi2", "jensen_shannon", "hellinger", "l_infinity"):
        assert found["c", name] == pytest.approx(NANNYML[f"c_{name}"]), name


def evidently(reference: pl.DataFrame, window: pl.DataFrame, method: str) -> dict[str, float]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import ValueDrift

        definition = DataDefinition(
            numerical_columns=[c for c in reference.columns if c == "x"],
            categorical_columns=[c for c in reference.columns if c == "c"],
        )
        sets = [Dataset.from_pandas(f.to_pandas(), data_definition=definition) for f in (window, reference)]
        result = Report([ValueDrift(column=c, method=method) for c in reference.columns]).run(*sets).dict()
    return {m["config"]["column"]: float(m["value"]) for m in result["metrics"]}


def test_statistics_are_those_of_evidently() -> None:
    reference, window = (pl.DataFrame(side) for side in sides())
    found = scores(reference, window, COLUMNS)
    theirs = {
        (c, method): evidently(reference.select(c), window.select(c), method)[c]
        for c, method in (("x", "wasserstein"), ("c", "jensenshannon"), ("c", "hellinger"))
    }
    assert found["x", "wasserstein"] == pytest.approx(theirs["x", "wasserstein"])
    assert found["c", "jensen_shannon"] * math.sqrt(math.log(2)) == pytest.approx(
        theirs["c", "jensenshannon"]
    )  # in nats
    assert found["c", "hellinger"] == pytest.approx(theirs["c", "hellinger"])


@pytest.mark.parametrize("shift", [0.0, 0.2, 2.0])
@pytest.mark.parametrize("law", ["normal", "lognormal", "cauchy"])
def test_the_error_of_the_bins_stays_within_its_stated_bound(law: str, shift: float) -> None:
    from scipy import stats

    rng = np.random.default_rng(3)
    laws: dict[str, Any] = {"normal": rng.standard_normal, "lognormal": rng.lognormal, "cauchy": rng.standard_cauchy}
    a, b = np.asarray(laws[law](size=20_000)), np.asarray(laws[law](size=3_000)) + shift
    baseline = fit_reference(pl.DataFrame({"x": a}), {"x": "number"}, blocks=10)
    window = profile_block(pl.DataFrame({"x": b}), baseline)
    found = {s.method: s.value or 0.0 for s in drift_scores(baseline, window)}
    before, after = baseline.total.numbers["x"], window.numbers["x"]
    p, q = before.counts / len(a), after.counts / len(b)
    edges = baseline.coding.numbers["x"].edges
    ends = [min(a.min(), b.min(), edges[0]), *edges, max(a.max(), b.max(), edges[-1])]
    larger, width, std = np.maximum(p, q), np.diff(ends), float(np.std(a))
    exact = {
        "ks": float(stats.ks_2samp(a, b).statistic),
        "auc": abs(float(stats.mannwhitneyu(b, a).statistic) / (len(a) * len(b)) - 0.5),
        "wasserstein": float(stats.wasserstein_distance(a, b)) / std,
        "energy": float(stats.energy_distance(a, b)) / math.sqrt(std),
    }
    bounds = {
        "ks": float(larger.max()),
        "auc": float(p @ q) / 2,
        "wasserstein": float(larger @ width) / std,
        "energy": math.sqrt(2 * float(larger**2 @ width) / std),
    }
    for name, bound in bounds.items():
        assert abs(found[name] - exact[name]) <= bound + 1e-9, name
    assert found["ks"] <= exact["ks"] + 1e-12


@pytest.mark.parametrize("shift", [0.0, 0.2, 2.0])
@pytest.mark.parametrize("law", ["normal", "lognormal", "integers"])
def test_statistics_of_a_number_by_ten_bins_are_those_of_raw_values_cut_at_the_same_edges(
    law: str, shift: float
) -> None:
    from scipy import stats
    from scipy.spatial import distance

    rng = np.random.default_rng(5)
    laws: dict[str, Any] = {
        "normal": rng.standard_normal, "lognormal": rng.lognormal, "integers": lambda size: rng.integers(0, 900, size),
    }  # fmt: skip
    a, b = np.asarray(laws[law](size=20_000), dtype=float), np.asarray(laws[law](size=3_000), dtype=float) + shift
    baseline = fit_reference(pl.DataFrame({"x": a}), {"x": "number"}, blocks=10)
    window = profile_block(pl.DataFrame({"x": b}), baseline)
    found = {s.method: s.value or 0.0 for s in drift_scores(baseline, window)}
    fine, edges = baseline.total.numbers["x"].counts, baseline.coding.numbers["x"].edges
    tenth = np.minimum(10 * (np.cumsum(fine) - fine) // len(a), 9)
    cuts = edges[np.flatnonzero(np.diff(tenth))]
    assert 9 <= len(cuts) + 1 <= 10
    before, after = (np.bincount(np.searchsorted(cuts, x), minlength=len(cuts) + 1) for x in (a, b))
    p, q = before / len(a), after / len(b)
    smooth = [(counts + 0.5) / (counts + 0.5).sum() for counts in (before, after)]
    exact = {
        "jensen_shannon": float(distance.jensenshannon(p, q, base=2)),
        "hellinger": float(distance.euclidean(np.sqrt(p), np.sqrt(q))) / math.sqrt(2),
        "total_variation": float(distance.cityblock(p, q)) / 2,
        "l_infinity": float(distance.chebyshev(p, q)),
        "psi": float(stats.entropy(*smooth) + stats.entropy(*smooth[::-1])),
        "chi2": float(stats.chi2_contingency([before, after], correction=False).statistic),
    }
    for name, value in exact.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    sides = Counts(fine), Counts(window.numbers["x"].counts)
    for name in ("jensen_shannon", "hellinger", "total_variation", "chi2"):
        assert found[name] <= METHODS[name].compute(*sides) + 1e-12, name
