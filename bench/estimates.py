"""Estimated performance without labels, against NannyML: bias, error and the coverage of the bands.

    python -m bench.estimates [--repeats N] [--first SEED] [--windows N] [--tables a,b] [--no-peer]

Per repeat a model is trained on one part of a table; its answers on a second part, with their outcomes, are the
reference, and windows are drawn from a third part. Half of the windows are drawn at random, without any drift. Half are
tilted along one input (weight exp(a * rank), a between -3 and 3): a covariate shift, for what an input means is the
same everywhere. Both tools see the same rows. Models are logistic and boosted trees in turn.

A window's error is the estimate less the value realised on its rows. Metrics, per table and KPI:
`bias_share_of_band`: |mean error of the windows without drift| over half the mean width of the band. What the reference
happens to be (its realised KPI less that of all other rows) is subtracted first; it is 0 on average, and noise here.
`mean_absolute_error`: over all windows; with KPI `all` over the KPIs that both tools estimate, with `difference`,
ours less the peer's, and its standard error over the references (the windows of one reference share its luck).
`coverage`: share of all windows whose 95 % band holds the realised value; of NannyML's band its sampling error times
1.96 is taken (it draws three). The peer runs in an environment of its own, made on first use under
~/.cache/assay-bench. Of Banking77, which has 77 classes, both estimate the accuracy from the probability of the
predicted class.

Appends JSON lines to bench/results/estimates.jsonl, cases `cbpe_<table>` (classification) and `dle_<table>`
(regression), and `cbpe_all` for the coverage of all classification tables together.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
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
                             y_true="outcome", metrics=job["metrics"], chunk_size=job["chunk"])
    else:
        found = nannyml.DLE(feature_column_names=job["inputs"], y_pred="prediction",
                            y_true="outcome", metrics=job["metrics"], chunk_size=job["chunk"])
    table = found.fit(reference).estimate(windows.drop(columns="outcome")).filter(period="analysis").to_df()
    print(json.dumps({n: [table[n]["value"].tolist(), table[n]["sampling_error"].tolist()] for n in job["metrics"]}),
          flush=True)
"""


@dataclass(frozen=True, eq=False)
class Table:
    name: str
    task: str
    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    texts: bool = False  # x holds one text in each row, y its class

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("accuracy",) if self.texts else METRICS[self.task]


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
    german = pl.read_parquet(DATA / "german_credit.parquet")
    inputs = german.drop("credit").with_columns(pl.col(pl.String).rank("dense"))
    yield Table("german", "classification", inputs.to_numpy().astype(float), (german["credit"] == 2).to_numpy())
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
    intents = pl.concat(pl.read_parquet(DATA / f"banking77_{part}.parquet") for part in ("train", "test"))
    yield Table(
        "banking77", "classification", intents["text"].to_numpy()[:, None], intents["category"].to_numpy(), True
    )
    yield from generated()
    bike = pl.read_parquet(DATA / "bike_sharing_hourly.parquet")
    inputs = bike.select(
        "season", "yr", "mnth", "hr", "weekday", "workingday", "weathersit", "temp", "hum", "windspeed"
    )
    yield Table("bike", "regression", inputs.to_numpy().astype(float), bike["cnt"].to_numpy().astype(float))
    yield Table("casual", "regression", inputs.to_numpy().astype(float), bike["casual"].to_numpy().astype(float))


def generated() -> Iterator[Table]:
    """A model that separates the classes well, one that hardly does, and a rare class (3 %)."""
    random = np.random.default_rng(7)
    x = random.normal(size=(24_000, 6))
    interaction = x[:, 3] * x[:, 4]
    odds = {
        "strong": 5.0 * x[:, 0] + 3.0 * x[:, 1] - 2.0 * x[:, 2] + 2.0 * interaction,
        "weak": 0.4 * x[:, 0] + 0.3 * interaction,
        "imbalanced": x[:, 0] + 0.8 * x[:, 1] + 0.5 * interaction - 4.2,
    }
    for name, odd in odds.items():
        yield Table(name, "classification", x, random.random(len(x)) < 1.0 / (1.0 + np.exp(-odd)))


@dataclass(frozen=True)
class Drawn:
    """A reference, its windows (the first half without drift), and every row that is in neither part of the model."""

    reference: pl.DataFrame
    windows: list[pl.DataFrame]
    pool: pl.DataFrame


