"""One installation with a retrained model of tables and a report about it, made once."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from core import settings
from core.clock import ManualClock
from core.jobs import RunJob
from core.settings_train import TrainSettings
from monitor.site import Site, open_site
from reports import service as reports
from retrain import jobs
from tests.once import once
from tests.retrain import lending, world
from tests.retrain.registry.test_versions import Http


def _open(home: Path) -> tuple[Site, ManualClock]:
    clock = ManualClock(world.START)
    loaded = settings.load({}, home=home, train=TrainSettings(device="cpu", threads=1, country="DEU"))
    return open_site(loaded, clock), clock


@pytest.fixture(scope="session")
def lent(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Site]:
    """Its first run was promoted, v2, trained on e250 and later; whoever changes a row rolls that back."""

    def make(folder: Path) -> None:
        home = folder / "home"
        home.mkdir()
        shutil.copyfile(sqlite_template, home / "assay.db")
        site, clock = _open(home)
        run_id = lending.queued(site, clock, "lightgbm")
        jobs.run(site, RunJob(run_id=run_id))
        run = world.read(site, run_id)
        assert run.state == "promoted", run.error
        clock.move_to(clock.now() + timedelta(hours=1))
        with site.database.write() as db:
            report = reports.request(site, db, world.NAME, "audit", world.START, clock.now(), [], "ann").id
        reports.build(site, report)
        site.close()

    made = once(tmp_path_factory, "lent", make)
    home = tmp_path_factory.mktemp("lent") / "home"
    shutil.copytree(made / "home", home)
    site, clock = _open(home)
    clock.move_to(world.START + timedelta(days=2))
    yield site
    site.close()


@pytest.fixture(scope="session")
def http(lent: Site) -> Http:
    return Http(lent)
