"""A wait of the demo ends when nothing moves, and not before."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from api.demo.pulse import read_pulse
from api.demo.story import LoopNotClosedError, Story
from core import queue, settings
from core.clock import ManualClock
from core.jobs import ConsiderJob, EvaluateJob
from governance.ledger.append import append_entry
from monitor.site import Site, open_site


@pytest.fixture
def service(tmp_path: Path, sqlite_template: Path, clock: ManualClock) -> Site:
    """What the demo's service keeps, with a job under way."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "assay.db").write_bytes(sqlite_template.read_bytes())
    site = open_site(settings.load({}, home=home), clock)
    with site.database.write() as db:
        queue.enqueue(db, ConsiderJob(model="m", cause="window"), now=clock.now())
    return site


def claim(site: Site, worker: str = "w") -> queue.Claimed:
    with site.database.write() as db:
        job = queue.claim(db, worker=worker, now=site.clock.now(), lease_s=30)
    assert job is not None
    return job


def renew(site: Site) -> None:
    job, later = claim(site), site.clock.now() + timedelta(seconds=10)
    before = read_pulse(site.settings.home_dir)
    with site.database.write() as db:
        assert queue.renew(db, job.id, worker="w", now=later, lease_s=30)
    assert read_pulse(site.settings.home_dir) != before


def record(site: Site) -> None:
    with site.database.write() as db:
        append_entry(db, kind="k", actor="a", subject="s", body={}, at=site.clock.now())


@pytest.mark.parametrize("work", [claim, renew, record])
def test_a_pulse_shows_work(service: Site, work: Callable[[Site], object]) -> None:
    home = service.settings.home_dir
    before = read_pulse(home)
    assert read_pulse(home) == before
    work(service)
    assert read_pulse(home) != before
    service.close()


def test_an_evaluation_that_found_nothing_is_no_sign_and_one_that_takes_long_is(service: Site) -> None:
    home, clock = service.settings.home_dir, service.clock
    claim(service)  # the job that is there
    before = read_pulse(home)
    with service.database.write() as db:
        queue.enqueue(db, EvaluateJob(model="m"), now=clock.now())
    job = claim(service)
    assert read_pulse(home) == before
    with service.database.write() as db:
        queue.renew(db, job.id, worker="w", now=clock.now() + timedelta(seconds=10), lease_s=30)
    assert read_pulse(home) != before
    with service.database.write() as db:
        queue.finish(db, job.id, now=clock.now())
    assert read_pulse(home) == before
    service.close()


def test_a_wait_in_which_nothing_moves_says_what_did_not_happen(service: Site, tmp_path: Path) -> None:
    story = Story(tmp_path, Console(quiet=True), seed=0, base_epochs=None, still_s=0.3)
    with pytest.raises(LoopNotClosedError, match="the next window did not happen, and nothing has moved"):
        story.wait("the next window", lambda: None)
    assert story.wait("what is there", lambda: "found") == "found"
    service.close()
