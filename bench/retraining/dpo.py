"""A small chat model learns from declared preferences by `assay retrain` itself; the peer is TRL's trainer.

The model writes one style of answer; people prefer another in nine events of ten, and say neither in the rest. The home
folder is served by `assay serve`, the run is asked for and waited for by `assay retrain --wait`. TRL's DPOTrainer gets
the run's own training set, base, adapter shape, beta, rate, rows of a step and passes. Both are judged on the run's
held-out pairs, by the evaluation's own rule.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import polars as pl

from bench.retraining.case import Case, Options, record

ROOT: Final = Path(__file__).resolve().parents[2]
LIMIT_S: Final = "10m"
BETA: Final = 0.3
HALF: Final = 250  # events before the model was made, and as many since


def run(options: Options) -> None:
    with tempfile.TemporaryDirectory(prefix="dpo-") as name:
        home = Path(name) / "home"
        declared = _prepared(home, options)
        begin = time.monotonic()
        answer = _asked(home, declared)
        took = time.monotonic() - begin
        if answer["outcome"] != "promoted":
            raise SystemExit(f"the run ended {answer['outcome']}: {(answer['run'] or {}).get('error')}")
        found = _read(home, UUID(answer["run"]["id"]))
        peer = _peer(Path(name), home, found, options)
    values = {(e["model"], e["name"]): e["value"] for e in found["evaluation"]["evaluations"] if e["rows"] == "new"}
    record(
        options, "dpo_cpu",
        {
            "preference_accuracy": (values["challenger", "preference_accuracy"], "share"),
            "perplexity_of_preferred": (values["challenger", "perplexity"], "1"),
            "training_seconds": (found["metrics"]["train_seconds"], "s"),
        },
        peer="trl",
        beside={"preference_accuracy": peer["accuracy"], "perplexity_of_preferred": peer["perplexity"],
                "training_seconds": peer["seconds"]},
        before=round(values["champion", "preference_accuracy"], 4), pairs=found["metrics"]["rows_train"],
        steps=found["metrics"]["steps"], peer_steps=peer["steps"], held_out=found["metrics"]["rows_eval"],
        perplexity_before=round(values["champion", "perplexity"], 3),
    )  # fmt: skip
    record(options, "dpo_cpu", {"wall_seconds": (took, "s")}, of="assay retrain --wait, gates and promotion included")


def _prepared(home: Path, options: Options) -> Any:
    """A home folder with the model declared and its labelled events; the tests' own tiny chat model."""
    import migrations
    from core import settings
    from core.clock import ManualClock
    from monitor.site import open_site
    from monitor.spec.parse import parse_spec
    from monitor.windows.evaluate import evaluate
    from retrain.train.demo_base import make_base
    from tests.retrain import pairs, world
    from tests.retrain.train import tiny

    made = home.with_name("made")
    make_base(tiny.base_config(made, tiny.pairs(160), task="causal_lm", epochs=16, seed=options.seed))
    home.mkdir()
    (made / "base").rename(home / "base")
    loaded = settings.load({}, home=home)
    migrations.upgrade(loaded.database_url)
    clock = ManualClock(datetime(2026, 1, 5, tzinfo=UTC))
    site = open_site(loaded, clock)
    document = pairs.spec("./base").document
    # Only `assay retrain` starts a run.
    document["baseline"] = {"rows": f"first {HALF}"}
    document["retrain"] |= {"when": [{"cron": "0 3 1 1 *"}]}
    document["retrain"]["recipe"] |= {"base_model": "./base", "method": "lora", "beta": BETA, "seed": options.seed}
    declared = parse_spec(document)
    world.declare(site, declared)
    for first in (0, HALF):
        frame = pairs.events(HALF, first)
        clock.move_to(world.START + timedelta(minutes=first + HALF))
        site.events.append_events(declared, frame.drop("better"), now=clock.now())
        site.events.append_outcomes(declared, frame.select("event_id", "better"), now=clock.now())
    evaluate(site, declared.model)  # collects the reference
    site.close()
    return declared


