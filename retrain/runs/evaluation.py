"""Champion and challenger on the same rows: start the evaluation process, read what it left, make the gates' inputs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal
from uuid import UUID

import numpy as np
import polars as pl

from core.artifacts import file_digest
from core.artifacts import folder_digest as artifact_digest
from core.errors import IntegrityFailureError
from monitor.kpi import KPIS
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.positive import positive_of
from monitor.tables import Dataset
from monitor.windows.group_counts import proxies_of
from retrain import store
from retrain.curate.dedupe import REJECTED, SUBJECT, normalised
from retrain.curate.select import Drops, Shape, rows_of_golden
from retrain.envelope import GATED, GATED_NUMBERS, GATED_TEXTS, AnyRecipe, Plan
from retrain.errors import EnvelopeError, TrainerError
from retrain.evals.config import EvalConfig, ModelFiles
from retrain.gates.base import ComparedScores, GateInputs, GoldenAnswer, GoldenFacts, IntegrityFacts, ServingTimes
from retrain.gates.safety import BUILT_IN
from retrain.limits import LimitCheck
from retrain.runs.hold import until_of
from retrain.runs.processes import evaluator
from retrain.runs.stopped import look_at
from retrain.runs.workspace import Workspace, read_json, write_config
from retrain.tables import ModelVersion
from retrain.teaching import base_of
from retrain.train.chat_keys import Chat
from retrain.train.config import DatasetFile, Recipe
from retrain.train.kinds import classifies, is_table
from retrain.train.mitigation.curve import point
from retrain.train.mitigation.keys import Mitigation
from retrain.train.mitigation.weights import PROTECTED, groups_of
from retrain.train.shape import is_whole
from retrain.train.tabular.recipe import TableRecipe
from retrain.train.weights import folder_digest

GRACE_S: Final = 120.0
EVALUATION: Final = "retrain.evals.run"
TABULAR_EVALUATION: Final = "retrain.evals.tabular"
PROBES: Final[tuple[Literal["robustness", "latency"], ...]] = ("robustness", "latency")
IN_UNITS: Final = {"chrf_mean": 100.0}  # of a KPI whose rows are scored 0..1
NO_SCORE: Final = -1e6  # of a row to which a model gave a score that is not finite


@dataclass(frozen=True, eq=False)
class Outcome:
    inputs: GateInputs
    document: dict[str, Any]  # evaluation.json, and where the predictions are kept
    predictions: str  # artifact


@dataclass(frozen=True, eq=False)
class _Case:
    """A run's rows of the database, read together; `golden` are the registered golden datasets."""

    spec: ModelSpec
    plan: Plan
    champion: ModelVersion
    challenger: ModelVersion
    datasets: Mapping[str, Dataset]
    golden: Sequence[Dataset]
    hours: float  # that its evaluation may take


def evaluate_run(site: Site, run_id: UUID) -> Outcome:
    """Score both models of a run, and gather what the gates look at.

    Raises:
        TrainerError: the process ended with an error, or was killed too often.
        EnvelopeError: it took longer than a run may take; a person may allow it as much again.
    """
    work = Workspace.of(site.settings, run_id)
    case = _case(site, run_id)
    config = _config(site, run_id, case, work)
    write_config(work.eval_config, config, site.settings.home_dir)
    if (report := read_json(work.evaluated / "exit.json")) is None or report["state"] != "succeeded":
        _process(
            site,
            work,
            TABULAR_EVALUATION if is_table(config.task) else EVALUATION,
            case.hours,
        )
    document = read_json(work.evaluated / "evaluation.json")
    predictions = work.evaluated / "predictions.parquet"
    if document is None or document["digests"]["predictions"] != file_digest(predictions):
        raise IntegrityFailureError(f"the evaluation of run {run_id} and its predictions do not belong together")
    kept = site.artifacts.put_file(predictions)
    document = _plain(document) | {"predictions": kept}
    inputs = _inputs(case, config, document, pl.read_parquet(predictions))
    if case.plan.recipe.mitigation is not None:
        document["mitigation"] = _traded(case.plan.recipe.mitigation, inputs)
    if inputs.golden is not None:
        document["golden"] = {"rows": inputs.golden.rows, "wrong": [row.row for row in inputs.golden.wrong]}
    return Outcome(inputs, document, kept)


