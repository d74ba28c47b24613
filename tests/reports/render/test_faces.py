"""One document, many faces: the same figures in each, none runs what users wrote, only the PDF may be lacking."""

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdf
import pytest
import typst

from core.canonical import sha256
from governance.verify.bundle import verify_bundle_bytes
from monitor.site import Site
from monitor.tables import SpecRevision
from reports import service
from reports.document import AuditReport
from reports.errors import ReportCompleteError, UnknownTableError
from reports.render.csv_face import csv_bytes, one_table
from reports.render.flat import flat_tables
from reports.render.headings import HEADINGS
from reports.render.html import html_bytes, rounded
from tests.conftest import absent
from tests.databases import SQLITE_ONLY
from tests.reports.story import Story, tell
from tests.reports.story_teller import END, START

pytestmark = SQLITE_ONLY
HOSTILE = '=1+1 <script>alert(1)</script> #import "x.typ" $ x `raw` </style> \u202egnp.exe {{ 7*7 }}'


@pytest.fixture
def built(site: Site) -> dict[str, bytes]:
    """The faces of the story, whose purpose is hostile."""
    with site.database.write() as db:
        story = tell(site, db)
    _purpose(site, story, HOSTILE)
    row = _asked(site)
    files = service.build(site, row).files or {}
    return {face: site.artifacts.get(files[face]) for face in ("json", "pdf", "html", "csv", "zip")}


def _purpose(site: Site, story: Story, text: str) -> None:
    with site.database.write() as db:
        spec = db.query(SpecRevision).filter_by(model_id=story.model_id, revision=2).one()
        spec.document = {**spec.document, "purpose": text}


def _asked(site: Site) -> Any:
    with site.database.write() as db:
        return service.request(site, db, "support-intents", "audit", START, END, [], "a.lindqvist").id


def test_each_face_shows_hostile_text_and_runs_none_of_it(site: Site, built: dict[str, bytes]) -> None:
    html = built["html"].decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert re.search(r"<script|<link|<iframe|javascript:|https?://[^<]*\.(js|css)|\son\w+=", html) is None
    assert "[U+202E]gnp.exe" in html
    assert "{{ 7*7 }}" in html
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()}'" in html
    cells = [cell for row in csv.reader(io.StringIO(built["csv"].decode(), newline="")) for cell in row]
    assert f"'{HOSTILE}" in cells
    numbers = [cell for cell in cells if re.fullmatch(r"-\d+(\.\d+)?(e-?\d+)?", cell)]
    assert numbers, "a negative number stays one"
    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r") and cell not in numbers]
    document = AuditReport.model_validate_json(built["json"])
    data = document.model_dump(mode="json")
    assert csv_bytes(data) == built["csv"]
    with zipfile.ZipFile(io.BytesIO(built["zip"])) as archive:
        names = set(archive.namelist())
        charts = {n.removeprefix("charts/"): archive.read(n).decode() for n in names if n.startswith("charts/")}
        assert {archive.read(f"report.{face}") for face in ("html", "csv")} == {built["html"], built["csv"]}
    assert html_bytes(data, sha256(built["json"]), charts) == built["html"]
    assert {table.part for table in flat_tables(data)} <= set(HEADINGS), "each list has a heading that people read"
    assert "<dt>Who approved</dt>" in html
    assert "<code>transfer</code>" in html.partition("<nav")[0], "names between backticks are set as code"
    assert verify_bundle_bytes(built["zip"], [site.keys.vkey]).ok
    windows = list(csv.reader(io.StringIO(one_table(built["csv"], "windows").decode(), newline="")))
    assert (windows[0][0], len(windows)) == ("id", len(document.windows) + 1)
    with pytest.raises(UnknownTableError, match="windows"):
        one_table(built["csv"], "no such")


