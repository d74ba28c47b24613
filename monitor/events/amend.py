"""Amending: values of events that arrive after their event are written into its row; durable on return."""

from typing import TYPE_CHECKING, Final

from monitor.events.event_tables import EventTables
from monitor.events.flush import flush_table

if TYPE_CHECKING:
    import polars as pl

    from monitor.lake.snapshot import DataFile

AMEND: Final = "UPDATE"  # operation of the commits
REPLACED: Final = "\0replaced"  # no column of a spec has this name


class EventAmender(EventTables):
    """The tables with what it takes to complete rows that are stored already."""

    def amend_events(self, model: str, values: "pl.DataFrame") -> "pl.DataFrame":
        """Fill columns of stored events in one commit; rows keep their place, time and `seq`. Safe to run twice.

        Rows that are still in a log are completed as they are flushed. Files that hold others are written anew.

        Args:
            model: whose events.
            values: `event_id` (each once), columns of events of their declared types, and REPLACED, the list of the
                columns whose stored value gives way to the new one. Another column is filled only where it is null.
                A null changes nothing.

        Returns:
            `event_id`, `seq` and `ts` of the events that are stored, changed or not.
        """
        import polars as pl

        parts: list[pl.DataFrame] = []
        keys = values["event_id"]

        def completed(frame: pl.DataFrame) -> pl.DataFrame:
            known = frame.filter(pl.col("event_id").is_in(keys.implode()))
            if known.is_empty():
                return frame
            parts.append(known.select("event_id", "seq", "ts"))
            return _filled(frame, values)

        with self.locked(model):
            table = self.table(model, "events")
            earlier = {file.path for file in table.snapshot().files}
            flush_table(table, self.unflushed, (model, "events"), completed=completed)
            snapshot, lacking = table.snapshot(), table.ids.lacking(keys)
            replaced: list[DataFile] = []
            written: list[DataFile] = []
            try:
                for file in [f for f in snapshot.files if f.path in earlier and f.path not in lacking]:
                    stored = table.scan_files(snapshot, [file]).collect()
                    filled = completed(stored)
                    if filled is not stored and not filled.equals(stored):
                        written += table.write([filled.with_columns(pl.lit(file.day, dtype=pl.Date).alias("date"))])
                        replaced.append(file)
                if replaced:
                    table.swap(replaced, written, operation=AMEND, changes=True)
            except BaseException:
                table.discard(written)
                raise
        found = [pl.DataFrame(schema={"event_id": pl.String, "seq": pl.Int64, "ts": pl.Datetime("us", "UTC")}), *parts]
        return pl.concat(found)


def _filled(frame: "pl.DataFrame", values: "pl.DataFrame") -> "pl.DataFrame":
    """The rows in the same order, with the values of those that are named."""
    import polars as pl

    names = [name for name in values.columns if name in frame.columns and name != "event_id"]
    joined = frame.join(values.select("event_id", REPLACED, *names), on="event_id", how="left", suffix="\0new",
                        maintain_order="left")  # fmt: skip
    filled = [
        pl.when(pl.col(name).is_null() | pl.col(REPLACED).list.contains(name).fill_null(value=False))
        .then(pl.coalesce(f"{name}\0new", name))
        .otherwise(pl.col(name))
        .alias(name)
        for name in names
    ]
    return joined.with_columns(filled).select(frame.columns)
