"""The key in a PKCS#11 token or in a process of its own: same signatures, and the service cannot read the key."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from core import settings
from core.clock import ManualClock
from core.errors import InvalidError
from core.settings import Settings
from governance.ledger import guard
from governance.ledger.append import append_entry
from governance.ledger.checkpointing import latest_checkpoint
from governance.ledger.extends import places_of
from governance.ledger.hand_over import HandedOver, hand_over
from governance.ledger.keys import earlier_vkeys
from governance.ledger.rotation import name_documents_key
from governance.ledger.selfcheck import verify_ledger
from governance.ledger.signers.base import SignerRefusedError, SignerUnreachableError
from governance.ledger.signers.process import CheckpointSigner, RefusedToSignError, SizeDiffersError, listen, make_key
from governance.ledger.signers.remote import RemoteSigner
from governance.ledger.signers.token import TokenSigner
from governance.proof import merkle
from governance.proof.checkpoint import sign_checkpoint, verify_checkpoint
from governance.proof.note import sign_note
from governance.proof.vkey import SigningKey
from governance.verify.bundle import verify_bundle
from monitor.site import Site, open_site
from tests.governance.ledger.test_rotation import bundle

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "73519264"
NAME = "assay.local/ledger"


@pytest.fixture
def home(tmp_path: Path, sqlite_template: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copyfile(sqlite_template, folder / "assay.db")
    return folder


@contextmanager
def opened(given: Settings, clock: ManualClock) -> Iterator[Site]:
    site = open_site(given, clock)
    try:
        yield site
    finally:
        site.close()


def work(site: Site) -> str:
    with site.database.write() as db:
        name_documents_key(db, signing=site.keys.signing, documents=site.keys.documents, now=site.clock.now())
        append_entry(db, kind="model.spec", actor="a", subject="model:m", body={}, at=site.clock.now())
    with site.database.write() as db:
        return site.sign_ledger(db).note


def rotate(site: Site, label: str | None = None) -> HandedOver:
    given = site.settings
    return hand_over(
        site.database, home=given.home_dir, origin=given.ledger.origin, signer=given.signer, places=places_of(given),
        recovery=None, label=label, reason="", revoked_from=None, now=site.clock.now(),
    )  # fmt: skip


def checked(site: Site, *vkeys: str) -> list[str]:
    own = [site.keys.vkey, *earlier_vkeys(site.settings.home_dir)]
    with site.database.read() as db:
        return [str(f) for f in verify_ledger(db, places=places_of(site.settings), vkeys=vkeys or own).findings]


# A token


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a SoftHSM token labelled `assay`; the library reads its configuration once a process."""
    if not SOFTHSM.exists():
        pytest.skip("softhsm2 is not installed")
    pytest.importorskip("pkcs11")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    command = ["softhsm2-util", "--init-token", "--free", "--label", "assay", "--so-pin", "87654321", "--pin", PIN]
    subprocess.run(command, check=True, capture_output=True)
    yield folder / "tokens"
    del os.environ["SOFTHSM2_CONF"]


def on_token(home: Path, **changes: str) -> Settings:
    given = {
        "kind": "pkcs11",
        "module": str(SOFTHSM),
        "token": "assay",
        "label": home.parent.name,
        "pin": PIN,
    } | changes
    return settings.load({}, home=home, signer=given)


def token_signer(home: Path, **changes: str) -> TokenSigner:
    given = on_token(home, **changes).signer
    assert given.pin is not None
    return TokenSigner(
        SOFTHSM, given.token or "", given.label, given.pin.get_secret_value(), origin=NAME, public=home / "no.vkey"
    )


def test_a_token_signs_the_ledger_that_a_file_signed_before(home: Path, token: Path, clock: ManualClock) -> None:
    with opened(settings.load({}, home=home), clock) as site:
        work(site)
        old = site.keys.vkey
    token_signer(home).generate()
    with pytest.raises(InvalidError, match=r"ledger\.key is a key that the service can read.*assay ledger rotate"):
        open_site(on_token(home), clock)
    with opened(settings.load({}, home=home), clock) as site:
        done = hand_over(
            site.database, home=home, origin=NAME, signer=on_token(home).signer, places=places_of(site.settings),
            recovery=None, label=None, reason="", revoked_from=None, now=clock.now(),
        )  # fmt: skip
    assert not (home / "keys" / "ledger.key").exists()
    with opened(on_token(home), clock) as site:
        assert verify_checkpoint(work(site), [done.after]).origin == NAME
        assert checked(site) == checked(site, old) == []
        again = rotate(site, label=f"{home.parent.name}-2")  # to a second key in the same token
    with opened(on_token(home, label=f"{home.parent.name}-2"), clock) as site:
        work(site)
        assert (site.keys.vkey, checked(site, old)) == (again.after, [])
    assert PIN not in repr(on_token(home))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"token": "nobody"}, SignerUnreachableError, "no token labelled 'nobody'.*ASSAY_SIGNER__TOKEN"),
        ({"label": "nothing"}, InvalidError, "no key labelled 'nothing'.*ASSAY_SIGNER__LABEL"),
        ({"pin": "1111222233"}, InvalidError, "refuses the PIN.*ASSAY_SIGNER__PIN"),
    ],
)
def test_what_a_token_does_not_take_is_named_without_the_pin(
    home: Path, token: Path, changes: dict[str, str], error: type[Exception], words: str
) -> None:
    signer = token_signer(home, **changes)
    with pytest.raises(error, match=words) as raised:
        signer.sign(b"text")
    said = f"{raised.value!r}{raised.value.__cause__!r}{raised.value.__context__!r}"
    assert not any(pin in said for pin in (PIN, "1111222233"))


