"""The command line: `assay COMMAND`. Exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 the service refused."""

import sys
from typing import Annotated

import typer

from api.commands import demo, doctor, keys, ledger, models, replay, serve, verify
from api.commands.output import complain
from core.errors import AppError
from core.settings import variables

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Watch models in production, prove what was seen, repair what drifted.",
)
for command in (
    serve.serve, serve.api, serve.worker, models.apply, models.evaluate, models.retrain, models.runs, models.promote,
    models.rollback, models.report, replay.replay, demo.demo, verify.verify, doctor.doctor,
):  # fmt: skip
    app.command()(command)
app.add_typer(keys.app, name="keys", help="API keys: create, list, revoke.")
app.add_typer(ledger.app, name="ledger", help="The ledger: entries, checkpoint, export.")


@app.command()
def settings(
    names_only: Annotated[bool, typer.Option("--names", help="print only the variable names")] = False,
) -> None:
    """List every setting (an ASSAY_* variable) with its meaning."""
    for name, meaning in variables():
        typer.echo(name if names_only else f"{name:34} {meaning}")


def main() -> None:
    """Entry point of the `assay` script."""
    try:
        app()
    except AppError as error:
        complain(error)
        sys.exit(3 if error.code == "service" else 2)


if __name__ == "__main__":
    main()
