"""A witness cosigns what extends the last checkpoint, never a fork; a log asks its witnesses, readers count them."""

import base64
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi.testclient import TestClient

from api.app import create_app
from api.processes import ledger_watch, system_alarms
from core import settings
from core.clock import ManualClock
from core.errors import InvalidError
from core.settings_ledger import LedgerSettings
from governance.ledger.append import append_entry
from governance.ledger.witness import WitnessAnswer, add_checkpoint, witness_vkey
from governance.ledger.witnessing import Witness, read_asked, with_cosignatures
from governance.proof import merkle
from governance.proof.checkpoint import sign_checkpoint, verify_checkpoint
from governance.proof.cosignature import WitnessKey, cosign, cosignatures
from governance.proof.vkey import KeyFormatError, SigningKey
from governance.verify.bundle import verify_bundle
from governance.verify.witnesses import witnessed
from monitor.alerts import store as alerts
from monitor.site import Site, open_site
from reports.render.bundle import write_bundle
from tests.reports.render.test_bundle import KEY, LINES, arguments, head

LOG = SigningKey.generate("log.example/one")
SEER = SigningKey.generate("witness.example/w")
AT = datetime(2026, 3, 1, tzinfo=UTC)
LEAVES = [merkle.leaf_hash(bytes([i])) for i in range(12)]


def note(size: int, leaves: list[bytes] = LEAVES, key: SigningKey = LOG) -> str:
    return sign_checkpoint(key, key.name, size, merkle.root(leaves[:size]), AT)


def asked(folder: Path, old: int, text: str, proof: tuple[bytes, ...] = ()) -> WitnessAnswer:
    lines = "".join(f"{base64.b64encode(node).decode()}\n" for node in proof)
    body = f"old {old}\n{lines}\n{text}".encode()
    return add_checkpoint(body, logs=[LOG.vkey], folder=folder, signer=SEER, now=AT)


def test_a_cosignature_is_what_the_specification_says() -> None:
    """c2sp.org/tlog-cosignature: key id, 64-bit time, Ed25519 over the header, the time and the note's text."""
    text = note(3)
    line = cosign(SEER, text, AT)
    name, encoded = line.removeprefix("\u2014 ").rstrip("\n").split(" ")
    raw = base64.b64decode(encoded)
    key = WitnessKey.parse(witness_vkey(SEER))
    assert (name, raw[:4], len(raw)) == (SEER.name, key.key_id, 76)
    assert struct.unpack(">Q", raw[4:12]) == (int(AT.timestamp()),)
    body = text[: text.index("\n\n") + 1]
    message = f"cosignature/v1\ntime {int(AT.timestamp())}\n{body}".encode()
    Ed25519PublicKey.from_public_bytes(SEER.verifier.public).verify(raw[12:], message)
    assert cosignatures(text + line, [str(key)]) == {key.label: AT}
    assert verify_checkpoint(text + line, [LOG.vkey]).size == 3  # the log's own signature still holds
    assert cosignatures(note(4) + line, [str(key)]) == {}
    with pytest.raises(KeyFormatError, match="witness key"):
        WitnessKey.parse(LOG.vkey)


def test_a_witness_follows_a_log_and_refuses_everything_else(tmp_path: Path) -> None:
    assert asked(tmp_path, 0, note(5)).status == 200
    assert asked(tmp_path, 5, note(5)).status == 200  # asked again
    grown = asked(tmp_path, 5, note(9), merkle.consistency_proof(LEAVES, 5, 9))
    assert (grown.status, list(cosignatures(note(9) + grown.text, [witness_vkey(SEER)]))) == (
        200, [WitnessKey.parse(witness_vkey(SEER)).label],
    )  # fmt: skip
    behind = asked(tmp_path, 5, note(12), merkle.consistency_proof(LEAVES, 5, 12))
    assert (behind.status, behind.text, behind.media_type) == (409, "9\n", "text/x.tlog.size")
    fork = [*LEAVES[:4], merkle.leaf_hash(b"x"), *LEAVES[5:]]
    assert asked(tmp_path, 9, note(9, fork)).status == 409
    assert asked(tmp_path, 9, note(12, fork), merkle.consistency_proof(fork, 9, 12)).status == 422
    assert asked(tmp_path, 9, note(7)).status == 400
    assert asked(tmp_path, 0, note(3, key=SigningKey.generate(LOG.name))).status == 403
    assert asked(tmp_path, 0, note(3, key=SigningKey.generate("other.example"))).status == 404
    assert asked(tmp_path, 9, note(12)).status == 422
    for body in (b"", b"old x\n\n", b"old 1\nzz\n\nnote", b"\xff", b"old 0\n\nno note\n"):
        answer = add_checkpoint(body, logs=[LOG.vkey], folder=tmp_path, signer=SEER, now=AT)
        assert answer.status in (400, 404)
    assert asked(tmp_path, 9, note(12), merkle.consistency_proof(LEAVES, 9, 12)).status == 200


