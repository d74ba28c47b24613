"""A message router to retrain: its spec, a base model folder, and its labelled traffic."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
from safetensors.numpy import save_file
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.canonical import canonical
from core.clock import ManualClock
from core.queue import Job
from governance.access.api_keys import create_key, key_named
from governance.access.roles import Caller, Role
from governance.ledger.read import ledger_rows
from governance.proof.note import open_note
from monitor import service as monitor
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.store import model as model_named
from monitor.tables import Dataset, Measurement, Model, ReferenceRow, Window
from retrain import store
from retrain.registry.champion import Champion
from retrain.registry.versions import ensure_base_version, register_candidate
from retrain.runs.consider import start_manual
from retrain.tables import GateRow, Run
from tests.retrain.train import tiny

NAME = "router"
START = datetime(2026, 1, 5, tzinfo=UTC)
RECIPE = {
    "task": "sequence_classification", "r": 4, "lora_alpha": 8, "learning_rate": 0.01, "epochs": 3, "batch_size": 16,
    "max_length": 24,
}  # fmt: skip


def spec(base: Path | str, *, recipe: dict[str, Any] | None = None, **retrain: Any) -> ModelSpec:
    policy = {
        "when": ["drift", "kpi"], "min_outcomes": 100,
        "recipe": {"base_model": str(base), **RECIPE, **(recipe or {})},
        "envelope": {"max_gpu_hours": 0.1}, **retrain,
    }  # fmt: skip
    return parse_spec(
        {
            "model": NAME, "task": "classification", "owner": "ml@example.com", "purpose": "route messages",
            "columns": {
                "text": {"role": "input", "type": "text"}, "age_band": {"role": "protected", "type": "category"},
                "intent": {"role": "prediction", "type": "category"},
                "intent_true": {"role": "outcome", "type": "category"},
            },
            "baseline": {"rows": "first 200"},
            "monitors": {"windows": {"rows": 100}, "false_alarms": {"alpha": 0.01},
                         "kpi": [{"metric": "accuracy", "min": 0.8}]},
            "retrain": policy,
        }
    )  # fmt: skip


def answers_spec(base: Path | str) -> ModelSpec:
    """A model that writes answers, and what people answered in its place."""
    recipe = {"task": "causal_lm", "epochs": 4, "max_length": 64}
    document = spec(base, recipe=recipe, envelope={"max_forgetting": 0.5}).document
    columns = {
        "asked": {"role": "input", "type": "text"}, "answered": {"role": "prediction", "type": "text"},
        "given": {"role": "outcome", "type": "text"},
    }  # fmt: skip
    monitors = {"windows": {"rows": 100}, "false_alarms": {"alpha": 0.01}}
    policy = document["retrain"] | {"when": ["drift"]}
    changes = {"task": "generation", "columns": columns, "monitors": monitors, "retrain": policy}
    return parse_spec(document | changes)


def answers(count: int, first: int, answer: str) -> pl.DataFrame:
    drawn = tiny.pairs(count, seed=first, answer=answer)
    return pl.DataFrame(
        {
            "event_id": [f"e{first + i}" for i in range(count)],
            "ts": [START + timedelta(minutes=first + i) for i in range(count)],
            "version": ["v1"] * count,
            "asked": [f"{text} number {first + i}" for i, text in enumerate(drawn["prompt"])],
            "answered": ["we do not know"] * count,
            "given": drawn["completion"],
        },
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )


def fake_base(folder: Path) -> Path:
    """A folder that passes for a base model as long as nobody loads it: a classifier of the old intents."""
    folder.mkdir(parents=True)
    names = {str(i): name for i, name in enumerate(sorted(tiny.OLD))}
    config = {"id2label": names, "model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>"}))
    save_file({"score.weight": np.ones((len(names), 2), dtype=np.float32)}, folder / "model.safetensors")
    return folder


def fake_adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 8, "lora_dropout": 0.0}))
    (folder / "adapter_model.safetensors").write_bytes(b"adapter")
    return folder


def declare(site: Site, declared: ModelSpec) -> Model:
    with site.database.write() as db:
        monitor.apply_spec(site, db, declared, "tester")
        model = model_named(db, declared.model)
        ensure_base_version(site, db, model, declared, "tester")
        return model


def traffic(count: int, labels: tuple[str, ...], first: int = 0) -> pl.DataFrame:
    """Messages, nearly all different, as v1 would answer them: right on the old intents, wrong on the new ones."""
    drawn = tiny.messages(labels, count, seed=first + 1)
    draw = random.Random(first)
    truth = drawn["label"].to_list()
    return pl.DataFrame(
        {
            "event_id": [f"e{first + i}" for i in range(count)],
            "ts": [START + timedelta(minutes=first + i) for i in range(count)],
            "version": ["v1"] * count,
            "text": [f"{text} number {first + i}" for i, text in enumerate(drawn["text"])],
            "age_band": [draw.choice(["18-29", "30+"]) for _ in range(count)],
            "intent": [name if name in tiny.OLD else "card" for name in truth],
            "intent_true": truth,
        },
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )


def send(site: Site, frame: pl.DataFrame, clock: ManualClock, *, outcomes: bool = True) -> None:
    declared = current(site)
    clock.move_to(frame["ts"].max())  # type: ignore[arg-type]  # a time, and not empty
    site.events.append_events(declared, frame.drop("intent_true"), now=clock.now())
    if outcomes:
        tell(site, frame, clock)


def tell(site: Site, frame: pl.DataFrame, clock: ManualClock) -> None:
    site.events.append_outcomes(current(site), frame.select("event_id", "intent_true"), now=clock.now())


def signed(site: Site, champion: Champion) -> dict[str, Any]:
    """What the installation signed about a champion, which is exactly what it shows of it."""
    shown = {
        "model": champion.model, "version": champion.version, "base_model": champion.base_model,
        "base_digest": champion.base_digest, "adapter_digest": champion.adapter_digest, "labels": champion.labels,
        "run": champion.run_id, "promoted_at": champion.promoted_at,
    }  # fmt: skip
    text = open_note(champion.signature, [site.keys.vkey]).text
    assert text == canonical(shown).decode() + "\n"
    found: dict[str, Any] = json.loads(text)
    return found


def current(site: Site) -> ModelSpec:
    with site.database.read() as db:
        return monitor.current_spec(site, db, NAME).spec


def model_id(db: Session) -> UUID:
    return model_named(db, NAME).id


def baseline_ends(site: Site, at: int, name: str | None = None) -> UUID:
    """Say that the reference of a model was collected up to an event; returns the baseline's id."""
    with site.database.write() as db:
        of = ReferenceRow.model_id == model_named(db, name or NAME).id
        row = db.scalars(select(ReferenceRow).where(of).order_by(ReferenceRow.created_at.desc())).first()
        assert row is not None
        row.state, row.to_seq = "ready", at
        return row.id


