"""The commands of the empty page, taken from the page and pasted into a fresh shell."""

import html
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx2

from core.settings import variables
from tests.service import Service


def commands(page: str) -> list[str]:
    return [html.unescape(found) for found in re.findall(r"<pre>(.*?)</pre>", page, re.S)]


def test_the_commands_of_the_empty_page_run_as_pasted(start_server: Callable[..., Service], tmp_path: Path) -> None:
    service = start_server()
    headers = {"Authorization": f"Bearer {service.admin_key}", "Accept": "text/html"}
    page = httpx2.get(service.url, headers=headers).text
    assert "No model is monitored yet" in page
    given = commands(page)
    assert len(given) == 4
    assert given[0].splitlines() == [f"export ASSAY_CLIENT__URL={service.url}", "export ASSAY_CLIENT__KEY=assay_..."]
    pasted = "\n".join(given).replace("assay_...", service.admin_key)
    done = subprocess.run(
        ["bash", "-eu", "-c", pasted], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True,
        timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    applied, events, outcomes = json.loads("[" + done.stdout.replace("}{", "},{") + "]")
    assert applied["outcome"] == "created"
    assert [(r["accepted"], r["rejected"]) for r in (events, outcomes)] == [(1, []), (1, [])]
    page = httpx2.get(service.url, headers=headers).text
    assert 'href="/models/first-model"' in page


def test_the_names_in_the_commands_are_settings_and_do_not_break_the_command_line() -> None:
    """`ASSAY_KEY`, which the page once named, is refused by every `assay` command as an unknown setting."""
    known = {name for name, _ in variables()}
    template = (Path(__file__).parents[3] / "api/pages/overview/overview.html").read_text()
    assert set(re.findall(r"\bASSAY_\w+", template)) <= known
