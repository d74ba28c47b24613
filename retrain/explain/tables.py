"""With what decisions on typed columns are explained: the file or endpoint of the spec, or a version made here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import polars as pl
from sqlalchemy.orm import Session

from core.artifacts import content_digest, write_durably
from core.errors import InvalidError
from core.process import Child
from monitor.explain.tables.formats import Format, ModelFileError, format_of
from monitor.reference.choose_rows import dataset_rows, reference_rows
from monitor.service import CurrentSpec, current_spec
from monitor.site import Site
from monitor.spec.explanation import DIGEST, READABLE, UNREAD, Explain, Rows
from monitor.spec.model import ModelSpec
from monitor.store import newest_reference
from retrain import store
from retrain.envelope import Plan
from retrain.errors import NoChampionError, TrainerError
from retrain.evals.served.base import Declared
from retrain.explain.basis import check_base
from retrain.explain.folders import working_folder
from retrain.explain.process import STILL_S
from retrain.provenance.nodes import Nodes
from retrain.runs.evaluation import model_files
from retrain.runs.workspace import read_json
from retrain.train.config import Recipe, place_of
from retrain.train.tabular.recipe import TableColumn

MODULE: Final = "retrain.evals.explain_rows"
GIVEN: Final = "assay:answer"  # as retrain.evals.explain_rows reads them
SCORE: Final = "assay:score"
EVENTS: Final = 10_000  # first ones, that stand for a reference which is not there yet
TREES: Final = ("xgboost", "lightgbm", "catboost")  # formats that are read without a background


def explains_tables(spec: ModelSpec) -> bool:
    """Whether decisions are explained by columns: a file or endpoint is declared, or a recipe of typed columns."""
    if spec.explain is not None and spec.explain.brought:
        return True
    return spec.retrain is not None and not isinstance(Plan.of(spec).recipe, Recipe)


def check_opinions(spec: ModelSpec, opinions: Sequence[str]) -> None:
    """Refuse second opinions about decisions that are explained by columns, for there are none.

    Raises:
        InvalidError: some are asked for.
    """
    if opinions and explains_tables(spec):
        raise InvalidError(
            "second opinions are there for texts alone; ask without opinions", field="opinions", value=list(opinions)
        )


@dataclass(frozen=True, slots=True)
class TableBasis:
    """A model and how it reads events.

    Attributes:
        version: the version that is explained; `node_digest` names it in the provenance, for a file its own digest.
        source: what the process is told: a folder, a file, or an endpoint.
    """

    current: CurrentSpec
    explain: Explain
    version: str
    node_digest: str
    kind: str
    source: Mapping[str, Any]
    declared: Declared

    @classmethod
    def of(cls, site: Site, db: Session, model_name: str, answered_by: str) -> Self:
        """
        Raises:
            NoChampionError: nothing is declared, and no version is registered.
            ModelFileError, PickledModelError: the file is missing, or of a format that is not read.
            InvalidError: the endpoint is none of this installation.
            IntegrityFailureError: the files of the base are not those that were registered.
        """
        current = current_spec(site, db, model_name)
        explain = current.spec.explain or Explain()
        declared = _declared(current.spec, explain)
        if explain.endpoint is not None:
            source, kind = _endpoint(site, explain), "endpoint"
            return cls(current, explain, answered_by, content_digest(explain.endpoint.encode()), kind, source, declared)
        if explain.model is not None:
            file, found = _file(site, explain.model)
            return cls(
                current, explain, answered_by, "sha256:" + file.name, found,
                {"file": str(file), "format": explain.format}, declared,
            )  # fmt: skip
        recipe = Plan.of(current.spec).recipe
        rows = {v.version: v for v in store.versions(db, current.model.id)}
        version = rows.get(answered_by) or store.champion(db, current.model.id)
        if version is None:
            raise NoChampionError(model_name)
        files = model_files(site, version, recipe)
        if files.adapter_dir is None:
            check_base(version, files)
        node = Nodes.of(db, current.model).version(version)
        source = {"folder": str(files.adapter_dir or files.base_dir)}
        return cls(current, explain, version.version, node.digest, "assay", source, declared)

    @property
    def other_version(self) -> str | None:
        """Why answers of `version` are not explained; None where they are."""
        only = self.explain.version
        if only is None or only == self.version:
            return None
        return f"version {self.version} made this decision, and explain.version says that the model is {only}"

    @property
    def names(self) -> list[str]:
        """The columns of events that are read."""
        spec = self.current.spec
        listed = [c.name for c in self.declared.columns]
        return list(dict.fromkeys([*listed, spec.with_role("prediction")[0], *spec.with_role("score")]))

    def rows(self, events: pl.DataFrame) -> pl.DataFrame:
        """Events as the process reads them: `event_id`, `seq`, the columns, the answer and its score.

        Args:
            events: with `names`, `event_id` and `seq`.
        """
        spec = self.current.spec
        prediction = spec.with_role("prediction")[0]
        given = events[prediction].alias(GIVEN)
        kept = events.select("event_id", "seq", *(c.name for c in self.declared.columns))
        return kept.with_columns(given, _score(spec, events, prediction).alias(SCORE))


def _declared(spec: ModelSpec, explain: Explain) -> Declared:
    kinds: dict[str, Any] = {"text": "category", "string": "category"}
    # A model that reads a protected column is declared to: what it says quotes it.
    unread = {*UNREAD, "protected"}
    columns = [
        TableColumn(name=name, type=kinds.get(c.type, c.type))
        for name, c in spec.event_columns.items()
        if c.type in READABLE and (c.role not in unread or name in (explain.features or ()))
    ]
    return Declared(
        columns=tuple(columns), inputs=tuple(n for n in spec.with_role("input") if n in {c.name for c in columns}),
        features=explain.features, levels=dict(explain.levels), outputs=explain.outputs,
        classes=spec.task == "classification",
        boolean=spec.columns[spec.with_role("prediction")[0]].type == "boolean",
    )  # fmt: skip


def _score(spec: ModelSpec, events: pl.DataFrame, prediction: str) -> pl.Series:
    """The recorded probability of the recorded answer; null where none is recorded, or it is that of another class."""
    named = spec.with_role("score")
    if not named:
        return pl.Series([None] * events.height, dtype=pl.Float64)
    score, positive = events[named[0]].cast(pl.Float64, strict=False), spec.columns[named[0]].positive
    if positive is None:
        return score
    return score.set(events[prediction].cast(pl.String) != positive, None)


def _endpoint(site: Site, explain: Explain) -> dict[str, Any]:
    from monitor.spec.duration import duration

    name = str(explain.endpoint)
    known = site.settings.endpoints
    if name not in known:
        listed = f"it has {', '.join(sorted(known))}" if known else "it has none"
        raise InvalidError(
            f"explain.endpoint {name!r} is no endpoint of this installation; {listed}; set ASSAY_ENDPOINTS__"
            f"{name.upper()}", field="explain.endpoint", value=name,
        )  # fmt: skip
    timeout_s = duration(explain.timeout).total_seconds()
    return {"endpoint": {"name": name, "url": known[name].get_secret_value(), "timeout_s": timeout_s}}


def _file(site: Site, given: str) -> tuple[Path, Format]:
    """The model file as an artifact, so that what explained a decision is kept, and its format."""
    if DIGEST.fullmatch(given):
        path = site.artifacts.path(given)
        return path, format_of(path.read_bytes())
    roots = site.settings.train.base_roots
    path = place_of(given, site.settings.home_dir)
    inside = not roots or any(path.is_relative_to(root.expanduser().resolve()) for root in roots)
    try:
        content = path.read_bytes() if inside else None
    except OSError:
        content = None
    if content is None:  # one answer, whether it is missing or may not be read: a spec is no way to look around
        raise ModelFileError(f"explain.model: {given} is no model file that can be read here; check the path "
                             "and ASSAY_TRAIN__BASE_ROOTS", field="explain.model", value=given)  # fmt: skip
    found = format_of(content)
    return site.artifacts.path(site.artifacts.put(content)), found


@dataclass(frozen=True, slots=True)
class Background:
    """Rows that stand for what is left out. `source` says where they are from."""

    rows: pl.DataFrame
    source: str

    @property
    def digest(self) -> str:
        return content_digest(self.rows.write_ndjson().encode())


def background_of(site: Site, basis: TableBasis) -> Background:
    """`background_rows` rows, drawn by `seed` from the data set, the reference, or the first events.

    Raises:
        InvalidError: no data set has the name, or it lacks columns.
    """
    current, explain = basis.current, basis.explain
    names = [c.name for c in basis.declared.columns]
    rows: pl.DataFrame | None
    if isinstance(explain.background, Rows):
        name = explain.background.dataset
        rows, source = dataset_rows(site, current, name).collect(), f"data set {name}"
    else:
        rows, source = None, "first events"
        with site.database.read() as db:
            reference = newest_reference(db, current.model.id)
        if reference is not None and reference.state == "ready":
            rows, source = reference_rows(site, current, reference), "reference"
        if rows is None or not rows.height:
            rows, source = site.events.events(current.model.name, from_seq=0, to_seq=EVENTS), "first events"
    kept = rows.select(pl.col(n) if n in rows.columns else pl.lit(None).alias(n) for n in names)
    count = min(explain.background_rows, kept.height)
    return Background(kept.sample(count, seed=explain.seed, shuffle=True) if count else kept, source)


@dataclass(frozen=True, slots=True)
class Found:
    """What the process found: a line for each event, and facts about all of them."""

    lines: pl.DataFrame
    facts: dict[str, Any]


def attribute(site: Site, basis: TableBasis, events: pl.DataFrame) -> Found:
    """Explain events in a process of its own.

    Raises:
        TrainerError: with the code and the words of what ended it.
    """
    background = background_for(site, basis)
    try:
        return _attribute(site, basis, events, background)
    except TrainerError as error:
        if error.facts["reason"] != "no_background" or background is not None:
            raise
    return _attribute(site, basis, events, background_of(site, basis))


def background_for(site: Site, basis: TableBasis) -> Background | None:
    """The background that explanations need; None for trees that are read without."""
    asked = basis.explain.background is not None or basis.kind not in (*TREES, "assay")
    return background_of(site, basis) if asked else None


def ask_beside(
    site: Site, basis: TableBasis, events: pl.DataFrame, module: str, more: Mapping[str, Any],
    files: Mapping[str, pl.DataFrame], answer: str,
) -> dict[str, Any]:  # fmt: skip
    """Ask the model something beside attributions, in a process of its own: what the module left in `answer`.

    Args:
        more: keys of its config beside those of explanations; `files` are written into its folder.

    Raises:
        TrainerError: with the code and the words of what ended it.
    """
    with working_folder(site) as folder:
        for name, frame in files.items():
            frame.write_parquet(folder / name)
        _run(site, basis, basis.rows(events), background_of(site, basis), folder, module, more)
        found: dict[str, Any] = json.loads((folder / answer).read_bytes())
        return found


def _run(
    site: Site, basis: TableBasis, rows: pl.DataFrame, background: Background | None, folder: Path, module: str,
    more: Mapping[str, Any],
) -> None:  # fmt: skip
    rows.write_parquet(folder / "rows.parquet")
    drawn = rows.select(c.name for c in basis.declared.columns).clear() if background is None else background.rows
    drawn.write_parquet(folder / "background.parquet")
    explain = basis.explain
    config = {
        **basis.source, "declared": basis.declared.model_dump(mode="json"), "rows": str(folder / "rows.parquet"),
        "background": str(folder / "background.parquet"), "interventional": explain.background is not None,
        "threshold": explain.threshold, "budget": explain.budget, "seed": explain.seed,
        "threads": site.settings.train.threads, "output_dir": str(folder), **more,
    }  # fmt: skip
    write_durably(folder / "config.json", json.dumps(config).encode(), mode=0o600)  # an endpoint's secret is in it
    child = Child(module, [str(folder / "config.json")], log=folder / "log.txt", threads=site.settings.train.threads)
    child.wait_while_it_works(STILL_S)
    report = read_json(folder / "exit.json")
    if report is None or report["state"] != "succeeded":
        ended = report or {"code": "killed", "message": "the explaining process was killed; ask again"}
        raise TrainerError(str(ended["code"]), str(ended["message"]))


def _attribute(site: Site, basis: TableBasis, events: pl.DataFrame, background: Background | None) -> Found:
    rows = basis.rows(events)
    with working_folder(site) as folder:
        _run(site, basis, rows, background, folder, MODULE, {})
        facts = json.loads((folder / "facts.json").read_bytes())
        lines = pl.read_parquet(folder / "block.parquet", memory_map=False)
    used = background if facts["background_rows"] else None
    facts |= {
        "background": used.digest if used is not None else "the trees' own counts of training rows",
        "background_source": used.source if used is not None else None,
        "seed": basis.explain.seed, "budget": basis.explain.budget, "model_format": basis.kind,
        "version_digest": basis.node_digest,
    }  # fmt: skip
    return Found(lines, facts)
