"""Licence, basis of consent and expiry of what a run is made from block it: before it starts, and at its promotion."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from core.clock import ManualClock
from core.jobs import RunJob
from monitor.site import Site
from monitor.spec.parse import parse_spec
from retrain import jobs
from retrain.errors import MaterialError
from retrain.provenance.declarations import declare
from retrain.runs.consider import start_manual
from retrain.runs.datasets import record_dataset
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.registry.test_versions import Http
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST
GIVEN: dict[str, Any] = {
    "source": "https://example.com/intents", "licence": "CC-BY-4.0",
    "collected": {"from": "2025-01-01", "to": "2025-03-31"},
    "consent": "contract", "collector": "Example Ltd", "processing": [{"step": "names removed", "code": "clean 1.2"}],
    "known_biases": ["customers of one country"], "synthetic_share": 0.0,
}  # fmt: skip
OWN = {"licence": "LicenseRef-internal", "consent": "contract", "collector": "us", "known_biases": ["none known"]}
LAW = {"max_gpu_hours": 0.1, "licences": ["CC-BY-4.0", "LicenseRef-internal", "MIT"], "consent": ["contract"]}


def prepared(site: Site, base: Path, clock: ManualClock, tmp_path: Path, **envelope: Any) -> None:
    """A model with events, a registered dataset and a policy with these rules; nothing is declared of the material."""
    document = world.spec(base, envelope=LAW | envelope).document | {"provenance": OWN}
    world.declare(site, parse_spec(document))
    world.send(site, world.traffic(300, tiny.OLD), clock)
    path = tmp_path / "outside.parquet"
    tiny.messages(tiny.OLD, 40).write_parquet(path)
    with site.database.write() as db:
        record_dataset(site, db, world.NAME, "bought", "train", path, "a vendor", "tester")


def told(site: Site, kind: str, name: str | None, **changes: Any) -> None:
    with site.database.write() as db:
        declare(site, db, world.NAME, kind, name, GIVEN | changes, "tester")


def asked(site: Site) -> tuple[UUID | None, str]:
    """The run that a person's request starts, or why none."""
    world.key(site, "ann")
    with site.database.write() as db:
        found = start_manual(site, db, world.NAME, "ann", "new intents")
        why = [b["reason"] for b in found.decision.blocked_by if b["name"] == "provenance"]
        return (found.run.id if found.run else None), "; ".join(why)


def test_a_run_is_blocked_until_all_of_its_material_is_declared_as_the_envelope_allows(
    site: Site, clock: ManualClock, tmp_path: Path
) -> None:
    base = world.fake_base(tmp_path / "base")
    prepared(site, base, clock, tmp_path)
    run_id, why = asked(site)
    assert run_id is None
    assert f"base model {base} has no provenance" in why
    assert "dataset bought has no provenance, and envelope.licences and envelope.consent asks for it" in why
    told(site, "base_model", None, licence="MIT OR GPL-3.0-only", consent="not_personal")
    told(site, "dataset", "bought", licence="CC-BY-NC-4.0")
    assert asked(site) == (None, (
        "dataset bought has licence CC-BY-NC-4.0, envelope.licences allows CC-BY-4.0, LicenseRef-internal, MIT; leave "
        "it out, or let people allow that licence in the spec"
    ))  # fmt: skip
    told(site, "dataset", "bought", consent="legitimate_interests")
    assert "dataset bought rests on legitimate_interests, envelope.consent allows contract" in asked(site)[1]
    told(site, "dataset", "bought", expires="2025-12-31")
    assert "dataset bought might be used until 2025-12-31, and it is 2026-01-05" in asked(site)[1]
    told(site, "dataset", "bought")
    run_id, why = asked(site)
    assert why == ""
    assert run_id is not None
    # Between the decision and the start somebody learns that the licence is another one.
    told(site, "dataset", "bought", licence="LicenseRef-vendor")
    jobs.run(site, RunJob(run_id=run_id))
    run = world.read(site, run_id)
    assert run.state == "failed"
    assert "dataset bought has licence LicenseRef-vendor" in str(run.error)
    assert run.config is None  # nothing was chosen or trained


def test_a_promotion_asks_again(site: Site, clock: ManualClock, tmp_path: Path) -> None:
    base = world.fake_base(tmp_path / "base")
    prepared(site, base, clock, tmp_path)
    told(site, "base_model", str(base), licence="MIT", consent="not_personal")
    told(site, "dataset", "bought")
    run_id, why = asked(site)
    assert run_id is not None, why
    world.evaluated(site, run_id, world.fake_adapter(tmp_path / "adapter"))
    told(site, "base_model", str(base), licence="LicenseRef-community", consent="not_personal")
    jobs.run(site, RunJob(run_id=run_id))
    run = world.read(site, run_id)
    assert run.state == "rejected"
    assert f"base model {base} has licence LicenseRef-community" in str(run.error)
    assert "version.promoted" not in world.kinds(site)[-3:]


def test_another_base_under_the_same_name_is_not_what_was_declared(
    site: Site, clock: ManualClock, tmp_path: Path
) -> None:
    base = world.fake_base(tmp_path / "base")
    prepared(site, base, clock, tmp_path, consent=[])
    told(site, "base_model", None)
    told(site, "dataset", "bought")
    run_id, why = asked(site)
    assert run_id is not None, why
    (base / "note.txt").write_text("other files than those that were declared")
    jobs.run(site, RunJob(run_id=run_id))
    assert world.read(site, run_id).state == "failed"


def test_without_rules_nothing_has_to_be_declared(site: Site, clock: ManualClock, tmp_path: Path) -> None:
    prepared(site, world.fake_base(tmp_path / "base"), clock, tmp_path, licences=[], consent=[])
    run_id, why = asked(site)
    assert run_id is not None, why


def test_the_route_refuses_what_lacks_fields_and_records_what_has_them(site: Site, tmp_path: Path) -> None:
    world.declare(site, world.spec(world.fake_base(tmp_path / "base")))
    http = Http(site)
    path = f"/api/v1/models/{world.NAME}/provenance"
    refused = http.send("POST", path, json={"kind": "base_model", "licence": "MIT"})
    assert refused.status_code == 422
    missing = {one["field"] for one in refused.json()["problems"]}
    assert missing == {"source", "collected", "consent", "collector", "processing", "known_biases", "synthetic_share"}
    other = http.send("POST", path, json={"kind": "dataset", "name": "nobody's", **GIVEN})
    assert (other.status_code, other.json()["field"]) == (422, "name")
    made = http.send("POST", path, json={"kind": "base_model", **GIVEN, "licence": "apache-2.0 or mit"})
    assert (made.status_code, made.json()["document"]["licence"]) == (201, "Apache-2.0 OR MIT")
    assert http.send("GET", path).json()["items"][0]["digest"] == made.json()["digest"]
    assert world.kinds(site)[-1] == "provenance.declared"


def test_a_dataset_has_to_be_registered_before_it_is_declared(site: Site, tmp_path: Path) -> None:
    world.declare(site, world.spec(world.fake_base(tmp_path / "base")))
    with pytest.raises(MaterialError, match="none is registered"):
        told(site, "dataset", "bought")
