"""`assay changes`: changes of a spec that loosen something and wait for people."""

from typing import Annotated, Any

import typer

from api.commands.models import ModelName, Reason, client, model_path, whole_id
from api.commands.output import JsonFlag, console, emit_json, emit_rows

app = typer.Typer(no_args_is_help=True)
ChangeId = Annotated[str, typer.Argument(help="id of the change, or its beginning, as `assay changes list` shows it")]


@app.command("list")
def list_changes(model: ModelName, as_json: JsonFlag = False) -> None:
    """List the changes of a model that wait or waited for approval, newest first."""
    items = client().json("GET", f"{model_path(model)}/changes")["items"]
    if as_json:
        emit_json(items)
        return
    for item in items:
        item["id"] = item["id"][:8]
        item["loosens"] = ", ".join(one["field"] for one in item["loosened"])
        item["approved by"] = f"{', '.join(item['by']) or 'nobody'} of {item['needed']}"
    columns = ("id", "state", "asked_by", "expires_at", "approved by", "loosens")
    emit_rows(items, columns, title=model, empty="No change waits or waited.")


@app.command()
def approve(model: ModelName, change: ChangeId, reason: Reason, as_json: JsonFlag = False) -> None:
    """Agree to a change; the last person who is needed puts it into force."""
    _tell(_decided(model, change, "approve", reason), as_json)


@app.command()
def reject(model: ModelName, change: ChangeId, reason: Reason, as_json: JsonFlag = False) -> None:
    """Reject a change; the spec in force stays."""
    _tell(_decided(model, change, "reject", reason), as_json)


def _decided(model: str, change: str, what: str, reason: str) -> dict[str, Any]:
    service, path = client(), f"{model_path(model)}/changes"
    found = whole_id(service.json("GET", path)["items"], change, "change")
    answer: dict[str, Any] = service.json("POST", f"{path}/{found}/{what}", json={"reason": reason})
    return answer


def _tell(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(answer)
        return
    given = f"; {len(answer['by'])} of {answer['needed']} agreed" if answer["state"] == "waiting" else ""
    console.print(f"Change {answer['id']} is {answer['state']}{given}.", markup=False, soft_wrap=True)
