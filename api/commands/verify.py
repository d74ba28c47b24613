"""`assay verify`: verify bundles, this installation's own ledger, or its lake against the ledger."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from api.commands.output import JsonFlag, console, emit_json
from api.commands.serve import Home, configured
from api.commands.trusted import trusted_keys
from core.artifacts import ArtifactStore
from core.errors import AppError, InvalidError, NotFoundError
from core.settings import Settings
from governance.ledger.keys import earlier_vkeys
from governance.proof.vkey import SigningKey
from governance.verify.against import AgainstVerdict, held_bundle, hold_against
from governance.verify.as_json import document_of
from governance.verify.describe import describe
from governance.verify.earlier import Earlier, read_earlier
from governance.verify.findings import Facts, Finding, LogVerdict, RowsFacts, exit_code
from governance.verify.lake import DIGEST, REWRITE, LakeVerdict, expected_files, verify_lake
from governance.verify.witnesses import witnessed

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

KEY: Final = "key.rights"


def verify(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(help="bundles, as zip or unpacked; without one this installation's own ledger"),
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="public key you trust (a vkey line, or a file with one)")
    ] = None,
    lake: Annotated[
        bool, typer.Option("--lake", help="also compare every file of the lake with what the ledger recorded of it")
    ] = False,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="a bundle, checkpoint note, folder of notes or entries that were published or kept before: the log "
            "must extend it; may be given again"
        ),
    ] = None,
    witness: Annotated[
        list[str] | None, typer.Option(help="public key of a witness that you trust; bundles need its cosignature")
    ] = None,
    quorum: Annotated[
        int | None, typer.Option(min=1, help="how many of the witnesses must have cosigned; all, if it is left out")
    ] = None,
    home: Home = None,
    as_json: JsonFlag = False,
) -> None:
    """Verify bundles offline, or this installation's ledger against its checkpoints and anchor.

    Of several bundles each has its verdict, with `--json` in a list. The exit status is 1 if any fails; otherwise 5 if
    one is consistent but its signer unknown, because no trusted key was given with --key.
    """
    if lake and bundles:
        raise InvalidError("--lake verifies this installation's own lake; leave the bundle out", field="--lake")
    if (witness or quorum) and not bundles:
        raise InvalidError("--witness and --quorum are for bundles; name one", field="--witness")
    trusted = trusted_keys(key or [])
    earlier = [read_earlier(path) for path in against or []]
    if not bundles:
        _verify_own(home, trusted, lake, as_json, earlier)
        return
    verdicts = [(bundle, held_bundle(bundle, trusted, earlier)) for bundle in bundles]
    if witness:
        verdicts = [(bundle, witnessed(verdict, bundle, witness, quorum)) for bundle, verdict in verdicts]
    if as_json:
        documents = [document_of(verdict) for _, verdict in verdicts]
        several = [{"bundle": str(bundle)} | one for (bundle, _), one in zip(verdicts, documents, strict=True)]
        emit_json(documents[0] if len(documents) == 1 else several)
    else:
        said = "\n\n".join(describe(verdict, bundle) for bundle, verdict in verdicts)
        console.print(said, markup=False, soft_wrap=True)
    sys.exit(exit_code([verdict for _, verdict in verdicts]))


def _verify_own(
    home: Path | None, trusted: list[str] | None, lake: bool, as_json: bool, earlier: Sequence[Earlier]
) -> None:
    settings = configured(home)
    # verify never creates or repairs a key: a missing one is a finding
    vkeys = trusted or own_keys(settings.home_dir)
    verdict, files, held, unguarded = read_and_verify(settings, vkeys, lake, earlier)
    findings = [str(f) for f in (*verdict.findings, *(files.findings if files else ()))]
    differing = [str(f) for one in held for f in one.findings]
    warned = [*warnings(settings), *unguarded]
    if as_json:
        document: dict[str, Any] = {
            "ok": not findings and not differing, "entries": verdict.facts.entries, "unsigned": verdict.unsigned,
            "rotated": list(verdict.facts.rotated), "recovered": list(verdict.facts.recovered), "warnings": warned,
        }  # fmt: skip
        if verdict.rows is not None:
            document |= {"rows": asdict(verdict.rows)}
        if files is not None:
            document |= {"lake": {"tables": files.tables, "files": files.files, "pending": files.pending}}
        if held:
            document |= {"against": [{"name": one.name, "ok": one.ok, "words": list(one.words)} for one in held]}
        emit_json(document | {"findings": findings + differing})
    else:
        for line in _said(verdict, files, findings, held, warned):
            console.print(line, markup=False, soft_wrap=True)
    sys.exit(1 if findings or differing else 0)


def _said(
    verdict: LogVerdict, files: LakeVerdict | None, findings: Sequence[str], held: Sequence[AgainstVerdict],
    warned: Sequence[str],
) -> Iterator[str]:  # fmt: skip
    """The verdict on an installation, line by line."""
    if findings:
        what = "ledger" if verdict.findings else "lake"
        if verdict.findings and all(f.what == KEY for f in verdict.findings):
            what = "table of keys"
        if verdict.findings and all(f.what.startswith("row") for f in verdict.findings):
            what = "database"
        unread = any(f.what.startswith("database.") for f in verdict.findings)
        yield f"FAILED: the {what} {'cannot be read' if unread else 'was changed'}."
        yield from (f"  {finding}" for finding in findings)
        if any(f.what in ("log.truncated", "checkpoint.root") for f in verdict.findings):
            yield (
                "  If the database was restored from an older copy: `assay ledger recover` records that, and the "
                "ledger goes on."
            )
    else:
        signed = verdict.facts.entries - verdict.unsigned
        yield f"OK: {verdict.facts.entries} entries, {signed} covered by a signed checkpoint, root {verdict.facts.root}"
        if verdict.rows is not None:
            yield f"{'OK' if verdict.rows.since else 'NOTE'}: {verdict.rows.words}"
        if files is not None:
            yield (
                f"OK: {files.files} files of {files.tables} tables are as recorded; {files.pending} came after the "
                "last record"
            )
    yield from (f"  rotated: {rotated}" for rotated in verdict.facts.rotated)
    yield from (f"NOTE: {recovered}" for recovered in verdict.facts.recovered)
    for one in held:
        yield from (f"{'OK' if one.ok else 'NOTE'}: {one.name}: {words}" for words in one.words)
        yield from (f"FAILED: {finding}" for finding in one.findings)
    yield from (f"WARNING: {warning}" for warning in warned)


def warnings(settings: Settings) -> list[str]:
    """What an outsider should know about where checkpoints are kept."""
    from governance.ledger.extends import places_of

    home, found, places = settings.home_dir, [], places_of(settings)
    if all(folder.is_relative_to(home) for folder in (places.anchor, *places.others)):
        found.append(
            f"the only anchor lies inside the home folder ({settings.anchor_dir}): whoever can write there can drop "
            "the end of the ledger and its checkpoints with it; set ASSAY_LEDGER__ANCHOR to a folder that others keep"
        )
    seen = settings.last_seen_file
    if seen.resolve().is_relative_to(home):
        found.append(f"the last-seen file {seen} lies inside the home folder; set ASSAY_LEDGER__LAST_SEEN to another")
    elif not seen.exists():
        found.append(f"there is no last-seen file {seen}; the service writes it with each checkpoint")
    return found


def own_keys(home: Path) -> list[str]:
    """The public keys that sign the ledger of an installation, the present one first."""
    return [_own_key(home), *earlier_vkeys(home)]


def _own_key(home: Path) -> str:
    path, public = home / "keys" / "ledger.key", home / "keys" / "ledger.vkey"
    if public.is_file() and not os.access(path, os.R_OK):  # who verifies a copy needs no secret
        return public.read_text().strip()
    if not path.is_file():
        raise NotFoundError(f"{home} holds no installation; give --home or a bundle", home=str(home))
    try:
        return SigningKey.parse(path.read_text().strip()).vkey
    except (AppError, UnicodeDecodeError) as error:
        reason = error.message if isinstance(error, AppError) else "it is not text"
        raise InvalidError(
            f"{path} is damaged: {reason}; restore it, or give the public key with --key", field="key", value=str(path)
        ) from error


def read_and_verify(
    settings: Settings, vkeys: list[str], lake: bool, earlier: Sequence[Earlier]
) -> tuple[LogVerdict, LakeVerdict | None, list[AgainstVerdict], list[str]]:
    """Verify the ledger and then, on request, the lake; a broken ledger proves nothing about the lake.

    The last is what to warn of: triggers that keep the ledger unchanged are not there.
    """
    import sqlite3

    from sqlalchemy.exc import SQLAlchemyError

    import migrations.tables  # noqa: F401 - every mapped class: rows of a class that is not loaded cannot be held
    from core.db_reading import reading
    from governance.anchors.deliver import timestamp_findings
    from governance.anchors.kinds import anchors_of
    from governance.binding.check import check_rows
    from governance.ledger.extends import places_of
    from governance.ledger.read import ledger_entries, ledger_lines
    from governance.ledger.selfcheck import verify_ledger

    path = settings.home_dir / "assay.db"
    if settings.db.url is None and not path.exists():
        return LogVerdict((Finding("database.missing", "database", str(path), "no such file"),), Facts()), None, [], []
    try:
        with reading(settings.database_url) as db:
            verdict = verify_ledger(db, places=places_of(settings), vkeys=vkeys)
            lines = list(ledger_lines(db)) if earlier else []
            held = [hold_against(lines, one, vkeys, whole=True) for one in earlier]
            rows, told = check_rows(db), list[Finding]()
            if verdict.ok:  # a broken ledger proves nothing about the keys
                stamps = timestamp_findings(db, anchors_of(settings.anchors), settings.anchor_dir)
                told = [*_key_findings(db), *stamps[0]]
            unguarded = _unguarded(db) if rows.since else []
            facts = RowsFacts(rows.rows, rows.found, rows.since)
            verdict = replace(verdict, findings=(*verdict.findings, *told, *rows.findings), rows=facts)
            if not lake or not verdict.ok:
                return verdict, None, held, unguarded
            entries = ledger_entries(db, (DIGEST, REWRITE))
    except (SQLAlchemyError, sqlite3.Error, UnicodeDecodeError) as error:  # the last: SQLite quotes a damaged schema
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return (
            LogVerdict((Finding("database.unreadable", "database", "a readable database", reason),), Facts()),
            None,
            [],
            [],
        )
    artifacts = ArtifactStore(settings.home_dir / "artifacts")
    expected = expected_files(entries, lambda digest: _artifact(artifacts, digest))
    return verdict, verify_lake(settings.lake_dir, expected), held, unguarded


def _unguarded(db: "Session") -> list[str]:
    """Triggers that somebody has taken away; nothing is proved by that, but nobody does it by mistake."""
    from governance.ledger import guard

    lost = guard.missing(db.connection())
    if not lost:
        return []
    return [
        f"triggers that refuse changes of the ledger are not there: {', '.join(lost)}; who owns the tables has taken "
        "them away. The next start of `assay serve` puts them back"
    ]


def _key_findings(db: "Session") -> tuple[Finding, ...]:
    from sqlalchemy import inspect

    from governance.access.rights import all_differences, rights_of
    from governance.access.rights_entries import ACTOR_PREFIX
    from governance.tables import ApiKey, Person

    schema = inspect(db.connection())
    lost = [name for name in (ApiKey.__tablename__, Person.__tablename__) if not schema.has_table(name)]
    if lost and rights_of(db).people:
        return (Finding(KEY, f"table {lost[0]}", "the rows that the ledger's entries are about", "no such table"),)
    there = () if lost else {column["name"] for column in schema.get_columns(ApiKey.__tablename__)}
    if not set(there) >= set(ApiKey.__table__.columns.keys()):  # of an earlier release: verifying migrates nothing
        return ()
    try:
        found = all_differences(db).items()
    except (ValueError, TypeError) as error:  # a column in a form that Assay never writes
        return (Finding(KEY, "table of keys", "columns that can be read", str(error)[:200]),)
    return tuple(
        Finding(KEY, who if who.startswith(ACTOR_PREFIX) else f"key {who}", "as in the ledger", words)
        for who, words in found
    )


def _artifact(artifacts: ArtifactStore, digest: str) -> bytes | None:
    try:
        return artifacts.path(digest).read_bytes()
    except (NotFoundError, OSError):
        return None