@pytest.fixture
def home(tmp_path: Path, sqlite_template: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copyfile(sqlite_template, folder / "assay.db")
    return folder


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """A witness on a port of this machine, and what it is told to be a witness of."""
    told: dict[str, Any] = {"logs": []}

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found = add_checkpoint(body, logs=told["logs"], folder=tmp_path / "seen", signer=SEER, now=AT)
            self.send_response(found.status)
            self.end_headers()
            self.wfile.write(found.text.encode())

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    server.server_close()
    thread.join()


def work(site: Site) -> str:
    with site.database.write() as db:
        append_entry(db, kind="model.spec", actor="a", subject="model:m", body={}, at=site.clock.now())
    with site.database.write() as db:
        return site.sign_ledger(db).note


def test_a_log_asks_again_until_its_witness_answers_and_says_when_it_sees_a_fork(
    home: Path, witness: tuple[str, dict[str, Any]], clock: ManualClock
) -> None:
    url, told = witness
    ledger = LedgerSettings(witnesses=(f"{witness_vkey(SEER)} {url}",))
    site = open_site(settings.load({}, home=home, ledger=ledger), clock)
    one = Witness.parse(ledger.witnesses[0])
    work(site)
    ledger_watch.ask_witnesses(site)  # it does not know this log yet
    assert "404" in read_asked(home, one).problem
    told["logs"] = [site.keys.vkey]
    for _ in range(3):
        signed = work(site)
        ledger_watch.ask_witnesses(site)
        assert list(cosignatures(with_cosignatures(signed, home, [one]), [witness_vkey(SEER)])) == [one.key.label]
    away = replace(one, url="http://127.0.0.1:1")
    assert away.url != one.url
    shutil.rmtree(home / "cosigned")  # what it answered is forgotten; it still remembers
    signed = work(site)
    ledger_watch.ask_witnesses(site)
    assert read_asked(home, one).size == 5
    (kept,) = (home.parent / "seen").glob("*.json")
    kept.write_text(kept.read_text().replace('"size": 5', '"size": 9'))  # it has seen more than there is
    work(site)
    ledger_watch.ask_witnesses(site)
    with site.database.read() as db:
        (alert,) = alerts.system_alerts(db, system_alarms.MONITOR, ledger_watch.WITNESS)
    assert (alert.severity, "it has seen 9 entries" in alert.sentence) == ("critical", True)
    site.close()


def test_an_installation_is_a_witness_of_the_logs_it_is_told(home: Path, clock: ManualClock) -> None:
    site = open_site(settings.load({}, home=home, ledger=LedgerSettings(witness_of=(LOG.vkey,))), clock)
    with TestClient(create_app(site)) as client:
        key = client.get("/api/v1/witness/key").text.strip()
        text = note(5)
        answer = client.post("/api/v1/witness/add-checkpoint", content=f"old 0\n\n{text}".encode())
        assert answer.status_code == 200
        assert list(cosignatures(text + answer.text, [key])) == [WitnessKey.parse(key).label]
        again = client.post("/api/v1/witness/add-checkpoint", content=f"old 0\n\n{text}".encode())
        assert (again.status_code, again.text) == (409, "5\n")
    with pytest.raises(InvalidError, match=r"ledger\.witness_of"):
        open_site(settings.load({}, home=home, ledger=LedgerSettings(witness_of=("nonsense",))), clock)


def test_an_installation_that_is_no_witness_says_so(site: Site) -> None:
    with TestClient(create_app(site)) as client:
        assert client.post("/api/v1/witness/add-checkpoint", content=b"old 0\n\n").status_code == 404


def test_a_bundle_needs_a_quorum_of_the_witnesses_that_its_reader_trusts(tmp_path: Path) -> None:
    other = SigningKey.generate("witness.example/other")
    plain, seen = tmp_path / "plain.zip", tmp_path / "seen.zip"
    write_bundle(plain, **arguments())
    text = head(LINES)
    write_bundle(seen, **arguments(checkpoint_note=text + cosign(SEER, text, AT)))
    for path, witnesses, quorum, ok in (
        (seen, [SEER], None, True), (seen, [SEER, other], 1, True), (seen, [SEER, other], None, False),
        (plain, [SEER], None, False),
    ):  # fmt: skip
        verdict = verify_bundle(path, [KEY.vkey])
        assert verdict.ok
        found = witnessed(verdict, path, [witness_vkey(one) for one in witnesses], quorum)
        assert found.ok is ok, found
    with pytest.raises(InvalidError, match="quorum"):
        witnessed(verdict, seen, [witness_vkey(SEER)], 2)