def test_a_wrong_pin_is_tried_once(home: Path, token: Path) -> None:
    signer = token_signer(home, pin="1111222233")
    for _ in range(2):
        with pytest.raises(InvalidError, match="not tried again"):
            signer.present()
    assert signer._refused


def test_settings_that_are_not_complete_name_what_is_missing_and_no_pin(home: Path) -> None:
    with pytest.raises(InvalidError, match="ASSAY_SIGNER__MODULE, ASSAY_SIGNER__TOKEN") as raised:
        settings.load({}, home=home, signer={"kind": "pkcs11", "pin": PIN})
    assert PIN not in str(raised.value)


def test_a_token_that_is_pulled_out_loses_no_entry(home: Path, token: Path, clock: ManualClock) -> None:
    token_signer(home).generate()
    with opened(on_token(home), clock) as site:
        work(site)
        away = token.rename(token.with_name("away"))
        token.mkdir()
        with pytest.raises(SignerUnreachableError, match="no token"):
            work(site)
        token.rmdir()
        away.rename(token)
        work(site)
        assert checked(site) == []
        with site.database.read() as db:
            head = latest_checkpoint(db)
            assert head is not None
            assert head.size == 3


# A process


@dataclass
class Running:
    folder: Path
    address: str
    signer: CheckpointSigner
    server: Any

    def settings(self, home: Path) -> Settings:
        return settings.load({}, home=home, signer={"kind": "process", "address": self.address, "timeout_s": 5})


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    address = f"unix:{folder.parent}/s.sock"
    signer = CheckpointSigner(folder)
    server = listen(signer, address, None)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Running(folder, address, signer, server)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        signer.close()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("s") / "keys"
    make_key(folder, NAME, ready=False)
    return folder


def test_a_signer_process_signs_and_the_service_holds_no_key(
    home: Path, folder: Path, tmp_path: Path, clock: ManualClock
) -> None:
    with running(folder) as beside, opened(beside.settings(home), clock) as site:
        work(site)
        work(site)
        assert isinstance(site.keys.signing, RemoteSigner)
        assert not (home / "keys" / "ledger.key").exists()
        secret = (folder / "ledger.key").read_text().split("+", 4)[4].strip()  # Base64 may hold a + of its own
        for path in (p for p in home.rglob("*") if p.is_file()):
            assert secret.encode() not in path.read_bytes()
        assert checked(site) == []
        verdict = verify_bundle(bundle(site, tmp_path), [site.keys.vkey])
        assert (verdict.exit_code, verdict.trust) == (0, "signed by a trusted key")
        with pytest.raises(SignerRefusedError, match="checkpoints alone"):
            sign_note("anything\n", [site.keys.signing])


@pytest.mark.skipif(os.getuid() != 0, reason="another user is needed to be kept out")
def test_another_user_cannot_open_the_key_of_a_signer(folder: Path) -> None:
    folder.parent.chmod(0o755)
    code = f"import os; os.setgid(65534); os.setuid(65534); open({str(folder / 'ledger.key')!r})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "PermissionError" in found.stderr


def test_a_key_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / "ledger.key").chmod(0o640)
    with pytest.raises(InvalidError, match="open to other users; run: chmod 0600"):
        CheckpointSigner(folder)


def test_a_signer_that_is_down_loses_no_entry(home: Path, folder: Path, clock: ManualClock) -> None:
    with running(folder) as beside:
        given = beside.settings(home)
        with opened(given, clock) as site:
            work(site)
    with opened(given, clock) as site:  # the service starts without it
        with pytest.raises(SignerUnreachableError, match="Entries are kept"):
            work(site)
        with running(folder):
            work(site)
        assert checked(site) == []


