"""`assay demo`: the whole loop in a few minutes, on generated or on your own labelled messages."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from api.commands.output import JsonFlag, console, emit_json, errors, folder_for
from core.errors import AppError, InvalidError


def demo(
    folder: Annotated[
        Path, typer.Option(help="where the demo keeps its output; each run gets a folder of its own")
    ] = Path("assay-demo"),
    train: Annotated[
        Path | None, typer.Option(help="labelled messages to train on: Parquet or CSV, columns text and category")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="labelled messages for the test, never trained on; required with --train")
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of the split, the traffic and the training")] = 0,
    serve: Annotated[
        bool, typer.Option(help="leave the filled installation open in a browser afterwards, until Ctrl-C")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="of --serve; 0 takes a free one")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Train, serve, drift, detect, retrain with QLoRA, gate, promote, report. Exit 0 only if the loop closed."""
    from api.demo import flow
    from api.demo.memory import PeakMemory
    from api.demo.settings import generated, labelled
    from api.demo.story import Story

    folder_for(folder, "--folder")
    if (train is None) != (test is None):
        raise InvalidError("--train and --test belong together: give both or neither", field="train", value=str(train))
    setup = labelled(train, test, seed=seed) if train is not None and test is not None else generated(seed=seed)
    run_folder = _next_folder(folder)
    story = Story(folder=run_folder, console=errors if as_json else console, seed=seed, base_epochs=setup.base_epochs)
    try:
        with PeakMemory() as memory:
            facts = flow.run(story, setup)
    except AppError as error:
        errors.print(f"\nThe loop did not close: {error.message}", markup=False, soft_wrap=True)
        errors.print(
            f"The output so far is in {run_folder}; the service's log is {run_folder / 'service.log'}", markup=False
        )
        sys.exit(1)
    facts |= {"peak_mb": round(memory.peak_mb)}
    if as_json:
        emit_json(facts)
    else:
        _closing_table(facts, serve=serve)
    if serve:
        _serve(facts, port)


def _serve(facts: dict[str, Any], port: int) -> None:
    """Leave the installation open until somebody ends it; its address and key go where a person reads them."""
    from api.demo.processes import Service

    service = Service(Path(facts["home"]), port)
    try:
        service.wait_until_ready()
        errors.print(
            f"\nOpen {service.url} and sign in with this key (an operator's, shown this once):", soft_wrap=True
        )
        errors.print(f"  {facts['page_key']}", markup=False, soft_wrap=True)
        errors.print("Ctrl-C ends the service; the folder stays.")
        with suppress(KeyboardInterrupt):
            service.wait()
    finally:
        service.stop()


def _next_folder(folder: Path) -> Path:
    """Make a new folder for each run, so that a second run never touches the results of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = [int(p.name.removeprefix("run-")) for p in folder.glob("run-*") if p.name.removeprefix("run-").isdigit()]
    made = folder.resolve() / f"run-{max(taken, default=0) + 1:03d}"
    made.mkdir()
    return made


def _closing_table(facts: dict[str, Any], *, serve: bool) -> None:
    table = Table(title="\nThe loop closed", title_justify="left", show_edge=False)
    table.add_column("accuracy")
    table.add_column("value", justify="right")
    table.add_column("measured on")
    rows = (
        ("before drift, v1", facts["accuracy_before_drift"], "the baseline: known intents only"),
        (
            "after drift, v1",
            facts["accuracy_after_drift"],
            f"later traffic, {facts['n_later']} messages, {facts['n_new']} of new intents",
        ),
        (f"after promotion, {facts['champion']}", facts["accuracy_after_promotion"], "the same later traffic"),
        ("  known intents, v1", facts["v1_old"], "the known intents in it"),
        (f"  known intents, {facts['champion']}", facts["old_after"], "the same"),
        (f"  new intents, {facts['champion']}", facts["new_after"], "the new intents in it"),
        ("loss won back", facts["recovered"], "share of what the drift cost"),
    )
    for name, value, where in rows:
        table.add_row(name, f"{value:.3f}", where)
    console.print(table)
    for kind, path in facts["files"].items():
        console.print(f"  {kind:5} {path}", markup=False, soft_wrap=True)
    console.print(f"  pages .venv/bin/assay serve --home {facts['home']}", markup=False, soft_wrap=True)
    if not serve:
        console.print(
            f"        sign in with {facts['page_key']} (an operator's key, shown this once)",
            markup=False,
            soft_wrap=True,
        )
    key = f"--key {facts['home']}/keys/ledger.vkey"
    console.print(f"  check .venv/bin/assay verify {facts['files']['zip']} {key}", markup=False, soft_wrap=True)
    size = f"{facts['events']} events, {facts['windows']} windows"
    console.print(
        f"  {size}, {facts['seconds']:.0f} s, peak memory {facts['peak_mb']:.0f} MB", markup=False, soft_wrap=True
    )
