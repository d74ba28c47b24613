"""Explain one decision of the text classifier, with the version that made it; kept as an artifact."""

import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import polars as pl

from core.artifacts import write_durably
from core.errors import InvalidError
from core.process import Child
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor.confirm import drafts
from monitor.errors import EventNotFoundError
from monitor.service import current_spec
from monitor.site import Site
from monitor.tables import Explanation
from retrain import store
from retrain.curate.select import Shape, rendered
from retrain.envelope import Plan
from retrain.errors import NoChampionError, TrainerError
from retrain.evals.config import ModelFiles
from retrain.provenance.nodes import Nodes, explanation_node
from retrain.runs.evaluation import model_files
from retrain.runs.workspace import read_json

STILL_S: Final = 600.0  # an explanation that used no CPU for this long is given up


def explain(site: Site, model_name: str, event_id: str) -> None:
    """Attribute the answer to the words of the input; without effect where that was done before.

    Raises:
        EventNotFoundError, NoChampionError: nothing to explain, or no version to explain it with.
        InvalidError: the recipe is no text classifier, or the event has no input.
    """
    with site.database.read() as db:
        current = current_spec(site, db, model_name)
        plan = Plan.of(current.spec)
        event = site.events.event(model_name, event_id)
        if event is None:
            raise EventNotFoundError(model_name, event_id)
        rows = {v.version: v for v in store.versions(db, current.model.id)}
        # An explanation of another version would explain another decision; only unregistered ones fall back.
        version = rows.get(str(event["version"])) or store.champion(db, current.model.id)
        if version is None:
            raise NoChampionError(model_name)
        if store.explanation(db, current.model.id, event_id, version.version) is not None:
            return
    if plan.recipe.task != "sequence_classification":
        raise InvalidError(f"recipe task {plan.recipe.task} has no word attributions yet", field="retrain.recipe.task")
    shape = Shape.of(current.spec, plan.recipe.task)
    text = rendered(pl.DataFrame({name: [event[name]] for name in shape.inputs}), shape.inputs)[0]
    if not text:
        raise InvalidError(f"event {event_id} has no input text to explain", field="event_id", value=event_id)
    answered = event.get(current.spec.with_role("prediction")[0])
    label = str(answered) if answered is not None and str(answered) in version.answers else None
    content = _process(site, model_files(site, version, plan.recipe), str(text), label, plan.recipe.max_length)
    draft = drafts.begin(site, content, current.model.id, event_id=event_id)
    residual = float(json.loads(content)["residual"])
    with site.database.write() as db:
        drafts.end(db, draft)
        if store.explanation(db, current.model.id, event_id, version.version) is not None:
            return
        db.add(
            Explanation(
                model_id=current.model.id, event_id=event_id, version=version.version, artifact=draft.artifact,
                additivity_residual=residual, created_at=site.clock.now(),
            )
        )  # fmt: skip
        append_entry(
            db, kind="explanation.created", actor=SYSTEM_ACTOR, subject=f"model:{model_name}", at=site.clock.now(),
            body={
                "explanation": draft.artifact, "version": version.version, "additivity_residual": residual,
                **explanation_node(Nodes.of(db, current.model).version(version), model_name, draft.artifact).entry(),
            },
        )  # fmt: skip


def is_abandoned(folder: Path) -> bool:
    """Whether the worker that explained something in this folder is gone: it holds the folder's lock."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # it has just been removed
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _process(site: Site, files: ModelFiles, text: str, label: str | None, max_length: int) -> bytes:
    """Run the explainer in its own process; its folder, which holds the text, is removed afterwards."""
    parent = site.settings.home_dir / "runs"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix="explain-"))
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        config = {
            "model": files.model_dump(mode="json"), "text": text, "label": label, "max_length": max_length,
            "threads": site.settings.train.threads, "device": site.settings.train.device, "output_dir": str(folder),
        }  # fmt: skip
        write_durably(folder / "config.json", json.dumps(config).encode())
        child = Child(
            "retrain.evals.explain", [str(folder / "config.json")], log=folder / "log.txt",
            threads=site.settings.train.threads,
        )  # fmt: skip
        child.wait_while_it_works(STILL_S)
        report = read_json(folder / "exit.json")
        if report is None or report["state"] != "succeeded":
            found = report or {"code": "killed", "message": "the explaining process was killed; ask again"}
            raise TrainerError(str(found["code"]), str(found["message"]))
        return (folder / "explanation.json").read_bytes()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)
