"""The lake in the ledger: each commit is recorded by file, and a file changed afterwards is named."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from api.processes import scheduler
from api.processes.worker import drain
from core.canonical import sha256
from core.clock import ManualClock
from core.errors import IntegrityFailureError
from governance.ledger.read import ledger_entries, ledger_lines
from governance.verify.lake import DIGEST, REWRITE, LakeVerdict, expected_files, verify_lake
from monitor.service import apply_spec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.upkeep import digests
from tests.databases import SQLITE_FIRST
from tests.service import assay

pytestmark = SQLITE_FIRST

SPEC = parse_spec(
    {
        "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 100"},
        "columns": {
            "answer": {"role": "prediction", "type": "category"}, "truth": {"role": "outcome", "type": "category"},
        },
    }
)  # fmt: skip
DAY = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def model(site: Site) -> str:
    with site.database.write() as db:
        apply_spec(site, db, SPEC, "tester")
    return SPEC.model


def send(site: Site, first: int, count: int = 10, *, day: datetime = DAY) -> None:
    numbers = range(first, first + count)
    frame = pl.DataFrame(
        {
            "event_id": [f"e{i}" for i in numbers], "version": ["v1"] * count, "answer": ["a"] * count,
            "ts": pl.Series([day] * count, dtype=pl.Datetime("us", "UTC")),
        }
    )  # fmt: skip
    site.events.append_events(SPEC, frame, now=site.clock.now())
    site.events.settle(SPEC.model)


def entries(site: Site) -> list[dict[str, object]]:
    with site.database.read() as db:
        return ledger_entries(db, (DIGEST, REWRITE))


def check(site: Site) -> LakeVerdict:
    def leaves(digest: str) -> bytes | None:
        path = site.artifacts.root / digest[7:9] / digest[7:]
        return path.read_bytes() if path.exists() else None

    return verify_lake(site.events.root, expected_files(entries(site), leaves))


def data_files(site: Site) -> list[Path]:
    return sorted((site.events.root / "m" / "events").glob("date=*/*.parquet"))


def age(path: Path, hours: float = 5) -> None:
    """Make a file look as old as a change that nobody noticed for hours."""
    at = DAY.timestamp() - hours * 3600
    os.utime(path, (at, at))


def test_each_hour_the_new_files_are_recorded_once_and_chained(site: Site, model: str, clock: ManualClock) -> None:
    send(site, 0)
    send(site, 10)
    scheduler.tick(site, "s")
    clock.move_to(clock.now() + timedelta(hours=1))
    scheduler.tick(site, "s")
    drain(site)
    digests.record_all(site)  # the checkpoint that upkeep has made last
    first = entries(site)
    found = [(e["kind"], e["body"]["files"], e["body"]["rows"]) for e in first[:2]]  # type: ignore[index]
    assert found == [(DIGEST, 2, 20), (REWRITE, 1, 20)], "upkeep has merged the files meanwhile"
    digests.record_all(site)
    assert entries(site) == first, "nothing new, nothing recorded"
    send(site, 20)
    digests.record_all(site)
    with site.database.read() as db:
        lines = [line for line in ledger_lines(db) if json.loads(line)["kind"] in (DIGEST, REWRITE)]
    last = json.loads(lines[-1])["body"]
    assert (last["from_version"], last["to_version"], last["files"]) == (3, 3, 1)
    assert last["previous"] == sha256(lines[-2])
    verdict = check(site)
    assert verdict.ok, verdict.findings
    assert (verdict.tables, verdict.pending) == (1, 0)


def test_rows_that_arrived_after_the_last_record_are_pending_not_wrong(site: Site, model: str) -> None:
    send(site, 0)
    digests.record_all(site)
    send(site, 10)
    verdict = check(site)
    assert verdict.ok, verdict.findings
    assert verdict.pending == 2  # the data file and its log entry


def change(site: Site) -> str:
    path = data_files(site)[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path.name


def lose(site: Site) -> str:
    path = data_files(site)[0]
    path.unlink()
    return path.name


def slip_in(site: Site) -> str:
    path = data_files(site)[0].with_name("part-other.parquet")
    path.write_bytes(data_files(site)[0].read_bytes())
    age(path)
    return path.name


def rewrite_the_log(site: Site) -> str:
    path = site.events.root / "m" / "events" / "_delta_log" / f"{1:020}.json"
    lines = [line for line in path.read_text().splitlines() if '"add"' not in line]
    path.write_text("\n".join(lines) + "\n")
    return path.name


def drop_a_log_entry(site: Site) -> str:
    path = site.events.root / "m" / "events" / "_delta_log" / f"{1:020}.json"
    path.unlink()
    return path.name


def forge_a_checkpoint(site: Site) -> str:
    path = site.events.root / "m" / "events" / "_delta_log" / f"{1:020}.checkpoint.parquet"
    path.write_bytes(b"anything")
    age(path)
    return path.name


def lose_the_list(site: Site) -> str:
    digest = str(entries(site)[0]["body"]["leaves"])  # type: ignore[index]
    site.artifacts.delete(digest)
    return digest


TAMPERINGS = [
    (change, "lake.changed"), (lose, "lake.missing"), (slip_in, "lake.unexpected"),
    (rewrite_the_log, "lake.changed"), (drop_a_log_entry, "lake.missing"), (forge_a_checkpoint, "lake.unexpected"),
    (lose_the_list, "lake.leaves"),
]  # fmt: skip


@pytest.mark.parametrize(("tamper", "what"), TAMPERINGS, ids=lambda p: getattr(p, "__name__", p))
def test_whatever_was_changed_since_the_record_is_named(
    site: Site, model: str, tamper: Callable[[Site], str], what: str
) -> None:
    send(site, 0)
    send(site, 10)
    digests.record_all(site)
    assert check(site).ok
    named = tamper(site)
    findings = check(site).findings
    assert [f.what for f in findings] == [what]
    assert named in str(findings[0])


def test_an_entry_taken_out_of_the_chain_is_noticed(site: Site, model: str) -> None:
    for first in (0, 10, 20):
        send(site, first)
        digests.record_all(site)
    held = entries(site)

    def leaves(digest: str) -> bytes | None:
        return site.artifacts.get(digest)

    assert "lake.chain" in {f.what for f in expected_files([held[0], held[2]], leaves).findings}
    assert not expected_files(held, leaves).findings


def test_files_that_were_merged_are_explained_by_the_record_of_the_merger(site: Site, model: str) -> None:
    for first in range(0, 50, 10):
        send(site, first)
    digests.record_all(site)
    table = site.events.table(model, "events")
    with site.events.locked(model):
        before = table.snapshot()
        rows = table.scan_files(before, before.files).with_columns(date=pl.col("ts").dt.date()).collect()
        table.swap(before.files, table.write([rows]), operation="OPTIMIZE", changes=False)
    assert check(site).ok, "not recorded yet"
    digests.record_all(site)
    last = entries(site)[-1]
    body = last["body"]
    assert (last["kind"], body["cause"]) == (REWRITE, "compaction")  # type: ignore[index]
    assert (body["removed_files"], body["removed_rows"], body["files"], body["rows"]) == (5, 50, 1, 50)  # type: ignore[index]
    assert check(site).ok, "old files lie there still"
    table.vacuum(keep=timedelta(0), now=datetime.now(UTC))
    assert len(data_files(site)) == 1
    assert check(site).ok, check(site).findings


def test_a_file_that_was_replaced_and_deleted_before_the_record_is_still_accounted_for(site: Site, model: str) -> None:
    send(site, 0)
    table = site.events.table(model, "events")
    before = table.snapshot()
    rows = table.scan_files(before, before.files).with_columns(date=pl.col("ts").dt.date()).collect()
    table.swap(before.files, table.write([rows.head(4)]), operation="DELETE", changes=True)
    table.vacuum(keep=timedelta(0), now=datetime.now(UTC))
    digests.record_all(site)
    assert [(e["kind"], e["body"].get("cause")) for e in entries(site)] == [(DIGEST, None), (REWRITE, "retention")]  # type: ignore[attr-defined]
    assert check(site).ok, check(site).findings


def test_a_cleaned_log_holds_as_long_as_its_checkpoint_is_the_recorded_one(site: Site, model: str) -> None:
    for first in (0, 10, 20):
        send(site, first)
    digests.record_all(site)
    table = site.events.table(model, "events")
    removed = table.clean_log(keep=timedelta(0), now=datetime.now(UTC) + timedelta(seconds=5))
    assert removed, "there was something to clean"
    digests.record_all(site)
    assert check(site).ok, check(site).findings
    send(site, 30)
    digests.record_all(site)
    assert check(site).ok, check(site).findings
    checkpoint = next((site.events.root / "m" / "events" / "_delta_log").glob("*.checkpoint*.parquet"))
    checkpoint.write_bytes(checkpoint.read_bytes() + b"x")
    assert [f.what for f in check(site).findings] == ["lake.changed"]


def test_a_gap_in_the_log_stops_the_record_and_no_other_model(site: Site, model: str) -> None:
    with site.database.write() as db:
        apply_spec(site, db, parse_spec(SPEC.document | {"model": "n"}), "tester")
    send(site, 0)
    send(site, 10)
    drop_a_log_entry(site)
    (site.events.root / "m" / "events" / "_delta_log" / f"{2:020}.json").write_text("{}")
    frame = pl.DataFrame(
        {"event_id": ["x"], "version": ["v"], "answer": ["a"], "ts": [DAY]},
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )
    site.events.append_events(parse_spec(SPEC.document | {"model": "n"}), frame, now=site.clock.now())
    site.events.settle("n")
    with pytest.raises(IntegrityFailureError, match="no entry 1"):
        digests.record_all(site)
    assert [e["body"]["model"] for e in entries(site)] == ["n"]  # type: ignore[index]


def test_the_command_checks_the_lake_of_a_stopped_service_and_names_the_file(
    site: Site, model: str, database_url: str
) -> None:
    send(site, 0)
    digests.record_all(site)
    with site.database.write() as db:
        site.sign_ledger(db)
    home, environ = str(site.settings.home_dir), {"ASSAY_DB__URL": database_url}
    good = assay("verify", "--lake", "--home", home, environ=environ)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "2 files of 1 tables are as recorded" in good.stdout
    name = change(site)
    bad = assay("verify", "--lake", "--home", home, "--json", environ=environ)
    assert bad.returncode == 1
    said = json.loads(bad.stdout)
    assert not said["ok"]
    assert "lake.changed" in said["findings"][0]
    assert name in said["findings"][0]
    assert assay("verify", "--home", home, environ=environ).returncode == 0, "the ledger itself holds"
