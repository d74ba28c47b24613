"""`assay init` and `assay schema`: begin a spec, and let an editor check it."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from api.commands.models import client
from api.commands.output import JsonFlag, console, emit_json, emit_rows, errors
from core.errors import InvalidError

if TYPE_CHECKING:
    from api.starter.guess import Draft

STDOUT: Final = "-"
SCHEMA_FILE: Final = "spec.schema.json"


@dataclass(frozen=True)
class _Begun:
    """A spec that was drafted, and what to say about it."""

    draft: "Draft"
    text: str
    document: dict[str, Any]
    notes: list[str]
    commands: list[str]


def init(
    file: Annotated[
        str | None,
        typer.Argument(help="Parquet, Arrow, CSV or NDJSON file, a folder of Parquet files, a Delta table, or a URI"),
    ] = None,
    from_trace: Annotated[
        str | None, typer.Option(help="in place of a file: a service that sends spans, or a file of OTLP spans")
    ] = None,
    out: Annotated[str, typer.Option(help="where the spec is written; - for standard output")] = "spec.yaml",
    model: Annotated[str | None, typer.Option(help="name of the model; by default made from the file's name")] = None,
    owner: Annotated[str | None, typer.Option(help="the person or team responsible for the model")] = None,
    purpose: Annotated[str | None, typer.Option(help="what the model is for")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace a spec that is there already")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a first spec, with comments, from a file, a table or a trace; roles are guessed and said."""
    if (file is None) == (from_trace is None):
        raise InvalidError("file: give a file, or --from-trace with a service or a file of spans", field="file")
    target = None if out == STDOUT else Path(out)
    if target is not None and target.exists() and not force:
        raise InvalidError(
            f"out: {target} exists; give another path with --out, or --force to replace it", field="out", value=out
        )
    if target is not None and not force:
        _keep_foreign_schema(target.parent / SCHEMA_FILE)
    naming = (model, owner, purpose)
    if file is not None:
        begun = _from_table(file, target or Path("spec.yaml"), *naming, schema=target is not None)
    else:
        assert from_trace is not None
        begun = _from_trace(from_trace, target or Path("spec.yaml"), *naming, schema=target is not None)
    if target is None and not as_json:
        typer.echo(begun.text, nl=False)
        return
    if target is not None:
        _write(target, begun.text)
    _show(begun, target, as_json=as_json)


def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    from api.spec_reference.json_schema import spec_schema

    emit_json(spec_schema())


def _from_table(
    file: str, target: Path, model: str | None, owner: str | None, purpose: str | None, *, schema: bool
) -> _Begun:
    from api.starter.advice import advice, commands
    from api.starter.guess import guess_table
    from api.starter.read import plain_name, sample
    from api.starter.text import spec_text

    found = sample(file)
    draft = guess_table(found.frame)
    if not any(guess.source and guess.type != "string" for guess in draft.columns):
        seen = ", ".join(str(name) for name in found.frame.columns)[:300]
        raise InvalidError(
            f"file: {file} has no column to watch, only {seen}; give one with the inputs or the answers of the model",
            field="file", value=file,
        )  # fmt: skip
    name = model or _model_name(plain_name(file))
    notes, next_steps = advice(draft, found), commands(draft, str(target), file)
    text = spec_text(
        draft, model=name, owner=owner, purpose=purpose, file=file, commands=next_steps,
        schema=f"./{SCHEMA_FILE}" if schema else None, notes=notes,
    )  # fmt: skip
    return _Begun(draft, text, _checked(text), notes, next_steps)


def _from_trace(
    trace: str, target: Path, model: str | None, owner: str | None, purpose: str | None, *, schema: bool
) -> _Begun:
    from api.starter.text import flow, spec_text
    from api.starter.trace import draft_of, spans_of
    from monitor.ingest.otlp.starter import starter_spec

    service, found = spans_of(trace, client)
    document = starter_spec(service, found, model=model, owner=owner, purpose=purpose)
    draft = draft_of(document)
    next_steps = [f"assay apply {shlex.quote(str(target))}"]
    text = spec_text(
        draft, model=document["model"], owner=owner, purpose=document["purpose"], file=f"the spans of {service}",
        commands=next_steps, schema=f"./{SCHEMA_FILE}" if schema else None, notes=[],
    )  # fmt: skip
    text += "traces:\n" + "".join(f"  {key}: {flow(value)}\n" for key, value in document["traces"].items())
    return _Begun(draft, text, _checked(text), [], next_steps)


def _checked(text: str) -> dict[str, Any]:
    """The document of a spec that was written; it applies as it is."""
    from monitor.spec.parse import load_spec
    from monitor.spec.yaml_text import read_text

    load_spec(text)
    document: dict[str, Any] = read_text(text)[0]
    return document


def _keep_foreign_schema(path: Path) -> None:
    """Refuse to replace a file of this name that another program wrote.

    Raises:
        InvalidError: it is there, and is no schema of ours.
    """
    from api.spec_reference.json_schema import TITLE

    if path.exists() and TITLE not in path.read_text(encoding="utf-8", errors="replace"):
        raise InvalidError(
            f"out: {path} exists and is no schema of Assay; give another folder with --out, or --force to replace it",
            field="out", value=str(path),
        )  # fmt: skip


def _write(target: Path, text: str) -> None:
    from api.spec_reference.json_schema import spec_schema

    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    (target.parent / SCHEMA_FILE).write_text(json.dumps(spec_schema(), indent=1, ensure_ascii=False), encoding="utf-8")


def _show(begun: _Begun, target: Path | None, *, as_json: bool) -> None:
    rows = [
        {"column": g.name, "in_file": g.source or None, "role": g.role, "type": g.type, "why": g.why, "ask": g.ask}
        for g in begun.draft.columns
    ]  # fmt: skip
    if as_json:
        left_out = [{"column": name, "why": why} for name, why in begun.draft.left_out]
        emit_json({
            "spec": str(target) if target else None, "document": begun.document, "columns": rows, "left_out": left_out,
            "notes": begun.notes, "next": begun.commands,
        })  # fmt: skip
        return
    emit_rows(rows, ("column", "role", "type", "why"), title="Guessed roles", empty="")
    for row in rows:
        if row["ask"]:
            console.print(f"ASK {row['column']}: {row['ask']}", markup=False, soft_wrap=True)
    for name, why in begun.draft.left_out:
        console.print(f"Left out {name}: {why}", markup=False, soft_wrap=True)
    for note in begun.notes:
        errors.print(f"note: {note}", markup=False, soft_wrap=True)
    console.print(f"\n{target} is written; {SCHEMA_FILE} beside it is for editors. Next:", markup=False, soft_wrap=True)
    for command in begun.commands:
        console.print(f"  {command}", markup=False, soft_wrap=True)


def _model_name(text: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:63] or "model"
