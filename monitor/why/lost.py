"""What lost cases have in common: the leaves of a small tree that hold on rows the tree did not see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.arrays import Flags
from monitor.kpi.intervals import wilson
from monitor.profile.clusters import readable_words, shared_words
from monitor.profile.coding import as_strings, category_values, number_values
from monitor.why.columns import Kind, SetAside, usable
from monitor.why.cuts import Cuts, cuts_of, said
from monitor.why.drift import LEAST_LEVEL, LEAST_ROWS, people_of, shared_levels
from monitor.why.separation import grouped
from monitor.why.terms import parted

DEPTH: Final = 3
MOST_LEAVES: Final = 3
LEAST_LEAF: Final = 15  # rows of each half
MOST_LEVELS: Final = 30
MOST_WORDS: Final = 60
ERROR: Final = 0.05  # of naming a leaf that does not differ, all leaves together


@dataclass(frozen=True, slots=True)
class Leaf:
    """Cases that are lost more often than others, told by at most three conditions.

    `rows` and `lost` count rows that the tree did not see, as do `elsewhere_rows` and `elsewhere_lost`. `low` and
    `high` are the ends of the 95 % interval of the share. `difference_low`: the least that the share exceeds the one
    elsewhere, at an error of 5 % over all leaves together. `reference`: the share in the reference; None without
    enough labelled rows there.
    """

    conditions: tuple[str, ...]
    rows: int
    lost: int
    low: float
    high: float
    elsewhere_rows: int
    elsewhere_lost: int
    difference_low: float
    reference: float | None

    @property
    def share(self) -> float:
        return self.lost / self.rows

    @property
    def elsewhere(self) -> float:
        return self.elsewhere_lost / self.elsewhere_rows


@dataclass(frozen=True, slots=True)
class LostFinding:
    """What was found; without leaves, `reason` says why nothing is claimed."""

    rows: int
    lost: int
    leaves: tuple[Leaf, ...] = ()
    reason: str | None = None
    set_aside: tuple[SetAside, ...] = ()


def find_lost(
    reference: pl.DataFrame, window: pl.DataFrame, kinds: Mapping[str, Kind], *, person: str | None = None,
    seed: int = 0,
) -> LostFinding:  # fmt: skip
    """Find what lost cases have in common.

    The tree is fitted on one half of the window's rows, in stretches of neighbouring ones; what is told was counted on
    the other half.

    Args:
        reference: rows of the reference, with a column `lost` that is null where no outcome is known. They give the cut
            points of numbers, so that these are the same for every window.
        window: rows in order of arrival, with a truth value `lost` in each.
        kinds: columns by which cases may be told.
        person: column that names whom a row is about.
        seed: of the halves and the tree.

    Returns:
        At most three leaves whose share of lost cases exceeds that of all other rows beyond chance.
    """
    lost = window["lost"].cast(pl.Boolean).to_numpy().astype(np.bool_)
    count, sides = int(lost.sum()), len(lost)
    if sides < 2 * LEAST_ROWS:
        return LostFinding(sides, count, reason=f"{sides} rows are too few to say ({2 * LEAST_ROWS} are needed)")
    if min(count, sides - count) < 2 * LEAST_LEVEL:
        few = "lost" if count < sides - count else "not lost"
        return LostFinding(
            sides, count, reason=f"{min(count, sides - count)} cases that are {few} are too few to compare"
        )
    kept, aside = usable(reference, window, kinds)
    groups = grouped(0, sides, folds=2, seed=seed)
    half = groups.fold == 0
    tests = _tests(reference, window, kept, lost, half, person)
    if not tests:
        return LostFinding(sides, count, reason="no column says anything about the cases", set_aside=tuple(aside))
    leaves = _leaves(tests, lost, half, seed)
    found = [leaf for leaf in (_held(t, lost, half, len(leaves), reference) for t in leaves) if leaf is not None]
    reason = None if found else "no common trait of the lost cases held on the other half of the rows"
    return LostFinding(sides, count, tuple(found), reason, tuple(aside))


@dataclass(frozen=True, eq=False)
class _Test:
    """A yes-or-no question to a row, for the window and the reference."""

    column: str
    yes: str
    no: str
    window: Flags
    reference: Flags


def _tests(
    reference: pl.DataFrame, window: pl.DataFrame, kinds: Mapping[str, Kind], lost: Flags, half: NDArray[np.bool_],
    person: str | None,
) -> list[_Test]:  # fmt: skip
    found: list[_Test] = []
    for name, kind in kinds.items():
        match kind:
            case "number":
                found += _number_tests(name, number_values(window, name), number_values(reference, name))
            case "category":
                values, before = category_values(window, name), category_values(reference, name)
                people = None if person is None else people_of((window,), person)
                for level in sorted(shared_levels(values, people, 2 * LEAST_LEVEL)[:MOST_LEVELS]):
                    masks = [(s == level).fill_null(value=False).to_numpy() for s in (values, before)]
                    found.append(_Test(name, f"{name} = {level!r}", f"{name} is not {level!r}", *masks))
                masks = [s.is_null().to_numpy() for s in (values, before)]
                found.append(_Test(name, f"{name} has no value", f"{name} has a value", *masks))
            case "text":
                found += _word_tests(name, window, reference, lost, half, person)
    return [test for test in found if LEAST_LEAF <= int(test.window.sum()) <= len(lost) - LEAST_LEAF]


def _number_tests(name: str, values: Any, before: Any) -> list[_Test]:
    cuts: Cuts = cuts_of(before if np.isfinite(before).any() else values)
    found = []
    for point in cuts.points:
        if cuts.names[1:2] and cuts.names[1].startswith("= ") and point == cuts.points[0]:
            continue  # a number of few values: below all of them
        shown = said(point)
        found.append(_Test(name, f"{name} > {shown}", f"{name} <= {shown}", values > point, before > point))
    found.append(_Test(name, f"{name} has no value", f"{name} has a value", np.isnan(values), np.isnan(before)))
    return found


def _word_tests(
    name: str, window: pl.DataFrame, reference: pl.DataFrame, lost: Flags, half: NDArray[np.bool_], person: str | None
) -> list[_Test]:
    """Words that many people use, those first whose share differs most between lost and other cases of one half."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    texts, before = ([parted(text) for text in as_strings(side[name]).to_list()] for side in (window, reference))
    people = window[person].cast(pl.String).to_list() if person in window.columns else None
    shared = {w for w in shared_words(texts, people) if w not in ENGLISH_STOP_WORDS}
    used = [readable_words(text or "") for text in texts]
    earlier = [readable_words(text or "") for text in before]
    found = []
    for word in sorted(shared):
        has = np.asarray([word in words for words in used], dtype=np.bool_)
        inside, outside = has[half & lost], has[half & ~lost]
        gap = abs(float(inside.mean() - outside.mean())) if len(inside) and len(outside) else 0.0
        then = np.asarray([word in words for words in earlier], dtype=np.bool_)
        found.append((gap, _Test(name, f"{name} has `{word}`", f"{name} does not have `{word}`", has, then)))
    return [test for _, test in sorted(found, key=lambda f: -f[0])[:MOST_WORDS]]


