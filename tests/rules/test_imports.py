"""Who may import whom, and what starting a process loads. Each contract is seen to fail before it is trusted."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.service import environment

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "migrations", "reports", "retrain", "monitor", "governance", "core")
HEAVY = (
    "torch", "transformers", "sentence_transformers", "peft", "bitsandbytes", "trl", "evidently", "shap", "pandas",
    "scipy", "sklearn", "river", "altair",
)  # fmt: skip
MOST_MODULES = {
    "api.app": 1900,
    "api.processes.worker": 1900,
    "api.cli": 800,
}  # about a quarter above what they load today
MOST_SECONDS = 6  # of CPU, about five times what it takes: what else the machine does must not decide

# One copy of the code holds them all. A file, what is appended to it, and what the linter must complain of.
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
    *[  # each rung of monitor, from the lowest, reaches for the one above it; and one for its neighbour
        (f"monitor/{file}", f"import monitor.{above}", f"monitor.{rung} is not allowed to import monitor.{above}")
        for rung, file, above in [
            ("kpi", "kpi/base.py", "spec"), ("lake", "lake/table.py", "events"), ("drift", "drift/base.py", "detect"),
            ("site", "site.py", "ingest"), ("service", "service.py", "reference"),
            ("reference", "reference/__init__.py", "windows"), ("windows", "windows/__init__.py", "confirm"),
            ("confirm", "confirm/__init__.py", "why"), ("why", "why/__init__.py", "jobs"),
            ("upkeep", "upkeep/__init__.py", "windows"),
        ]
    ],
    *[  # and so do the rungs of the other folders
        (f"{folder}/{file}", f"import {folder}.{above}", f"{folder}.{rung} is not allowed to import {folder}.{above}")
        for folder, rung, file, above in [
            ("governance", "proof", "proof/note.py", "verify"), ("governance", "verify", "verify/log.py", "ledger"),
            ("governance", "ledger", "ledger/read.py", "access"), ("retrain", "train", "train/data.py", "evals"),
            ("retrain", "store", "store.py", "registry"), ("retrain", "gates", "gates/base.py", "runs"),
            ("retrain", "runs", "runs/record.py", "explain"), ("retrain", "explain", "explain/basis.py", "reasons"),
            ("retrain", "reasons", "reasons/block.py", "erasure"),
            ("reports", "charts", "charts/text.py", "facts"),
            ("reports", "facts", "facts/runs.py", "render"),
            ("reports", "wording", "wording/plan.py", "facts"),
            ("reports", "render", "render/pdf.py", "service"), ("api", "http", "http/deps.py", "routes"),
            ("api", "routes", "routes/health.py", "app"), ("api", "server", "server.py", "commands"),
        ]
    ],
]  # fmt: skip

# Appended too, and not to be complained of.
ALLOWED = [
    ("retrain/train/__init__.py", "import torch"),
    ("retrain/evals/__init__.py", "import torch"),
    ("monitor/explain/__init__.py", "import torch"),
    ("monitor/profile/encode_process.py", "import torch"),
]


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"],
        cwd=folder, env=environment({"PYTHONPATH": str(folder), "COLUMNS": "400"}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Spoilt:
    """What the linter says of the copy, and where each import was planted in it."""

    report: str
    links: dict[tuple[str, str], str]

    def complaints(self, file: str, statement: str) -> set[str]:
        """The sentences under which the linter lists the planted import itself, by its line."""
        found, sentence = set(), ""
        for line in self.report.splitlines():
            if " is not allowed to import " in line:
                sentence = line
            elif self.links[file, statement] in line:
                found.add(sentence)
        return found


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Spoilt:
    """The code alone, copied to where it may be spoilt, with every import of the tables in it; linted once."""
    folder = tmp_path_factory.mktemp("spoilt")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    links = {(file, text): planted(folder, file, text) for file, text in [*ALLOWED, *(row[:2] for row in PLANTED)]}
    done = lint(folder)
    assert done.returncode == 1, done.stdout + done.stderr
    return Spoilt(done.stdout, links)


def planted(folder: Path, file: str, statement: str) -> str:
    """Append the statement; returns the import as the linter writes it, `core.clock -> monitor.schema (l.31)`."""
    path = folder / file
    text = f"{path.read_text()}\n{statement}\n"
    path.write_text(text)
    importer = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return f"{importer} -> {statement.rsplit(maxsplit=1)[-1]} (l.{text.count(chr(10))})"


def test_the_contracts_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "statement", "complaint"), PLANTED, ids=[f"{f}: {s.split()[-1]}" for f, s, _ in PLANTED]
)
def test_a_forbidden_import_is_refused(spoilt: Spoilt, file: str, statement: str, complaint: str) -> None:
    found = spoilt.complaints(file, statement)
    assert any(one.startswith(complaint) for one in found), (found, spoilt.report)


@pytest.mark.parametrize(("file", "statement"), ALLOWED, ids=[file for file, _ in ALLOWED])
def test_torch_is_allowed_where_models_run(spoilt: Spoilt, file: str, statement: str) -> None:
    assert spoilt.links[file, statement] not in spoilt.report


def test_every_package_of_the_checkout_is_under_contract() -> None:
    found = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert found == set(PACKAGES)


def measure(module: str) -> tuple[float, list[str]]:
    """CPU seconds that importing a module takes in a fresh interpreter, and the modules it loads."""
    code = (
        "import json, sys, time; start = time.process_time(); "
        f"import {module}; spent = time.process_time() - start; print(json.dumps([spent, sorted(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    spent, loaded = json.loads(done.stdout)
    return float(spent), list(loaded)


def packages(modules: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("module", MOST_MODULES)
def test_a_process_starts_fast_and_without_the_heavy_libraries(module: str) -> None:
    spent, loaded = measure(module)
    found = packages(loaded) & set(HEAVY)
    assert not found, f"importing {module} loads {', '.join(sorted(found))}; import it where it is used"
    assert len(loaded) < MOST_MODULES[module], f"importing {module} loads {len(loaded)} modules"
    assert spent < MOST_SECONDS, f"importing {module} takes {spent:.2f} s of CPU time"


def test_the_verifier_runs_without_database_or_web() -> None:
    _, loaded = measure("governance.verify.bundle")
    assert not packages(loaded) & {"sqlalchemy", "fastapi", "starlette", "pydantic", "polars", *HEAVY}
