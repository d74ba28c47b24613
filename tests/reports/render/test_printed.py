"""The figures of a report are held against the ledger by whoever has nothing but its bundle."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

from core.canonical import canonical
from governance.verify.bundle import verify_bundle_bytes
from governance.verify.manifest import ENTRIES
from governance.verify.printed import ROWS, Printed, hold_printed
from monitor.site import Site
from reports import service
from tests.databases import SQLITE_ONLY
from tests.reports.story import tell
from tests.reports.story_teller import END, START

pytestmark = SQLITE_ONLY


def members(site: Site) -> dict[str, bytes]:
    with site.database.write() as db:
        tell(site, db)
    with site.database.write() as db:
        row = service.request(site, db, "support-intents", "audit", START, END, [], "a.lindqvist")
    files = service.build(site, row.id).files or {}
    data = site.artifacts.get(files["zip"])
    verdict = verify_bundle_bytes(data, [site.keys.vkey])
    assert (verdict.findings, "are as the ledger bound them" in verdict.facts.printed) == ((), True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def altered(report: dict[str, Any], part: str, name: str, value: Any) -> None:
    report[part][0][name] = value


FORGED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "value": (lambda r: altered(r, "kpi", "value", 0.97), "report.json kpi[0]: report.line; expected value 0.90"),
    "alarm": (lambda r: altered(r, "fairness", "alarm", True), "fairness[0]: report.line; expected alarm false"),
    "decision": (lambda r: altered(r, "decisions", "fired", True), "decisions[0]: report.line; expected fired false"),
    "verdict": (lambda r: altered(r, "windows", "verdict", "alarm"), "windows[0]: report.line; expected verdict"),
    "added": (lambda r: r["decisions"].append({"id": "none"}), "decisions[2]: report.unbound"),
    "class": (lambda r: altered(r, "fairness", "positive", "no"), "fairness[0]: report.line; expected positive"),
    "rate": (lambda r: altered(r, "groups", "value", 0.5), "report.json groups[0]: report.line; expected 18-34 value"),
    "size": (lambda r: altered(r, "groups", "n", 7), "report.json groups[0]: report.line; expected 18-34 n 231"),
    "group": (lambda r: altered(r, "groups", "group", "x"), "report.json groups[0]: report.line; expected x n null"),
    "other": (lambda r: altered(r, "kpi", "segment", "x"), "kpi[0]: report.unbound"),
}


def test_a_figure_that_is_not_the_bound_one_is_named(site: Site) -> None:
    files = members(site)
    entries = files[ENTRIES].splitlines()

    def held(report: dict[str, Any], leaves: bytes = files[ROWS]) -> Printed:
        return hold_printed(json.loads(canonical(report)), files | {ROWS: leaves}, entries)

    whole = held(json.loads(files["report.json"]))
    assert (whole.findings, whole.held > 50) == ([], True)
    for name, (forge, words) in FORGED.items():
        report = json.loads(files["report.json"])
        forge(report)
        assert any(words in str(finding) for finding in held(report).findings), (name, held(report).findings)
    report = json.loads(files["report.json"])
    leaves = files[ROWS].replace(rb"\"fired\":false", rb"\"fired\":true")
    assert held(report, leaves).findings[0].what == "rows.leaves"
    assert b"answers the new requests" not in files[ROWS]  # a note of a person
