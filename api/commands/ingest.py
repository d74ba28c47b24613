"""`assay ingest SPEC FILE`: send files to a running service; an interrupted upload resumes without duplicates."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from api.client import Client, ServiceError
from api.commands.output import JsonFlag, console, emit_json, errors
from core.canonical import canonical
from core.errors import InvalidError
from core.settings import load
from monitor.spec.model import ModelSpec
from monitor.spec.parse import load_spec

MAX_SHOWN_REJECTIONS: Final = 20  # rejected rows shown to a person; --json has more


def ingest(
    spec: Annotated[Path, typer.Argument(help="model spec, YAML or JSON; declared first if the model is new")],
    file: Annotated[
        str,
        typer.Argument(
            help="Parquet, Arrow, CSV or NDJSON (the latter two also .gz, .zst), a folder, a Delta table, or a URI: s3://"
        ),
    ],
    outcomes: Annotated[
        bool, typer.Option("--outcomes", help="the rows are outcomes: event_id and outcome columns")
    ] = False,
    ts: Annotated[str | None, typer.Option(help="column that holds the time of the answer")] = None,
    rename: Annotated[
        list[str] | None, typer.Option(help="FROM=TO for a column of another name; FROM= leaves it out; repeatable")
    ] = None,
    model_version: Annotated[
        str | None, typer.Option(help="version of the model that answered, if the file has no column for it")
    ] = None,
    ts_as: Annotated[
        str, typer.Option(help="how times are read: epoch_s, epoch_ms, epoch_us, epoch_ns, or a zone such as UTC")
    ] = "",
    state: Annotated[
        Path | None, typer.Option(help="progress file; by default in `ingest` under the home folder")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Send files to the running service; after an interruption the same command resumes."""
    from api.upload.files import sources
    from api.upload.send import Sender, UploadProgress
    from api.upload.shape import UploadPlan
    from monitor.ingest.times import check_reading

    if not spec.is_file():
        raise InvalidError(f"spec: {spec} is not a file; give the path of a YAML or JSON file", field="spec")
    parsed = load_spec(spec.read_bytes())
    if outcomes and not parsed.outcome_columns:
        raise InvalidError(f"--outcomes: model {parsed.model} declares no column with role outcome", field="outcomes")
    renames = renamed(rename or [], ts)
    reading = check_reading(ts_as) if ts_as else ""
    found = sources(file)
    settings = load()
    about = {
        "url": settings.client.url, "model": parsed.model, "file": _absolute(file), "outcomes": outcomes,
        "rename": renames, "model_version": model_version, **({"ts_as": reading} if reading else {}),
    }  # fmt: skip
    name = hashlib.sha256(canonical(about)).hexdigest()[:16] + ".json"
    progress = UploadProgress.open(state or settings.home_dir / "ingest" / name, about)
    constants = {"version": model_version} if model_version is not None else {}
    plan = UploadPlan(parsed, outcomes, renames, constants, ts_as=reading)
    with Client(settings.client) as client, _bar(sum(source.size for source in found)) as show:
        _declare(client, parsed, spec)
        totals = Sender(client, parsed, show).send(found, plan, progress)
    _show({"model": parsed.model, **asdict(totals), "state": str(progress.path)}, as_json=as_json)


def _absolute(file: str) -> str:
    return file.rstrip("/") if "://" in file else str(Path(file).resolve())


def renamed(given: list[str], ts: str | None) -> dict[str, str]:
    """What `--rename` and `--ts` say, as column of the file -> name in the spec.

    Raises:
        InvalidError: an option of another form, or two columns would get one name.
    """
    renames: dict[str, str] = {}
    for one in given:
        name, equals, to = one.partition("=")
        if not name or not equals:
            raise InvalidError(f"--rename {one!r}: write FROM=TO, or FROM= to leave the column out", field="rename")
        renames[name] = to
    if ts is not None and ts != "ts":
        renames[ts] = "ts"
    for to in set(renames.values()) - {""}:
        if sum(t == to for t in renames.values()) > 1:
            raise InvalidError(f"--rename: two columns would become {to!r}; rename one of them", field="rename")
    return renames


def _declare(client: Client, spec: ModelSpec, path: Path) -> None:
    """Declare a new model; an existing model keeps its current spec.

    Raises:
        InvalidError: the file differs from the model's current spec.
    """
    where = f"/api/v1/models/{quote(spec.model, safe='')}"
    try:
        current = client.json("GET", where)
    except ServiceError as error:
        match error.facts.get("status"):
            case 404:
                client.json("PUT", where, json=spec.document)
                return
            case 403:  # a producer's key may send but not read; the service checks each row against its current spec
                return
        raise
    earlier = spec.monitors.model_copy(update={"positive_class": "assumed"})  # as a release before this key stored it
    if current["digest"] not in (spec.digest, spec.model_copy(update={"monitors": earlier}).digest):
        raise InvalidError(
            f"spec: {path} is not the current spec of model {spec.model} (revision {current['revision']}); run "
            f"`assay apply {path}` first, or use the current spec", field="spec",
        )  # fmt: skip


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int, int], None]]:
    """Show progress on standard error, only at a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("sending"), BarColumn(), DownloadColumn(), TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("bytes", total=total, rows=0)
        yield lambda done, rows: progress.update(task, completed=done, rows=rows)


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(document)
        return
    for row in document["rejected"][:MAX_SHOWN_REJECTIONS]:
        name = f"{row['field']}: " if row["field"] else ""
        errors.print(f"rejected: {row['file']} row {row['row']}: {name}{row['reason']}", markup=False, soft_wrap=True)
    if (more := document["rejected_total"] - len(document["rejected"][:MAX_SHOWN_REJECTIONS])) > 0:
        errors.print(f"rejected: {more} more rows; `assay quarantine {document['model']}` lists them", markup=False)
    console.print(
        f"{document['model']}: {document['files']} files, {document['rows']} rows: {document['accepted']} events and "
        f"{document['outcomes_accepted']} outcomes stored, "
        f"{document['duplicates'] + document['outcomes_duplicates']} duplicates, {document['rejected_total']} rejected",
        markup=False, soft_wrap=True,
    )  # fmt: skip
