"""The steps of a run. Each reads, works without a transaction, then records its result, and is safe to run twice."""

import shutil
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from core.canonical import digest
from core.errors import AppError, IntegrityFailureError
from governance.ledger.append import SYSTEM_ACTOR
from governance.policy.stops import ModelStoppedError
from monitor.site import Site
from monitor.tables import Model
from retrain import store
from retrain.curate import service as curation
from retrain.envelope import Plan, base_folder, facts_of
from retrain.errors import EnvelopeError, NotGatedError, RulesChangedError, TrainerError
from retrain.gates import judge_all
from retrain.gates.base import GateResult
from retrain.limits import RunFacts
from retrain.provenance.base_files import keep_base
from retrain.provenance.nodes import Nodes
from retrain.provenance.rules import check, material_of, material_record
from retrain.registry.promotion import promote_run
from retrain.registry.rules import Rules, worse
from retrain.registry.standing import rules_of, standing_of
from retrain.registry.versions import register_candidate, withdraw_canary
from retrain.runs.again import hold_out
from retrain.runs.approve import close_rejected
from retrain.runs.configs import AnyRunConfig, new_config, placed
from retrain.runs.evaluation import EVALUATION, TABULAR_EVALUATION, evaluate_run
from retrain.runs.hold import until_of
from retrain.runs.inside import facts_of_rows, limited, wait_at_limit
from retrain.runs.processes import trainer
from retrain.runs.record import close_failed, record_run, show_progress
from retrain.runs.stopped import RunStoppedError, look_at, pause_while_stopped
from retrain.runs.used import keep_used
from retrain.runs.waiting import wait, waits_outside
from retrain.runs.workspace import Workspace, read_json, write_config
from retrain.tables import GateRow, Run
from retrain.teaching import changed_base, has_base, recorded
from retrain.train.config import RunConfig
from retrain.train.tabular.recipe import TableRunConfig

GRACE_S: Final = 120.0  # for loading, evaluating and saving, which the trainer does not count
RESUMABLE: Final = ("terminated",)


def begin(site: Site, run_id: UUID) -> None:
    """queued -> curating: check that the recipe is inside the envelope and its base model exists unchanged."""
    with site.database.read() as db:
        run = store.run(db, run_id)
        spec = store.spec_at(db, run.model_id, run.spec_revision)
        champion = store.version(db, run.model_id, run.champion_version, spec.model)
        rules = rules_of(db, run)
    if blocked := rules.blocked():  # nothing that could never be promoted is trained
        raise NotGatedError(f"of run {run_id}", blocked)
    plan = Plan.of(spec)
    folder = base_folder(plan.recipe, site.settings.home_dir, site.settings.train.base_roots)
    base, base_files = keep_base(site, folder)
    if has_base(site, champion, plan.recipe) and champion.base_digest != base:
        raise IntegrityFailureError(
            f"base model {plan.recipe.base_model} has digest {base}; version {champion.version} was registered with "
            f"{champion.base_digest}: restore the files",
            field="retrain.recipe.base_model",
        )
    if (other := changed_base(site, champion, plan.recipe)) is not None:
        raise IntegrityFailureError(
            f"base model {champion.base_model} of the teacher {champion.version} has digest {other}; it was registered "
            f"with {champion.base_digest}: restore the files",
            field="retrain.recipe.teacher",
        )
    material = _allowed(site, run_id, rules, base)
    # What a version that exists used was measured when it was trained; its promotion looks at that.
    if run.purpose == "train" and waits_outside(site, run_id, RunFacts(base_digest=base)):
        return
    with site.database.write() as db:
        run = store.run(db, run_id, lock=True)
        if run.state != "queued":
            return
        run.state, run.started_at = "curating", site.clock.now()
        body = {
            "decision": run.decision_id, "spec_revision": run.spec_revision, "base_digest": base,
            "base_files": base_files, "material": material,
        }  # fmt: skip
        body |= recorded(champion, plan.recipe)
        record_run(site, db, run, "run.started", SYSTEM_ACTOR, body)


