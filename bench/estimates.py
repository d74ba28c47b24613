"""Estimated performance without labels, against NannyML, on windows whose inputs shifted and whose outcomes did not.

    python -m bench.estimates [--repeats N] [--first SEED] [--windows N] [--tables a,b] [--no-peer]

The estimators were chosen on credit, compas, elec2 and bike, seeds 0-5; the other targets and the seeds
from 200 on (the default) were not looked at for it. Per repeat: a model is trained on one part of a real table, its
answers on a second part with their outcomes are the reference, and every window is drawn from a third part, tilted
along one input at random (weight exp(a * rank), a between -3 and 3): a covariate shift, for what an input means is the
same everywhere. Both tools see the same rows.

A window's error is the estimate less the value realised on its rows. `coverage`: share of windows whose 95 % band holds
the realised value; of NannyML's band its sampling error times 1.96 is taken (it draws three). The peer runs in an
environment of its own, made on first use under ~/.cache/assay-bench.

Appends JSON lines to bench/results/detection.jsonl, case `cbpe`.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.canonical import timestamp  # noqa: E402
from monitor.estimate import fit  # noqa: E402
from monitor.kpi import KPIS  # noqa: E402
from monitor.spec.model import ModelSpec  # noqa: E402
from monitor.spec.parse import parse_spec  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
PEER_VERSION = "0.13.1"
PEER_NEEDS = (f"nannyml=={PEER_VERSION}", "pandas<3", "statsmodels")  # it imports statsmodels without saying so
REFERENCE, WINDOW = 3000, 1000
METRICS = {"classification": ("accuracy", "f1_macro", "roc_auc"), "regression": ("mae", "rmse")}
COMPARED = ("accuracy", "roc_auc", "mae", "rmse")  # NannyML's F1 is that of one class

PEER = """
import json, sys, warnings
warnings.simplefilter("ignore")
import nannyml, pandas
folder = sys.argv[1]
for line in sys.stdin:
    job = json.loads(line)
    reference = pandas.read_parquet(folder + "/" + job["name"] + "-reference.parquet")
    windows = pandas.read_parquet(folder + "/" + job["name"] + "-windows.parquet")
    if job["task"] == "classification":
        found = nannyml.CBPE(problem_type="classification_binary", y_pred="prediction", y_pred_proba="score",
                             y_true="outcome", metrics=["accuracy", "roc_auc"], chunk_size=job["chunk"])
    else:
        found = nannyml.DLE(feature_column_names=job["inputs"], y_pred="prediction",
                            y_true="outcome", metrics=["mae", "rmse"], chunk_size=job["chunk"])
    table = found.fit(reference).estimate(windows.drop(columns="outcome")).filter(period="analysis").to_df()
    names = ["accuracy", "roc_auc"] if job["task"] == "classification" else ["mae", "rmse"]
    print(json.dumps({n: [table[n]["value"].tolist(), table[n]["sampling_error"].tolist()] for n in names}), flush=True)
