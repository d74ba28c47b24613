"""Versions of a model: the base version, candidates, rejected candidates."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.orm import Session

from governance.ledger.append import SYSTEM_ACTOR
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.store import models
from monitor.tables import Model
from retrain import store
from retrain.base_chat import check_chat
from retrain.base_files import check_recipe, check_table, read_base
from retrain.envelope import AnyRecipe, Plan, as_given, base_folder, breaches, unjudgeable
from retrain.errors import (
    EnvelopeError,
)
from retrain.learned import check_weighted, learned_column, table_columns
from retrain.limits import RunFacts
from retrain.names import check_idle, check_names
from retrain.provenance.base_files import keep_base
from retrain.registry.stages import crown, place, record_version
from retrain.tables import ModelVersion, Run
from retrain.teaching import check_teacher
from retrain.train.kinds import classifies, is_table
from retrain.train.tabular.files import read_pipeline
from retrain.train.tabular.recipe import TableRecipe
from retrain.train.weights import folder_digest

BASE_VERSION = "v1"


def checked_plan(site: Site, spec: ModelSpec) -> tuple[Plan, Path]:
    """The plan of a spec that may be applied, and the folder of its base model.

    Raises:
        BaseModelError, RecipeError, EnvelopeError: no run of this spec could ever end in a promotion.
    """
    plan = Plan.of(spec)
    check_names(plan)
    check_idle(spec.retrain.recipe if spec.retrain is not None else {}, plan.recipe)
    if found := (*breaches(plan), *unjudgeable(spec, plan)):
        raise EnvelopeError(found)
    folder = base_folder(plan.recipe, site.settings.home_dir, site.settings.train.base_roots)
    with as_given(plan.recipe, folder):
        _check_base(spec, plan, folder)
    return plan, folder


def _check_base(spec: ModelSpec, plan: Plan, folder: Path) -> None:
    if isinstance(plan.recipe, TableRecipe):
        check_table(plan.recipe, folder, table_columns(spec))
    else:
        found_base = check_recipe(plan.recipe, folder)
        if not classifies(plan.recipe.task):
            check_chat(plan.recipe, folder)
        if isinstance(plan.recipe.class_weights, dict):
            target = learned_column(spec, plan.recipe.task)
            check_weighted(spec, target, plan.recipe.class_weights, found_base.labels or ())
    if plan.envelope.revisions and (other := breaches(plan, RunFacts(base_digest=folder_digest(folder)))):
        raise EnvelopeError(other)


def check_applicable(site: Site, db: Session, name: str, spec: ModelSpec) -> None:
    """What a dry run asks of a spec's recipe: all that `ensure_base_version` refuses.

    Raises:
        BaseModelError, RecipeError, EnvelopeError: no run of this spec could ever end in a promotion.
    """
    plan, _ = checked_plan(site, spec)
    known = next((model for model in models(db) if model.name == name), None)
    check_teacher(site, store.champion(db, known.id) if known is not None else None, plan.recipe)


def ensure_base_version(site: Site, db: Session, model: Model, spec: ModelSpec, actor: str) -> None:
    """Make version v1, the base model without adapter, champion of a model that has no version yet.

    Raises:
        BaseModelError: the base model is missing or holds pickled weights only.
        RecipeError, EnvelopeError: the recipe cannot be read, or lies outside the envelope.
    """
    if spec.retrain is None:
        return
    plan, folder = checked_plan(site, spec)
    db.get_one(Model, model.id, with_for_update=True)
    if (champion := store.champion(db, model.id)) is not None:
        check_teacher(site, champion, plan.recipe)
        return
    labels, (base_digest, base_files) = _labels(plan.recipe, folder), keep_base(site, folder)
    row = ModelVersion(
        model_id=model.id, version=BASE_VERSION, stage="candidate", base_model=plan.recipe.base_model,
        base_digest=base_digest, adapter=None, labels=labels, created_at=site.clock.now(),
    )  # fmt: skip
    db.add(row)
    db.flush()
    record_version(site, db, "version.registered", model, row, actor, {"base_files": base_files})
    why = "base model of the recipe"
    if labels is None and classifies(plan.recipe.task):
        why += "; it has no usable head, so candidates are compared with the most frequent label"
    crown(site, db, model, row, actor, reason=why, kind="version.promoted")


def _labels(recipe: AnyRecipe, folder: Path) -> list[str] | None:
    if not classifies(recipe.task):
        return None
    return list(read_pipeline(folder)["labels"]) if is_table(recipe.task) else read_base(folder).labels


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
    record_version(site, db, "version.registered", model, row, SYSTEM_ACTOR, {})
    return row


def withdraw_canary(site: Site, db: Session, run: Run, failed: Sequence[str]) -> None:
    """A canary that fails a gate when it is judged again answers nobody any more."""
    row = store.candidate(db, run)
    if row is not None and row.stage == "canary" and failed:
        model, why = db.get_one(Model, run.model_id), f"failed when it was judged again: {', '.join(failed)}"
        more = {"judged_by": run.id}
        place(site, db, model, row, SYSTEM_ACTOR, stage="rejected", share=None, reason=why, more=more)


def reject_candidate(site: Site, db: Session, run: Run) -> None:
    """A version whose run was rejected is promoted only by another run that judges it again.

    One that was judged again and not promoted keeps the stage it had.
    """
    row = store.version_of_run(db, run.id)
    if row is not None and row.stage in ("candidate", "challenger", "shadow", "canary"):
        row.stage, row.retired_at, row.traffic_share = "rejected", site.clock.now(), None
