"""Whether a language model finds the preferred one of two answers the likelier."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

PREFERENCE: Final = "preference_accuracy"


def preferred(chosen: Sequence[NDArray[np.float32]], rejected: Sequence[NDArray[np.float32]]) -> list[bool | None]:
    """True for each pair whose preferred answer has the higher mean log-probability per token; a tie is not.

    The mean, not the sum: by the sum the shorter answer would mostly win.

    Args:
        chosen: token log-probabilities of each preferred answer, in nats.
        rejected: of the other answer to the same prompt.

    Returns:
        One value a pair; None where an answer has no token, or a log-probability that is not finite.
    """
    result: list[bool | None] = []
    for one, other in zip(chosen, rejected, strict=True):
        usable = len(one) and len(other) and np.isfinite(one).all() and np.isfinite(other).all()
        result.append(bool(np.mean(one, dtype=np.float64) > np.mean(other, dtype=np.float64)) if usable else None)
    return result
