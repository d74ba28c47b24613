"""The key that signs the ledger is rotated in the log itself; old signatures still verify, and nothing else signs."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core import settings
from core.canonical import canonical, sha256
from core.clock import ManualClock
from core.errors import IntegrityFailureError, InvalidError
from governance.ledger.append import append_entry
from governance.ledger.checkpointing import issue_checkpoint, latest_checkpoint
from governance.ledger.extends import places_of
from governance.ledger.hand_over import HandedOver, hand_over
from governance.ledger.keys import earlier_vkeys, load_or_create
from governance.ledger.log_key import revoked_keys
from governance.ledger.read import ledger_lines
from governance.ledger.rotation import name_recovery_key, record_rotation
from governance.ledger.selfcheck import verify_ledger
from governance.ledger.signers.base import SignerDiffersError
from governance.ledger.signers.file import FileSigner
from governance.proof import merkle
from governance.proof.checkpoint import sign_checkpoint
from governance.proof.vkey import SigningKey
from governance.verify.bundle import verify_bundle
from governance.verify.findings import BundleVerdict
from governance.verify.log import verify_log
from monitor.site import Site, open_site
from reports.render.bundle import write_bundle


@contextmanager
def opened(home: Path, clock: ManualClock) -> Iterator[Site]:
    site = open_site(settings.load({}, home=home), clock)
    try:
        yield site
    finally:
        site.close()


@pytest.fixture
def site(tmp_path: Path, sqlite_template: Path, clock: ManualClock) -> Iterator[Site]:
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copyfile(sqlite_template, folder / "assay.db")
    with opened(folder, clock) as site:
        work(site)
        yield site


def work(site: Site, kind: str = "model.spec", body: dict[str, Any] | None = None) -> int:
    """An entry, and a checkpoint over all."""
    with site.database.write() as db:
        index = append_entry(db, kind=kind, actor="a", subject="model:m", body=body or {}, at=site.clock.now())
        site.sign_ledger(db)
    return index


def rotate(site: Site, **given: Any) -> HandedOver:
    arguments = {"recovery": None, "label": None, "reason": "yearly", "revoked_from": None} | given
    home = site.settings.home_dir
    return hand_over(
        site.database, home=home, origin=site.settings.ledger.origin, signer=site.settings.signer,
        places=places_of(site.settings), now=site.clock.now(), **arguments,
    )  # fmt: skip


def checked(site: Site, vkeys: list[str] | None = None) -> list[str]:
    own = [site.keys.vkey, *earlier_vkeys(site.settings.home_dir)]
    with site.database.read() as db:
        return [f.what for f in verify_ledger(db, places=places_of(site.settings), vkeys=vkeys or own).findings]


def bundle(site: Site, folder: Path) -> Path:
    """A bundle of a report, as the service writes it."""
    report = canonical({"report": "r"})
    index = work(site, "report.created", {"sha256": sha256(report)})
    with site.database.read() as db:
        head, lines = latest_checkpoint(db), list(ledger_lines(db))
    assert head is not None
    now, path = site.clock.now(), folder / f"{index}.zip"
    write_bundle(
        path, model="m", period=(now, now), report_id="r", files={"report.json": report},
        media_types={"report.json": "application/json"}, ledger_lines=lines, checkpoint_note=head.note,
        key=site.keys.documents, vkey=site.keys.vkey, created_at=now, cited={"report.json": index},
    )  # fmt: skip
    return path


def said(path: Path, *vkeys: str) -> tuple[int, BundleVerdict]:
    verdict = verify_bundle(path, list(vkeys) or None)
    return verdict.exit_code, verdict


def test_a_rotated_key_signs_at_once_and_what_the_old_one_signed_still_verifies(site: Site, tmp_path: Path) -> None:
    old, before = site.keys.vkey, bundle(site, tmp_path)
    done = rotate(site)
    assert (done.before, site.keys.vkey) == (old, done.after)  # the running service signs with it too
    assert earlier_vkeys(site.settings.home_dir) == [old]
    after = bundle(site, tmp_path)
    assert checked(site) == checked(site, [old]) == []
    assert said(before, old)[0] == 0
    assert said(after, done.after)[0] == 0
    code, verdict = said(after, old)  # who kept the old key alone
    assert (code, "successor" in verdict.trust, len(verdict.facts.rotated)) == (0, True, 1)
    assert said(after, SigningKey.generate(site.keys.signing.name).vkey)[0] == 1
    rotate(site)
    assert checked(site, [old]) == []
    assert said(bundle(site, tmp_path), old)[0] == 0


def test_nothing_but_the_key_of_the_log_signs(site: Site) -> None:
    kept = (site.settings.home_dir / "keys" / "ledger.key").read_text()
    rotate(site)
    with site.database.write() as db:
        append_entry(db, kind="model.spec", actor="a", subject="model:m", body={}, at=site.clock.now())
    for key in (SigningKey.parse(kept.strip()), SigningKey.generate(site.keys.signing.name)):
        with pytest.raises(SignerDiffersError, match="nothing was signed"), site.database.write() as db:
            issue_checkpoint(db, key=key, places=places_of(site.settings), now=site.clock.now())
    (site.settings.home_dir / "keys" / "ledger.key").write_text(kept)  # restored from an older backup
    with pytest.raises(SignerDiffersError, match="rotate"):
        work(site)


def test_a_rotation_that_died_before_its_key_was_in_force_goes_on(site: Site) -> None:
    old, new = site.keys.vkey, SigningKey.generate(site.keys.signing.name)
    FileSigner(site.settings.home_dir / "keys").prepare(new)
    with site.database.write() as db:
        record_rotation(
            db, before=old, after=new.vkey, by=site.keys.signing, places=places_of(site.settings),
            reason="", revoked_from=None, now=site.clock.now(),
        )  # fmt: skip
    assert site.keys.vkey == old
    work(site)
    assert site.keys.vkey == new.vkey
    assert checked(site) == []


def test_a_compromised_key_is_no_witness_of_its_successor(site: Site, tmp_path: Path) -> None:
    old = site.keys.vkey
    for _ in range(3):
        work(site)
    done = rotate(site, revoked_from=2, reason="found on a public disk")
    with site.database.read() as db:
        assert [(one["vkey"], one["from_entry"]) for one in revoked_keys(db)] == [(old, 2)]
    after = bundle(site, tmp_path)
    code, verdict = said(after, old)
    assert (code, verdict.words) == (5, "consistent; signer unknown")
    assert "compromised" in verdict.trust
    assert "from entry 2 on" in verdict.facts.rotated[0]
    assert said(after, done.after)[0] == 0
    assert checked(site) == []
    assert checked(site, [old]) == ["key.compromised"]


def test_a_recovery_key_hands_over_what_is_lost_or_stolen(site: Site, tmp_path: Path) -> None:
    old, file = site.keys.vkey, tmp_path / "recovery.key"
    recovery = SigningKey.generate("offline.test/recovery")
    file.write_text(recovery.secret())
    with pytest.raises(InvalidError, match="neither"):
        (site.settings.home_dir / "keys" / "ledger.key").rename(tmp_path / "kept")
        rotate(site)
    (tmp_path / "kept").rename(site.settings.home_dir / "keys" / "ledger.key")
    with site.database.write() as db:
        name_recovery_key(
            db, key=site.keys.signing, places=places_of(site.settings), recovery=recovery.vkey, now=site.clock.now()
        )
    work(site)
    (site.settings.home_dir / "keys" / "ledger.key").unlink()  # lost
    with pytest.raises(IntegrityFailureError, match=r"ledger\.key is gone.*--recovery-key"):
        load_or_create(site.settings.home_dir, site.settings.ledger.origin)
    rotate(site, recovery=file, revoked_from=3)
    assert checked(site, [old]) == []
    code, verdict = said(bundle(site, tmp_path), old)
    assert (code, "recovery key" in verdict.facts.rotated[0]) == (0, True)


def test_a_recovery_key_that_nobody_named_is_refused(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "recovery.key"
    file.write_text(SigningKey.generate(site.keys.signing.name).secret())
    with pytest.raises(InvalidError, match="names no such recovery key"):
        rotate(site, recovery=file)
    assert checked(site) == []


def test_an_old_key_cannot_sign_what_came_after_it(site: Site) -> None:
    stolen = SigningKey.parse((site.settings.home_dir / "keys" / "ledger.key").read_text().strip())
    rotate(site)
    with site.database.read() as db:
        lines = list(ledger_lines(db))
    root = merkle.root([merkle.leaf_hash(line) for line in lines])
    forged = sign_checkpoint(stolen, stolen.name, len(lines), root, site.clock.now())
    assert "checkpoint.signature" in {f.what for f in verify_log(lines, [forged], [stolen.vkey]).findings}


@pytest.mark.parametrize("entry", [99, 10**12])
def test_a_compromise_from_an_entry_that_does_not_exist_is_refused(site: Site, entry: int) -> None:
    with pytest.raises(InvalidError, match="does not exist"):
        rotate(site, revoked_from=entry)
    work(site)
    assert checked(site) == []
