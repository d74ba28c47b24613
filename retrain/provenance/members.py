"""Which events a dataset holds, by the keyed digest of their ids: an artifact that stays when rows are erased.

    assay-members/1\n       the form
    16 bytes for each event  the first half of its digest, sorted, so that one is found by bisection

The digests are keyed with the installation's subject key: whoever has the file alone learns nothing of the ids.
"""

import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Final

HEAD: Final = b"assay-members/1\n"
WIDTH: Final = 16  # bytes of a digest that are kept


def written(digests: Iterable[str]) -> bytes:
    """The artifact of these digests, hexadecimal."""
    return HEAD + b"".join(sorted({bytes.fromhex(one)[:WIDTH] for one in digests}))


def holds(path: Path, digest: str) -> bool:
    """Whether an artifact names an event, given its digest; reads a page for each halving."""
    wanted = bytes.fromhex(digest)[:WIDTH]
    if path.stat().st_size <= len(HEAD):
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as kept:
        low, high = 0, (len(kept) - len(HEAD)) // WIDTH
        while low < high:
            middle = (low + high) // 2
            at = len(HEAD) + middle * WIDTH
            if (found := kept[at : at + WIDTH]) == wanted:
                return True
            low, high = (middle + 1, high) if found < wanted else (low, middle)
    return False
