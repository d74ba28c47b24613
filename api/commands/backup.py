"""`assay backup`, `assay restore`: copy a running installation, and bring it back, on its machine."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from api.commands.output import JsonFlag, console, emit_json
from api.commands.serve import Home, configured, end_cleanly
from api.commands.trusted import trusted_keys
from core.settings import Settings


def backup(
    destination: Annotated[Path, typer.Argument(help="folder of the backup; it must not exist, or be empty")],
    with_keys: Annotated[
        Path | None, typer.Option(help="also write the private keys, into this file of their own; keep it elsewhere")
    ] = None,
    home: Home = None,
    as_json: JsonFlag = False,
) -> None:
    """Copy this installation into a folder, while it runs: database, logs, lake, artifacts, anchor, plain settings.

    No private key is in it. Every file is listed with its digest in backup.json, which is signed; the ledger keeps it.
    """
    from api.backup.make import make_backup
    from api.commands.serve import existing_database
    from core.clock import SystemClock

    end_cleanly()
    settings = configured(home)
    database = existing_database(settings)
    try:
        made = make_backup(
            settings, database, destination, keys_file=with_keys, check=verified_by(None), clock=SystemClock()
        )
    finally:
        database.dispose()
    if as_json:
        emit_json(
            {
                "place": str(made.place), "manifest": made.digest, "files": made.files, "bytes": made.size,
                "entries": made.entries, "root": made.root, "left_out": made.left_out, "entry": made.entry,
                "keys": None if with_keys is None else str(with_keys),
            }
        )  # fmt: skip
        return
    said = [
        f"{made.place}: {made.files} files, {made.size:,} bytes, verified. Its ledger has {made.entries} entries, "
        f"root {made.root}; entry {made.entry} of the installation records it.",
        f"Private keys are in {with_keys}; keep it elsewhere."
        if with_keys is not None
        else "Private keys are not in it; a restored copy needs them: assay backup ... --with-keys FILE.",
    ]
    if made.left_out:
        said.append(f"Left out, for they may hold secrets or are links: {', '.join(made.left_out)}.")
    for line in said:
        console.print(line, markup=False, soft_wrap=True)


def restore(
    source: Annotated[Path, typer.Argument(help="folder that `assay backup` made")],
    keys: Annotated[
        Path | None, typer.Option(help="file of the private keys, as `assay backup --with-keys` wrote it")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="public key you trust (a vkey line, or a file with one)")
    ] = None,
    home: Home = None,
    as_json: JsonFlag = False,
) -> None:
    """Restore a backup into an empty home folder; nothing is kept of one that is not as it was made.

    On PostgreSQL ASSAY_DB__URL names an empty database. Beside its original the restored installation is a copy, and
    gets an origin of its own at its first start.
    """
    from api.backup.restore import restore_backup

    end_cleanly()
    settings, trusted = configured(home), trusted_keys(key or [])
    done = restore_backup(settings, source, keys_file=keys, trusted=trusted, check=verified_by(trusted))
    if as_json:
        emit_json(
            {
                "home": str(done.home), "signer": done.signer, "trusted": done.trusted, "files": done.files,
                "entries": done.entries, "root": done.root, "keys": done.keys, "older": done.notes,
            }
        )  # fmt: skip
        return
    trust = "" if done.trusted else ", a key that nobody vouched for: compare it with the published one, or give --key"
    said = [
        f"{done.home}: {done.files} files are as listed, and the ledger of {done.entries} entries verifies.",
        f"Signed by {done.signer}{trust}.",
    ]
    if not done.keys:
        said.append(
            "The private keys are not there, and `assay serve` needs them: restore with --keys FILE, or put them into "
            f"{done.home / 'keys'}."
        )
    if done.notes:
        said.append(
            f"NOTE: this state is older than what was signed since: {done.notes[0]}. Once you are sure of it: "
            "`assay ledger recover --by NAME --reason WHY`; until then the service accepts and does not sign."
        )
    for line in said:
        console.print(line, markup=False, soft_wrap=True)


def verified_by(trusted: Sequence[str] | None) -> Callable[[Settings], list[str]]:
    """What `assay verify --lake` finds wrong with an installation, in words; by its own public keys, or others."""

    def check(settings: Settings) -> list[str]:
        from api.commands.verify import own_keys, read_and_verify

        vkeys = list(trusted) if trusted else own_keys(settings.home_dir)
        verdict, files, *_ = read_and_verify(settings, vkeys, True, [])
        return [str(f) for f in (*verdict.findings, *(files.findings if files else ()))]

    return check
