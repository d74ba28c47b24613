"""Versions and stages of a model. The only code that moves a stage, so that there is exactly one champion.

A champion is a signed statement: the canonical JSON of `document`, as a signed note under the installation's key.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from core.canonical import canonical
from core.canonical import digest as digest_of
from core.errors import IntegrityFailureError
from governance.ledger.append import append_entry
from governance.proof.note import open_note, sign_note
from monitor import service as monitor
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.store import model as model_named
from monitor.tables import Model
from retrain import store
from retrain.envelope import Plan, base_folder, breaches
from retrain.errors import (
    ChampionMovedError,
    EnvelopeError,
    NoChampionError,
    NoEarlierVersionError,
    NoPolicyError,
    NotGatedError,
    RunStateError,
)
from retrain.tables import ModelVersion, Run
from retrain.train.weights import folder_digest

BASE_VERSION = "v1"


@dataclass(frozen=True, slots=True)
class Champion:
    """What serving should load."""

    model: str
    version: str
    base_model: str
    base_digest: str
    adapter_uri: str | None
    adapter_digest: str | None
    labels: tuple[str, ...] | None
    run_id: UUID | None
    promoted_at: datetime
    signature: str


def document(model: Model, row: ModelVersion) -> dict[str, Any]:
    """What is signed about a champion."""
    return {
        "model": model.name, "version": row.version, "base_model": row.base_model, "base_digest": row.base_digest,
        "adapter_digest": row.adapter, "labels": row.labels, "run": row.run_id, "promoted_at": row.promoted_at,
    }  # fmt: skip


def verify_champion(champion: Champion, vkey: str) -> dict[str, Any]:
    """Check a champion's signature against a public key, and that it speaks of this very champion.

    Raises:
        IntegrityFailureError: not signed by the key, or signed for something else.
    """
    text = open_note(champion.signature, [vkey]).text
    signed: dict[str, Any] = json.loads(text)
    shown = {
        "model": champion.model, "version": champion.version, "base_model": champion.base_model,
        "base_digest": champion.base_digest, "adapter_digest": champion.adapter_digest, "labels": champion.labels,
        "run": champion.run_id, "promoted_at": champion.promoted_at,
    }  # fmt: skip
    if canonical(shown) != text.removesuffix("\n").encode():
        differing = sorted(k for k, v in json.loads(canonical(shown)).items() if signed.get(k) != v)
        raise IntegrityFailureError(
            f"the signature of {champion.model} {champion.version} is for another champion; differing: {differing}",
            differing=differing,
        )
    return signed


def champion(site: Site, db: Session, model_name: str) -> Champion:
    """Raises ModelNotFoundError, NoChampionError."""
    model = model_named(db, model_name)
    row = store.champion(db, model.id)
    if row is None or row.promoted_at is None or row.signature is None:
        raise NoChampionError(model_name)
    return Champion(
        model=model.name, version=row.version, base_model=row.base_model, base_digest=row.base_digest,
        adapter_uri=site.artifacts.path(row.adapter).as_uri() if row.adapter else None, adapter_digest=row.adapter,
        labels=tuple(row.labels) if row.labels is not None else None, run_id=row.run_id, promoted_at=row.promoted_at,
        signature=row.signature,
    )  # fmt: skip


def ensure_base_version(site: Site, db: Session, model: Model, spec: ModelSpec, actor: str) -> None:
    """Make version v1, the base model without adapter, champion of a model that has no version yet.

    Raises:
        BaseModelError: the base model is missing or holds pickled weights only.
        RecipeError, EnvelopeError: the recipe cannot be read, or lies outside the envelope.
    """
    if spec.retrain is None:
        return
    plan = Plan.of(spec)
    if found := breaches(plan):
        raise EnvelopeError(found)
    folder = base_folder(plan.recipe, site.settings.home_dir)
    db.get_one(Model, model.id, with_for_update=True)
    if store.champion(db, model.id) is not None:
        return
    labels = base_labels(folder) if plan.recipe.task == "sequence_classification" else None
    row = ModelVersion(
        model_id=model.id, version=BASE_VERSION, stage="candidate", base_model=plan.recipe.base_model,
        base_digest=folder_digest(folder), adapter=None, labels=labels, created_at=site.clock.now(),
    )  # fmt: skip
    db.add(row)
    db.flush()
    _append(site, db, "version.registered", model, row, actor, {})
    _crown(site, db, model, row, actor, reason="base model of the recipe", kind="version.promoted")


def base_labels(folder: Path) -> list[str] | None:
    """Label names a saved classifier knows, in order; None where its config has only placeholders."""
    names = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("id2label") or {}
    ordered = [str(names[key]) for key in sorted(names, key=int)]
    if not ordered or all(name == f"LABEL_{i}" for i, name in enumerate(ordered)):
        return None
    return ordered


def register_candidate(
    site: Site, db: Session, run: Run, *, base_digest: str, adapter: str, labels: list[str] | None
) -> ModelVersion:
    """Register what a run trained; the same run always gets the same version."""
    found = store.version_of_run(db, run.id)
    if found is not None:
        return found
    model = db.get_one(Model, run.model_id, with_for_update=True)
    plan = Plan.of(store.spec_at(db, model.id, run.spec_revision))
    row = ModelVersion(
        model_id=model.id, version=f"v{store.count_versions(db, model.id) + 1}", stage="candidate",
        base_model=plan.recipe.base_model, base_digest=base_digest, adapter=adapter, labels=labels, run_id=run.id,
        created_at=site.clock.now(),
    )  # fmt: skip
    db.add(row)
    db.flush()
    run.candidate_version = row.version
    _append(site, db, "version.registered", model, row, "assay", {})
    return row


def reject_candidate(site: Site, db: Session, run: Run) -> None:
    """A candidate whose run was rejected can no longer be promoted."""
    row = store.version_of_run(db, run.id)
    if row is not None and row.stage == "candidate":
        row.stage, row.retired_at = "rejected", site.clock.now()


def ungated(db: Session, run: Run, spec: ModelSpec) -> list[str]:
    """Gates of the spec that a run has not passed, in words; empty when all are passed."""
    assert spec.retrain is not None  # a run exists only under a policy
    results = {g.gate: g for g in store.gates(db, run.id)}
    missing = []
    for name in spec.retrain.gates:
        if name not in results:
            missing.append(f"gate {name} was not evaluated")
        elif results[name].verdict != "pass":
            missing.append(f"gate {name}: {results[name].verdict}, {results[name].reason}")
    return missing


def promote(site: Site, db: Session, run_id: UUID, actor: str, reason: str) -> ModelVersion:
    """Make a run's candidate champion.

    Gates, approvals, envelope, digests and the champion it was compared with are all looked at again here.

    Raises:
        NotGatedError, RunStateError, ChampionMovedError, EnvelopeError: the run may not be promoted.
        IntegrityFailureError: the stored adapter has changed.
    """
    run = store.run(db, run_id, lock=True)
    model = db.get_one(Model, run.model_id, with_for_update=True)
    spec = store.spec_at(db, model.id, run.spec_revision)
    row = store.version_of_run(db, run.id)
    if run.state not in ("evaluating", "awaiting_approval") or row is None or row.stage != "candidate":
        raise RunStateError(run_id, run.state, "evaluated and not yet promoted or rejected")
    missing = ungated(db, run, spec)
    missing += [] if len(run.approvals) >= approvals_needed(spec) else [
        f"{len(run.approvals)} of {approvals_needed(spec)} approvals given"
    ]  # fmt: skip
    if missing:
        raise NotGatedError(row.version, missing)
    present = store.champion(db, model.id)
    if present is None or present.version != run.champion_version:
        raise ChampionMovedError(run_id, run.champion_version, present.version if present else "none")
    current = monitor.current_spec(site, db, model.name).spec  # the envelope in force now, which may be narrower
    train = store.run_datasets(db, run.id)["train"]
    hours = None if run.metrics is None else float(run.metrics["train_seconds"]) / 3600
    if found := breaches(_plan_inside(spec, current), train_rows=train.rows, hours=hours):
        raise EnvelopeError(found)
    assert row.adapter is not None  # a candidate always has one
    site.artifacts.check_folder(row.adapter)
    _crown(site, db, model, row, actor, reason=reason, kind="version.promoted")
    run.state, run.finished_at = "promoted", site.clock.now()
    monitor.open_baseline(site, db, model.id, reason=f"version {row.version} promoted")
    return row


def _plan_inside(spec: ModelSpec, current: ModelSpec) -> Plan:
    """The recipe of a run, under the envelope of the present spec."""
    if current.retrain is None:
        raise NoPolicyError(current.model)
    plan = Plan.of(spec)
    return Plan(plan.recipe, plan.replay, current.retrain.envelope)


def approvals_needed(spec: ModelSpec) -> int:
    assert spec.retrain is not None
    return {"none": 0, "one": 1, "two": 2}[spec.retrain.approval]


def rollback(site: Site, db: Session, model_name: str, actor: str, reason: str) -> ModelVersion:
    """Put the previous champion back; the present one is retired.

    Raises:
        NoChampionError, NoEarlierVersionError: there is nothing to go back from or to.
        IntegrityFailureError: the stored adapter of the previous champion has changed.
    """
    model = db.get_one(Model, model_named(db, model_name).id, with_for_update=True)
    present = store.champion(db, model.id)
    if present is None:
        raise NoChampionError(model_name)
    earlier = store.earlier_champion(db, model.id)
    if earlier is None:
        raise NoEarlierVersionError(model_name, present.version)
    if earlier.adapter is not None:
        site.artifacts.check_folder(earlier.adapter)
    _crown(site, db, model, earlier, actor, reason=reason, kind="version.rolled_back")
    monitor.open_baseline(site, db, model.id, reason=f"rolled back to version {earlier.version}")
    return earlier


def _crown(site: Site, db: Session, model: Model, row: ModelVersion, actor: str, *, reason: str, kind: str) -> None:
    """Retire the present champion, then make `row` champion, sign it and record it."""
    now = site.clock.now()
    previous = store.champion(db, model.id)
    if previous is not None:
        # A version that was rolled back from is not one to go back to.
        previous.stage = "rejected" if kind == "version.rolled_back" else "retired"
        previous.retired_at = now
        db.flush()  # the unique index allows one champion at any moment
    row.stage, row.promoted_at, row.retired_at = "champion", now, None
    row.signature = sign_note(canonical(document(model, row)).decode() + "\n", [site.keys.signing])
    db.flush()
    before = previous.version if previous else None
    more = {"previous": before, "reason": reason, "document": digest_of(document(model, row))}
    _append(site, db, kind, model, row, actor, more)


def _append(
    site: Site, db: Session, kind: str, model: Model, row: ModelVersion, actor: str, more: dict[str, Any]
) -> None:
    body = {
        "version": row.version, "base_model": row.base_model, "base_digest": row.base_digest, "adapter": row.adapter,
        "run": row.run_id, **more,
    }  # fmt: skip
    append_entry(db, kind=kind, actor=actor, subject=f"model:{model.name}", body=body, at=site.clock.now())
