"""Who may import whom, and what starting a process loads. Each contract is seen to fail before it is trusted."""

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service import environment

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "migrations", "reports", "retrain", "monitor", "governance", "core")
HEAVY = (
    "torch", "transformers", "sentence_transformers", "peft", "bitsandbytes", "trl", "evidently", "shap", "pandas",
    "scipy", "sklearn", "river", "altair",
)  # fmt: skip
IMPORT_LIMIT_S = 1.5

PLANTED = [
    ("core/clock.py", "import monitor.spec.model", "core is not allowed to import monitor"),
    ("governance/proof/merkle.py", "import retrain.tables", "governance is not allowed to import retrain"),
    ("retrain/tables.py", "import api", "retrain is not allowed to import api"),
    ("monitor/spec/model.py", "import torch", "monitor is not allowed to import torch"),
    ("core/artifacts.py", "def late() -> None:\n    import transformers", "core is not allowed to import transformers"),
    ("retrain/tables.py", "import peft", "retrain is not allowed to import peft"),
    ("monitor/kpi/__init__.py", "import sqlalchemy", "monitor.kpi is not allowed to import sqlalchemy"),
    ("monitor/drift/__init__.py", "import monitor.tables", "monitor.drift is not allowed to import"),
    ("governance/proof/merkle.py", "import core.db", "governance.proof is not allowed to import core.db"),
    ("core/canonical.py", "import fastapi", "core.canonical is not allowed to import fastapi"),
    ("monitor/drift/__init__.py", "import monitor.kpi", "monitor.drift is not allowed to import monitor.kpi"),
]


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"],
        cwd=folder, env=environment({"PYTHONPATH": str(folder), "COLUMNS": "400"}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The code alone, copied to a folder where it may be spoilt."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "statement", "complaint"), PLANTED, ids=[f"{f}: {s.split()[-1]}" for f, s, _ in PLANTED]
)
def test_a_forbidden_import_is_refused(copy: Path, file: str, statement: str, complaint: str) -> None:
    path = copy / file
    path.write_text(f"{path.read_text()}\n{statement}\n")
    done = lint(copy)
    assert done.returncode != 0, done.stdout
    assert complaint in " ".join(done.stdout.split()), done.stdout


@pytest.mark.parametrize("folder", ["retrain/train", "retrain/evals", "monitor/explain", "monitor/encode"])
def test_torch_is_allowed_where_models_run(copy: Path, folder: str) -> None:
    path = copy / folder / "__init__.py"
    path.write_text(f"{path.read_text()}\nimport torch\n")
    done = lint(copy)
    assert "not allowed to import torch" not in done.stdout, done.stdout


def test_every_package_of_the_checkout_is_under_contract() -> None:
    found = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert found == set(PACKAGES)


def measure(module: str) -> tuple[float, set[str]]:
    """CPU seconds that importing a module takes in a fresh interpreter, and the top-level packages it loads."""
    code = (
        "import json, sys, time; start = time.process_time(); "
        f"import {module}; spent = time.process_time() - start; "
        "print(json.dumps([spent, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    spent, loaded = json.loads(done.stdout)
    return float(spent), set(loaded)


@pytest.mark.parametrize("module", ["api.app", "api.worker", "api.cli"])
def test_a_process_starts_without_the_heavy_libraries(module: str) -> None:
    _, loaded = measure(module)
    found = loaded & set(HEAVY)
    assert not found, f"importing {module} loads {', '.join(sorted(found))}; import it where it is used"


@pytest.mark.parametrize("module", ["api.app", "api.worker"])
def test_a_process_starts_fast(module: str) -> None:
    measure(module)  # writes the byte code, warms the disk cache
    spent = statistics.median(measure(module)[0] for _ in range(3))
    assert spent < IMPORT_LIMIT_S, (
        f"importing {module} takes {spent:.2f} s of CPU time; the limit is {IMPORT_LIMIT_S} s"
    )


def test_the_verifier_runs_without_database_or_web() -> None:
    _, loaded = measure("governance.verify.bundle")
    assert not loaded & {"sqlalchemy", "fastapi", "starlette", "pydantic", "polars", *HEAVY}
