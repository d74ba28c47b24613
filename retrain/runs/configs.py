"""The configuration of a run's trainer: made when its rows are chosen, found again wherever the home folder lies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from monitor.site import Site
from monitor.spec.model import ModelSpec
from retrain.curate.service import Prepared
from retrain.envelope import Plan, base_folder
from retrain.errors import RecipeError
from retrain.learned import table_columns
from retrain.runs.workspace import Workspace
from retrain.tables import ModelVersion
from retrain.teaching import base_of, has_base, teacher_of
from retrain.train.config import DatasetFile, Recipe, RunConfig
from retrain.train.shape import differences
from retrain.train.tabular.recipe import TableRecipe, TableRunConfig

AnyRunConfig = RunConfig | TableRunConfig


def new_config(
    site: Site,
    run_id: UUID,
    spec: ModelSpec,
    plan: Plan,
    champion: ModelVersion,
    prepared: Prepared,
    digests: Mapping[str, str],
) -> AnyRunConfig:
    """
    Raises:
        IntegrityFailureError: the champion's adapter was changed on disk.
        RecipeError: preferences are learned from another base or shape than the champion's, or the champion cannot
            teach this recipe.
    """
    work, recipe, train = Workspace.of(site.settings, run_id), plan.recipe, site.settings.train
    held = prepared.curated.holdout.rows.height
    shared: dict[str, Any] = {
        "run_id": str(run_id), "base_dir": base_folder(recipe, site.settings.home_dir),
        "train": _file(site, digests["train"]), "eval": _file(site, digests["eval"]),
        "labels": prepared.curated.labels, "output_dir": work.trained, "progress": work.progress,
        "holdout": _file(site, digests["holdout"]) if held else None,
        "threads": train.threads, "country": train.country,
    }  # fmt: skip
    if isinstance(recipe, TableRecipe):
        return TableRunConfig(recipe=recipe, columns=table_columns(spec), **shared)
    same_base = has_base(site, champion, recipe)
    parent = site.artifacts.check_folder(champion.adapter) if champion.adapter and same_base else None
    if recipe.task == "dpo":
        _check_champion(recipe, champion, parent, same_base=same_base)
    because = _fresh_because(recipe, champion, parent, same_base=same_base)
    # A champion without an adapter is the base itself, so that a start from the base goes on from the champion too.
    goes_on = same_base and recipe.start != "fresh" and (because is None or parent is None)
    teacher = teacher_of(site, champion, recipe)
    return RunConfig(
        teacher=teacher, teacher_dir=None if teacher is None else base_of(site, champion, recipe),
        recipe=recipe, parent_adapter=None if because is not None or recipe.start == "fresh" else parent,
        fresh_because=because, rehearsed=prepared.curated.facts["rehearsed"] if goes_on else None,
        device=train.device, cards=train.cards, **shared,
    )  # fmt: skip


def _check_champion(recipe: Recipe, champion: ModelVersion, parent: Path | None, *, same_base: bool) -> None:
    if not same_base:
        field = "base_model" if champion.base_model != recipe.base_model else "revision"
        raise RecipeError(
            f"retrain.recipe.{field}: {getattr(recipe, field)} is not that of the champion {champion.version} "
            f"({champion.base_model}), from which dpo starts; use its base, or train its answers with causal_lm first",
            field=f"retrain.recipe.{field}",
        )
    if parent is not None and (found := list(differences(parent, recipe))):
        other = ", ".join(f"{name} {now} in place of {then}" for name, now, then in found)
        raise RecipeError(
            f"retrain.recipe: dpo goes on from the champion's adapter, and the recipe has {other}; use what it has",
            field="retrain.recipe",
        )


def _fresh_because(recipe: Recipe, champion: ModelVersion, parent: Path | None, *, same_base: bool) -> str | None:
    """Why training starts from the base although the recipe would go on from the champion; None if it goes on."""
    if recipe.start == "fresh":
        return None
    if champion.base_model != recipe.base_model:
        return f"the champion {champion.version} has another base, {champion.base_model}"
    if not same_base:
        return f"the champion {champion.version} was made from another revision of {champion.base_model}"
    if parent is None:
        return f"the champion {champion.version} is the base itself"
    if found := [f"{name} {now} in place of {then}" for name, now, then in differences(parent, recipe)]:
        return f"the recipe differs from that of the champion {champion.version}: {', '.join(found)}"
    return None


def placed(site: Site, work: Workspace, record: Mapping[str, Any]) -> AnyRunConfig:
    """A run's configuration with the places of its files in this home folder, wherever it lay when it was recorded."""
    roles = [role for role in ("train", "eval", "holdout") if record.get(role)]
    files: dict[str, Any] = {role: _file(site, record[role]["sha256"]) for role in roles}
    places = {"output_dir": work.trained, "progress": work.progress}
    if "columns" in record:
        table = TableRecipe.model_validate(record["recipe"])
        base = base_folder(table, site.settings.home_dir)
        return TableRunConfig.model_validate({**record, **places, **files, "base_dir": base})
    recipe = Recipe.model_validate(record["recipe"])
    base = base_folder(recipe, site.settings.home_dir)
    # The last part of the path of an artifact is its digest. Earlier releases recorded the whole path.
    parent = record["parent_adapter"] and site.artifacts.check_folder(f"sha256:{Path(record['parent_adapter']).name}")
    lies = {"base_dir": base, "parent_adapter": parent, **_teacher(site, recipe, record.get("teacher"))}
    return RunConfig.model_validate({**record, **places, **files, **lies})


def _teacher(site: Site, recipe: Recipe, record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Where the files of a run's teacher lie here."""
    if record is None:
        return {}
    named = recipe.model_copy(update={"base_model": record["base_model"], "revision": record.get("revision")})
    adapter = record["adapter"] and site.artifacts.check_folder(f"sha256:{record['adapter']}")
    return {"teacher_dir": base_folder(named, site.settings.home_dir), "teacher": {**record, "adapter": adapter}}


def _file(site: Site, artifact: str) -> DatasetFile:
    return DatasetFile(path=site.artifacts.path(artifact), sha256=artifact)