def _all(masks: Sequence[Flags]) -> Flags:
    found: Flags = np.logical_and.reduce(masks)
    return found


Answers = tuple[tuple[_Test, bool], ...]


@dataclass(frozen=True, eq=False)
class _Path:
    """The answers that lead to some rows, and which rows of the window and of the reference they hold for."""

    answers: Answers

    @cached_property
    def window(self) -> Flags:
        return _all([test.window == yes for test, yes in self.answers])

    @cached_property
    def reference(self) -> Flags:
        return _all([test.reference == yes for test, yes in self.answers])


def _leaves(tests: Sequence[_Test], lost: Flags, half: NDArray[np.bool_], seed: int) -> list[_Path]:
    """The leaves with more lost cases than elsewhere in the half that the tree is fitted on, the most first."""
    from scipy.stats import norm
    from sklearn.tree import DecisionTreeClassifier

    features = np.column_stack([test.window for test in tests]).astype(np.float32)
    model = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=LEAST_LEAF, random_state=seed)
    tree = model.fit(features[half], lost[half]).tree_
    ends: list[Answers] = []

    def walk(node: int, answers: Answers) -> None:
        if tree.children_left[node] == tree.children_right[node]:
            ends.append(answers)
            return
        test = tests[tree.feature[node]]
        walk(tree.children_left[node], (*answers, (test, False)))
        walk(tree.children_right[node], (*answers, (test, True)))

    walk(0, ())
    least = float(norm.isf(ERROR / 2 / len(tests)))  # the tree has chosen among all tests, so chance has as many tries
    short = {frozenset(kept): kept for answers in ends if (kept := _needed(answers, lost, half, least))}
    ranked = []
    for kept in short.values():
        if any(other > frozenset(kept) for other in short):
            continue  # a narrower one, each of whose answers is needed, says it more precisely
        path = _Path(_positive(kept, tests))
        own, rest = lost[half & path.window], lost[half & ~path.window]
        excess = float(own.mean() - rest.mean()) * len(own) if len(own) and len(rest) else 0.0
        if excess > 0:
            ranked.append((excess, path))
    return [path for _, path in sorted(ranked, key=lambda r: -r[0])[:MOST_LEAVES]]


