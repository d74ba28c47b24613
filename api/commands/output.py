"""How the command line speaks: Rich tables for people, JSON for machines, errors on standard error."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from core.errors import AppError

JsonFlag = Annotated[bool, typer.Option("--json", help="print one JSON document instead of text")]
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def complain(error: AppError) -> None:
    """An error in one line, with its code; where there are several problems, one line for each of the others."""
    errors.print(f"[bold]{error.code}[/bold]: ", end="", soft_wrap=True)
    errors.print(" ".join(error.message.split()), markup=False, soft_wrap=True)
    problems = error.facts.get("problems") or []
    for problem in problems[1:] if isinstance(problems, Sequence) else []:
        if isinstance(problem, Mapping):
            errors.print(f"  {problem.get('field')}: {problem.get('reason')}", markup=False, soft_wrap=True)


def emit_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def emit_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, title: str, empty: str) -> None:
    """A table with one line for each row, or a sentence when there is none."""
    if not rows:
        console.print(empty)
        return
    table = Table(title=title, title_justify="left", show_edge=False)
    for column in columns:
        table.add_column(
            column.replace("_", " "), justify="right" if isinstance(rows[0].get(column), int | float) else "left"
        )
    for row in rows:
        table.add_row(*("-" if row.get(c) is None else str(row[c]) for c in columns))
    console.print(table)
