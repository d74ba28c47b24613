"""Words that the reference does not contain."""

from monitor.drift.texts.base import Mean, TextMethod, mean


def oov(current: Mean) -> float:
    """Mean over texts of the share of their words that are outside the reference's vocabulary.

    Args:
        current: sum and number of the shares, each 0..1; texts without a word are left out.

    Returns:
        Mean share of words, 0..1. The reference's own value comes from texts outside its vocabulary's sample.

    Raises:
        InsufficientDataError: no text has a word.

    Source: out-of-vocabulary rate, as in Jurafsky and Martin (2009), section 4.3.
    """
    return mean(current)


METHOD = TextMethod(name="oov", derived="oov", unit="share of words", compute=oov)
