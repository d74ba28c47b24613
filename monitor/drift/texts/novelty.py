"""How far texts lie from every text of the reference."""

from monitor.drift.texts.base import Mean, TextMethod, mean


def novelty(current: Mean) -> float:
    """Mean over texts of 1 minus the mean similarity to the 3 nearest of up to 4,000 reference texts.

    Args:
        current: of the distances, each 0..1, or those of a model's vectors, >= 0; missing texts are left out.

    Returns:
        0 to 1; of vectors no upper bound. The reference's own value is that of texts which are not among those they are
        compared with.

    Raises:
        InsufficientDataError: there is no text.

    Source: distance to the k nearest neighbours as novelty, Markou and Singh (2003), section 4.
    """
    return mean(current)


METHOD = TextMethod(name="novelty", derived="distance", unit="distance", compute=novelty)
