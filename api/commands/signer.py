"""`assay signer`: the process that holds the key of a ledger and signs its checkpoints."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from core.errors import InvalidError
from core.settings_signer import LOOPBACK


def signer(
    keys: Annotated[Path, typer.Option(help="folder of the key, which no other user can read")],
    listen: Annotated[
        str | None, typer.Option(help="unix:/run/assay/signer.sock or http://127.0.0.1:8190 (ASSAY_SIGNER__ADDRESS)")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="file of the password of an http address (ASSAY_SIGNER__TOKEN_FILE)")
    ] = None,
    origin: Annotated[str, typer.Option(help="name of the ledger, for a key that is made now")] = "assay.local/ledger",
    prepare_next: Annotated[
        bool, typer.Option("--prepare-next", help="make the next key, for `assay ledger rotate`, and end")
    ] = False,
) -> None:
    """Sign the checkpoints of one ledger, under a user of its own; the service cannot read the key.

    It signs nothing but checkpoints that extend the last one it signed, which `last.json` beside the key remembers. The
    first start makes the key.
    """
    from governance.ledger.signers.process import CheckpointSigner, make_key
    from governance.ledger.signers.process import listen as bound
    from governance.ledger.signers.remote import read_token

    if prepare_next:
        typer.echo(make_key(keys, origin, ready=True).vkey)
        return
    if listen is None or not listen.startswith(("unix:/", *LOOPBACK)):
        raise InvalidError(
            "--listen needs unix:/a/path or http://127.0.0.1:PORT: a signer answers on its own machine alone",
            field="--listen", value=listen,
        )  # fmt: skip
    if listen.startswith("http") and token_file is None:
        raise InvalidError("an http address needs --token-file: a port has no permissions", field="--token-file")
    if not (keys / "ledger.key").exists():
        make_key(keys, origin, ready=False)
    token = None if token_file is None else read_token(token_file)
    held = CheckpointSigner(keys)
    with bound(held, listen, token) as server:
        where = listen if listen.startswith("unix:") else f"http://{server.server_address[0]!s}:{server.server_port}"
        typer.echo(f"Signs for {held.keys()['vkey']} at {where}")
        sys.stdout.flush()
        server.serve_forever()
