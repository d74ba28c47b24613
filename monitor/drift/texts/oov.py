"""Words the reference never used."""

from monitor.drift.texts.base import Mean, TextMethod, mean


def oov(current: Mean) -> float:
    """Mean over texts of the share of their words that are outside the reference's vocabulary.

    Args:
        current: of the shares, each 0..1; texts without a word are left out.

    Returns:
        0 to 1. The reference's own value is that of texts its vocabulary was not taken from.

    Raises:
        InsufficientDataError: no text has a word.

    Source: out-of-vocabulary rate, as in Jurafsky and Martin (2009), section 4.3.
    """
    return mean(current)


METHOD = TextMethod(name="oov", derived="oov", unit="share of words", compute=oov)
