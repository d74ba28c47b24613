"""`assay ingest` from an object store: a real S3 endpoint that checks signatures, and the promises made for files."""

import base64
import http.server
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pytest
import yaml
from pyarrow.fs import AzureFileSystem, FileSystem, GcsFileSystem, S3FileSystem

from api.upload.files import _opened
from tests.api.test_ingest import COLUMNS, rows
from tests.beside import (
    AZURE_ACCOUNT,
    AZURE_KEY,
    AZURITE,
    GOOGLE,
    MOTO,
    ObjectStore,
    azure_store,
    google_store,
    object_store,
)  # fmt: skip
from tests.conftest import absent
from tests.forks import ROOT
from tests.service import Service, assay, environment

Ingest = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    if not MOTO.exists():
        absent("moto_server", "it with `make setup`")
    with object_store(tmp_path_factory.mktemp("moto") / "moto.log") as running:
        yield running


@pytest.fixture(scope="module")
def drops(store: ObjectStore) -> S3FileSystem:
    """The store as its owner sees it, with one bucket."""
    files = S3FileSystem(
        access_key=store.key, secret_key=store.secret, endpoint_override=store.url, region="us-east-1",
        allow_bucket_creation=True,
    )  # fmt: skip
    files.create_dir("drops")
    return files


@pytest.fixture(scope="module")
def service(shared_service: Service) -> Service:
    return shared_service


@pytest.fixture
def known(service: Service, store: ObjectStore, tmp_path: Path) -> dict[str, str]:
    """What the command finds in its environment: the service, and the store's keys."""
    name = f"m{abs(hash(tmp_path)) % 10**12}"
    document = {
        "model": name, "task": "classification", "owner": "ml@example.com", "purpose": "route messages",
        "columns": COLUMNS, "baseline": {"rows": "first 100000"},
    }  # fmt: skip
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(document))
    return {
        **store.environment(), "ASSAY_CLIENT__URL": service.url, "ASSAY_CLIENT__KEY": service.admin_key,
        "ASSAY_HOME": str(tmp_path / "mine"),
    }  # fmt: skip


