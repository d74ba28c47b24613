"""Whose report it is: the model, its spec in force, its champion; the head of the ledger; the software."""

from importlib.metadata import PackageNotFoundError, version

from governance.tables import LedgerCheckpoint
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import Model, SpecRevision
from reports import document as doc
from reports.facts.citations import Citations
from retrain.tables import ModelVersion

SOFTWARE = (
    "assay",
    "bitsandbytes",
    "deltalake",
    "evidently",
    "numpy",
    "peft",
    "polars",
    "pydantic",
    "rfc8785",
    "scikit-learn",
    "scipy",
    "shap",
    "sqlalchemy",
    "torch",
    "transformers",
    "typst",
    "vl-convert-python",
)


def identity_of(
    site: Site, model: Model, spec: ModelSpec, revision: SpecRevision, champion: ModelVersion | None,
    citations: Citations,
) -> doc.ModelIdentity:  # fmt: skip
    """
    Args:
        spec, revision: in force at the end.
        champion: then.
    """
    return doc.ModelIdentity(
        model=model.name, task=spec.task, owner=spec.owner, purpose=spec.purpose, risk=spec.risk,
        spec_revision=revision.revision, spec_digest=revision.digest, spec_recorded_at=revision.created_at,
        spec_author=revision.author, spec_entry=citations.find("model.spec", revision.digest, last=True),
        origin=site.keys.signing.name, vkey=site.keys.vkey,
        champion=champion.version if champion else None,
        champion_promoted_at=champion.promoted_at if champion else None,
    )  # fmt: skip


def checkpoint_line(site: Site, head: LedgerCheckpoint | None) -> doc.CheckpointLine | None:
    if head is None:
        return None
    return doc.CheckpointLine(origin=site.keys.signing.name, size=head.size, root=head.root, at=head.at)


def software() -> tuple[doc.Software, ...]:
    found = []
    for name in SOFTWARE:
        try:
            found.append(doc.Software(name=name, version=version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)
