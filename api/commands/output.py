"""Output of the command line: Rich tables for people, JSON for programs, errors on standard error."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from core.errors import AppError, InvalidError
from core.process import ROOT

JsonFlag = Annotated[bool, typer.Option("--json", help="print one JSON document instead of text")]
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def complain(error: AppError) -> None:
    """Print an error with its code in one line; further problems get a line each."""
    errors.print(f"[bold]{error.code}[/bold]: ", end="", soft_wrap=True)
    errors.print(" ".join(error.message.split()), markup=False, soft_wrap=True)
    problems = error.facts.get("problems") or []
    for problem in problems[1:] if isinstance(problems, Sequence) else []:
        if isinstance(problem, Mapping):
            line = f" (line {problem['line']})" if "line" in problem else ""
            errors.print(f"  {problem.get('field')}{line}: {problem.get('reason')}", markup=False, soft_wrap=True)


def folder_for(path: Path, option: str) -> Path:
    """A folder that a command may write into.

    Raises:
        InvalidError: it is one of the folders that Assay's own code lies in, as `reports` is in a checkout.
    """
    inside = path.expanduser().resolve()
    if inside.is_relative_to(ROOT) and inside != ROOT:
        package = ROOT / inside.relative_to(ROOT).parts[0]
        if (package / "__init__.py").is_file():
            raise InvalidError(
                f"{option} {path} is a folder of Assay's own code ({package}); choose another, such as "
                f"{option} my-{inside.name}",
                field=option, value=str(path),
            )  # fmt: skip
    return path


def emit_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def emit_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, title: str, empty: str) -> None:
    """Print a table with one line per row, or the sentence `empty` if there are no rows."""
    if not rows:
        console.print(empty)
        return
    table = Table(title=title, title_justify="left", show_edge=False)
    for column in columns:
        table.add_column(
            column.replace("_", " "),
            justify="right" if isinstance(rows[0].get(column), int | float) else "left",
            overflow="fold",  # an id that is cut cannot be copied
        )
    for row in rows:
        table.add_row(*("-" if row.get(c) is None else str(row[c]) for c in columns))
    console.print(table)
