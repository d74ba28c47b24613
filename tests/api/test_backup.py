"""Backups of a running installation: nothing acknowledged is lost, no secret is in them, changed ones are refused."""

import errno
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.backup.copying import BackupFailedError, Copier, beside
from api.backup.make import BackupMade, make_backup
from api.backup.manifest import MADE, MANIFEST, write_manifest
from api.backup.restore import restore_backup
from api.commands.backup import verified_by
from api.processes import ledger_watch
from core import settings
from core.clock import ManualClock
from core.db import Database
from core.errors import AppError, IntegrityFailureError, InvalidError
from core.settings import Settings
from governance.ledger.append import append_entry
from governance.ledger.read import ledger_entries
from governance.proof.vkey import SigningKey
from governance.tables import LedgerHead
from governance.verify.origins import DOCUMENTS_KIND
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site, open_site
from tests import postgres
from tests.monitor.test_service import declare
from tests.monitor.traffic import events_body, rows, spec

CHECK = verified_by(None)


@pytest.fixture
def running(tmp_path: Path, sqlite_template: Path, clock: ManualClock) -> Iterator[Site]:
    (tmp_path / "home").mkdir()
    shutil.copyfile(sqlite_template, tmp_path / "home" / "assay.db")
    environ = {"ASSAY_CHANNELS__OPS": "slack://secret-token/b/c"}
    site = open_site(settings.load(environ, home=tmp_path / "home"), clock)
    declare(site, spec())
    receive(site, "loans", "events", Body(events_body(rows(300)), NDJSON))
    site.events.settle("loans")  # these lie in the table; later ones in the log
    yield site
    site.close()


def at(home: Path) -> Settings:
    return settings.load({}, home=home)


def backup(site: Site, place: Path, keys: Path | None = None) -> BackupMade:
    return make_backup(site.settings, site.database, place, keys_file=keys, check=CHECK, clock=site.clock)


def restored(place: Path, home: Path, keys: Path | None = None) -> None:
    restore_backup(at(home), place, keys_file=keys, trusted=None, check=CHECK)


def test_a_backup_under_load_has_every_event_that_was_acknowledged_before(
    running: Site, tmp_path: Path, clock: ManualClock
) -> None:
    stop, acknowledged = threading.Event(), list[str]()

    def load() -> None:
        for batch in range(400):
            if stop.is_set():
                return
            frame = rows(20, start=300 + 20 * batch)
            receive(running, "loans", "events", Body(events_body(frame), NDJSON))
            acknowledged.extend(frame["event_id"])
            if batch % 7 == 0:
                running.events.settle("loans")

    sender = threading.Thread(target=load)
    sender.start()
    while len(acknowledged) < 200:
        sender.join(0.01)
    before = {f"e{i}" for i in range(300)} | set(acknowledged)
    made = backup(running, tmp_path / "backup", tmp_path / "keys.json")
    stop.set()
    sender.join()
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    restored(tmp_path / "backup", tmp_path / "new", tmp_path / "keys.json")
    copy = open_site(at(tmp_path / "new"), clock)  # beside its original: a copy, under an origin of its own
    try:
        assert copy.keys.vkey != running.keys.vkey
        copy.events.flush_orphans()
        found = list(copy.events.scan("loans").select("event_id").collect()["event_id"])
        assert before <= set(found)
        assert len(found) == len(set(found))
        assert ledger_watch.sign_at_start(copy) is None
    finally:
        copy.close()
    assert CHECK(at(tmp_path / "new")) == []
    with running.database.read() as db:
        (entry,) = ledger_entries(db, ("backup.made",))
    assert (entry["index"], entry["body"]["manifest"]) == (made.entry, made.digest)


def test_no_secret_is_in_a_backup(running: Site, tmp_path: Path) -> None:
    backup(running, tmp_path / "backup")
    secrets = [
        *((running.settings.home_dir / "keys" / f"{name}.key").read_bytes().strip() for name in ("ledger", "subject")),
        b"secret-token",
    ]
    kept = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    assert not [path for path in kept if any(secret in path.read_bytes() for secret in secrets)]
    assert json.loads((tmp_path / "backup" / "backup.json").read_bytes())["settings_left_out"] == ["channels.ops"]
    restored(tmp_path / "backup", tmp_path / "new")
    assert CHECK(at(tmp_path / "new")) == []
    with pytest.raises(AppError, match="restore it with --keys"):
        open_site(at(tmp_path / "new"))


