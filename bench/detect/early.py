"""The early rule on a short reference: about 1,000 rows, and windows of the length that `auto` chooses."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from bench.detect.traffic import BLOCK, Traffic
from bench.detect.trial import Shift
from monitor.detect.rules import judge
from monitor.profile.block import profile_coded
from monitor.profile.coding import coded_columns
from monitor.profile.design_effect import design_effects, with_design_effects
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ColumnKind
from monitor.reference.choose_rows import watched_columns
from monitor.spec import false_alarm_budget
from monitor.spec.duration import duration
from monitor.spec.model import AUTO_REFERENCE_ROWS, ModelSpec
from monitor.spec.parse import load_spec
from monitor.spec.times import DAY, QUARTERS_PER_DAY, fitting_lengths

PERSON = "customer"
README = Path(__file__).resolve().parents[2] / "README.md"


@dataclass(frozen=True)
class Setting:
    """How `auto` judges traffic at a rate: window length, rows of a window, and windows of the first reference."""

    length: str
    rows: int
    windows: int

    @property
    def parts(self) -> int:
        """Profile blocks in one window."""
        return QUARTERS_PER_DAY if duration(self.length) >= DAY else 1


def setting_of(rows_per_day: int) -> Setting:
    length = fitting_lengths(rows_per_day)[0]
    rows = round(rows_per_day * (duration(length) / DAY))
    return Setting(length, rows, AUTO_REFERENCE_ROWS // rows)


def budget_of_window(rows_per_day: int) -> float:
    """The false-alarm probability that drift may spend on one window of README's spec."""
    length = setting_of(rows_per_day).length
    return false_alarm_budget.alpha(readme_spec().with_lengths((length,)), "drift", length)


@cache
def readme_spec() -> ModelSpec:
    """The spec that README shows."""
    text = README.read_text()
    return load_spec(text[text.index("```yaml\nmodel:") + len("```yaml\n") :].split("```")[0])


def readme_traffic(data: Path) -> Traffic:
    """Rows of README's spec, independent: messages of banking77 with their intents, customers who send one to four."""
    parts = pl.concat([pl.read_parquet(data / f"banking77_{part}.parquet") for part in ("train", "test")])
    columns: dict[str, ColumnKind] = dict(watched_columns(readme_spec()))

    def draw(rng: np.random.Generator, days: int, rows: int) -> pl.DataFrame:
        n = days * rows
        chosen = parts[rng.choice(parts.height, n, replace=n > parts.height)]
        return pl.DataFrame(
            {
                "text": chosen["text"], "channel": rng.choice(["app", "web", "phone"], n, p=[0.5, 0.3, 0.2]),
                "intent": chosen["category"], "confidence": rng.beta(6, 2, n),
                "age_band": rng.choice(["18-29", "30-49", "50+"], n), PERSON: rng.integers(0, n // 2, n).astype(str),
                BLOCK: np.zeros(n, dtype=np.int64),
            }
        )  # fmt: skip

    return Traffic("readme", columns, draw)


def divided(column: str) -> Shift:
    return lambda frame, _: frame.with_columns(pl.col(column) / 30)


def alarms(
    traffic: Traffic, rng: np.random.Generator, rows_per_day: int, windows: int, shift: Shift | None = None
) -> list[bool]:
    """Whether each of some windows after one reference alarms, unchanged or with a shift."""
    setting = setting_of(rows_per_day)
    days = -(-(setting.windows + windows) * setting.rows // rows_per_day) + 1
    frame = traffic.draw(rng, days, rows_per_day).drop(BLOCK)
    size, parts = setting.windows * setting.rows, setting.parts
    reference = frame[:size]
    labels = np.arange(size) * (setting.windows * parts) // size
    person = PERSON if PERSON in frame.columns else None
    profile = fit_reference(reference, traffic.columns, blocks=labels, parts=parts, person=person)
    profile = with_design_effects(profile, reference, labels, person)
    spec = readme_spec().with_lengths((setting.length,))
    later = [frame[size + i * setting.rows : size + (i + 1) * setting.rows] for i in range(windows)]
    together = pl.concat([part if shift is None else shift(part, rng) for part in later])
    coded = coded_columns(together, profile.coding)  # at once, because texts are slow to encode
    of = np.arange(together.height) * parts // setting.rows
    blocks = profile_coded(coded, profile.coding, of, windows * parts)
    people = None if person is None else together[person].cast(pl.String).to_list()
    found = []
    for i in range(windows):
        rows = slice(i * setting.rows, (i + 1) * setting.rows)
        numbers = {n: (values[rows], profile.coding.numbers[n]) for n, values in coded.numbers.items()}
        levels = {n: codes[rows] for n, codes in coded.categories.items()}
        effects = design_effects(numbers, levels, None if people is None else people[rows])
        mine = blocks[i * parts : (i + 1) * parts]
        decision = judge(
            spec, profile, setting.length, mine, (), first=10_000, seed=0,
            early={n: e.cautious for n, e in effects.items()},
        )  # fmt: skip
        found.append(decision.alarmed)
    return found
