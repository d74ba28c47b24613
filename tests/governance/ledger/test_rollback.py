"""A log that does not extend every checkpoint that can be found is not signed; a lost end is recovered on record."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.processes import ledger_watch, system_alarms
from core import settings
from core.clock import ManualClock
from core.errors import IntegrityFailureError, InvalidError
from governance.ledger import extends, guard
from governance.ledger.append import append_entry
from governance.ledger.checkpointing import issue_checkpoint
from governance.ledger.extends import LedgerRefusedError, Places, places_of, roots_at
from governance.ledger.head import frontier_of_entries, set_head
from governance.ledger.read import ledger_entries, ledger_lines, ledger_size
from governance.ledger.recover import recover_ledger
from governance.ledger.repair import repair_ledger
from governance.ledger.selfcheck import verify_ledger
from governance.proof.checkpoint import sign_checkpoint
from governance.proof.merkle import leaf_hash
from governance.proof.vkey import SigningKey
from governance.verify.against import hold_against
from governance.verify.earlier import Earlier
from governance.verify.findings import LogVerdict
from governance.verify.log import verify_log
from monitor.alerts import store as alerts
from monitor.site import Site, open_site


@pytest.fixture
def database_url(tmp_path: Path, sqlite_template: Path) -> str:
    (tmp_path / "home").mkdir()
    shutil.copyfile(sqlite_template, tmp_path / "home" / "assay.db")
    return f"sqlite:///{tmp_path / 'home' / 'assay.db'}"


@pytest.fixture
def signed(site: Site) -> Site:
    """Twelve entries; checkpoints over 3, 6, 9 and 12 of them."""
    for _ in range(4):
        grow(site, 3)
        sign(site)
    return site


def grow(site: Site, count: int) -> None:
    with site.database.write() as db:
        for _ in range(count):
            body = {"n": str(uuid4())}  # no two entries are the same
            append_entry(db, kind="model.spec", actor="a", subject="model:m", body=body, at=site.clock.now())


def sign(site: Site) -> None:
    with site.database.write() as db:
        site.sign_ledger(db, whole=True)


def cut(site: Site, keep: int, *, database: bool = True, anchor: bool = True, last_seen: bool = False) -> None:
    """Drop the entries from `keep` on, and the checkpoints of more entries in some places."""
    with site.database.write() as db:
        guard.remove(db.connection())
        db.execute(text("""delete from ledger_entry where "index" >= :n"""), {"n": keep})
        set_head(db, frontier_of_entries(db))
        if database:
            db.execute(text("delete from ledger_checkpoint where size > :n"), {"n": keep})
    for path in site.settings.anchor_dir.glob("*.note"):
        if anchor and int(path.stem.split("-")[1]) > keep:
            path.unlink()
    if last_seen:
        site.settings.last_seen_file.unlink()


def rewrite(site: Site, lines: list[bytes]) -> None:
    """Forge the log: other entries, hashed anew, with one checkpoint that the stolen key signs."""
    with site.database.write() as db:
        guard.remove(db.connection())
        db.execute(text("delete from ledger_entry"))
        db.execute(text("delete from ledger_checkpoint"))
        for index, line in enumerate(lines):
            entry = json.loads(line) | {"index": index}
            spelled = json.dumps(entry, sort_keys=True, separators=(",", ":"))
            values = {"i": index, "k": entry["kind"], "s": entry["subject"], "e": spelled}
            db.execute(
                text("""insert into ledger_entry ("index", kind, subject, entry, leaf) values (:i, :k, :s, :e, :l)"""),
                values | {"l": leaf_hash(spelled.encode()).hex()},
            )
        set_head(db, frontier_of_entries(db))
    shutil.rmtree(site.settings.anchor_dir)
    with site.database.write() as db:  # as a program without these checks signs it
        issue_checkpoint(db, key=site.keys.signing, places=Places(site.settings.anchor_dir), now=site.clock.now())


def lines_of(site: Site) -> list[bytes]:
    with site.database.read() as db:
        return list(ledger_lines(db))


def verify(site: Site) -> LogVerdict:
    with site.database.read() as db:
        return verify_ledger(db, places=places_of(site.settings), vkeys=[site.keys.vkey])


def recover(site: Site, by: str = "Ann", reason: str = "restored Monday's dump") -> str | None:
    places, now = places_of(site.settings), site.clock.now()
    with site.database.write() as db:
        found = recover_ledger(db, places=places, vkeys=[site.keys.vkey], by=by, reason=reason, now=now)
        return None if found is None else str(found)


@pytest.mark.parametrize("left", ["database", "anchor", "last_seen"])
def test_a_log_without_its_end_is_not_signed_while_one_checkpoint_is_left(signed: Site, left: str) -> None:
    cut(signed, 3, database=left != "database", anchor=left != "anchor", last_seen=left != "last_seen")
    with pytest.raises(LedgerRefusedError, match=r"3 entries and does not extend.*12 entries.*3 to 11 are gone"):
        sign(signed)
    assert not verify(signed).ok
    grow(signed, 12)  # a log that has grown past it is another one still
    with pytest.raises(LedgerRefusedError, match="not the ones that were signed"):
        sign(signed)


@pytest.mark.parametrize("forged", ["shorter", "one dropped", "one changed"])
def test_a_forged_log_with_checkpoints_of_its_own_is_not_signed(signed: Site, forged: str) -> None:
    lines = lines_of(signed)
    if forged == "shorter":
        lines = lines[:5]
    elif forged == "one dropped":
        del lines[4]
    else:
        lines[4] = lines[4].replace(b"model:m", b"model:n")
    rewrite(signed, lines)
    grow(signed, 1)
    with pytest.raises(LedgerRefusedError, match="last-seen file"):
        sign(signed)
    found = {f.what for f in verify(signed).findings if "last-seen file" in f.where}
    assert found & {"log.truncated", "checkpoint.root"}


def test_a_missing_file_is_written_again(signed: Site) -> None:
    signed.settings.last_seen_file.unlink()
    sign(signed)
    assert "\n12\n" in signed.settings.last_seen_file.read_text()


@pytest.mark.parametrize("content", [b"\0\0\0\0", b"", b"assay.local/ledger\n3\n"])
def test_a_damaged_file_is_named_and_nothing_is_signed(signed: Site, content: bytes) -> None:
    signed.settings.last_seen_file.write_bytes(content)
    grow(signed, 1)
    with pytest.raises(LedgerRefusedError, match=r"last-seen file .* cannot be read"):
        sign(signed)
    signed.settings.last_seen_file.unlink()
    sign(signed)


def test_a_file_that_cannot_be_opened_is_named(signed: Site) -> None:
    signed.settings.last_seen_file.unlink()
    signed.settings.last_seen_file.mkdir()
    with pytest.raises(LedgerRefusedError, match="cannot be read"):
        sign(signed)
    assert "last_seen.unreadable" in {f.what for f in verify(signed).findings}


def foreign(size: int = 40) -> str:
    key = SigningKey.generate("assay.local/ledger")
    return sign_checkpoint(key, key.name, size, b"\1" * 32, datetime(2026, 1, 1, tzinfo=UTC))


def test_the_file_of_another_installation_is_no_place_for_this_one(signed: Site) -> None:
    signed.settings.last_seen_file.write_text(foreign())
    with pytest.raises(LedgerRefusedError, match="signed by another installation"):
        sign(signed)


def test_a_new_installation_puts_the_file_of_an_earlier_one_aside(site: Site) -> None:
    site.settings.last_seen_file.write_text(note := foreign())
    grow(site, 1)
    sign(site)
    assert site.settings.last_seen_file.with_name("home.last-seen.before").read_text() == note
    assert "\n1\n" in site.settings.last_seen_file.read_text()


def test_a_checkpoint_outside_that_the_database_lacks_is_no_rollback(signed: Site) -> None:
    """The process died after it had written the copies and before the database had."""
    grow(signed, 2)
    with pytest.raises(ZeroDivisionError), signed.database.write() as db:
        signed.sign_ledger(db)
        raise ZeroDivisionError
    assert "\n14\n" in signed.settings.last_seen_file.read_text()
    assert verify(signed).ok
    sign(signed)
    assert verify(signed).ok


def test_a_clock_that_goes_backwards_is_no_rollback(signed: Site, clock: ManualClock) -> None:
    grow(signed, 1)
    back = replace(signed, clock=ManualClock(clock.now() - timedelta(days=3)))
    sign(back)
    assert verify(signed).ok


def test_a_place_that_cannot_be_written_is_told_and_signing_goes_on(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    places = Places(site.settings.anchor_dir, tmp_path / "file" / "last-seen")  # root may write everywhere else
    grow(site, 3)
    with site.database.write() as db:
        issue_checkpoint(db, key=site.keys.signing, places=places, now=site.clock.now())
    signed = site.settings.last_seen_file  # nobody wrote it
    with site.database.write() as db:
        ledger_watch.watch(site, db, site.clock.now())
        (alert,) = alerts.system_alerts(db, system_alarms.MONITOR, ledger_watch.LAST_SEEN)
        assert str(signed) in alert.sentence
    sign(site)
    with site.database.write() as db:
        ledger_watch.watch(site, db, site.clock.now())
        (alert,) = alerts.system_alerts(db, system_alarms.MONITOR, ledger_watch.LAST_SEEN)
        assert alert.episodes[-1]["ended"] is not None


def test_the_service_says_so_once_goes_on_and_signs_again_when_the_cause_is_gone(signed: Site) -> None:
    kept = signed.settings.last_seen_file.read_text()
    signed.settings.last_seen_file.write_text("?")
    for _ in range(3):
        assert "Nothing is signed" in (ledger_watch.sign_at_start(signed) or "")
        grow(signed, 1)
    with signed.database.read() as db:
        assert len(ledger_entries(db, ("ledger.refused",))) == 1
        (alert,) = alerts.system_alerts(db, system_alarms.MONITOR, ledger_watch.REFUSED)
        assert (alert.severity, alert.state) == ("critical", "open")
        (problem,) = ledger_watch.problems(db)
        assert "not signed" in problem
        assert ledger_size(db) > 15
    signed.settings.last_seen_file.write_text(kept)
    assert ledger_watch.sign_at_start(signed) is None
    with signed.database.read() as db:
        assert [e["kind"] for e in ledger_entries(db, ("ledger.refused", "ledger.resumed"))][-1] == "ledger.resumed"
        assert ledger_watch.problems(db) == []
    assert verify(signed).ok


def test_the_tick_notices_a_log_that_shrank(signed: Site, clock: ManualClock) -> None:
    cut(signed, 6)
    last = clock.now()
    clock.move_to(last + timedelta(minutes=1))
    ledger_watch.sign_if_due(signed, last, clock.now())
    with signed.database.read() as db:
        assert ledger_watch.problems(db) != []


def test_a_lost_end_is_recovered_on_record_and_the_log_goes_on(signed: Site, clock: ManualClock) -> None:
    published = sorted(signed.settings.anchor_dir.glob("*.note"))[2].read_text()  # of 9 entries
    old = lines_of(signed)
    clock.move_to(clock.now() + timedelta(hours=1))
    cut(signed, 7, anchor=False)
    assert ledger_watch.sign_at_start(signed)
    grow(signed, 1)
    assert not verify(signed).ok
    clock.move_to(clock.now() + timedelta(minutes=1))
    words = recover(signed) or ""
    with signed.database.write() as db:
        ledger_watch.watch(signed, db, clock.now())
        (alert,) = alerts.system_alerts(db, system_alarms.MONITOR, ledger_watch.REFUSED)
        assert alert.episodes[-1]["ended"] is not None
    assert words.startswith("recovered from a rollback at entry 7: 5 signed entries, 7 to 11, were lost; entry ")
    assert "by Ann" in words
    for _ in range(8):  # through the sizes that were signed before
        clock.move_to(clock.now() + timedelta(minutes=1))
        grow(signed, 1)
        sign(signed)
        verdict = verify(signed)
        assert verdict.findings == ()
    assert verdict.facts.recovered == (words,)
    with signed.database.read() as db:
        (entry,) = ledger_entries(db, ("ledger.recovered",))
    assert entry["body"]["missing"] == {"from": 7, "to": 11, "count": 5}
    assert recover(signed) is None
    # An outsider who has kept a checkpoint of the lost part sees it, and sees that it is on record.
    log = lines_of(signed)
    held = hold_against(log, Earlier("kept", [published]), [signed.keys.vkey], whole=True)
    assert held.ok
    assert "is of the part that was lost" in held.words[0]
    without = [line for line in log if b"ledger.recovered" not in line]
    assert not verify_log(without, [published], [signed.keys.vkey]).ok
    beyond = sign_checkpoint(signed.keys.signing, signed.keys.signing.name, 13, b"\2" * 32, clock.now())
    assert not hold_against(log, Earlier("more", [beyond]), [signed.keys.vkey], whole=True).ok
    later = [*old[:9], old[9].replace(b"model:m", b"model:x")]
    assert not hold_against(log, Earlier("entries", [], dict(enumerate(later))), [signed.keys.vkey], whole=True).ok


def test_checkpoints_of_the_lost_part_that_the_database_kept_make_room(signed: Site, clock: ManualClock) -> None:
    cut(signed, 7, database=False)
    clock.move_to(clock.now() + timedelta(minutes=1))
    assert recover(signed)
    grow(signed, 4)  # entry 7 is the recovery
    sign(signed)
    assert verify(signed).findings == ()


def test_stored_subtrees_of_the_lost_part_are_replaced(signed: Site, clock: ManualClock) -> None:
    grow(signed, 300)
    sign(signed)
    cut(signed, 200)
    assert ledger_watch.sign_at_start(signed)
    grow(signed, 60)  # the log goes on, and completes another subtree of 256 entries
    clock.move_to(clock.now() + timedelta(minutes=1))
    assert recover(signed)
    sign(signed)
    assert verify(signed).findings == ()


@pytest.mark.parametrize("what", ["rewritten", "damaged", "nobody"])
def test_what_is_more_than_a_lost_end_is_not_recovered(signed: Site, what: str) -> None:
    if what == "rewritten":
        lines = lines_of(signed)
        rewrite(signed, [*lines[:2], lines[2].replace(b"model:m", b"model:n"), *lines[3:]])
    else:
        cut(signed, 7, anchor=False)
    if what == "damaged":
        signed.settings.last_seen_file.write_text("?")
    size = len(lines_of(signed))
    wrong = InvalidError if what == "nobody" else IntegrityFailureError
    with pytest.raises(wrong, match={"rewritten": "no rollback", "damaged": "cannot be read", "nobody": "--by"}[what]):
        recover(signed, by=" " if what == "nobody" else "Ann")
    assert len(lines_of(signed)) == size


def test_copies_that_the_anchor_lost_are_written_again_by_repair(signed: Site) -> None:
    shutil.rmtree(signed.settings.anchor_dir)
    assert {f.what for f in verify(signed).findings} == {"anchor.missing"}
    with signed.database.write() as db:
        repair_ledger(db, places=places_of(signed.settings), vkeys=[signed.keys.vkey], now=signed.clock.now())
    assert verify(signed).ok


@pytest.fixture
def home(tmp_path: Path, sqlite_template: Path, clock: ManualClock) -> Path:
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copyfile(sqlite_template, folder / "assay.db")
    return opened(folder, clock)


def opened(folder: Path, clock: ManualClock) -> Path:
    site = open_site(settings.load({}, home=folder), clock)
    try:
        grow(site, 3)
        sign(site)
        assert verify(site).ok or (folder / "keys" / "earlier.vkeys").exists()
    finally:
        site.close()
    return folder


def test_the_file_moves_with_its_home_and_a_copy_has_its_own(home: Path, clock: ManualClock, tmp_path: Path) -> None:
    moved = opened(home.rename(tmp_path / "two"), clock)
    assert not (tmp_path / "one.last-seen").exists()
    assert "\n7\n" in (tmp_path / "two.last-seen").read_text()
    copied = shutil.copytree(moved, tmp_path / "three")
    opened(copied, clock)
    opened(moved, clock)
    assert {path.name for path in tmp_path.glob("*.last-seen")} == {"two.last-seen", "three.last-seen"}


def test_a_further_folder_counts_at_the_start_and_for_assay_verify(signed: Site, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    shutil.copytree(signed.settings.anchor_dir, vault)
    other = sign_checkpoint(SigningKey.generate("other.test/log"), "other.test/log", 99, bytes(32), signed.clock.now())
    (vault / "checkpoint-000000000099.note").write_text(other)  # of a log that shares the folder
    site = replace(signed, settings=signed.settings.model_copy(update={"anchors": {"V": SecretStr(vault.as_uri())}}))
    sign(site)
    assert verify(site).findings == ()
    cut(site, 7, last_seen=True)
    with pytest.raises(LedgerRefusedError, match="of an anchor covers 12 entries"):
        sign(site)
    assert any("vault" in str(f) for f in verify(site).findings)


def test_signing_reads_subtrees_and_one_that_is_damaged_stops_nothing(signed: Site) -> None:
    grow(signed, 300)
    sign(signed)
    with signed.database.read() as db:
        assert extends._stored_roots(db, {12, 260})[1] == roots_at(db, {12, 260, ledger_size(db)})[1]  # type: ignore[index]
    grow(signed, 1)
    with signed.database.write() as db:
        db.execute(text("update ledger_subtree set hash = :h"), {"h": "00" * 32})
    with signed.database.write() as db:
        assert signed.sign_ledger(db).size == 313
