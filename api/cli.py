"""The command line: `assay COMMAND`.

Exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 the service refused or does not answer, 4 a fault of Assay
itself, 5 a bundle is consistent but its signer unknown, 130 interrupted. `assay retrain` and `assay train` have codes
from 10 on, which their help lists.
"""

import sys
import traceback
from typing import Annotated

import typer

from api.client import ServiceError
from api.commands import (
    alerts,
    backup,
    changes,
    demo,
    doctor,
    envelope,
    erase,
    explain,
    export,
    fairness,
    first_model,
    holds,
    incidents,
    ingest,
    init,
    keys,
    ledger,
    maintenance,
    models,
    notify,
    people,
    plan,
    provenance,
    quarantine,
    reasons,
    replay,
    report,
    retrain,
    serious,
    serve,
    signer,
    stop,
    train,
    verifier,
    verify,
    versions,
)
from api.commands.output import complain
from core import logs
from core.errors import AppError, InvalidError
from core.process import keep_threads_passive, leave_working_directory
from core.settings import variables

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Watch models in production, prove what was seen, repair what drifted.",
)
for command in (
    serve.serve, serve.api, serve.worker, signer.signer, train.train, init.init, init.schema, first_model.first_model,
    models.apply, ingest.ingest, quarantine.quarantine,
    models.evaluate, retrain.retrain, retrain.decisions, models.runs, versions.versions, versions.promote,
    versions.approve, versions.attest, explain.explain,
    versions.reject, envelope.envelope, versions.run, versions.rollback, versions.predictions, versions.stage,
    versions.card, versions.adapter, stop.stop, plan.plan, fairness.fairness, maintenance.deploy,
    erase.erase, erase.erasures, backup.backup, backup.restore,
    replay.replay, demo.demo, verify.verify, verifier.verifier, doctor.doctor,
):  # fmt: skip
    app.command()(command)
app.add_typer(keys.app, name="keys", help="API keys and page sessions: create, list, rotate, scope, own, revoke, end.")
app.add_typer(people.app, name="people", help="People: add, list, role, scope, disable, reset-password, review.")
app.add_typer(alerts.app, name="alerts", help="Alerts: list, show, acknowledge, resolve, assign, snooze, mute.")
app.add_typer(incidents.app, name="incidents", help="Incidents across models: list, show, link, merge, post-mortem.")
app.add_typer(changes.app, name="changes", help="Changes of a spec that wait for people: list, approve, reject.")
app.add_typer(serious.app, name="serious", help="Serious incidents: declare, classify, report, close, export.")
app.add_typer(notify.app, name="notify", help="Channels: list, test; messages that were not delivered.")
app.add_typer(maintenance.app, name="maintenance", help="Times in which alarms are not announced.")
app.add_typer(holds.app, name="hold", help="Legal holds against retention and erasure: add, list, release.")
app.add_typer(
    reasons.app,
    name="reasons",
    help="Reason codes of adverse decisions: of a decision, check a record without a service, tables of texts.",
)
app.add_typer(
    provenance.app,
    name="provenance",
    help="Licence, consent and source of data and base models, and what was made from what: add, list, of, event.",
)
app.add_typer(
    export.app, name="export", help="Provenance for other tools: OpenLineage, PROV, Croissant, ML-BOM, signature."
)
app.add_typer(
    report.app, name="report",
    help="Reports: `assay report MODEL` builds one of a period; list, download, deliver, schedule, regimes.",
)  # fmt: skip
app.add_typer(ledger.app, name="ledger", help="The ledger: entries, checkpoint, keys and their rotation, repair.")


@app.command()
def settings(
    names_only: Annotated[bool, typer.Option("--names", help="print only the variable names")] = False,
) -> None:
    """List every setting (an ASSAY_* variable) with its meaning."""
    for name, meaning in variables():
        typer.echo(name if names_only else f"{name:34} {meaning}")


def main() -> None:
    """Entry point of the `assay` script."""
    leave_working_directory()
    keep_threads_passive()
    logs.configure("warning")  # to standard error; the long-running commands set their own level
    try:
        app()
    except AppError as error:
        complain(error)
        sys.exit(3 if isinstance(error, ServiceError) else 2)
    except OSError as error:
        complain(InvalidError(_file_trouble(error), field="file", value=error.filename))
        sys.exit(2)
    except Exception:  # noqa: BLE001 - exit code 1 means a negative answer, so a fault needs another
        traceback.print_exc()
        sys.exit(4)


def _file_trouble(error: OSError) -> str:
    """A file that is not there, not ours or does not fit: the user can act on it, a traceback does not help."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


if __name__ == "__main__":
    main()
