"""How many rows arrived in a time window, compared with the same phase of the week in the reference."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

NAME: Final = "volume"
# With fewer than half or more than twice the expected rows, no test of the distribution holds its level.
MAX_FACTOR: Final = 2.0
UNCLEAR_BELOW: Final = (
    0.1  # p value; above it such volumes are common without a change, and the distribution is judged as usual
)
MIN_DEGREES: Final = 4  # blocks of the reference in excess of one per phase
_HOUR, _DAY, _WEEK = 3_600, 86_400, 604_800


@dataclass(frozen=True, slots=True)
class Volume:
    """Rows per block of a window; `p` is None with a `reason` if they were not tested.

    `expected` is the number of rows per block in the same phases of the reference, and `ratio` is rows over expected
    rows. `phases` is the number of parts of the week into which the reference was split, and `blocks` the number of
    blocks of the window that were compared.
    """

    value: float | None
    expected: float | None
    ratio: float | None
    p: float | None
    reason: str | None
    n: int
    n_reference: int
    spread: float | None = None
    phases: int = 0
    blocks: int = 0

    @property
    def outside(self) -> bool:
        return self.ratio is not None and not 1.0 / MAX_FACTOR <= self.ratio <= MAX_FACTOR

    @property
    def times(self) -> str:
        """The ratio in words, to two significant digits."""
        ratio = self.ratio or 0.0
        if ratio >= 10:
            return f"about {float(f'{ratio:.2g}'):,.0f} times"
        return "less than 0.001 times" if 0 < ratio < 0.001 else f"{ratio:.2g} times"

    def changed(self, alpha: float) -> bool:
        """Whether the volume alarms at the false-alarm rate `alpha`."""
        return self.outside and self.p is not None and self.p <= alpha

    def unclear(self, alpha: float) -> bool:
        """Whether there are too few or too many rows to judge the distribution, without a certain change of volume."""
        return self.outside and not self.changed(alpha) and (self.p is None or self.p <= UNCLEAR_BELOW)


def volume(reference: Mapping[int, int], window: Mapping[int, int], block_s: int) -> Volume:
    """Test whether more or fewer rows arrived per block of time than in the reference at the same time of the week.

    The model: the logarithm of (rows + 1) of a block is the mean of its phase plus a deviation, whose spread is the
    same in all phases. The test is Student's t of the mean deviation of the window's blocks, two-sided, on the
    reference's degrees of freedom. If the reference spans two weeks, a phase is a day of the week, or an hour of it
    for blocks shorter than a day. Before that, all weekdays are one phase and the days of the weekend another. Blocks
    in a phase that the reference does not contain are not compared: weekdays are no evidence about a Sunday. A weekly
    rhythm is therefore no change.

    Args:
        reference: rows by number of the whole block, counted from the epoch in steps of `block_s`; gaps as 0.
        window: the same for every block of the window.
        block_s: length of a block, seconds, at most a day.

    Returns:
        Rows and expected rows per block, their ratio over the compared blocks (an expectation below 1 row counts as
        1), and the p value. Without a change p is uniform if the logarithms are normal and independent; heavier tails
        cost false alarms. p is None with a reason if no block could be compared, or if the reference has too few.

    Source: prediction interval for the mean of further observations, Hahn and Meeker (1991), section 4.8.
    """
    from scipy.special import stdtr

    n, n_reference = sum(window.values()), sum(reference.values())
    value = n / len(window) if window else None
    known = np.array(sorted(reference), dtype=np.int64)
    fine = len(known) > 0 and (int(known[-1]) - int(known[0]) + 1) * block_s >= 2 * _WEEK
    of_known, own = (
        _phases(known, block_s, fine=fine),
        np.array([reference[b] for b in known.tolist()], dtype=np.float64),
    )
    blocks = np.array(sorted(window), dtype=np.int64)
    of_window = _phases(blocks, block_s, fine=fine)
    names, at, sizes = np.unique(of_known, return_inverse=True, return_counts=True)
    compared = np.isin(of_window, names)
    degrees = len(known) - len(names)
    if not compared.any():
        reason = "the reference has no whole block at this time of the week" if window else "the window has no block"
        return Volume(value, None, None, None, reason, n, n_reference, phases=len(names))
    rows = np.array([window[b] for b in blocks[compared].tolist()], dtype=np.float64)
    phase = np.searchsorted(names, of_window[compared])
    logs = np.log1p(own)
    means = np.bincount(at, weights=logs) / sizes
    usual = (np.bincount(at, weights=own) / sizes)[phase]
    ratio = float(rows.sum() / max(usual.sum(), 1.0))
    expected = float(usual.mean())
    if degrees < MIN_DEGREES:
        reason = f"{len(known)} whole blocks of reference for {len(names)} phases of the week; {MIN_DEGREES} more "
        return Volume(value, expected, ratio, None, reason + "than phases are needed", n, n_reference, None, len(names))
    spread = float(np.sqrt(np.sum((logs - means[at]) ** 2) / degrees))
    # On this scale Poisson counts vary by 1 / sqrt(rows). Blocks that agree better than that agree by chance.
    spread = max(spread, 1.0 / float(np.sqrt(max(expected, 1.0))))
    taken = np.bincount(phase, minlength=len(names))
    error = spread * np.sqrt(1.0 / len(rows) + np.sum((taken / len(rows)) ** 2 / sizes))
    p = float(2.0 * stdtr(degrees, -abs(float(np.mean(np.log1p(rows) - means[phase]))) / error))
    return Volume(value, expected, ratio, p, None, n, n_reference, spread, len(names), len(rows))


def _phases(blocks: NDArray[np.int64], block_s: int, *, fine: bool) -> NDArray[np.int64]:
    """The phase of each block: its hour of the week, or, unless `fine`, its hour of a weekday or of a weekend day.

    The hour of a block of a whole day is 0.
    """
    seconds = blocks * block_s + 3 * _DAY  # the epoch began on a Thursday; weeks begin on Monday
    day = seconds % _WEEK // _DAY
    hour = np.zeros_like(day) if block_s >= _DAY else seconds % _DAY // _HOUR
    part = day if fine else (day >= 5).astype(np.int64)
    found: NDArray[np.int64] = part * 24 + hour
    return found
