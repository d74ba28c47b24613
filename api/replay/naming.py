"""How the columns of a file become the fields of events, where the file has other names for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from core.errors import InvalidError


@dataclass(frozen=True)
class FileColumns:
    """What `assay replay` is told of a file, as `assay ingest` is.

    Attributes:
        rename: column of the file -> name in the spec; an empty name leaves the column out.
        version: of the model that answered, if the file has no column for it.
        ts_as: how times are read, see `monitor.ingest.times`; empty if they say their zone.
        make_ids: whether rows without an id get one; not where outcomes of another file refer to them.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None
    ts_as: str = ""
    make_ids: bool = False

    def named(self, frame: pl.DataFrame, file: str) -> pl.DataFrame:
        """The rows under the names of the spec.

        Raises:
            InvalidError: a column that is renamed is not there, or two would have one name.
        """
        for name in self.rename:
            if name not in frame.columns:
                raise InvalidError(
                    f"{file} has no column {name!r} to rename; it has {', '.join(frame.columns)[:300]}", field=name
                )
        left = frame.drop([name for name, to in self.rename.items() if not to])
        names = [self.rename.get(name, name) for name in left.columns]
        for name in names:
            if names.count(name) > 1:
                raise InvalidError(
                    f"{file}: two columns would be called {name!r}; leave one out with --rename 'COLUMN='", field=name
                )
        left.columns = names
        if self.version is not None:
            left = left.with_columns(pl.lit(self.version).alias("version"))
        if self.make_ids and "event_id" not in names:
            left = left.with_columns(pl.format("row-{}", pl.int_range(1, pl.len() + 1)).alias("event_id"))
        return left


AS_THEY_ARE: Final = FileColumns()
