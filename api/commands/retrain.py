"""Ask for a retrain, and wait for what becomes of it: the command of schedulers and of people."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

import typer

from api.client import ServiceError
from api.commands.models import ModelName, client, model_path
from api.commands.output import JsonFlag, console, emit_json, emit_rows, errors
from monitor.spec.duration import duration

Outcome = Literal[
    "promoted", "started", "nothing_to_do", "blocked", "awaiting_approval", "failed", "rejected", "timeout"
]
EXIT_CODES: Final[Mapping[Outcome, int]] = {
    "promoted": 0, "started": 0, "nothing_to_do": 10, "blocked": 11, "awaiting_approval": 12, "failed": 13,
    "rejected": 14, "timeout": 15,
}  # fmt: skip
ENDS: Final[Mapping[str, Outcome]] = {
    "promoted": "promoted",
    "awaiting_approval": "awaiting_approval",
    "failed": "failed",
    "rejected": "rejected",
}
POLL_S: Final = 2.0
UNREACHABLE_S: Final = 600.0  # without an answer for so long, waiting is given up: the service is not only restarting
UNATTENDED: Final = "asked for on the command line, unattended"


def retrain(
    model: ModelName,
    reason: Annotated[
        str | None, typer.Option(help="reason, kept in the ledger; no personal data. Needed unless unattended")
    ] = None,
    if_due: Annotated[
        bool, typer.Option(help="start a run only if a trigger of the policy fires, as the service's scheduler does")
    ] = False,
    wait: Annotated[bool, typer.Option(help="wait until the run has ended or waits for approval")] = False,
    timeout: Annotated[
        str | None, typer.Option(help="with --wait: stop waiting after this time, such as 6h; the run goes on")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(help="the same key gets the same decision and run, however often the command is repeated"),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask for a retrain within the declared envelope.

    Exit codes: 0 promoted (without --wait: started), 10 nothing to do, 11 blocked, 12 waits for approval, 13 the run
    failed, 14 the candidate was rejected, 15 not ended when --timeout was over; 2 wrong use, 3 the service refused or
    does not answer.
    """
    if timeout is not None and not wait:
        raise typer.BadParameter("is for --wait; add --wait, or leave it out", param_hint="--timeout")
    limit = limit_of(timeout)
    if reason is None and not (wait or if_due or idempotency_key):
        raise typer.BadParameter("is missing; say why, such as 'new intents since May'", param_hint="--reason")
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    body = {"reason": reason or UNATTENDED, "if_due": if_due}
    with client() as http:
        answer = http.json("POST", f"{model_path(model)}/runs", json=body, headers=headers)
        decision, run = answer["decision"], answer["run"]
        if run is None:
            outcome: Outcome = answer["outcome"]
        elif wait:
            place = f"/api/v1/runs/{run['id']}"
            outcome, run = ended(lambda: http.json("GET", place), limit, quiet=as_json)
        else:
            outcome = "started"
    code = EXIT_CODES[outcome]
    if as_json:
        emit_json({"outcome": outcome, "exit_code": code, "model": model, "decision": decision, "run": run})
    else:
        console.print(_sentence(model, outcome, decision, run), markup=False, soft_wrap=True)
    raise typer.Exit(code)


def decisions(
    model: ModelName,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="newest decisions")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List when the retrain policy of a model was considered, and why a run was started or not."""
    items = client().json("GET", f"{model_path(model)}/decisions", params={"limit": limit})["items"]
    if as_json:
        emit_json(items)
        return
    shown = [{**i, "blocked_by": ", ".join(b["name"] for b in i["blocked_by"]) or None} for i in items]
    columns = ("at", "cause", "fired", "blocked_by", "reason")
    emit_rows(shown, columns, title=model, empty="The policy has not been considered yet; it is after every window.")


def limit_of(timeout: str | None) -> timedelta | None:
    try:
        return None if timeout is None else duration(timeout)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from error


def ended(
    read: Callable[[], dict[str, Any]], limit: timedelta | None, *, quiet: bool, poll_s: float = POLL_S
) -> tuple[Outcome, dict[str, Any]]:
    """What becomes of a run, and the run. While the service restarts, waiting goes on."""
    begun = answered = time.monotonic()
    shown, run = "", dict[str, Any]()
    while True:
        try:
            run, answered = read(), time.monotonic()
        except ServiceError as error:
            status = error.facts.get("status")
            passing = status is None or status >= 500
            if not passing or time.monotonic() - answered > UNREACHABLE_S:
                raise
        state = str(run.get("state", ""))
        if state in ENDS:
            return ENDS[state], run
        if not quiet and state and state != shown:
            errors.print(f"run {run['id']}: {state}", markup=False, soft_wrap=True)
            shown = state
        if limit is not None and time.monotonic() - begun + poll_s > limit.total_seconds():
            return "timeout", run
        time.sleep(poll_s)


def _sentence(model: str, outcome: Outcome, decision: Mapping[str, Any], run: Mapping[str, Any] | None) -> str:
    """The outcome as people read it, with its reason."""
    if run is None:
        return f"{model}: {'blocked' if outcome == 'blocked' else 'nothing to do'}: {decision['reason']}"
    name, error = f"{model}: run {run.get('id')}", run.get("error") or ""
    match outcome:
        case "promoted":
            return f"{name} promoted {run['candidate_version']}, which replaces {run['champion_version']}"
        case "awaiting_approval":
            return f"{name} waits for approval: `assay approve {run['id']} --reason ...`"
        case "timeout":
            return f"{name} is {run.get('state') or 'not answering'}; it goes on"
        case "started":
            return f"{name} started: {decision['reason']}"
        case _:
            return f"{name} {outcome}: {error}"
