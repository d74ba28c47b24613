"""Which version teaches a run, and why a champion cannot.

The teacher is the champion that the run was started against. Its labels are matched with the student's by name; its
next tokens mean something to a student only where both have one vocabulary.
"""

import json
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import AppError
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.tables import SpecRevision
from retrain import store
from retrain.base_files import read_base
from retrain.base_library import library_class
from retrain.base_tokenizer import has_template
from retrain.envelope import AnyRecipe, Plan, base_folder
from retrain.errors import RecipeError
from retrain.tables import ModelVersion
from retrain.train.chat_keys import Chat
from retrain.train.config import Recipe, Teacher, is_a_path, place_of
from retrain.train.kinds import KINDS
from retrain.train.shape import saved_chat
from retrain.train.tabular.files import is_tabular
from retrain.train.weights import folder_digest

FIELD: Final = "retrain.recipe.teacher"
CHAT: Final = "conversations in a chat template"
WORDS: Final = ("model", "added_tokens", "normalizer", "pre_tokenizer")  # of tokenizer.json: what decides a text's ids


def wants_teacher(recipe: AnyRecipe) -> bool:
    return isinstance(recipe, Recipe) and recipe.teacher is not None


def base_of(site: Site, version: ModelVersion, recipe: AnyRecipe) -> Path:
    """Folder of a version's base; of a hub model at the commit that the version was made from.

    Raises:
        BaseModelError: missing, incomplete, or with pickled weights only.
    """
    named = {"base_model": version.base_model, "revision": revision_of(site, version)}
    read = {name: value for name, value in named.items() if name in type(recipe).model_fields}
    return base_folder(recipe.model_copy(update=read), site.settings.home_dir)


def has_base(site: Site, version: ModelVersion, recipe: AnyRecipe) -> bool:
    """Whether a version has the base of a recipe: the same folder, or the same commit of a hub model."""
    pinned = recipe.revision if isinstance(recipe, Recipe) and not recipe.is_path else None
    return version.base_model == recipe.base_model and revision_of(site, version) == pinned


def revision_of(site: Site, version: ModelVersion) -> str | None:
    """Commit of the hub model that a version was made from, as the spec of that time pinned it; None of a folder."""
    if is_a_path(version.base_model):
        return None
    with site.database.read() as db:
        made = made_under(db, version)
    recipe = Plan.of(made).recipe if made is not None else None
    return recipe.revision if isinstance(recipe, Recipe) else None


def made_under(db: Session, version: ModelVersion) -> ModelSpec | None:
    """The spec that a version was made under: that of its run, or, of one without a run, the first that names its base.

    None where no spec names it.
    """
    if version.run_id is not None:
        return store.spec_at(db, version.model_id, store.run(db, version.run_id).spec_revision)
    query = select(SpecRevision.document).where(SpecRevision.model_id == version.model_id).order_by("revision")
    for document in db.scalars(query):
        recipe = (document.get("retrain") or {}).get("recipe") or {}
        if str(recipe.get("base_model")).strip() == version.base_model:
            return parse_spec(document)
    return None


def check_teacher(site: Site, champion: ModelVersion | None, recipe: AnyRecipe) -> None:
    """Refuse a recipe that the champion can never teach.

    Raises:
        RecipeError: says what the champion is, and what to do.
    """
    if champion is not None and (why := _misfit(site, champion, recipe)) is not None:
        raise RecipeError(f"{FIELD}: {why}", field=FIELD, value="champion")


def unteachable(site: Site, champion: ModelVersion | None, recipe: AnyRecipe) -> str | None:
    """Why no run can learn from the champion now; None where one can, or where the recipe asks for no teacher."""
    if not wants_teacher(recipe):
        return None
    if champion is None:
        return f"{FIELD} is champion, and there is no champion; leave teacher out until a run was promoted"
    try:
        if (why := _misfit(site, champion, recipe)) is not None:
            return f"{FIELD}: {why}"
    except AppError as error:
        return f"{FIELD}: {error.message}"
    known = champion.answers
    if KINDS[recipe.task].classifies and len(known) < 2:
        return (
            f"{FIELD}: champion {champion.version} ({champion.base_model}) has no usable head, so it answers no label "
            "and teaches nothing; leave teacher out until a trained version is champion"
        )
    return None


