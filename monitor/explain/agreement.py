"""How far a second opinion agrees with the values of a record: order of all parts, and which are the largest."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

TOP: Final = 5
FEWEST: Final = 3  # parts whose order says something


def agreement(values: Sequence[float], others: Sequence[float], *, signed: bool = True) -> dict[str, Any]:
    """Spearman's rank correlation, and how many of the largest parts by size both name.

    Args:
        values: of the record, shape (parts,).
        others: of the second opinion, the same parts.
        signed: whether the opinion says in which direction a part moves the output; if not, sizes are compared.

    Returns:
        `rank_correlation`, -1..1 or None with a `reason`; `top`, the number of largest parts; `shared`, 0..top.

    Source: Spearman (1904); Krishna et al. (2022), The Disagreement Problem in Explainable Machine Learning.
    """
    one, other = np.asarray(values, dtype=np.float64), np.asarray(others, dtype=np.float64)
    top = min(TOP, len(one))
    shared = len({*_largest(one, top)} & {*_largest(other, top)})
    told: dict[str, Any] = {"rank_correlation": None, "reason": None, "top": top, "shared": shared}
    if not signed:
        one, other = np.abs(one), np.abs(other)
    if len(one) < FEWEST:
        return told | {"reason": f"{len(one)} parts have no order to compare"}
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return told | {"reason": "all parts have the same value, so there is no order"}
    from scipy.stats import spearmanr

    return told | {"rank_correlation": float(spearmanr(one, other).statistic)}


def _largest(values: "np.ndarray[Any, np.dtype[np.float64]]", top: int) -> list[int]:
    return [int(i) for i in np.argsort(-np.abs(values), kind="stable")[:top]]