def _traded(mitigation: Mitigation, inputs: GateInputs) -> list[dict[str, Any]]:
    """Champion and challenger as points of the trade-off, by set of held-out rows."""
    found = []
    for name, rows in (("new", inputs.new), ("old", inputs.old)):
        if rows is None or not rows.challenger_predictions or not set(mitigation.by) <= set(rows.groups):
            continue
        group = groups_of(pl.DataFrame({PROTECTED + n: list(v) for n, v in rows.groups.items()}), mitigation.by)
        for side in ("champion", "challenger"):
            answers = getattr(rows, f"{side}_predictions")
            found.append(point(mitigation, side, group, rows.truth, answers) | {"set": name})
    return found


def _case(site: Site, run_id: UUID) -> _Case:
    with site.database.read() as db:
        run = store.run(db, run_id)
        spec = store.spec_at(db, run.model_id, run.spec_revision)
        plan = Plan.of(spec)
        granted = [float(e["granted"]) for e in run.exceptions if e["limit"] == "max_gpu_hours"]
        assert run.candidate_version is not None  # registered before a run is evaluated
        return _Case(
            spec=spec, plan=plan, champion=store.version(db, run.model_id, run.champion_version, spec.model),
            challenger=store.version(db, run.model_id, run.candidate_version, spec.model),
            datasets=store.run_datasets(db, run_id), golden=store.registered_datasets(db, run.model_id, "golden"),
            hours=granted[-1] if granted else plan.envelope.max_gpu_hours,
        )  # fmt: skip


def model_files(site: Site, version: ModelVersion, recipe: AnyRecipe) -> ModelFiles:
    """Base folder and adapter of a version."""
    return ModelFiles(
        base_dir=base_of(site, version, recipe),
        adapter_dir=site.artifacts.path(version.adapter) if version.adapter else None,
        quantise=None if version.adapter or isinstance(recipe, TableRecipe) else recipe.method == "qlora",
        headless=classifies(recipe.task) and version.adapter is None and version.labels is None,
    )


def _config(site: Site, run_id: UUID, case: _Case, work: Workspace) -> EvalConfig:
    recipe = case.plan.recipe
    files = {
        role: DatasetFile(path=site.artifacts.path(row.digest), sha256=row.digest)
        for role, row in case.datasets.items()
        if row.rows > 0
    }
    if "eval" not in files:
        raise TrainerError("no_rows", "no held-out row is left to evaluate on; wait for more outcomes")
    assert case.spec.retrain is not None  # a run exists only under a policy
    asked = {*case.plan.envelope.compared_by, *case.plan.envelope.kpi_floor}
    return EvalConfig(
        golden=_golden_file(site, case, work),
        safety_prompts=_safety_prompts(case),
        probes=tuple(name for name in PROBES if name in case.spec.retrain.gates),
        run_id=str(run_id), task=recipe.task, champion=model_files(site, case.champion, recipe),
        challenger=model_files(site, case.challenger, recipe), new=files["eval"], old=files.get("holdout"),
        max_length=recipe.max_length if isinstance(recipe, Recipe) else None,
        writes=recipe.task == "causal_lm" and bool(asked & set(GATED_TEXTS)),
        chat=recipe.chat if isinstance(recipe, Recipe) else Chat(template="none"), output_dir=work.evaluated,
        progress=work.progress,
        threads=site.settings.train.threads, device=site.settings.train.device,
        country=site.settings.train.country,
    )  # fmt: skip


def _safety_prompts(case: _Case) -> tuple[str, ...]:
    assert case.spec.retrain is not None
    if "safety" not in case.spec.retrain.gates or case.plan.recipe.task == "sequence_classification":
        return ()
    return tuple(probe.prompt for probe in case.plan.envelope.safety_probes or BUILT_IN)


