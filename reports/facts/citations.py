"""Which ledger entry holds a fact: by kind and by the identifiers and digests in its body."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from reports.store import Entry


class Citations:
    """Ledger entries of one model, found by their kind and content. Remembers which entries were cited."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = {e.index: e for e in entries}
        self._places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._fields: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        for entry in entries:
            for text in {*_texts(entry.body), entry.subject, entry.subject.partition(":")[2]}:
                self._places[entry.kind, text].append(entry.index)
            for field, value in entry.body.items():
                self._fields[entry.kind, field, str(value)].append(entry.index)
        self.cited: set[int] = set()

    def find(self, kind: str, *needles: object, last: bool = False, **fields: object) -> int | None:
        """Index of the first (or last) entry of a kind that contains all needles; None if there is none.

        Args:
            fields: values of named fields of the body. A promotion also names the previous version, so only the field
                distinguishes the two.
        """
        places = [self._places.get((kind, str(needle)), []) for needle in needles]
        places += [self._fields.get((kind, field, str(value)), []) for field, value in fields.items()]
        found = set.intersection(*map(set, places)) if places else set(self._entries)
        if not found:
            return None
        index = max(found) if last else min(found)
        self.cited.add(index)
        return index

    def entries(self) -> Sequence[Entry]:
        return [self._entries[i] for i in sorted(self._entries)]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        yield str(value)
