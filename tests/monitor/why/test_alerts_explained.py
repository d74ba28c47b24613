"""From the first event to the page: what drove an alert is found once for each episode, shown, and erased."""

import json
import re
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import psutil
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.app import create_app
from api.processes.worker import drain
from governance import erasure
from governance.access.api_keys import create_key
from governance.access.roles import Role
from governance.ledger.read import ledger_entries
from monitor import service, store
from monitor.alerts.findings import findings
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.notify.announcement import Announcement
from monitor.notify.deliver import why_of
from monitor.notify.message import Known, compose
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, SpecRevision
from monitor.why.service import WhyProcessKilledError, explain_alert
from monitor.windows.evaluate import evaluate
from retrain.erasure.service import run
from tests.databases import SQLITE_FIRST, SQLITE_ONLY
from tests.monitor.confirm.test_evidence import visit

START = datetime(2026, 1, 1, tzinfo=UTC)
DOCUMENT: dict[str, Any] = {
    "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 1000"},
    "columns": {
        "channel": {"role": "segment", "type": "category"}, "amount": {"role": "input", "type": "number"},
        "text": {"role": "input", "type": "text"}, "since": {"role": "input", "type": "number"},
        "age": {"role": "protected", "type": "category"}, "who": {"role": "subject", "type": "string"},
        "answer": {"role": "prediction", "type": "category"}, "sure": {"role": "score", "type": "number"},
        "truth": {"role": "outcome", "type": "category"},
    },
    "monitors": {
        "drift": {"columns": ["channel", "amount", "text", "age"]},
        "windows": {"rows": 500}, "false_alarms": {"alpha": 0.02}, "kpi": [{"metric": "accuracy", "min": 0.8}],
        "fairness": [{"metric": "equalized_odds_difference", "by": ["age"], "max": 0.2}],
    },
}  # fmt: skip
KNOWN = ("card lost block please today", "what rate is used abroad", "top up has not arrived yet")
NEW = "crypto wallet staking rewards question"


def rows(first: int, count: int, *, new: float = 0.0, wrong: float = 0.05, young: float = 0.0) -> list[dict[str, Any]]:
    """`new`: share of new requests. `wrong`: share of wrong answers from the web, `young`: of those to the young."""
    rng = np.random.default_rng(first)
    found = []
    for i in range(first, first + count):
        words = (NEW if rng.random() < new else KNOWN[int(rng.integers(3))]).split()
        channel, age = str(rng.choice(["web", "app"])), str(rng.choice(["18-29", "30+"]))
        truth = str(rng.choice(["yes", "no"]))
        chance = max(wrong if channel == "web" else 0.05, young if (age, truth) == ("18-29", "yes") else 0.0)
        answer = truth if rng.random() >= chance else {"yes": "no", "no": "yes"}[truth]
        found.append({
            "event_id": f"e{i}", "ts": (START + timedelta(minutes=i)).isoformat(), "version": "v1", "channel": channel,
            "amount": round(float(rng.gamma(2, 400)), 2), "text": " ".join(rng.permutation(words)), "since": 10.0 * i,
            "age": age, "who": f"p{int(rng.integers(300))}", "answer": answer, "sure": float(rng.random()),
            "truth": truth,
        })  # fmt: skip
    return found


def send(site: Site, given: list[dict[str, Any]]) -> None:
    names = set(given[0]) - {"truth"}
    assert receive(site, "m", "events", _body(given, names)).accepted == len(given)
    assert receive(site, "m", "outcomes", _body(given, {"event_id", "truth"})).accepted == len(given)
    evaluate(site, "m")


def _body(given: list[dict[str, Any]], names: set[str]) -> Body:
    lines = [json.dumps({name: value for name, value in row.items() if name in names}) for row in given]
    return Body("\n".join(lines).encode(), NDJSON)


def declared(site: Site) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, parse_spec(DOCUMENT), "tester")
    send(site, rows(0, 1000))
    send(site, rows(1000, 500))


def alerts(site: Site) -> dict[str, Alert]:
    with site.database.read() as db:
        return {a.monitor: a for a in store.alerts(db, store.model(db, "m").id)}


def reader(site: Site, role: Role = Role.OPERATOR) -> TestClient:
    with site.database.write() as db:
        made = create_key(db, name=f"{role} {site.clock.now()}", role=role, actor="tester", now=site.clock.now())[1]
    return TestClient(create_app(site), headers={"Authorization": f"Bearer {made}"})


@SQLITE_FIRST
def test_a_drift_alert_says_in_which_words_and_rows_and_sets_clocks_and_scores_aside(site: Site) -> None:
    declared(site)
    assert alerts(site) == {}
    send(site, rows(1500, 500, new=0.3))
    alert = alerts(site)["drift"]
    client = reader(site)
    asked = client.get(f"/api/v1/alerts/{alert.id}/why").json()
    assert (asked["state"], asked["examples"]) == ("pending", None)
    drain(site, lanes=("explain",))
    found = client.get(f"/api/v1/alerts/{alert.id}/why").json()
    assert found["state"] == "found"
    assert found["sentence"].startswith("What changed most: `text` has more texts with `crypto` (30 %, before 0 %)")
    (driver,) = found["figures"]["drivers"]
    assert {w["word"] for w in driver["words"]} == set(NEW.split())
    assert {one["column"] for one in found["figures"]["set_aside"]} == {"answer", "sure", "since"}
    for row in found["examples"]:
        assert "crypto" in row["values"]["text"]
        assert {"age", "who"}.isdisjoint(row["values"])
    assert all(c["column"] == "text" for c in found["figures"]["clusters"])
    assert client.get(f"/api/v1/alerts/{alert.id}").json()["why"]["sentence"] == found["sentence"]
    assert reader(site, Role.VIEWER).get(f"/api/v1/alerts/{alert.id}/why").json()["examples"] is None
    page = visit(site, Role.ADMIN).get(f"/alerts/{alert.id}").text
    assert "<dt>Why</dt><dd>What changed most" in page
    assert found["examples"][0]["event_id"] in page
    assert found["examples"][0]["event_id"] not in visit(site, Role.VIEWER).get(f"/alerts/{alert.id}").text
    with site.database.read() as db:
        (entry,) = ledger_entries(db, ("alert.explained",), subject="model:m")
    assert entry["body"]["columns"] == ["text"]
    assert "crypto" not in json.dumps(entry)
    explain_alert(site, alert.id)  # a job that is run twice
    with site.database.read() as db:
        assert len(findings(db, [alert.id])[alert.id]) == 1


