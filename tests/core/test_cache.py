"""The cache of an installation: bounded for each kind, the least recently used value out first, safe among threads."""

import threading
from typing import Final

from core.cache import Cache, CacheKind

SQUARES: Final = CacheKind[int, int]("squares", most=3)
CUBES: Final = CacheKind[int, int]("cubes", most=3)


class Maker:
    """Makes squares and counts how often it was asked to."""

    def __init__(self, cache: Cache) -> None:
        self.cache, self.made = cache, list[int]()

    def square(self, of: int) -> int:
        return self.cache.get(SQUARES, of, lambda: self._make(of))

    def _make(self, of: int) -> int:
        self.made.append(of)
        return of * of


def test_a_value_is_made_once_while_it_is_kept() -> None:
    maker = Maker(Cache())
    assert [maker.square(4), maker.square(4)] == [16, 16]
    assert maker.made == [4]


def test_the_least_recently_used_value_leaves_and_is_made_again() -> None:
    maker = Maker(Cache())
    for number in (1, 2, 3, 1, 4):  # 2 was used longest ago when 4 came
        maker.square(number)
    assert [maker.cache.find(SQUARES, n) for n in (1, 2, 3, 4)] == [1, None, 9, 16]
    assert maker.square(2) == 4
    assert maker.made == [1, 2, 3, 4, 2]


def test_kinds_share_neither_keys_nor_bounds() -> None:
    cache = Cache()
    for number in range(3):
        cache.put(SQUARES, number, number**2)
        cache.put(CUBES, number, number**3)
    assert [cache.find(SQUARES, n) for n in range(3)] == [0, 1, 4]
    assert [cache.find(CUBES, n) for n in range(3)] == [0, 1, 8]


def test_two_caches_share_nothing() -> None:
    first, second = Maker(Cache()), Maker(Cache())
    assert (first.square(2), second.square(2)) == (4, 4)
    assert (first.made, second.made) == ([2], [2])


def test_a_value_that_is_none_is_kept_too() -> None:
    cache, made = Cache(), list[int]()
    kind = CacheKind[int, int | None]("perhaps", most=1)
    for _ in range(2):
        assert cache.get(kind, 1, lambda: made.append(1)) is None
    assert made == [1]


def test_a_value_that_is_taken_is_kept_no_longer() -> None:
    cache = Cache()
    cache.put(SQUARES, 2, 4)
    assert cache.take(SQUARES, 2) == 4
    assert cache.take(SQUARES, 2) is None


def test_the_bound_and_the_values_hold_under_many_threads() -> None:
    maker, wrong = Maker(Cache()), list[int]()
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for number in range(3000):
            of = number % 7
            if maker.square(of) != of * of:
                wrong.append(of)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sum(maker.cache.find(SQUARES, n) is not None for n in range(7)) == SQUARES.most
