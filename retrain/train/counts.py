"""How many rows and tokens of a set give a gradient, and how many are dropped or cut by the longest text allowed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from retrain.train.errors import CutRowsError


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows and tokens of one set, counted with the tokenizer that trains; one pass, without padding.

    A row is dropped if nothing of what it teaches is left within the longest text: no completion token, or no token
    but those that the tokenizer adds. A row is truncated if only a part of it is left.
    """

    rows: int
    rows_learned: int  # gave a gradient, whole or truncated
    rows_dropped: int
    rows_truncated: int
    tokens: int  # that the model reads
    tokens_learned: int  # of them, those whose prediction gives the loss; for a classifier all tokens of learned rows
    tokens_cut: int  # of dropped rows all tokens, of truncated ones those beyond the longest text
    dropped_for: Mapping[str, int] = field(default_factory=dict)  # dropped rows by reason, without those for length

    def record(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "dropped_for" or value}

    @property
    def why(self) -> str:
        """In words the reasons of dropped rows, beside their length; empty without any."""
        named = [f"{count} where {reason}" for reason, count in list(self.dropped_for.items())[:3]]
        more = sum(list(self.dropped_for.values())[3:])
        return f" ({'; '.join(named)}{f'; {more} for other reasons' if more else ''})" if named else ""

    @property
    def cut_share(self) -> float:
        """The share of rows that were dropped or cut; 0 of an empty set."""
        return (self.rows_dropped + self.rows_truncated) / self.rows if self.rows else 0.0


SETS: Final = {"train": "training rows", "eval": "held-out new rows", "holdout": "rows of the old hold-out"}


def check_cut(sets: Mapping[str, RowCounts], max_length: int, most: float | None) -> None:
    """Refuse sets of which more than the share `most` is dropped or cut; None allows all.

    Raises:
        CutRowsError: with the figures of every such set, and the keys that change it.
    """
    found: list[CutRowsError] = []
    for name, counts in sets.items():
        if most is not None and counts.cut_share > most:
            words, key = cut_words(counts, name, max_length, most), f"max_cut_share.{name}"
            found = [CutRowsError(words, limit=key, declared=most, measured=counts.cut_share, more=found)]
    if found:
        raise found[0]


def cut_words(counts: RowCounts, name: str, max_length: int, most: float) -> str:
    """How many rows of a set are dropped and cut, and which keys change that."""
    unread = sum(counts.dropped_for.values())
    long = counts.rows_dropped + counts.rows_truncated - unread
    fixes = ["correct the rows that cannot be read"] if unread else []
    fixes += ["raise retrain.recipe.max_length"] if long or not unread else []
    cut = (
        f"recipe.max_length {max_length} drops {counts.rows_dropped - unread} and cuts {counts.rows_truncated} of "
        f"{counts.rows} {SETS.get(name, name)} ({counts.tokens_cut} of {counts.tokens + counts.tokens_cut} tokens)"
    )
    return (
        f"{cut}{f', and {unread} cannot be read{counts.why}' if unread else ''}: {counts.cut_share:.1%}, "
        f"envelope.max_cut_share allows {most:.1%}; {', '.join(fixes)}, or retrain.envelope.max_cut_share"
    )


def classification_counts(lengths: Sequence[int], kept: Sequence[int], own: Sequence[int]) -> RowCounts:
    """Counts of a classifier's rows.

    Args:
        lengths: tokens of each row before anything is cut.
        kept: tokens of each row within the longest text.
        own: of those, the tokens that come from the row's text.
    """
    learned = [k if o else 0 for k, o in zip(kept, own, strict=True)]
    return RowCounts(
        rows=len(lengths),
        rows_learned=sum(n > 0 for n in learned),
        rows_dropped=sum(n == 0 for n in learned),
        rows_truncated=sum(0 < n < whole for n, whole in zip(learned, lengths, strict=True)),
        tokens=sum(learned),
        tokens_learned=sum(learned),
        tokens_cut=sum(lengths) - sum(learned),
    )


def completion_counts(
    lengths: Sequence[int], kept: Sequence[int], learned: Sequence[int], dropped_for: Mapping[str, int] | None = None
) -> RowCounts:
    """Counts of rows with a completion.

    Args:
        lengths: tokens of each row, prompt and completion, before anything is cut.
        kept: tokens of each row that the model reads; 0 where it is dropped.
        learned: tokens of each row that give the loss; 0 where it is dropped.
        dropped_for: rows by the reason for which they are dropped, without those for their length.
    """
    return RowCounts(
        rows=len(lengths),
        rows_learned=sum(n > 0 for n in learned),
        rows_dropped=sum(n == 0 for n in learned),
        rows_truncated=sum(n > 0 and k < whole for n, k, whole in zip(learned, kept, lengths, strict=True)),
        tokens=sum(kept),
        tokens_learned=sum(learned),
        tokens_cut=sum(lengths) - sum(kept),
        dropped_for=dropped_for or {},
    )
