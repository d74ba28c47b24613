"""Banking77 messages in a simulated order: known intents, intents held back, typing errors, one topic in surge."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from bench.detect.trial import spec_of
from monitor.detect.rules import judge
from monitor.profile.block import BlockProfile, equal_blocks, profile_coded
from monitor.profile.coding import CodedColumns, coded_columns
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ReferenceProfile
from monitor.spec.times import BLOCKS_PER_WINDOW

ENCODER_ROWS, REFERENCE_ROWS = 3500, 4000
SHIFTS = ("none", "new_0.05", "new_0.2", "typos_0.05", "typos_0.2", "surge_0.05", "surge_0.2")


@dataclass(frozen=True, eq=False)
class Split:
    """A reference, and which of the later messages windows may hold."""

    baseline: ReferenceProfile
    others: np.ndarray


@dataclass(frozen=True, eq=False)
class TextStream:
    """Messages coded once; references and windows are drawn from the codes, which is what profiling their rows gives.

    The encoder is fitted on rows of their own (the model's training set). Of the other messages of known intents
    (`later`) a random part is the reference, and windows up to 1,000 rows are drawn from what is left without drawing a
    row twice: no text stands on both sides. Larger windows and their reference are drawn with replacement from all.
    """

    baseline: ReferenceProfile
    later: CodedColumns
    mistyped: CodedColumns  # the same messages
    new: CodedColumns
    topic: np.ndarray  # which of the later ones are of the intent that surges

    @classmethod
    def read(cls, data: Path, seed: int) -> "TextStream":
        rng = np.random.default_rng([seed, 77])
        both = pl.concat([pl.read_parquet(data / f"banking77_{part}.parquet") for part in ("train", "test")])
        held = rng.choice(both["category"].unique().sort().to_list(), 15, replace=False).tolist()
        both = both[rng.permutation(both.height)]
        known, new = both.filter(~pl.col("category").is_in(held)), both.filter(pl.col("category").is_in(held))
        encoder, later = known[:ENCODER_ROWS]["text"].to_list(), known[ENCODER_ROWS:]
        baseline = fit_reference(
            later[:REFERENCE_ROWS].select("text"), {"text": "text"}, blocks=40, encoder_texts={"text": encoder},
            seed=seed,
        )  # fmt: skip

        def coded(texts: list[str]) -> CodedColumns:
            return coded_columns(pl.DataFrame({"text": texts}), baseline.coding)

        texts = later["text"].to_list()
        return cls(
            baseline, coded(texts), coded([_mistyped(t, rng) for t in texts]), coded(new["text"].to_list()),
            (later["category"] == later["category"].mode().sort()[0]).to_numpy(),
        )  # fmt: skip

    def split(self, rng: np.random.Generator, rows: int) -> Split:
        """For windows of `rows`; the reference is cut in tenths of a window, as the service does."""
        order = rng.permutation(len(self.topic))
        chosen, others = order[:REFERENCE_ROWS], order[REFERENCE_ROWS:]
        if rows > len(others):
            chosen, others = rng.integers(0, len(order), 4 * rows), order
        blocks = self._profiled(_taken(self.later, chosen), rows // BLOCKS_PER_WINDOW)
        return Split(replace(self.baseline, blocks=blocks, labels=tuple(range(len(blocks)))), others)

    def alarmed(self, rng: np.random.Generator, split: Split, shift: str, rows: int, alpha: float) -> bool:
        """Verdict on one window of `rows`, of which a share is changed."""
        kind, _, share = shift.partition("_")
        many = round(float(share or 0.0) * rows)
        large = rows > len(split.others)
        usual = rng.choice(split.others, rows, replace=large)
        match kind:
            case "new":
                changed = _taken(self.new, rng.choice(len(self.new.numbers["text.length"]), many))
            case "typos":
                changed = _taken(self.mistyped, usual[:many])
            case "surge":
                changed = _taken(self.later, rng.choice(split.others[self.topic[split.others]], many))
            case _:
                changed = _taken(self.later, usual[:many])
        both = _both(changed, _taken(self.later, usual[many:]))
        window = self._profiled(_taken(both, rng.permutation(rows)), rows // BLOCKS_PER_WINDOW)
        spec, seed = spec_of(rows, alpha), int(rng.integers(2**31))
        return judge(spec, split.baseline, spec.monitors.scales[0], window, (), first=100_000, seed=seed).alarmed

    def _profiled(self, coded: CodedColumns, block: int) -> tuple[BlockProfile, ...]:
        rows = len(coded.numbers["text.length"])
        return profile_coded(coded, self.baseline.coding, equal_blocks(rows, block), rows // block)


def _taken(coded: CodedColumns, at: np.ndarray) -> CodedColumns:
    return CodedColumns(
        {n: v[at] for n, v in coded.numbers.items()}, {n: v[at] for n, v in coded.categories.items()}, {}
    )


def _both(one: CodedColumns, two: CodedColumns) -> CodedColumns:
    return CodedColumns(
        {n: np.concatenate([v, two.numbers[n]]) for n, v in one.numbers.items()},
        {n: np.concatenate([v, two.categories[n]]) for n, v in one.categories.items()},
        {},
    )


def _mistyped(text: str, rng: np.random.Generator) -> str:
    """One letter in ten replaced, dropped or doubled."""
    found = []
    for letter in text:
        chance = rng.random()
        found.append("" if chance < 0.03 else letter * 2 if chance < 0.06 else "x" if chance < 0.1 else letter)
    return "".join(found)
