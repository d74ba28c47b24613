"""The built-in text encoder, fitted on reference rows only: no download, no labels, a few megabytes.

It has two views of a text. Hashed n-grams of two and three characters, both as they are and projected on their leading
singular directions, are compared with up to 4,000 reference texts (anchors); they show how new a request is. Hashed
words, projected on the leading singular directions of the reference and clustered, show which kind of known request is
nearest. Of each row are kept: the share of its words that the reference never used, its distance to the nearest
anchors, its length, its cluster and its first components.

Encode only rows that the encoder was not fitted on. The others have no unknown word and lie too close to their own
anchors and centroids, so any later window would look novel.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats
from core.errors import InsufficientDataError
from monitor.profile.clusters import centroids, number_of_clusters, tokenise

Array = NDArray[Any]

CHARACTER_DIMENSIONS: Final = 1 << 15
WORD_DIMENSIONS: Final = 1 << 13
WORD_RANK: Final = 32  # singular directions of words
GRAM_RANK: Final = 64  # singular directions of n-grams
COMPONENTS: Final = 4
MAX_ANCHORS: Final = 4_000
NEAREST_ANCHORS: Final = 3
MIN_TEXTS: Final = 50
MAX_TEXTS: Final = 20_000  # more rows cost seconds and change the encoder little
_TEXTS_PER_CHUNK: Final = 500  # texts compared with the anchors at a time; bounds memory

_WORD: Final = r"\w+"
_DIGITS: Final = re.compile(r"\d+")


@dataclass(frozen=True)
class TextFeatures:
    """The features of n texts. A missing or empty text has nan in every number and -1 as cluster."""

    distance: Floats  # (n,): 1 - mean similarity to the 3 nearest anchors, 0..1; half n-grams, half their directions
    cluster: NDArray[np.int64]  # (n,)
    components: Floats  # (n, COMPONENTS)


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """The fitted state. Words and n-grams are stored as hashes only, anchors as weights of hashed n-grams.

    The names of its fields are part of the stored format.
    """

    vocabulary: NDArray[np.uint64]  # hashes of the words that the reference used, ascending
    grams: NDArray[np.int32]  # hashed n-grams that the reference used, ascending
    gram_weights: NDArray[np.float32]  # their inverse document frequencies
    gram_directions: NDArray[np.float32]  # (grams, rank): leading singular directions of the reference's weights
    anchor_starts: NDArray[np.int32]  # anchors as compressed sparse rows of unit length: start of each anchor,
    anchor_grams: NDArray[np.int32]  # its n-grams,
    anchor_values: NDArray[np.float32]  # and their weights
    anchor_points: NDArray[np.float32]  # (anchors, rank): along the directions, of unit length
    word_weights: NDArray[np.float32]  # (WORD_DIMENSIONS,): inverse document frequencies
    directions: NDArray[np.float32]  # (rank, WORD_DIMENSIONS): leading singular directions of words
    clusters: NDArray[np.float32]  # (up to 48, rank): their centres

    def encode(self, texts: Sequence[str | None]) -> TextFeatures:
        """The features of n texts. Each text is encoded on its own, whatever the others are."""
        present, filled = _present(texts)
        projected = self._projected(filled)
        components = np.zeros((len(filled), COMPONENTS))
        width = min(COMPONENTS, projected.shape[1])
        components[:, :width] = projected[:, :width]
        missing = np.where(present, 0.0, np.nan)
        return TextFeatures(
            distance=self._distance(filled) + missing,
            cluster=self.nearest(texts, projected),
            components=components + missing[:, None],
        )

    def nearest(self, texts: Sequence[str | None], projected: Floats | None = None) -> NDArray[np.int64]:
        """The nearest cluster of each text, -1 for a missing one; `projected` saves projecting the texts again."""
        present, filled = _present(texts)
        points = self._projected(filled) if projected is None else projected
        clusters = self.clusters.astype(np.float64)
        found = np.argmax(points @ clusters.T - np.sum(clusters**2, axis=1) / 2.0, axis=1)
        return np.where(present, found, -1).astype(np.int64)

    def unknown(self, texts: Sequence[str | None]) -> Floats:
        """The share of each text's words that the reference never used, 0..1; nan for a text without words."""
        return np.array([self._unknown(text or "") for text in texts], dtype=np.float64)

    def knows(self, word: str) -> bool:
        """Whether the reference used a word, which must be in the form that `tokenise` gives."""
        return bool(self._known(np.array([_word_hash(word)], dtype=np.uint64))[0])

    def _projected(self, texts: Sequence[str]) -> Floats:
        return np.asarray(_unit(_word_counts(texts), self.word_weights) @ self.directions.T, dtype=np.float64)

    def _distance(self, texts: Sequence[str]) -> Floats:
        from scipy.sparse import csr_matrix

        shape = (len(self.anchor_starts) - 1, CHARACTER_DIMENSIONS)
        anchors = csr_matrix((self.anchor_values, self.anchor_grams, self.anchor_starts), shape=shape).T.tocsr()
        # An n-gram that the reference never used weighs as much as its rarest, and adds distance: no anchor has it.
        weights = np.full(CHARACTER_DIMENSIONS, self.gram_weights.max(initial=1.0), dtype=np.float32)
        weights[self.grams] = self.gram_weights
        directions = np.zeros((CHARACTER_DIMENSIONS, self.gram_directions.shape[1]), dtype=np.float32)
        directions[self.grams] = self.gram_directions
        nearest = min(NEAREST_ANCHORS, shape[0])
        out = np.empty(len(texts))
        for start in range(0, len(texts), _TEXTS_PER_CHUNK):
            part = _unit(_gram_counts(texts[start : start + _TEXTS_PER_CHUNK]), weights)
            similar = (
                np.asarray((part @ anchors).toarray() + _project_unit(part, directions) @ self.anchor_points.T) / 2.0
            )
            top = np.partition(similar, shape[0] - nearest, axis=1)[:, shape[0] - nearest :]
            out[start : start + _TEXTS_PER_CHUNK] = np.clip(1.0 - top.mean(axis=1, dtype=np.float64), 0.0, 1.0)
        return out

    def _unknown(self, text: str) -> float:
        hashes = np.array([_word_hash(word) for word in tokenise(text)], dtype=np.uint64)
        return float(np.mean(~self._known(hashes))) if len(hashes) else float("nan")

    def _known(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        if not len(self.vocabulary):
            return np.zeros(len(hashes), dtype=bool)
        at = np.minimum(np.searchsorted(self.vocabulary, hashes), len(self.vocabulary) - 1)
        return np.asarray(self.vocabulary[at] == hashes)

    def arrays(self) -> dict[str, Array]:
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> "TextEncoder":
        return cls(**{part.name: arrays[part.name] for part in fields(cls)})


def text_lengths(texts: Sequence[str | None]) -> Floats:
    """Number of characters of each text, nan for a missing or empty one."""
    present, filled = _present(texts)
    return np.where(present, np.array([len(text) for text in filled], dtype=np.float64), np.nan)


def _present(texts: Sequence[str | None]) -> tuple[NDArray[np.bool_], list[str]]:
    present = np.array([bool(text and text.strip()) for text in texts], dtype=bool)
    return present, [text if text and text.strip() else "" for text in texts]


def fit_text(texts: Sequence[str | None], *, seed: int, column: str = "text") -> TextEncoder:
    """Fit an encoder on reference texts.

    Args:
        texts: n texts; missing and empty ones are left out, and more than 20,000 are sampled.
        seed: of the sample, the singular value decomposition and the clusters. The same input and seed give the same
            encoder.
        column: named in errors.

    Returns:
        An encoder that keeps no text and no word in clear.

    Raises:
        InsufficientDataError: fewer than 50 texts are not empty.

    Source: idf after Sparck Jones (1972); randomised SVD after Halko, Martinsson and Tropp (2011); Lloyd's k-means.
    """
    rng = np.random.default_rng(seed)
    kept = _usable_texts(texts, rng, column)
    counts = _word_counts(kept)
    word_weights = _idf(counts)
    matrix = _unit(counts, word_weights)
    directions = np.ascontiguousarray(_leading_directions(matrix, WORD_RANK, seed), dtype=np.float32)
    projected = np.asarray(matrix @ directions.T, dtype=np.float32)
    gram_counts = _gram_counts(kept)
    gram_weights = _idf(gram_counts)
    grams = np.unique(gram_counts.indices).astype(np.int32)
    chosen = np.sort(rng.choice(len(kept), min(MAX_ANCHORS, len(kept)), replace=False))
    gram_matrix = _unit(gram_counts, gram_weights)
    gram_directions = np.ascontiguousarray(_leading_directions(gram_matrix, GRAM_RANK, seed).T, dtype=np.float32)
    anchors = gram_matrix[chosen]
    return TextEncoder(
        vocabulary=np.array(sorted({_word_hash(w) for text in kept for w in tokenise(text)}), dtype=np.uint64),
        grams=grams,
        gram_weights=gram_weights[grams],
        gram_directions=gram_directions[grams],
        anchor_starts=anchors.indptr.astype(np.int32),
        anchor_grams=anchors.indices.astype(np.int32),
        anchor_values=anchors.data.astype(np.float32),
        anchor_points=_project_unit(anchors, gram_directions),
        word_weights=word_weights,
        directions=directions,
        clusters=centroids(projected, number_of_clusters(len(kept)), seed),
    )


def _usable_texts(texts: Sequence[str | None], rng: np.random.Generator, column: str) -> list[str]:
    """The texts that are not empty; a sample of many.

    Raises:
        InsufficientDataError: fewer than 50 texts are not empty.
    """
    kept = [text for text in texts if text and text.strip()]
    if len(kept) < MIN_TEXTS:
        raise InsufficientDataError(
            f"column {column!r} has {len(kept)} texts to fit the encoder on and needs {MIN_TEXTS}; enlarge `baseline`",
            column=column,
            rows=len(kept),
            needed=MIN_TEXTS,
        )
    if len(kept) > MAX_TEXTS:
        return [kept[i] for i in np.sort(rng.choice(len(kept), MAX_TEXTS, replace=False))]
    return kept


def _leading_directions(matrix: Any, rank: int, seed: int) -> Any:
    """Leading singular directions of a sparse matrix, shape (up to rank, dimensions); at most one per 8 rows."""
    from sklearn.utils.extmath import randomized_svd

    components = max(1, min(rank, matrix.shape[0] // 8))
    _, _, directions = randomized_svd(matrix, n_components=components, n_iter=4, random_state=seed)
    return directions


def _gram_counts(texts: Sequence[str]) -> Any:
    return _counts(texts, analyzer="char_wb", ngram_range=(2, 3), n_features=CHARACTER_DIMENSIONS)


def _word_counts(texts: Sequence[str]) -> Any:
    return _counts(texts, token_pattern=_WORD, ngram_range=(1, 2), n_features=WORD_DIMENSIONS)


def _counts(texts: Sequence[str], **how: Any) -> Any:
    """log(1 + count) of each hashed n-gram, sparse, shape (texts, dimensions)."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import HashingVectorizer

    if not texts:  # scikit-learn raises StopIteration
        none = np.zeros((0, how["n_features"]), dtype=np.float32)
        return csr_matrix(none)
    matrix = HashingVectorizer(norm=None, alternate_sign=False, dtype=np.float32, **how).transform(
        [_DIGITS.sub("0", text.lower()) for text in texts]
    )
    matrix.data = np.log1p(matrix.data)
    matrix.sort_indices()
    return matrix


def _project_unit(matrix: Any, directions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows projected on the directions and scaled to unit length; a row without any part along them stays zero."""
    points = np.asarray(matrix @ directions, dtype=np.float32)
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points / np.where(norms > 1e-6, norms, np.inf), dtype=np.float32)


def _idf(counts: Any) -> NDArray[np.float32]:
    """Inverse document frequencies; a dimension that no text uses weighs as much as the rarest one in use."""
    frequency = np.bincount(counts.indices, minlength=counts.shape[1])
    weights = np.log((1.0 + counts.shape[0]) / (1.0 + np.maximum(frequency, 1))) + 1.0
    return cast("NDArray[np.float32]", weights.astype(np.float32))


def _unit(counts: Any, weights: NDArray[np.float32]) -> Any:
    """Rows times weights, scaled to unit length; an empty row stays zero."""
    matrix = counts.copy()
    matrix.data = matrix.data * weights[matrix.indices]
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    norms = np.sqrt(np.bincount(row, weights=matrix.data.astype(np.float64) ** 2, minlength=matrix.shape[0]))
    matrix.data = (matrix.data / norms[row]).astype(np.float32)
    return matrix


def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
