"""Was it fair over this quarter, for whom, how sure: one answer from stored counts, on page, route, CSV, in print."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.app import create_app
from core.canonical import canonical
from core.clock import ManualClock
from governance.access.api_keys import create_key
from governance.access.roles import Role
from governance.ledger.read import ledger_entries
from governance.verify.bundle import verify_bundle_bytes
from governance.verify.fair import RATES
from governance.verify.manifest import ENTRIES
from governance.verify.printed import hold_printed
from monitor.fairness.rates import OF_CLASSES
from monitor.site import Site
from monitor.tables import FairnessCounts
from reports import service
from tests.databases import SQLITE_FIRST, SQLITE_ONLY
from tests.reports.officer import BEGIN, COLUMNS, END, tell

PERIOD = "from=2026-07-01&to=2026-09-30"
ROUTE = f"/api/v1/models/credit/fairness?{PERIOD}"


def client(site: Site, role: Role = Role.ADMIN) -> TestClient:
    with site.database.write() as db:
        _, key = create_key(db, name=role.value, role=role, actor="t", owner="V", now=site.clock.now())
    return TestClient(create_app(site), headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
def after(clock: ManualClock) -> None:
    clock.move_to(END + timedelta(days=1))


@SQLITE_FIRST
def test_the_answer_names_groups_with_rows_and_intervals_and_says_what_is_missing(site: Site, after: None) -> None:
    made = tell(site)
    http = client(site)
    found = http.get(ROUTE).json()
    assert (found["answer"], found["positive"], found["assumed"]) == ("not fair", "approved", False)
    assert (found["rows"], found["labelled"], found["windows"]) == (1800, 1350, 6)
    assert "selection rate 0.100 in A (n = 900) and 0.227 in B (n = 792)" in found["sentence"]
    by_hand = {
        (sex, n, sum(row["decision"] == "approved" for row in made if row["sex"] == sex))
        for sex, n in (("A", 900), ("B", 792), ("C", 18), (None, 90))
    }
    groups = {g["group"]: g for g in found["groups"] if g["by"] == "sex"}
    rates = {name: {r["rate"]: r for r in g["rates"]} for name, g in groups.items()}
    said = {(None if g == "(missing)" else g, r["selection_rate"]["n"], r["selection_rate"]["hits"])
            for g, r in rates.items()}  # fmt: skip
    assert said == by_hand
    small = rates["C"]["selection_rate"]
    assert groups["C"]["small"]
    assert small["low"] < small["value"] < small["high"]
    assert abs(small["shrunk"] - 0.2) < abs(small["value"] - 0.2)
    ratio = next(d for d in found["disparities"] if d["metric"] == "demographic_parity_ratio" and d["declared"])
    assert [g["group"] for g in ratio["groups"]] == ["A", "B"]
    assert (ratio["verdict"], ratio["limit"], ratio["limit_word"], ratio["reference_line"]) == (
        "beyond",
        0.8,
        "min",
        0.8,
    )
    assert ratio["low"] < ratio["value"] < ratio["high"] < 0.8
    assert ratio["possible_low"] < ratio["value"] < ratio["possible_high"]  # whichever group the 90 belong to
    assert len(ratio["history"]) == 6
    missing = {m["what"]: m["count"] for m in found["not_measured"]}
    assert (missing["rows of unknown `sex`"], missing["rows without an outcome"]) == (90, 450)
    assert not [text for text in json.dumps(found).split('"') if text in ("pass", "passed")]
    [table] = [t for t in found["impact"] if t["by"] == "sex"]
    assert table["unknown"] == 90
    assert {one["group"]: one["impact_ratio"] for one in table["lines"]}["B"] == 1.0  # C is under 2 % of the rows
    page = http.get(f"/models/credit/fairness?{PERIOD}", headers={"Accept": "text/html"}).text
    for words in ("Not fair from", "selection rate 0.100 in A", "under the minimum", "no verdict", "Impact ratios"):
        assert words in page
    assert "/fairness" in http.get("/models/credit", headers={"Accept": "text/html"}).text
    lines = list(csv.DictReader(io.StringIO(http.get(f"{ROUTE}&format=csv").text)))
    assert {line["line"] for line in lines} == {"answer", "disparity", "rate", "impact_ratio", "not_measured"}
    one = next(line for line in lines if (line["by"], line["group"], line["name"]) == ("sex", "A", "selection_rate"))
    assert (one["hits"], one["n"]) == ("90", "900")
    other = http.get(f"{ROUTE}&positive=refused&by=sex&metric=demographic_parity_ratio").json()
    assert [(d["positive"], round(d["value"], 3)) for d in other["disparities"]] == [("refused", 0.859)]


WRONG = {
    "from=yesterday": ("from", "2026-07-01"),
    "to=2026-06-01T00:00:00": ("to", "zone"),
    "from=2026-09-01&to=2026-07-01": ("from", "swap"),
    "by=colour": ("by", "sex, age"),
    "by=sex,sex": ("by", "once"),
    "by=income": ("by", "sex, age"),
    "depth=3": ("depth", "1 to 2"),
    "positive=yes": ("positive", "'approved', 'refused'"),
    "metric=fairness": ("metric", "demographic_parity_ratio"),
}


@SQLITE_ONLY
def test_a_wrong_question_is_answered_with_field_value_and_fix(site: Site, after: None) -> None:
    tell(site, 900)
    http = client(site)
    for query, (field, fix) in WRONG.items():
        told = http.get(f"/api/v1/models/credit/fairness?{query}")
        assert (told.status_code, told.json().get("field")) == (422, field), (query, told.text)
        assert fix in told.json()["detail"], (query, told.text)
    assert http.get("/api/v1/models/nobody/fairness").status_code == 404
    empty = http.get("/api/v1/models/credit/fairness?from=2020-01-01&to=2020-03-31").json()
    assert (empty["answer"], empty["rows"], empty["groups"]) == ("cannot say", 0, [])
    assert "no window lies in the period" in empty["sentence"]
    assert empty["positive"] == "approved"  # declared, though nothing was counted


@SQLITE_ONLY
def test_values_of_people_that_form_no_groups_are_for_whoever_may_read_them(site: Site, after: None) -> None:
    age = {"role": "protected", "type": "number"}
    tell(site, 900, columns=COLUMNS | {"age": age})
    told = client(site, Role.VIEWER).get(ROUTE)
    assert told.headers["X-Assay-Withheld"] == "age"
    assert {g["by"] for g in told.json()["groups"]} == {"sex"}
    assert told.json()["withheld"] == ["age"]
    with site.database.write() as db:
        row = service.request(site, db, "credit", "audit", BEGIN, END, [], "ann")
    data = site.artifacts.get((service.build(site, row.id).files or {})["zip"])
    assert verify_bundle_bytes(data, [site.keys.vkey]).findings == ()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert not [name for name in archive.namelist() if name.startswith("fairness/")]  # they hold ages of people
        assert {g["by"] for g in json.loads(archive.read("report.json"))["fair"]["groups"]} == {"sex"}
    whole = client(site).get(ROUTE)
    assert "age" in {g["by"] for g in whole.json()["groups"]}
    with site.database.read() as db:
        assert [e["body"]["columns"] for e in ledger_entries(db, ("protected.read",))] == [["age"]]


def _rate(report: dict[str, Any], name: str, value: Any) -> None:
    report["fair"]["groups"][0]["rates"][0][name] = value


FORGED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "rate": (lambda r: _rate(r, "value", 0.3), "selection_rate: report.line; expected value"),
    "hits": (lambda r: _rate(r, "hits", 7), "selection_rate: report.line; expected hits"),
    "interval": (lambda r: _rate(r, "high", 0.99), "selection_rate: report.line; expected high"),
    "hidden group": (lambda r: r["fair"]["groups"].pop(0), "fair: report.line; expected group A of sex"),
    "rows": (lambda r: r["fair"].update(rows=1), "fair: report.line; expected rows 1800"),
    "named group": (
        lambda r: r["fair"]["disparities"][0]["groups"][0].update(value=0.2),
        "disparities[0]: report.line",
    ),
    "disparity": (lambda r: r["fair"]["disparities"][0].update(value=0.9), "disparities[0]: report.line"),
    "impact": (lambda r: r["fair"]["impact"][0]["lines"][0].update(impact_ratio=0.9), "impact[0]: report.line"),
    "window": (lambda r: r["fair"]["counted"].pop(), "report.line"),
}


def test_the_verifier_computes_every_share_that_the_catalogue_has() -> None:
    assert {rate.name for rate in OF_CLASSES} == {*RATES}


@SQLITE_ONLY
def test_the_report_prints_the_answer_and_its_bundle_proves_every_figure(site: Site, after: None) -> None:
    tell(site)
    with site.database.write() as db:
        row = service.request(site, db, "credit", "audit", BEGIN, END, [], "ann")
    data = site.artifacts.get((service.build(site, row.id).files or {})["zip"])
    assert verify_bundle_bytes(data, [site.keys.vkey]).findings == ()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    report, entries = json.loads(files["report.json"]), files[ENTRIES].splitlines()
    assert report["fair"]["answer"] == "not fair"
    for name, (forge, words) in FORGED.items():
        forged = json.loads(files["report.json"])
        forge(forged)
        found = hold_printed(json.loads(canonical(forged)), files, entries).findings
        assert any(words in str(one) for one in found), (name, found)
    member = next(name for name in files if name.startswith("fairness/"))
    changed = files | {member: files[member][:-1] + b"\0"}
    assert any(member in str(one) for one in hold_printed(report, changed, entries).findings)


@SQLITE_ONLY
def test_nothing_is_answered_from_counts_that_were_changed_outside(site: Site, after: None) -> None:
    tell(site, 900)
    with site.database.engine.begin() as connection:
        connection.execute(update(FairnessCounts).values(rows=1))
    found = client(site).get(ROUTE).json()
    assert found["answer"] == "cannot say"
    assert "outside Assay" in found["sentence"]
