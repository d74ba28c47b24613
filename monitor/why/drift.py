"""What tells the rows of a window from the reference: columns ranked, with the values and words that changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.arrays import Floats, Ints
from monitor.profile.clusters import MIN_USERS_PER_WORD, readable_words, shared_words
from monitor.profile.coding import as_strings, as_vectors, category_values, number_values
from monitor.why.classifier import Table, Told, told_apart
from monitor.why.columns import Kind, SetAside, usable
from monitor.why.cuts import Shares, cuts_of, level_shares, missing_share, number_shares
from monitor.why.separation import Area, Groups, area, grouped
from monitor.why.terms import TextSide, VectorSide, parted

FOLDS: Final = 5
LEAST_ROWS: Final = 30  # of each side
LEVEL: Final = 0.95  # of intervals; without drift one window in forty names something
LEAST_WEIGHT: Final = 0.05  # of the attributions, for a column that is named
MOST_COLUMNS: Final = 5
MOST_VALUES: Final = 3
MOST_WORDS: Final = 8
MOST_LEVELS: Final = 50  # of a category; rarer ones count as one
LEAST_LEVEL: Final = 5  # rows of a level that is told by name
LEAST_PART: Final = 20  # rows of a segment or version that is told
UNLIKE: Final = 0.95  # share of the reference below which a row is like it
MOST_EXAMPLES: Final = 5
OTHER: Final = "any other value"


@dataclass(frozen=True, slots=True)
class WordShare:
    """A word with the share of the texts of each side that use it."""

    word: str
    reference: float
    window: float


@dataclass(frozen=True, slots=True)
class Driver:
    """A column that tells the sides apart by itself.

    `weight`: its share of all attributions. `values` and `words`: what changed most, the largest change first.
    """

    column: str
    kind: Kind
    weight: float
    values: tuple[Shares, ...] = ()
    words: tuple[WordShare, ...] = ()


@dataclass(frozen=True, slots=True)
class Carrier:
    """A segment or version whose rows are unlike the reference more often than those elsewhere in the window."""

    column: str
    value: str
    rows: int
    share: float
    elsewhere: float


@dataclass(frozen=True, slots=True)
class Example:
    """A row of the window that is most unlike the reference, by its event id, and the columns that make it so."""

    event_id: str
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DriftFinding:
    """What was found. Without `separation` there were too few rows, or no column, to look at.

    `unlike`: share of the window's rows beyond those that are expected to look so among as many reference rows.
    """

    rows_reference: int
    rows_window: int
    separation: Area | None
    drivers: tuple[Driver, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    carriers: tuple[Carrier, ...] = ()
    unlike: float | None = None
    residual: float | None = None
    examples: tuple[Example, ...] = field(default=(), repr=False)


def find_drift(
    reference: pl.DataFrame, window: pl.DataFrame, kinds: Mapping[str, Kind], *, parts: Sequence[str] = (),
    person: str | None = None, seed: int = 0,
) -> DriftFinding:  # fmt: skip
    """Find what tells a window from its reference, on rows that the classifier did not see.

    Args:
        reference, window: rows in order of arrival, with the columns of `kinds` and, in the window, `event_id`.
        kinds: columns that may tell the sides apart; no outcome, answer, score, identifier or time.
        parts: columns of the window whose values are told where they carry the change: segments and the version.
        person: column that names whom a row is about.
        seed: of folds and models.

    Returns:
        Drivers only where the interval of the area under the ROC curve lies above 0.5, and of those only columns whose
        own contributions tell the sides apart, after Bonferroni.

    Raises:
        ResidualError: the attributions do not add up.
    """
    sizes = reference.height, window.height
    kept, aside = usable(reference, window, kinds)
    if min(sizes) < LEAST_ROWS or not kept:
        return DriftFinding(*sizes, None, set_aside=tuple(aside))
    both = _Sides(reference, window, kept, person)
    groups = grouped(*sizes, folds=FOLDS, seed=seed)
    told = told_apart(both.table, groups, seed=seed)
    found = area(told.margin, groups, level=LEVEL)
    plain = DriftFinding(*sizes, found, set_aside=tuple(aside), residual=told.residual)
    if found.low <= 0.5:
        return plain
    drivers = _drivers(both, told, groups)
    unlike, share = _unlike(told.margin, groups)
    return DriftFinding(
        *sizes, found, drivers, tuple(aside), _carriers(both, unlike, parts, [d.column for d in drivers]), share,
        told.residual, _examples(both, told, drivers) if drivers else (),
    )  # fmt: skip


class _Sides:
    """Both sides as one table, the reference first, with the names of levels."""

    def __init__(
        self, reference: pl.DataFrame, window: pl.DataFrame, kinds: Mapping[str, Kind], person: str | None
    ) -> None:
        self.reference, self.window, self.kinds = reference, window, kinds
        self.cut = reference.height
        self.people = None if person is None else people_of((reference, window), person)
        self.levels: dict[str, tuple[str, ...]] = {}
        numbers, codes, wide = dict[str, Floats](), dict[str, Ints](), dict[str, TextSide | VectorSide]()
        for name, kind in kinds.items():
            match kind:
                case "number":
                    numbers[name] = np.concatenate([number_values(side, name) for side in (reference, window)])
                case "category":
                    codes[name] = self._coded(name)
                case "text":
                    wide[name] = TextSide(self.texts(name))
                case "vector":
                    width = max(_dimensions(side[name]) for side in (reference, window))
                    wide[name] = VectorSide(
                        np.concatenate([as_vectors(side[name], width) for side in (reference, window)]).astype(float)
                    )
        self.table = Table(numbers, codes, wide)

    def texts(self, name: str) -> list[str | None]:
        both = pl.concat([as_strings(side[name]) for side in (self.reference, self.window)])
        return [parted(text) for text in both.to_list()]

    def _coded(self, name: str) -> Ints:
        values = pl.concat([category_values(side, name) for side in (self.reference, self.window)])
        named = sorted(shared_levels(values, self.people, LEAST_LEVEL)[:MOST_LEVELS])
        place = {level: code for code, level in enumerate(named)}
        found = [-1 if v is None else place.get(v, len(named)) for v in values.to_list()]
        self.levels[name] = (*(repr(level) for level in named), OTHER)
        return np.asarray(found, dtype=np.int64)


def _dimensions(vectors: pl.Series) -> int:
    first = vectors.drop_nulls().head(1).to_list()
    return len(first[0]) if first else 0


def _drivers(both: _Sides, told: Told, groups: Groups) -> tuple[Driver, ...]:
    columns = both.table.columns
    sizes = np.abs(told.shap).mean(axis=0)
    weights = sizes / sizes.sum() if sizes.sum() else sizes
    level = 1.0 - (1.0 - LEVEL) / len(columns)
    found = []
    for place in np.argsort(-weights, kind="stable")[: 2 * MOST_COLUMNS].tolist():
        if weights[place] < LEAST_WEIGHT or area(told.shap[:, place], groups, level=level).low <= 0.5:
            continue
        found.append(_driver(both, columns[place], float(weights[place]), told))
    return tuple(found[:MOST_COLUMNS])


def _driver(both: _Sides, name: str, weight: float, told: Told) -> Driver:
    kind, cut = both.kinds[name], both.cut
    values: tuple[Shares, ...] = ()
    words: tuple[WordShare, ...] = ()
    match kind:
        case "number":
            numbers = both.table.numbers[name]
            values = number_shares(cuts_of(numbers[:cut]), numbers[:cut], numbers[cut:])
        case "category":
            codes = both.table.codes[name]
            values = level_shares(both.levels[name], codes[:cut], codes[cut:])
        case "text":
            texts = both.texts(name)
            words = told_words(texts, cut, told.gaps[name], both.people)
            values = _absent(np.asarray([not (text or "").strip() for text in texts]), cut, words)
        case "vector":
            values = _absent(
                pl.concat([side[name].is_null() for side in (both.reference, both.window)]).to_numpy(), cut
            )
    ranked = sorted(values, key=lambda v: (-round(abs(v.change), 6), v.change < 0, v.value))
    changed = tuple(v for v in ranked if v.rows >= LEAST_LEVEL and v.change)[:MOST_VALUES]
    return Driver(name, kind, weight, changed, words)


def _absent(absent: NDArray[np.bool_], cut: int, words: Sequence[WordShare] = ()) -> tuple[Shares, ...]:
    """The share of rows without a text or a vector, where no word's share changed more: else it is no news."""
    found = missing_share(absent[:cut], absent[cut:])
    usual = max((abs(word.window - word.reference) for word in words), default=LEAST_WEIGHT)
    return (found,) if abs(found.change) >= usual else ()


