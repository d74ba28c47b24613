"""Searching and looking up events on pages and over HTTP: who may see what, hostile texts, saved views, bad input."""

import csv
import io
import json
import re
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from core.clock import ManualClock
from governance.access.api_keys import create_key
from governance.access.roles import Role
from governance.ledger.read import ledger_rows
from monitor import service
from monitor.site import Site
from monitor.spec.parse import parse_spec
from tests.databases import SQLITE_FIRST
from tests.monitor import traffic

pytestmark = SQLITE_FIRST
HTML = {"Accept": "text/html"}
HOSTILE = "<script>alert(1)</script> =1+1"
SPEC = parse_spec(
    traffic.document(
        columns={**traffic.document()["columns"], "the note": {"role": "input", "type": "text"}},
        redact={"the note": ["email"]},
    )
)


class People:
    def __init__(self, site: Site) -> None:
        self.app, self.site = create_app(site), site
        with site.database.write() as db:
            service.apply_spec(site, db, SPEC, "tester")
            service.apply_spec(site, db, traffic.spec(model="other"), "tester")
        self.keys: dict[str, str] = {}

    def of(self, role: Role, models: list[str] | None = None) -> TestClient:
        name = f"{role.value} {models}"
        if name not in self.keys:
            with self.site.database.write() as db:
                _, self.keys[name] = create_key(
                    db, name=name, role=role, models=models, actor="t", now=self.site.clock.now()
                )
        return TestClient(self.app, headers={"Authorization": f"Bearer {self.keys[name]}"} | HTML, base_url="http://t")


@pytest.fixture
def people(site: Site, clock: ManualClock) -> People:
    clock.move_to(traffic.BEGIN.replace(day=10))
    made = People(site)
    frame = traffic.rows(60).with_columns(
        pl.col("ts").str.to_datetime(time_zone="UTC"),
        pl.when(pl.int_range(pl.len()) == 59).then(pl.lit(HOSTILE)).otherwise(pl.lit("-plain")).alias("the note"),
    )
    site.events.append_events(SPEC, frame.drop("truth"), now=clock.now())
    site.events.append_outcomes(SPEC, frame.select("event_id", "truth")[:50], now=clock.now())
    return made


def test_the_explorer_filters_shows_hostile_texts_as_texts_and_hides_protected_columns(people: People) -> None:
    operator, officer = people.of(Role.OPERATOR), people.of(Role.COMPLIANCE)
    first = operator.get("/models/loans/events").text
    assert "50 events, the newest first; more follow" in first
    assert "&lt;script&gt;alert(1)" in first
    assert "<script>alert" not in first
    assert '<th scope="col">age_band' not in first
    added = operator.post(
        "/models/loans/events/filter", data={"column": "the note", "operator": "", "value": "SCRIPT", "outcome": ""},
        headers={"Origin": "http://t"}, follow_redirects=False,
    )  # fmt: skip
    assert added.headers["location"] == "/models/loans/events?where=the+note%3Acontains%3ASCRIPT"
    assert "1 event that fits the filter" in operator.get(added.headers["location"]).text
    assert "10 events that fit" in operator.get("/models/loans/events?outcome=unknown").text
    named = operator.post(
        "/models/loans/events/filter", follow_redirects=False,
        data={"query": "where=amount:present&sort=oldest", "column": "customer", "value": "c5", "columns": "amount"},
    )  # fmt: skip
    assert re.fullmatch(
        r"/models/loans/events\?where=amount%3Apresent&where=customer%3Aeq%3A[0-9a-f]{64}&columns=amount&sort=oldest",
        named.headers["location"],
    )
    refused = operator.get("/models/loans/events?where=age_band:eq:30%2B")
    assert (refused.status_code, "protected.read" in refused.text) == (403, True)
    left_out = operator.get("/models/loans/events?columns=age_band,amount").text
    assert "Not shown, because they are protected" in left_out
    before = len(_reads(people.site))
    assert "18-29" in officer.get("/models/loans/events?columns=age_band&where=age_band:eq:18-29").text
    assert [r["body"]["through"] for r in _reads(people.site)[before:]] == ["search"]


def _reads(site: Site) -> list[dict[str, Any]]:
    with site.database.read() as db:
        return [json.loads(row.entry) for row in ledger_rows(db, kind="protected.read", limit=1000)]


BAD = (
    ("where=nothing:eq:1", 422, "it has age_band, amount"), ("where=amount:ge:x", 422, "no finite number"),
    ("where=the+note:matches:(", 422, "no regular expression"), ("from=2026-01-02&to=2026-01-01", 422, "to"),
    ("from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", 422, "to"), ("from=0001-01-01", 200, "50 events"),
    ("to=0001-01-01", 200, "No event fits"), ("columns=nothing", 422, "does not have"),
    ("cursor=1", 422, "page before"),
    ("outcome=maybe", 422, "known or unknown"), ("from=yesterday", 422, "yesterday"), ("sort=up", 422, "newest"),
    ("cursor=99999999999999999:1", 200, "50 events"),
)  # fmt: skip


