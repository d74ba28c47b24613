"""Anchors receive each checkpoint; one that fails is waited for; time-stamps are held against their authority."""

import http.server
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pyarrow.fs import S3FileSystem
from pydantic import SecretStr
from sqlalchemy import select, update

from api.processes import anchor_watch
from core import settings
from core.clock import ManualClock
from core.errors import InvalidError
from governance.anchors.base import Anchored, AnchorError
from governance.anchors.deliver import deliver, due, evidence_name, standings, timestamp_findings
from governance.anchors.kinds import anchor_of, anchors_of
from governance.anchors.stores import ObjectStoreAnchor
from governance.anchors.timestamps import check_timestamp
from governance.anchors.webhook import WebhookAnchor
from governance.ledger.append import append_entry
from governance.tables import AnchorState
from monitor.site import Site
from monitor.tables import Alert
from tests.beside import MOTO, object_store
from tests.conftest import absent
from tests.databases import SQLITE_ONLY
from tests.governance.ledger.test_rollback import cut, recover

Answer = Callable[[http.server.BaseHTTPRequestHandler, bytes], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The outside world: a server on this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer(self, self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/a"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def said(handler: http.server.BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def signed(site: Site) -> bytes:
    with site.database.write() as db:
        append_entry(db, kind="model.spec", actor="a", subject="model:m", body={}, at=site.clock.now())
    with site.database.write() as db:
        return site.sign_ledger(db).note.encode()


def handed(site: Site, **urls: str) -> None:
    given = anchors_of({name: SecretStr(url) for name, url in urls.items()})
    deliver(site.database, given, evidence=site.settings.anchor_dir, now=site.clock.now())


def test_each_checkpoint_reaches_a_folder_and_a_webhook_once(site: Site, tmp_path: Path) -> None:
    got: list[bytes] = []

    def keeps(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        got.append(body)
        said(handler, 204)

    with serving(keeps) as url:
        anchors = {"disk": f"file://{tmp_path}/elsewhere", "hook": f"webhook+{url}"}
        notes = [signed(site)]
        handed(site, **anchors)
        notes += [signed(site), signed(site)]
        handed(site, **anchors)
        handed(site, **anchors)
    assert got == notes
    kept = sorted((tmp_path / "elsewhere").iterdir())
    assert [path.read_bytes() for path in kept] == notes
    with site.database.read() as db:
        assert [(s.name, s.size, s.waiting, s.error) for s in standings(db, list(anchors))] == [
            ("disk", 3, 0, None), ("hook", 3, 0, None)
        ]  # fmt: skip


def test_what_does_not_arrive_waits_is_tried_later_and_alarms(site: Site, tmp_path: Path, clock: ManualClock) -> None:
    blocked, urls = tmp_path / "disk", {"disk": f"file://{tmp_path}/disk"}
    watched = Site(**{**site.__dict__, "settings": site.settings.model_copy(update={"anchors": {
        name: SecretStr(url) for name, url in urls.items()
    }})})  # fmt: skip
    signed(site)
    handed(site, **urls)
    kept = blocked.rename(tmp_path / "kept")
    blocked.write_text("a file where the folder was")
    signed(site)
    handed(site, **urls)
    with site.database.read() as db:
        [one] = standings(db, ["disk"])
        assert (one.size, one.waiting, one.failing_since) == (1, 1, clock.now())
        assert not due(db, ["disk"], clock.now() + timedelta(seconds=29))
        assert due(db, ["disk"], clock.now() + timedelta(seconds=30))
        assert anchor_watch.problems(watched, db)[0].startswith("anchors take no checkpoints: disk")
    clock.move_to(clock.now() + timedelta(hours=1))
    handed(site, **urls)
    with site.database.write() as db:
        anchor_watch.watch(watched, db, clock.now())
        alert = db.scalars(select(Alert).where(Alert.metric == anchor_watch.ANCHOR)).one()
        assert (alert.state, "has taken no checkpoint since" in alert.sentence) == ("open", True)
    blocked.unlink()
    kept.rename(blocked)
    signed(site)
    clock.move_to(clock.now() + timedelta(hours=1))
    handed(site, **urls)
    assert len(list(blocked.iterdir())) == 3  # nothing was left out
    with site.database.write() as db:
        anchor_watch.watch(watched, db, clock.now())
        assert db.scalars(select(Alert.state).where(Alert.metric == anchor_watch.ANCHOR)).one() == "resolved"
        assert anchor_watch.problems(watched, db) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda handler, _: said(handler, 302, Location="http://127.0.0.1:1/"), "a redirect, which is not followed"),
        (lambda handler, _: said(handler, 500), "answered 500"),
        (lambda handler, _: handler.wfile.write(b"nonsense\r\n\r\n"), "not HTTP"),
    ],
)
def test_a_webhook_that_does_not_take_it_is_told(answer: Answer, words: str) -> None:
    with serving(answer) as url, pytest.raises(AnchorError, match=words):
        anchor_of("hook", f"webhook+{url}").take(Anchored(1, b"note\n"))


