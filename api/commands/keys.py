"""`assay keys`: manage API keys through the service."""

from typing import Annotated
from urllib.parse import quote

import typer

from api.commands.models import client
from api.commands.output import JsonFlag, console, emit_json, emit_rows

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="what the key is for")],
    role: Annotated[str, typer.Option(help="producer, viewer, operator, validator, approver or admin")],
    as_json: JsonFlag = False,
) -> None:
    """Create a key; it is shown once."""
    answer = client().json("POST", "/api/v1/keys", json={"name": name, "role": role})
    if as_json:
        emit_json(answer)
    else:
        console.print(f"{answer['key']}\nShown this once; only its hash is kept.", markup=False)


@app.command("list")
def list_keys(as_json: JsonFlag = False) -> None:
    """List keys by prefix, without secrets."""
    items = client().json("GET", "/api/v1/keys")["items"]
    if as_json:
        emit_json(items)
    else:
        emit_rows(items, ("prefix", "name", "role", "created_at", "revoked_at"), title="API keys", empty="No key.")


@app.command()
def revoke(prefix: Annotated[str, typer.Argument(help="prefix of the key, as `assay keys list` shows it")]) -> None:
    """Revoke a key at once."""
    client().send("DELETE", f"/api/v1/keys/{quote(prefix, safe='')}")
    console.print(f"{prefix} is revoked.")
