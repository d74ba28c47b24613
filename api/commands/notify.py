"""`assay notify`: channels, their test, and messages that could not be delivered."""

import sys
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

import typer

from api.commands.models import client
from api.commands.output import JsonFlag, console, emit_json, emit_rows

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_channels(as_json: JsonFlag = False) -> None:
    """List the channels of the installation, without their URLs."""
    items = client().json("GET", "/api/v1/channels")["items"]
    if as_json:
        emit_json(items)
        return
    rows = [
        {
            "name": c["name"], "kind": c["scheme"], "host": c["host"], "least severity": c["route"]["severity"],
            "digest": c["route"]["digest"], "dead": c["messages"].get("dead", 0), "last sent at": c["last_sent_at"],
        }
        for c in items
    ]  # fmt: skip
    columns = ("name", "kind", "host", "least severity", "digest", "dead", "last sent at")
    emit_rows(rows, columns, title="Channels", empty="No channel is set; see docs/notifications.md.")


@app.command("test")
def send_test(
    channel: Annotated[str | None, typer.Argument(help="name of the channel; all without it")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Send a test message at once; exit code 1 if a channel does not deliver it."""
    service = client()
    names = [channel] if channel else [c["name"] for c in service.json("GET", "/api/v1/channels")["items"]]
    answers = [service.json("POST", f"/api/v1/channels/{quote(name, safe='')}/test") for name in names]
    if as_json:
        emit_json(answers)
    elif not answers:
        console.print("No channel is set; see docs/notifications.md.")
    else:
        for answer in answers:
            said = "delivered" if answer["delivered"] else f"not delivered: {answer['reason']}"
            console.print(f"{answer['channel']}: {said}", markup=False)
    if not answers or not all(answer["delivered"] for answer in answers):
        sys.exit(1)


@app.command()
def outbox(
    state: Annotated[
        str | None, typer.Option(help="only messages in this state: dead, retrying, waiting, held, sent, quiet")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the newest messages and why they wait, failed or stayed quiet."""
    items = client().json("GET", "/api/v1/outbox", params={"state": state} if state else {})["items"]
    if as_json:
        emit_json(items)
        return
    columns = ("id", "channel", "state", "severity", "attempts", "created_at", "reason")
    emit_rows(items, columns, title="Messages", empty="No message.")


@app.command()
def retry(
    message: Annotated[UUID, typer.Argument(help="id of a dead message, as `assay notify outbox` shows it")],
) -> None:
    """Send a dead message again."""
    client().send("POST", f"/api/v1/outbox/{message}/retry")
    console.print(f"{message} is sent again.")
