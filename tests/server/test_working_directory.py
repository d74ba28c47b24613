"""A service that is started among files with the names of modules imports none of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.process import Child, isolated
from tests.api.test_cli import SPEC
from tests.forks import ROOT
from tests.service import Service, assay_afresh, environment

FOLDERS = ("reports", "api", "core", "governance", "monitor", "retrain", "migrations", "torch", "typst", "vl_convert")
FILES = ("json", "queue", "polars", "numpy", "jinja2", "deltalake", "uvicorn", "joblib", "pickle", "cloudpickle")
TRAP = "raise SystemExit('imported from the working directory')\n"
FAN_OUT = """
from core.process import leave_working_directory
leave_working_directory()
import os, sys
from core.engine import Call, run
from core.settings import EngineSettings
print(len(set(run(EngineSettings(jobs=2), [Call(str(i), os.getpid, ()) for i in range(2)]))) > 0, sys.path.count(""))
"""


@pytest.fixture
def traps(tmp_path: Path) -> Path:
    folder = tmp_path / "traps"
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(TRAP)
    (folder / "reports" / "__init__.py").unlink()  # a plain folder is found as well
    for name in FILES:
        (folder / f"{name}.py").write_text(TRAP)
    return folder


def test_everything_works_where_names_of_modules_lie_about(traps: Path, tmp_path: Path) -> None:
    running = Service(tmp_path / "home", environ={}, cwd=traps)
    try:
        running.start()
        known = {"ASSAY_CLIENT__URL": running.url, "ASSAY_CLIENT__KEY": running.admin_key}
        spec = traps / "spec.json"
        spec.write_text(json.dumps(SPEC))
        for arguments in (("apply", str(spec)), ("doctor", "--json"), ("report", SPEC["model"], "--out", "reports")):
            done = assay_afresh(*arguments, environ=known, cwd=traps)
            assert done.returncode == 0, (arguments, done.stdout, done.stderr)
            if arguments[0] == "doctor":
                checks = {check["check"]: check["state"] for check in json.loads(done.stdout)}
                assert checks["database"] == "ok"
                assert "missing" not in checks.values()
        assert len(list((traps / "reports").glob("*.pdf"))) == 1
        assert "imported from" not in running.log_tail()
    finally:
        running.stop()


def test_a_process_for_heavy_work_imports_nothing_from_there(
    traps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(traps)
    monkeypatch.setenv("PYTHONPATH", "")
    log = tmp_path / "log"
    assert Child("governance.verify", ["no-bundle.zip"], log=log, threads=1).wait_while_it_works(60) == 1
    assert "no-bundle.zip cannot be read" in log.read_text()


def test_the_processes_of_large_work_import_nothing_from_there(traps: Path) -> None:
    command = [sys.executable, "-P", "-c", FAN_OUT]
    done = subprocess.run(command, cwd=traps, env=environment(), capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.returncode) == (["True", "0"], 0), done.stderr


def test_python_s_path_keeps_the_folders_that_were_named() -> None:
    found = isolated({"PYTHONPATH": os.pathsep.join(["", ".", "src", "/usr/lib/mine", str(ROOT)])})
    assert found == {"PYTHONPATH": os.pathsep.join([str(ROOT), "/usr/lib/mine"]), "PYTHONSAFEPATH": "1"}
