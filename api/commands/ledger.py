"""`assay ledger`: read the ledger through the service."""

from typing import Annotated

import typer

from api.commands.models import client
from api.commands.output import JsonFlag, emit_json, emit_rows

app = typer.Typer(no_args_is_help=True)


@app.command()
def entries(
    first: Annotated[int, typer.Option(min=0, help="index of the first entry")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="entries to show")] = 100,
    as_json: JsonFlag = False,
) -> None:
    """Show entries in order."""
    items = client().json("GET", "/api/v1/ledger/entries", params={"first": first, "limit": limit})["items"]
    if as_json:
        emit_json(items)
    else:
        emit_rows(items, ("index", "at", "kind", "actor", "subject"), title="Ledger", empty="The ledger is empty.")


@app.command()
def checkpoint() -> None:
    """Print the newest signed checkpoint."""
    typer.echo(client().send("GET", "/api/v1/ledger/checkpoint").text, nl=False)


@app.command()
def key(as_json: JsonFlag = False) -> None:
    """Print the public key of the service, which `assay verify BUNDLE --key` takes."""
    answer = client().json("GET", "/api/v1/ledger/key")
    if as_json:
        emit_json(answer)
    else:
        typer.echo(answer["vkey"])
