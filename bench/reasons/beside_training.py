"""One explanation of the demo classifier through the service, while a training of the same model runs."""

import argparse
import json
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from bench.load.results import write_lines
from bench.reasons.classifier import ROOT, base, messages
from bench.retraining.governed import NDJSON, Served, served

MODEL = "explained"
MOST_S = 3.0
TIMES = 5
EVENTS = 1_500


def run(options: argparse.Namespace) -> bool:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        home.mkdir()
        shutil.copytree(base(options), home / "base")
        with served(ROOT, home, options.threads) as service:
            took = measured(service, options)
    print(f"beside_training: first {took[0]:.2f} s, then {', '.join(f'{one:.2f}' for one in took[1:])} s")
    write_lines(
        options.out, "beside_training", {"seconds": (max(took), "s"), "first_seconds": (took[0], "s")},
        bench="explain", times=TIMES,
    )  # fmt: skip
    return max(took) <= MOST_S


def measured(service: Served, options: argparse.Namespace) -> list[float]:
    path = f"/api/v1/models/{MODEL}"
    service.ask("PUT", path, json.dumps(spec()).encode())
    rows = traffic(options)
    for part in rows.iter_slices(500):
        events = part.drop("intent_true").write_ndjson().encode()
        service.ask("POST", f"{path}/events", events, NDJSON)
        service.ask("POST", f"{path}/outcomes", part.select("event_id", "intent_true").write_ndjson().encode(), NDJSON)
    service.wait_until_idle()
    answer = service.ask("POST", f"{path}/runs", json.dumps({"reason": "bench"}).encode())
    run_id = (answer.get("run") or answer)["id"]
    while not is_training(service.ask("GET", f"/api/v1/runs/{run_id}")):
        time.sleep(0.2)
    return [explained(service, f"{path}/events/e{i}/explanation") for i in range(TIMES)]


def is_training(run: dict[str, Any]) -> bool:
    if run["state"] in ("failed", "rejected", "promoted", "awaiting_approval"):
        raise RuntimeError(f"the run is {run['state']} before anything was explained: {run['error'] or run['outside']}")
    return bool(run["state"] == "training" and (run["progress"] or {}).get("phase") == "train")


def explained(service: Served, path: str) -> float:
    begun = time.perf_counter()
    while service.ask("GET", path)["state"] == "queued":
        time.sleep(0.05)
    return time.perf_counter() - begun


def spec() -> dict[str, Any]:
    recipe = {"base_model": "./base", "task": "sequence_classification", "epochs": 20}
    return {
        "model": MODEL, "task": "classification", "owner": "bench@example.com", "purpose": "route messages",
        "columns": {
            "text": {"role": "input", "type": "text"}, "intent": {"role": "prediction", "type": "category"},
            "intent_true": {"role": "outcome", "type": "category"},
        },
        "baseline": {"rows": "first 500"},
        "monitors": {"windows": {"rows": 500}, "false_alarms": {"alpha": 0.01}},
        "retrain": {
            "when": ["drift"], "min_outcomes": 100, "recipe": recipe,
            "envelope": {"max_gpu_hours": 2, "max_cut_share": 0.2},
        },
    }  # fmt: skip


def traffic(options: argparse.Namespace) -> pl.DataFrame:
    drawn = messages(options.data, "train").sample(EVENTS, seed=options.seed, shuffle=True)
    known = list(json.loads((base(options) / "config.json").read_text())["id2label"].values())
    given = pl.when(drawn["category"].is_in(known)).then(drawn["category"]).otherwise(pl.lit(known[0]))
    answers = drawn.select(given.alias("intent"))["intent"]  # a version answers with its own labels alone
    first = datetime.now(UTC) - timedelta(hours=30)
    return pl.DataFrame({
        "event_id": [f"e{i}" for i in range(EVENTS)],
        "ts": [(first + timedelta(minutes=i)).isoformat() for i in range(EVENTS)], "version": ["v1"] * EVENTS,
        "text": drawn["text"], "intent": answers, "intent_true": drawn["category"],
    })  # fmt: skip
