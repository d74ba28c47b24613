"""A champion made from a hub model is looked up at its own commit, whatever the spec pins now."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from core.clock import ManualClock
from monitor.site import Site
from retrain import store
from retrain.envelope import Plan
from retrain.runs.steps import begin, curate
from retrain.tables import ModelVersion
from retrain.teaching import base_of, changed_base, has_base, teacher_of
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST
OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with two commits of one model, and one of another."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    for at, (repo, commit) in enumerate((("org--small", OLD), ("org--small", NEW), ("org--large", NEW))):
        folder = world.fake_base(cache / f"models--{repo}" / "snapshots" / commit)
        (folder / "README.md").write_text(str(at))
    return cache


def snapshot(cache: Path, repo: str, commit: str) -> Path:
    return cache / f"models--{repo}" / "snapshots" / commit


def champion(site: Site) -> ModelVersion:
    with site.database.read() as db:
        found = store.champion(db, world.model_id(db))
    assert found is not None
    return found


def test_the_base_of_the_champion_is_that_of_its_own_commit(site: Site, cached: Path) -> None:
    first = world.spec("org/small", recipe={"revision": OLD})
    world.declare(site, first)
    one = champion(site)
    assert has_base(site, one, Plan.of(first).recipe)
    for name, commit in (("org/small", NEW), ("org/large", NEW)):
        recipe = Plan.of(world.spec(name, recipe={"revision": commit, "teacher": "champion"})).recipe
        assert base_of(site, one, recipe) == snapshot(cached, "org--small", OLD)
        assert not has_base(site, one, recipe)
        assert changed_base(site, one, recipe) is None
        taught = teacher_of(site, one, recipe)  # type: ignore[arg-type]  # a recipe of texts
        assert taught is not None
        assert taught.revision == OLD
    folder = Plan.of(world.spec(world.fake_base(cached / "folder"))).recipe
    assert base_of(site, one, folder) == snapshot(cached, "org--small", OLD)


def test_a_run_of_another_commit_begins_and_starts_from_the_new_base(
    site: Site, cached: Path, clock: ManualClock
) -> None:
    world.declare(site, world.spec("org/small", recipe={"revision": OLD}))
    world.declare(site, world.spec("org/small", recipe={"revision": NEW}))
    world.send(site, world.traffic(300, tiny.OLD), clock)
    run_id = world.start(site)
    begin(site, run_id)
    curate(site, run_id)
    config = world.read(site, run_id).config
    assert config is not None
    assert (config.get("rehearsed"), config["parent_adapter"]) == (None, None)
    assert "another revision of org/small" in config["fresh_because"]
