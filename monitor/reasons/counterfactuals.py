"""Actionable counterfactuals: the smallest changes within what a person can change that turn an adverse decision.

Own search over values that were observed, because the model is known by its answers only. Every change that is told was
given to the model, and turned its answer. Pure but for `adversity`, which calls the model.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any, Final, Literal

import numpy as np

from core.errors import InvalidError
from monitor.levels import bool_level, level, number_level

Direction = Literal["up", "down", "any"]
Row = Mapping[str, Any]
Adversity = Callable[[Sequence[Row]], Sequence[float]]
STEPS: Final = 12  # values of a number that are tried in one direction, evenly among the observed ones
LEVELS: Final = 20  # values of a category that are tried: the most frequent ones
PER_COLUMN: Final = 1.0  # what one more changed column costs, in standard deviations
BATCH: Final = 128  # rows in one call of the model
FAR_COLUMNS: Final = 4  # columns that are changed together in the search from far


@dataclass(frozen=True)
class Counterfactual:
    """Changes that turn the decision. `distance`: sum over columns, in standard deviations; a category counts 1."""

    changes: Mapping[str, Any]
    distance: float


@dataclass(frozen=True)
class CounterfactualSearch:
    """What was found, the cheapest first; `why` says why there is none, or that the budget ended the search."""

    found: tuple[Counterfactual, ...]
    why: str | None
    evals: int
    budget: int
    seed: int


@dataclass(frozen=True)
class _Step:
    """One value that a column may take instead, and what that costs."""

    value: Any
    cost: float


Chosen = tuple[tuple[int, int], ...]  # columns by place, each with the place of its value


def counterfactuals(
    row: Row,
    mutable: Mapping[str, Direction],
    observed: Mapping[str, Sequence[Any]],
    adversity: Adversity,
    *,
    most: int = 3,
    budget: int = 2_000,
    seed: int = 0,
) -> CounterfactualSearch:
    """Small sets of changes after which the model's answer is not adverse, each of other columns.

    A change costs its size in standard deviations of the observed values (1 for a category), and 1 for each column that
    changes. With half of the budget, sets are tried in the order of their cost, so that the first that turns the answer
    is the cheapest. With the rest, sets of up to four columns are tried at their most promising values, and those that
    turn the answer are shrunk while they do. A set that contains the columns of one already found is not told.

    Args:
        row: the inputs of the decision, by column.
        mutable: columns that may change; `up` and `down` keep a number's direction, `any` allows both, and categories.
        observed: by mutable column: values of the reference data; only these are ever proposed. None is left out.
        adversity: n rows -> how adverse the model's answer to each is; above 0 it is adverse. Of the rest only the
            order counts, so that 1 and 0 are enough. Called with at most 128 rows at a time.
        most: the largest number of answers.
        budget: the most rows that the model is asked for, the decision itself counted.
        seed: decides between changes of equal cost. The same arguments give the same answers.

    Returns:
        Verified counterfactuals; none, with the reason, where nothing observed and within the budget turns the answer.

    Raises:
        InvalidError: a mutable column is missing in `row` or `observed`, or a category has a direction.
    """
    steps = {name: _steps(name, row, direction, observed) for name, direction in mutable.items()}
    search = _Search(row, {name: found for name, found in steps.items() if found}, adversity, budget, seed)
    if not mutable:
        return search.result("no column may change: the spec declares none as mutable", most)
    if not search.steps:
        return search.result("no other value was observed in the direction in which a column may change", most)
    if not search.ask([{}])[0] > 0:
        return search.result("the model's answer to these inputs is not adverse", most)
    search.from_near(most, budget // 2)
    if len(search.found) < most:
        search.from_far(most)
    return search.result(None, most)


class _Search:
    def __init__(
        self, row: Row, steps: Mapping[str, Sequence[_Step]], adversity: Adversity, budget: int, seed: int
    ) -> None:
        self.row, self.adversity, self.budget, self.seed = row, adversity, budget, seed
        self.names = [str(name) for name in np.random.default_rng(seed).permutation(sorted(steps))]
        self.steps = [steps[name] for name in self.names]
        self.found: list[tuple[float, Chosen]] = []
        self.scores: dict[Chosen, float] = {}
        self.calls = 0
        self.complete = False  # every set was tried

    @property
    def left(self) -> int:
        return self.budget - self.calls

    def ask(self, changes: Sequence[Mapping[str, Any]]) -> list[float]:
        """How adverse the answers are with these changes."""
        self.calls += len(changes)
        answers = [float(one) for one in self.adversity([{**self.row, **one} for one in changes])]
        if len(answers) != len(changes):
            raise InvalidError(f"the model gave {len(answers)} answers to {len(changes)} rows", rows=len(changes))
        if np.isnan(answers).any():
            raise InvalidError("the model's answer is no number, so nobody knows whether it is adverse")
        return answers

    def turned(self, sets: Sequence[Chosen]) -> list[bool]:
        """Whether each set of changes turns the answer. What was asked before is not asked again."""
        new = [chosen for chosen in dict.fromkeys(sets) if chosen not in self.scores]
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH][: max(self.left, 0)]
            if batch:
                self.scores.update(zip(batch, self.ask([self.changes(c) for c in batch]), strict=True))
        return [self.scores.get(chosen, np.inf) <= 0 for chosen in sets]

    def changes(self, chosen: Chosen) -> dict[str, Any]:
        return {self.names[column]: self.steps[column][step].value for column, step in chosen}

    def cost(self, chosen: Chosen) -> float:
        return sum(self.steps[column][step].cost for column, step in chosen)

    def is_new(self, chosen: Chosen) -> bool:
        columns = {column for column, _ in chosen}
        return not any({column for column, _ in other} <= columns for _, other in self.found)

    def from_near(self, most: int, budget: int) -> None:
        """Sets in the order of their cost."""
        candidates = (chosen for chosen in self._by_cost() if self.is_new(chosen))
        while len(self.found) < most and self.calls < budget:
            batch = list(islice(candidates, min(BATCH, budget - self.calls)))
            if not batch:
                self.complete = True
                return
            for chosen, turned in zip(batch, self.turned(batch), strict=True):
                if turned and len(self.found) < most and self.is_new(chosen):
                    self.found.append((self.cost(chosen), chosen))

    def from_far(self, most: int) -> None:
        """Sets of columns at their most promising values, the fewest columns first; what turns the answer is shrunk."""
        if self.complete:
            return
        self.turned([((column, step),) for column, steps in enumerate(self.steps) for step in range(len(steps))])
        best = [
            min(range(len(steps)), key=lambda step, c=column: (self.scores.get(((c, step),), np.inf), -step))  # type: ignore[misc]
            for column, steps in enumerate(self.steps)
        ]
        for size in range(1, FAR_COLUMNS + 1):
            for columns in combinations(range(len(self.steps)), size):
                chosen = tuple((column, best[column]) for column in columns)
                if len(self.found) >= most or self.left <= 0:
                    return
                if self.is_new(chosen) and self.turned([chosen])[0]:
                    small = self._shrunk(chosen)
                    self.found.append((self.cost(small), small))

    def _shrunk(self, chosen: Chosen) -> Chosen:
        """The same columns or fewer, each as near to the present value as the answer stays turned."""
        for part in sorted(chosen, key=lambda one: -self.steps[one[0]][one[1]].cost):
            without = tuple(one for one in chosen if one[0] != part[0])
            if without and self.turned([without])[0]:
                chosen = without
                continue
            low, high = -1, part[1]  # at `high` it is turned; at `low` it is not, or was not tried
            while high - low > 1:
                middle = (low + high) // 2
                if self.turned([tuple((c, middle) if c == part[0] else (c, s) for c, s in chosen)])[0]:
                    high = middle
                else:
                    low = middle
            chosen = tuple((c, high) if c == part[0] else (c, s) for c, s in chosen)
        return chosen

    def _by_cost(self) -> Iterator[Chosen]:
        """Every set of changes once, the cheapest first."""
        heap: list[tuple[float, int, Chosen]] = []

        def push(chosen: Chosen) -> None:
            heapq.heappush(heap, (round(self.cost(chosen), 12), len(chosen), chosen))

        for column in range(len(self.steps)):
            push(((column, 0),))
        while heap:
            _, _, chosen = heapq.heappop(heap)
            yield chosen
            last, step = chosen[-1]
            if step + 1 < len(self.steps[last]):  # the next value of the last column
                push((*chosen[:-1], (last, step + 1)))
            for column in range(last + 1, len(self.steps)):  # only later columns, so that each set comes up once
                push((*chosen, (column, 0)))

    def result(self, why: str | None, most: int) -> CounterfactualSearch:
        found = tuple(
            Counterfactual(self.changes(chosen), cost - PER_COLUMN * len(chosen))
            for cost, chosen in sorted(self.found, key=lambda one: one[0])
        )
        ended = self.left <= 0 and len(found) < most
        if why is None and not found:
            inside = f"a budget of {self.budget} rows" if ended else "the values that were observed"
            why = f"no change of {', '.join(sorted(self.names))} within {inside} turns the decision"
        elif why is None and ended:
            why = f"the search ended after {self.calls} rows, its budget; there may be other changes"
        return CounterfactualSearch(found, why, self.calls, self.budget, self.seed)


def _steps(name: str, row: Row, direction: Direction, observed: Mapping[str, Sequence[Any]]) -> list[_Step]:
    """The values that a column may take, the cheapest first."""
    if name not in row or name not in observed:
        raise InvalidError(
            f"column {name!r} may change, and is missing in the decision or in the reference data", field=name
        )
    present, values = row[name], [value for value in observed[name] if value is not None]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return _level_steps(name, present, direction, values)
    pool = sorted({value for value in values if np.isfinite(value)})
    spread = float(np.std(np.asarray([v for v in values if np.isfinite(v)], dtype=np.float64))) if pool else 0.0
    if present is None or not spread > 0:  # a missing number has no direction, and a constant one no other value
        return []
    up = [value for value in pool if value > present] if direction != "down" else []
    down = [value for value in reversed(pool) if value < present] if direction != "up" else []
    chosen = [*_spaced(up), *_spaced(down)]
    return sorted((_Step(v, abs(v - present) / spread + PER_COLUMN) for v in chosen), key=lambda step: step.cost)


def _spaced(ordered: Sequence[Any]) -> list[Any]:
    """At most STEPS values, evenly among the observed ones, the nearest and the farthest among them."""
    places = {round(float(at)) for at in np.linspace(0, len(ordered) - 1, STEPS)} if ordered else set()
    return [ordered[place] for place in sorted(places)]


def _level_steps(name: str, present: Any, direction: Direction, values: Sequence[Any]) -> list[_Step]:
    if direction != "any":
        raise InvalidError(f"column {name!r} is no number, and may change `any` way only, not {direction}", field=name)
    counts: dict[str, int] = {}
    first: dict[str, Any] = {}
    for value in values:
        if (found := _level(value)) is not None:
            counts[found] = counts.get(found, 0) + 1
            first.setdefault(found, value)
    here = _level(present)
    common = sorted((one for one in counts if one != here), key=lambda one: (-counts[one], one))
    return [_Step(first[one], 1.0 + PER_COLUMN) for one in common[:LEVELS]]


def _level(value: Any) -> str | None:
    if isinstance(value, bool):
        return bool_level(value)
    if isinstance(value, int | float):
        return number_level(value)
    return None if value is None else level(str(value))
