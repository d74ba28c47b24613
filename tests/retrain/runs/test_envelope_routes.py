"""The proof of a run over HTTP, and a run that waits outside its limits: allowed and turned down by people."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from api.app import create_app
from api.cli import app
from core.clock import ManualClock
from core.jobs import RunJob
from governance.ledger.checkpointing import issue_checkpoint
from governance.ledger.extends import Places
from monitor.site import Site
from retrain import jobs
from retrain.runs.change_limits import limits_of
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.registry.test_versions import Http
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST


@pytest.fixture
def http(site: Site) -> Http:
    return Http(site)


def waiting(site: Site, base: Path, clock: ManualClock) -> str:
    world.declare(site, world.spec(base, envelope={"min_rows": 5000, "max_kwh": 2}))
    world.send(site, world.traffic(250, tiny.OLD), clock)
    world.send(site, world.traffic(350, (*tiny.OLD, *tiny.NEW), first=250), clock)
    world.baseline_ends(site, 250)
    run_id = world.start(site)
    assert jobs.run(site, RunJob(run_id=run_id)) is None
    return str(run_id)


def test_a_run_that_waits_says_for_what_and_its_proof_says_it_is_outside(
    site: Site, http: Http, tmp_path: Path, clock: ManualClock
) -> None:
    run = f"/api/v1/runs/{waiting(site, world.fake_base(tmp_path / 'base'), clock)}"
    found = http.send("GET", run).json()
    assert (found["state"], found["waits_at"], found["exceptions"]) == ("awaiting_approval", "curating", [])
    assert [(one["limit"], one["declared"]) for one in found["outside"]] == [("min_rows", 5000)]
    assert "min_rows is 5000" in found["approval"]["missing"][0]
    proof = http.send("GET", f"{run}/envelope").json()
    assert proof["verdict"] == "outside"
    verdicts = {line["limit"]: line["verdict"] for line in proof["limits"]}
    assert (verdicts["min_rows"], verdicts["max_kwh"], verdicts["max_gpu_hours"]) == (
        "outside", "not measured", "not measured",
    )  # fmt: skip
    text = http.send("GET", f"{run}/envelope", params={"format": "markdown"})
    assert text.headers["content-type"].startswith("text/markdown")
    assert "| `min_rows` | 5000 rows |" in text.text
    assert http.send("GET", f"{run}/envelope", params={"format": "pdf"}).status_code == 422
    assert TestClient(create_app(site)).get(f"{run}/envelope").status_code == 401


def test_limits_that_gates_keep_show_what_the_gates_measured(
    site: Site, http: Http, tmp_path: Path, clock: ManualClock
) -> None:
    run = f"/api/v1/runs/{waiting(site, world.fake_base(tmp_path / 'base'), clock)}"
    evidence = http.send("GET", f"{run}/envelope").json()["evidence"]
    seen = {"allowed": 0.04, "value": -0.01, "low": -0.06}
    evidence["gates"] = {
        "forgetting": {"verdict": "pass", "reason": "kept", "evidence": seen},
        "no_regression": {
            "verdict": "fail",
            "reason": "worse",
            "evidence": {"allowed": 0.0, "value": -0.02, "low": -0.03},
        },
    }
    found = {line["limit"]: (line["measured"], line["verdict"]) for line in limits_of(evidence)}
    assert found["max_forgetting"] == (0.01, "inside")
    assert found["forgetting_margin"] == (0.06, "inside")
    assert found["max_regression"] == (0.02, "outside")
    assert found["regression_margin"] == (0.03, "inside")


def test_the_command_checks_a_proof_without_the_service(
    site: Site, http: Http, tmp_path: Path, clock: ManualClock
) -> None:
    run = f"/api/v1/runs/{waiting(site, world.fake_base(tmp_path / 'base'), clock)}"
    with site.database.write() as db:
        issue_checkpoint(db, key=site.keys.signing, places=Places(tmp_path / "anchor"), now=clock.now())
    proof = http.send("GET", f"{run}/envelope").json()
    file = tmp_path / "proof.json"
    file.write_text(json.dumps(proof))
    good = CliRunner().invoke(app, ["envelope", "--check", str(file), "--key", site.keys.vkey])
    assert (good.exit_code, "is outside; every figure follows" in " ".join(good.output.split())) == (0, True), (
        good.output
    )
    proof["verdict"] = "inside"
    file.write_text(json.dumps(proof))
    wrong = CliRunner().invoke(app, ["envelope", "--check", str(file)])
    assert wrong.exit_code == 1
    assert "the document was changed" in wrong.output
    file.write_text("[]")
    assert CliRunner().invoke(app, ["envelope", "--check", str(file)]).exit_code != 0


def test_one_person_allows_a_limit_once_and_no_one_promotes_past_it(
    site: Site, http: Http, tmp_path: Path, clock: ManualClock
) -> None:
    run = f"/api/v1/runs/{waiting(site, world.fake_base(tmp_path / 'base'), clock)}"
    assert http.post(f"{run}/promote").status_code == 409
    assert http.post(f"{run}/approve", reason="").status_code == 422
    allowed = http.post(f"{run}/approve", by="bob", reason="few rows, new intents").json()
    assert (allowed["state"], allowed["outside"], allowed["waits_at"]) == ("curating", [], None)
    assert [(e["limit"], e["owner"], e["why"]) for e in allowed["exceptions"]] == [
        ("min_rows", "bob", "few rows, new intents")
    ]
    assert http.post(f"{run}/approve", by="carol").status_code == 409  # it waits for nothing any more


def test_a_run_that_waits_may_be_turned_down(site: Site, http: Http, tmp_path: Path, clock: ManualClock) -> None:
    run = f"/api/v1/runs/{waiting(site, world.fake_base(tmp_path / 'base'), clock)}"
    assert http.post(f"{run}/reject", by="bob", reason="too few").json()["state"] == "rejected"
    assert http.send("GET", f"{run}/envelope").json()["verdict"] == "outside"