@pytest.fixture
def ingest(known: dict[str, str], tmp_path: Path) -> Ingest:
    def run(uri: str, *more: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        return assay("ingest", "spec.yaml", uri, "--json", *more, environ=known | environ, cwd=tmp_path)

    return run


def put(drops: FileSystem, key: str, frame: pl.DataFrame) -> None:
    body = io.BytesIO()
    frame.with_columns(pl.col("ts").str.to_datetime(time_zone="UTC")).write_parquet(body)
    with drops.open_output_stream(f"drops/{key}") as out:
        out.write(body.getvalue())


def counted(done: "subprocess.CompletedProcess[str]") -> tuple[int, int, int]:
    """Files sent, events stored, and events that were stored before."""
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["rejected_total"] == 0
    return answer["files"], answer["accepted"], answer["duplicates"]


def test_one_object_is_sent_like_a_file(drops: S3FileSystem, ingest: Ingest) -> None:
    put(drops, "one/a.parquet", rows(300))
    assert counted(ingest("s3://drops/one/a.parquet")) == (1, 300, 0)
    assert counted(ingest("s3://drops/one/a.parquet")) == (0, 0, 0)


def test_the_objects_below_a_prefix_are_sent_and_those_that_are_new_or_changed_later(
    drops: S3FileSystem, ingest: Ingest
) -> None:
    for day in range(1, 31):
        put(drops, f"march/date=2026-03-{day:02}/part-0.parquet", rows(40, f"d{day}-"))
    assert counted(ingest("s3://drops/march")) == (30, 1200, 0)
    put(drops, "march/date=2026-03-31/part-0.parquet", rows(40, "d31-"))
    put(drops, "march/date=2026-03-02/part-0.parquet", rows(50, "d2-"))
    assert counted(ingest("s3://drops/march/")) == (2, 50, 40)
    with drops.open_output_stream("drops/march/notes.txt") as out:
        out.write(b"not rows")
    done = ingest("s3://drops/march")
    assert (done.returncode, "unknown kind of file" in done.stderr) == (2, True)


@pytest.mark.slow
def test_killed_in_the_middle_of_a_prefix_and_run_again_every_row_is_stored_once(
    drops: S3FileSystem, ingest: Ingest, known: dict[str, str], tmp_path: Path
) -> None:
    for part in range(25):
        put(drops, f"big/part-{part:02}.parquet", rows(400, f"b{part}-"))
    command = [sys.executable, "-c", "from api.cli import main; main()", "ingest", "spec.yaml", "s3://drops/big"]

    def finished() -> int:
        notes = [json.loads(path.read_bytes()) for path in (tmp_path / "mine/ingest").glob("*.json")]
        return sum(done["finished"] for note in notes for done in note["files"].values())

    for _ in range(2):
        with subprocess.Popen(command, env=environment(known), cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
            before, deadline = finished(), time.monotonic() + 180
            while finished() < before + 4 and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
    left = 25 - finished()
    assert 0 < left <= 25 - 8
    files, accepted, duplicates = counted(ingest("s3://drops/big"))
    assert (files, accepted + duplicates) == (left, left * 400)
    assert counted(ingest("s3://drops/big", "--state", "fresh.json")) == (25, 0, 10_000)


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not GOOGLE.exists():
        absent("gcp-storage-emulator", "it with `make setup`")
    with google_store(tmp_path_factory.mktemp("google") / "log") as address:
        yield address


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if AZURITE is None:
        pytest.skip("azurite-blob is not on the PATH; get it with `npm install -g azurite`")
    with azure_store(tmp_path_factory.mktemp("azure") / "log") as address:
        yield address


def sent_and_sent_again(files: FileSystem, ingest: Ingest, uri: str, **environ: str) -> None:
    """An object, then the prefix it is under, then the same again; `uri` has {} where the path goes."""
    put(files, "2026/a.parquet", rows(30))
    assert counted(ingest(uri.format("drops/2026/a.parquet"), **environ)) == (1, 30, 0)
    put(files, "2026/more/b.parquet", rows(20, "b"))
    assert counted(ingest(uri.format("drops/2026"), **environ)) == (2, 20, 30)
    assert counted(ingest(uri.format("drops/2026"), **environ)) == (0, 0, 0)
    done = ingest(uri.format("drops/2025"), **environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert "drops/2025" in done.stderr
    assert "does not exist" in done.stderr


def test_objects_of_google_are_sent_like_those_of_s3(google: str, ingest: Ingest) -> None:
    files = GcsFileSystem(anonymous=True, scheme="http", endpoint_override=google)
    sent_and_sent_again(files, ingest, f"gs://anonymous@{{}}?scheme=http&endpoint_override={google}")


def test_objects_of_azure_are_sent_with_the_accounts_key(azure: str, ingest: Ingest) -> None:
    options: dict[str, Any] = {f"{kind}_storage_authority": azure for kind in ("blob", "dfs")}
    options |= {f"{kind}_storage_scheme": "http" for kind in ("blob", "dfs")}
    files = AzureFileSystem(AZURE_ACCOUNT, account_key=AZURE_KEY, **options)
    files.create_dir("drops")
    uri = f"abfs://{AZURE_ACCOUNT}@{azure}/{{}}?enable_tls=false"
    sent_and_sent_again(files, ingest, uri, AZURE_STORAGE_KEY=AZURE_KEY)
    wrong = base64.b64encode(b"hidden" * 8).decode()
    done = ingest(uri.format("drops/2026"), AZURE_STORAGE_KEY=wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert "credentials" in done.stderr
    assert wrong not in done.stderr


@pytest.mark.parametrize(
    ("name", "variable"), [("account_key", "AZURE_STORAGE_KEY"), ("sas_token", "AZURE_STORAGE_SAS_TOKEN")]
)
def test_keys_of_azure_are_taken_from_the_environment(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, AZURE_KEY)
    store, path = _opened("abfs://drops@account.dfs.core.windows.net/2026")
    assert path == "drops/2026"
    options: dict[str, Any] = {name: AZURE_KEY}
    assert store == AzureFileSystem("account", **options)


@pytest.mark.parametrize(
    ("uri", "environ", "words"),
    [
        ("s3://drops/one/a.parquet", {"AWS_SECRET_ACCESS_KEY": "wrong"}, ("ACCESS_DENIED", "credentials")),
        ("s3://drops/one/a.parquet", {"AWS_ACCESS_KEY_ID": "AKIANOBODY"}, ("ACCESS_DENIED", "credentials")),
        ("s3://drops/one/a.parquet", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, ("connect", "address")),
        ("s3://nowhere/a.parquet", {}, ("s3://nowhere/a.parquet does not exist",)),
        ("s3://nowhere", {}, ("s3://nowhere does not exist",)),
        ("s3://drops/no/such", {}, ("s3://drops/no/such does not exist",)),
        ("s3://me:hidden@drops/one/a.parquet", {}, ("password or key", "AWS_SECRET_ACCESS_KEY")),
        ("s3://me:hid/den@drops/one/a.parquet", {}, ("password or key",)),
    ],
    ids=["secret", "key", "endpoint", "object of no bucket", "bucket", "prefix", "password", "slash in a password"],
)
def test_what_cannot_be_read_is_said_in_a_line_without_secrets(
    drops: S3FileSystem, ingest: Ingest, tmp_path: Path, uri: str, environ: dict[str, str], words: tuple[str, ...]
) -> None:
    put(drops, "one/a.parquet", rows(3))
    done = ingest(uri, **environ)
    assert (done.returncode, done.stdout) == (2, "")
    for word in words:
        assert word in done.stderr
    assert "hid" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "mine" / "ingest").exists()


def test_the_example_of_the_page_runs_with_the_variables_it_names(
    drops: S3FileSystem, known: dict[str, str], store: ObjectStore, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "ingest.md").read_text()
    example = next(text for text in re.findall(r"^```sh\n(.*?)^```$", page, re.M | re.S) if "s3://" in text)
    put(drops, "2026-03/a.parquet", rows(7))
    for name, value in store.environment().items():
        example = re.sub(rf"^export {name}=.*$", f"export {name}={value}", example, flags=re.M)
    kept = {name: value for name, value in known.items() if not name.startswith("AWS_")}
    script = f'assay() {{ {sys.executable} -c "from api.cli import main; main()" "$@"; }}\n{example}'
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=environment(kept), cwd=tmp_path, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "7 rows: 7 events" in done.stdout


@pytest.mark.slow
def test_a_listing_that_takes_longer_than_arrows_patience_is_waited_for(
    store: ObjectStore, drops: S3FileSystem, ingest: Ingest
) -> None:
    put(drops, "slow/a.parquet", rows(5))
    with _Slow(store.url, pause_s=4.5) as front:
        threading.Thread(target=front.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{front.server_address[1]}"
        try:
            assert counted(ingest("s3://drops/slow", AWS_ENDPOINT_URL=url)) == (1, 5, 0)
        finally:
            front.shutdown()
    assert front.listed


class _Slow(http.server.ThreadingHTTPServer):
    """In front of the store: passes everything on, listings after a pause."""

    daemon_threads = True

    def __init__(self, url: str, pause_s: float) -> None:
        self.upstream, self.pause_s, self.listed = url, pause_s, 0
        super().__init__(("127.0.0.1", 0), _Pass)


class _Pass(http.server.BaseHTTPRequestHandler):
    server: _Slow
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if "list-type=2" in self.path:
            self.server.listed += 1
            time.sleep(self.server.pause_s)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"}
        answer = httpx2.request(self.command, self.server.upstream + self.path, headers=headers, timeout=60)
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.headers.get("content-length", str(len(answer.content))))
        self.end_headers()
        self.wfile.write(answer.content)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3a://drops/one", ("s3a://drops/one cannot be read as a URI", "s3://bucket/folder, gs://bucket/folder, abfs://container@")),
        ("https://example.com/a.parquet", ("https://example.com/a.parquet cannot be read as a URI", "file:///folder")),
        ("s3://", ("names no bucket or folder",)),
        ("gs://", ("names no bucket or folder",)),
        ("s3:///one", ("Missing bucket name",)),
        ("s3://drops/one?colour=red", ("colour",)),
        ("abfs://account/container", ("account name", "abfs://container@account.dfs.core.windows.net/folder")),
        ("gs://drops/one?retry_limit_seconds=1", ("gs://drops/one", "credentials")),
        ("abfs://drops@account.dfs.core.windows.net/one", ("abfs://drops@account", "credentials")),
    ],
)  # fmt: skip
def test_what_is_no_store_that_can_be_read_is_said_in_a_line(uri: str, words: tuple[str, ...], ingest: Ingest) -> None:
    done = ingest(uri, PATH="", GCE_METADATA_HOST="127.0.0.1:9")
    assert (done.returncode, done.stdout) == (2, "")
    for word in words:
        assert word in done.stderr
    said = done.stderr.splitlines()
    assert len(said) - said.count("/bin/sh: 1: az: not found") == 1  # Azure's library asks its own tool