def _golden_file(site: Site, case: _Case, work: Workspace) -> DatasetFile | None:
    """The golden rows as the evaluation reads them; None where no gate asks for them, or there are none."""
    assert case.spec.retrain is not None
    if "golden" not in case.spec.retrain.gates or not case.golden:
        return None
    shape, drops = Shape.of(case.spec, case.plan.recipe.task, case.plan.preference), Drops()
    shape = shape.spelled(case.champion.labels or ())
    frames = [pl.read_parquet(site.artifacts.path(row.digest)) for row in case.golden]
    sets = [rows_of_golden(f, shape, d.name, drops) for f, d in zip(frames, case.golden, strict=True)]
    rows = pl.concat(sets, how="diagonal")
    text, label = shape.names[:2]
    path = work.folder / "golden.parquet"
    kept = [name for name in ("row_id", "text", "label", REJECTED) if name in rows.columns]
    rows.select(kept).rename({"text": text, "label": label}).write_parquet(path)
    return DatasetFile(path=path, sha256=file_digest(path))


def _process(site: Site, work: Workspace, module: str, hours: float) -> None:
    limit_s = hours * 3600 + GRACE_S
    for _ in range(site.settings.train.attempts + 1):
        (work.evaluated / "exit.json").unlink(missing_ok=True)
        child = evaluator(work, module, site.settings.train.threads, until_of(site, work))
        code = child.wait(limit_s, lambda: look_at(site, work))
        if code is None:
            words = f"max_gpu_hours: the evaluation took longer than {limit_s:.0f} s and was stopped"
            raise EnvelopeError([LimitCheck("max_gpu_hours", hours, limit_s / 3600, "hours", False, words)])
        report = read_json(work.evaluated / "exit.json")
        if report is not None and report["state"] == "succeeded":
            return
        if report is not None and report["code"] != "terminated":
            raise TrainerError(str(report["code"]), str(report["message"]))
    times = site.settings.train.attempts + 1
    raise TrainerError("evaluator_killed", f"the evaluation process was killed {times} times")


def _inputs(case: _Case, config: EvalConfig, document: Mapping[str, Any], predictions: pl.DataFrame) -> GateInputs:
    known = tuple(document["integrity"]["probe"].get("labels", {}).get("champion", ()))
    new = _compared(case, predictions.filter(pl.col("rows") == "new"), pl.read_parquet(config.new.path), known)
    old = None
    if config.old is not None:
        old = _compared(case, predictions.filter(pl.col("rows") == "old"), pl.read_parquet(config.old.path), known)
    classes = classifies(case.plan.recipe.task)
    return GateInputs(
        envelope=case.plan.envelope, new=new, old=old, fairness=case.spec.monitors.fairness,
        positive=positive_of(case.spec),
        edges={name: cut for name, c in case.spec.columns.items() if (cut := c.bands) is not None},
        proxies=proxies_of(case.spec, case.spec.with_role("protected")),
        integrity=_integrity(case, config, document), classifies=classes,
        golden=_golden(document, classes=classes), changed=_changed(predictions, new), times=_times(config, document),
        answers={a["prompt"]: (a["champion"], a["challenger"]) for a in document.get("safety", ())},
    )  # fmt: skip


def _golden(document: Mapping[str, Any], *, classes: bool) -> GoldenFacts | None:
    """Golden rows; a class is right only as it is spelled, a written answer may vary in case and white space."""
    if (rows := document.get("golden")) is None:
        return None
    plain: Callable[[str], str] = str if classes else normalised
    wrong = [
        GoldenAnswer(  # texts may hold personal data, and evidence is never searched for a person
            row["row_id"],
            row["expected"] if classes or row.get("pair") else "the golden text",
            row["challenger"] if classes or row.get("pair") else "with another one",
            plain(row["champion"]) == plain(row["expected"]),
        )
        for row in rows
        if plain(row["challenger"]) != plain(row["expected"])
    ]
    return GoldenFacts(len(rows), tuple(wrong))


