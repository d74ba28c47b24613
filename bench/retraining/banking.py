"""Banking77 with held-back intents: a run through the product against training on everything from scratch.

A small classifier is trained on 70 % of the messages of 60 intents. The rest of those and all of 17 intents that it
never saw arrive as events with their outcomes, and a retrain is asked for. Its champion answers the 3,080 test messages
beside a model made from scratch on all 10,003 training messages. The same run by the commit named in `BEFORE`, in a
working tree of its own and in turns with this one, is what wall and CPU time are compared with.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from bench.qlora_banking77 import NEW, dataset
from bench.retraining.answers import keep
from bench.retraining.case import Case, Options, record
from bench.retraining.governed import NDJSON, PARQUET, Served, retrained, served
from core.process import environment

ROOT: Final = Path(__file__).resolve().parents[2]
BEFORE: Final = "bd24976"  # the commit that the comparison of wall time starts from
MODEL: Final = "banking"
QUIET: Final = 600  # events before anything new, the reference of the monitors
HELD: Final = 400  # messages of the first model's time that show forgetting, trained on by none
TEN_MINUTES_S: Final = 600.0
PAIRS: Final = int(os.environ.get("BENCH_BANKING_PAIRS", "2"))
KEPT: Final = os.environ.get("BENCH_BANKING_FOLDER")  # keeps the two models from scratch for the next time


def rows(data: Path, seed: int) -> dict[str, pl.DataFrame]:
    """Messages by part: of the first model, of its hold-out, of the stream, all for training, and for the test."""
    everything = pl.read_parquet(data / "banking77_train.parquet").rename({"category": "label"})
    everything = everything.sample(fraction=1, shuffle=True, seed=seed)
    old = everything.filter(~pl.col("label").is_in(NEW))
    cut = int(0.7 * old.height)
    stream = pl.concat([old[cut + HELD :], everything.filter(pl.col("label").is_in(NEW))])
    return {
        "first": old[:cut], "quiet": old[:QUIET], "held": old[cut : cut + HELD], "all": everything,
        "stream": stream.sample(fraction=1, shuffle=True, seed=seed + 1),
        "test": pl.read_parquet(data / "banking77_test.parquet").rename({"category": "label"}),
    }  # fmt: skip


def small(parts: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """A dry run's share of the messages, of every label."""
    return {name: frame.group_by("label", maintain_order=True).head(6) for name, frame in parts.items()}


def module(name: str, config: dict[str, Any], folder: Path, threads: int) -> None:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    given = environment(threads) | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", name, str(path)], cwd=ROOT, env=given, check=True)


def from_scratch(frame: pl.DataFrame, folder: Path, options: Options) -> Path:
    """A model of its own tokenizer and weights, as the demo's first one."""
    if not (folder / "base" / "labels.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "run_id": "scratch", "train": dataset(frame, folder / "rows.parquet"), "output_dir": str(folder),
            "progress": str(folder / "progress.jsonl"), "threads": options.threads, "seed": options.seed,
        }  # fmt: skip
        more = {"size": "tiny", "epochs": 2} if options.dry_run else {}
        module("retrain.train.demo_base", config | more, folder, options.threads)
    return folder / "base"


def answers(
    texts: pl.Series, models: Mapping[str, tuple[Path, Path | None]], folder: Path, threads: int
) -> pl.DataFrame:
    """What each model answers: `<name>.label` and `<name>.confidence`."""
    pl.DataFrame({"text": texts}).write_parquet(folder / "asked.parquet")
    named = [{"name": n, "base_dir": str(b), "adapter_dir": a and str(a)} for n, (b, a) in models.items()]
    asked, output = str(folder / "asked.parquet"), str(folder / "answered.parquet")
    module("retrain.evals.predict", {"texts": asked, "models": named, "output": output, "threads": threads}, folder,
           threads)  # fmt: skip
    return pl.read_parquet(output)


