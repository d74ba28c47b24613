"""How the columns of a file become the fields of events, where the file has other names for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

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

    @property
    def constants(self) -> Mapping[str, str]:
        return {} if self.version is None else {"version": self.version}

    def check(self, names: Sequence[str], file: str) -> None:
        """Refuse a file without a column that is renamed.

        Raises:
            InvalidError: there is one.
        """
        for name in self.rename:
            if name not in names:
                raise InvalidError(
                    f"{file} has no column {name!r} to rename; it has {', '.join(names)[:300]}", field=name
                )


AS_THEY_ARE: Final = FileColumns()