def _changed(predictions: pl.DataFrame, new: ComparedScores) -> ComparedScores | None:
    """What changed texts cost each model on the new rows that were changed."""
    rows = predictions.filter(pl.col("rows") == "new")
    if "challenger_changed" not in rows.columns:
        return None
    kept = rows["challenger_changed"].is_not_null().to_numpy()
    cost = {s: rows[f"{s}_changed"].to_numpy()[kept] - scores[kept]
            for s, scores in (("champion", new.champion), ("challenger", new.challenger))}  # fmt: skip
    persons = tuple(p for p, k in zip(new.subjects, kept, strict=True) if k) if new.subjects else ()
    return ComparedScores("accuracy on changed texts", cost["champion"], cost["challenger"], subjects=persons)


def _times(config: EvalConfig, document: Mapping[str, Any]) -> ServingTimes | None:
    adapter, times = config.challenger.adapter_dir, document.get("times_ms")
    if times is None or adapter is None or "champion" not in times:  # a base without a head has none
        return None
    size = sum(path.stat().st_size for path in adapter.rglob("*") if path.is_file())
    loaded = _loaded_bytes(config.champion), _loaded_bytes(config.challenger)
    return ServingTimes(tuple(times.get("champion", ())), tuple(times["challenger"]), size, loaded)


def _loaded_bytes(files: ModelFiles) -> int:
    """Bytes of the weights that serving loads: base and adapter, or what `full` trained in the base's place."""
    folders = [files.adapter_dir] if files.adapter_dir is not None else []
    if files.adapter_dir is None or not is_whole(files.adapter_dir):
        folders.append(files.base_dir)
    return sum(path.stat().st_size for folder in folders for path in folder.glob("*.safetensors"))


def _compared(case: _Case, predictions: pl.DataFrame, rows: pl.DataFrame, known: tuple[str, ...]) -> ComparedScores:
    if predictions["row_id"].to_list() != rows["row_id"].to_list():
        raise IntegrityFailureError("the predictions are not of the registered rows, in their order")
    groups = {
        name.removeprefix(PROTECTED): tuple(rows[name].to_list()) for name in rows.columns if name.startswith(PROTECTED)
    }
    persons = tuple(rows[SUBJECT].to_list()) if SUBJECT in rows.columns else ()
    if case.plan.recipe.task in ("causal_lm", "dpo"):
        likely = _likelihoods(predictions, persons)
        if case.plan.recipe.task == "dpo":
            return _preferences(predictions, persons, likely)
        return _written(predictions, persons, likely)
    if case.plan.recipe.task == "tabular_regression":
        return _errors(predictions, persons, groups)
    truth = predictions["label"]
    return ComparedScores(
        metric="accuracy",
        champion=(predictions["champion"] == truth).to_numpy().astype(np.float64),
        challenger=(predictions["challenger"] == truth).to_numpy().astype(np.float64),
        truth=tuple(truth),
        champion_predictions=tuple(predictions["champion"]),
        challenger_predictions=tuple(predictions["challenger"]),
        champion_confidence=predictions["champion_confidence"].to_numpy().astype(np.float64),
        challenger_confidence=predictions["challenger_confidence"].to_numpy().astype(np.float64),
        champion_labels=known,
        subjects=persons,
        groups=groups,
        champion_values=_values(predictions, "champion"),
        challenger_values=_values(predictions, "challenger"),
    )


def _likelihoods(predictions: pl.DataFrame, persons: tuple[str | None, ...]) -> ComparedScores:
    """What both models give the right answers, per token that the champion reads in them."""
    tokens = predictions["tokens"].to_numpy().astype(np.float64)
    held = tokens > 0
    if "challenger_tokens" in predictions.columns:  # in another format it may not be able to read a row
        held &= (predictions["challenger_tokens"] > 0).to_numpy()
    champion, challenger = (
        np.nan_to_num(predictions[f"{side}_logprob"].to_numpy()[held] / tokens[held], nan=NO_SCORE, neginf=NO_SCORE)
        for side in ("champion", "challenger")
    )
    return ComparedScores(
        "log-probability per token", champion.astype(np.float64), challenger.astype(np.float64),
        subjects=tuple(person for person, kept in zip(persons, held, strict=True) if kept) if persons else (),
    )  # fmt: skip