def _needed(answers: Answers, lost: Flags, half: NDArray[np.bool_], least: float) -> Answers:
    """The answers without which fewer rows would be lost, by so many standard errors, where the tree is fitted."""
    kept = answers
    while kept:
        gains = [_gain(kept, at, lost, half) for at in range(len(kept))]
        weakest = int(np.argmin(gains))
        if gains[weakest] >= least:
            break
        kept = (*kept[:weakest], *kept[weakest + 1 :])
    return kept


def _gain(answers: Answers, at: int, lost: Flags, half: NDArray[np.bool_]) -> float:
    """How many standard errors more is lost where an answer holds than where all others do and it does not."""
    test, yes = answers[at]
    others = [t.window == ok for place, (t, ok) in enumerate(answers) if place != at]
    rest = np.logical_and.reduce(others) if others else np.ones(len(lost), dtype=np.bool_)
    inside, outside = (lost[half & rest & (test.window == side)] for side in (yes, not yes))
    if not len(inside) or not len(outside):
        return 0.0
    together = float(np.concatenate([inside, outside]).mean())
    error = (together * (1 - together) * (1 / len(inside) + 1 / len(outside))) ** 0.5
    return float(inside.mean() - outside.mean()) / error if error else 0.0


def _positive(answers: Answers, tests: Sequence[_Test]) -> Answers:
    """The answers, each `is not` of a column of which one other level is left said as that level."""
    found = []
    for test, yes in answers:
        if not yes and " = " in test.yes:
            levels = [t for t in tests if t.column == test.column and t is not test]
            same = [t for t in levels if " = " in t.yes and bool((t.window == ~test.window).all())]
            if same:
                found.append((same[0], True))
                continue
        found.append((test, yes))
    return tuple(found)


def _held(path: _Path, lost: Flags, half: NDArray[np.bool_], looked: int, reference: pl.DataFrame) -> Leaf | None:
    """The leaf as it is among rows the tree did not see; None where its share is not above that of all others."""
    from scipy.stats import norm

    own, rest = lost[~half & path.window], lost[~half & ~path.window]
    if min(len(own), len(rest)) < LEAST_LEAF:
        return None
    hits, others = int(own.sum()), int(rest.sum())
    share, elsewhere = hits / len(own), others / len(rest)
    z = float(norm.isf(ERROR / looked))
    low = (
        share
        - elsewhere
        - ((share - _score(hits, len(own), z)[0]) ** 2 + (_score(others, len(rest), z)[1] - elsewhere) ** 2) ** 0.5
    )
    if low <= 0:
        return None
    known = reference.filter(pl.Series(path.reference))["lost"].drop_nulls() if reference.height else pl.Series()
    before = float(known.cast(pl.Float64).mean()) if len(known) >= LEAST_LEAF else None  # type: ignore[arg-type]  # not empty
    return Leaf(_conditions(path.answers), len(own), hits, *wilson(hits, len(own)), len(rest), others, low, before)


def _score(hits: int, n: int, z: float) -> tuple[float, float]:
    """Wilson's interval at another level; Newcombe (1998), method 10, joins two of them for a difference."""
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(0.0, middle - half), min(1.0, middle + half)


def _conditions(answers: Sequence[tuple[_Test, bool]]) -> tuple[str, ...]:
    """The answers as a reader says them: without those that others imply, and what a row has before what it has not."""
    said_yes = [t for t, yes in answers if yes]
    found: dict[str, None] = {}
    for test, yes in sorted(answers, key=lambda a: not a[1]):
        if not yes and any(t.column == test.column and " = " in t.yes and " = " in test.yes for t in said_yes):
            continue  # channel = 'web' says that it is not 'app'
        others = [
            (t.yes if ok else t.no) for t, ok in answers if t is not test and t.column == test.column and ok is yes
        ]
        mine = test.yes if yes else test.no
        if not (_number(mine) and any(_implies(other, mine) for other in others)):
            found[mine] = None
    return tuple(found)


def _number(condition: str) -> bool:
    return " > " in condition or " <= " in condition


def _implies(strong: str, weak: str) -> bool:
    """Whether one bound of a number makes another one needless."""
    for sign, tighter in ((" > ", float.__gt__), (" <= ", float.__lt__)):
        if sign in strong and sign in weak:
            a, b = (float(c.rpartition(sign)[2].replace(",", "")) for c in (strong, weak))
            return bool(tighter(a, b))
    return False
