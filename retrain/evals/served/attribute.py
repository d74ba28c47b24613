"""Attribute a served model's raw outputs to the columns of rows: by its trees where shap reads them, else by asking."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from core.arrays import Floats
from core.errors import AppError
from monitor.explain.tables.attributions import Attributions, grouped
from monitor.explain.tables.sampled import sampled_attributions
from monitor.explain.tables.trees import TreeShap, TreesUnreadError
from retrain.evals.served.base import Served


@dataclass(slots=True, eq=False)
class Attributing:
    """One model and its background, for any number of blocks of rows.

    Attributes:
        background: rows of the model's columns; empty where there are none.
        interventional: whether the background was asked for; without it trees use their own counts.
        notes: what a reader must know, such as that shap could not read the trees.
    """

    served: Served
    background: pl.DataFrame
    interventional: bool
    budget: int
    seed: int
    notes: list[str] = field(default_factory=list)
    _shap: TreeShap | None = None
    _unread: bool = False
    _usable: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        self.notes.extend(self.served.notes)

    def attributions(self, rows: pl.DataFrame) -> tuple[Attributions, Floats]:
        """Attributions by column, and the model's scores, shape (rows, classes or 1).

        Raises:
            InvalidError: the model must be asked, and there is no background, or the budget is too small.
        """
        encoded = self.served.encode(rows)
        raw = self.served.raw(encoded)
        scores = self.served.scores(encoded, raw)
        found = self._by_trees(encoded, raw)
        if found is None:
            self._usable = self._read_background() if self._usable is None else self._usable
            found = sampled_attributions(
                rows, self._usable, self.served.raw_of, budget=self.budget, seed=self.seed, raw=raw
            )
        return found, scores

    def _read_background(self) -> pl.DataFrame:
        """The background rows for which the model gives finite outputs; some read no missing values."""
        rows = self.background
        try:
            raw = self.served.raw_of(rows)
        except AppError:
            raise
        except Exception:  # noqa: BLE001 - as many kinds as libraries
            rows = rows.drop_nulls()
            raw = self.served.raw_of(rows) if rows.height else np.zeros((0, 1))
        kept = rows.filter(pl.Series(np.isfinite(raw).all(axis=1), dtype=pl.Boolean))
        if kept.height < self.background.height:
            self.notes.append(
                f"{self.background.height - kept.height} of {self.background.height} background rows are left out: the "
                "model gives no finite output for them"
            )
        return kept

    def _by_trees(self, encoded: object, raw: Floats) -> Attributions | None:
        """None where shap cannot read the trees, or not with these rows."""
        if self.served.trees is None or self._unread:
            return None
        try:
            if self._shap is None:
                self._shap = self._made()
            rows = self.served.tree_rows(encoded)
            if self.interventional:
                assert self.served.tree_floats is not None
                rows = self.served.tree_floats(encoded)
                if np.isnan(rows).any():
                    raise TreesUnreadError("a value is missing, which interventional values of trees are not exact for")
            found = self._shap.attributions(rows, raw)
        except TreesUnreadError as error:
            self._unread = not self.interventional
            said = f"the trees were asked like any model, over background rows, for shap cannot read them so ({error})"
            if said not in self.notes:
                self.notes.append(said)
            return None
        if self.served.members is None:
            return found
        values = grouped(found.values, [list(places) for places in self.served.members])
        return Attributions(values, found.base, found.raw, found.method, found.background_rows, found.evals)

    def _made(self) -> TreeShap:
        if not self.interventional:
            return TreeShap(self.served.trees)
        if self.served.tree_floats is None:
            raise TreesUnreadError("interventional values need rows of numbers, and a category is read as a text")
        encoded = self.served.encode(self.background)
        floats = self.served.tree_floats(encoded)
        if np.isnan(floats).any():
            raise TreesUnreadError("a background row has a missing value")
        return TreeShap(self.served.trees, background=floats, background_raw=self.served.raw(encoded))
