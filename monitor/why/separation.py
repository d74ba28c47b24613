"""How well a score tells two sets of rows apart: the area under the ROC curve with an interval for rows in bursts."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats, Ints


@dataclass(frozen=True, slots=True)
class Area:
    """An area under the ROC curve with the ends of its interval; 0.5 tells nothing apart, 1 everything."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Groups:
    """How rows hang together: `fold` is the part of a cross-validation, `block` a stretch of neighbouring rows."""

    is_window: NDArray[np.bool_]  # (rows,)
    fold: Ints  # (rows,)
    block: Ints  # (rows,); a block lies within one side and one fold


def area(score: Floats, groups: Groups, *, level: float = 0.95) -> Area:
    """The area under the ROC curve of a score for the rows of the window, compared within each fold.

    Args:
        score: shape (rows,); higher means more like the window. Rows of different folds are never compared, because
            their scores come from different models.
        groups: side, fold and block of each row.
        level: of the interval, which takes neighbouring rows of a block as dependent.

    Returns:
        The area and its interval, cut to 0..1. Ties count half.

    Raises:
        ZeroDivisionError: a side has fewer than two blocks.

    Source: Hanley and McNeil (1982); variance from placement values, DeLong et al. (1988), summed over clusters as
    Obuchowski (1997) does; Student's t with one degree of freedom less than the side with fewer blocks.
    """
    from scipy.stats import rankdata, t

    placed = np.empty(len(score))
    for number in np.unique(groups.fold):
        part = groups.fold == number
        inside = groups.is_window[part]
        n, m = int(inside.sum()), int((~inside).sum())
        values = score[part]
        ranks = rankdata(values)
        own = np.empty(len(values))
        own[inside], own[~inside] = rankdata(values[inside]), rankdata(values[~inside])
        # Of a row of the window: the share of reference rows below it; of a reference row: that of window rows above.
        placed[part] = np.where(inside, (ranks - own) / m, 1.0 - (ranks - own) / n)
    value = float(placed[groups.is_window].mean())
    variance, blocks = 0.0, []
    for side in (groups.is_window, ~groups.is_window):
        _, index = np.unique(groups.block[side], return_inverse=True)
        sums = np.bincount(index, placed[side] - placed[side].mean())
        many = len(sums)
        variance += float((sums**2).sum()) * many / ((many - 1) * int(side.sum()) ** 2)
        blocks.append(many)
    reach = float(t.ppf((1.0 + level) / 2.0, min(blocks) - 1)) * math.sqrt(variance)
    return Area(value, max(0.0, value - reach), min(1.0, value + reach))


def grouped(reference_rows: int, window_rows: int, *, folds: int, seed: int, blocks: int = 20) -> Groups:
    """Sides, folds and blocks of rows that lie in order of their arrival, the reference first.

    Neighbouring rows, such as those of one session, lie in one block, and a block in one fold: what is learned from a
    row is never tried on its neighbour. Blocks are dealt to folds in random order.
    """
    rng = np.random.default_rng(seed)
    fold, block, first = [], [], 0
    for rows in (reference_rows, window_rows):
        count = max(folds, min(blocks, rows // 2))
        of_row = np.arange(rows) * count // rows
        dealt = rng.permutation(np.arange(count) % folds)
        fold.append(dealt[of_row])
        block.append(first + of_row)
        first += count
    sides = np.arange(reference_rows + window_rows) >= reference_rows
    return Groups(sides, np.concatenate(fold).astype(np.int64), np.concatenate(block).astype(np.int64))
