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
def status(as_json: JsonFlag = False) -> None:
    """Show how far the ledger is signed, and how each anchor stands."""
    found = client().json("GET", "/api/v1/ledger/status")
    if as_json:
        emit_json(found)
        return
    console.print(
        f"{found['entries']} entries, {found['signed']} signed at {found['signed_at'] or 'no time'} by a key of kind "
        f"{found['signer']}; {found['unsigned']} wait"
        + (f" since {found['unsigned_since']}" if found["unsigned_since"] else "") + ".",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    columns = ("name", "kind", "size", "taken_at", "waiting", "failing_since", "error")
    emit_rows(found["anchors"], columns, title="Anchors", empty="No further anchors; ASSAY_ANCHORS__NAME sets one.")


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
    from api.commands.serve import existing_database
    from api.commands.verify import own_keys
    from core.clock import SystemClock
    from governance.ledger.extends import places_of
    from governance.ledger.repair import repair_ledger

    settings = configured(home)
    database = existing_database(settings)
    try:
        with database.write() as db:
            found, entry = repair_ledger(
                db, places=places_of(settings), vkeys=own_keys(settings.home_dir), now=SystemClock().now()
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


@app.command()
def recover(
    by: Annotated[str, typer.Option(help="the person who decides this; it is recorded")],
    reason: Annotated[str, typer.Option(help="what happened; it is recorded")],
    home: Home = None,
    as_json: JsonFlag = False,
) -> None:
    """Go on after the database was restored from an older copy, on this machine; an entry records what was lost."""
    from api.commands.serve import existing_database
    from api.commands.verify import own_keys
    from core.clock import SystemClock
    from governance.ledger.checkpointing import issue_checkpoint
    from governance.ledger.extends import places_of
    from governance.ledger.keys import load_or_create
    from governance.ledger.recover import recover_ledger

    settings = configured(home)
    database, now = existing_database(settings), SystemClock().now()
    places, vkeys = places_of(settings), own_keys(settings.home_dir)
    try:
        with database.write() as db:
            found = recover_ledger(db, places=places, vkeys=vkeys, by=by, reason=reason, now=now)
        if found is not None:
            key = load_or_create(settings.home_dir, settings.ledger.origin, settings.signer).signing
            with database.write() as db:
                issue_checkpoint(db, key=key, places=places, earlier=vkeys, now=now, whole=True)
    finally:
        database.dispose()
    if as_json:
        document = (
            None if found is None else {"entry": found.index, "kept": found.kept, "lost": found.size - found.kept}
        )
        emit_json({"recovered": document})
    elif found is None:
        console.print("The ledger extends every checkpoint that was found; there is nothing to recover from.")
    else:
        console.print(f"The ledger is {found}. It is signed again.", markup=False, soft_wrap=True)