def test_a_webhook_that_hangs_is_left() -> None:
    over = threading.Event()

    def hangs(_: http.server.BaseHTTPRequestHandler, __: bytes) -> None:
        over.wait(20)

    with serving(hangs) as url:
        try:
            with pytest.raises(AnchorError, match="no answer within"):
                WebhookAnchor(url, limit_s=0.3).take(Anchored(1, b"note\n"))
        finally:
            over.set()


def test_another_checkpoint_of_the_same_size_is_not_overwritten(tmp_path: Path) -> None:
    anchor = anchor_of("disk", f"file://{tmp_path}")
    anchor.take(Anchored(7, b"first\n"))
    anchor.take(Anchored(7, b"first\n"))
    with pytest.raises(AnchorError, match="another content"):
        anchor.take(Anchored(7, b"second\n"))


@SQLITE_ONLY
def test_after_a_recovery_a_checkpoint_of_a_lost_size_is_kept_beside_the_lost_one(site: Site, tmp_path: Path) -> None:
    lost, urls = [signed(site) for _ in range(3)][-1], {"disk": f"file://{tmp_path}/disk"}
    handed(site, **urls)
    cut(site, 2, anchor=False)
    with site.database.write() as db:
        db.execute(update(AnchorState).values(size=2))  # as the older copy has it
    recover(site)
    with site.database.write() as db:
        again = site.sign_ledger(db)
        assert again.size == 3
    handed(site, **urls)
    kept = {path.read_bytes() for path in (tmp_path / "disk").iterdir()}
    assert kept >= {lost, again.note.encode()}
    with site.database.read() as db:
        assert standings(db, ["disk"])[0].error is None


@pytest.mark.parametrize(
    "url", ["", "ftp://host/x", "file://host/x", "file:relative", "webhook://host", "rfc3161+https://host/t", "s3:///x"]
)
def test_what_is_no_anchor_is_refused_at_the_start_without_its_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidError, match=r"anchors\.vault") as raised:
        anchors_of(settings.load({"ASSAY_ANCHORS__VAULT": url or "x"}, home=tmp_path).anchors)
    assert not url or url not in raised.value.message


def test_an_object_store_keeps_each_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not MOTO.exists():
        absent("moto_server", "it with `make setup`")
    with object_store(tmp_path / "moto.log") as store:
        files = S3FileSystem(
            access_key=store.key, secret_key=store.secret, endpoint_override=store.url, region="us-east-1",
            allow_bucket_creation=True,
        )  # fmt: skip
        files.create_dir("proof")
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        anchor = ObjectStoreAnchor("s3://proof/ledger")
        anchor.take(Anchored(12, b"note\n"))
        anchor.take(Anchored(12, b"note\n"))
        with pytest.raises(AnchorError, match="another content"):
            anchor.take(Anchored(12, b"other\n"))
        with files.open_input_stream("proof/ledger/checkpoint-000000000012.note") as file:
            assert file.read() == b"note\n"
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(AnchorError, match="refuses or does not answer") as raised:
            ObjectStoreAnchor("s3://proof/other").take(Anchored(12, b"note\n"))
        assert store.secret not in str(raised.value)


# An authority: openssl behind a server


