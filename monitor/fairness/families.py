"""The catalogue: every rate as difference and as ratio, and the families that the field knows by a name."""

from typing import Final

from monitor.fairness.comparisons import DIFFERENCE, DISPARITIES, RATIO
from monitor.fairness.numbers import OF_NUMBERS, OF_SCORES, OF_TEXTS, STANDARDISED, STANDARDISED_NUMBER
from monitor.fairness.rates import (
    ACCURACY,
    FALSE_POSITIVE,
    OF_CLASSES,
    PRECISION,
    SELECTION,
    TREATMENT,
    TRUE_POSITIVE,
    GroupRate,
)
from monitor.fairness.values import Fairness

_NAMED: Final[tuple[tuple[str, tuple[GroupRate, ...], str, str, GroupRate | None], ...]] = (
    ("demographic_parity", (SELECTION,), "Does every group get the answer equally often, whether it is right or not?",
     "Agarwal et al. (2018); fairlearn", None),
    ("equalized_odds", (TRUE_POSITIVE, FALSE_POSITIVE), "Is the model right, and wrong, equally often for every group?",
     "Hardt, Price and Srebro (2016); fairlearn", ACCURACY),
    ("equal_opportunity", (TRUE_POSITIVE,), "Do those who should get the answer get it equally often in every group?",
     "Hardt, Price and Srebro (2016); fairlearn", None),
    ("predictive_parity", (PRECISION,), "Is the answer right equally often in every group, where it is given?",
     "Chouldechova (2017)", None),
    ("treatment_equality", (TREATMENT,), "Do the two kinds of error stand in the same relation in every group?",
     "Berk et al. (2021)", None),
)  # fmt: skip


def _of_rate(rate: GroupRate) -> tuple[Fairness, ...]:
    words = f"Is the {rate.words} the same in every group?"
    source = "fairlearn" if rate.library is not None else "Aequitas; Verma and Rubin (2018)"
    base = rate.metric or rate.name
    return tuple(Fairness(f"{base}_{d.name}", (rate,), d, words, source) for d in DISPARITIES.values())


def _named(name: str, rates: tuple[GroupRate, ...], words: str, source: str, micro: GroupRate | None) -> list[Fairness]:
    return [Fairness(f"{name}_{d.name}", rates, d, words, source, micro) for d in DISPARITIES.values()]


METRICS: Final = (
    *(metric for family in _NAMED for metric in _named(*family)),
    Fairness(
        "impact_ratio", (SELECTION,), RATIO, "How does each group's selection rate compare with the highest one?",
        "6 RCNY 5-300 (New York City, Local Law 144 of 2021)", compare="best",
    ),
    Fairness(
        "scoring_impact_ratio", (OF_SCORES[1],), RATIO,
        "How does each group's scoring rate compare with the highest one?",
        "6 RCNY 5-300 (New York City, Local Law 144 of 2021)", compare="best",
    ),
    Fairness(
        "adverse_impact_ratio", (SELECTION,), RATIO,
        "What is a group's selection rate divided by that of the reference group, or of the best one?",
        "29 CFR 1607.4(D)", compare="best", directed=True,
    ),
    Fairness(
        "four_fifths_ratio", (SELECTION,), RATIO, "Is a selection rate below four fifths of the highest one?",
        "29 CFR 1607.4(D); Fisher's exact test of the two groups behind it", compare="best", exact_test=True,
    ),
    Fairness(
        "standardised_mean_difference", (STANDARDISED,), DIFFERENCE,
        "By how many standard deviations do mean scores differ?", "Cohen (1988), section 2.2",
    ),
    Fairness(
        "standardised_prediction_difference", (STANDARDISED_NUMBER,), DIFFERENCE,
        "By how many standard deviations do mean predictions differ?", "Cohen (1988), section 2.2",
    ),
    *(metric for rate in (*OF_CLASSES, *OF_SCORES, *OF_NUMBERS, *OF_TEXTS) for metric in _of_rate(rate)),
)  # fmt: skip
