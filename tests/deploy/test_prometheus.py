"""The rule file and the dashboard name metrics that exist, and Prometheus' own tool accepts them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from api.app import create_app
from governance.access.api_keys import first_admin
from monitor.site import Site
from tests.databases import SQLITE_ONLY
from tests.monitor.notify.conftest import configured

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus-rules.yml"
DASHBOARD = DEPLOY / "grafana-dashboard.json"
__all__ = ["configured"]


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> dict[str, str]:
    """Every query of both files by a name; the variables of the dashboard are filled in."""
    found = {rule["alert"]: rule["expr"] for rule in rules()}
    for panel in panels():
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "5m").replace("$model", ".*")
            found[f"{panel['title']} {target['refId']}"] = query
    return found


@pytest.fixture
def promtool() -> str:
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("promtool is not on this machine; on Debian it comes with the package prometheus")
    return path


@pytest.fixture
def exposed(site: Site, configured: Any) -> Iterator[str]:
    """What /metrics says of an installation that has a channel."""
    app = create_app(configured(channels__ops="slack://a/b/c"))
    yield TestClient(app, headers={"Authorization": f"Bearer {first_admin(site)}"}).get("/metrics").text
    app.state.intake.stop()


@SQLITE_ONLY
def test_every_metric_that_is_asked_for_is_exposed(exposed: str) -> None:
    known = set(re.findall(r"^# TYPE (\w+)", exposed, re.M)) | set(re.findall(r"^(\w+)[{ ]", exposed, re.M))
    known |= {f"{name}_bucket" for name in re.findall(r"^# TYPE (\w+) histogram", exposed, re.M)}
    asked = {name for query in expressions().values() for name in re.findall(r"\bassay_\w+", query)}
    assert asked <= known
    assert len(asked) > 8


@SQLITE_ONLY
def test_prometheus_accepts_what_is_exposed(exposed: str, promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "metrics"], input=exposed, capture_output=True, text=True, timeout=120, check=False
    )
    # Its style advice is printed too: old names of gauges end in _seconds without being durations.
    assert "error while linting" not in done.stdout + done.stderr
    assert done.returncode in (0, 3), done.stderr


def test_the_rules_are_valid_and_fire_when_they_should(promtool: str) -> None:
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(DEPLOY / "prometheus-rules.test.yml")]):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_queries_of_the_dashboard_are_valid(promtool: str, tmp_path: Path) -> None:
    recorded = [{"record": f"q{i}", "expr": query} for i, query in enumerate(expressions().values())]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": recorded}]}))
    command = [promtool, "check", "rules", str(tmp_path / "queries.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_says_how_severe_it_is_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert set(rule["annotations"]) == {"summary", "action"}


def test_the_panels_have_places_of_their_own_and_a_source_that_is_chosen() -> None:
    """Grafana is in no package registry that tests may use, so its file is checked by what its format demands."""
    document = json.loads(DASHBOARD.read_text())
    assert [v["name"] for v in document["templating"]["list"]] == ["datasource", "model"]
    assert len({p["id"] for p in panels()}) == len({p["title"] for p in panels()}) == len(panels())
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken
        taken |= cells
        assert all(t["datasource"]["uid"] == "${datasource}" for t in (panel, *panel["targets"]))
