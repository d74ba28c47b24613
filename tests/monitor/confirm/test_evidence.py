"""Alarms on texts and vectors from the first event to the page: the kind of change, its words and its rows."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.http.auth import COOKIE
from api.processes.worker import drain
from governance.access.api_keys import create_key
from governance.access.roles import Caller, Role
from governance.access.sessions import open_session
from monitor import service, store
from monitor.alerts import examples
from monitor.confirm.confirm import confirm_alert
from monitor.confirm.evidence import evidence
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ReferenceProfile
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, Window
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST

KNOWN = {
    "card": "my card was lost or stolen please block this card now today",
    "rate": "what exchange rate is used when paying abroad with euros or dollars",
    "topup": "topping up by bank transfer has not arrived in the balance yet",
}
NEW = "crypto wallet staking rewards blockchain token bridge validator"
CENTRES = np.random.default_rng(3).normal(size=(4, 8)) * 4.0
DOCUMENT: dict[str, Any] = {
    "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 2000"},
    "columns": {
        "text": {"role": "input", "type": "text"}, "vec": {"role": "input", "type": "vector", "dimensions": 8},
        "who": {"role": "subject", "type": "string"}, "answer": {"role": "prediction", "type": "category"},
    },
    "monitors": {"windows": {"rows": 250}, "false_alarms": {"alpha": 0.02}},
}  # fmt: skip


def rows(count: int, *, start: int = 0, new: float = 0.0, surge: float = 0.0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(start)
    found = []
    for i in range(start, start + count):
        kind = int(rng.integers(3)) if rng.random() >= surge else 1
        words = list(KNOWN.values())[kind].split()
        if rng.random() < new:
            words, kind = NEW.split(), 3
        text = " ".join(rng.permutation(words)[:7])
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=i)
        vector = (CENTRES[kind] + rng.normal(size=8)).astype(np.float32).tolist()
        found.append({
            "event_id": f"e{i}", "ts": at.isoformat(), "version": "v", "text": text, "vec": vector,
            "who": f"p{i % 50}", "answer": "a",
        })  # fmt: skip
    return found


def send(site: Site, given: list[dict[str, Any]]) -> None:
    body = "\n".join(map(json.dumps, given)).encode()
    assert receive(site, "m", "events", Body(body, NDJSON)).accepted == len(given)
    evaluate(site, "m")


def declared(site: Site, **changes: Any) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, parse_spec(DOCUMENT | changes), "tester")


def newest(site: Site) -> tuple[Window, list[Alert]]:
    with site.database.read() as db:
        model = store.model(db, "m")
        return list(store.windows(db, model.id))[-1], list(store.alerts(db, model.id))


@SQLITE_FIRST
def test_a_new_kind_of_request_is_shown_with_its_rows_and_words_on_the_alert_and_its_page(site: Site) -> None:
    declared(site)
    send(site, rows(2000))
    send(site, rows(250, start=2000))
    quiet, none = newest(site)
    assert (quiet.verdict, none) == ("ok", [])
    send(site, rows(250, start=2250, new=0.3))
    window, (alert,) = newest(site)
    assert window.verdict == "alarm"
    told = {c["column"]: c["meaning"] for c in window.decision["columns"] if c["alarmed"]}
    assert told["text.oov"] == "new vocabulary or typos"
    assert told["text.distance"] == told["vec.distance"] == "new kind of request"
    assert "new kind of request" in alert.sentence
    assert not any(word in json.dumps(window.decision) + alert.sentence for word in NEW.split())

    confirm_alert(site, alert.id)
    _, (alert,) = newest(site)
    assert alert.confirmation is not None, alert.confirmation_error
    said = {w["word"]: w["share"] for w in alert.confirmation["new_words"]["text"]}
    assert set(said) <= set(NEW.split())
    assert len(said) >= 6
    assert all(0.1 < share < 0.4 for share in said.values())
    of = {part["column"]: part for part in examples.examples(site, alert, "m")}
    assert {"crypto", "wallet"} & set(of["text"]["farthest"][0]["value"].split())
    assert len({row["value"] for row in of["text"]["farthest"]}) == len(of["text"]["farthest"]) == 10
    assert len(of["vec"]["farthest"][0]["value"]) == 8
    assert {s["method"] for s in alert.confirmation["statistics"] if s["value"] is not None} >= {"frechet", "mmd"}

    client = TestClient(create_app(site))
    found = client.get(f"/api/v1/alerts/{alert.id}/examples", headers=key(site, Role.OPERATOR))
    assert found.status_code == 200, found.text
    assert [part["column"] for part in found.json()] == ["text", "vec"]
    assert client.get(f"/api/v1/alerts/{alert.id}/examples", headers=key(site, Role.VIEWER)).status_code == 403
    for role, seen in ((Role.ADMIN, True), (Role.VIEWER, False)):
        page = visit(site, role).get(f"/alerts/{alert.id}").text
        assert "crypto" in page  # many people use it
        assert ("farthest from the reference" in page) == seen
        assert (of["text"]["farthest"][0]["event_id"] in page) == seen


@SQLITE_FIRST
def test_another_episode_has_its_own_words_and_is_confirmed_on_its_own_rows(site: Site) -> None:
    declared(site)
    send(site, rows(2000))
    send(site, rows(250, start=2000, surge=0.9))
    _, (alert,) = newest(site)
    assert "new vocabulary" not in alert.sentence
    first = alert.sentence
    drain(site)
    send(site, rows(250, start=2250))
    send(site, rows(250, start=2500, new=0.3))
    _, (alert,) = newest(site)
    assert len(alert.episodes) == 2
    assert "new vocabulary" in alert.sentence
    assert [e["sentence"] for e in alert.episodes] == [first, alert.sentence]
    assert alert.confirmation is None
    (earlier,) = alert.confirmed_before
    drain(site)
    window, (alert,) = newest(site)
    assert alert.confirmation is not None
    assert alert.confirmation["window_id"] == str(window.id)
    assert {w["word"] for w in alert.confirmation["new_words"]["text"]} <= set(NEW.split())
    client, reader = TestClient(create_app(site)), key(site, Role.OPERATOR)
    path = f"/api/v1/alerts/{alert.id}/confirmation"
    old, new = (client.get(path, headers=reader, params=p) for p in ({"window": earlier["window_id"]}, {}))
    assert old.status_code == new.status_code == 200
    assert old.content != new.content
    page = visit(site, Role.ADMIN).get(f"/alerts/{alert.id}").text
    assert f"?window={earlier['window_id']}" in page
    lead = page[page.index('class="lead"') :].partition("</dl>")[0]
    assert "new vocabulary" in lead
    assert window.from_ts.strftime("%Y-%m-%d %H:%M") in lead


def visit(site: Site, role: Role) -> TestClient:
    with site.database.write() as db:
        row, _ = create_key(db, name=f"page {role}", role=role, actor="tester", now=site.clock.now())
        caller = Caller(row.name, role, row.prefix)
        value = open_session(db, caller, site.keys.session, site.clock.now(), timedelta(hours=1), "key")
    return TestClient(create_app(site), cookies={COOKIE: value})


def key(site: Site, role: Role) -> dict[str, str]:
    with site.database.write() as db:
        made = create_key(db, name=role, role=role, actor="tester", now=site.clock.now())[1]
    return {"Authorization": f"Bearer {made}"}


@SQLITE_FIRST
def test_a_changed_mix_is_described_by_clusters_and_the_words_that_many_share(site: Site) -> None:
    columns = {name: c for name, c in DOCUMENT["columns"].items() if name != "vec"}
    declared(site, columns=columns)
    strip = ("vec",)
    send(site, [{k: v for k, v in row.items() if k not in strip} for row in rows(2000)])
    send(site, [{k: v for k, v in row.items() if k not in strip} for row in rows(250, start=2000, surge=0.6)])
    window, (alert,) = newest(site)
    (mix,) = [c for c in window.decision["columns"] if c["column"] == "text.cluster"]
    assert (mix["meaning"], mix["alarmed"]) == ("mix of known requests changed", True)
    grown = [c for c in mix["clusters"] if c["current"] > c["reference"]]
    assert grown
    assert all(set(c["words"]) <= set(KNOWN["rate"].split()) for c in grown)
    assert any(word in alert.sentence for c in grown for word in c["words"])


def test_the_evidence_of_a_sample_names_no_row_twice_and_words_one_person_uses_are_not_shared() -> None:
    known = pl.DataFrame(rows(600))
    baseline = fit_reference(known, {"text": "text"}, blocks=6)
    again = ReferenceProfile.from_bytes(baseline.to_bytes())
    assert again.coding.words == baseline.coding.words
    assert any(baseline.coding.words["text"])
    window = pl.DataFrame(rows(60, start=600)).with_columns(
        text=pl.when(pl.int_range(60) < 20).then(pl.format("{} kowalski", "text")).otherwise("text"),
        who=pl.when(pl.int_range(60) < 20).then(pl.lit("one")).otherwise("who"),
    )
    (found,) = evidence(baseline, window, person="who")
    assert [(w.word, w.rows, w.shared) for w in found.new_words] == [("kowalski", 20, False)]
    assert found.new_words[0].share == pytest.approx(20 / 60)
    (alone,) = evidence(baseline, window)
    assert alone.new_words[0].shared
    (none,) = evidence(baseline, window.with_columns(text=pl.lit(None, dtype=pl.String)))
    assert (none.rows, none.new_words, none.farthest) == (0, (), ())
