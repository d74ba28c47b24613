"""Explanations of many events of a model of typed columns: a line each, in blocks of one Parquet file.

A block is a unit of work: what is stored is not computed again, and a worker that is killed loses the block it was at.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import polars as pl
from sqlalchemy.orm import Session

from core.artifacts import content_digest
from governance.binding.session import because_of_erasure
from governance.erasure import Case
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor.explain.tables.document import table_document
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import ExplanationBlock, Model
from retrain import store
from retrain.explain.rows import told
from retrain.explain.tables import Found, TableBasis, attribute
from retrain.provenance.nodes import Node, Source

ROWS: Final = 100_000  # events of a block
OTHER_VERSION: Final = "other_version"


Progress = Callable[[int, int, int, int], None]


def explain_events(site: Site, model_name: str, events: pl.DataFrame, progress: Progress, *, rows: int = ROWS) -> None:
    """Explain events, each with the version that answered it.

    Args:
        events: `event_id`, `seq` and `version`, in order.
        progress: told how many rows were explained before, how many are now, how many of these are withheld, and how
            many are of a version that the spec's file is not; what it raises ends the work between two blocks.
        rows: of a block.
    """
    for answered_by in events["version"].unique().sort().to_list():
        wanted = events.filter(pl.col("version") == answered_by)
        with site.database.read() as db:
            basis = TableBasis.of(site, db, model_name, str(answered_by))
            left = _left(site, db, basis, wanted)
        if basis.other_version is not None:
            progress(0, 0, 0, wanted.height)
            continue
        progress(wanted.height - left.height, 0, 0, 0)
        for part in left.iter_slices(rows):
            block = _block(site, basis, part)
            progress(0, block.rows, block.withheld, 0)


def _left(site: Site, db: Session, basis: TableBasis, events: pl.DataFrame) -> pl.DataFrame:
    """The events that are in no block of the version that explains them."""
    for block in store.blocks(db, basis.current.model.id, version=basis.version):
        if not events.height:
            break
        if not site.artifacts.has(block.artifact):  # a worker died before it was written
            continue
        if events["seq"].min() < block.to_seq and events["seq"].max() >= block.from_seq:  # type: ignore[operator]
            ids = pl.read_parquet(site.artifacts.path(block.artifact), columns=["event_id"], memory_map=False)
            events = events.join(ids, on="event_id", how="anti", maintain_order="left")
    return events


def _block(site: Site, basis: TableBasis, wanted: pl.DataFrame) -> ExplanationBlock:
    first, last = int(wanted["seq"][0]), int(wanted["seq"][-1])
    rows = site.events.events(
        basis.current.model.name, from_seq=first, to_seq=last + 1, columns=["event_id", "seq", *basis.names]
    )
    rows = rows.join(wanted.select("seq"), on="seq", how="semi", maintain_order="left")
    return keep_block(site, basis, attribute(site, basis, rows))


def keep_block(site: Site, basis: TableBasis, found: Found) -> ExplanationBlock:
    """Store lines as one artifact. The row comes first, so that an erasure finds the file of a process that died."""
    model, lines = basis.current.model, found.lines
    content = _parquet(lines)
    residuals = lines["residual"].explode().fill_nan(None)
    block = ExplanationBlock(
        model_id=model.id, version=basis.version, from_seq=int(lines["seq"][0]), to_seq=int(lines["seq"][-1]) + 1,
        rows=lines.height, withheld=lines.height - lines["reason"].null_count(),
        residual=float(residuals.max() or 0.0),  # type: ignore[arg-type]
        artifact=content_digest(content), facts=found.facts, created_at=site.clock.now(),
    )  # fmt: skip
    node = Node("explanation", block.artifact, {"model": model.name}, (Source("explains", basis.node_digest),))
    with site.database.write() as db:
        db.add(block)
        append_entry(
            db, kind="explanation.block", actor=SYSTEM_ACTOR, subject=f"model:{model.name}", at=site.clock.now(),
            body={
                "explanation": block.artifact, "version": basis.version, "rows": block.rows,
                "withheld": block.withheld, "additivity_residual": block.residual, **node.entry(),
            },
        )  # fmt: skip
    site.artifacts.put(content)
    return block


def _parquet(lines: pl.DataFrame) -> bytes:
    import io

    buffer = io.BytesIO()
    lines.write_parquet(buffer, compression="lz4", statistics=False)
    return buffer.getvalue()


def document_of(
    site: Site, spec: ModelSpec, blocks: Sequence[ExplanationBlock], event: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, float | None]:
    """The record of an event and its largest residual, from the first of these blocks that holds it; None for none."""
    for block in blocks:
        if not site.artifacts.has(block.artifact):
            continue
        lines = pl.scan_parquet(site.artifacts.path(block.artifact)).filter(pl.col("event_id") == event["event_id"])
        if (found := lines.collect()).height:
            document = table_document(found.row(0, named=True), block.facts, event)
            whole = told(spec, block.version, event, document)
            return whole, max((s["residual"] for s in whole["outputs"] if s["residual"] is not None), default=None)
    return None, None


def erase_from_blocks(site: Site, db: Session, case: Case, model: Model, ids: Collection[str]) -> dict[str, str]:
    """Take erased events out of every block: the blocks are stored anew, and the old files are to be deleted.

    Returns:
        Old digest -> version.
    """
    gone: dict[str, str] = {}
    because_of_erasure(db, case.id)
    for block in store.blocks(db, model.id):
        if not site.artifacts.has(block.artifact):
            db.delete(block)
            continue
        lines = pl.read_parquet(site.artifacts.path(block.artifact), memory_map=False)
        left = lines.filter(~pl.col("event_id").is_in(list(ids)))
        if left.height == lines.height:
            continue
        gone[block.artifact] = block.version
        if not left.height:
            db.delete(block)
            continue
        block.artifact, block.rows = site.artifacts.put(_parquet(left)), left.height
        block.withheld = left.height - left["reason"].null_count()
    return gone