def window(
    site: Site, baseline: UUID, number: int, verdict: str, *, low_kpi: bool = False, name: str | None = None
) -> UUID:
    """Record the verdict about window `number` of 100 events after the first 200."""
    with site.database.write() as db:
        model = model_named(db, name or NAME)
        first = 200 + 100 * number
        columns = [{"column": "text", "alarmed": True}] if verdict == "alarm" and not low_kpi else []
        times = START + timedelta(minutes=first), START + timedelta(minutes=first + 99)
        row = Window(
            model_id=model.id, baseline_id=baseline, spec_revision=model.revision, scale="100 rows", number=number,
            from_seq=first, to_seq=first + 100, from_ts=times[0], to_ts=times[1], rows=100, versions=["v1"],
            verdict=verdict, sentence="a sentence", decision={"columns": columns}, events_version=0,
            closed_at=site.clock.now(), refreshed_at=site.clock.now(),
        )  # fmt: skip
        db.add(row)
        db.flush()
        if low_kpi:
            db.add(
                Measurement(
                    model_id=model.id, window_id=row.id, monitor="kpi", metric="accuracy", value=0.6, unit="share",
                    limit=0.8, alarm=True, n=100, details={}, from_ts=times[0], to_ts=times[1],
                    computed_at=site.clock.now(),
                )
            )  # fmt: skip
        return row.id


def key(site: Site, name: str, owner: str | None = "", role: Role = Role.APPROVER) -> Caller:
    """A key, held by a person of its name unless another owner or none is given; the same key for the same name."""
    with site.database.write() as db:
        if (known := key_named(db, name)) is not None:
            return Caller(known.name, Role(known.role), known.prefix or "", known.owner)
        held_by = name if owner == "" else owner
        row, _ = create_key(db, name=name, role=role, owner=held_by, actor="tester", now=site.clock.now())
        return Caller(row.name, Role(row.role), row.prefix, row.owner)


def start(site: Site, actor: str = "ann") -> UUID:
    """Ask for a run by hand, with the key of a person; returns its id."""
    key(site, actor)
    with site.database.write() as db:
        considered = start_manual(site, db, NAME, actor, "new intents")
        assert considered.run is not None, considered.decision.reason
        return considered.run.id


def read(site: Site, run_id: UUID) -> Run:
    with site.database.read() as db:
        return store.run(db, run_id)


def evaluated(site: Site, run_id: UUID, adapter: Path, *, verdicts: dict[str, str] | None = None) -> None:
    """Put a run where it stands after its evaluation, as if trainer and evaluation had run."""
    digest = site.artifacts.put_folder(adapter)
    gates = dict.fromkeys(("no_regression", "fairness", "forgetting", "integrity"), "pass") | (verdicts or {})
    with site.database.write() as db:
        run = store.run(db, run_id)
        model = db.get_one(Model, run.model_id)
        champion = store.version(db, run.model_id, run.champion_version, model.name)
        run.state, run.metrics = "evaluating", {"train_seconds": 10.0}
        register_candidate(
            site, db, run, base_digest=champion.base_digest, adapter=digest, labels=[*sorted(tiny.OLD), "pin"]
        )
        for name, verdict in gates.items():
            db.add(GateRow(run_id=run.id, gate=name, verdict=verdict, reason="why", evidence={}, at=site.clock.now()))
        db.add(
            Dataset(
                model_id=model.id, name=f"train-{run.id}", role="train", digest="sha256:0", rows=100, run_id=run.id,
                provenance={"sources": [{"to_seq": 300}, {"outcomes": 300, "next_outcome": 300}]},
                created_at=site.clock.now(), created_by="assay",
            )
        )  # fmt: skip


def jobs(site: Site, name: str) -> list[Job]:
    with site.database.read() as db:
        return list(db.scalars(select(Job).where(Job.name == name)))


def kinds(site: Site) -> list[str]:
    with site.database.read() as db:
        return [row.kind for row in ledger_rows(db, limit=1000) if row.subject != "rows"]
