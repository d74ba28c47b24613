"""`assay doctor`: check what this machine provides before a job depends on it."""

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from api.commands.output import JsonFlag, emit_json, emit_rows
from api.commands.serve import Home, configured

if TYPE_CHECKING:
    from core.db import Database
    from core.settings import Settings

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "shap",
    "evidently",
    "deltalake",
    "polars",
    "typst",
)
MIN_FREE_GB = 2.0
PROBE_LIMIT_S = 180


def doctor(home: Home = None, as_json: JsonFlag = False) -> None:
    """Check packages, disk, database, accelerator and the base models of this home; exit 1 when one is missing."""
    from sqlalchemy import text

    from core.db import Database

    settings = configured(home)
    checks = [_package(name) for name in PACKAGES]
    settings.home_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home_dir).free / 1e9
    checks.append(_check("disk", free >= MIN_FREE_GB, f"{free:.1f} GB free at {settings.home_dir}"))
    machine, found = _machine()
    checks.extend(found)
    try:
        database = Database(settings.database_url)
        with database.read() as db:
            db.execute(text("select 1"))
        checks.append(_check("database", True, database.engine.dialect.name))
        checks.extend(_recipes(settings, database, machine))
        database.dispose()
    except Exception as error:  # noqa: BLE001 - whatever the driver raises is the finding
        checks.append(_check("database", False, str(error).splitlines()[0]))
    if as_json:
        emit_json(checks)
    else:
        emit_rows(checks, ("check", "state", "detail"), title="assay doctor", empty="")
    sys.exit(0 if all(c["state"] != "missing" for c in checks) else 1)


def _check(name: str, good: bool, detail: str) -> dict[str, str]:
    return {"check": name, "state": "ok" if good else "missing", "detail": detail}


def _package(name: str) -> dict[str, str]:
    found = importlib.util.find_spec(name) is not None
    return _check(name, found, importlib.metadata.version(name) if found else f"run: pip install {name}")


def _machine() -> tuple[Mapping[str, Any] | None, list[dict[str, str]]]:
    """What training computes with, and a line for each part. A child process keeps torch out of this one."""
    from core.process import answer_of, last_words

    try:
        machine = answer_of("retrain.train.speed.probe", [], limit_s=PROBE_LIMIT_S)
    except subprocess.CalledProcessError as error:
        return None, [{"check": "accelerator", "state": "unknown", "detail": last_words(error)}]
    except (subprocess.TimeoutExpired, OSError, ValueError) as error:
        return None, [{"check": "accelerator", "state": "unknown", "detail": str(error)}]
    checks = [{"check": "accelerator", "state": "ok", "detail": _accelerator(machine)}]
    if machine["device"] == "cuda":
        parts = {"bfloat16": "bf16", "packed attention": "packed_attention", "compiled layers": "compiler"}
        checks.extend(_part(name, machine[key]) for name, key in parts.items())
    works = machine["bitsandbytes"] or f"work on {machine['device']}"
    checks.append(_check("4-bit layers", machine["bitsandbytes"] is None, works))
    return machine, checks


def _accelerator(machine: Mapping[str, Any]) -> str:
    if machine["device"] != "cuda":
        return "none: training runs on the CPU"
    free, total = machine["free"] / 2**30, machine["total"] / 2**30
    return f"{machine['name']}, compute capability {machine['capability']}, {free:.1f} of {total:.1f} GiB free"


def _part(name: str, why: str | None) -> dict[str, str]:
    """What only makes training faster; a machine without it trains slower, so it is never `missing`."""
    return {"check": name, "state": "ok" if why is None else "absent", "detail": why or "works"}


def _recipes(settings: "Settings", database: "Database", machine: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Whether this machine can train what the models of this home declare."""
    from dataclasses import asdict

    from sqlalchemy import inspect

    from monitor import store
    from retrain.runs.readiness import readiness
    from retrain.store import spec_at

    if not inspect(database.engine).has_table("model"):
        return []
    found: list[dict[str, str]] = []
    with database.read() as db:
        for model in store.models(db):
            spec = spec_at(db, model.id, model.revision)
            if spec.retrain is not None:
                found.extend(asdict(line) for line in readiness(spec, settings.home_dir, machine))
    return found