def teacher_of(site: Site, champion: ModelVersion, recipe: Recipe) -> Teacher | None:
    """The teacher of a run, its adapter looked at; None where the recipe asks for none.

    Raises:
        RecipeError: the champion cannot teach it.
        IntegrityFailureError: the champion's adapter was changed on disk.
    """
    if not wants_teacher(recipe):
        return None
    if (why := unteachable(site, champion, recipe)) is not None:
        raise RecipeError(why, field=FIELD, value="champion")
    adapter = site.artifacts.check_folder(champion.adapter) if champion.adapter else None
    return Teacher(
        version=champion.version, base_model=champion.base_model, base_digest=champion.base_digest, adapter=adapter,
        revision=revision_of(site, champion),
    )  # fmt: skip


def recorded(champion: ModelVersion, recipe: AnyRecipe) -> dict[str, Any]:
    """The teacher as the ledger and the provenance of a training set name it; nothing where there is none."""
    if not wants_teacher(recipe):
        return {}
    named = {"version": champion.version, "base_model": champion.base_model}
    return {"teacher": {**named, "base_digest": champion.base_digest, "adapter": champion.adapter}}


def changed_base(site: Site, champion: ModelVersion, recipe: AnyRecipe) -> str | None:
    """The digest of the teacher's base, where it is not the one that was registered."""
    if not wants_teacher(recipe):
        return None
    found = folder_digest(base_of(site, champion, recipe))
    return None if found == champion.base_digest else found


def _misfit(site: Site, champion: ModelVersion, recipe: AnyRecipe) -> str | None:
    """What keeps the champion from ever teaching this recipe."""
    if not isinstance(recipe, Recipe) or not wants_teacher(recipe):
        return None
    named = f"champion {champion.version} ({champion.base_model})"
    home = site.settings.home_dir
    if is_a_path(champion.base_model) and is_tabular(place_of(champion.base_model, home)):
        return f"{named} is a model of tables, which reads no text; leave teacher out"
    classifies, student = KINDS[recipe.task].classifies, base_folder(recipe, home)
    folder = base_of(site, champion, recipe)
    if classifies:
        if champion.labels is None and library_class(read_base(folder).model_type, "SEQUENCE_CLASSIFICATION") is None:
            return f"{named} writes texts and answers no label; leave teacher out"
        return None
    if champion.labels is not None or library_class(read_base(folder).model_type, "CAUSAL_LM") is None:
        return f"{named} answers labels and writes no text; leave teacher out"
    if vocabulary(folder) != vocabulary(student):
        return (
            f"{named} and {recipe.base_model} have different vocabularies, so that its next tokens mean nothing to the "
            "student; choose a base_model with the tokenizer of the champion's, or leave teacher out"
        )
    asked = recipe.chat if champion.adapter is None else saved_chat(site.artifacts.path(champion.adapter))
    if (reads := _form(asked, folder)) != (writes := _form(recipe.chat, student)):
        return (
            f"{named} reads {reads}, and rows of this recipe are {writes}, to which its next tokens are no answer; "
            f"{'write chat: {template: none}' if writes == CHAT else 'choose a base_model with a chat template'}, or "
            "leave teacher out"
        )
    return None


def _form(chat: Chat, folder: Path) -> str:
    return CHAT if chat.template != "none" and has_template(folder) else "plain texts"


def vocabulary(folder: Path) -> dict[str, Any]:
    """What decides which ids a text gets, from tokenizer.json."""
    found = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    kept = {name: found.get(name) for name in WORDS}
    if isinstance(kept["model"], dict) and isinstance(kept["model"].get("merges"), list):  # written in two ways
        pairs = [one.split(" ", 1) if isinstance(one, str) else one for one in kept["model"]["merges"]]
        kept["model"] = kept["model"] | {"merges": pairs}
    return kept
