"""What people declared about registered datasets and base models; the newest declaration of a content counts."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from governance.ledger.append import append_entry
from governance.provenance.declaration import Declaration
from monitor.service import current_spec
from monitor.site import Site
from monitor.tables import Dataset
from retrain import store
from retrain.envelope import Plan, base_folder
from retrain.errors import MaterialError
from retrain.provenance.nodes import first_digest
from retrain.tables import ProvenanceDeclaration
from retrain.train.weights import folder_digest

KINDS: Final = ("dataset", "base_model")


def declare(
    site: Site, db: Session, model_name: str, kind: str, name: str | None, given: Any, actor: str
) -> ProvenanceDeclaration:
    """Record what a person knows about a registered dataset or a base model. It holds for the present content alone.

    Args:
        name: of the dataset; the base model as a spec or version names it, by default the recipe's.

    Raises:
        ModelNotFoundError, MaterialError: there is no such dataset or base model.
        DeclarationError: a field is missing or wrong.
    """
    current = current_spec(site, db, model_name)
    if kind not in KINDS:
        raise MaterialError(f"kind is {kind!r}; choose from {', '.join(KINDS)}", field="kind", value=kind)
    declaration = Declaration.of(given)
    if kind == "dataset":
        name, content = _dataset(db, current.model.id, name)
    else:
        plan = Plan.of(current.spec)
        name = name or plan.recipe.base_model
        content = _base(site, db, current.model.id, plan, name)
    now = site.clock.now()
    index = append_entry(  # the collector and the source may name a person, so they stay in the table
        db, kind="provenance.declared", actor=actor, subject=f"model:{model_name}", at=now,
        body={
            "of": kind, "name": name, "content": content, "digest": declaration.digest,
            "licence": declaration.licence, "consent": declaration.consent,
            "expires": None if declaration.expires is None else declaration.expires.isoformat(),
        },
    )  # fmt: skip
    row = ProvenanceDeclaration(
        model_id=current.model.id, kind=kind, name=name, content=content, document=declaration.record,
        digest=declaration.digest, entry=index, created_at=now, created_by=actor,
    )  # fmt: skip
    db.add(row)
    db.flush()
    return row


def declarations(db: Session, model_id: UUID) -> Sequence[ProvenanceDeclaration]:
    """Newest first."""
    query = select(ProvenanceDeclaration).where(ProvenanceDeclaration.model_id == model_id)
    return db.scalars(query.order_by(ProvenanceDeclaration.entry.desc())).all()


def _dataset(db: Session, model_id: UUID, name: str | None) -> tuple[str, str]:
    found: dict[str, Dataset] = {}
    for row in store.datasets(db, model_id):
        if row.run_id is None:
            found.setdefault(row.name, row)  # newest first
    if name is None or name not in found:
        known = ", ".join(sorted(found)) or "none is registered"
        raise MaterialError(f"name is {name!r}, and no dataset is registered so; choose from: {known}", field="name",
                            value=name)  # fmt: skip
    return name, first_digest(found[name])


def _base(site: Site, db: Session, model_id: UUID, plan: Plan, name: str) -> str:
    if name == plan.recipe.base_model:
        return folder_digest(base_folder(plan.recipe, site.settings.home_dir, site.settings.train.base_roots))
    used = {row.base_model: row.base_digest for row in store.versions(db, model_id)}
    if name not in used:
        known = ", ".join(sorted({plan.recipe.base_model, *used}))
        raise MaterialError(
            f"name is {name!r}, which is the base model of no version and not the recipe's; choose from: {known}",
            field="name", value=name,
        )  # fmt: skip
    return used[name]
