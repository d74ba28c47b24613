"""Numbers that were read before are not given again, where the lake was restored from an older copy.

The database knows up to which number rows were judged. If the lake ends before that, new rows go on after it: with a
number that was judged already they would never be judged. What is gone is written to a file, which others announce.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from core.artifacts import write_durably
from monitor.events.read import Extent

END: Final = ".behind.json"  # of a report's name


@dataclass(frozen=True)
class Behind:
    """A table that ends at number `found`, though rows before number `judged` were read."""

    model: str
    kind: str
    found: int
    judged: int


class NumberFloor:
    """What the database says of numbers, and where to report a table that ends before."""

    def __init__(self, folder: Path, judged: Callable[[str, str], int]) -> None:
        """
        Args:
            folder: of the reports.
            judged: one past the last number of a model's table that was read; 0 if none was.
        """
        self._folder, self._judged = folder, judged
        self._ends: dict[str, int] = {}

    def at_least(self, model: str, kind: str, reached: Callable[[], int]) -> int:
        """The next number of a table; reports the table if it ends before what was read.

        reached: one past the last number that the table has. It is asked second: rows that arrive may be judged.
        """
        judged = self._judged(model, kind)
        found = reached()
        if judged <= found:
            return found
        report = self._folder / f"{model}.{kind}{END}"
        if not report.exists():
            write_durably(report, json.dumps(asdict(Behind(model, kind, found, judged))).encode())
        return judged

    def look(self, model: str, extent: Callable[[str], Extent]) -> None:
        """Report the tables of a model that end too early; once, and again whenever the events end earlier."""
        end = extent(model).next_seq
        if end < self._ends.get(model, end + 1):
            self.at_least(model, "events", lambda: extent(model).next_seq)
            self.at_least(model, "outcomes", lambda: extent(model).next_outcome)
        self._ends[model] = end

    def reports(self) -> Iterator[tuple[Path, Behind]]:
        """Tables that were found to end too early, and not announced yet."""
        for path in sorted(self._folder.glob(f"*{END}")):
            yield path, Behind(**json.loads(path.read_bytes()))
