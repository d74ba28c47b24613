"""`assay train RUN`: one run on this machine, for Slurm, Kubernetes, cron or a person."""

from typing import Annotated
from uuid import UUID

import typer

from api.commands.output import JsonFlag, console, emit_json
from api.commands.retrain import ENDS, EXIT_CODES, Outcome, limit_of
from api.commands.serve import Home, configured, prepare
from core import logs


def train(
    run: Annotated[UUID, typer.Argument(help="id of the run, as `assay runs` lists it")],
    home: Home = None,
    timeout: Annotated[
        str | None, typer.Option(help="give up after this time, such as 6h, if the run is put off or held elsewhere")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take one queued run to its end on this machine, on the database and home folder of the settings.

    It waits while another worker holds the run and outside the allowed hours, and goes on with what a lost worker left.

    Exit codes, as of `assay retrain --wait`: 0 promoted, 12 waits for approval, 13 the run failed, 14 the candidate was
    rejected, 15 not ended when --timeout was over; 2 wrong use.
    """
    from retrain import store
    from retrain.jobs import run_to_the_end

    limit = limit_of(timeout)
    settings = configured(home)
    logs.configure(settings.log.level)
    site = prepare(settings)
    try:
        with site.database.read() as db:
            store.run(db, run)  # before anything is written for it
        ended = run_to_the_end(site, run, None if limit is None else limit.total_seconds())
        with site.database.read() as db:
            row = store.run(db, run)
    finally:
        site.close()
    outcome: Outcome = ENDS.get(row.state, "timeout") if ended else "timeout"
    if as_json:
        emit_json({"outcome": outcome, "exit_code": EXIT_CODES[outcome], "run": str(run), "state": row.state,
                   "candidate_version": row.candidate_version, "error": row.error})  # fmt: skip
    else:
        words = f"run {run} is {row.state}" + (f": {row.error}" if row.error else "")
        console.print(words, markup=False, soft_wrap=True)
    raise typer.Exit(EXIT_CODES[outcome])
