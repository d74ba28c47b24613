"""`assay provenance`: declare external data and base models; look up what things were made from, and an event's way."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from api.commands.models import ModelName, client, model_path
from api.commands.output import JsonFlag, console, emit_json, emit_rows
from core.errors import InvalidError

app = typer.Typer(no_args_is_help=True)


@app.command()
def add(
    model: ModelName,
    file: Annotated[Path, typer.Argument(help="declaration as YAML or JSON")],
    dataset: Annotated[str | None, typer.Option(help="name of the registered dataset it is about")] = None,
    base_model: Annotated[str | None, typer.Option(help="or the base model, as the spec or a version names it")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Declare source, licence, consent and the rest of a registered dataset, or of the recipe's base model."""
    if dataset is not None and base_model is not None:
        raise InvalidError("--dataset and --base-model are both given; one declaration is about one of them",
                           field="dataset", value=dataset)  # fmt: skip
    about = {"kind": "base_model" if dataset is None else "dataset", "name": dataset or base_model}
    answer = client().json("POST", f"{model_path(model)}/provenance", json={**_read(file), **about})
    if as_json:
        emit_json(answer)
        return
    told = answer["document"]
    console.print(
        f"{answer['kind'].replace('_', ' ')} {answer['name']}: licence {told['licence']}, consent {told['consent']}. "
        f"Declaration {answer['digest'][:19]}... holds for content {answer['content'][:19]}...",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def _read(file: Path) -> dict[str, Any]:
    import yaml

    text = file.read_text(encoding="utf-8")
    try:
        found = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise InvalidError(f"file {file} is no YAML or JSON: {error}", field="file", value=str(file)) from error
    if not isinstance(found, dict):
        raise InvalidError(f"file {file} holds no mapping of fields to values", field="file", value=str(file))
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str))  # YAML reads a date as one
    return plain


@app.command("list")
def listed(model: ModelName, as_json: JsonFlag = False) -> None:
    """List what was declared, newest first."""
    items = client().json("GET", f"{model_path(model)}/provenance")["items"]
    if as_json:
        emit_json(items)
        return
    rows = [item | {n: item["document"].get(n) for n in ("licence", "consent", "expires")} for item in items]
    columns = ("kind", "name", "licence", "consent", "expires", "created_at", "created_by")
    emit_rows(rows, columns, title=f"Provenance declared for {model}", empty="Nothing is declared.")


@app.command("of")
def of_node(
    model: ModelName,
    node: Annotated[str, typer.Argument(help="version:v2, run:ID, dataset:NAME, report:ID, base_model:NAME, a digest")],
    results: Annotated[bool, typer.Option("--results", help="what was made from it, instead of its sources")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what something was made from, down to events and base model; or with --results what became of it."""
    params = {"of": node, "direction": "results" if results else "sources"}
    graph = client().json("GET", f"{model_path(model)}/lineage", params=params)
    if as_json:
        emit_json(graph)
        return
    rows = [
        {**one, "name": one["name"][:60], "licence": (one["declared"] or {}).get("licence"),
         "consent": (one["declared"] or {}).get("consent"), "digest": str(one.get("digest") or one["node"])[7:19]}
        for one in graph["nodes"]
    ]  # fmt: skip
    columns = ("kind", "name", "digest", "licence", "consent", "entry", "standing")
    emit_rows(rows, columns, title=f"{node} of {model}: {'results' if results else 'sources'}", empty="Nothing.")


@app.command()
def event(
    model: ModelName,
    event_id: Annotated[str | None, typer.Argument(help="id of the event")] = None,
    digest: Annotated[str | None, typer.Option(help="or its keyed digest, from an earlier answer")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what an event ended up in; also after it was erased."""
    params = {name: value for name, value in (("event_id", event_id), ("digest", digest)) if value is not None}
    found = client().json("GET", f"{model_path(model)}/lineage/event", params=params)
    if as_json:
        emit_json(found)
        return
    lines = [
        f"{event_id or 'Event'} of {model}: {found['state']}. Its digest: {found['digest']}",
        *(f"window {w['number']} of {w['scale']}: {w['verdict']}" for w in found["windows"]),
        *(f"dataset {d['name']} ({d['role']})" + (", erased from it since" if d["erasures"] else "")
          for d in found["datasets"]),
        *(f"run {r['run']}: {r['state']}, {', '.join(r['roles'])}" for r in found["runs"]),
        *(f"version {v['version']} ({v['stage']}): {v['why']}" for v in found["versions"]),
        *(f"report {r['report']}: {'; '.join(r['why'])}" for r in found["reports"]),
        *(f"explanation {e['digest'][:19]}... of version {e['version']}" for e in found["explanations"]),
    ]  # fmt: skip
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
