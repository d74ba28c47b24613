"""`assay doctor`: check what this machine provides before a job depends on it."""

import importlib.metadata
import importlib.util
import shutil
import sys

from api.commands.output import JsonFlag, emit_json, emit_rows
from api.commands.serve import Home, configured
from core.errors import AppError

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


def doctor(home: Home = None, as_json: JsonFlag = False) -> None:
    """Check packages, database, disk and accelerator; exit 1 when something needed is missing."""
    from sqlalchemy import text

    from core.db import Database

    settings = configured(home)
    checks = [_package(name) for name in PACKAGES]
    settings.home_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home_dir).free / 1e9
    checks.append(_check("disk", free >= MIN_FREE_GB, f"{free:.1f} GB free at {settings.home_dir}"))
    try:
        database = Database(settings.database_url)
        with database.read() as db:
            db.execute(text("select 1"))
        checks.append(_check("database", True, database.engine.dialect.name))
        database.dispose()
    except Exception as error:  # noqa: BLE001 - whatever the driver raises is the finding
        checks.append(_check("database", False, str(error).splitlines()[0]))
    checks.append(_accelerator())
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


def _accelerator() -> dict[str, str]:
    """Report the accelerator; without CUDA, training uses the CPU. A child process keeps torch out of this one."""
    import subprocess

    probe = (
        "import torch; "
        "print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'none: training runs on the CPU')"
    )
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-P", "-c", probe], capture_output=True, text=True, timeout=120, check=True
        )
    except (subprocess.SubprocessError, AppError) as error:
        return {"check": "accelerator", "state": "unknown", "detail": str(error)}
    return {"check": "accelerator", "state": "ok", "detail": done.stdout.strip()}
