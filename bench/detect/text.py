"""Banking77 messages in a simulated order: known intents, new intents, typing errors, a surge of one topic."""

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
    """A reference, and the indices of the later messages that windows may contain."""

    profile: ReferenceProfile
    others: np.ndarray


@dataclass(frozen=True, eq=False)
class TextStream:
    """Messages that are coded once; references and windows are drawn from the codes.

    The encoder is fitted on separate rows (the model's training set). A random part of the other messages of known
    intents (`later`) is the reference. Windows of up to 1,000 rows are drawn from the rest without replacement, so no
    text is in both. Larger windows and their references are drawn with replacement from all of them.
    """

    profile: ReferenceProfile
    later: CodedColumns
    mistyped: CodedColumns  # the same messages with typing errors
    new: CodedColumns
    topic: np.ndarray  # which of the later messages have the intent that surges

    @classmethod
    def read(cls, data: Path, seed: int) -> "TextStream":
        rng = np.random.default_rng([seed, 77])
        both = pl.concat([pl.read_parquet(data / f"banking77_{part}.parquet") for part in ("train", "test")])
        held = rng.choice(both["category"].unique().sort().to_list(), 15, replace=False).tolist()
        both = both[rng.permutation(both.height)]
        known, new = both.filter(~pl.col("category").is_in(held)), both.filter(pl.col("category").is_in(held))
        encoder, later = known[:ENCODER_ROWS]["text"].to_list(), known[ENCODER_ROWS:]
        profile = fit_reference(
            later[:REFERENCE_ROWS].select("text"), {"text": "text"}, blocks=40, encoder_texts={"text": encoder},
            seed=seed,
        )  # fmt: skip

        def coded(texts: list[str]) -> CodedColumns:
            return coded_columns(pl.DataFrame({"text": texts}), profile.coding)

        texts = later["text"].to_list()
        return cls(
            profile, coded(texts), coded([_add_typos(t, rng) for t in texts]), coded(new["text"].to_list()),
            (later["category"] == later["category"].mode().sort()[0]).to_numpy(),
        )  # fmt: skip

    def split(self, rng: np.random.Generator, rows: int) -> Split:
        """A split for windows of `rows` rows; reference blocks are a tenth of a window, as in the service."""
        order = rng.permutation(len(self.topic))
        chosen, others = order[:REFERENCE_ROWS], order[REFERENCE_ROWS:]
        if rows > len(others):
            chosen, others = rng.integers(0, len(order), 4 * rows), order
        blocks = self._profiled(_take(self.later, chosen), rows // BLOCKS_PER_WINDOW)
        return Split(replace(self.profile, blocks=blocks, labels=tuple(range(len(blocks)))), others)

    def alarmed(self, rng: np.random.Generator, split: Split, shift: str, rows: int, alpha: float) -> bool:
        """Whether one window of `rows` rows alarms; `shift` names the kind of change and the share of changed rows."""
        kind, _, share = shift.partition("_")
        many = round(float(share or 0.0) * rows)
        large = rows > len(split.others)
        usual = rng.choice(split.others, rows, replace=large)
        match kind:
            case "new":
                changed = _take(self.new, rng.choice(len(self.new.numbers["text.length"]), many))
            case "typos":
                changed = _take(self.mistyped, usual[:many])
            case "surge":
                changed = _take(self.later, rng.choice(split.others[self.topic[split.others]], many))
            case _:
                changed = _take(self.later, usual[:many])
        both = _concatenate(changed, _take(self.later, usual[many:]))
        window = self._profiled(_take(both, rng.permutation(rows)), rows // BLOCKS_PER_WINDOW)
        spec, seed = spec_of(rows, alpha), int(rng.integers(2**31))
        return judge(spec, split.profile, spec.monitors.scales[0], window, (), first=100_000, seed=seed).alarmed

    def _profiled(self, coded: CodedColumns, block: int) -> tuple[BlockProfile, ...]:
        rows = len(coded.numbers["text.length"])
        return profile_coded(coded, self.profile.coding, equal_blocks(rows, block), rows // block)


def _take(coded: CodedColumns, at: np.ndarray) -> CodedColumns:
    return CodedColumns(
        {n: v[at] for n, v in coded.numbers.items()}, {n: v[at] for n, v in coded.categories.items()}, {}
    )


def _concatenate(one: CodedColumns, two: CodedColumns) -> CodedColumns:
    return CodedColumns(
        {n: np.concatenate([v, two.numbers[n]]) for n, v in one.numbers.items()},
        {n: np.concatenate([v, two.categories[n]]) for n, v in one.categories.items()},
        {},
    )


def _add_typos(text: str, rng: np.random.Generator) -> str:
    """Replace, drop or double one letter in ten."""
    found = []
    for letter in text:
        chance = rng.random()
        found.append("" if chance < 0.03 else letter * 2 if chance < 0.06 else "x" if chance < 0.1 else letter)
    return "".join(found)