def spec(base: Path, quiet: int, *, dry_run: bool) -> dict[str, Any]:
    """The recipe as a user writes it first: base model and task, and every default."""
    recipe = {"base_model": str(base), "task": "sequence_classification"} | ({"epochs": 1} if dry_run else {})
    return {
        "model": MODEL, "task": "classification", "owner": "bench@example.com", "purpose": "route messages",
        "columns": {
            "text": {"role": "input", "type": "text"}, "intent": {"role": "prediction", "type": "category"},
            "intent_true": {"role": "outcome", "type": "category"},
        },
        "baseline": {"rows": f"first {quiet}"},
        "monitors": {"windows": {"rows": 4 * quiet}, "false_alarms": {"alpha": 0.002}, "kpi": [{"metric": "accuracy"}]},
        "retrain": {
            "when": [{"cron": "0 3 1 1 *"}], "min_outcomes": 100, "recipe": recipe, "envelope": {"max_gpu_hours": 1},
            "gates": ["integrity"] if dry_run else ["no_regression", "forgetting", "integrity"], "approval": "none",
        },
    }  # fmt: skip


def send(service: Served, frame: pl.DataFrame, first: int, *, outcomes: bool) -> None:
    start = datetime(2026, 1, 5, tzinfo=UTC)
    events = frame.select(
        pl.int_range(first, first + frame.height).cast(pl.String).alias("event_id"),
        pl.Series("ts", [start + timedelta(minutes=first + i) for i in range(frame.height)]).dt.strftime("%FT%TZ"),
        pl.lit("v1").alias("version"), "text", "intent", pl.col("label").alias("intent_true"),
    )  # fmt: skip
    path = f"/api/v1/models/{MODEL}"
    service.ask("POST", f"{path}/events", events.drop("intent_true").write_ndjson().encode(), NDJSON)
    if outcomes:
        service.ask(
            "POST", f"{path}/outcomes", events.select("event_id", "intent_true").write_ndjson().encode(), NDJSON
        )


def governed(tree: Path, folder: Path, base: Path, parts: dict[str, pl.DataFrame], options: Options) -> dict[str, Any]:
    """One home folder of a tree: everything that comes before the run, and the run itself."""
    home = folder / f"home-{tree.name}-{time.monotonic_ns()}"
    home.mkdir(parents=True)
    with served(tree, home, options.threads) as service:
        document = spec(base, parts["quiet"].height, dry_run=options.dry_run)
        service.ask("PUT", f"/api/v1/models/{MODEL}", json.dumps(document).encode())
        for part, role in (("first", "train"), ("held", "holdout")):
            file = folder / f"{part}.parquet"
            parts[part].select("text", "label").write_parquet(file)
            path = f"/api/v1/models/{MODEL}/datasets?name={part}&role={role}"
            service.ask("POST", path, file.read_bytes(), PARQUET)
        send(service, parts["quiet"], 0, outcomes=False)
        service.wait_until_idle()
        send(service, parts["stream"], parts["quiet"].height, outcomes=True)
        service.wait_until_idle()
        found = retrained(service, MODEL, home)
        champion = service.ask("GET", f"/api/v1/models/{MODEL}/champion")
    return found | {"adapter": Path(champion["adapter_uri"].removeprefix("file://"))}


@contextmanager
def before(folder: Path) -> Iterator[Path]:
    """The commit that is compared with, in a working tree of its own."""
    tree = folder / "before"
    git = ["git", "-C", str(ROOT)]
    subprocess.run([*git, "worktree", "add", "--detach", str(tree), BEFORE], check=True, capture_output=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "worktree", "remove", "--force", str(tree)], check=True, capture_output=True)