def _allowed(site: Site, run_id: UUID, rules: Rules, base: str | None = None) -> list[dict[str, Any]]:
    """What the run is made from, with what is declared of it.

    Raises:
        MaterialRefusedError: licence, consent or expiry of something forbids the run.
    """
    with site.database.read() as db:
        run = store.run(db, run_id)
        model, spec = db.get_one(Model, run.model_id), store.spec_at(db, run.model_id, run.spec_revision)
        found = material_of(db, model, spec, base_digest=base, run=run)
    check(found, [s.envelope for s in rules.sets], site.clock.now())
    return material_record(found)


def curate(site: Site, run_id: UUID) -> None:
    """curating -> training: choose the rows, register them and record the complete configuration of the trainer."""
    with site.database.read() as db:
        again = store.run(db, run_id).purpose == "promote"
    if again:
        hold_out(site, run_id)
        return
    prepared = curation.prepare(site, run_id)
    with site.database.read() as db:
        run = store.run(db, run_id)
        spec = store.spec_at(db, run.model_id, run.spec_revision)
        champion = store.version(db, run.model_id, run.champion_version, spec.model)
        rules = rules_of(db, run)
    plan = Plan.of(spec)
    _allowed(site, run_id, rules)
    if waits_outside(site, run_id, facts_of_rows(run, prepared)):
        return
    digests = curation.keep(site, prepared)
    config = new_config(site, run_id, spec, plan, champion, prepared, digests)
    with site.database.write() as db:
        run = store.run(db, run_id, lock=True)
        if run.state != "curating":
            return
        made = curation.register(site, db, run, db.get_one(Model, run.model_id), prepared, digests)
        run.train_dataset_id, run.eval_dataset_id = made["train"].id, made["eval"].id
        run.holdout_dataset_id = made["holdout"].id
        run.config, run.config_digest = config.record(), config.digest()
        run.state = "training"


def train(site: Site, run_id: UUID) -> None:
    """training -> evaluating: run the trainer in its own process, resume it if it was killed, register a candidate."""
    work = Workspace.of(site.settings, run_id)
    with site.database.read() as db:
        run = store.run(db, run_id)
        config = limited(run, rules_of(db, run), placed(site, work, run.config or {}))
    _drop_other_training(work, config)
    write_config(work.train_config, config, site.settings.home_dir)
    while (report := _exit(work)) is None or report["state"] != "succeeded":
        if not _count_attempt(site, run_id):
            return
        (work.trained / "exit.json").unlink(missing_ok=True)
        try:
            passed = _one_attempt(site, work, config)
        except RunStoppedError:
            _take_back_attempt(site, run_id)
            raise
        if passed and wait_at_limit(site, run_id, passed):
            return
    metrics = read_json(work.trained / "adapter" / "run.json")
    if metrics is None:
        raise TrainerError("no_record", "the trainer succeeded but left no run.json; see log.txt of the run")
    adapter = site.artifacts.put_folder(work.trained / "adapter")
    with site.database.write() as db:
        run = store.run(db, run_id, lock=True)
        if run.state != "training":
            return
        labels = list(config.labels) or None
        run.config, run.config_digest = config.record(), config.digest()
        register_candidate(site, db, run, base_digest=metrics["digests"]["base"], adapter=adapter, labels=labels)
        run.metrics, run.state = metrics, "evaluating"
        counts = metrics.get("counts", {})  # a trainer of an earlier release counted none
        learned = counts.get("train", {}).get("rows_learned", metrics["rows_train"])
        body = {
            "adapter": adapter, "config": run.config_digest, "record": digest(metrics), "attempts": run.attempts,
            "train_seconds": metrics["train_seconds"], "rows": learned, "rows_given": metrics["rows_train"],
            "counts": counts, "used": metrics.get("used"), **_taught(metrics),
        }  # fmt: skip
        body |= {name: metrics[name] for name in ("starts", "merged", "mitigation") if name in metrics}
        body |= Nodes.of(db, db.get_one(Model, run.model_id)).run(run).entry()
        record_run(site, db, run, "run.trained", SYSTEM_ACTOR, body)
        facts = facts_of(run, store.run_datasets(db, run_id).get("train"))
    keep_used(site, work)
    waits_outside(site, run_id, facts)


