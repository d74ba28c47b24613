"""Flip tests: does the champion answer otherwise when a term, or a value, of an input is put in another's place?

The rows are real events, swapped and asked again in a process of its own. What is kept are shares and, as examples,
ids of events: texts stay where they are.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np
import polars as pl

from core.artifacts import write_durably
from core.canonical import digest
from core.process import Child
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor import store as monitored
from monitor.alerts import headlines
from monitor.fairness.causes.swap import Swap
from monitor.kpi.intervals import wilson
from monitor.levels import as_levels, level
from monitor.service import current_spec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import Window
from monitor.windows.stored_levels import with_levels
from retrain import store
from retrain.curate.select import Shape
from retrain.errors import TrainerError
from retrain.explain.basis import Basis
from retrain.explain.folders import working_folder
from retrain.runs.workspace import read_json
from retrain.tables import FairnessFlip

NEWEST: Final = 20_000  # events from which rows are taken where no window is asked for
EXAMPLES: Final = 5
DIRECTIONS: Final = 20  # that are listed, those with most rows first
STILL_S: Final = 600.0
Z95: Final = 1.959963984540054
CONFIRMS: Final = "flips change single words and values: answers that stay are no proof that groups are treated alike"


@dataclass(frozen=True, eq=False)
class FlipRows:
    """The rows of one test: ids of events, both inputs as texts, and what was put in the place of what."""

    test: str
    rows: pl.DataFrame  # event_id, before, after, direction


def flip_rows(shape: Shape, spec: ModelSpec, frame: pl.DataFrame) -> Iterator[FlipRows]:
    """The inputs of each test, before and after; of events that have nothing to swap, none.

    Args:
        shape: how the model reads an event.
        frame: events, in any order, as they are stored.
    """
    flips = spec.monitors.flips
    assert flips is not None  # whoever calls has looked
    if flips.terms:
        swap = Swap.of(flips.terms)
        texts = [name for name in shape.inputs if spec.columns[name].type == "text"]
        changed = frame.with_columns(
            pl.Series(name, [None if v is None else swap(v) or v for v in frame[name]], dtype=pl.String)
            for name in texts
        )
        together = ["\n".join(v for v in row if v is not None) for row in frame.select(texts).iter_rows()]
        direction = pl.Series([swap.direction(text) for text in together], dtype=pl.String)
        yield _test(shape, "terms", frame, changed, direction, flips.rows)
    for name, values in flips.columns.items():
        levels = [str(level(value)) for value in values]
        given = as_levels(frame[name])
        parts = []
        for value in levels:
            other = frame.filter((given != value) & given.is_in(levels))
            put = pl.Series(name, [value] * other.height, dtype=pl.String)
            swapped = put == "true" if frame.schema[name] == pl.Boolean else put
            direction = as_levels(other[name]) + f" to {value}"
            parts.append(_test(shape, name, other, other.with_columns(swapped), direction, flips.rows).rows)
        yield FlipRows(name, _spread(pl.concat(parts), flips.rows))


def _test(
    shape: Shape, test: str, before: pl.DataFrame, after: pl.DataFrame, direction: pl.Series, most: int
) -> FlipRows:
    rows = pl.DataFrame(
        {
            "event_id": before["event_id"], "before": shape.texts(before), "after": shape.texts(after),
            "direction": direction,
        }
    ).drop_nulls()  # fmt: skip
    return FlipRows(test, _spread(rows.filter(pl.col("before") != pl.col("after")), most))


def _spread(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most so many rows, evenly spread."""
    if rows.height <= most:
        return rows
    return rows[np.linspace(0, rows.height - 1, most).round().astype(np.int64)]


def flip_result(rows: pl.DataFrame) -> dict[str, Any]:
    """What a test found.

    Args:
        rows: `event_id` and `direction` of each row with both answers, and the probabilities of the first.

    Returns:
        The share of answers that change with its 95 % interval (Wilson), the mean change of the probability of the
        first answer with its interval, the same by direction, and the ids of the events that changed most.
    """
    moved = rows.with_columns(
        changed=pl.col("answer_before") != pl.col("answer_after"),
        change=pl.col("score_after") - pl.col("score_before"),
    )
    found = _shares(moved)
    parts = moved.group_by("direction", maintain_order=True)
    by = sorted(({"direction": name, **_shares(part)} for (name,), part in parts), key=lambda one: -one["n"])
    found["by_direction"] = by[:DIRECTIONS]
    examples = moved.filter(pl.col("changed")).sort("change", "event_id").head(EXAMPLES)
    names = ("event_id", "direction", "answer_before", "answer_after", "change")
    found["examples"] = examples.select(names).to_dicts()
    return found


