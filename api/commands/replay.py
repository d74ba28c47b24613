"""`assay replay SPEC FILE`: the backtest that users run before they trust a monitor."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from api.commands.output import JsonFlag, console, emit_json, emit_rows
from core.errors import InvalidError
from monitor.schema import load_spec


def replay(
    spec: Annotated[Path, typer.Argument(help="model spec, YAML or JSON")],
    file: Annotated[
        Path, typer.Argument(help="events in any order: Parquet, CSV or NDJSON with event_id, ts, version")
    ],
    outcomes: Annotated[
        Path | None, typer.Option(help="outcomes: event_id, ts (when they arrived), outcome columns")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Feed a file through the real path by event time; print what would have alarmed and retrained."""
    from api.replay import replay_file

    for name, path in (("spec", spec), ("file", file), ("outcomes", outcomes)):
        if path is not None and not path.is_file():
            raise InvalidError(f"{name}: {path} does not exist", field=name, value=str(path))
    with tempfile.TemporaryDirectory(prefix="assay-replay-") as home:
        document = replay_file(Path(home), load_spec(spec.read_bytes()), file, outcomes)
    if as_json:
        emit_json(document)
        return
    columns = ("from", "to", "rows", "verdict", "sentence")
    emit_rows(
        document["windows"], columns, title=document["model"], empty="No window closed: the file holds too few rows."
    )
    for alert in document["alerts"]:
        console.print(
            f"Alert {alert['opened_at']}: {alert['monitor']} {alert['metric']}: {alert['sentence']}", markup=False
        )
    for run in document["runs"]:
        console.print(
            f"Retrain {'would have started' if run['fired'] else 'not started'} {run['at']}: {run['reason']}",
            markup=False,
        )
    for rejected in document["rejected"][:20]:
        console.print(f"Rejected line {rejected['line']}: {rejected['field']}: {rejected['reason']}", markup=False)