class Authority:
    """`openssl ts` with a root and a certificate for time-stamping of its own."""

    def __init__(self, folder: Path, *, days: int = 30) -> None:
        folder.mkdir()
        self.folder = folder
        run = self._run
        (folder / "ts.cnf").write_text(
            "[tsa]\ndefault_tsa=one\n[one]\nserial=serial\ndefault_policy=1.2.3.4\nother_policies=1.2.3.4\n"
            "digests=sha256,sha512\nsigner_digest=sha256\naccuracy=secs:1\ness_cert_id_alg=sha256\n"
            "[ext]\nextendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n"
            "basicConstraints=critical,CA:FALSE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
            "[root]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n"
            "[req]\ndistinguished_name=dn\n[dn]\n"
        )
        (folder / "serial").write_text("01\n")
        new = ("req", "-newkey", "rsa:2048", "-nodes", "-config", "ts.cnf")
        run(
            *new,
            "-x509",
            "-extensions",
            "root",
            "-subj",
            "/CN=Root",
            "-days",
            "3650",
            "-keyout",
            "root.key",
            "-out",
            "root.pem",
        )
        run(*new, "-subj", "/CN=TSA", "-keyout", "tsa.key", "-out", "tsa.csr")
        run(
            "x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-extfile",
            "ts.cnf", "-extensions", "ext", "-days", str(days), "-out", "tsa.pem",
        )  # fmt: skip

    def _run(self, *arguments: str, feed: bytes = b"") -> bytes:
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, input=feed, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def answer(self, query: bytes) -> bytes:
        (self.folder / "query").write_bytes(query)
        return self._run(
            "ts", "-reply", "-config", "ts.cnf", "-queryfile", "query", "-signer", "tsa.pem", "-inkey", "tsa.key"
        )

    def of_another_digest(self, _: bytes) -> bytes:
        query = self._run("ts", "-query", "-digest", "00" * 32, "-sha256", "-cert", "-no_nonce")
        return self.answer(query)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "a")


def test_an_authority_stamps_the_newest_checkpoint_and_verify_holds_it_against_its_certificate(
    site: Site, authority: Authority, tmp_path: Path
) -> None:
    signed(site)
    note = signed(site)
    with serving(lambda handler, body: said(handler, 200, authority.answer(body))) as url:
        anchor = f"rfc3161+{url}?certificate={authority.folder}/root.pem"
        handed(site, tsa=anchor)
    anchors, evidence = anchors_of({"tsa": SecretStr(anchor)}), site.settings.anchor_dir
    with site.database.read() as db:
        assert standings(db, ["tsa"])[0].size == 2
        findings, last = timestamp_findings(db, anchors, evidence)
        assert (findings, last["tsa"][0]) == ([], 2)
        path = evidence / evidence_name("tsa", 2)
        stamp = path.read_bytes()
        path.write_bytes(stamp[:-1] + bytes([stamp[-1] ^ 1]))
        assert [f.what for f in timestamp_findings(db, anchors, evidence)[0]] == ["anchor.timestamp"]
        path.write_bytes(stamp)
        path.rename(evidence / evidence_name("tsa", 1))  # of another checkpoint
        assert "another digest" in timestamp_findings(db, anchors, evidence)[0][0].found
        path.write_bytes(stamp)
        other = Authority(tmp_path / "other")
        foreign = anchors_of({"tsa": SecretStr(f"rfc3161+{url}?certificate={other.folder}/root.pem")})
        assert "does not verify against root.pem" in timestamp_findings(db, foreign, evidence)[0][-1].found
    assert note


def test_an_authority_whose_certificate_is_declared_is_not_asked_for_it(authority: Authority, tmp_path: Path) -> None:
    pem = tmp_path / "chain.pem"
    pem.write_bytes(b"".join((authority.folder / name).read_bytes() for name in ("root.pem", "tsa.pem")))
    with serving(lambda handler, body: said(handler, 200, authority.answer(body))) as url:
        stamp = anchor_of("tsa", f"rfc3161+{url}?certificate={pem}").take(Anchored(1, b"note\n"))
    assert stamp is not None
    assert len(stamp) < 1500  # without certificates
    assert check_timestamp(stamp, b"note\n", pem).tzinfo is not None


def test_what_an_authority_answers_wrongly_does_not_count(authority: Authority, tmp_path: Path) -> None:
    expired = Authority(tmp_path / "expired", days=0)
    cases: list[tuple[Callable[[bytes], bytes], Authority, str]] = [
        (authority.of_another_digest, authority, "another digest"),
        (lambda _: b"<html>", authority, "no time-stamp"),
        (expired.answer, expired, "does not verify"),
        (authority.answer, expired, "does not verify"),
    ]
    for answer, trusted, words in cases:
        with serving(lambda handler, body, answer=answer: said(handler, 200, answer(body))) as url:  # type: ignore[misc]
            anchor = anchor_of("tsa", f"rfc3161+{url}?certificate={trusted.folder}/root.pem")
            with pytest.raises(AnchorError, match=words):
                anchor.take(Anchored(1, b"note\n"))
