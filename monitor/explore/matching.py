"""A filter as conditions of Polars: on the columns of events lazily, on outcomes once the events are known."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.explore.filters import Condition, EventFilter
from monitor.site import Site
from monitor.spec.model import ModelSpec

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Matching:
    """Which rows of a model's events a filter keeps; the period is left to whoever reads the rows."""

    site: Site
    spec: ModelSpec
    asked: EventFilter

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns of events that `kept` reads."""
        if not self.asked.asks_outcomes:
            return ()
        return ("event_id", *(self.spec.with_role("prediction") if self.asked.answer else ()))

    def lazily(self, rows: "pl.LazyFrame") -> "pl.LazyFrame":
        """The rows that fit the conditions on columns of events; a column that no row has is missing in each."""
        import polars as pl

        there = {*rows.collect_schema().names()}
        for condition in self.asked.conditions:
            if condition.column.outcome:
                continue
            if condition.column.name in there:
                rows = rows.filter(expression(condition))
            elif condition.operator not in ("missing", "ne"):
                rows = rows.filter(pl.lit(value=False))
        return rows

    def kept(self, frame: "pl.DataFrame") -> "pl.DataFrame":
        """Those of the rows, in their order, that fit what is asked about outcomes."""
        import polars as pl

        asked = self.asked
        if not asked.asks_outcomes or frame.is_empty():
            return frame
        known = self.site.events.outcomes(self.spec.model, ids=frame["event_id"])
        if asked.outcome == "unknown":
            frame = frame.join(known.select("event_id"), on="event_id", how="anti", maintain_order="left")
        elif asked.outcome == "known":
            frame = frame.join(known.select("event_id"), on="event_id", how="semi", maintain_order="left")
        if asked.answer is not None:
            frame = self._judged(frame, known)
        conditions = [c for c in asked.conditions if c.column.outcome]
        if not conditions:
            return frame
        lacking = [pl.lit(None).alias(c.column.name) for c in conditions if c.column.name not in known.columns]
        own = known.with_columns(lacking).select("event_id", *{c.column.name for c in conditions})
        wanted = frame.select("event_id").join(own, on="event_id", how="left")
        for condition in conditions:
            wanted = wanted.filter(expression(condition))
        return frame.join(wanted.select("event_id").unique(), on="event_id", how="semi", maintain_order="left")

    def _judged(self, frame: "pl.DataFrame", known: "pl.DataFrame") -> "pl.DataFrame":
        """The rows whose prediction equals, or does not equal, the outcome it is compared with; both as levels."""
        import polars as pl

        from monitor.levels import answers

        prediction, target = self.spec.with_role("prediction")[0], self.spec.target
        if target is None or target not in known.columns or prediction not in frame.columns:
            return frame.clear()
        truth = any(self.spec.columns[name].type == "boolean" for name in (prediction, target))
        labels = known.select("event_id", pl.col(target).alias("@label")).drop_nulls("@label")
        both = frame.join(labels, on="event_id", how="inner", maintain_order="left")
        said, was = answers(both[prediction], truth=truth), answers(both["@label"], truth=truth)
        right = (said == was).fill_null(value=False)
        return both.filter(right if self.asked.answer == "right" else ~right & said.is_not_null()).drop("@label")


def expression(condition: Condition) -> "pl.Expr":
    """The condition on its column. A missing value fits `ne` and `missing` alone."""
    import polars as pl

    column, operator, values = pl.col(condition.column.name), condition.operator, condition.values
    if operator == "missing":
        return column.is_null()
    if operator == "present":
        return column.is_not_null()
    if operator == "contains":
        # An accent may be stored as part of its letter or after it; whoever types it sees no difference.
        forms = dict.fromkeys((values[0], *(unicodedata.normalize(form, values[0]) for form in ("NFC", "NFD"))))
        return column.str.contains("(?i)" + "|".join(map(pl.escape_regex, forms)))
    if operator == "matches":
        return column.str.contains(values[0])
    if operator == "in":
        return column.is_in(list(values))
    if operator == "between":
        return column.is_between(*values)
    low, made = values[0], {"eq": "__eq__", "lt": "__lt__", "le": "__le__", "gt": "__gt__", "ge": "__ge__"}
    if operator == "ne":
        return column.ne_missing(pl.lit(low))
    found: pl.Expr = getattr(column, made[operator])(low)
    return found


def as_stored(site: Site, spec: ModelSpec, asked: EventFilter) -> EventFilter:
    """The filter with its texts as they are stored: personal data replaced by its marker, a subject by its digest."""
    from dataclasses import replace

    return replace(asked, conditions=tuple(_stored(site, spec, c) for c in asked.conditions))


def _stored(site: Site, spec: ModelSpec, condition: Condition) -> Condition:
    from dataclasses import replace

    if condition.column.kind == "subject":
        values = tuple(_subject(site, value) for value in condition.values)
    elif condition.operator in ("eq", "ne", "in", "contains") and condition.column.name in spec.redact:
        values = tuple(_redacted(site, spec, condition.column.name, condition.values))
    else:
        return condition
    return replace(condition, values=values)


def _subject(site: Site, value: str) -> str:
    is_digest = len(value) == 64 and {*value} <= {*"0123456789abcdef"}
    return value if is_digest else site.events.subject_digest(value)


def _redacted(site: Site, spec: ModelSpec, column: str, values: Sequence[Any]) -> list[Any]:
    import polars as pl

    from monitor.redact.columns import redacted_texts, redaction_key

    found = redacted_texts(
        pl.Series(list(values), dtype=pl.String), spec.redact[column], redaction_key(site.keys.subject)
    )
    return found.to_list()
