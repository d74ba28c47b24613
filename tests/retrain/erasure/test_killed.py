"""An erasure whose process is killed goes on and proves the same."""

import json
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from api.processes.worker import drain
from core import queue
from core.clock import ManualClock
from core.jobs import ConfirmJob
from core.queue import Job
from monitor.confirm import drafts
from monitor.site import Site, open_site
from monitor.store import model as model_named
from monitor.tables import Alert, ArtifactDraft
from tests.databases import SQLITE_FIRST
from tests.forks import Forks
from tests.retrain import world
from tests.retrain.erasure.conftest import LivedIn
from tests.retrain.erasure.person import HERS, MARKER, SUBJECT, ask, check, drift_alerts, erase, left, proof_of
from tests.service import environment

# Runs the jobs that are due, and dies at the nth call of a function.
_KILLED = """
import os, signal
import evidently.presets  # takes seconds, and starts no thread
from datetime import datetime
from importlib import import_module
from pathlib import Path
from api.processes.worker import drain
from core import settings
from core.clock import ManualClock
from monitor.site import open_site

def run(home, url, at, place, name, nth, after):
    module, _, owner = place.partition(":")
    holder = import_module(module)
    if owner:
        holder = getattr(holder, owner)
    whole, left = getattr(holder, name), [nth]

    def killing(*arguments, **options):
        left[0] -= 1
        if left[0]:
            return whole(*arguments, **options)
        if after == "after":
            whole(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(holder, name, killing)
    database = settings.DbSettings.model_validate({"url": url})
    site = open_site(settings.load({}, home=Path(home), db=database), ManualClock(datetime.fromisoformat(at)))
    drain(site)
"""


@pytest.fixture(scope="module")
def kill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., None]]:
    """Run the jobs that are due in a process that dies at the nth call of a function."""
    log = tmp_path_factory.mktemp("killed") / "log"
    environ = environment()
    forks = Forks(_KILLED, environ)

    def run(site: Site, clock: ManualClock, place: str, name: str, nth: int, when: str) -> None:
        url = site.database.engine.url.render_as_string(hide_password=False)
        home, now = str(site.settings.home_dir), clock.now().isoformat()
        died = forks.start(home, url, now, place, name, nth, when, environ=environ, stdout=log, stderr=log)
        code = forks.wait(died, 600)
        assert code == -signal.SIGKILL, f"{when} call {nth} of {place}.{name}: {log.read_text()[-2000:]}"

    yield run
    forks.end()


PLACES = [
    ("governance.erasure", "remember", 1, "after"), ("monitor.lake.table:LakeTable", "swap", 1, "before"),
    ("monitor.lake.table:LakeTable", "swap", 2, "after"), ("monitor.lake.table:LakeTable", "swap", 6, "after"),
    ("monitor.upkeep.erase_rows", "_delete_unlisted_files", 1, "before"),
    ("monitor.upkeep.digests", "record", 3, "before"),
    ("core.artifacts:ArtifactStore", "delete", 1, "before"), ("core.artifacts:ArtifactStore", "delete", 1, "after"),
    ("core.artifacts:ArtifactStore", "delete", 4, "after"), ("core.artifacts:ArtifactStore", "delete", 7, "after"),
    ("core.artifacts:ArtifactStore", "delete", 8, "after"), ("core.artifacts:ArtifactStore", "delete", 9, "before"),
    ("monitor.reference.collect", "refit", 1, "after"), ("governance.erasure", "record_proof", 1, "before"),
    ("governance.erasure", "complete", 1, "before"),
    ("core.db:Database", "forget", 1, "before"),
]  # fmt: skip


def settled(proof: dict[str, Any]) -> dict[str, Any]:
    """A proof without what differs between any two erasures of the same rows: names of new files, ids, times."""
    (model,) = proof["models"]
    tables = [
        (t["table"], t["rows_removed"], sorted((f["rows_before"], f["rows_after"]) for f in t["files"]), t["after"])
        for t in model["tables"]
    ]
    sets = [{k: d[k] for k in ("name", "role", "rows_removed", "digest_after")} for d in model["datasets"]]
    counted = {k: len(model[k]) for k in ("explanations", "confirmations", "predictions", "baselines")}
    return {
        "tables": [(*t[:3], {k: v for k, v in t[3].items() if k != "version"}) for t in tables],
        "datasets": [d | {"name": d["name"][:8]} for d in sets], "counted": counted, "events": model["events"],
        "baselines": [b["digest_after"] for b in model["baselines"]],
        "adapters": [(a["version"], a["why"]) for a in proof["adapters"]],
    }  # fmt: skip


