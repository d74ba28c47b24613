"""docs/first-day.md as a new user follows it: both paths end with an alarm."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service import Service, assay, environment

ROOT = Path(__file__).parents[2]
TABLE = "credit_default_taiwan.parquet"


def blocks(heading: str) -> list[str]:
    """The commands below a heading."""
    text = (ROOT / "docs/first-day.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("heading", "model"), [("A table of predictions", "credit"), ("An application with OpenTelemetry", "shop-bot")]
)
def test_the_first_day_ends_with_an_alarm(
    heading: str, model: str, start_server: Callable[..., Service], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    service = start_server()
    known = {"ASSAY_CLIENT__URL": service.url, "ASSAY_CLIENT__KEY": service.admin_key}
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, run in (("assay", '-c "from api.cli import main; main()"'), ("python", "")):
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} {run} "$@"\n')
        (tools / name).chmod(0o755)
    if model == "credit":
        (tmp_path / TABLE).symlink_to(request.getfixturevalue("shared_data") / TABLE)
    paths = {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for block in blocks(heading):
        done = subprocess.run(
            ["bash", "-eu", "-c", block.replace("http://127.0.0.1:8100", service.url)], cwd=tmp_path,
            env=environment(known | paths), capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    verdicts: list[str] = []
    for _ in range(300):
        windows = json.loads(assay("evaluate", model, "--json", environ=known).stdout)
        verdicts = [window["verdict"] for window in windows]
        if verdicts and verdicts[-1] == "alarm":
            break
    assert verdicts[-1] == "alarm"
    assert verdicts.count("alarm") <= 3  # the ordinary days are quiet
