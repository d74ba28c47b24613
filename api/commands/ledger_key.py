"""`assay ledger rotate`, `recovery-key` and `token-key`: the keys of the ledger, on the machine of the installation."""

from pathlib import Path
from typing import Annotated

import typer

from api.commands.output import JsonFlag, console, emit_json
from api.commands.serve import Home, configured
from core.errors import InvalidError


def rotate(
    reason: Annotated[str, typer.Option(help="why, for the ledger")] = "",
    compromised_from: Annotated[
        int | None, typer.Option(min=0, help="entry from which on the key before counts as compromised")
    ] = None,
    recovery_key: Annotated[
        Path | None, typer.Option(help="file of the recovery key, if the key before is lost or in other hands")
    ] = None,
    label: Annotated[str | None, typer.Option(help="label of a new key in the token that has the present one")] = None,
    home: Home = None,
    as_json: JsonFlag = False,
) -> None:
    """Let another key sign the ledger from now on; an entry names it, signed by the key before.

    The new key is of the kind that ASSAY_SIGNER__KIND names. The service may run; if its settings change with the key,
    it is started again.
    """
    from api.commands.serve import existing_database
    from core.clock import SystemClock
    from governance.ledger.extends import places_of
    from governance.ledger.hand_over import hand_over
    from retrain.registry.again import sign_champions_again

    settings = configured(home)
    database = existing_database(settings)
    now = SystemClock().now()
    try:
        done = hand_over(
            database, home=settings.home_dir, origin=settings.ledger.origin, signer=settings.signer,
            places=places_of(settings), recovery=recovery_key, label=label, reason=reason,
            revoked_from=compromised_from, now=now,
        )  # fmt: skip
        with database.write() as db:
            signed, left = sign_champions_again(db, done.keys.documents, alone=compromised_from is not None, now=now)
    finally:
        database.dispose()
    if as_json:
        emit_json({"entry": done.index, "before": done.before, "vkey": done.after, "champions": signed, "left": left})
        return
    console.print(f"Ledger entry {done.index} hands the ledger over to", markup=False)
    console.print(done.after, markup=False, soft_wrap=True)
    if label is not None:
        console.print(f"Set ASSAY_SIGNER__LABEL={label} and start the service again.", markup=False)
    if signed:
        console.print(f"Champions signed with it too: {', '.join(signed)}.", markup=False, soft_wrap=True)
    for model in left:
        console.print(
            f"The champion of {model} was not signed again: its row is not what the ledger says was promoted.",
            markup=False, soft_wrap=True,
        )  # fmt: skip


def recovery_key(
    file: Annotated[Path, typer.Argument(help="file of the private recovery key; made if it is missing")],
    home: Home = None,
    as_json: JsonFlag = False,
) -> None:
    """Name a recovery key in the ledger, which may sign a later rotation. Keep its file apart from this machine."""
    from api.commands.serve import existing_database
    from core.artifacts import write_durably
    from core.clock import SystemClock
    from governance.ledger.checkpointing import issue_checkpoint
    from governance.ledger.extends import places_of
    from governance.ledger.keys import earlier_vkeys, load_or_create
    from governance.ledger.rotation import name_recovery_key
    from governance.ledger.signers.file import read_key
    from governance.proof.vkey import SigningKey

    settings = configured(home)
    database = existing_database(settings)
    try:
        keys = load_or_create(settings.home_dir, settings.ledger.origin, settings.signer)
        if not file.exists():
            made = SigningKey.generate(f"{keys.signing.name}/recovery")
            write_durably(file, (made.secret() + "\n").encode(), mode=0o600)
        recovery, now = read_key(file).vkey, SystemClock().now()
        places, earlier = places_of(settings), earlier_vkeys(settings.home_dir)
        with database.write() as db:
            index = name_recovery_key(db, key=keys.signing, places=places, recovery=recovery, now=now)
        with database.write() as db:
            issue_checkpoint(db, key=keys.signing, places=places, earlier=earlier, now=now)
    finally:
        database.dispose()
    if as_json:
        emit_json({"entry": index, "vkey": recovery})
    else:
        console.print(f"Ledger entry {index} names {recovery}", markup=False, soft_wrap=True)
        console.print(f"Keep {file} apart from this machine.", markup=False, soft_wrap=True)


def token_key(home: Home = None) -> None:
    """Make the key pair of ASSAY_SIGNER__LABEL in the token, where its private half stays; print the public key."""
    from governance.ledger.keys import signer_of
    from governance.ledger.signers.token import TokenSigner

    settings = configured(home)
    signer = signer_of(settings.signer, settings.home_dir, settings.ledger.origin)
    if not isinstance(signer, TokenSigner):
        raise InvalidError("signer.kind is not pkcs11; set ASSAY_SIGNER__KIND=pkcs11", field="signer.kind")
    signer.generate()
    typer.echo(str(signer.present()))