def test_bad_input_is_refused_in_words_and_empty_periods_are_empty(people: People) -> None:
    operator = people.of(Role.OPERATOR)
    for query, status, says in BAD:
        answer = operator.get(f"/models/loans/events?{query}")
        assert (query, answer.status_code, says in answer.text) == (query, status, True)


def test_exports_hold_the_filtered_rows_and_no_cell_begins_as_a_formula(people: People) -> None:
    operator = people.of(Role.OPERATOR)
    address = "/api/v1/models/loans/events?format=csv&where=" + quote("amount:gt:0") + "&answer=right"
    answer = operator.get(address)
    assert answer.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    rows = traffic.rows(60)[:50].filter(pl.col("amount") > 0, pl.col("decision") == pl.col("truth"))
    assert [line["event_id"] for line in lines] == rows["event_id"].to_list()
    assert {line["the note"] for line in lines} == {"'-plain"}
    assert "age_band" not in lines[0]
    refused = operator.get("/api/v1/models/loans/events?where=nothing:eq:1", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json()["columns"][0]) == (422, "age_band")
    assert operator.get("/api/v1/models/loans/events?kind=outcomes&outcome=known").status_code == 422


def test_views_are_kept_by_their_owner_and_texts_in_them_as_they_are_stored(people: People) -> None:
    operator, validator = people.of(Role.OPERATOR), people.of(Role.VALIDATOR)
    kept = operator.post(
        "/models/loans/events/views",
        data={"name": "mine", "query": "where=" + quote("the note:contains:anna@example.com")},
        headers={"Origin": "http://t"}, follow_redirects=False,
    )  # fmt: skip
    assert kept.status_code == 303, kept.text
    assert "anna" not in kept.headers["location"]
    assert ">mine</a>" in operator.get("/models/loans/events").text
    assert ">mine</a>" not in validator.get("/models/loans/events").text
    operator.post("/models/loans/events/views", data={"name": "all", "query": "", "shared": "yes"})
    shown = validator.get("/models/loans/events").text
    assert ">all</a>" in shown
    view = operator.get("/models/loans/events").text.split("/events/views/")[2].split("/")[0]
    assert {validator.post(f"/models/loans/events/views/{view}/remove").status_code} <= {403, 404}
    assert operator.post("/models/loans/events/views", data={"name": " ", "query": ""}).status_code == 422
    for query in ("where=no:eq:1", "columns=no", "sort=up"):
        assert operator.post("/models/loans/events/views", data={"name": "x", "query": query}).status_code == 422


def test_a_decision_is_looked_up_by_id_and_by_person_within_the_callers_models(people: People) -> None:
    operator, other = people.of(Role.OPERATOR), people.of(Role.OPERATOR, ["other"])
    assert "1 decision has the id e7" in operator.get("/decisions?event_id=e7").text
    assert "No event with the id e7 is stored in the model searched" in other.get("/decisions?event_id=e7").text
    assert other.get("/decisions?event_id=e7&model=loans").status_code == 404
    assert "loans" not in other.get("/events").text
    sent = operator.post("/decisions", data={"subject": "c5"}, follow_redirects=False)
    assert re.fullmatch(r"/decisions\?subject=[0-9a-f]{64}", sent.headers["location"])
    found = operator.get(sent.headers["location"]).text
    assert "1 decision is about this person" in found
    assert ">e5</a>" in found
    assert operator.get("/decisions?subject=c5").status_code == 422
    assert people.of(Role.VIEWER).get("/decisions?event_id=e7").status_code == 403


def test_the_page_of_a_decision_says_what_turned_out_where_it_was_used_and_what_is_like_it(people: People) -> None:
    operator, spec = people.of(Role.OPERATOR), SPEC
    correction = pl.DataFrame({"event_id": ["e7"], "truth": ["maybe"]})
    people.site.events.append_outcomes(spec, correction, now=people.site.clock.now())
    shown = operator.get("/models/loans/event?event_id=e7").text
    assert "It turned out maybe, not as answered." in shown
    assert "Reported 2 times; the newest value of each column counts." in shown
    assert "In no window, dataset or report yet." in shown
    assert "event_id=e7&amp;similar=1#similar" in shown
    alike = operator.get("/models/loans/event?event_id=e7&similar=1").text
    assert "The 10 most similar of 59 events that arrived around it, by amount, region, the note." in alike
    assert "What turned out is not known." in operator.get("/models/loans/event?event_id=e59").text
