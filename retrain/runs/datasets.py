"""Register a dataset of a model."""

from pathlib import Path

from sqlalchemy.orm import Session

from monitor.service import current_spec
from monitor.site import Site
from monitor.tables import Dataset


def record_dataset(
    site: Site,
    db: Session,
    model_name: str,
    name: str,
    role: str,
    content: bytes | Path,
    source: str,
    actor: str,
    synthetic: bool = False,
) -> Dataset:
    """Register labelled rows (Parquet) as a dataset: `train` to rehearse, `holdout` to measure forgetting, `reference`.

    `synthetic` rows were made, not observed; the envelope limits their share.

    Raises:
        ModelNotFoundError, NoPolicyError, DatasetError.
    """
    from retrain.curate import service as curation  # polars is slow to import and only needed here

    current = current_spec(site, db, model_name)
    data = content.read_bytes() if isinstance(content, Path) else content
    return curation.register_dataset(
        site, db, current.model, current.spec, current.revision, name=name, role=role, content=data, source=source,
        synthetic=synthetic, actor=actor,
    )  # fmt: skip
