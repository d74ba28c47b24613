"""`assay verify`: a bundle from anybody, or this installation's own ledger."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from api.commands.output import JsonFlag, console, emit_json
from api.commands.serve import Home, configured
from core.errors import NotFoundError
from governance.verify import describe, verify_bundle


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
        console.print(describe(verdict, bundle), markup=False)
    sys.exit(0 if verdict.ok else 1)


def _verify_own(home: Path | None, trusted: list[str] | None, as_json: bool) -> None:
    from governance.selfcheck import verify_ledger
    from monitor.site import open_site

    settings = configured(home)
    if not (settings.home_dir / "keys" / "ledger.key").exists():
        raise NotFoundError(
            f"{settings.home_dir} holds no installation; give --home or a bundle", home=str(settings.home_dir)
        )
    site = open_site(settings)
    with site.database.read() as db:
        verdict = verify_ledger(db, anchor=settings.anchor_dir, vkeys=trusted or [site.keys.vkey])
    site.close()
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
            f"OK: {verdict.facts.entries} entries, {signed} covered by a signed checkpoint, root {verdict.facts.root}"
        )
    else:
        console.print("FAILED: the ledger was changed.")
        for finding in verdict.findings:
            console.print(f"  {finding}", markup=False)
    sys.exit(0 if verdict.ok else 1)