def test_a_log_that_was_cut_short_or_rewritten_is_not_signed(home: Path, folder: Path, clock: ManualClock) -> None:
    with running(folder) as beside:
        with opened(beside.settings(home), clock) as site:
            work(site)
            site.database.forget()
            shutil.copyfile(home / "assay.db", home / "older.db")
            work(site)
        older = home.parent / "older"
        (older / "keys").mkdir(parents=True)
        shutil.copyfile(home / "older.db", older / "assay.db")
        for key in (home / "keys").iterdir():
            shutil.copyfile(key, older / "keys" / key.name)
        with opened(beside.settings(older), clock) as site:
            with pytest.raises(SignerRefusedError, match="the signer has signed 3 entries"):
                issue(site)
            with site.database.write() as db:
                for _ in range(3):
                    append_entry(db, kind="other", actor="a", subject="s", body={}, at=clock.now())
            with pytest.raises(SignerRefusedError, match="not shown to extend"):
                issue(site)


def issue(site: Site) -> None:
    with site.database.write() as db:
        guard.remove(db.connection())
        db.execute(text("delete from ledger_checkpoint"))
        site.sign_ledger(db)


def test_a_signer_rotates_its_key_with_the_log(home: Path, folder: Path, clock: ManualClock) -> None:
    with running(folder) as beside, opened(beside.settings(home), clock) as site:
        work(site)
        old = site.keys.vkey
        with pytest.raises(InvalidError, match="--prepare-next"):
            rotate(site)
        ready = make_key(folder, "", ready=True)
        done = rotate(site)
        assert (done.after, site.keys.vkey) == (ready.vkey, ready.vkey)
        work(site)
        assert checked(site, old) == []
        assert not (folder / "next.key").exists()  # the old key is gone


def test_a_file_hands_over_to_a_signer(home: Path, folder: Path, clock: ManualClock) -> None:
    with opened(settings.load({}, home=home), clock) as site:
        work(site)
        old = site.keys.vkey
    with running(folder) as beside:
        with opened(settings.load({}, home=home), clock) as site:
            given = beside.settings(home)
            hand_over(
                site.database, home=home, origin=NAME, signer=given.signer, places=places_of(given), recovery=None,
                label=None, reason="", revoked_from=None, now=clock.now(),
            )  # fmt: skip
        assert not (home / "keys" / "ledger.key").exists()
        with opened(beside.settings(home), clock) as site:
            work(site)
            assert checked(site, old) == []


LEAVES = [merkle.leaf_hash(bytes([i])) for i in range(9)]


def head(key: SigningKey, size: int, clock: ManualClock, *extensions: str, leaves: list[bytes] = LEAVES) -> str:
    root = merkle.root(leaves[:size])
    return sign_checkpoint(key, NAME, size, root, clock.now(), extensions).split("\n\n")[0] + "\n"


def test_a_signer_signs_nothing_but_a_checkpoint_that_extends_the_last(folder: Path, clock: ManualClock) -> None:
    signer = CheckpointSigner(folder)
    vkey = signer.keys()["vkey"]
    key = SigningKey.parse((folder / "ledger.key").read_text().strip())
    signer.sign(vkey, head(key, 5, clock), 0, [])
    stranger = SigningKey.generate(NAME).vkey
    refused = [
        "anything\n",
        "",
        "assay-bundle/1\nsha256:" + "0" * 64 + "\n",
        head(key, 7, clock, f"continues {stranger}"),
        head(key, 7, clock, f"recovery {stranger}"),
        head(key, 7, clock).replace(NAME, "other/log"),
        head(key, 7, clock).replace("time ", "when "),
        head(key, 7, clock).removesuffix("\n"),
        head(key, 7, clock) + "\nappended\n",
        head(key, 7, clock, leaves=LEAVES[::-1]),  # another history
        head(key, 4, clock),  # shorter
    ]
    proof = list(merkle.consistency_proof(LEAVES, 5, 7))
    for asked in refused:
        with pytest.raises(RefusedToSignError):
            signer.sign(vkey, asked, 5, proof)
    with pytest.raises(RefusedToSignError, match="does not have the key"):
        signer.sign(stranger, head(key, 7, clock), 5, proof)
    with pytest.raises(SizeDiffersError):
        signer.sign(vkey, head(key, 7, clock), 3, list(merkle.consistency_proof(LEAVES, 3, 7)))
    signer.sign(vkey, head(key, 7, clock), 5, proof)
    signer.close()
    again = CheckpointSigner(folder)  # it remembers across a restart
    with pytest.raises(SizeDiffersError):
        again.sign(vkey, head(key, 8, clock), 5, list(merkle.consistency_proof(LEAVES, 5, 8)))
    with pytest.raises(InvalidError, match="another signer works"):
        CheckpointSigner(folder)
    again.close()
