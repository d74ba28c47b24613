"""A run for new classes alone concentrates on their rows: a small fine-tune within the same envelope. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import polars as pl

from retrain.curate.rehearse import rehearsal_rows
from retrain.curate.split import by_time
from retrain.triggers.new_classes import NAME

REHEARSED: Final = 4  # older rows that such a run trains again, for each of its new ones, at most


@dataclass(frozen=True, slots=True)
class Focus:
    """The rows that a run is about: those of these classes, and those from an event on."""

    classes: tuple[str, ...]
    from_seq: int | None = None

    @classmethod
    def of(cls, findings: Iterable[Mapping[str, Any]]) -> Self | None:
        """From the findings of the decision that started a run; None where anything else fired too.

        Args:
            findings: as decisions keep them.
        """
        firing = [f for f in findings if f["fire"]]
        if [f["name"] for f in firing] != [NAME]:
            return None
        found = firing[0].get("focus") or {}
        return cls(tuple(found.get("classes") or ()), found.get("from_seq"))

    @property
    def record(self) -> dict[str, Any]:
        return {"classes": list(self.classes), "from_seq": self.from_seq}

    @property
    def words(self) -> str:
        parts = [f"of {', '.join(self.classes)}"] if self.classes else []
        parts += [f"from event {self.from_seq} on"] if self.from_seq is not None else []
        return f"all new rows {' or '.join(parts)}, and as many others"

    def split(self, new: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        """(rows to train on, held out, rows left out).

        The rows of the focus and the others are each split in time, so that a class of the last days is in both parts;
        of the others as many are trained on as there are rows of the focus, stratified by label.

        Args:
            new: rows with columns `row_id`, `ts`, `seq` and `label`.
            seed: of the sample of the others.
        """
        about = pl.col("label").is_in(list(self.classes))
        if self.from_seq is not None:
            about |= pl.col("seq") >= self.from_seq
        mine, others = new.filter(about), new.filter(~about)
        if mine.is_empty() or others.is_empty():
            return *by_time(new), 0
        early, held = by_time(mine)
        rest, held_rest = by_time(others)
        kept = rehearsal_rows(rest, early.height, seed)
        chosen = pl.concat([kept, early], how="vertical").sort("ts", "seq")
        return chosen, pl.concat([held_rest, held], how="vertical").sort("ts", "seq"), rest.height - kept.height
