"""`assay verify`: a bundle from anybody, or this installation's own ledger."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from api.commands.output import JsonFlag, console, emit_json
from api.commands.serve import Home, configured
from core.errors import AppError, InvalidError, NotFoundError
from core.settings import Settings
from governance.checkpoint import SigningKey
from governance.verify import Facts, Finding, LogVerdict, describe, verify_bundle


def verify(
    bundle: Annotated[Path | None, typer.Argument(help="zip bundle; without it the installation's own ledger")] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="public key you trust (a vkey line, or a file with one)")
    ] = None,
    home: Home = None,
    as_json: JsonFlag = False,
) -> None:
    """Verify a bundle offline, or this installation's ledger against its checkpoints and anchor."""
    trusted = [Path(k).read_text().strip() if Path(k).is_file() else k for k in key or []] or None
    if bundle is None:
        _verify_own(home, trusted, as_json)
        return
    verdict = verify_bundle(bundle, trusted)
    if as_json:
        emit_json({"ok": verdict.ok, "trust": verdict.trust, "findings": [str(f) for f in verdict.findings]})
    else:
        console.print(describe(verdict, bundle), markup=False, soft_wrap=True)
    sys.exit(0 if verdict.ok else 1)


def _verify_own(home: Path | None, trusted: list[str] | None, as_json: bool) -> None:
    settings = configured(home)
    vkeys = trusted or [_own_key(settings.home_dir)]  # nothing is made or mended here: what is missing is a finding
    verdict = _read_and_verify(settings, vkeys)
    if as_json:
        emit_json(
            {
                "ok": verdict.ok,
                "entries": verdict.facts.entries,
                "unsigned": verdict.unsigned,
                "findings": [str(f) for f in verdict.findings],
            }
        )
    elif verdict.ok:
        signed = verdict.facts.entries - verdict.unsigned
        console.print(
            f"OK: {verdict.facts.entries} entries, {signed} covered by a signed checkpoint, root {verdict.facts.root}",
            soft_wrap=True,
        )
    else:
        console.print("FAILED: the ledger was changed or cannot be read.")
        for finding in verdict.findings:
            console.print(f"  {finding}", markup=False, soft_wrap=True)
    sys.exit(0 if verdict.ok else 1)


def _own_key(home: Path) -> str:
    path = home / "keys" / "ledger.key"
    if not path.is_file():
        raise NotFoundError(f"{home} holds no installation; give --home or a bundle", home=str(home))
    try:
        return SigningKey.parse(path.read_text().strip()).vkey
    except (AppError, UnicodeDecodeError) as error:
        why = error.message if isinstance(error, AppError) else "it is not text"
        raise InvalidError(
            f"{path} is damaged: {why}; restore it, or give the public key with --key", field="key", value=str(path)
        ) from error


def _read_and_verify(settings: Settings, vkeys: list[str]) -> LogVerdict:
    from core.db import Database
    from governance.selfcheck import verify_ledger

    path = settings.home_dir / "assay.db"
    if settings.db.url is None and not path.exists():
        return LogVerdict((Finding("database.missing", "database", str(path), "no such file"),), Facts())
    database = Database(settings.database_url)
    try:
        with database.read() as db:
            return verify_ledger(db, anchor=settings.anchor_dir, vkeys=vkeys)
    finally:
        database.dispose()
