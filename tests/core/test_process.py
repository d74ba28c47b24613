"""How numeric threads of Assay's processes wait."""

import os
import subprocess
import sys

import pytest

from core.process import ONE_THREAD, WAITING_THREADS, environment, keep_threads_passive

_MAIN = """
import os, sys
import api.cli
loaded = {"numpy", "scipy", "sklearn", "torch"} & set(sys.modules)
sys.argv = ["assay", "settings", "--names"]
try:
    api.cli.main()
except SystemExit:
    pass
print(sorted(loaded), os.environ["OMP_WAIT_POLICY"], os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"])
"""


def test_a_command_sets_them_before_a_numeric_library_is_loaded() -> None:
    kept = {name: value for name, value in os.environ.items() if name not in {**WAITING_THREADS, **ONE_THREAD}}
    done = subprocess.run([sys.executable, "-c", _MAIN], env=kept, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] PASSIVE 1 1"


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    keep_threads_passive()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["OPENBLAS_NUM_THREADS"]) == ("ACTIVE", "4")
    assert environment(2)["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment(2)["OMP_NUM_THREADS"] == "2"
    assert environment(2)["TORCHDYNAMO_DISABLE"] == "1"
