"""Owen values of many inputs at once: what each part of an input adds to the outputs of a model.

The parts of an input are the leaves of a balanced binary tree. A node's two halves share what it adds, each with the
mean of what it adds without and with the other half. With enough evaluations every part gets a value of its own; where
the budget ends first, a node's value is shared out among the parts below it by their number. shap's partition explainer
computes the same values for the same tree and budget; it asks the model a few inputs of one text at a time, this asks
for all inputs of a level of the trees of all texts together.

Source: Owen (1977), Values of games with a priori unions; Lundberg's PartitionExplainer in shap.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats

Mask = NDArray[np.bool_]  # of the parts of one input: which are there; shape (parts,)
Ask = Callable[[Sequence[tuple[int, Mask]]], Floats]  # inputs by number with their masks -> outputs (n, outputs)

AT_ONCE = 64  # masks of one input in one round; few enough that a budget goes to the nodes that matter most


@dataclass(frozen=True)
class Owen:
    """`values`: shape (parts, outputs); `base` and `output`: shape (outputs,), with no part and with all of them."""

    values: Floats
    base: Floats
    output: Floats
    evals: int


@dataclass(frozen=True, slots=True)
class _Node:
    """Parts first..last-1 of an input."""

    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first

    def halves(self) -> "tuple[_Node, _Node]":
        middle = self.first + (self.size + 1) // 2
        return _Node(self.first, middle), _Node(middle, self.last)

    def added(self, mask: Mask) -> Mask:
        more = mask.copy()
        more[self.first : self.last] = True
        return more


@dataclass(frozen=True, slots=True)
class _Step:
    """What a node adds to a mask: outputs without and with it, and how much of the whole this context weighs."""

    mask: Mask
    without: Floats
    beside: Floats
    node: _Node
    weight: float


@dataclass(slots=True)
class _Tree:
    """The work that is left for one input; the step that may move its outputs most comes first."""

    parts: int
    budget: int
    base: Floats
    output: Floats
    order: "count[int]" = field(default_factory=count)
    steps: list[tuple[float, int, _Step]] = field(default_factory=list)
    values: Floats = field(init=False)
    evals: int = 2

    def __post_init__(self) -> None:
        self.values = np.zeros((self.parts, len(self.base)))
        self.push(_Step(np.zeros(self.parts, dtype=bool), self.base, self.output, _Node(0, self.parts), 1.0))

    def push(self, step: _Step) -> None:
        if step.node.size == 1:
            self.credit(step)
            return
        gain = float(np.abs(step.beside - step.without).max()) * step.weight
        heapq.heappush(self.steps, (-gain, next(self.order), step))

    def credit(self, step: _Step) -> None:
        share = (step.beside - step.without) * step.weight / step.node.size
        self.values[step.node.first : step.node.last] += share

    def taken(self, most: int) -> list[_Step]:
        """The steps of the next round; those that the budget no longer covers are shared out."""
        found = list[_Step]()
        while self.steps and len(found) * 2 < most and self.evals + 2 * len(found) < self.budget:
            found.append(heapq.heappop(self.steps)[2])
        self.evals += 2 * len(found)
        if self.evals >= self.budget:
            for _, _, step in self.steps:
                self.credit(step)
            self.steps.clear()
        return found

    def split(self, step: _Step, outputs: Floats, *, last: bool) -> None:
        """Share what a node adds between its halves, given the outputs with each half added, shape (2, outputs)."""
        left, right = step.node.halves()
        one, other = outputs
        half = step.weight / 2
        with_left, with_right = left.added(step.mask), right.added(step.mask)
        put = self.credit if last else self.push
        put(_Step(step.mask, step.without, one, left, half))
        put(_Step(step.mask, step.without, other, right, half))
        put(_Step(with_right, other, step.beside, left, half))
        put(_Step(with_left, one, step.beside, right, half))


def owen_values(parts: Sequence[int], ask: Ask, *, budget: int, at_once: int = AT_ONCE) -> list[Owen]:
    """The values of the parts of several inputs.

    Args:
        parts: how many parts each input has, at least 1 each.
        ask: pairs of input number and mask -> outputs, shape (n, outputs); called once for each level of the trees.
        budget: most masks asked for of one input; the ones with no part and with all parts are always asked.
        at_once: most masks of one input in one call.

    Returns:
        One result for each input, in order; base + sum of values = output for each output, up to rounding.
    """
    asked = [(i, np.full(n, whole)) for i, n in enumerate(parts) for whole in (False, True)]
    ends = np.asarray(ask(asked), dtype=np.float64) if asked else np.zeros((0, 0))
    trees = [_Tree(n, budget, ends[2 * i], ends[2 * i + 1]) for i, n in enumerate(parts)]
    while work := [(i, step) for i, tree in enumerate(trees) for step in tree.taken(at_once)]:
        masks = [(i, half.added(step.mask)) for i, step in work for half in step.node.halves()]
        found = np.asarray(ask(masks), dtype=np.float64)
        for at, (i, step) in enumerate(work):
            tree = trees[i]
            tree.split(step, found[2 * at : 2 * at + 2], last=tree.evals >= tree.budget)
    return [Owen(t.values, t.base, t.output, t.evals) for t in trees]