def run(options: Options) -> None:
    parts = rows(options.data, options.seed)
    if options.dry_run:
        parts = small(parts)
    with tempfile.TemporaryDirectory(prefix="bench-banking-") as name:
        folder = Path(name)
        kept = Path(KEPT) if KEPT and not options.dry_run else folder
        base = from_scratch(parts["first"], kept / "first", options)
        for part in ("quiet", "stream"):
            said = answers(parts[part]["text"], {"v1": (base, None)}, folder, options.threads)
            parts[part] = parts[part].with_columns(said["v1.label"].alias("intent"))
        with before(folder) as tree:
            runs: dict[str, list[dict[str, Any]]] = {"now": [], "before": []}
            for number in range(1 if options.dry_run else PAIRS):
                pair = (("before", tree), ("now", ROOT))
                for arm, where in pair if number % 2 == 0 else pair[::-1]:
                    runs[arm].append(governed(where, folder, base, parts, options))
                    print(f"  {arm}: {runs[arm][-1]['wall_s']:.0f} s, {runs[arm][-1]['cpu_s']:.0f} CPU s", flush=True)
        scratch = from_scratch(parts["all"], kept / "all", options)
        models = {"scratch": (scratch, None), "first": (base, None)}
        models |= {arm: (base, found[-1]["adapter"]) for arm, found in runs.items()}
        said = answers(parts["test"]["text"], models, folder, options.threads)
    truth, kept_arms = parts["test"]["label"], ("first", "scratch", "now", "before")
    if not options.dry_run:
        keep(truth, {arm: said[f"{arm}.label"] for arm in kept_arms})
    _report(options, runs, said, truth)


def _report(options: Options, runs: dict[str, list[dict[str, Any]]], said: pl.DataFrame, truth: pl.Series) -> None:
    new = truth.is_in(NEW).to_numpy()
    right = {arm: (said[f"{arm}.label"] == truth).to_numpy() for arm in ("scratch", "first", "now", "before")}
    sets = {"": np.ones_like(new), "_old": ~new, "_new": new}
    share = {(arm, which): float(r[rows].mean()) for arm, r in right.items() for which, rows in sets.items()}
    middle = {arm: {key: float(np.median([r[key] for r in found])) for key in ("wall_s", "cpu_s")}
              for arm, found in runs.items()}  # fmt: skip
    parts = {arm: {name: float(np.median([r["parts"][name] for r in found])) for name in found[0]["parts"]}
             for arm, found in runs.items()}  # fmt: skip
    print(f"  {'seconds by part (median)':36}{'now':>9}{BEFORE:>9}")
    for name in parts["now"]:
        print(f"  {name:36}{parts['now'][name]:9.1f}{parts['before'][name]:9.1f}")
    overhead = {arm: middle[arm]["wall_s"] - parts[arm]["training steps"] for arm in runs}
    recovered = {arm: {f"recovered_share{w}": share[arm, w] / share["scratch", w] for w in sets} for arm in runs}
    lost = {arm: 100 * (share["first", "_old"] - share[arm, "_old"]) for arm in runs}
    found = {
        **{name: (value, "share") for name, value in recovered["now"].items()},
        "old_intents_loss_points": (lost["now"], "points"),
        "governed_overhead_share": (overhead["now"] / TEN_MINUTES_S, "share"),
        "wall_s": (middle["now"]["wall_s"], "s"), "cpu_s": (middle["now"]["cpu_s"], "s"),
    }  # fmt: skip
    record(
        options, "cpu_banking77", found, peer=f"commit {BEFORE}, the same data, in turns",
        beside={
            **recovered["before"], "old_intents_loss_points": lost["before"],
            "governed_overhead_share": overhead["before"] / TEN_MINUTES_S, **middle["before"],
        },
        wall_ratio=round(middle["now"]["wall_s"] / middle["before"]["wall_s"], 3),
        cpu_ratio=round(middle["now"]["cpu_s"] / middle["before"]["cpu_s"], 3),
        accuracy={f"{arm}{which}": round(value, 4) for (arm, which), value in share.items()},
        parts_s={arm: {name: round(value, 1) for name, value in by.items()} for arm, by in parts.items()},
        pairs=len(runs["now"]), threads=options.threads, seed=options.seed, test_rows=len(truth),
    )  # fmt: skip


CASE: Final = Case("cpu_banking77", "new intents through the product, against everything from scratch", "cpu", run)
