"""A home folder that was copied in the middle of a training run goes on by itself; its original stays as it was."""

import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from core import settings
from core.artifacts import file_digest
from core.clock import ManualClock
from core.jobs import RunJob
from monitor.site import Site, open_site
from retrain import jobs
from retrain.runs import configs, steps
from retrain.runs.workspace import Workspace
from tests.retrain import world
from tests.retrain.runs.test_run import is_a_signed_champion, queued
from tests.service import environment

CLOCK = ManualClock(datetime(2026, 1, 5, tzinfo=UTC))
TRAIN = {"device": "cpu", "threads": 1, "attempts": 1}
PLACE = "installation.json"  # the one file that says where the home folder lies
WORKER = """
import sys
from pathlib import Path
from uuid import UUID
from core import settings
from core.jobs import RunJob
from monitor.site import open_site
from retrain import jobs
site = open_site(settings.load({}, home=Path(sys.argv[1]), train={"device": "cpu", "threads": 1}))
jobs.run(site, RunJob(run_id=UUID(sys.argv[2])))
"""


def opened(home: Path) -> Site:
    return open_site(settings.load({}, home=home, train=TRAIN), CLOCK)


@pytest.fixture
def home(tmp_path: Path, sqlite_template: Path, tiny_base: Path) -> Path:
    """An installation whose base model lies in its home folder."""
    folder = tmp_path / "first place" / "home"
    folder.mkdir(parents=True)
    shutil.copyfile(sqlite_template, folder / "assay.db")
    shutil.copytree(tiny_base, folder / "models" / "base")
    return folder


def half_trained(home: Path) -> UUID:
    """A run whose worker was killed with the first checkpoint."""
    site = opened(home)
    run_id = queued(site, "./models/base", CLOCK, epochs=6)
    site.close()
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(home), str(run_id)], env=environment())
    work = Workspace.of(site.settings, run_id)
    try:
        while not list((work.trained / "checkpoints").glob("checkpoint-*/complete.json")):
            assert worker.poll() is None
            time.sleep(0.02)
    finally:
        worker.kill()
        worker.wait()
    return run_id


def files(home: Path) -> dict[str, str]:
    return {str(p.relative_to(home)): file_digest(p) for p in sorted(home.rglob("*")) if p.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("original", ["kept", "removed"])
def test_a_run_goes_on_in_a_copy_and_nothing_of_the_original_changes(home: Path, tmp_path: Path, original: str) -> None:
    run_id = half_trained(home)
    copy = shutil.copytree(home, tmp_path / "second" / "place")
    before = files(home)
    if original == "removed":
        shutil.rmtree(home)
    site = opened(copy)
    assert jobs.run(site, RunJob(run_id=run_id)) is None
    run = world.read(site, run_id)
    assert (run.state, run.error) == ("promoted", None)
    lines = [json.loads(line) for line in Workspace.of(site.settings, run_id).progress.read_text().splitlines()]
    again = [i for i, line in enumerate(lines) if line["phase"] == "load"][1]
    assert next(line["step"] for line in lines[again:] if line["phase"] == "train") > 1  # from the checkpoint
    is_a_signed_champion(site, run_id)
    site.close()
    if original == "kept":
        assert files(home) == before
    else:
        assert not home.exists()
    told = [p for p in copy.rglob("*") if p.is_file() and p.name != PLACE
            and any(str(place).encode() in p.read_bytes() for place in (home, copy))]  # fmt: skip
    assert told == []


def test_a_run_that_an_earlier_release_began_is_placed_in_this_home_folder(home: Path) -> None:
    site = opened(home)
    run_id = queued(site, "./models/base", CLOCK)
    steps.begin(site, run_id)
    steps.curate(site, run_id)
    work, record = Workspace.of(site.settings, run_id), dict(world.read(site, run_id).config or {})
    now = configs.placed(site, work, record)
    elsewhere = Path("/srv/old/home")
    parent = site.artifacts.put_folder(home / "models" / "base")
    name = parent.removeprefix("sha256:")
    old = json.loads(now.model_dump_json().replace(str(home), str(elsewhere)))
    old["parent_adapter"] = str(elsewhere / "artifacts" / name[:2] / name)
    placed = configs.placed(site, work, old)
    assert placed == now.model_copy(update={"parent_adapter": site.artifacts.path(parent)})
    assert placed.digest() != now.digest()  # by the parent alone
    assert placed.model_copy(update={"parent_adapter": None}).digest() == now.digest()
    mark = work.trained / "checkpoints" / "config.json"
    mark.parent.mkdir(parents=True)
    for found, kept in ((now.digest(), True), ("sha256:of-an-earlier-release", False)):
        mark.write_text(json.dumps({"config": found}))
        steps._drop_other_training(work, now)
        assert mark.exists() == kept
    site.close()