def people_of(sides: Sequence[pl.DataFrame], person: str) -> list[str | None]:
    """Who each row is from; None where nobody is named."""
    found: list[str | None] = []
    for side in sides:
        found += side[person].cast(pl.String).to_list() if person in side.columns else [None] * side.height
    return found


def shared_levels(values: pl.Series, people: Sequence[str | None] | None, least: int) -> list[str]:
    """The levels of so many rows and of at least five people, so that none names a person; the most frequent first."""
    rows = pl.DataFrame({"level": values, "who": pl.Series(people or [None] * len(values), dtype=pl.String)})
    who = pl.col("who").fill_null(pl.format("(row {})", pl.int_range(pl.len())))
    counts = rows.with_columns(who).drop_nulls("level").group_by("level").agg(pl.len(), pl.col("who").n_unique())
    kept = counts.filter((pl.col("len") >= least) & (pl.col("who") >= MIN_USERS_PER_WORD))
    return kept.sort("len", "level", descending=[True, False])["level"].to_list()


def told_words(
    texts: Sequence[str | None], cut: int, gaps: Mapping[str, float], people: Sequence[str | None] | None
) -> tuple[WordShare, ...]:
    """The words that tell two sets of texts apart, the most telling first.

    Args:
        texts: of both sides.
        cut: where the second side begins.
        gaps: by term, how much it tells for the second side on average.
        people: who each text is from.

    Returns:
        Words that five people use in five texts, and whose share differs between the sides beyond chance. Words of
        grammar, such as `how`, only where no other is found.
    """
    from scipy.stats import norm
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    shared = shared_words(texts, people)
    used = [readable_words(text or "") & shared.keys() for text in texts]
    before, after = cut, len(texts) - cut
    counts = dict.fromkeys(shared, (0, 0))
    for place, words in enumerate(used):
        for word in words:
            a, b = counts[word]
            counts[word] = (a + (place < cut), b + (place >= cut))
    limit = float(norm.isf(0.025 / max(1, len(shared))))
    found = []
    for word, (a, b) in counts.items():
        p, q = a / before, b / after
        both = (a + b) / (before + after)
        error = (both * (1 - both) * (1 / before + 1 / after)) ** 0.5
        if error and abs(q - p) > limit * error and gaps.get(word, 0.0) * (q - p) > 0:
            found.append(WordShare(word, p, q))
    content = [w for w in found if w.word not in ENGLISH_STOP_WORDS]
    ranked = sorted(content or found, key=lambda w: (-abs(gaps[w.word]), w.word))
    return tuple(sorted(ranked[:MOST_WORDS], key=lambda w: (w.window < w.reference, ranked.index(w))))