"""


@dataclass(frozen=True)
class Table:
    name: str
    task: str
    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]


def tables() -> Iterator[Table]:
    credit = pl.read_parquet(DATA / "credit_default_taiwan.parquet")
    target = "default payment"
    yield Table("credit", "classification", credit.drop(target).to_numpy().astype(float), credit[target].to_numpy())
    compas = pl.read_parquet(DATA / "compas_two_years.parquet")
    inputs = compas.select(
        "age", "juv_fel_count", "juv_misd_count", "juv_other_count", "priors_count",
        (pl.col("sex") == "Male").cast(int), (pl.col("c_charge_degree") == "F").cast(int),
    )  # fmt: skip
    yield Table("compas", "classification", inputs.to_numpy().astype(float), compas["two_year_recid"].to_numpy())
    yield Table("violent", "classification", inputs.to_numpy().astype(float), compas["is_violent_recid"].to_numpy())
    elec2 = pl.read_parquet(DATA / "elec2.parquet")
    inputs = elec2.select("period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")
    yield Table("elec2", "classification", inputs.to_numpy().astype(float), elec2["class"].to_numpy())
    inputs = elec2.select("period", "nswprice", "vicprice", "vicdemand", "transfer")
    yield Table("demand", "regression", inputs.to_numpy().astype(float), elec2["nswdemand"].to_numpy())
    answers = pl.read_parquet(DATA / "gsm8k_model_solutions.parquet")
    text, models = pl.col("response"), answers["model"].unique().sort().to_list()
    inputs = answers.select(
        text.str.len_chars().alias("characters"), text.str.count_matches(r"\d+").alias("numbers"),
        text.str.count_matches(r"\n").alias("lines"), pl.col("question").str.len_chars(),
        *[(pl.col("model") == name).cast(int).alias(name) for name in models[1:]],
    )  # fmt: skip
    yield Table(
        "gsm8k", "classification", inputs.to_numpy().astype(float), answers["is_correct"].to_numpy().astype(int)
    )
    bike = pl.read_parquet(DATA / "bike_sharing_hourly.parquet")
    inputs = bike.select(
        "season", "yr", "mnth", "hr", "weekday", "workingday", "weathersit", "temp", "hum", "windspeed"
    )
    yield Table("bike", "regression", inputs.to_numpy().astype(float), bike["cnt"].to_numpy().astype(float))
    yield Table("casual", "regression", inputs.to_numpy().astype(float), bike["casual"].to_numpy().astype(float))


def split(table: Table, repeat: int, windows: int) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Reference and windows, with the answers of a model trained on other rows."""
    random = np.random.default_rng(repeat)
    order = random.permutation(len(table.y))
    most = len(order) // 4
    train, reference = order[: min(most, 4000)], order[most : most + min(REFERENCE, most)]
    pool = order[most + len(reference) :]
    regressors = (make_pipeline(StandardScaler(), Ridge()), HistGradientBoostingRegressor(max_iter=60))
    classifiers = (make_pipeline(StandardScaler(), LogisticRegression()), HistGradientBoostingClassifier(max_iter=60))
    model = (regressors if table.task == "regression" else classifiers)[repeat % 2].fit(table.x[train], table.y[train])
    columns = {f"x{i}": table.x[:, i] for i in range(table.x.shape[1])}
    if table.task == "classification":
        score = model.predict_proba(table.x)[:, 1]
        answers = {"prediction": (score > 0.5).astype(int), "score": score, "outcome": table.y.astype(int)}
    else:
        answers = {"prediction": model.predict(table.x), "outcome": table.y}
    frame = pl.DataFrame(columns | answers)
    rows = min(WINDOW, len(pool) // 3)
    return frame[reference], [frame[pool[tilted(random, table.x[pool], rows)]] for _ in range(windows)]


def tilted(random: np.random.Generator, x: np.ndarray[Any, Any], rows: int) -> np.ndarray[Any, Any]:
    column = x[:, random.integers(x.shape[1])]
    rank = np.argsort(np.argsort(column + 1e-9 * random.random(len(column)))) / len(column)
    weight = np.exp(random.choice([-1, 1]) * random.uniform(0.5, 3.0) * rank)
    return np.asarray(random.choice(len(column), rows, replace=False, p=weight / weight.sum()))


def spec(table: Table) -> ModelSpec:
    kind = "category" if table.task == "classification" else "number"
    columns: dict[str, Any] = {f"x{i}": {"role": "input", "type": "number"} for i in range(table.x.shape[1])}
    columns |= {"prediction": {"role": "prediction", "type": kind}, "outcome": {"role": "outcome", "type": kind}}
    if table.task == "classification":
        columns["score"] = {"role": "score", "type": "number", "positive": "1"}
    return parse_spec(
        {"model": "bench", "task": table.task, "owner": "bench@example.com", "purpose": "to be measured",
         "columns": columns, "baseline": {"rows": f"first {REFERENCE}"}}
    )  # fmt: skip


def realised(metric: str, window: pl.DataFrame) -> float:
    if metric == "roc_auc":
        window = window.with_columns(pl.lit("1").alias("positive"))
    value = KPIS[metric].compute(window).value
    assert value is not None
    return value


def start_peer(folder: Path) -> subprocess.Popen[str] | str:
    """The peer waiting for jobs, or why there is none."""
    home = Path.home() / ".cache" / "assay-bench" / f"nannyml-{PEER_VERSION}"
    python = home / "bin" / "python"
    if not (home / ".ready").exists():
        venv.create(home, with_pip=True, clear=True)
        made = subprocess.run(
            [python, "-m", "pip", "install", "-q", *PEER_NEEDS],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            return f"does not install: {made.stderr.strip().splitlines()[-1]}"
        (home / ".ready").touch()
    command = [str(python), "-I", "-c", PEER, str(folder)]
    log = (folder / "peer.log").open("w")
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)


def ask_peer(
    peer: subprocess.Popen[str], folder: Path, table: Table, reference: pl.DataFrame, windows: list[pl.DataFrame]
) -> dict[str, Any]:
    """The peer's estimates and sampling errors."""
    reference.write_parquet(folder / f"{table.name}-reference.parquet")
    pl.concat(windows).write_parquet(folder / f"{table.name}-windows.parquet")
    inputs = [c for c in reference.columns if c.startswith("x")]
    job = {"name": table.name, "task": table.task, "inputs": inputs, "chunk": windows[0].height}
    assert peer.stdin is not None
    assert peer.stdout is not None
    peer.stdin.write(json.dumps(job) + "\n")
    peer.stdin.flush()
    while (answer := peer.stdout.readline()) and not answer.startswith("{"):
        continue  # what its trees print
    if not answer:
        raise RuntimeError(f"the peer ended: {(folder / 'peer.log').read_text()[-600:]}")
    found: dict[str, Any] = json.loads(answer)
    return found


Errors = dict[tuple[str, str, str], list[tuple[float, bool]]]  # (tool, table, metric): (error, held)


def measure(options: argparse.Namespace, peer: subprocess.Popen[str] | str, folder: Path) -> Errors:
    found: Errors = {}
    chosen = options.tables.split(",") if options.tables else None
    for table in tables():
        if chosen is not None and table.name not in chosen:
            continue
        declared = spec(table)
        for repeat in range(options.first, options.first + options.repeats):
            reference, windows = split(table, repeat, options.windows)
            model = fit(declared, reference)
            theirs = ask_peer(peer, folder, table, reference, windows) if not isinstance(peer, str) else None
            for at, window in enumerate(windows):
                ours = model.estimate(window.drop("outcome"), METRICS[table.task])
                for metric in METRICS[table.task]:
                    truth, one = realised(metric, window), ours[metric]
                    assert one.value is not None
                    assert one.low is not None
                    assert one.high is not None
                    mine = (one.value - truth, one.low <= truth <= one.high)
                    found.setdefault(("assay", table.name, metric), []).append(mine)
                    if theirs is not None and metric in theirs:
                        value, error = theirs[metric][0][at], theirs[metric][1][at]
                        other = (value - truth, abs(value - truth) <= 1.96 * error)
                        found.setdefault(("nannyml", table.name, metric), []).append(other)
    return found


SUMMARIES: dict[str, tuple[str, Callable[[list[tuple[float, bool]]], float]]] = {
    "coverage": ("share", lambda pairs: float(np.mean([held for _, held in pairs]))),
    "mean_absolute_error": ("kpi", lambda pairs: float(np.mean([abs(error) for error, _ in pairs]))),
}


def report(found: Errors, repeats: int) -> list[dict[str, Any]]:
    machine = f"{platform.machine()} {platform.system()}"
    lines = []
    for tool, table, metric in list(found):
        if tool != "assay":
            continue
        ours, theirs = found[tool, table, metric], found.get(("nannyml", table, metric))
        for name, (unit, summary) in SUMMARIES.items():
            value, other = summary(ours), summary(theirs) if theirs else None
            ratio = other / value if other is not None and name != "coverage" and value else None
            lines.append({
                "bench": "detection", "case": "cbpe", "metric": name, "value": round(value, 5), "unit": unit,
                "peer": f"NannyML {PEER_VERSION}" if theirs else None,
                "peer_value": None if other is None else round(other, 5),
                "ratio": None if ratio is None else round(ratio, 3), "at": timestamp(datetime.now(UTC)),
                "machine": machine, "table": table, "kpi": metric, "windows": len(ours), "references": repeats,
            })  # fmt: skip
            peer = "" if other is None else f"   NannyML {other:.4f}"
            print(f"{table:8} {metric:10} {name:20} {value:.4f}{peer}   ({len(ours)} windows)")
    every = [pair for (tool, _, _), pairs in found.items() if tool == "assay" for pair in pairs]
    theirs = [pair for (tool, _, _), pairs in found.items() if tool == "nannyml" for pair in pairs]
    covered, peer_covered = SUMMARIES["coverage"][1](every), SUMMARIES["coverage"][1](theirs) if theirs else None
    print(f"all tables and KPIs: coverage {covered:.4f}" + (f"   NannyML {peer_covered:.4f}" if theirs else ""))
    lines.append({
        "bench": "detection", "case": "cbpe", "metric": "coverage", "value": round(covered, 5), "unit": "share",
        "peer": f"NannyML {PEER_VERSION}" if theirs else None,
        "peer_value": None if peer_covered is None else round(peer_covered, 5), "ratio": None,
        "at": timestamp(datetime.now(UTC)), "machine": machine, "table": "all", "kpi": "all", "windows": len(every),
        "references": repeats,
    })  # fmt: skip
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=6, help="models and references per table")
    parser.add_argument("--first", type=int, default=200, help="seed of the first repeat")
    parser.add_argument("--tables", help="names, separated by commas; all by default")
    parser.add_argument("--windows", type=int, default=15, help="windows per reference")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "detection.jsonl")
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"skipped: no tables in {DATA}")
        return
    with tempfile.TemporaryDirectory() as name:
        peer = "left out" if options.no_peer else start_peer(Path(name))
        if isinstance(peer, str):
            print(f"NannyML {peer}")
        found = measure(options, peer, Path(name))
        if not isinstance(peer, str):
            peer.communicate()
    lines = report(found, options.repeats)
    with options.out.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    main()
