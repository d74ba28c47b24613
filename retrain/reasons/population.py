"""Attributions of the reference population: computed once for each version, then read for every decision and window."""

from typing import Any, Final

import numpy as np
import polars as pl
from sqlalchemy import select

from core.canonical import digest
from core.errors import InvalidError
from monitor import store
from monitor.reasons.codes import Population
from monitor.reference.choose_rows import dataset_rows, reference_rows
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.reasons import PopulationRows, Reasons
from monitor.tables import ReferenceRow
from retrain.reasons.ask import Asking
from retrain.reasons.block import AdverseOutput, Block, digest_of, is_adverse, means_of
from retrain.tables import AttributionReference

SEED: Final = 0  # of the draw; the same rows for every decision
NOT_ENOUGH: Final = "the reference is not complete yet, so no decision can be compared with it"


def drawn(frame: pl.DataFrame, rows: int, seed: int = SEED) -> pl.DataFrame:
    """At most so many rows, in the order in which they were."""
    if frame.height <= rows:
        return frame
    chosen = np.sort(np.random.default_rng(seed).choice(frame.height, rows, replace=False))
    return frame[chosen]


def population_frame(
    site: Site, current: CurrentSpec, wanted: PopulationRows | None, reference: ReferenceRow | None = None
) -> tuple[pl.DataFrame, str, str]:
    """The rows of a reference, the newest or a given one, or of a data set; what they are called, and what names them.

    Raises:
        InvalidError: the rows are still arriving.
        DatasetNotFoundError: nobody registered such a data set.
    """
    if wanted is not None:
        frame = dataset_rows(site, current, wanted.dataset).collect()
        with site.database.read() as db:
            row = store.dataset(db, current.model.id, wanted.dataset)
        assert row is not None  # its rows were just read
        return frame, wanted.dataset, row.digest
    if reference is None:
        with site.database.read() as db:
            reference = store.newest_reference(db, current.model.id)
    found = None if reference is None or reference.state != "ready" else reference_rows(site, current, reference)
    if reference is None or found is None or found.is_empty():
        raise InvalidError(NOT_ENOUGH, field="reasons.reference")
    return found, "reference", str(reference.id)


def population_of(site: Site, asking: Asking, reasons: Reasons, adverse: AdverseOutput) -> Population:
    """The mean attribution of each column in the declared population, of one output.

    Raises:
        InvalidError: the population has no rows that can be explained.
    """
    current, truth = asking.current, asking.truth
    wanted = reasons.reference if isinstance(reasons.reference, PopulationRows) else None
    frame, name, identity = population_frame(site, current, wanted)
    if reasons.reference == "approved":
        prediction = current.spec.with_role("prediction")[0]
        if prediction in frame.columns:  # what was adverse then is left out before the draw
            given = frame[prediction].to_list()
            frame = frame.filter(pl.Series([not is_adverse(reasons, one, truth=truth) for one in given]))
    key = digest({
        "what": "reasons", "model": asking.identity, "rows": identity, "most": reasons.reference_rows,
        "population": reasons.reference if wanted is None else wanted.dataset, "adverse": repr(reasons.adverse),
    })  # fmt: skip
    stored = stored_block(site, asking, key)
    if stored is None:
        chosen = drawn(frame, reasons.reference_rows)
        if chosen.is_empty():
            raise InvalidError(f"no decision of population {name!r} is not adverse", field="reasons.reference")
        stored = asking.attributed(chosen, recorded=False).sound()
        keep_block(site, asking, key, name, stored)
    block = stored
    if reasons.reference == "approved":  # by the version that is explained, whatever answered then
        own = [not is_adverse(reasons, one, truth=truth) for one in _own(block, current.spec.task)]
        block = Block(block.frame.filter(pl.Series(own, dtype=pl.Boolean)), block.facts)
    if block.frame.is_empty():
        raise InvalidError(f"no row of population {name!r} could be explained", field="reasons.reference")
    values = block.values()[:, :, adverse.place]
    called = name if wanted is not None else str(reasons.reference)
    return Population(called, len(values), digest_of(values), means_of(values, block.columns))


def _own(block: Block, task: str) -> list[Any]:
    own = block.frame["own"].to_list()
    return [float(one) for one in own] if task == "regression" else own


def stored_block(site: Site, asking: Asking, key: str) -> Block | None:
    """Attributions that were computed before."""
    with site.database.read() as db:
        row = db.scalars(
            select(AttributionReference).where(
                AttributionReference.model_id == asking.current.model.id, AttributionReference.key == key
            )
        ).first()
    if row is None or not site.artifacts.path(row.artifact).exists():
        return None
    return Block.read(site.artifacts.get(row.artifact))


def keep_block(site: Site, asking: Asking, key: str, name: str, block: Block) -> None:
    """Store attributions without ids and inputs."""
    artifact = site.artifacts.put(block.content())
    values = {
        "model_id": asking.current.model.id, "key": key, "population": name, "version": asking.basis.version,
        "rows": block.frame.height, "artifact": artifact, "created_at": site.clock.now(),
    }  # fmt: skip
    with site.database.write() as db:
        row = db.scalars(
            select(AttributionReference).where(
                AttributionReference.model_id == asking.current.model.id, AttributionReference.key == key
            )
        ).first()
        if row is None:
            db.add(AttributionReference(**values))
        else:  # its file is gone
            row.artifact, row.rows, row.created_at = artifact, block.frame.height, site.clock.now()