@pytest.fixture(scope="module")
def wanted(
    tmp_path_factory: pytest.TempPathFactory, lived_in_image: Callable[[str], LivedIn]
) -> Callable[[Site, ManualClock], dict[str, Any]]:
    """The proof of an erasure that nothing interrupts; made once for each kind of database."""
    made: dict[str, dict[str, Any]] = {}

    def proof(site: Site, clock: ManualClock) -> dict[str, Any]:
        kind = site.database.engine.dialect.name
        if kind not in made:
            made[kind] = settled(erase(site))
            site.database.dispose()
            lived_in_image(kind).image.lay(site)
        return made[kind]

    return proof


# On both databases at the start and at the end of the database's own work; the others are deaths among files, or
# between those two. Of the deaths among the deletions `make test` has the first, one in the middle and the last.
IN_THE_DATABASE = (PLACES[-1],)
DELETIONS = ("core.artifacts:ArtifactStore", "delete")
LEFT_TO_THE_REST = [(*DELETIONS, 1, "after"), (*DELETIONS, 7, "after"), (*DELETIONS, 8, "after")]
DEATHS = [
    pytest.param(kind, *place, id=f"{kind}-{place[3]} call {place[2]} of {place[0]}.{place[1]}",
                 marks=[pytest.mark.slow] if place in LEFT_TO_THE_REST
                 or (kind == "postgresql" and place not in IN_THE_DATABASE) else [])
    for kind in ("sqlite", "postgresql") for place in PLACES
]  # fmt: skip


@pytest.mark.parametrize(("database_url", "place", "name", "nth", "when"), DEATHS, indirect=["database_url"])
def test_an_erasure_that_is_killed_anywhere_goes_on_and_proves_the_same(
    lived_in: Site,
    clock: ManualClock,
    kill: Callable[..., None],
    wanted: Callable[[Site, ManualClock], dict[str, Any]],
    place: str,
    name: str,
    nth: int,
    when: str,
) -> None:
    expected = wanted(lived_in, clock)
    site = open_site(lived_in.settings, clock)
    asked = ask(site)
    site.database.dispose()
    kill(site, clock, place, name, nth, when)
    clock.move_to(clock.now() + timedelta(minutes=5))  # the dead worker's lease has run out
    fresh = open_site(site.settings, clock)
    drain(fresh)
    assert settled(proof_of(fresh, asked)) == expected
    assert left(fresh, MARKER, SUBJECT) == []
    assert check(fresh).ok
    fresh.database.dispose()


@SQLITE_FIRST
def test_what_a_killed_process_wrote_and_never_recorded_is_found_and_deleted(
    lived_in: Site, clock: ManualClock, kill: Callable[..., None]
) -> None:
    alert = drift_alerts(lived_in)[0]
    with lived_in.database.write() as db:
        model = model_named(db, world.NAME).id
        queue.enqueue(db, ConfirmJob(alert_id=alert.id), now=clock.now())
    kill(lived_in, clock, "monitor.confirm.drafts", "end", 1, "before")
    for event in (HERS[2], "e4"):  # an explainer that dies at the same point leaves as much
        words = json.dumps({"words": [MARKER if event in HERS else "card", "thanks"]}).encode()
        drafts.begin(lived_in, words, model, event_id=event)
    with lived_in.database.write() as db:
        for job in db.scalars(select(Job).where(Job.name == "monitor.confirm")):
            job.state = "done"
        begun = {draft.artifact for draft in db.scalars(select(ArtifactDraft))}
        recorded = {(a.confirmation or {}).get("artifact") for a in db.scalars(select(Alert))}
    assert len(begun) == 4, "the report, the words and rows beside it, two explanations"
    assert not begun & recorded
    proof = erase(lived_in)
    assert left(lived_in, MARKER, SUBJECT) == []
    unrecorded = proof["models"][0]["unrecorded"]
    assert len(unrecorded) == 3
    with lived_in.database.read() as db:
        [kept] = db.scalars(select(ArtifactDraft))
    assert (kept.event_id, {kept.artifact}) == ("e4", begun - set(unrecorded))
    assert lived_in.artifacts.get(kept.artifact)


def test_who_records_an_artifact_that_was_erased_meanwhile_is_told(lived_in: Site) -> None:
    with lived_in.database.read() as db:
        model = model_named(db, world.NAME).id
    draft = drafts.begin(lived_in, MARKER.encode(), model, event_id=HERS[2])
    erase(lived_in)
    with pytest.raises(drafts.DraftErasedError), lived_in.database.write() as db:
        drafts.end(db, draft)
