"""How well a classifier separates rows of the window from rows of the reference."""

from typing import Final

import numpy as np

from core.arrays import Floats
from core.errors import InsufficientDataError
from monitor.drift.rows.base import RowMethod

FOLDS: Final = 5
MIN_ROWS: Final = 50  # on each side


def domain_classifier(reference: Floats, window: Floats, seed: int) -> float:
    """AUC of a gradient-boosted classifier on rows it was not trained on, in shuffled stratified folds.

    Args:
        reference: shape (rows, features), finite.
        window: shape (rows, features), the same features.
        seed: of the shuffling and the trees.

    Returns:
        Share 0..1; about 0.5 without drift, slightly above or below by sampling; 1 if the classifier separates every
        row. It reacts to changes in the relation between columns that no single column shows.

    Raises:
        InsufficientDataError: fewer than 50 rows on one side.

    Source: Lopez-Paz and Oquab (2017), classifier two-sample tests.
    """
    if min(len(reference), len(window)) < MIN_ROWS:
        raise InsufficientDataError(f"fewer than {MIN_ROWS} rows on one side; a classifier learns nothing from them")
    from sklearn.ensemble import HistGradientBoostingClassifier  # slow to load, needed after an alarm only
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rows = np.concatenate([reference, window])
    side = np.repeat([0, 1], [len(reference), len(window)])
    model = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=15, early_stopping=False, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    scores = cross_val_predict(model, rows, side, cv=folds, method="predict_proba")[:, 1]
    # One area per fold, because the probabilities of two models are not comparable.
    return float(np.mean([roc_auc_score(side[test], scores[test]) for _, test in folds.split(rows, side)]))


METHOD = RowMethod(name="domain_classifier", unit="AUC", unchanged=0.5, compute=domain_classifier)
