"""Texts as words and pairs of words, and a linear model of them whose SHAP values are exact."""

import itertools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats, Ints
from monitor.explain.segments import pieces
from monitor.profile.clusters import whole_words
from monitor.redact.base import MARKER

MAX_TERMS: Final = 4000
INNER_FOLDS: Final = 3
STRENGTH: Final = 1.0  # inverse of the L2 penalty


def parted(text: str | None) -> str | None:
    """A text with spaces between its words, also where its script has none, such as Chinese, Japanese or Thai."""
    if not text or text.isascii():
        return text
    return " ".join(piece.strip() for piece in pieces(text))


def terms_of(text: str | None) -> list[str]:
    """Words of a text, and each pair of neighbours; digits are one word, and so are redacted values."""
    words = whole_words(MARKER.sub(" ", text or ""))
    return [*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))]


def folded(features: Any, is_window: NDArray[np.bool_], part: Ints, seed: int) -> Floats:
    """Log odds of rows from a model fitted on the other parts.

    Args:
        features: matrix, shape (rows, parts); sparse or dense.
        is_window: shape (rows,).
        part: part of each row.
    """
    found = np.zeros(len(part))
    for number in np.unique(part):
        held = part == number
        found[held] = scores(fitted(features[~held], is_window[~held], seed), features[held])
    return found


def fitted(features: Any, is_window: NDArray[np.bool_], seed: int) -> Any:
    """A logistic regression, each side weighted alike; None where one side has no row."""
    from sklearn.linear_model import LogisticRegression

    if is_window.all() or not is_window.any() or not features.shape[1]:
        return None
    model = LogisticRegression(C=STRENGTH, class_weight="balanced", solver="liblinear", random_state=seed)
    return model.fit(features, is_window)


def scores(model: Any, features: Any) -> Floats:
    if model is None:
        return np.zeros(features.shape[0])
    return np.asarray(model.decision_function(features), dtype=np.float64)


class TextSide:
    """One text column of both sides: weighted terms, learned from the rows that a fold trains on."""

    def __init__(self, texts: Sequence[str | None]) -> None:
        self.terms = [terms_of(text) for text in texts]

    def learned(self, train: NDArray[np.bool_]) -> tuple[Any, list[str]]:
        """Features of all rows, with the terms and weights of the rows that are trained on; and the terms' names."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectors = TfidfVectorizer(
            analyzer=_as_they_are, min_df=2, max_features=MAX_TERMS, sublinear_tf=True, dtype=np.float64
        )
        try:
            vectors.fit([self.terms[i] for i in np.flatnonzero(train)])
        except ValueError:  # no term occurs twice
            return np.zeros((len(self.terms), 0)), []
        return vectors.transform(self.terms), list(vectors.get_feature_names_out())


def _as_they_are(terms: list[str]) -> list[str]:
    return terms


class VectorSide:
    """One vector column of both sides: its largest principal components, learned as a fold trains."""

    COMPONENTS: Final = 20

    def __init__(self, values: Floats) -> None:
        self.values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)

    def learned(self, train: NDArray[np.bool_]) -> tuple[Any, list[str]]:
        from sklearn.decomposition import PCA

        if not self.values[train].std(axis=0).any():  # every vector is the same
            return np.zeros((len(self.values), 0)), []
        count = min(self.COMPONENTS, self.values.shape[1], int(train.sum()) - 1)
        model = PCA(n_components=count, random_state=0).fit(self.values[train])
        found = model.transform(self.values)
        spread = found[train].std(axis=0)
        return found / np.where(spread > 0, spread, 1.0), []