def test_a_backup_that_was_changed_is_refused_and_leaves_nothing(running: Site, tmp_path: Path) -> None:
    backup(running, tmp_path / "whole")
    first = "lake/loans/events/_delta_log/00000000000000000000.json"
    for what in ("backup.json", "backup.note", "settings.json", "keys/ledger.vkey", "assay.db", first, "gone"):
        place = shutil.copytree(tmp_path / "whole", tmp_path / "backup")
        if what == "gone":
            next(place.glob("lake/loans/events/date=*/*.parquet")).unlink()
        elif what == "backup.json":
            document = json.loads((place / what).read_bytes())
            (place / what).write_text(json.dumps(document | {"release": "9"}))
        else:
            content = bytearray((place / what).read_bytes())
            content[len(content) // 2] ^= 1
            (place / what).write_bytes(content)
        with pytest.raises(AppError):
            restored(place, tmp_path / "new")
        assert not (tmp_path / "new").exists(), what
        assert not list(tmp_path.glob(".new-*")), what
        shutil.rmtree(place)


def test_places_that_cannot_be_used_are_refused(running: Site, tmp_path: Path) -> None:
    full, home = tmp_path / "full", running.settings.home_dir
    full.mkdir()
    (full / "file").touch()
    for place, keys in ((full, None), (home / "backup", None), (tmp_path / "b", tmp_path / "b" / "keys"), (home, None)):
        with pytest.raises(InvalidError):
            backup(running, place, keys)
    (tmp_path / "keys").touch()
    with pytest.raises(InvalidError, match="name a new file"):
        backup(running, tmp_path / "b", tmp_path / "keys")
    (tmp_path / ".new-b" / "lake").mkdir(parents=True)  # a process that was killed left it
    with beside(tmp_path / "taken", "destination"), pytest.raises(InvalidError, match="by another process"):
        backup(running, tmp_path / "taken")
    backup(running, tmp_path / "b")
    with pytest.raises(InvalidError, match="not empty"):
        restored(tmp_path / "b", full)
    with pytest.raises(InvalidError, match="is no backup"):
        restored(full, tmp_path / "new")
    assert sorted(p.name for p in tmp_path.glob(".new-*")) == []


def test_a_full_disk_is_an_error_and_leaves_nothing(
    running: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, [0]

    def full(handle: int) -> None:
        calls[0] += 1
        if calls[0] > 12 and ".new-" in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BackupFailedError, match="full"):
        backup(running, tmp_path / "backup", tmp_path / "keys.json")
    assert not (tmp_path / "backup").exists()
    assert not (tmp_path / "keys.json").exists()
    assert not list(tmp_path.glob(".new-*"))


def test_an_older_backup_in_place_of_its_original_is_told_as_a_rollback(
    running: Site, tmp_path: Path, clock: ManualClock
) -> None:
    backup(running, tmp_path / "backup", tmp_path / "keys.json")
    with running.database.write() as db:
        running.sign_ledger(db)
    running.close()
    home = running.settings.home_dir
    home.rename(tmp_path / "lost")
    shutil.rmtree(tmp_path / "lost")
    done = restore_backup(at(home), tmp_path / "backup", keys_file=tmp_path / "keys.json", trusted=None, check=CHECK)
    assert done.notes
    assert done.trusted
    site = open_site(at(home), clock)
    try:
        assert "assay ledger recover" in (ledger_watch.sign_at_start(site) or "")
    finally:
        site.close()


def test_a_key_that_only_unsigned_entries_name_signs_no_backup(running: Site, tmp_path: Path) -> None:
    backup(running, tmp_path / "backup")
    stranger, place = SigningKey.generate("stranger"), tmp_path / "backup"
    forged = Database(f"sqlite:///{place / 'assay.db'}")
    with forged.write() as db:
        body = {"vkey": stranger.vkey}
        append_entry(db, kind=DOCUMENTS_KIND, actor="admin", subject="ledger", body=body, at=running.clock.now())
        head = db.get_one(LedgerHead, 1)
        ledger = {"size": head.size, "root": head.root}
    forged.dispose()
    document = json.loads((place / MANIFEST).read_bytes())
    facts = {"database": "sqlite", "ledger": document["ledger"] | ledger}
    copier = Copier(place)
    for path in sorted(place.rglob("*")):
        if path.is_file() and path.name not in MADE:
            copier.note(path.relative_to(place).as_posix())
    write_manifest(place, copier.files.values(), facts, stranger, running.clock.now())
    with pytest.raises(IntegrityFailureError):
        restore_backup(at(tmp_path / "new"), place, keys_file=None, trusted=[running.keys.vkey], check=CHECK)
    assert not (tmp_path / "new").exists()


def test_keys_of_another_installation_are_refused(running: Site, tmp_path: Path) -> None:
    backup(running, tmp_path / "backup", tmp_path / "keys.json")
    document = json.loads((tmp_path / "keys.json").read_text())
    document["keys"]["ledger.key"] = SigningKey.generate("other").secret()
    (tmp_path / "keys.json").write_text(json.dumps(document))
    with pytest.raises(IntegrityFailureError, match="signs with"):
        restored(tmp_path / "backup", tmp_path / "new", tmp_path / "keys.json")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow  # two databases and pg_dump
def test_a_postgresql_installation_is_dumped_and_loaded_into_an_empty_database(
    tmp_path: Path, clock: ManualClock, postgres_server: postgres.Server, postgres_template: str
) -> None:
    name, empty = postgres_server.create(template=postgres_template), postgres_server.create()
    environ = {"ASSAY_DB__URL": postgres_server.url(name)}
    site = open_site(settings.load(environ, home=tmp_path / "home"), clock)
    try:
        declare(site, spec())
        receive(site, "loans", "events", Body(events_body(rows(30)), NDJSON))
        backup(site, tmp_path / "backup", tmp_path / "keys.json")
        full = settings.load(environ, home=tmp_path / "new")
        target = settings.load({"ASSAY_DB__URL": postgres_server.url(empty)}, home=tmp_path / "new")
        for chosen, told in ((full, "has tables"), (at(tmp_path / "new"), "ASSAY_DB__URL")):
            with pytest.raises(InvalidError, match=told):
                restore_backup(chosen, tmp_path / "backup", keys_file=None, trusted=None, check=CHECK)
        done = restore_backup(
            target, tmp_path / "backup", keys_file=tmp_path / "keys.json", trusted=[site.keys.vkey], check=CHECK
        )
        assert (done.trusted, done.notes) == (True, [])
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("PATH", str(tmp_path))
            with pytest.raises(InvalidError, match="pg_dump is not installed"):
                backup(site, tmp_path / "second")
        assert not (tmp_path / "second").exists()
    finally:
        site.close()
    copy = open_site(target, clock)
    try:
        copy.events.flush_orphans()
        assert copy.events.scan("loans").select("event_id").collect().height == 30
        assert ledger_watch.sign_at_start(copy) is None
    finally:
        copy.close()
        postgres_server.drop(empty)
        postgres_server.drop(name)
