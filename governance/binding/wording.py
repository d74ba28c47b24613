"""What a reader is told of rows that are not as the ledger bound them."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from governance.verify.findings import Finding

_KINDS: Final = {"row.changed": "changed", "row.missing": "missing", "row.extra": "added"}


def changed_words(findings: Sequence[Finding], count: int | None = None) -> str:
    """How many differ, by table, and which is the first. What rows hold is not told: it may be of a person.

    Args:
        count: all of them, where only the first are given.
    """
    first, total = findings[0], count or len(findings)
    counts = Counter((f.where.split(" ")[0], _KINDS.get(f.what, "not bound")) for f in findings)
    counted = ", ".join(f"{table} {kind}: {n}" for (table, kind), n in counts.most_common(6))
    many = "1 difference" if total == 1 else f"{total:,} differences"
    return (
        f"The database was changed outside Assay: {many} between stored rows and what the ledger bound ({counted}). "
        f"The first: {first.where}{_column(first)}; `assay verify` names all, with what they must hold."
    )


def _column(finding: Finding) -> str:
    return f", {finding.expected.partition(' ')[0]}" if finding.what == "row.changed" else ""
