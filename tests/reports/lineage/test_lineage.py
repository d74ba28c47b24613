"""Both ways: what an adapter was made from, and what an event ended up in, also after its erasure."""

import re
from typing import Any

from governance.ledger.read import ledger_entries
from monitor.site import Site
from monitor.store import model as model_named
from reports.lineage.events import ended_up_in
from reports.lineage.graph import graph_of
from retrain import store
from retrain.tables import ModelVersion
from tests.retrain import world
from tests.retrain.registry.test_versions import Http


def graph(site: Site, of: str, *, up: bool = True, down: bool = False) -> dict[str, Any]:
    with site.database.read() as db:
        return graph_of(db, model_named(db, world.NAME)).around(of, up=up, down=down).document


def test_an_adapter_is_followed_down_to_events_base_and_recipe(lent: Site) -> None:
    found = graph(lent, "version:v2")
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for node in found["nodes"]:
        by_kind.setdefault(node["kind"], []).append(node)
    assert {kind: len(nodes) for kind, nodes in by_kind.items()} == {
        "events": 1, "base_model": 1, "dataset": 3, "run": 1, "version": 1,
    }  # fmt: skip
    assert {n["standing"] for n in found["nodes"] if n["kind"] in ("dataset", "run", "version")} == {"recorded"}
    run = by_kind["run"][0]
    assert run["recipe"]["estimator"] == "lightgbm"
    assert run["code"]
    span = next(e for e in found["edges"] if e["role"] == "rows_of")
    assert (span["from_seq"], span["to_seq"]) == (0, 700)
    train = next(n for n in by_kind["dataset"] if n["role"] == "train")
    assert train["data_window"]["from"] == world.START.isoformat()
    assert train["declared"]["human_share"] == 1.0
    with lent.database.read() as db:
        entries = {e["kind"]: e for e in ledger_entries(db, ("run.trained", "run.started"))}
    assert entries["run.trained"]["body"]["node"] == run["node"]
    assert lent.artifacts.get(entries["run.started"]["body"]["base_files"])  # every file of the base, by digest


def test_what_a_base_model_led_to_reaches_versions_and_reports(lent: Site) -> None:
    with lent.database.read() as db:
        base = store.versions(db, model_named(db, world.NAME).id)[0].base_model
    kinds = {n["kind"] for n in graph(lent, f"base_model:{base}", up=False, down=True)["nodes"]}
    assert kinds == {"base_model", "run", "version", "report"}


def test_a_row_that_was_changed_differs_from_what_the_ledger_has(lent: Site) -> None:
    with lent.database.write() as db:
        model = model_named(db, world.NAME)
        row = store.version(db, model.id, "v2", world.NAME)
        db.get_one(ModelVersion, row.id).adapter = "sha256:" + "0" * 64
        db.flush()
        nodes = graph_of(db, model).document["nodes"]
        db.rollback()
    found = {(n["kind"], n["name"]): n["standing"] for n in nodes}
    assert found["version", "v2"] == "differs"


def test_an_event_is_followed_to_all_that_was_made_of_it(http: Http) -> None:
    path = f"/api/v1/models/{world.NAME}/lineage/event"
    found = http.send("GET", path, params={"event_id": "e255"}).json()
    assert found["state"] == "stored"
    assert [d["role"] for d in found["datasets"]] == ["train"]
    assert [(v["version"], v["why"]) for v in found["versions"]] == [("v2", "was trained on it")]
    assert [r["roles"] for r in found["runs"]] == [["train"]]
    assert found["reports"][0]["why"][0] == "covers its time"
    # Nobody has to keep the id: the digest of an earlier answer finds the same.
    again = http.send("GET", path, params={"digest": found["digest"]}).json()
    assert (again["datasets"], again["versions"]) == (found["datasets"], found["versions"])
    nobody = http.send("GET", path, params={"event_id": "e9999"}).json()
    assert (nobody["state"], nobody["datasets"], nobody["versions"]) == ("unknown here", [], [])
    assert http.send("GET", path).status_code == 422
    assert http.send("GET", path, params={"digest": "xyz"}).json()["field"] == "digest"
    refused = http.send("GET", f"/api/v1/models/{world.NAME}/lineage", params={"of": "version:v9"})
    assert (refused.status_code, refused.json()["code"]) == (404, "node_not_found")


def test_a_set_of_an_earlier_release_is_asked_by_its_rows(lent: Site) -> None:
    with lent.database.write() as db:
        model = model_named(db, world.NAME)
        for row in store.datasets(db, model.id):
            row.provenance = {k: v for k, v in row.provenance.items() if k != "members"}
        db.flush()
        found = ended_up_in(lent, db, model, event_id="e255")
        db.rollback()
    assert [v["version"] for v in found["versions"]] == ["v2"]


def test_the_page_shows_nodes_sources_and_an_event(http: Http) -> None:
    shown = http.send("GET", f"/models/{world.NAME}/lineage", params={"event": "e255"})
    assert shown.status_code == 200
    assert "was trained on it" in shown.text
    assert "made by" in shown.text
    plain = re.sub(r"<[^>]*>", "", shown.text)
    assert re.search(r"made by run [0-9a-f]{8}\b(?!-)", plain)  # not all 36 characters of the id
    assert "base model base" not in plain.replace("_", " ")  # a role that says the kind is not followed by it
    part = http.send("GET", f"/models/{world.NAME}/lineage", params={"of": "version:v2", "direction": "sources"})
    assert part.status_code == 200
    assert "report " not in part.text.partition("What an event")[0].partition("<tbody>")[2]
    assert http.send("GET", f"/models/{world.NAME}/lineage", params={"of": "version:v9"}).status_code == 404
