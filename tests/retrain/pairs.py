"""A model that writes two answers, of which people say which they prefer."""

from pathlib import Path

import polars as pl

from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from tests.retrain import world

OLD, NEW = "we will look at your {}", "please bring your {}"


def spec(base: Path | str, **preference: str) -> ModelSpec:
    """A model that writes two answers; people say which they prefer."""
    document = world.answers_spec(Path(base)).document
    columns = {
        "asked": {"role": "input", "type": "text"}, "second": {"role": "input", "type": "text"},
        "answered": {"role": "prediction", "type": "text"}, "better": {"role": "outcome", "type": "category"},
    }  # fmt: skip
    recipe = document["retrain"]["recipe"] | {
        "task": "dpo", "preference": {"other": "second", "outcome": "better"} | preference, "beta": 0.3, "epochs": 3,
    }  # fmt: skip
    policy = document["retrain"] | {"recipe": recipe, "when": [{"new_outcomes": 100}]}
    return parse_spec(document | {"columns": columns, "retrain": policy})


def events(count: int, first: int) -> pl.DataFrame:
    """The newer style is preferred, and is now the first, now the second answer; every tenth is a draw."""
    old, new = (world.answers(count, first, style) for style in (OLD, NEW))
    turn = [i % 2 == 0 for i in range(count)]
    pick = [(a, b) if t else (b, a) for t, a, b in zip(turn, new["given"], old["given"], strict=True)]
    return old.drop("given", "answered").with_columns(
        pl.Series("answered", [a for a, _ in pick]), pl.Series("second", [b for _, b in pick]),
        pl.Series("better", ["both" if i % 10 == 9 else "answered" if t else "second" for i, t in enumerate(turn)]),
    )  # fmt: skip
