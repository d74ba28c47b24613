"""Commands about the versions of a model: list, promote, approve, reject, roll back, stages, cards, adapters."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote
from uuid import UUID

import typer

from api.commands.models import ModelName, Reason, client, model_path
from api.commands.output import JsonFlag, console, emit_json, emit_rows
from core.errors import InvalidError

Version = Annotated[str, typer.Argument(help="version, as `assay versions` lists it")]
RunId = Annotated[UUID, typer.Argument(help="run id")]
TOLD: Final = ("Start", "Teacher", "Served as")  # what `assay run` says of the training


def version_path(model: str, version: str) -> str:
    return f"{model_path(model)}/versions/{quote(version, safe='')}"


def versions(
    model: ModelName, stage: Annotated[str | None, typer.Option(help="only those of this stage")] = None,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """List the versions of a model with their stages."""
    items = client().json("GET", f"{model_path(model)}/versions", params={} if stage is None else {"stage": stage})[
        "items"
    ]
    if as_json:
        emit_json(items)
        return
    columns = ("version", "stage", "traffic_share", "base_model", "created_at", "promoted_at", "retired_at")
    emit_rows(items, columns, title=model, empty="No version.")


def promote(
    target: Annotated[str, typer.Argument(help="model; or the id of a run that waits for approval")],
    reason: Reason,
    version: Annotated[str | None, typer.Argument(help="version to promote; not with a run id")] = None,
    stage: Annotated[str, typer.Option(help="champion, challenger, shadow or canary")] = "champion",
    share: Annotated[float | None, typer.Option(help="of a canary: its share of requests, such as 0.05")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Promote a version: a run judges it on present rows, under the rules in force. With a run id: approve the run."""
    if version is None:
        _show_run(client().json("POST", f"/api/v1/runs/{_run_id(target)}/approve", json={"reason": reason}), as_json)
        return
    body = {"reason": reason, "stage": stage, "traffic_share": share}
    answer = client().json("POST", f"{version_path(target, version)}/promote", json=body)
    if as_json:
        emit_json(answer)
        return
    console.print(
        f"Run {answer['id']} judges {version} against {answer['champion_version']}. If it passes and its people "
        f"approve, it becomes {answer['to_stage']}. `assay run {answer['id']}` shows it.", markup=False, soft_wrap=True,
    )  # fmt: skip


def _run_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"target is {text!r}, which is no run id; to promote a version, give model and version: assay promote "
            f"{text} VERSION --reason WHY"
        ) from error


def approve(run: RunId, reason: Reason, as_json: JsonFlag = False) -> None:
    """Approve a run that waits for approval; the last approval that is needed promotes its version."""
    _show_run(client().json("POST", f"/api/v1/runs/{run}/approve", json={"reason": reason}), as_json)


def attest(
    run: RunId,
    statement: Annotated[str, typer.Option(help="what you validated, and what you found; kept in the ledger")],
    evidence: Annotated[str, typer.Option(help="digest, address or number of the document that shows it")],
    as_json: JsonFlag = False,
) -> None:
    """Attest, as a validator, that a run's candidate was validated; the high tier asks for it beside approvals."""
    body = {"statement": statement, "evidence": evidence}
    _show_run(client().json("POST", f"/api/v1/runs/{run}/attest", json=body), as_json)


def reject(run: RunId, reason: Reason, as_json: JsonFlag = False) -> None:
    """Reject a run that waits for approval; the champion stays."""
    _show_run(client().json("POST", f"/api/v1/runs/{run}/reject", json={"reason": reason}), as_json)


def _show_run(answer: dict[str, Any], as_json: bool) -> None:
    run(UUID(answer["id"]), as_json)