def test_the_text_of_the_pdf_has_the_figures_of_the_json(built: dict[str, bytes], tmp_path: Path) -> None:
    pdftotext = shutil.which("pdftotext")
    if pdftotext is None:
        absent("pdftotext", "poppler-utils")
    (tmp_path / "report.pdf").write_bytes(built["pdf"])
    command = [str(pdftotext), "-layout", "report.pdf", "-"]
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout.decode().replace("\u200b", "")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    document = json.loads(built["json"])
    for m in [m for m in (*document["kpi"], *document["fairness"]) if not m["segment"] and m["value"] is not None]:
        row = " ".join([_time(m["end"]), *(rounded(m[name]) for name in ("value", "low", "high")), f"{m['n']:,}"])
        assert any(line.startswith(row) for line in lines), row
    for w in document["windows"]:
        row = f"{w['scale']} {_time(w['start'])} {_time(w['end'])} {w['rows']:,} {100 * w['coverage']:.1f}"
        assert any(line.startswith(row) for line in lines), row
    told = {shown for value in _numbers(document) for shown in (rounded(value), f"{value:.3f}", f"{100 * value:.1f}")}
    tables = text.split("Plan against execution", 1)[
        1
    ]  # before it stands the chart, whose axes have figures of their own
    said = set(re.findall(r"(?<![\w.:,-])\d[\d,]*\.\d{3}(?![\w.]|,\d)", tables))
    assert len(said) > 100
    assert said <= told, said - told


@pytest.mark.slow
def test_a_validator_takes_the_pdf_for_the_archive_and_for_screen_readers(
    built: dict[str, bytes], tmp_path: Path
) -> None:
    """By veraPDF where it is installed, else by pdf-oxide 0.3.78: `pip install pdf-oxide==0.3.78`."""
    path = tmp_path / "report.pdf"
    path.write_bytes(built["pdf"])
    reader = pypdf.PdfReader(path)
    assert b"<pdfaid:conformance>A</pdfaid:conformance>" in built["pdf"]
    assert b"<pdfuaid:part>1</pdfuaid:part>" in built["pdf"]
    root: Any = reader.trailer["/Root"]
    assert (root["/MarkInfo"]["/Marked"], root["/Lang"], "/StructTreeRoot" in root) == (True, "en", True)
    verapdf = shutil.which("verapdf")
    if verapdf is not None:
        for flavour in ("2a", "ua1"):
            command = [verapdf, "--flavour", flavour, "--format", "text", str(path)]
            assert subprocess.run(command, capture_output=True, check=False).stdout.startswith(b"PASS")
        return
    pdf_oxide = pytest.importorskip("pdf_oxide", reason="neither veraPDF nor pdf-oxide is installed")
    document = pdf_oxide.PdfDocument(str(path))
    for found in (document.validate_pdf_a("2a"), document.validate_pdf_ua()):
        assert (found["valid"], found["errors"]) == (True, [])


def _time(text: str) -> str:
    return f"{text[:10]} {text[11:16]}"


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
    elif isinstance(value, str):
        yield from map(float, re.findall(r"(?<![\w.])\d+\.\d+", value))


def test_a_report_whose_pdf_fails_has_its_other_faces_and_is_typeset_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.database.write() as db:
        tell(site, db)
    report = _asked(site)

    def refuse(*_: object, **__: object) -> bytes:
        raise RuntimeError("out of paper")

    with monkeypatch.context() as failing:
        failing.setattr(typst, "compile", refuse)
        row = service.build(site, report)
    assert (row.state, row.error) == (
        "ready", "PDF failed: RuntimeError; the other faces are there, and it can be tried again",
    )  # fmt: skip
    files = row.files or {}
    assert {"json", "html", "csv", "zip"} <= set(files)
    assert "pdf" not in files
    assert verify_bundle_bytes(site.artifacts.get(files["zip"]), [site.keys.vkey]).ok
    with site.database.write() as db:
        service.retry(site, db, report)
    again = service.build(site, report)
    assert (again.state, again.error) == ("ready", None)
    whole = again.files or {}
    assert (whole["json"], whole["pdf"] is not None) == (files["json"], True)
    assert verify_bundle_bytes(site.artifacts.get(whole["zip"]), [site.keys.vkey]).ok
    with site.database.write() as db, pytest.raises(ReportCompleteError):
        service.retry(site, db, report)
