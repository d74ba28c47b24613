"""The catalogue of drift statistics."""

from typing import Final

from monitor.drift import (
    auc,
    chi2,
    energy,
    hellinger,
    jensen_shannon,
    ks,
    l_infinity,
    psi,
    psi_corrected,
    total_variation,
    wasserstein,
)
from monitor.drift.base import Counts, Method
from monitor.drift.score import Score, score_window
from monitor.drift.texts import TEXT_METHODS
from monitor.profile.block import BlockProfile
from monitor.profile.reference_profile import ReferenceProfile

METHODS: Final = {
    m.name: m
    for m in (
        auc.METHOD,
        chi2.METHOD,
        energy.METHOD,
        hellinger.METHOD,
        jensen_shannon.METHOD,
        ks.METHOD,
        l_infinity.METHOD,
        psi.METHOD,
        psi_corrected.METHOD,
        total_variation.METHOD,
        wasserstein.METHOD,
    )
}


def drift_scores(baseline: ReferenceProfile, window_profile: BlockProfile) -> list[Score]:
    """Every statistic for every column. A statistic that is undefined or does not apply is None with a reason."""
    return score_window(baseline, window_profile, METHODS.values(), TEXT_METHODS.values())


__all__ = ["METHODS", "TEXT_METHODS", "Counts", "Method", "Score", "drift_scores"]
