"""The server time of every page, with many models and a year of measurements, beside the model page of an old build.

Both builds serve the same rows, each in a process of its own: the database is filled by the old one, and copied. The
requests of a round are asked in turn, each of another model where a page is about one, so that no cache answers.
"""

import argparse
import http.client
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bench.load.results import write_lines

ROOT: Final = Path(__file__).resolve().parents[2]
BEFORE: Final = "4591d9ea8530f58e27cd6a004eb601e4d01b2399"  # the pages that charts of the server were drawn for
PEER: Final = f"model page of {BEFORE[:8]}"
SETTLED: Final = 3  # requests of a page before those that count: templates and modules are loaded once


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=int, default=100, help="models of the installation that pages are asked of")
    parser.add_argument("--days", type=int, default=365, help="days of measurements, one window a day")
    parser.add_argument("--requests", type=int, default=100, help="of each page")
    parser.add_argument("--peer-requests", type=int, default=40, help="of the model page of the old build")


def paths(asked: dict[str, Any], models: int) -> dict[str, Callable[[int], str]]:
    """The page of each case, by the number of the request."""

    def name(i: int) -> str:
        return f"model-{i % models:03d}"

    deep = asked["model"]
    return {
        "page_overview": lambda _: "/",
        "page_models": lambda i: f"/models?page={1 + i % max(1, models // 25)}",
        "page_model": lambda i: f"/models/{name(i)}",
        "page_model_year": lambda i: f"/models/{name(i)}?since={asked['since']}&until={asked['until']}",
        "page_windows": lambda i: f"/models/{name(i)}/windows",
        "page_columns": lambda i: f"/models/{name(i)}/columns",
        "page_column": lambda i: f"/models/{deep}/columns/{('amount_0', 'kind_1')[i % 2]}",
        "page_window": lambda _: f"/windows/{asked['window']}",
        "page_alert": lambda _: f"/alerts/{asked['alert']}",
        "page_fairness": lambda i: f"/models/{name(i)}/fairness",
        "page_spec": lambda i: f"/models/{name(i)}/spec",
        "page_governance": lambda i: f"/models/{name(i)}/governance",
        "page_alerts": lambda _: "/alerts",
        "page_incidents": lambda _: "/incidents",
        "page_runs": lambda _: "/runs",
        "page_approvals": lambda _: "/approvals",
        "page_registry": lambda _: "/registry",
        "page_datasets": lambda _: "/datasets",
        "page_lineage": lambda i: f"/models/{name(i)}/lineage",
        "page_reports": lambda _: "/reports",
        "page_ledger": lambda _: "/ledger",
        "page_settings": lambda _: "/channels",
        "page_search": lambda _: "/search?q=model-00",
    }


def run(given: argparse.Namespace, folder: Path, out: Path) -> None:
    """Fill, ask, and write a line for each page."""
    old, before, now = folder / "old", folder / "home-before", folder / "home-now"
    _checkout(old)
    filled = _python(old, str(ROOT / "bench/pages/fill.py"), str(before), "--models", str(given.models),
                     "--days", str(given.days))  # fmt: skip
    asked = json.loads(filled)
    shutil.copytree(before, now)
    cases = paths(asked, given.models)
    with _serving(old, before) as peer, _serving(ROOT, now) as ours:
        took = _measure(given, asked["key"], ours, peer, cases)
    old_model = p95(took["peer"])
    for case, seconds in took.items():
        if case != "peer":
            found = {"p95_ms": (p95(seconds), "ms")}
            write_lines(out, case, found, peer=PEER, beside={"p95_ms": old_model}, bench="reports",
                        requests=len(seconds), peer_requests=len(took["peer"]), models=given.models,
                        days=given.days)  # fmt: skip
            print(f"{case}: p95 {p95(seconds):.0f} ms, {old_model / p95(seconds):.1f} times as fast as the {PEER}")


def _measure(
    given: argparse.Namespace, key: str, ours: str, peer: str, cases: dict[str, Callable[[int], str]]
) -> dict[str, list[float]]:
    """Milliseconds of every request, by case; pages that this build does not have are left out."""
    new, old = _Asker(ours, key), _Asker(peer, key)
    there = {}
    for case, path in cases.items():
        statuses = {new.ask(path(i))[0] for i in range(SETTLED)}
        if statuses == {200}:
            there[case] = path
        else:
            print(f"{case}: not measured, {path(0)} answers {sorted(statuses)}")
    took: dict[str, list[float]] = {case: [] for case in ("peer", *there)}
    old.ask(cases["page_model"](given.requests))
    every = max(1, given.requests // max(1, given.peer_requests))
    for i in range(given.requests):
        for case, path in there.items():
            took[case].append(new.ask(path(i))[1])
        if i % every == 0:
            took["peer"].append(old.ask(cases["page_model"](i))[1])
    return took


def p95(values: list[float]) -> float:
    """The smallest value that 95 of 100 do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-95 * len(ordered) // 100) - 1)]


class _Asker:
    """One client; it connects before the time begins, as the service closes connections that wait for long."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._place = parts.hostname or "", parts.port
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "text/html"}

    def ask(self, path: str) -> tuple[int, float]:
        """The status, and milliseconds until the whole page has arrived."""
        with closing(http.client.HTTPConnection(*self._place, timeout=600)) as connection:
            connection.connect()
            begun = time.perf_counter()
            connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status, 1000 * (time.perf_counter() - begun)


def _checkout(folder: Path) -> None:
    """The files of the old build, from this repository."""
    folder.mkdir()
    packed = folder.with_suffix(".tar")
    with packed.open("wb") as file:
        subprocess.run(["git", "archive", BEFORE], cwd=ROOT, stdout=file, check=True)
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    packed.unlink()


def _python(build: Path, *command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=build, env=_environment(build), stdout=subprocess.PIPE,
                          text=True, check=True)  # fmt: skip
    return done.stdout


def _environment(build: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    return {**kept, "PYTHONPATH": str(build)}


@contextmanager
def _serving(build: Path, home: Path) -> Iterator[str]:
    """A build's API on a home folder, in a process of its own; gives its address."""
    code = "from api.cli import main; main()"
    command = [sys.executable, "-c", code, "api", "--home", str(home), "--port", "0", "--json"]
    process = subprocess.Popen(command, cwd=build, env=_environment(build), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()
