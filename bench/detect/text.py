"""Banking77 messages in a simulated order: known intents, intents held back, typing errors, one topic in surge."""

from pathlib import Path

import numpy as np
import polars as pl

from monitor.baseline import fit_baseline
from monitor.coding import CodedColumns, coded_columns
from monitor.decide import decide
from monitor.profile import equal_blocks, profile_coded

BLOCK_ROWS = 100


class TextStream:
    """A reference of 31 blocks and pools of later messages; texts are coded once, windows drawn from the codes.

    The encoder is fitted on rows of their own, the reference is a random part of the others, and windows are drawn
    from what is left without drawing a row twice: no text stands on both sides.
    """

    def __init__(self, data: Path, seed: int) -> None:
        rng = np.random.default_rng(seed)
        both = pl.concat([pl.read_parquet(data / f"banking77_{part}.parquet") for part in ("train", "test")])
        intents = both["category"].unique().sort().to_list()
        held = rng.choice(intents, 15, replace=False).tolist()
        both = both[rng.permutation(both.height)]
        known, new = both.filter(~pl.col("category").is_in(held)), both.filter(pl.col("category").is_in(held))
        encoder, reference, rest = known[:4000]["text"].to_list(), known[4000:7000].select("text"), known[7000:]
        surge = rest["category"].mode().sort()[0]
        pools = {
            "known": rest["text"].to_list(), "new": new["text"].to_list(),
            "typos": [_mistyped(t, rng) for t in rest["text"].to_list()],
            "surge": rest.filter(pl.col("category") == surge)["text"].to_list(),
        }  # fmt: skip
        self.baseline = fit_baseline(reference, {"text": "text"}, blocks=30, encoder_texts={"text": encoder}, seed=seed)
        coding = self.baseline.coding
        self.pools = {name: coded_columns(pl.DataFrame({"text": texts}), coding) for name, texts in pools.items()}

    def alarmed(self, rng: np.random.Generator, shift: str, rows: int, alpha: float) -> bool:
        """Verdict on one window of `rows`, of which a share comes from another pool; reference blocks as long."""
        kind, _, share = shift.partition("_")
        many = round(float(share or 0.0) * rows)
        pool = self.pools.get(kind, self.pools["known"])
        coding = self.baseline.coding
        order = rng.permutation(rows)

        def drawn(name: str, table: str) -> np.ndarray:
            usual, other = getattr(self.pools["known"], table)[name], getattr(pool, table)[name]
            return np.concatenate([usual[a], other[b]])[order]

        a = rng.choice(len(self.pools["known"].numbers["text.length"]), rows - many, replace=False)
        available = len(pool.numbers["text.length"])
        b = rng.choice(available, many, replace=many > available)
        coded = CodedColumns(
            {n: drawn(n, "numbers") for n in coding.numbers}, {n: drawn(n, "categories") for n in coding.categories}, {}
        )
        window = profile_coded(coded, coding, equal_blocks(rows, BLOCK_ROWS), max(rows // BLOCK_ROWS, 1))
        return decide(self.baseline, window, alpha=alpha, seed=int(rng.integers(2**31)), redraws=299).alarmed


def _mistyped(text: str, rng: np.random.Generator) -> str:
    """One letter in ten replaced, dropped or doubled."""
    found = []
    for letter in text:
        chance = rng.random()
        found.append("" if chance < 0.03 else letter * 2 if chance < 0.06 else "x" if chance < 0.1 else letter)
    return "".join(found)
