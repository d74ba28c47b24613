"""Values that are costly to make, kept in memory: one cache for each open installation, bounded for each kind of value.

What is kept is shared between threads, so it is never changed in place; a value that changes is taken out, and put back
when it is done.
"""

from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, eq=False)
class CacheKind(Generic[K, V]):
    """A kind of value, with the type of its keys and the number of values that are kept at one time."""

    name: str
    most: int


class Cache:
    """The least recently used value of a kind leaves first. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[CacheKind[Any, Any], LRUCache[Any, Any]] = {}

    def get(self, kind: CacheKind[K, V], key: K, make: Callable[[], V]) -> V:
        """The value kept under a key, or else the value that `make` returns, which is kept from then on.

        `make` runs without a lock: threads that ask at the same moment may each make the value.
        """
        with self._lock, suppress(KeyError):
            found: V = self._of(kind)[key]
            return found
        found = make()
        self.put(kind, key, found)
        return found

    def find(self, kind: CacheKind[K, V], key: K) -> V | None:
        """The value kept under a key; None where there is none."""
        with self._lock:
            return self._of(kind).get(key)

    def put(self, kind: CacheKind[K, V], key: K, value: V) -> None:
        """Keep a value, in place of the one kept under the same key."""
        with self._lock:
            self._of(kind)[key] = value

    def take(self, kind: CacheKind[K, V], key: K) -> V | None:
        """Remove the value kept under a key and return it; None where there is none."""
        with self._lock:
            return self._of(kind).pop(key, None)

    def count(self, kind: CacheKind[Any, Any]) -> int:
        """How many values of a kind are kept."""
        with self._lock:
            return len(self._of(kind))

    def _of(self, kind: CacheKind[Any, Any]) -> LRUCache[Any, Any]:
        kept = self._kept.get(kind)
        if kept is None:
            kept = self._kept[kind] = LRUCache(kind.most)
        return kept
