"""`python -m monitor.why.look FOLDER`: look for what drove an alert in the rows of a folder, in a process of its own.

Reads `question.json`, `reference.parquet` and `window.parquet`; writes `answer.json`.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import AppError
from monitor.why.columns import SetAside
from monitor.why.drift import LEVEL, find_drift
from monitor.why.lost import find_lost
from monitor.why.wording import drift_sentence, lost_sentence


def answer(asked: dict[str, Any], reference: pl.DataFrame, window: pl.DataFrame) -> dict[str, Any]:
    """State, sentence, figures and example rows, as JSON."""
    aside = [SetAside(**one) for one in asked["set_aside"]]
    if asked["about"] == "drift":
        found_drift = find_drift(reference, window, asked["kinds"], parts=asked["parts"], person=asked["person"])
        figures = asdict(found_drift)
        examples = figures.pop("examples")
        figures |= {"level": LEVEL, "set_aside": [*map(asdict, aside), *figures["set_aside"]]}
        state = "found" if found_drift.drivers else "nothing"
        sentence = drift_sentence(found_drift, asked["units"])
        told = [one for one in (*aside, *found_drift.set_aside) if one.column == asked["column"]]
        if told and state == "nothing":
            sentence += f" The alert is about `{told[0].column}`, which was set aside: {told[0].reason}."
        return {"state": state, "sentence": sentence, "figures": {"about": "drift", **figures}, "examples": examples}
    lost = find_lost(reference, window, asked["kinds"], person=asked["person"])
    figures = asdict(lost) | {"words": asked["words"], "among": asked["among"]}
    for shown, leaf in zip(figures["leaves"], lost.leaves, strict=True):
        shown |= {"share": leaf.share, "elsewhere": leaf.elsewhere}
    sentence = lost_sentence(lost, asked["words"], asked["among"])
    found = {"about": "lost", **figures}
    return {"state": "found" if lost.leaves else "nothing", "sentence": sentence, "figures": found, "examples": []}


def main(folder: Path) -> None:
    asked = json.loads((folder / "question.json").read_bytes())
    sides = [pl.read_parquet(folder / f"{side}.parquet") for side in ("reference", "window")]
    try:
        found = answer(asked, *sides)
    except AppError as error:
        found = {"error": error.message}
    (folder / "answer.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
