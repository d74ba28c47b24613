"""How far texts are from the nearest texts of the reference."""

from monitor.drift.texts.base import Mean, TextMethod, mean


def novelty(current: Mean) -> float:
    """Mean over texts of 1 minus the mean similarity to the 3 nearest of up to 4,000 reference texts.

    Args:
        current: sum and number of the distances, each 0..1, or >= 0 for vectors of a model; missing texts are left out.

    Returns:
        Mean distance, 0..1; without an upper bound for vectors of a model. The reference's own value comes from texts
        that are not among those they are compared with.

    Raises:
        InsufficientDataError: there is no text.

    Source: distance to the k nearest neighbours as novelty, Markou and Singh (2003), section 4.
    """
    return mean(current)


METHOD = TextMethod(name="novelty", derived="distance", unit="distance", compute=novelty)