@SQLITE_FIRST
def test_a_kpi_and_a_fairness_alert_say_what_lost_cases_have_in_common(site: Site) -> None:
    declared(site)
    send(site, rows(1500, 500, wrong=0.5))
    send(site, rows(2000, 500, young=0.7))
    found = alerts(site)
    for monitor in ("kpi", "fairness"):
        explain_alert(site, found[monitor].id)
    with site.database.read() as db:
        told = {name: findings(db, [found[name].id])[found[name].id][0] for name in ("kpi", "fairness")}
    assert re.fullmatch(
        r"Most often wrong: channel = 'web': 4\d % wrong \(n = \d+, 95 % interval .*\) against .* elsewhere, large; .* "
        r"in the reference\.", told["kpi"].sentence,
    )  # fmt: skip
    assert (told["fairness"].state, told["fairness"].figures["leaves"]) == ("nothing", [])  # no input tells whom
    assert "(missed though 'yes') from others among age = '18-29' (7" in told["fairness"].sentence


@SQLITE_FIRST
def test_a_message_says_it_once_known_and_an_erasure_takes_what_it_quotes_and_looks_again(site: Site) -> None:
    declared(site)
    given = rows(1500, 500, new=0.3)
    send(site, given)
    alert = alerts(site)["drift"]
    item = Announcement(
        thread=f"incident:{alert.incident_id}", occasion="opened", severity=alert.severity, at=site.clock.now(),
        sentence=alert.sentence, model="m", alert_id=alert.id, window_id=alert.last_window_id, monitor="drift",
    )  # fmt: skip
    with site.database.read() as db:
        assert why_of(db, item) == ""
    explain_alert(site, alert.id)
    with site.database.read() as db:
        (before,) = findings(db, [alert.id])[alert.id]
        said = why_of(db, item)
    assert said == before.sentence
    message = compose(uuid4(), item.thread, [item], follows=False, base_url=None, known=Known(why=said))
    assert "What changed most: text has more texts with crypto" in message.text
    assert message.data["why"] == said.replace("`", "")
    ended = compose(uuid4(), item.thread, [item.model_copy(update={"occasion": "resolved"})], follows=True,
                    base_url=None, known=Known(why=said))  # fmt: skip
    assert "What changed most" not in ended.text

    quoted = before.examples[0]["event_id"]
    who = next(row["who"] for row in given if row["event_id"] == quoted)
    with site.database.write() as db:
        digest = site.events.subject_digest(who)
        asked = erasure.request(db, subject=digest, models=[], actor="dpo", now=site.clock.now()).id
    while run(site, asked) is not None:  # its jobs are not under way
        pass
    with site.database.read() as db:
        assert erasure.erasure(db, asked).state == "done"
        assert findings(db, [alert.id])[alert.id] == []
    drain(site, lanes=("explain",))
    with site.database.read() as db:
        (after,) = findings(db, [alert.id])[alert.id]
    assert after.id != before.id
    assert after.state == "found"
    assert quoted not in json.dumps(after.examples)


@SQLITE_FIRST
def test_a_look_that_fails_is_told_with_its_reason_and_not_tried_again(site: Site) -> None:
    declared(site)
    send(site, rows(1500, 500, new=0.3))
    alert = alerts(site)["drift"]
    with site.database.write() as db:
        db.execute(update(SpecRevision).values(document=DOCUMENT | {"baseline": {"dataset": "gone"}}))
    for _ in range(2):
        explain_alert(site, alert.id)
    client = reader(site)
    told = client.get(f"/api/v1/alerts/{alert.id}/why").json()
    assert told["state"] == "failed"
    assert told["sentence"].startswith("It could not be looked for: dataset 'gone' is not registered")
    assert visit(site, Role.ADMIN).get(f"/alerts/{alert.id}").status_code == 200
    assert client.get("/api/v1/alerts", params={"model": "m"}).json()["items"][0]["why"]["state"] == "failed"


@pytest.mark.slow
@SQLITE_ONLY
def test_a_process_that_is_killed_leaves_nothing_and_the_next_try_finds_it(site: Site) -> None:
    declared(site)
    send(site, rows(1500, 500, new=0.3))
    alert = alerts(site)["drift"]

    def kill() -> None:
        while True:
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if "monitor.why.look" in process.cmdline():
                        process.kill()
                        return

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(WhyProcessKilledError, match="killed by signal 9"):
        explain_alert(site, alert.id)
    killer.join()
    with site.database.read() as db:
        assert findings(db, [alert.id])[alert.id] == []
    assert not list((site.settings.home_dir / "runs").glob("explain-*"))
    explain_alert(site, alert.id)
    with site.database.read() as db:
        assert findings(db, [alert.id])[alert.id][0].state == "found"
