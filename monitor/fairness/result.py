"""What a fairness metric says of some rows: its value, and the rates of every group."""

from collections.abc import Callable
from dataclasses import dataclass, field

from monitor.fairness.bounds import PairwiseBounds
from monitor.fairness.comparisons import Compare
from monitor.fairness.unknown_members import Membership


@dataclass(frozen=True)
class GroupRates:
    """Rates of one group; None where its denominator is 0. Groups that are too small are shown and not compared.

    Attributes:
        rates: by name: the rate.
        intervals: by name: the ends of its 95 % interval.
        of: by name: the rows it is a share or mean of.
        against: by name: the rate minus, or divided by, what it is compared with; empty between groups.
        adjusted_p: by name: the p value of the same share in this group and all others, corrected for their number.
    """

    group: str
    n: int
    rates: dict[str, float | None]
    too_small: bool
    intervals: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    of: dict[str, int] = field(default_factory=dict)
    against: dict[str, float | None] = field(default_factory=dict)
    adjusted_p: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class FairnessValue:
    """The value of a fairness metric; None with a `reason` if it is undefined.

    `definition` states in one sentence what was computed. `positive` is the class whose rates were compared; with more
    than two classes, the worst one; `source` says who named it (`monitor.fairness.positive`). `pair` names the two
    groups behind the value; `p` is that of Fisher's exact test of the two, where the metric has one. `low` and `high`
    are the ends of its 95 % interval. The largest difference is never negative, so chance alone makes it positive; a
    limit is therefore judged by `bounds`. `second_opinion` computes the value again, from the same counts, with
    fairlearn. `membership` says what the value may be where it is not known who belongs to which group.
    """

    metric: str
    by: str
    value: float | None
    reason: str | None
    definition: str
    positive: str | None
    groups: tuple[GroupRates, ...]
    n: int
    low: float | None = None
    high: float | None = None
    source: str = "none"
    compare: Compare = "between"
    pair: tuple[str, str] | None = None
    classes: tuple[tuple[str, float], ...] = ()
    p: float | None = None
    membership: Membership | None = None
    bounds: PairwiseBounds | None = field(default=None, compare=False, repr=False)
    second_opinion: Callable[[], float] | None = field(default=None, compare=False, repr=False)
