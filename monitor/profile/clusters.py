"""Clusters of the reference's texts, and the words that distinguish each cluster from the others.

These words are stored in clear text, so only words that many people use are kept. A word in fewer than five different
texts by five different people may be a name; it is stored as a hash only.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, cast

import numpy as np
import regex
from numpy.typing import NDArray

from monitor.redact.base import MARKER

MAX_CLUSTERS: Final = 48
MAX_WORDS_PER_CLUSTER: Final = 5
MIN_USERS_PER_WORD: Final = 5  # different texts, and people, that must use a word before it is stored in clear text
_WORD_LENGTHS: Final = range(2, 31)  # characters in a word that a reader understands
_WORD: Final = re.compile(r"\w+")
_DIGITS: Final = re.compile(r"\d+")
_WHOLE: Final = regex.compile(r"[\w\p{M}]+")  # vowel signs and tones are marks in Thai, Hindi, Khmer ...
_MARK: Final = regex.compile(r"\p{M}+")


def tokenise(text: str) -> list[str]:
    """The lower-cased words of a text. Every run of digits becomes 0, because a new amount is not a new word."""
    return [_DIGITS.sub("0", word) for word in _WORD.findall(text.lower())]


def whole_words(text: str) -> list[str]:
    """As `tokenise`, for people to read: no word ends before a vowel sign or a tone.

    `tokenise` stays as it is, because references store what it gives.
    """
    return [_DIGITS.sub("0", word) for word in _WHOLE.findall(text.lower())]


def readable_words(text: str) -> set[str]:
    """The words of a text that a reader understands: no numbers, no redaction markers, no long codes."""
    found = whole_words(MARKER.sub(" ", text))
    letters = {word: len(_MARK.sub("", word)) for word in found}
    return {word for word, n in letters.items() if n in _WORD_LENGTHS and not any(letter.isdigit() for letter in word)}


def shared_words(texts: Iterable[str | None], people: Sequence[str | None] | None) -> Counter[str]:
    """Count the texts that use each word, for words in at least five different texts by five different people.

    Args:
        texts: n texts; repeated texts count once.
        people: the author of each text, n entries. Without authors, and for a text without one, each text counts as
            written by a different person.
    """
    used: Counter[str] = Counter()
    users: dict[str, set[str]] = defaultdict(set)
    seen: set[str] = set()
    for i, text in enumerate(texts):
        if not text or (plain := " ".join(tokenise(text))) in seen:
            continue
        seen.add(plain)
        person = (people[i] if people is not None else None) or f"\0{i}"
        for word in readable_words(text):
            used[word] += 1
            if len(users[word]) < MIN_USERS_PER_WORD:
                users[word].add(person)
    return Counter(
        {word: n for word, n in used.items() if n >= MIN_USERS_PER_WORD and len(users[word]) >= MIN_USERS_PER_WORD}
    )


def cluster_words(
    texts: Sequence[str | None], clusters: NDArray[np.int64], people: Sequence[str | None] | None
) -> tuple[tuple[str, ...], ...]:
    """The words of each cluster that contribute most to its difference from all texts, at most five.

    Args:
        texts: n texts.
        clusters: cluster of each text, shape (n,), -1 for none.
        people: the author of each text; see `shared_words`.

    Returns:
        One entry per cluster from 0 on: its words, ordered by p log(p / q), where p is the share of the cluster's texts
        with the word and q the share of all texts with it. Empty where no shared word is more frequent in the cluster.

    Source: the terms of the Kullback-Leibler divergence, Kullback and Leibler (1951).
    """
    shared = shared_words(texts, people)
    number = int(clusters.max(initial=-1)) + 1
    inside = [Counter[str]() for _ in range(number)]
    sizes = [0] * number
    total: Counter[str] = Counter()
    for text, cluster in zip(texts, clusters.tolist(), strict=True):
        if text is None or cluster < 0:
            continue
        found = [word for word in readable_words(text) if word in shared]
        inside[cluster].update(found)
        total.update(found)
        sizes[cluster] += 1
    rows = sum(sizes)

    def distinctive(cluster: int) -> tuple[str, ...]:
        weights = {}
        for word, n in inside[cluster].items():
            p, q = n / sizes[cluster], total[word] / rows
            if p > q:
                weights[word] = p * math.log(p / q)
        return tuple(sorted(weights, key=lambda word: (-weights[word], word))[:MAX_WORDS_PER_CLUSTER])

    return tuple(distinctive(cluster) for cluster in range(number))


def number_of_clusters(rows: int) -> int:
    """One cluster per 40 reference rows, from 4 to 48."""
    return min(MAX_CLUSTERS, max(4, rows // 40))


def centroids(points: NDArray[np.float32], number: int, seed: int) -> NDArray[np.float32]:
    """Fit k-means.

    Args:
        points: shape (rows, dimensions).
        number: of clusters; fewer where there are fewer distinct points.
        seed: of the initial centres.

    Returns:
        The centres, shape (clusters, dimensions).

    Source: Lloyd's k-means, as scikit-learn computes it.
    """
    from sklearn.cluster import KMeans

    distinct = len(np.unique(np.round(points, 5), axis=0))
    model = KMeans(n_clusters=min(number, distinct), n_init=1, max_iter=50, random_state=seed)
    return cast("NDArray[np.float32]", model.fit(points).cluster_centers_.astype(np.float32))