def run(run_id: RunId, as_json: JsonFlag = False) -> None:
    """Show a run: its state, gates, who approved, and what is missing for a promotion."""
    found = client().json("GET", f"/api/v1/runs/{run_id}")
    if as_json:
        emit_json(found)
        return
    from reports.facts.runs import training

    approval = found["approval"]
    lines = [
        f"Run {found['id']}: {found['state'].replace('_', ' ')}",
        f"{found['candidate_version'] or 'no version yet'} against {found['champion_version']}, for stage "
        f"{found['to_stage']}" + (f" with a share of {found['traffic_share']:g}" if found["traffic_share"] else ""),
        f"Started by {approval['started_by'] or 'the policy'}.",
        f"Approvals: {approval['needed']} needed, {approval['given']} given"
        + "".join(f", {name}" for name in approval["by"])
        + ".",
        *([f"Attested by: {', '.join(approval['attested_by']) or 'nobody yet'}."] if approval["attestation"] else []),
        *(f"{name}: {value}." for name, value in training(found["metrics"]) if name in TOLD),
        *(f"Does not count: {line}." for line in approval["void"]),
        *(f"Gate {g['gate']}: {g['verdict']}, {g['reason']}" for g in found["gates"]),
        *(f"Missing: {line}." for line in approval["missing"]),
        *([found["error"]] if found["error"] else []),
    ]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def rollback(
    target: Annotated[str, typer.Argument(help="model; or the id of the run whose version is the champion")],
    reason: Reason,
    as_json: JsonFlag = False,
) -> None:
    """Restore the champion before the present one, and say what the present one answered."""
    try:
        path = f"/api/v1/runs/{UUID(target)}/rollback"
    except ValueError:
        path = f"{model_path(target)}/rollback"
    answer = client().json("POST", path, json={"reason": reason})
    if as_json:
        emit_json(answer)
        return
    made = answer["rolled_back"]
    span = f", from {made['first_at']} to {made['last_at']}" if made["count"] else ""
    console.print(
        f"{answer['version']} is champion again. {made['version']} made {made['count']:,} predictions{span}."
        + (f" Their ids: assay predictions {made['export'].split('/')[4]} {made['version']}" if made["count"] else ""),
        markup=False, soft_wrap=True,
    )  # fmt: skip
    if made["others"]:
        named = ", ".join(f"{name} ({n:,})" for name, n in made["others"].items())
        console.print(f"While it was champion, events also named {named}.", markup=False, soft_wrap=True)


def predictions(model: ModelName, version: Version) -> None:
    """Print the ids of all events that name a version, one a line."""
    service, cursor = client(), "0"
    while cursor is not None:
        page = service.json("GET", f"{version_path(model, version)}/predictions", params={"cursor": cursor})
        for item in page["items"]:
            typer.echo(item["event_id"])
        cursor = page["next"]


def stage(
    model: ModelName, version: Version,
    stage: Annotated[str, typer.Argument(help="challenger, shadow or retired")], reason: Reason,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Set a version beside the champion, where it answers nobody, or retire it. For a canary, use promote."""
    answer = client().json("POST", f"{version_path(model, version)}/stage", json={"stage": stage, "reason": reason})
    if as_json:
        emit_json(answer)
    else:
        console.print(f"{model}: {answer['version']} is {answer['stage']}.", markup=False)


def card(model: ModelName, version: Version, as_json: JsonFlag = False) -> None:
    """Print the model card of a version, as Markdown or JSON."""
    path = f"{version_path(model, version)}/card"
    if as_json:
        emit_json(client().json("GET", path))
    else:
        typer.echo(client().send("GET", path, params={"format": "md"}).text)


def adapter(
    model: ModelName, version: Version, out: Annotated[Path, typer.Option(help="file to write, a tar archive")]
) -> None:
    """Download the adapter of a version as one file, and check its digest."""
    answer = client().send("GET", f"{version_path(model, version)}/adapter")
    found = hashlib.sha256(answer.content).hexdigest()
    if answer.headers["etag"].strip('"') != found:
        raise InvalidError(f"the archive arrived with digest {found}, not {answer.headers['etag']}", field="adapter")
    out.write_bytes(answer.content)
    console.print(f"{out}: sha256 {found}", markup=False, soft_wrap=True)