def _taught(metrics: dict[str, Any]) -> dict[str, Any]:
    """The teacher as the trainer found it, by digests."""
    names = ("version", "base_digest", "adapter", "rows_taught")
    return {"teacher": {n: metrics["teacher"].get(n) for n in names}} if "teacher" in metrics else {}


def _drop_other_training(work: Workspace, config: AnyRunConfig) -> None:
    """Drop what an earlier release trained of this run: its digest of the configuration covered where files lay."""
    begun = read_json(work.trained / "checkpoints" / "config.json")
    if begun is not None and begun.get("config") != config.digest():
        shutil.rmtree(work.trained)


def _exit(work: Workspace) -> dict[str, Any] | None:
    return read_json(work.trained / "exit.json")


def _count_attempt(site: Site, run_id: UUID) -> bool:
    """Count one more start of the trainer. Past the limit the run fails."""
    with site.database.write() as db:
        run = store.run(db, run_id, lock=True)
        if run.state != "training":
            return False
        if run.attempts > site.settings.train.attempts:
            words = (
                f"the training process was killed {run.attempts} times, train.attempts allows "
                f"{site.settings.train.attempts} resumptions; the champion stays. Look for a memory limit or a "
                "restarting worker"
            )
            close_failed(site, db, run, "trainer_killed", words)
            return False
        run.attempts += 1
        return True


def _take_back_attempt(site: Site, run_id: UUID) -> None:
    """A process that a stop ended was not killed by anything that trying again would meet."""
    with site.database.write() as db:
        store.run(db, run_id, lock=True).attempts -= 1


def _one_attempt(site: Site, work: Workspace, config: AnyRunConfig) -> list[dict[str, Any]]:
    """Run the trainer once. Returns the limits it has stopped at; none if it ended, or was killed.

    Raises:
        TrainerError: another attempt would not help.
    """
    twice = isinstance(config, RunConfig) and config.recipe.start == "best"
    limit_s = (config.max_seconds or 0) + GRACE_S * (2 if twice else 1)
    table = isinstance(config, TableRunConfig)
    module, after = ("retrain.train.tabular.run", TABULAR_EVALUATION) if table else ("retrain.train.run", EVALUATION)
    child = trainer(work, module, after, config.threads, until_of(site, work))
    code = child.wait(limit_s, lambda: look_at(site, work))
    show_progress(site, work)
    keep_used(site, work)
    if code is None:
        words = f"max_gpu_hours: the trainer took longer than {limit_s:.0f} s in one go and was stopped"
        hours = {"declared": (config.max_seconds or 0) / 3600, "measured": limit_s / 3600}
        return [{"limit": "max_gpu_hours", **hours, "reason": words}]
    report = _exit(work)
    passed: list[dict[str, Any]] = (report or {}).get("facts", {}).get("passed", [])
    if report is not None and report["state"] == "failed" and report["code"] not in RESUMABLE and not passed:
        raise TrainerError(str(report["code"]), str(report["message"]))
    return passed


