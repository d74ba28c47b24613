"""A version is promoted again through its gates; a rollback lists predictions; serving pulls what it needs."""

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from core.clock import ManualClock
from core.jobs import RunJob
from core.settings_train import TrainSettings
from governance.access.api_keys import create_key
from governance.access.roles import Role
from monitor.site import Site
from retrain import jobs, store
from retrain.tables import GateRow
from tests.databases import SQLITE_FIRST
from tests.retrain import lending, world
from tests.retrain.runs.test_run import queued
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST
MODEL = f"/api/v1/models/{world.NAME}"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return world.fake_base(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return world.fake_adapter(tmp_path / "adapter")


class Http:
    """The routes, called with the key of a person."""

    def __init__(self, site: Site) -> None:
        self.site, self.client, self.keys = site, TestClient(create_app(site)), dict[str, str]()

    def send(
        self, method: str, path: str, by: str = "olga", *, headers: dict[str, str] | None = None, **options: Any
    ) -> Any:
        if by not in self.keys:
            with self.site.database.write() as db:
                now = self.site.clock.now()
                _, self.keys[by] = create_key(db, name=by, role=Role.ADMIN, owner=by, actor="tester", now=now)
        sent = {"Authorization": f"Bearer {self.keys[by]}"} | (headers or {})
        return self.client.request(method, path, headers=sent, **options)

    def post(self, path: str, by: str = "olga", **body: Any) -> Any:
        return self.send("POST", path, by, json={"reason": "as agreed", **body})


def promoted(site: Site, base: Path, adapter: Path, clock: ManualClock, **retrain: Any) -> UUID:
    world.declare(site, world.spec(base, **retrain))
    world.send(site, world.traffic(200, tiny.OLD), clock)
    run_id = world.start(site)
    world.evaluated(site, run_id, adapter)
    jobs.run(site, RunJob(run_id=run_id))
    return run_id


@pytest.mark.parametrize("of", ["table", pytest.param("text", marks=pytest.mark.slow)])
def test_a_version_rolled_back_from_is_promoted_again_once_its_gates_pass_on_present_rows(
    site: Site, clock: ManualClock, of: str, request: pytest.FixtureRequest
) -> None:
    train = TrainSettings(device="cpu", threads=1)
    small = replace(site, settings=site.settings.model_copy(update={"train": train}))
    http = Http(small)
    if of == "table":
        first = lending.queued(small, clock, "lightgbm")
    else:
        first = queued(small, request.getfixturevalue("tiny_base"), clock)
    jobs.run(small, RunJob(run_id=first))
    assert world.read(small, first).state == "promoted"
    rolled = http.post(f"/api/v1/runs/{first}/rollback").json()
    assert (rolled["version"], rolled["rolled_back"]["version"]) == ("v1", "v2")
    asked = http.post(f"/api/v1/runs/{first}/promote")
    assert (asked.status_code, asked.json()["stage"]) == (202, "rejected")
    again = http.send("GET", f"{MODEL}/runs").json()["items"][0]
    assert (again["purpose"], again["candidate_version"], again["champion_version"]) == ("promote", "v2", "v1")
    assert http.post(f"{MODEL}/versions/v2/promote").json()["code"] == "open_run"
    run_id = UUID(again["id"])
    jobs.run(small, RunJob(run_id=run_id))
    run = http.send("GET", f"/api/v1/runs/{run_id}").json()
    assert (run["state"], run["error"]) == ("promoted", None)
    assert {g["gate"] for g in run["gates"]} >= {"no_regression", "fairness", "forgetting", "integrity"}
    with small.database.read() as db:
        judged_on, trained_on = store.run_datasets(db, run_id), store.run_datasets(db, first)
        champion = store.champion(db, world.model_id(db))
    assert champion is not None
    assert champion.version == "v2"
    assert "train" not in judged_on
    assert judged_on["eval"].provenance["dropped"]["a version was trained on it"] > 0
    assert judged_on["eval"].digest != trained_on["train"].digest
    assert http.post(f"/api/v1/runs/{first}/promote").json()["code"] == "run_state"  # it is champion
    assert http.post(f"{MODEL}/versions/v2/promote").json()["code"] == "version_stage"
    judged = http.send("GET", f"{MODEL}/versions/v2/card").json()["judged"]
    assert [(j["purpose"], j["against"], j["state"]) for j in judged] == [
        ("train", "v1", "promoted"), ("promote", "v1", "promoted"),
    ]  # fmt: skip


def test_a_rejected_version_stays_rejected_until_a_run_judges_it_again(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    http = Http(site)
    world.declare(site, world.spec(base))
    world.send(site, world.traffic(200, tiny.OLD), clock)
    run_id = world.start(site)
    world.evaluated(site, run_id, adapter, verdicts={"forgetting": "fail"})
    jobs.run(site, RunJob(run_id=run_id))
    refused = http.post(f"/api/v1/runs/{run_id}/promote")
    assert (refused.status_code, refused.json()["code"]) == (409, "run_state")
    assert "promote v2 by its name" in refused.json()["detail"]
    assert http.post(f"{MODEL}/versions/v2/stage", stage="shadow").json()["code"] == "version_stage"
    asked = http.post(f"{MODEL}/versions/v2/promote").json()
    jobs.run(site, RunJob(run_id=UUID(asked["id"])))  # the stand-in adapter cannot be loaded
    assert world.read(site, UUID(asked["id"])).state == "failed"
    assert http.send("GET", f"{MODEL}/versions/v2").json()["stage"] == "rejected"
    assert http.send("GET", f"{MODEL}/champion").json()["version"] == "v1"


def test_a_rollback_in_one_call_lists_what_the_bad_version_answered(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    http = Http(site)
    promoted(site, base, adapter, clock)
    frame = world.traffic(150, tiny.OLD, first=200)
    site.events.append_events(
        world.current(site), frame.with_columns(version=_lit("v2")).drop("intent_true"), now=clock.now()
    )
    rolled = http.post(f"{MODEL}/rollback").json()
    made = rolled["rolled_back"]
    assert (rolled["version"], made["version"], made["count"]) == ("v1", "v2", 150)
    assert made["first_at"] < made["last_at"]
    ids: list[str] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = http.send("GET", made["export"], params={"cursor": cursor, "limit": 64}).json()
        ids += [item["event_id"] for item in page["items"]]
        cursor = page["next"]
    assert ids == frame["event_id"].to_list()
    page = http.send("GET", f"/models/{world.NAME}").text
    assert "Promote v2 again" in page
    assert "Roll back v1" not in page
    again = http.post(f"{MODEL}/rollback")
    assert (again.status_code, again.json()["code"]) == (409, "no_earlier_version")


def _lit(value: str) -> Any:
    import polars as pl

    return pl.lit(value)


def test_serving_pulls_the_champion_once_and_its_adapter_as_one_file(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    http = Http(site)
    world.declare(site, world.spec(base))
    first = http.send("GET", f"{MODEL}/champion")
    tag = first.headers["etag"]
    assert http.send("GET", f"{MODEL}/champion", headers={"If-None-Match": f'"x", W/{tag}'}).status_code == 304
    assert http.send("GET", f"{MODEL}/versions/v1/adapter").status_code == 404
    world.send(site, world.traffic(200, tiny.OLD), clock)
    run_id = world.start(site)
    world.evaluated(site, run_id, adapter)
    jobs.run(site, RunJob(run_id=run_id))
    changed = http.send("GET", f"{MODEL}/champion", headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["version"]) == (200, "v2")
    archive = http.send("GET", changed.json()["adapter_archive"])
    assert archive.headers["etag"] == f'"{hashlib.sha256(archive.content).hexdigest()}"'
    assert archive.headers["x-assay-adapter-digest"] == changed.json()["adapter_digest"]
    assert int(archive.headers["content-length"]) == len(archive.content)
    with tarfile.open(fileobj=io.BytesIO(archive.content)) as tar:
        names = tar.getnames()
        found = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]  # all are files
    assert found == {p.name: p.read_bytes() for p in adapter.iterdir()}
    known = http.send("GET", changed.json()["adapter_archive"], headers={"If-None-Match": archive.headers["etag"]})
    assert known.status_code == 304


def test_stages_beside_the_champion_are_seen_by_serving(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    http = Http(site)
    run_id = promoted(site, base, adapter, clock, approval="one")
    assert world.read(site, run_id).state == "awaiting_approval"
    moved = http.post(f"{MODEL}/versions/v2/stage", stage="shadow")
    assert (moved.status_code, moved.json()["stage"]) == (200, "shadow")
    listed = http.send("GET", f"{MODEL}/versions", params={"stage": "shadow"}).json()["items"]
    assert [v["version"] for v in listed] == ["v2"]
    assert http.post(f"{MODEL}/versions/v1/stage", stage="retired").json()["code"] == "version_stage"
    for body in (
        {"stage": "canary"},
        {"stage": "canary", "traffic_share": 1.0},
        {"stage": "shadow", "traffic_share": 0.1},
    ):
        assert http.post(f"{MODEL}/versions/v2/promote", **body).json()["code"] == "invalid_share"
    assert http.post(f"/api/v1/runs/{run_id}/approve", "bob").status_code == 200
    assert http.send("GET", f"{MODEL}/champion").json()["version"] == "v2"
    assert http.send("GET", f"{MODEL}/versions", params={"stage": "shadow"}).json()["items"] == []


def test_a_canary_has_its_share_and_the_champion_stays(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    http = Http(site)
    run_id = promoted(site, base, adapter, clock, approval="one")
    with site.database.write() as db:  # as a promotion to canary asks for it
        run = store.run(db, run_id)
        run.to_stage, run.traffic_share = "canary", 0.05
    assert http.post(f"/api/v1/runs/{run_id}/approve", "bob").json()["state"] == "promoted"
    assert http.send("GET", f"{MODEL}/champion").json()["version"] == "v1"
    canary = http.send("GET", f"{MODEL}/versions", params={"stage": "canary"}).json()["items"]
    assert [(v["version"], v["traffic_share"]) for v in canary] == [("v2", 0.05)]
    assert "5.0 % of requests" in http.send("GET", f"/models/{world.NAME}").text
    asked = http.post(f"{MODEL}/versions/v2/promote").json()
    assert (asked["candidate_version"], asked["to_stage"]) == ("v2", "champion")
    with site.database.write() as db:  # where its evaluation leaves it
        run = store.run(db, UUID(asked["id"]))
        run.state = "evaluating"
        db.add(GateRow(run_id=run.id, gate="integrity", verdict="fail", reason="why", evidence={}, at=clock.now()))
    jobs.run(site, RunJob(run_id=UUID(asked["id"])))
    assert world.read(site, UUID(asked["id"])).state == "rejected"
    assert http.send("GET", f"{MODEL}/versions", params={"stage": "canary"}).json()["items"] == []
    assert http.send("GET", f"{MODEL}/versions/v2").json()["stage"] == "rejected"


def test_the_spec_that_changes_the_rules_has_a_waiting_run_judged_again(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    http = Http(site)
    run_id = promoted(site, base, adapter, clock, approval="one")
    same = world.spec(base, approval="two").document
    assert http.send("PUT", MODEL, json=same).json()["outcome"] == "changed"
    assert world.read(site, run_id).state == "awaiting_approval"  # the gates rest on nothing that changed
    floor = world.spec(base, approval="two", envelope={"max_gpu_hours": 0.1, "kpi_floor": {"accuracy": 0.9}}).document
    assert http.send("PUT", MODEL, json=floor).json()["outcome"] == "changed"
    assert world.read(site, run_id).state == "evaluating"
    assert http.post(f"/api/v1/runs/{run_id}/approve", "bob").json()["code"] == "run_state"


def test_a_run_says_who_approved_and_what_is_missing(site: Site, base: Path, adapter: Path, clock: ManualClock) -> None:
    http = Http(site)
    run_id = promoted(site, base, adapter, clock, approval="two")
    http.post(f"/api/v1/runs/{run_id}/approve", "bob")
    found = http.send("GET", f"/api/v1/runs/{run_id}").json()["approval"]
    assert (found["needed"], found["given"], found["by"]) == (2, 1, ["bob (key bob)"])
    assert found["missing"] == ["1 of 2 approvals given"]
    page = http.send("GET", f"/runs/{run_id}").text
    assert "2 needed, 1 given" in page
    assert "Missing: 1 of 2 approvals given" in page


def test_a_card_says_what_was_recorded_and_what_was_not(
    site: Site, base: Path, adapter: Path, clock: ManualClock
) -> None:
    http = Http(site)
    promoted(site, base, adapter, clock)
    card = http.send("GET", f"{MODEL}/versions/v2/card").json()
    assert [g["gate"] for g in card["judged"][0]["gates"]] == ["fairness", "forgetting", "integrity", "no_regression"]
    assert card["energy"] == {"kwh": None, "co2e_kg": None, "reason": "the run did not record it"}
    assert card["serving"]["vllm"]["tested"] is False
    text = http.send("GET", f"{MODEL}/versions/v2/card", params={"format": "md"}).text
    assert text.startswith(f"# {world.NAME} v2\n")
    assert card["digest"] in text
    bare = http.send("GET", f"{MODEL}/versions/v1/card").json()
    assert (bare["data"], bare["training"], bare["serving"]) == ([], None, None)
    assert json.dumps(card)
