"""What README and docs tell a stranger to type really runs, in the order in which it is told."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service import Service, environment

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/ingest.md", "docs/lake.md", "docs/replay.md", "docs/otlp.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of each fenced block; `sh` and `python` are meant to run, a bare fence is not."""
    return [(found[1], found[2]) for found in BLOCK.finditer((ROOT / page).read_text())]


@pytest.fixture
def shell(server: Service, tmp_path: Path) -> Callable[[str], "subprocess.CompletedProcess[str]"]:
    """Run a shell example as the reader would, with `assay` on the path and the service at its own address."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "assay").write_text(f'#!/bin/sh\nexec {sys.executable} -c "from api.cli import main; main()" "$@"\n')
    (tools / "assay").chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    environ = environment(
        {
            "PATH": f"{tools}:{os.environ['PATH']}", "ASSAY_CLIENT__URL": server.url,
            "ASSAY_CLIENT__KEY": server.admin_key, "ASSAY_HOME": str(server.home),
        }
    )  # fmt: skip

    def run(text: str, *, language: str = "sh") -> "subprocess.CompletedProcess[str]":
        text = text.replace("http://127.0.0.1:8100", server.url)
        command = ["bash", "-euo", "pipefail", "-c", text] if language == "sh" else [sys.executable, "-c", text]
        return subprocess.run(
            command, cwd=work, env=environ, capture_output=True, text=True, timeout=120, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run


def test_every_example_runs_in_order(shell: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "work" / "march.csv").write_text(
        "answered_at,text,channel,intent,confidence,age_band,batch\n2026-03-01T12:00:00Z,hello,web,other,0.5,30s,7\n"
    )
    for page in PAGES:
        for language, text in blocks(page):
            if language == "yaml" and text.startswith("model:"):  # a whole spec
                (tmp_path / "work" / "spec.yaml").write_text(text)
            if language in ("sh", "python") and "s3://" not in text:  # tests/api/test_object_store.py has a store
                done = shell(text, language=language)
                assert done.returncode == 0, f"{page}:\n{text}\n{done.stdout}{done.stderr}"
                said.append(done.stdout)
                if "assay replay" in text:
                    assert "confidence: 'certain' is not a number" in done.stderr
    receipts = [
        json.loads(found)
        for found in re.findall(r'\{"accepted".*?"rejected_total":\d+,"quarantined":\d+\}', "".join(said))
    ]
    assert [r["accepted"] for r in receipts] == [1, 1, 1]
    promised = next(json.loads(t) for kind, t in blocks("docs/ingest.md") if kind == "json")
    assert receipts[2] == promised
    assert next(t for kind, t in blocks("docs/otlp.md") if kind == "json").strip() in said[-5]
    assert said[-4].endswith("{}")
    replayed = json.loads((tmp_path / "work" / "replayed.json").read_text())
    shape = next(json.loads(t) for kind, t in blocks("docs/replay.md") if kind == "json")
    assert replayed.keys() == shape.keys()
    assert replayed["accepted"] == 2