def split(table: Table, repeat: int, windows: int) -> Drawn:
    """Reference and windows, with the answers of a model trained on other rows."""
    random = np.random.default_rng(repeat)
    order = random.permutation(len(table.y))
    most = max(len(order) // 4, min(REFERENCE, len(order) // 3) if len(order) < 1_500 else 0)
    train, reference = order[: min(most, 4000)], order[most : most + min(REFERENCE, most)]
    pool = order[most + len(reference) :]
    frame = texts_answered(table, train) if table.texts else answered(table, train, repeat)
    rows, along = min(WINDOW, len(pool) // 3), table.x
    if table.texts:
        along = np.array([[len(text)] for text in table.x[:, 0]], dtype=float)
    drawn = [
        pool[tilted(random, along[pool], rows) if at >= windows // 2 else random.choice(len(pool), rows, replace=False)]
        for at in range(windows)
    ]
    return Drawn(frame[reference], [frame[rows] for rows in drawn], frame[pool])


def answered(table: Table, train: np.ndarray[Any, Any], repeat: int) -> pl.DataFrame:
    regressors = (make_pipeline(StandardScaler(), Ridge()), HistGradientBoostingRegressor(max_iter=60))
    classifiers = (make_pipeline(StandardScaler(), LogisticRegression()), HistGradientBoostingClassifier(max_iter=60))
    model = (regressors if table.task == "regression" else classifiers)[repeat % 2].fit(table.x[train], table.y[train])
    columns = {f"x{i}": table.x[:, i] for i in range(table.x.shape[1])}
    if table.task == "classification":
        score = model.predict_proba(table.x)[:, 1]
        answers = {"prediction": (score > 0.5).astype(int), "score": score, "outcome": table.y.astype(int)}
    else:
        answers = {"prediction": model.predict(table.x), "outcome": table.y}
    return pl.DataFrame(columns | answers)


def texts_answered(table: Table, train: np.ndarray[Any, Any]) -> pl.DataFrame:
    """Whether the most likely class of each text is right, with the probability that the model gives it."""
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10.0, max_iter=200))
    chances = model.fit(table.x[train, 0], table.y[train]).predict_proba(table.x[:, 0])
    right = model.classes_[chances.argmax(axis=1)] == table.y
    length = np.array([len(text) for text in table.x[:, 0]], dtype=float)
    score = chances.max(axis=1)
    return pl.DataFrame({"x0": length, "prediction": 1, "score": score, "outcome": right.astype(int)})


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


def ask_peer(peer: subprocess.Popen[str], folder: Path, table: Table, drawn: Drawn) -> dict[str, Any]:
    """The peer's estimates and sampling errors."""
    reference, windows = drawn.reference, drawn.windows
    reference.write_parquet(folder / f"{table.name}-reference.parquet")
    pl.concat(windows).write_parquet(folder / f"{table.name}-windows.parquet")
    inputs = [c for c in reference.columns if c.startswith("x")]
    asked = [metric for metric in table.metrics if metric != "f1_macro"]  # NannyML's F1 is that of one class
    job = {"name": table.name, "task": table.task, "inputs": inputs, "chunk": windows[0].height, "metrics": asked}
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


@dataclass(frozen=True)
class Error:
    """Of one estimate: the estimate less the realised value, half the width of its band, whether the band held it."""

    repeat: int
    drifted: bool
    value: float
    half: float
    held: bool
    luck: float  # the reference's realised KPI less that of all other rows


Errors = dict[tuple[str, Table, str], list[Error]]  # by tool, table and KPI


def measure(options: argparse.Namespace, peer: subprocess.Popen[str] | str, folder: Path) -> Errors:
    found: Errors = {}
    chosen = options.tables.split(",") if options.tables else None
    for table in tables():
        if chosen is not None and table.name not in chosen:
            continue
        declared, began = spec(table), time.process_time()
        for repeat in range(options.first, options.first + options.repeats):
            drawn = split(table, repeat, options.windows)
            model = fit(declared, drawn.reference)
            theirs = ask_peer(peer, folder, table, drawn) if not isinstance(peer, str) else {}
            luck = {m: realised(m, drawn.reference) - realised(m, drawn.pool) for m in table.metrics}
            for at, window in enumerate(drawn.windows):
                ours = model.estimate(window.drop("outcome"), table.metrics)
                for metric in table.metrics:
                    truth, one, drifted = realised(metric, window), ours[metric], at >= options.windows // 2
                    assert one.value is not None
                    assert one.low is not None
                    assert one.high is not None
                    held, half = one.low <= truth <= one.high, (one.high - one.low) / 2.0
                    mine = Error(repeat, drifted, one.value - truth, half, held, luck[metric])
                    found.setdefault(("assay", table, metric), []).append(mine)
                    if metric in theirs:
                        value, half = theirs[metric][0][at], 1.96 * theirs[metric][1][at]
                        other = Error(repeat, drifted, value - truth, half, abs(value - truth) <= half, luck[metric])
                        found.setdefault(("nannyml", table, metric), []).append(other)
        print(f"{table.name}: {time.process_time() - began:.0f} s of CPU", flush=True)
    return found


def bias_share(errors: list[Error]) -> float:
    still = [e for e in errors if not e.drifted]
    return float(abs(np.mean([e.value - e.luck for e in still])) / np.mean([e.half for e in still]))


SUMMARIES: dict[str, tuple[str, Callable[[list[Error]], float]]] = {
    "bias_share_of_band": ("share", bias_share),
    "mean_absolute_error": ("kpi", lambda errors: float(np.mean([abs(e.value) for e in errors]))),
    "coverage": ("share", lambda errors: float(np.mean([e.held for e in errors]))),
}


def report(found: Errors, repeats: int) -> list[dict[str, Any]]:
    lines = []
    method = {"classification": "cbpe", "regression": "dle"}
    for tool, table, metric in list(found):
        if tool != "assay":
            continue
        ours, theirs = found[tool, table, metric], found.get(("nannyml", table, metric))
        for name in SUMMARIES:
            case = f"{method[table.task]}_{table.name}"
            lines.append(line(case, name, ours, theirs) | {"kpi": metric, "references": repeats})
            other = lines[-1]["peer_value"]
            peer = "" if other is None else f"   NannyML {other:.4f}"
            print(f"{table.name:10} {metric:10} {name:20} {lines[-1]['value']:.4f}{peer}   ({len(ours)} windows)")
    for table in {table: None for _, table, _ in found}:
        both = [found["assay", table, m] for m in table.metrics if ("nannyml", table, m) in found]
        theirs = [e for (tool, of, _), errors in found.items() if tool == "nannyml" and of is table for e in errors]
        if theirs:
            case = f"{method[table.task]}_{table.name}"
            together = line(case, "mean_absolute_error", [e for errors in both for e in errors], theirs)
            ours = [e for errors in both for e in errors]
            lines.append(together | {"kpi": "all", "references": repeats} | difference(ours, theirs))
    pooled = {
        tool: [e for (of, table, _), errors in found.items() if of == tool and table.task == "classification"
               for e in errors]
        for tool in ("assay", "nannyml")
    }  # fmt: skip
    if pooled["assay"]:
        every = line("cbpe_all", "coverage", pooled["assay"], pooled["nannyml"] or None)
        lines.append(every | {"kpi": "all", "references": repeats})
        print(f"all classification tables: coverage {every['value']:.4f}   NannyML {every['peer_value']}")
    return lines


def difference(ours: list[Error], theirs: list[Error]) -> dict[str, float]:
    """By how much our mean absolute error is larger than the peer's, with its standard error over the references."""
    of_each = [
        np.mean([abs(e.value) for e in ours if e.repeat == repeat])
        - np.mean([abs(e.value) for e in theirs if e.repeat == repeat])
        for repeat in sorted({e.repeat for e in ours})
    ]
    error = np.std(of_each, ddof=1) / np.sqrt(len(of_each)) if len(of_each) > 1 else np.nan
    return {"difference": round(float(np.mean(of_each)), 5), "standard_error": round(float(error), 5)}


def line(case: str, name: str, ours: list[Error], theirs: list[Error] | None) -> dict[str, Any]:
    unit, summary = SUMMARIES[name]
    value, other = summary(ours), summary(theirs) if theirs else None
    better = name == "mean_absolute_error" and other is not None and value > 0
    return {
        "bench": "estimates", "case": case, "metric": name, "value": round(value, 5), "unit": unit,
        "peer": f"NannyML {PEER_VERSION}" if theirs else None, "peer_value": None if other is None else round(other, 5),
        "ratio": round(other / value, 3) if better and other is not None else None,
        "at": timestamp(datetime.now(UTC)), "machine": f"{platform.machine()} {platform.system()}",
        "windows": len(ours),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=30, help="models and references per table")
    parser.add_argument("--first", type=int, default=200, help="seed of the first repeat")
    parser.add_argument("--tables", help="names, separated by commas; all by default")
    parser.add_argument("--windows", type=int, default=12, help="windows per reference")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "estimates.jsonl")
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
