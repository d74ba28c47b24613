"""`assay ledger`: read the ledger through the service."""

from typing import Annotated

import typer

from api.commands import ledger_key
from api.commands.models import client
from api.commands.output import JsonFlag, console, emit_json, emit_rows
from api.commands.serve import Home, configured

app = typer.Typer(no_args_is_help=True)
app.command()(ledger_key.rotate)
app.command()(ledger_key.recovery_key)
app.command()(ledger_key.token_key)


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
    """Print the public keys of the service, the present one first: `assay verify BUNDLE --key` takes them in a file.

    Keys that signed before it follow, but for those that were declared compromised.
    """
    answer = client().json("GET", "/api/v1/ledger/key")
    if as_json:
        emit_json(answer)
    else:
        revoked = {one["vkey"]: one["from_entry"] for one in answer["revoked"]}
        for vkey in (answer["vkey"], *reversed(answer["earlier"])):
            if vkey not in revoked:
                typer.echo(vkey)
        for vkey, entry in revoked.items():
            typer.echo(f"revoked from entry {entry} on, not listed: {vkey}", err=True)


@app.command()
def repair(home: Home = None, as_json: JsonFlag = False) -> None:
    """Repair what follows from sound entries (hashes, columns, the head), on this machine; an entry records it."""
    from api.commands.keys import existing_database
    from api.commands.verify import own_keys
    from core.clock import SystemClock
    from governance.ledger.repair import repair_ledger

    settings = configured(home)
    database = existing_database(settings)
    try:
        with database.write() as db:
            found, entry = repair_ledger(
                db, anchor=settings.anchor_dir, vkeys=own_keys(settings.home_dir), now=SystemClock().now()
            )
    finally:
        database.dispose()
    if as_json:
        emit_json({"repaired": [str(f) for f in found], "entry": entry})
    elif entry is None:
        console.print("Nothing is damaged.")
    else:
        for finding in found:
            console.print(f"  {finding.where}: {finding.what}", markup=False, soft_wrap=True)
        console.print(f"Repaired {len(found)} finding(s); ledger entry {entry} says so.")


@app.command()
def grants(role: Annotated[str, typer.Argument(help="role of PostgreSQL that the service connects with")]) -> None:
    """Print the SQL that lets a role run the service, but only read and add to the ledger; run it as the owner."""
    from governance.ledger.guard import grants as statements

    for statement in statements(role):
        typer.echo(f"{statement};")