def evaluate(site: Site, run_id: UUID) -> None:
    """evaluating -> promoted | awaiting_approval | rejected: score both models on the same rows, then every gate.

    The rules in force may change while a run is judged; then it is judged again.
    """
    with site.database.read() as db:
        found = standing_of(db, store.run(db, run_id), site.clock.now())
    if found.unjudged and not found.rules.blocked():
        try:
            _judge(site, run_id, found.rules)
        except EnvelopeError as error:  # it took longer than it may
            with site.database.write() as db:
                wait(site, db, store.run(db, run_id, lock=True), error.checks)
            return
    if not _promotable(site, run_id):
        return
    try:
        with site.database.write() as db:
            promote_run(site, db, run_id, SYSTEM_ACTOR, reason=_passed(db, run_id))
    except RulesChangedError:
        return  # the run is evaluating still, and this step comes again
    except EnvelopeError as error:
        with site.database.write() as db:
            wait(site, db, store.run(db, run_id, lock=True), error.checks)
    except ModelStoppedError:
        pause_while_stopped(site, run_id)  # if the stop has been lifted since, this step comes again
    except AppError as error:
        with site.database.write() as db:
            run = store.run(db, run_id, lock=True)
            if run.state in store.FINAL_STATES:  # a person was faster
                return
            words = f"passed its gates, but was not promoted: {error.message}"
            close_rejected(site, db, run, SYSTEM_ACTOR, words, {"code": error.code})


def _passed(db: Session, run_id: UUID) -> str:
    by = standing_of(db, store.run(db, run_id)).counted.by
    return "passed every gate of the spec" + (f"; approved by {', '.join(s.named for s in by)}" if by else "")


def _judge(site: Site, run_id: UUID, rules: Rules) -> None:
    """Evaluate, then record the evaluation and the result of every gate under each set of rules, the worse counting."""
    outcome = evaluate_run(site, run_id)
    by_set = [(s.revision, judge_all(s.judge_under(outcome.inputs), rules.gates)) for s in rules.sets]
    results = [worse([(at, found) for (at, _), found in zip(by_set, same, strict=True)])
               for same in zip(*(results for _, results in by_set), strict=True)]  # fmt: skip
    with site.database.write() as db:
        run = store.run(db, run_id, lock=True)
        if run.state != "evaluating" or rules_of(db, run).terms != rules.terms:
            return
        for row in store.gates(db, run_id):  # judged under rules that hold no more; the ledger keeps what they said
            db.delete(row)
        db.flush()
        run.evaluation, run.rules = outcome.document, rules.document()
        body = {"evaluation": digest(outcome.document), "predictions": outcome.predictions, "rules": run.rules}
        record_run(site, db, run, "run.evaluated", SYSTEM_ACTOR, body)
        for result in results:
            _record_gate(site, run, result, db, rules)


def _promotable(site: Site, run_id: UUID) -> bool:
    """Whether to try a promotion now. If not, the run is rejected, waits for approval or has ended."""
    with site.database.write() as db:
        run = store.run(db, run_id, lock=True)
        if run.state != "evaluating":
            return False
        found = standing_of(db, run, site.clock.now())
        blocked = found.rules.blocked()
        if found.unjudged and not blocked:
            return False  # the rules changed meanwhile; the run is evaluating still, and this step comes again
        if missing := blocked or found.missing_gates:
            words = "the champion stays: " + "; ".join(missing)
            body = {"gates": {name: verdict for name, (verdict, _) in found.judged.items()}, "missing": list(blocked)}
            close_rejected(site, db, run, SYSTEM_ACTOR, words, body)
            withdraw_canary(site, db, run, [n for n in found.rules.gates if found.judged.get(n, ("",))[0] == "fail"])
            return False
        if found.missing_people:
            run.state = "awaiting_approval"
            return False
        return True


def _record_gate(site: Site, run: Run, result: GateResult, db: Session, rules: Rules) -> None:
    evidence = dict(result.evidence)
    db.add(
        GateRow(
            run_id=run.id, gate=result.gate, verdict=result.verdict, reason=result.reason, evidence=evidence,
            at=site.clock.now(),
        )
    )  # fmt: skip
    db.flush()
    body = {
        "gate": result.gate, "verdict": result.verdict, "reason": result.reason, "evidence": digest(evidence),
        "blocking": result.gate in rules.gates,
    }  # fmt: skip
    record_run(site, db, run, "gate.result", SYSTEM_ACTOR, body)


STEPS: Final = {"queued": begin, "curating": curate, "training": train, "evaluating": evaluate}