def _asked(home: Path, declared: Any) -> Mapping[str, Any]:
    """What `assay retrain --wait` says of a run on a served home folder."""
    from bench.load.service import served

    service = served(home, ())
    try:
        key = service.headers["Authorization"].removeprefix("Bearer ")
        own = {"ASSAY_CLIENT__URL": service.url, "ASSAY_CLIENT__KEY": key}
        command = [sys.executable, "-c", "from api.cli import main; main()", "retrain", declared.model, "--wait",
                   "--timeout", LIMIT_S, "--reason", "preferences", "--json"]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, env=os.environ | own, capture_output=True, text=True, check=False)
    finally:
        service.end()
    if not done.stdout.strip():
        raise SystemExit(f"assay retrain ended with {done.returncode}: {done.stderr[-600:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _read(home: Path, run_id: UUID) -> dict[str, Any]:
    """The run's records and the files of its sets."""
    from core import settings
    from core.clock import SystemClock
    from monitor.site import open_site
    from retrain import store

    site = open_site(settings.load({}, home=home), SystemClock())
    with site.database.read() as db:
        run = store.run(db, run_id)
        sets = {role: site.artifacts.path(d.digest) for role, d in store.run_datasets(db, run_id).items()}
        found = {"metrics": run.metrics or {}, "evaluation": run.evaluation or {}, "sets": sets}
    site.close()
    return found


def _peer(folder: Path, home: Path, found: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """TRL's DPOTrainer in a process of its own."""
    recipe = found["metrics"]["config"]["recipe"]
    given = {
        "base": str(home / "base"), "train": str(found["sets"]["train"]), "eval": str(found["sets"]["eval"]),
        "out": str(folder / "peer"), "threads": options.threads,
        **{name: recipe[name] for name in ("r", "lora_alpha", "learning_rate", "epochs", "batch_size", "max_length",
                                           "seed", "beta", "warmup_ratio")},
    }  # fmt: skip
    path = folder / "peer.json"
    path.write_text(json.dumps(given))
    subprocess.run([sys.executable, "-m", "bench.retraining.dpo", str(path)], cwd=ROOT, check=True,
                   env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}, capture_output=True)  # fmt: skip
    read: dict[str, Any] = json.loads((folder / "peer.result.json").read_text())
    return read


def _trl(path: Path) -> None:
    """Train with TRL on the same pairs and judge by the same rule; the process of the peer."""
    import numpy as np
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    from retrain.evals.preference import preferred
    from retrain.train.model import Generator

    given = json.loads(path.read_text())
    torch.set_num_threads(given["threads"])
    tokenizer = AutoTokenizer.from_pretrained(given["base"])
    model = AutoModelForCausalLM.from_pretrained(given["base"], dtype=torch.float32, use_safetensors=True)
    sets = {role: pl.read_parquet(given[role]).select("prompt", "chosen", "rejected") for role in ("train", "eval")}
    trainer = DPOTrainer(
        model,
        args=DPOConfig(
            output_dir=given["out"], beta=given["beta"], learning_rate=given["learning_rate"],
            num_train_epochs=given["epochs"], per_device_train_batch_size=given["batch_size"], use_cpu=True,
            max_length=given["max_length"], seed=given["seed"], report_to=[], save_strategy="no", bf16=False,
            lr_scheduler_type="cosine", warmup_steps=given["warmup_ratio"], gradient_checkpointing=False,
        ),
        train_dataset=Dataset.from_list(sets["train"].to_dicts()),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=given["r"], lora_alpha=given["lora_alpha"], target_modules="all-linear",
                               task_type="CAUSAL_LM"),
    )  # fmt: skip
    begin = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - begin
    judged = Generator(trainer.model, tokenizer, torch.device("cpu"), given["max_length"])
    prompts = sets["eval"]["prompt"].to_list()
    sides = [judged.token_logprobs(prompts, sets["eval"][side].to_list()) for side in ("chosen", "rejected")]
    result = {
        "accuracy": float(np.mean([bool(one) for one in preferred(*sides)])), "seconds": seconds,
        "perplexity": float(np.exp(-np.concatenate(sides[0]).mean())), "steps": trainer.state.global_step,
    }  # fmt: skip
    path.with_name("peer.result.json").write_text(json.dumps(result))


CASE: Final = Case("dpo_cpu", "a chat model learns declared preferences by assay retrain, against TRL", "cpu", run)

if __name__ == "__main__":
    _trl(Path(sys.argv[1]))
