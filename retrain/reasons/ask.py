"""Ask the explained model: attributions of rows, and what else is asked of it, each in a process of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import polars as pl

from core.canonical import digest
from core.errors import InvalidError
from monitor.ingest.typed_columns import DTYPES
from monitor.service import CurrentSpec
from monitor.site import Site
from retrain.explain.tables import TableBasis, ask_beside, attribute, background_for, explains_tables
from retrain.reasons.block import Block

PROBE: Final = "retrain.evals.probe_rows"


@dataclass(frozen=True, eq=False)
class Asking:
    """The version that is explained, and how it is asked.

    Attributes:
        identity: digest of all that attributions follow from but the rows: model, spec keys, background.
    """

    site: Site
    current: CurrentSpec
    basis: TableBasis
    identity: str

    @classmethod
    def of(cls, site: Site, current: CurrentSpec, answered_by: str | None) -> Self:
        """The model that the spec brings; else the version that answered, if it was retrained here, else the champion.

        Raises:
            InvalidError: the model cannot be explained by its columns, or answered under another version.
        """
        if not explains_tables(current.spec):
            raise InvalidError(
                f"{current.model.name} names no model file or endpoint in `explain`, and no version of typed columns "
                "is trained here, so nothing can be told of its columns",
                field="explain.model",
            )
        with site.database.read() as db:
            basis = TableBasis.of(site, db, current.model.name, answered_by or "")
        if answered_by is not None and (why := basis.other_version) is not None:
            raise InvalidError(f"{why}; declare the file of that version to explain it", field="explain.version")
        background = background_for(site, basis)
        identity = digest({
            "model": basis.node_digest, "explain": basis.explain.model_dump(mode="json"),
            "declared": basis.declared.model_dump(mode="json"),
            "background": None if background is None else background.digest,
        })  # fmt: skip
        return cls(site, current, basis, identity)

    @property
    def told(self) -> dict[str, Any]:
        """What a record says of the version."""
        return {
            "version": self.basis.version, "model_digest": self.basis.node_digest, "identity": self.identity,
        }  # fmt: skip

    @property
    def truth(self) -> bool:
        """Whether the prediction is declared as boolean."""
        return self.current.spec.columns[self.current.spec.with_role("prediction")[0]].type == "boolean"

    @property
    def dtypes(self) -> dict[str, Any]:
        return {name: DTYPES[column.type] for name, column in self.current.spec.event_columns.items()}

    def attributed(self, rows: pl.DataFrame, *, recorded: bool) -> Block:
        """Attributions of every output for rows of events.

        Args:
            recorded: whether the recorded answers are held against the model's; else its own are explained.

        Raises:
            TrainerError: the process failed; the message says why.
        """
        found = attribute(self.site, self.basis, self._events(rows, recorded=recorded))
        return Block(found.lines, found.facts)

    def probed(self, rows: pl.DataFrame, probes: Mapping[str, Any], observed: pl.DataFrame | None) -> dict[str, Any]:
        """What else is asked; `observed` are the rows whose values counterfactuals propose."""
        files = {} if observed is None else {"observed.parquet": observed}
        return ask_beside(
            self.site, self.basis, self._events(rows, recorded=False), PROBE, probes, files, "probes.json"
        )

    def _events(self, rows: pl.DataFrame, *, recorded: bool) -> pl.DataFrame:
        """The rows with all that the process reads; a data set has neither ids nor the order of arrival."""
        found = rows
        if "seq" not in found.columns:
            found = found.with_row_index("seq").with_columns(pl.col("seq").cast(pl.Int64))
        if "event_id" not in found.columns:
            found = found.with_columns(event_id=pl.lit(""))
        spec = self.current.spec
        answers = [spec.with_role("prediction")[0], *spec.with_role("score")]
        absent = [name for name in self.basis.names if name not in found.columns or (name in answers and not recorded)]
        return found.with_columns(pl.lit(None, dtype=self.dtypes[name]).alias(name) for name in absent)
