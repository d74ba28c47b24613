"""The encoder of vectors (embeddings), fitted on reference rows only: which known vectors are near, and how near.

A vector is one column, however many numbers it has, because a single number of an embedding means nothing. Of each row
are kept: its distance to the nearest of up to 4,000 reference vectors (anchors), its cluster, and its first principal
components.

Distances are computed from the leading 64 components, each divided by the square root of its standard deviation. This
is halfway between raw vectors, which a few directions dominate, and whitened ones, in which noise counts as much as
meaning. The part of a vector outside the components is one more coordinate, so a new direction is far from everything.

Encode only rows that the encoder was not fitted on. The others lie too close to their own anchors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats
from core.errors import InsufficientDataError, InvalidError
from monitor.profile.clusters import centroids, number_of_clusters
from monitor.profile.text_encoder import COMPONENTS, MAX_ANCHORS, MAX_TEXTS, NEAREST_ANCHORS

Vectors = NDArray[np.float32]

MAX_RANK: Final = 64
MIN_VECTORS: Final = 50
_VECTORS_PER_CHUNK: Final = 1_000  # compared with the anchors at a time; bounds memory


@dataclass(frozen=True)
class VectorFeatures:
    """The features of n vectors. A missing vector has nan in every number and -1 as cluster."""

    distance: Floats  # (n,): root mean square over the 3 nearest anchors; the leading component has unit deviation
    cluster: NDArray[np.int64]  # (n,)
    components: Floats  # (n, COMPONENTS), each in its own standard deviation over the reference


@dataclass(frozen=True, eq=False)
class VectorEncoder:
    """The fitted state: principal components of the reference, and points among them.

    The names of its fields are part of the stored format.
    """

    centre: Vectors  # (dimensions,)
    axes: Vectors  # (rank, dimensions), orthonormal
    spread: Vectors  # (rank + 1,): standard deviation along each component, and along any other direction
    anchors: Vectors  # (anchors, rank + 1)
    clusters: Vectors  # (up to 48, rank + 1): their centres

    def encode(self, vectors: Vectors) -> VectorFeatures:
        """The features of n vectors. Each vector is encoded on its own, whatever the others are.

        Args:
            vectors: shape (n, dimensions); a row that is not finite is a missing vector.

        Raises:
            InvalidError: the vectors have other dimensions than those of the reference.
        """
        if vectors.shape[1] != len(self.centre):
            raise InvalidError(
                f"vectors have {vectors.shape[1]} numbers, but those of the reference have {len(self.centre)}; a new "
                "model needs a new column or a new baseline", dimensions=vectors.shape[1],
            )  # fmt: skip
        distance, cluster = np.full(len(vectors), np.nan), np.full(len(vectors), -1, dtype=np.int64)
        components = np.full((len(vectors), COMPONENTS), np.nan)
        present = np.flatnonzero(np.isfinite(vectors).all(axis=1))
        nearest, width = min(NEAREST_ANCHORS, len(self.anchors)), min(COMPONENTS, len(self.axes))
        for start in range(0, len(present), _VECTORS_PER_CHUNK):
            rows = present[start : start + _VECTORS_PER_CHUNK]
            points = _place(vectors[rows], self.centre, self.axes, self.spread)
            apart = np.partition(_squared_distances(points, self.anchors), nearest - 1, axis=1)[:, :nearest]
            distance[rows] = np.sqrt(apart.mean(axis=1))
            cluster[rows] = np.argmin(_squared_distances(points, self.clusters), axis=1)
            components[rows] = 0.0
            components[rows, :width] = points[:, :width] * np.sqrt(self.spread[0] / self.spread[:width])
        return VectorFeatures(distance, cluster, components)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "VectorEncoder":
        return cls(**{part.name: arrays[part.name] for part in fields(cls)})


def fit_vectors(vectors: Vectors, *, seed: int, column: str = "vector") -> VectorEncoder:
    """Fit an encoder on reference vectors.

    Args:
        vectors: shape (n, dimensions); rows that are not finite are left out, and more than 20,000 are sampled.
        seed: of the sample, the decomposition and the clusters. The same input and seed give the same encoder.
        column: named in errors.

    Returns:
        An encoder whose features do not change with the unit of the vectors, nor with their origin.

    Raises:
        InsufficientDataError: fewer than 50 vectors are finite, or all of them are equal.

    Source: principal components after Pearson (1901); randomised SVD after Halko, Martinsson and Tropp (2011); distance
        to the nearest neighbours after Ramaswamy, Rastogi and Shim (2000); Lloyd's k-means.
    """
    from sklearn.utils.extmath import randomized_svd

    kept = vectors[np.isfinite(vectors).all(axis=1)]
    if len(kept) < MIN_VECTORS:
        raise InsufficientDataError(
            f"column {column!r} has {len(kept)} vectors to fit the encoder on and needs {MIN_VECTORS}; enlarge "
            "`baseline`", column=column, rows=len(kept), needed=MIN_VECTORS,
        )  # fmt: skip
    rng = np.random.default_rng(seed)
    if len(kept) > MAX_TEXTS:
        kept = kept[np.sort(rng.choice(len(kept), MAX_TEXTS, replace=False))]
    centre = kept.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = kept - centre
    wanted = max(1, min(MAX_RANK, kept.shape[1], len(kept) // 8))
    _, singular, axes = randomized_svd(centred, n_components=wanted, n_iter=4, random_state=seed)
    spread = singular.astype(np.float64) / np.sqrt(len(kept))
    size = float(np.sqrt(np.square(kept, dtype=np.float64).sum(axis=1).mean()))
    if not spread[0] > 1e-6 * size:
        raise InsufficientDataError(
            f"column {column!r}: all vectors of the reference are equal; there is no distance to compare with",
            column=column,
        )  # fmt: skip
    held = spread > 1e-4 * spread[0]
    axes, spread = np.ascontiguousarray(axes[held], dtype=np.float32), spread[held]
    total = float(np.square(centred, dtype=np.float64).sum(axis=1).mean())
    others = max(total - float(np.square(spread).sum()), 0.0) / max(kept.shape[1] - len(spread), 1)
    # Where the components hold everything, a vector outside them must be far away, but not infinitely far.
    spread = np.append(spread, max(np.sqrt(others), 1e-3 * spread[0])).astype(np.float32)
    points = _place(kept, centre, axes, spread)
    chosen = np.sort(rng.choice(len(points), min(MAX_ANCHORS, len(points)), replace=False))
    clusters = centroids(points, number_of_clusters(len(points)), seed)
    return VectorEncoder(centre, axes, spread, points[chosen], clusters)


def _place(vectors: Vectors, centre: Vectors, axes: Vectors, spread: Vectors) -> Vectors:
    """Components divided by the root of their spread, and the rest of each vector; in units of the leading spread."""
    centred = vectors - centre
    along = centred @ axes.T
    left = np.square(centred).sum(axis=1) - np.square(along).sum(axis=1)
    every = np.column_stack([along, np.sqrt(np.maximum(left, 0.0))])
    return np.asarray(every / np.sqrt(spread * spread[0]), dtype=np.float32)


def _squared_distances(a: Vectors, b: Vectors) -> Vectors:
    apart = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)[None, :] - 2.0 * a @ b.T
    return np.asarray(np.maximum(apart, 0.0), dtype=np.float32)
