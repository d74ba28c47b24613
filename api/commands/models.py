"""Commands that manage one model through the running service."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

import typer
import yaml

from api.client import Client
from api.commands.output import JsonFlag, console, emit_json, emit_rows
from core.errors import InvalidError
from core.settings import load
from monitor.spec.parse import load_spec, parse_spec

ModelName = Annotated[str, typer.Argument(help="name of the model")]
Reason = Annotated[str, typer.Option(help="reason, kept in the ledger; no personal data")]


def client() -> Client:
    return Client(load().client)


def model_path(model: str) -> str:
    return f"/api/v1/models/{quote(model, safe='')}"


def apply(
    spec: Annotated[Path | None, typer.Argument(help="YAML or JSON file")] = None,
    from_trace: Annotated[
        str | None, typer.Option(help="print a first spec for this service, or for the spans of this OTLP file")
    ] = None,
    model: Annotated[str | None, typer.Option(help="with --from-trace: name of the model")] = None,
    owner: Annotated[
        str | None, typer.Option(help="with --from-trace: the person or team responsible for the model")
    ] = None,
    purpose: Annotated[str | None, typer.Option(help="with --from-trace: what the model is for")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Declare a model or change its spec; with --from-trace, print a first spec."""
    if from_trace is not None:
        _print_starter(from_trace, model, owner, purpose, as_json=as_json)
        return
    if spec is None or not spec.is_file():
        what = "nothing" if spec is None else f"{spec}, which is not a file"
        raise InvalidError(
            f"spec: got {what}; give the path of a YAML or JSON file, or --from-trace", field="spec", value=str(spec)
        )
    parsed = load_spec(spec.read_bytes())
    answer = client().json("PUT", f"/api/v1/models/{parsed.model}", json=parsed.document)
    if as_json:
        emit_json(answer)
    else:
        console.print(f"{parsed.model}: {answer['outcome']}, revision {answer['revision']}")


def _print_starter(trace: str, model: str | None, owner: str | None, purpose: str | None, *, as_json: bool) -> None:
    from monitor.ingest.otlp.starter import groups_of_file, starter_spec
    from monitor.ingest.otlp.unmapped import Sample, sample_of

    service, sample = trace, Sample()
    if Path(trace).is_file():
        groups = [group for group in groups_of_file(Path(trace).read_bytes()) if group.spans]
        service = groups[0].service if groups else trace
        sample = sample_of(span for group in groups if group.service == service for span in group.spans)
    else:
        seen = {row["service"]: row["sample"] for row in client().json("GET", "/api/v1/unmapped-services")}
        if trace not in seen:
            known = ", ".join(seen) or "none yet"
            raise InvalidError(
                f"--from-trace: {trace[:100]!r} is neither a file nor a service that sent spans no model takes; "
                f"such services are: {known}",
                field="from-trace", value=trace[:100],
            )  # fmt: skip
        sample = seen[trace]
    document = starter_spec(service, sample, model=model, owner=owner, purpose=purpose)
    parse_spec(document)
    if as_json:
        emit_json(document)
    else:
        typer.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)


def evaluate(model: ModelName, as_json: JsonFlag = False) -> None:
    """List the windows of a model with their verdicts."""
    windows = client().json("GET", f"{model_path(model)}/windows")["items"]
    if as_json:
        emit_json(windows)
        return
    columns = ("to_ts", "scale", "rows", "labels", "verdict", "sentence")
    emit_rows(windows, columns, title=model, empty="No window has closed yet.")


def retrain(model: ModelName, reason: Reason, as_json: JsonFlag = False) -> None:
    """Request a retrain now, within the declared envelope."""
    answer = client().json("POST", f"{model_path(model)}/runs", json={"reason": reason})
    if as_json:
        emit_json(answer)
    else:
        console.print(answer)


def runs(model: ModelName, as_json: JsonFlag = False) -> None:
    """List the retraining runs of a model."""
    items = client().json("GET", f"{model_path(model)}/runs")["items"]
    if as_json:
        emit_json(items)
        return
    columns = ("id", "state", "champion_version", "candidate_version", "created_at", "finished_at", "error")
    emit_rows(items, columns, title=model, empty="No run yet.")


def promote(run: Annotated[UUID, typer.Argument(help="run id")], reason: Reason) -> None:
    """Approve a run that waits for approval; the last approval that is needed promotes it."""
    console.print(client().json("POST", f"/api/v1/runs/{run}/approve", json={"reason": reason}))


def rollback(
    run: Annotated[UUID, typer.Argument(help="id of the run whose version is the champion")], reason: Reason
) -> None:
    """Restore the champion that preceded this run's version."""
    console.print(client().json("POST", f"/api/v1/runs/{run}/rollback", json={"reason": reason}))
