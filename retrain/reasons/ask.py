"""Ask the explained model: attributions of rows, and what else is asked of it, each in a process of its own."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import polars as pl

from core.artifacts import file_digest, write_durably
from core.canonical import digest, sha256
from core.errors import InvalidError
from core.process import Child
from monitor.ingest.typed_columns import DTYPES
from monitor.reference.choose_rows import dataset_rows, reference_rows
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.explanation import Rows
from monitor.store import newest_reference
from retrain import store
from retrain.errors import TrainerError
from retrain.evals.explain_rows import GIVEN, SCORE
from retrain.reasons.block import Block
from retrain.runs.workspace import read_json

STILL_S: Final = 600.0  # a process that used no CPU for this long is given up
ATTRIBUTE: Final = "retrain.evals.explain_rows"
PROBE: Final = "retrain.evals.probe_rows"
READ: Final = ("number", "category", "boolean")


@dataclass(frozen=True, eq=False)
class Asking:
    """The version that is explained, and how it is asked.

    Attributes:
        identity: digest of all that attributions follow from but the rows: model, spec keys, background.
        told: what a record says of the version.
    """

    site: Site
    current: CurrentSpec
    version: str
    identity: str
    told: dict[str, Any]
    model: dict[str, Any]  # of the process' config: `folder`, `file` or `endpoint`
    background: pl.DataFrame

    @classmethod
    def of(cls, site: Site, current: CurrentSpec, answered_by: str | None) -> Self:
        """The model that the spec brings; else the version that answered, if it was retrained here, else the champion.

        Raises:
            InvalidError: the model cannot be explained by its columns, or answered under another version.
        """
        model, version = _model(site, current, answered_by)
        background = _background(site, current)
        explain = current.spec.explain
        identity = digest({
            "model": model["digest"], "explain": None if explain is None else explain.model_dump(mode="json"),
            "background": sha256(background.write_ndjson().encode()),
            "columns": {name: column.type for name, column in current.spec.event_columns.items()},
        })  # fmt: skip
        told = {"version": version, "model_digest": model.pop("digest"), "identity": identity}
        return cls(site, current, version, identity, told, model, background)

    @property
    def truth(self) -> bool:
        """Whether the prediction is declared as boolean."""
        return self.current.spec.columns[self.current.spec.with_role("prediction")[0]].type == "boolean"

    @property
    def dtypes(self) -> dict[str, Any]:
        return {name: DTYPES[column.type] for name, column in self.current.spec.event_columns.items()}

    def attributed(self, rows: pl.DataFrame, *, recorded: bool) -> Block:
        """Attributions of every output for rows of events.

        Args:
            recorded: whether the recorded answers are held against the model's; else its own are explained.

        Raises:
            TrainerError: the process failed; the message says why.
        """
        with tempfile.TemporaryDirectory(dir=_folder(self.site), prefix="explain-") as name:
            folder = Path(name)
            self._run(ATTRIBUTE, folder, self._config(folder, rows, recorded=recorded))
            facts = json.loads((folder / "facts.json").read_text())
            return Block(pl.read_parquet(folder / "block.parquet"), facts)

    def probed(self, rows: pl.DataFrame, probes: Mapping[str, Any], observed: pl.DataFrame | None) -> dict[str, Any]:
        """What else is asked; `observed` are the rows whose values counterfactuals propose."""
        with tempfile.TemporaryDirectory(dir=_folder(self.site), prefix="explain-") as name:
            folder = Path(name)
            config = self._config(folder, rows, recorded=True) | dict(probes)
            if observed is not None:
                observed.write_parquet(folder / "observed.parquet")
                config["changes"] = {**config["changes"], "observed": str(folder / "observed.parquet")}
            self._run(PROBE, folder, config)
            found: dict[str, Any] = json.loads((folder / "probes.json").read_text())
            return found

    def _config(self, folder: Path, rows: pl.DataFrame, *, recorded: bool) -> dict[str, Any]:
        spec = self.current.spec
        explain, prediction, score = spec.explain, spec.with_role("prediction")[0], spec.with_role("score")
        nothing = pl.lit(None)
        given = pl.col(prediction) if recorded and prediction in rows.columns else nothing
        scored = pl.col(score[0]).cast(pl.Float64) if recorded and score and score[0] in rows.columns else nothing
        seq = pl.col("seq") if "seq" in rows.columns else pl.int_range(pl.len()).alias("seq")
        event = pl.col("event_id") if "event_id" in rows.columns else pl.lit("").alias("event_id")
        kept = [name for name, column in spec.event_columns.items() if name in rows.columns and column.type in READ]
        frame = rows.select(event, seq, *kept, given.alias(GIVEN), scored.cast(pl.Float64).alias(SCORE))
        frame.write_parquet(folder / "rows.parquet")
        self.background.write_parquet(folder / "background.parquet")
        columns = [{"name": n, "type": c.type} for n, c in spec.event_columns.items() if c.type in READ]
        declared = {
            "columns": [c for c in columns if spec.columns[c["name"]].role not in ("prediction", "score", "subject")],
            "inputs": spec.with_role("input"), "features": explain.features if explain else None,
            "levels": dict(explain.levels) if explain else {}, "outputs": explain.outputs if explain else None,
            "classes": spec.task == "classification", "boolean": self.truth,
        }  # fmt: skip
        return {
            **self.model, "format": explain.format if explain else None, "declared": declared,
            "rows": str(folder / "rows.parquet"), "background": str(folder / "background.parquet"),
            "interventional": explain is not None and explain.background is not None,
            "threshold": explain.threshold if explain else None, "budget": explain.budget if explain else 20_000,
            "seed": explain.seed if explain else 0, "threads": self.site.settings.train.threads,
            "output_dir": str(folder),
        }  # fmt: skip

    def _run(self, module: str, folder: Path, config: Mapping[str, Any]) -> None:
        write_durably(folder / "config.json", json.dumps(config).encode())
        threads = self.site.settings.train.threads
        child = Child(module, [str(folder / "config.json")], log=folder / "log.txt", threads=threads)
        child.wait_while_it_works(STILL_S)
        report = read_json(folder / "exit.json")
        if report is None or report["state"] != "succeeded":
            found = report or {"code": "killed", "message": "the explaining process was killed; ask again"}
            raise TrainerError(str(found["code"]), str(found["message"]))


def _folder(site: Site) -> Path:
    parent = site.settings.home_dir / "runs"
    parent.mkdir(parents=True, exist_ok=True)
    return parent


def _model(site: Site, current: CurrentSpec, answered_by: str | None) -> tuple[dict[str, Any], str]:
    """Of the process' config what names the model, with its digest; and its version."""
    explain = current.spec.explain
    if explain is None or (explain.model is None and explain.endpoint is None):
        with site.database.read() as db:
            row = store.version_named(db, current.model.id, answered_by) or store.champion(db, current.model.id)
        if row is None or row.adapter is None:
            raise InvalidError(
                f"{current.model.name} names no model file or endpoint in `explain`, and no version was trained here",
                field="explain.model",
            )
        return {"folder": str(site.artifacts.path(row.adapter)), "digest": row.adapter}, row.version
    version = explain.version or answered_by or "served"
    if explain.version is not None and answered_by is not None and answered_by != explain.version:
        raise InvalidError(
            f"version {answered_by!r} answered, and `explain` describes {explain.version!r}, so this decision cannot "
            "be explained", field="explain.version", value=explain.version,
        )  # fmt: skip
    if explain.endpoint is not None:
        raise InvalidError("endpoints are not asked yet", field="explain.endpoint")
    assert explain.model is not None
    if explain.model.startswith("sha256:"):
        return {"file": str(site.artifacts.path(explain.model)), "digest": explain.model}, version
    file = Path(os.path.expanduser(explain.model))  # noqa: PTH111 - the same as elsewhere
    if not file.is_file():
        raise InvalidError(f"explain.model: {explain.model} is no file on this machine", field="explain.model")
    return {"file": str(file.resolve()), "digest": file_digest(file)}, version


def _background(site: Site, current: CurrentSpec) -> pl.DataFrame:
    """The rows that stand for a column that is left out; empty where the reference is still arriving."""
    from retrain.reasons.population import drawn

    explain = current.spec.explain
    rows = explain.background_rows if explain else 100
    if explain is not None and isinstance(explain.background, Rows):
        found: pl.DataFrame | None = dataset_rows(site, current, explain.background.dataset).collect()
    else:
        with site.database.read() as db:
            row = newest_reference(db, current.model.id)
        found = None if row is None or row.state != "ready" else reference_rows(site, current, row)
    names = [n for n, c in current.spec.event_columns.items() if c.type in READ]
    empty = pl.DataFrame(schema={name: DTYPES[current.spec.columns[name].type] for name in names})
    return empty if found is None else drawn(found.select(n for n in names if n in found.columns), rows)
