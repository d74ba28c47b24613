"""`assay retrain`: what a scheduler learns from its exit code and its document."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from api.client import ServiceError
from api.commands import retrain
from api.commands.retrain import ENDS, EXIT_CODES, ended
from tests.retrain import world
from tests.retrain.train import tiny
from tests.service import Service, assay

LONG = timedelta(hours=1)


def answering(*answers: dict[str, Any] | ServiceError) -> Callable[[], dict[str, Any]]:
    given = iter(answers)

    def read() -> dict[str, Any]:
        found = next(given)
        if isinstance(found, ServiceError):
            raise found
        return found

    return read


def state(name: str) -> dict[str, Any]:
    return {"id": "r1", "state": name}


@pytest.mark.parametrize("end", ENDS)
def test_waiting_ends_where_the_run_ends_or_needs_a_person(end: str) -> None:
    outcome, run = ended(answering(state("queued"), state("training"), state(end)), LONG, quiet=True, poll_s=0.0)
    assert (outcome, run["state"]) == (ENDS[end], end)


def test_waiting_goes_on_while_the_service_restarts_and_ends_where_it_refuses() -> None:
    away, busy = ServiceError("no service answers"), ServiceError("busy", status=503)
    outcome, _ = ended(answering(state("training"), away, busy, state("promoted")), LONG, quiet=True, poll_s=0.0)
    assert outcome == "promoted"
    with pytest.raises(ServiceError, match="404"):
        ended(answering(ServiceError("404 run_not_found", status=404)), LONG, quiet=True, poll_s=0.0)


def test_a_run_that_lasts_longer_than_one_waits_goes_on() -> None:
    outcome, run = ended(answering(*[state("training")] * 5), timedelta(microseconds=1), quiet=True, poll_s=0.0)
    assert (outcome, run["state"]) == ("timeout", "training")


def test_outcomes_have_exit_codes_of_their_own_that_the_help_lists() -> None:
    waited = {name: code for name, code in EXIT_CODES.items() if name != "started"}
    assert len(set(waited.values())) == len(waited)
    shown = re.sub(r"\s+", " ", retrain.retrain.__doc__ or "")
    assert all(re.search(rf"\b{code}\b", shown) for code in EXIT_CODES.values())
    assert {2, 3, 4, 130}.isdisjoint(EXIT_CODES.values())


@pytest.fixture(scope="module")
def asked(shared_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`assay retrain router ARGUMENTS --json` against a service: exit code and document."""
    folder = tmp_path_factory.mktemp("work")
    spec = world.spec(world.fake_base(folder / "base"), when=["drift"], min_outcomes=10).document
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    known = _known(shared_service)
    assert assay("apply", "spec.yaml", environ=known, cwd=folder).returncode == 0

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        done = assay("retrain", world.NAME, *arguments, "--json", environ=known, cwd=folder)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def _known(service: Service) -> dict[str, str]:
    return {"ASSAY_CLIENT__URL": service.url, "ASSAY_CLIENT__KEY": service.admin_key or ""}


def send(service: Service, count: int) -> None:
    rows = world.traffic(count, tiny.OLD).to_dicts()
    events = [{k: v for k, v in row.items() if k != "intent_true"} | {"ts": row["ts"].isoformat()} for row in rows]
    outcomes = [{"event_id": row["event_id"], "intent_true": row["intent_true"]} for row in rows]
    for kind, body in (("events", events), ("outcomes", outcomes)):
        path = f"{service.url}/api/v1/models/{world.NAME}/{kind}"
        answer = httpx2.post(path, json=body, headers=service.headers()).json()
        assert answer["rejected"] == [], answer


def test_a_scheduler_tells_nothing_to_do_blocked_and_failed_apart(
    shared_service: Service, asked: Callable[..., Any]
) -> None:
    code, found = asked("--wait")
    assert (code, found["outcome"], found["exit_code"]) == (10, "nothing_to_do", 10)
    code, found = asked("--wait", "--if-due")
    assert (code, found["outcome"]) == (10, "nothing_to_do")
    assert "drift: no window has been judged" in found["decision"]["reason"]
    send(shared_service, 5)
    code, found = asked("--wait")
    assert (code, found["outcome"], found["run"]) == (11, "blocked", None)
    assert [b["name"] for b in found["decision"]["blocked_by"]] == ["min_outcomes"]
    send(shared_service, 15)
    code, found = asked("--wait", "--idempotency-key", "nightly-1")
    assert (code, found["outcome"], found["run"]["state"]) == (13, "failed", "failed")
    assert found["run"]["error"]
    listed = assay("decisions", world.NAME, "--json", "--limit", "2", environ=_known(shared_service))
    assert [(d["cause"], d["fired"]) for d in json.loads(listed.stdout)] == [("manual", True), ("manual", False)]
    again, same = asked("--wait", "--idempotency-key", "nightly-1")
    assert (again, same["run"]["id"]) == (13, found["run"]["id"])


def test_wrong_use_is_told_before_anything_is_asked(shared_service: Service, tmp_path: Path) -> None:
    known = _known(shared_service)
    for arguments, words in (
        ((), "--reason"), (("--timeout", "6h"), "add --wait"), (("--wait", "--timeout", "soon"), "is not a duration"),
    ):  # fmt: skip
        done = assay("retrain", world.NAME, *arguments, environ=known, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert words in " ".join(re.sub(r"[^\w .-]", " ", done.stderr).split())
