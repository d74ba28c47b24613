"""What a person should know about a reference: its problem, rows it leaves out, columns that moved within it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from monitor.detect.permutation_statistics import MIN_VALUES
from monitor.tables import ReferenceRow

NoticeKind = Literal["problem", "moved", "far_rows", "few_rows"]


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice about a reference; it raises no alarm and spends no budget."""

    kind: NoticeKind
    sentence: str


def notices(row: ReferenceRow) -> list[Notice]:
    """The notices about one reference, those that ask for action first."""
    found = []
    if row.problem is not None:
        found.append(Notice("problem", f"Drift is not judged, because the reference has a problem: {row.problem}."))
    if row.moved is not None:
        found.append(Notice("moved", row.moved["sentence"]))
    found += [Notice("far_rows", _far(part)) for part in row.far_rows or ()]
    if row.rows is not None and row.rows <= MIN_VALUES and row.problem is None:
        found.append(
            Notice(
                "few_rows",
                f"The reference has {row.rows} rows, so numbers are watched for missing values only; declare a "
                f"`baseline` of at least {MIN_VALUES + 1} rows.",
            )
        )
    return found


def _far(part: dict[str, Any]) -> str:
    """Rows that lie far from the rest, in words."""
    begin, end = (f"{datetime.fromisoformat(part[key]):%Y-%m-%d %H:%M}" for key in ("from", "to"))
    one, ids = part["rows"] == 1, ", ".join(part["event_ids"][:3])
    which = f"1 row of {begin}" if one else f"{part['rows']:,} rows between {begin} and {end}"
    named = f" ({'event' if one else 'such as'} {ids})" if ids else ""
    lies, them = ("lies", "it") if one else ("lie", "them")
    return f"{which}{named} {lies} far {part['side']} the rest in time, so the reference leaves {them} out."