def _shares(rows: pl.DataFrame) -> dict[str, Any]:
    n, changed = rows.height, int(rows["changed"].sum())
    if not n:
        return {"n": 0, "changed": 0, "share": None, "low": None, "high": None, "mean_change": None}
    low, high = wilson(changed, n)
    mean = float(rows["change"].mean())  # type: ignore[arg-type]  # numbers
    half = Z95 * float(rows["change"].std() or 0.0) / n**0.5  # type: ignore[arg-type]
    return {
        "n": n, "changed": changed, "share": changed / n, "low": low, "high": high, "mean_change": mean,
        "mean_change_low": mean - half, "mean_change_high": mean + half,
    }  # fmt: skip


def ask_flips(site: Site, model_name: str, alert_id: UUID | None) -> None:
    """Ask the champion the flips of the spec, and store what was found; without effect where the spec has none.

    Raises:
        NoChampionError: the model has no champion.
        IntegrityFailureError: the files of its base are not those that were registered.
        TrainerError: the process that asks it ended with an error.
    """
    with site.database.read() as db:
        current = current_spec(site, db, model_name)
        flips = current.spec.monitors.flips
        if flips is None or (alert_id is not None and store.flips_of_alert(db, alert_id)):
            return
        basis = Basis.of(site, db, model_name, None)
        window = None
        if alert_id is not None and (told := headlines.told_window(monitored.alert(db, alert_id))) is not None:
            window = db.get_one(Window, told)
    if basis.files.files.headless:
        raise TrainerError("no_head", "the champion is a base that answers with no class yet; retrain it first")
    basis.check_base()
    frame = _events(site, model_name, window, basis)
    document: dict[str, Any] = {"flips": flips.model_dump(mode="json"), "rows_read": frame.height, "note": CONFIRMS}
    made = list(flip_rows(basis.shape, current.spec, with_levels(current.spec, frame)))
    found = _asked(site, basis, made)
    document["tests"] = [{"test": one.test, **result} for one, result in zip(made, found, strict=True)]
    with site.database.write() as db:
        now, version = site.clock.now(), basis.version.version
        row = FairnessFlip(model_id=basis.model.id, version=version, alert_id=alert_id, document=document, at=now)
        db.add(row)
        db.flush()
        shares = {t["test"]: {n: t[n] for n in ("n", "changed")} for t in document["tests"]}
        append_entry(
            db, kind="fairness.flips", actor=SYSTEM_ACTOR, subject=f"model:{model_name}", at=now,
            body={
                "flips": row.id, "version": version, "alert": alert_id, "tests": shares, "document": digest(document),
            },
        )  # fmt: skip


def _events(site: Site, model: str, window: Window | None, basis: Basis) -> pl.DataFrame:
    columns = ["event_id", *basis.shape.inputs]
    if window is not None:
        begin, end = (None, None) if window.scale.endswith(" rows") else (window.from_ts, window.to_ts)
        rows = site.events.scan(model, from_seq=window.from_seq, to_seq=window.to_seq, from_ts=begin, to_ts=end)
        return rows.sort("seq").tail(NEWEST).select(columns).collect()
    until = site.events.extent(model).next_seq
    return site.events.events(model, from_seq=max(0, until - NEWEST), columns=columns)


def _asked(site: Site, basis: Basis, made: list[FlipRows]) -> list[dict[str, Any]]:
    """The result of each test, from one process that asks the model all of them."""
    every = pl.concat([one.rows for one in made])
    if every.is_empty():
        return [flip_result(_answered(one.rows, pl.DataFrame(schema=ANSWERED))) for one in made]
    with working_folder(site) as folder:
        answers = _process(site, basis, every, folder)
    found, at = [], 0
    for one in made:
        found.append(flip_result(_answered(one.rows, answers[at : at + one.rows.height])))
        at += one.rows.height
    return found


ANSWERED: Final[Mapping[str, Any]] = {
    "before": pl.String, "after": pl.String, "score_before": pl.Float64, "score_after": pl.Float64,
}  # fmt: skip


def _answered(rows: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    named = answers.rename({"before": "answer_before", "after": "answer_after"})
    return pl.concat([rows.select("event_id", "direction"), named], how="horizontal")


def _process(site: Site, basis: Basis, rows: pl.DataFrame, folder: Path) -> pl.DataFrame:
    rows.select("before", "after").write_parquet(folder / "rows.parquet")
    config = {
        "model": basis.files.model_dump(mode="json"), "rows": str(folder / "rows.parquet"), "output_dir": str(folder),
    }  # fmt: skip
    write_durably(folder / "config.json", json.dumps(config).encode())
    threads = site.settings.train.threads
    child = Child("retrain.evals.flips", [str(folder / "config.json")], log=folder / "log.txt", threads=threads)
    child.wait_while_it_works(STILL_S)
    report = read_json(folder / "exit.json")
    if report is None or report["state"] != "succeeded":
        ended = report or {"code": "killed", "message": "the process that asks the champion was killed; ask again"}
        raise TrainerError(str(ended["code"]), str(ended["message"]))
    return pl.read_parquet(folder / "answers.parquet")
