"""Every command as a user types it: what it prints, where, and with which exit code."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from core.settings import variables
from tests.forks import ROOT
from tests.service import Service, assay, environment

SPEC: dict[str, Any] = {
    "model": "intents", "task": "classification", "owner": "ml@example.com", "purpose": "route messages",
    "columns": {
        "channel": {"role": "segment", "type": "category"},
        "intent": {"role": "prediction", "type": "category"},
        "intent_true": {"role": "outcome", "type": "category"},
    },
    "baseline": {"rows": "first 1000"},
    "monitors": {"kpi": [{"metric": "accuracy", "min": 0.8}]},
}  # fmt: skip
NO_RUN = "00000000-0000-4000-8000-000000000000"
DONE, NO, WRONG_USE, REFUSED, SIGNER_UNKNOWN = 0, 1, 2, 3, 5
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def service(shared_service: Service) -> Service:
    return shared_service


@pytest.fixture(scope="module")
def cli(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Run a command against the service with the admin's key."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    known = {"ASSAY_CLIENT__URL": service.url, "ASSAY_CLIENT__KEY": service.admin_key}

    def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        return assay(*arguments, environ=known | environ, cwd=folder)

    done = run("apply", "spec.yaml", "--json")
    assert done.returncode == DONE, done.stderr
    assert json.loads(done.stdout)["outcome"] == "created"
    return run


@pytest.fixture(scope="module")
def bundle(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of a report about a model that has not one window yet."""
    folder = tmp_path_factory.mktemp("reports")
    done = cli("report", "intents", "--from", "2026-01-01", "--out", str(folder), "--json")
    assert done.returncode == DONE, done.stderr
    told = json.loads(done.stdout)
    assert told["from"] == "2026-01-01T00:00:00+00:00"
    files = told["files"]
    assert Path(files["pdf"]).read_bytes().startswith(b"%PDF")
    json.loads(Path(files["json"]).read_bytes())
    done = cli("ledger", "key")
    Path(files["zip"]).with_name("key").write_text(done.stdout)
    return Path(files["zip"])


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home of an installation with a few entries whose service has ended."""
    running = Service(tmp_path_factory.mktemp("stopped") / "home", environ={"ASSAY_LEDGER__CHECKPOINT_S": "1"})
    running.start()
    known = {"ASSAY_CLIENT__URL": running.url, "ASSAY_CLIENT__KEY": running.admin_key}
    for name in ("one", "two", "three"):
        assert assay("keys", "create", name, "--role", "viewer", environ=known).returncode == DONE
    assert running.stop() == 0
    return running.home


def refusal(done: "subprocess.CompletedProcess[str]", code: int, *words: str) -> None:
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_applying_the_same_spec_again_changes_nothing(cli: Cli) -> None:
    done = cli("apply", "spec.yaml")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (DONE, "intents: unchanged, revision 1")


def test_lists_of_a_new_model_are_empty_in_words_and_in_json(cli: Cli) -> None:
    assert cli("evaluate", "intents").stdout == "No window has closed yet.\n"
    assert cli("runs", "intents").stdout == "No run yet.\n"
    for command in ("evaluate", "runs"):
        assert json.loads(cli(command, "intents", "--json").stdout) == []


def test_keys_are_made_listed_and_revoked(cli: Cli) -> None:
    made = json.loads(cli("keys", "create", "shop", "--role", "producer", "--json").stdout)
    assert made["prefix"] in cli("keys", "list").stdout
    assert made["key"] not in cli("keys", "list", "--json").stdout
    refusal(cli("apply", "spec.yaml", ASSAY_CLIENT__KEY=made["key"]), REFUSED, "403", "producer")
    assert cli("keys", "revoke", made["prefix"]).returncode == DONE
    refusal(cli("runs", "intents", ASSAY_CLIENT__KEY=made["key"]), REFUSED, "401", "revoked")
    told = cli("keys", "create", "desk", "--role", "viewer").stdout.splitlines()[0]
    assert cli("runs", "intents", ASSAY_CLIENT__KEY=told).returncode == DONE  # whole, on a terminal of any width


def test_a_session_is_ended_by_the_id_that_the_list_shows_on_a_narrow_terminal(cli: Cli, service: Service) -> None:
    for _ in range(2):
        assert httpx2.post(f"{service.url}/login", data={"key": service.admin_key}).status_code == 303
    shown = cli("keys", "sessions").stdout.partition("━\n")[2].split()[0]
    refusal(cli("keys", "end-session", ""), WRONG_USE, "several sessions")
    refusal(cli("keys", "end-session", "nix"), REFUSED, "422")
    done = cli("keys", "end-session", shown)
    assert done.returncode == DONE, done.stderr
    states = {s["id"][:8]: s["ended_because"] for s in json.loads(cli("keys", "sessions", "--json").stdout)}
    assert (states[shown], len(states) > 1) == ("ended by admin", True)


def test_an_admin_who_lost_the_key_makes_a_new_one_on_the_machine_while_the_service_runs(
    start_server: Callable[..., Service], tmp_path: Path
) -> None:
    service = start_server()
    done = assay("keys", "reset-admin", "--home", str(service.home), "--json")
    assert done.returncode == DONE, done.stderr
    made = json.loads(done.stdout)
    assert made["key"] not in done.stderr
    known = {"ASSAY_CLIENT__URL": service.url}
    listed = assay("keys", "list", "--json", environ=known | {"ASSAY_CLIENT__KEY": made["key"]})
    assert {k["name"]: k["revoked_at"] is None for k in json.loads(listed.stdout)} == {"admin": False, "admin-2": True}
    refusal(assay("keys", "list", environ=known | {"ASSAY_CLIENT__KEY": service.admin_key}), REFUSED, "401")
    refusal(assay("keys", "reset-admin", "--home", str(tmp_path / "none")), WRONG_USE, "no installation", "--home")
    assert not (tmp_path / "none").exists()
    gone = {"ASSAY_DB__URL": "postgresql://127.0.0.1:9/x"}
    refusal(assay("keys", "reset-admin", environ=gone), WRONG_USE, "db.url")


def test_the_ledger_is_shown_with_its_checkpoint(cli: Cli) -> None:
    entries = json.loads(cli("ledger", "entries", "--limit", "1000", "--json").stdout)
    assert entries[0]["kind"] == "key.created"
    spec = next(e for e in entries if (e["kind"], e["subject"]) == ("model.spec", "model:intents"))
    assert "model.spec" in cli("ledger", "entries", "--first", str(spec["index"]), "--limit", "1").stdout


def test_settings_names_every_variable() -> None:
    done = assay("settings", "--names")
    assert done.stdout.split() == [name for name, _ in variables()]
    assert all(meaning in assay("settings").stdout for _, meaning in list(variables())[:1])


def test_doctor_names_each_check_and_says_no_where_the_database_is_damaged(tmp_path: Path) -> None:
    """One whose database is in order is seen in tests/server/test_working_directory.py."""
    (tmp_path / "assay.db").write_bytes(b"no database" * 1000)
    done = assay("doctor", "--home", str(tmp_path), "--json")
    assert done.returncode == NO
    assert {c["check"]: c["state"] for c in json.loads(done.stdout)}["database"] == "missing"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("apply", "none.yaml"), WRONG_USE, ("none.yaml", "not a file")),
        (("evaluate", "nobody"), REFUSED, ("404", "'nobody'", "assay apply")),
        (("runs", "no/body"), REFUSED, ("404",)),
        (("report", "nobody"), REFUSED, ("404", "'nobody'")),
        (
            ("report", "intents", "--from", "2026-02-01", "--to", "2026-01-01"),
            WRONG_USE,
            ("from", "2026-02-01", "swap"),
        ),
        (("report", "intents", "--quarter", "summer"), WRONG_USE, ("quarter", "summer", "2026Q3")),
        (
            ("report", "intents", "--out", str(ROOT / "reports")),
            WRONG_USE,
            ("--out", "Assay's own code", "--out my-reports"),
        ),
        (
            ("demo", "--folder", str(ROOT / "reports" / "render")),
            WRONG_USE,
            ("--folder", "Assay's own code", "--folder my-render"),
        ),
        (("retrain", "nobody", "--reason", "x"), REFUSED, ("404", "'nobody'")),
        (("retrain", "intents", "--reason", "x"), REFUSED, ("409", "retrain section")),
        (("promote", NO_RUN, "--reason", "x"), REFUSED, ("404", NO_RUN)),
        (("rollback", NO_RUN, "--reason", "x"), REFUSED, ("404", NO_RUN)),
        (("keys", "revoke", "none"), REFUSED, ("404", "'none'")),
        (("keys", "create", "x", "--role", "king"), REFUSED, ("422", "role", "producer")),
        (("verify", "none.zip"), WRONG_USE, ("none.zip",)),
        (("verify", "--home", "nowhere"), WRONG_USE, ("nowhere", "--home")),
        (("replay", "spec.yaml", "none.csv"), WRONG_USE, ("none.csv", "does not exist")),
        (("demo", "--train", "x.csv"), WRONG_USE, ("--test",)),
        (("demo", "--train", "x.csv", "--test", "y.csv"), WRONG_USE, ("x.csv",)),
        (("serve", "--home", "spec.yaml"), WRONG_USE, ("home", "spec.yaml")),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_a_refusal_is_one_line_that_names_what_is_wrong(
    cli: Cli, arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    refusal(cli(*arguments), code, *words)


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",), ("promote", "not-an-id", "--reason", "x"), ("retrain", "intents"), ("serve", "--port", "99999"),
        ("ledger", "entries", "--limit", "0"), ("report", "intents", "--days", "0"), ("replay", "spec.yaml"),
    ],
    ids=lambda value: "-".join(value)[:40],
)  # fmt: skip
def test_wrong_arguments_are_explained(cli: Cli, arguments: tuple[str, ...]) -> None:
    done = cli(*arguments)
    assert (done.returncode, done.stdout) == (WRONG_USE, "")
    assert "Error" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("environ", "code", "words"),
    [
        ({"ASSAY_CLIENT__URL": "http://127.0.0.1:9"}, REFUSED, ("127.0.0.1:9", "assay serve")),
        ({"ASSAY_CLIENT__URL": "nonsense"}, REFUSED, ("nonsense", "http://")),
        ({"ASSAY_CLIENT__KEY": "assay_no_such"}, REFUSED, ("401", "not valid")),
        ({"ASSAY_CLIENT__KEY": "clé"}, WRONG_USE, ("client.key",)),
        ({"ASSAY_CLIENT__COLOUR": "red"}, WRONG_USE, ("ASSAY_CLIENT__COLOUR", "ASSAY_CLIENT__URL")),
        ({"ASSAY_SERVER__PORT": "many"}, WRONG_USE, ("server.port", "many")),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else None,
)
def test_settings_that_cannot_work_are_named(
    cli: Cli, environ: dict[str, str], code: int, words: tuple[str, ...]
) -> None:
    refusal(cli("runs", "intents", **environ), code, *words)


def test_a_spec_with_several_mistakes_lists_them_all(cli: Cli, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump(SPEC | {"task": "guessing", "risk": "none"}))
    done = cli("apply", str(wrong))
    assert done.returncode == WRONG_USE
    lines = done.stderr.splitlines()
    assert [word in line for word, line in zip(("task (line ", "risk (line "), lines, strict=True)] == [True, True]
    wrong.write_text("model: [")
    refusal(cli("apply", str(wrong)), WRONG_USE, "neither YAML nor JSON", "line 1")


@pytest.mark.parametrize("command", ["serve", "api"])
def test_a_port_that_is_taken_is_named(service: Service, tmp_path: Path, command: str) -> None:
    port = service.url.rpartition(":")[2]
    refusal(assay(command, "--home", str(tmp_path / "home"), "--port", port), WRONG_USE, port, "--port")


def test_a_database_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    for url in ("postgresql://127.0.0.1:9/x", "nonsense://x", "zzz"):
        refusal(assay("worker", "--home", str(tmp_path), environ={"ASSAY_DB__URL": url}), WRONG_USE, "db.url")


def test_api_and_worker_run_apart_and_end_on_a_signal(tmp_path: Path) -> None:
    run = [sys.executable, "-c", "from api.cli import main; main()"]
    options: dict[str, Any] = {"env": environment(), "stderr": subprocess.DEVNULL, "text": True}
    api = subprocess.Popen(
        [*run, "api", "--home", str(tmp_path), "--port", "0", "--json"], stdout=subprocess.PIPE, **options
    )
    assert api.stdout is not None
    ready = json.loads(api.stdout.readline())
    assert httpx2.get(f"{ready['url']}/healthz").json() == {"status": "ok"}
    worker = subprocess.Popen([*run, "worker", "--home", str(tmp_path)], stdout=subprocess.DEVNULL, **options)
    assert list((tmp_path / "anchor").glob("*.note"))  # what the first start recorded is signed before it answers

    def ticking() -> bool:
        with closing(sqlite3.connect(tmp_path / "assay.db")) as db:
            return bool(db.execute("select count(*) from lease").fetchone()[0])

    for _ in range(1200):  # the scheduler, which runs in the worker, takes its lease
        if ticking():
            break
        ended = api.poll() is not None or worker.poll() is not None
        assert not ended
        signal.sigtimedwait([signal.SIGUSR2], 0.1)
    assert ticking()
    for process in (worker, api):
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    api.stdout.close()


# --- verify -----------------------------------------------------------------------------------------------------------


def test_a_bundle_verifies_and_one_changed_byte_is_named(bundle: Path, tmp_path: Path) -> None:
    key = ("--key", str(bundle.with_name("key")))
    done = assay("verify", str(bundle), "--json", *key)
    assert done.returncode == DONE, done.stdout
    assert json.loads(done.stdout)["ok"] is True
    done = assay("verify", str(bundle), "--json")
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (SIGNER_UNKNOWN, False)
    assert json.loads(done.stdout)["verdict"] == "consistent; signer unknown"
    copy = tmp_path / "changed.zip"
    content = bytearray(bundle.read_bytes())
    content[content.index(b'"kind":"model.spec"') + 10] ^= 1
    copy.write_bytes(content)
    done = assay("verify", str(copy))
    assert done.returncode == NO
    assert "ledger/entries.jsonl" in done.stdout
    assert "Traceback" not in done.stderr
    done = assay("verify", str(bundle), str(copy), "--json", *key)  # as from a shell's *.zip: a verdict each
    assert done.returncode == NO, done.stderr
    assert [(v["bundle"], v["ok"]) for v in json.loads(done.stdout)] == [(str(bundle), True), (str(copy), False)]


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\x00" * 100, b"half"], ids=["empty", "header", "zeros", "half"]
)
def test_a_bundle_that_is_none_is_a_finding(bundle: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.zip"
    path.write_bytes(bundle.read_bytes()[:-5000] if content == b"half" else content)
    done = assay("verify", str(path))
    assert (done.returncode, "FAILED" in done.stdout, done.stderr) == (NO, True, "")


def test_another_zip_is_a_finding_and_so_is_a_key_that_did_not_sign(
    bundle: Path, tmp_path: Path, stopped: Path
) -> None:
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("hello.txt", "hello")
    assert assay("verify", str(other)).returncode == NO
    assert assay("verify", str(bundle), "--key", str(stopped / "keys" / "ledger.vkey")).returncode == NO
    done = assay("verify", str(bundle), "--key", "no key")
    assert done.returncode in (NO, WRONG_USE)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe\x00", None], ids=["empty", "blank", "no text", "no name"])
def test_a_key_file_without_a_key_is_refused_and_never_means_that_no_key_was_given(
    bundle: Path, stopped: Path, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "assay.vkey"
    path.write_bytes(content or b"")
    key = str(path) if content is not None else ""
    for what in ([str(bundle)], ["--home", str(stopped)]):
        done = assay("verify", *what, "--key", key)
        assert (done.returncode, done.stdout) == (WRONG_USE, "")
        assert "--key" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_own_ledger_verifies_and_a_flipped_byte_names_its_entry(stopped: Path, tmp_path: Path) -> None:
    done = assay("verify", "--home", str(stopped))
    assert (done.returncode, done.stdout.split(":")[0]) == (DONE, "OK"), done.stdout + done.stderr
    home = _copy(stopped, tmp_path / "home")
    content = bytearray((home / "assay.db").read_bytes())
    content[content.index(b'"index":2,"kind"') + len(b'"index":2,"kind":"k')] ^= 1
    (home / "assay.db").write_bytes(content)
    done = assay("verify", "--home", str(home))
    assert done.returncode == NO
    assert "entry 2" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_row_taken_out_is_named(stopped: Path, tmp_path: Path) -> None:
    home = _copy(stopped, tmp_path / "home")
    with sqlite3.connect(home / "assay.db") as database:
        database.execute("drop trigger ledger_entry_no_delete")
        database.execute('delete from ledger_entry where "index" = 3')
    database.close()
    done = assay("verify", "--home", str(home), "--json")
    assert done.returncode == NO
    assert json.loads(done.stdout)["findings"]


def test_a_database_damaged_anywhere_never_ends_in_a_traceback(stopped: Path, tmp_path: Path) -> None:
    content = (stopped / "assay.db").read_bytes()
    page = content.index(b'"kind":"key.created"') // 4096 * 4096
    random.seed(1)
    places = [0, 16, 28, 100, page, page + 3, page + 8, *(random.randrange(len(content)) for _ in range(2))]
    home = _copy(stopped, tmp_path / "home")
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 0xFF
        (home / "assay.db").write_bytes(changed)
        _assert_an_answer(home)
    for rest in (b"", content[: len(content) // 2]):
        (home / "assay.db").write_bytes(rest)
        assert _assert_an_answer(home) == NO


def test_verify_makes_nothing_and_names_what_is_gone(stopped: Path, tmp_path: Path) -> None:
    home = _copy(stopped, tmp_path / "home")
    (home / "keys" / "subject.key").unlink()
    (home / "assay.db").unlink()
    done = assay("verify", "--home", str(home))
    assert (done.returncode, "assay.db" in done.stdout) == (NO, True)
    assert not (home / "assay.db").exists()
    assert not (home / "keys" / "subject.key").exists()
    (home / "keys" / "ledger.key").write_text("garbage")
    refusal(assay("verify", "--home", str(home)), WRONG_USE, "ledger.key", "damaged", "--key")


def _assert_an_answer(home: Path) -> int:
    for name in ("assay.db-wal", "assay.db-shm"):
        (home / name).unlink(missing_ok=True)
    done = assay("verify", "--home", str(home))
    assert done.returncode in (DONE, NO), done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode


def _copy(home: Path, to: Path) -> Path:
    shutil.copytree(home, to)
    assert not (to / "assay.db-wal").exists(), "a service that ended leaves its database in one file"
    os.sync()
    return to