def _written(predictions: pl.DataFrame, persons: tuple[str | None, ...], likely: ComparedScores) -> ComparedScores:
    """The likelihoods, and with them the scores of answers that were written; a row without a score is left out."""
    metrics = [name for name in GATED_TEXTS if f"challenger_{name}" in predictions.columns]
    values: dict[str, dict[str, float | None]] = {"champion": {}, "challenger": {}}
    found: dict[str, ComparedScores] = {}
    for name in metrics:
        sides = [predictions[f"{side}_{name}"] for side in values]
        held = (sides[0].is_not_null() & sides[1].is_not_null()).to_numpy()
        scores = [side.to_numpy()[held].astype(np.float64) for side in sides]
        for side, one in zip(values, scores, strict=True):
            values[side][name] = float(one.mean()) * IN_UNITS.get(name, 1.0) if len(one) else None
        found[name] = ComparedScores(
            f"{name} (0 to 1)", scores[0], scores[1], bounded=True,
            subjects=tuple(person for person, kept in zip(persons, held, strict=True) if kept) if persons else (),
        )  # fmt: skip
    champion, challenger = values["champion"], values["challenger"]
    found = {name: replace(one, champion_values=champion, challenger_values=challenger) for name, one in found.items()}
    return replace(likely, written=found, champion_values=champion, challenger_values=challenger)


def _preferences(predictions: pl.DataFrame, persons: tuple[str | None, ...], likely: ComparedScores) -> ComparedScores:
    """Pairs right or wrong; a pair that a model could not score is wrong. Beside them, how likely the preferred are."""
    champion, challenger = (
        predictions[f"{side}_prefers_chosen"].fill_null(value=False).to_numpy().astype(np.float64)
        for side in ("champion", "challenger")
    )
    return ComparedScores("preference accuracy", champion, challenger, subjects=persons, beside=(likely,))


def _errors(
    predictions: pl.DataFrame, persons: tuple[str | None, ...], groups: Mapping[str, tuple[str | None, ...]]
) -> ComparedScores:
    """Errors of numbers, in units of the champion's mean error, so that a margin of 0.05 is a twentieth of it."""
    truth = predictions["label"].to_numpy()
    champion, challenger = (np.abs(predictions[side].to_numpy() - truth) for side in ("champion", "challenger"))
    unit = float(champion.mean()) if len(champion) and champion.mean() > 0 else 1.0
    return ComparedScores(
        "minus the absolute error, in units of the champion's mean,", -champion / unit, -challenger / unit,
        subjects=persons, groups=groups,
        champion_values=_values(predictions, "champion", GATED_NUMBERS),
        challenger_values=_values(predictions, "challenger", GATED_NUMBERS),
    )  # fmt: skip


def _values(predictions: pl.DataFrame, side: str, names: tuple[str, ...] = GATED) -> dict[str, float | None]:
    """Every KPI that a floor may name, now or in a later revision, as the monitor computes them."""
    frame = predictions.select(pl.col(side).alias("prediction"), pl.col("label").alias("outcome"))
    return {name: KPIS[name].compute(frame).value for name in names}


def _integrity(case: _Case, config: EvalConfig, document: Mapping[str, Any]) -> IntegrityFacts:
    adapter = config.challenger.adapter_dir
    assert adapter is not None  # a candidate always has one
    facts, probe = document["integrity"]["adapters"]["challenger"], document["integrity"]["probe"]
    changed = probe["challenger_adapter_on_off"]
    return IntegrityFacts(
        files=tuple(sorted(p.relative_to(adapter).as_posix() for p in adapter.rglob("*") if p.is_file())),
        tensors=int(facts["parameters"] and facts["tensors"]),
        finite=bool(facts["all_finite"]) and bool(probe["challenger_finite"]),
        logits_change=None if changed is None else float(changed),
        adapter_digest=artifact_digest(adapter),
        registered_digest=str(case.challenger.adapter),
        base_digest=folder_digest(config.challenger.base_dir),
        registered_base_digest=case.challenger.base_digest,
        table=is_table(config.task),
    )


def _plain(value: Any) -> Any:
    """JSON without NaN and infinity, which neither PostgreSQL nor canonical JSON takes: null, as everywhere."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value
