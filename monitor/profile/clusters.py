"""Kinds of known requests: clusters of the reference, and the words that tell each from the others.

Words of a reference are kept in the clear, so only those that many people share: a word that fewer than five different
texts of five different people use may be a name, and is kept nowhere but as a hash.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from monitor.redact.base import MARKER

MAX_CLUSTERS: Final = 48
MAX_WORDS_PER_CLUSTER: Final = 5  # kept of a cluster
MIN_USERS_PER_WORD: Final = 5  # different texts, and people, that use a word which is kept in the clear
_WORD_LENGTHS: Final = range(2, 31)
_WORD: Final = re.compile(r"\w+")
_DIGITS: Final = re.compile(r"\d+")


def tokenise(text: str) -> list[str]:
    """Lower-cased words; every run of digits reads as 0, for a new amount is not a new word."""
    return [_DIGITS.sub("0", word) for word in _WORD.findall(text.lower())]


def readable_words(text: str) -> set[str]:
    """The words of a text that mean something to a reader: no numbers, no markers of redaction, no long codes."""
    found = tokenise(MARKER.sub(" ", text))
    return {word for word in found if len(word) in _WORD_LENGTHS and not any(letter.isdigit() for letter in word)}


def shared_words(texts: Iterable[str | None], people: Sequence[str | None] | None) -> Counter[str]:
    """Words that five different texts, and where people are known five of them, use; with the number of texts.

    Args:
        texts: n texts; the same text again counts once.
        people: who wrote each, n entries; a text nobody is known for counts as somebody's own.
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
        texts, people: as for `shared_words`.
        clusters: cluster of each text, shape (n,), -1 for none.

    Returns:
        One entry per cluster from 0 on, in order of p log(p / q): p the share of the cluster's texts with the word, q
        that of all texts. Empty where no shared word is more frequent than elsewhere.

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

    def told(cluster: int) -> tuple[str, ...]:
        weights = {}
        for word, n in inside[cluster].items():
            p, q = n / sizes[cluster], total[word] / rows
            if p > q:
                weights[word] = p * math.log(p / q)
        return tuple(sorted(weights, key=lambda word: (-weights[word], word))[:MAX_WORDS_PER_CLUSTER])

    return tuple(told(cluster) for cluster in range(number))


def number_of_clusters(rows: int) -> int:
    return min(MAX_CLUSTERS, max(4, rows // 40))


def centroids(points: NDArray[np.float32], number: int, seed: int) -> NDArray[np.float32]:
    """Centres of up to `number` clusters of points, shape (rows, dimensions), by Lloyd's k-means."""
    from sklearn.cluster import KMeans

    distinct = len(np.unique(np.round(points, 5), axis=0))
    model = KMeans(n_clusters=min(number, distinct), n_init=1, max_iter=50, random_state=seed)
    return cast("NDArray[np.float32]", model.fit(points).cluster_centers_.astype(np.float32))
