"""A run on a Ray cluster of two nodes: it goes to the node that has the GPU asked for, and ends as anywhere else."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.jobs import RunJob
from core.settings import EngineSettings
from core.settings_train import TrainSettings
from monitor.site import Site
from retrain import jobs
from tests import ray_cluster
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.runs.test_run import queued

pytestmark = [SQLITE_FIRST, pytest.mark.slow]


def test_a_run_goes_to_the_node_with_the_gpu_and_is_looked_after_until_it_ends(
    site: Site, tiny_base: Path, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("ASSAY_")]:
        monkeypatch.delenv(name)
    # The nodes' own settings: what the submitting worker has stays with it.
    for name, value in {
        "ASSAY_HOME": str(site.settings.home_dir), "ASSAY_DB__URL": site.settings.database_url,
        "ASSAY_TRAIN__DEVICE": "cpu", "ASSAY_TRAIN__THREADS": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with ray_cluster.serve(tmp_path, gpus=1) as address:
        engine = EngineSettings(ray_address=address)
        train = TrainSettings(runner="ray", num_gpus=1, attempts=1)
        asking = replace(site, settings=site.settings.model_copy(update={"engine": engine, "train": train}))
        run_id = queued(asking, tiny_base, clock)
        seen, until = set[str](), time.monotonic() + 240
        while (retry := jobs.run(asking, RunJob(run_id=run_id))) is not None and time.monotonic() < until:
            seen.add(retry.reason.partition(" at ")[0])
            clock.move_to(clock.now().__class__.now(clock.now().tzinfo))  # leases of the node are by the real time
            time.sleep(0.5)
    run = world.read(asking, run_id)
    assert (run.state, run.error, run.attempts) == ("promoted", None, 1)
    assert seen == {"submitted; it has not begun", "under way"}