def _unlike(margin: Floats, groups: Groups) -> tuple[NDArray[np.bool_], float]:
    """Which rows of the window lie beyond 95 % of the reference of their fold, and how many more than expected."""
    far = np.zeros(len(margin), dtype=np.bool_)
    for number in np.unique(groups.fold):
        part = groups.fold == number
        limit = np.quantile(margin[part & ~groups.is_window], UNLIKE)
        far[part] = margin[part] > limit
    inside = far[groups.is_window]
    expected = float(far[~groups.is_window].mean())
    return inside, max(0.0, (float(inside.mean()) - expected) / (1.0 - expected))


def _carriers(
    both: _Sides, unlike: NDArray[np.bool_], parts: Sequence[str], named: Sequence[str]
) -> tuple[Carrier, ...]:
    """Segments and versions with more unlike rows than the rest; not those whose own mix is what changed."""
    from scipy.stats import norm

    window, found, looked = both.window, [], 0
    people = None if both.people is None else both.people[both.cut :]
    for column in parts:
        if column in named or column not in window.columns:
            continue
        values = category_values(window, column)
        for value in shared_levels(values, people, LEAST_PART):
            rows = int((values == value).sum())
            inside = (values == value).fill_null(value=False).to_numpy()
            if rows > window.height - LEAST_PART:
                continue
            looked += 1
            share, elsewhere = float(unlike[inside].mean()), float(unlike[~inside].mean())
            together = float(unlike.mean())
            error = (together * (1 - together) * (1 / rows + 1 / (window.height - rows))) ** 0.5
            if error and share > elsewhere:
                found.append(((share - elsewhere) / error, Carrier(column, repr(value), rows, share, elsewhere)))
    limit = float(norm.isf(0.025 / max(1, looked)))
    return tuple(c for z, c in sorted(found, key=lambda f: -f[0]) if z > limit)[:MOST_VALUES]


def _examples(both: _Sides, told: Told, drivers: Sequence[Driver]) -> tuple[Example, ...]:
    """The rows most unlike the reference, none twice with the same values in the columns that are named."""
    if "event_id" not in both.window.columns:
        return ()
    columns = both.table.columns
    places = [columns.index(driver.column) for driver in drivers]
    margin, shap = told.margin[both.cut :], told.shap[both.cut :]
    ids = both.window["event_id"].to_list()
    values = [both.window[columns[p]].to_list() for p in places]
    seen, found = set[str](), list[Example]()
    for row in np.argsort(-margin, kind="stable").tolist():
        key = repr([column[row] for column in values])
        by = [columns[p] for p in sorted(places, key=lambda p: -shap[row, p]) if shap[row, p] > 0]
        if key in seen or not by or margin[row] <= 0:
            continue
        seen.add(key)
        found.append(Example(str(ids[row]), tuple(by[:2])))
        if len(found) == MOST_EXAMPLES:
            break
    return tuple(found)
