"""With what a decision is explained: the version that made it, the texts it reads, and the answer as it was given."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import polars as pl
from sqlalchemy.orm import Session

from core.errors import IntegrityFailureError, InvalidError
from monitor.levels import bool_level, number_level
from monitor.service import current_spec
from monitor.site import Site
from monitor.tables import Model
from retrain import store
from retrain.curate.select import Shape
from retrain.envelope import Plan
from retrain.errors import NoChampionError
from retrain.evals.config import ModelFiles
from retrain.evals.explained.base import Decision, ExplainedModel
from retrain.provenance.nodes import Node, Nodes
from retrain.runs.evaluation import model_files
from retrain.tables import ModelVersion
from retrain.train.config import Recipe
from retrain.train.shape import is_whole
from retrain.train.weights import held_digest


@dataclass(frozen=True)
class Basis:
    """A version, its files and how it reads an event. `node` is its place in the provenance of the model."""

    model: Model
    version: ModelVersion
    node: Node
    files: ExplainedModel
    shape: Shape
    prediction: str

    @classmethod
    def of(cls, site: Site, db: Session, model_name: str, answered_by: str | None) -> Self:
        """The version that answered if it is registered, else the champion.

        Raises:
            NoChampionError: there is neither.
            NoPolicyError, RecipeError: the spec says nothing, or nothing usable, of how its model is made.
        """
        current = current_spec(site, db, model_name)
        plan = Plan.of(current.spec)
        recipe = plan.recipe
        rows = {v.version: v for v in store.versions(db, current.model.id)}
        version = rows.get(str(answered_by)) or store.champion(db, current.model.id)
        if version is None:
            raise NoChampionError(model_name)
        text = {"max_length": recipe.max_length, "chat": recipe.chat} if isinstance(recipe, Recipe) else {}
        files = ExplainedModel(
            files=model_files(site, version, recipe), task=recipe.task, threads=site.settings.train.threads,
            device=site.settings.train.device, **text,
        )  # fmt: skip
        node = Nodes.of(db, current.model).version(version)
        prediction = current.spec.with_role("prediction")[0]
        return cls(
            current.model, version, node, files, Shape.of(current.spec, recipe.task, plan.preference), prediction
        )

    def check_base(self) -> None:
        """Refuse a base that was changed since its version was registered; called before the model is asked.

        Raises:
            IntegrityFailureError: names both digests.
        """
        check_base(self.version, self.files.files)

    def decision(self, event: Mapping[str, Any]) -> Decision:
        """
        Raises:
            InvalidError: the event has no input.
        """
        row = pl.DataFrame({name: [event[name]] for name in self.shape.inputs})
        text = self.shape.texts(row)[0]
        if text is None or not str(text).strip():
            raise InvalidError(
                f"event {event['event_id']} has no input text to explain", field="event_id", value=event["event_id"]
            )
        return Decision(input=str(text), answer=_written(event.get(self.prediction)))

    def told(self, event: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
        """A record with the version it was made with, and the answer as it was given."""
        answered_by, notes = str(event["version"]), list(document.get("notes", ()))
        if answered_by != self.version.version:
            notes.append(
                f"version {answered_by} answered and is not registered; this explains what {self.version.version}, the "
                "champion, says of the same input"
            )
        return {
            **document, "notes": notes, "answer": _written(event.get(self.prediction)), "answered_by": answered_by,
            "version": self.version.version, "version_digest": self.node.digest,
            "base_digest": self.version.base_digest, "adapter_digest": self.version.adapter,
        }  # fmt: skip


def check_base(version: ModelVersion, files: ModelFiles) -> None:
    """Refuse to explain with other weights than those that were registered, for a record names the registered ones.

    Raises:
        IntegrityFailureError: names both digests.
    """
    if files.adapter_dir is not None and is_whole(files.adapter_dir):  # it is read without its base
        return
    if (found := held_digest(files.base_dir)) != version.base_digest:
        raise IntegrityFailureError(
            f"base model {version.base_model} has digest {found}; version {version.version} was registered with "
            f"{version.base_digest}, so no reasons are issued: restore the files", field="retrain.recipe.base_model",
        )  # fmt: skip


def _written(answer: Any) -> str | None:
    """An answer as its level, so that true is not 1 and not `True`."""
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    if answer is None:
        return None
    if isinstance(answer, bool):
        return bool_level(answer)
    return number_level(answer) if isinstance(answer, int | float) else str(answer)
