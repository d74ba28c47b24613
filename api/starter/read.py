"""Read a sample of a file, a folder of Parquet files or a Delta table. Its values leave this process only as a spec."""

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from api.starter.facts import MIN_ROWS
from api.upload.batches import batches
from api.upload.files import sources
from core.errors import InvalidError

SAMPLE_ROWS: Final = 20_000


@dataclass(frozen=True)
class Sample:
    """Rows of a table, and the columns that its folders add."""

    frame: pl.DataFrame
    more: bool  # whether there are rows that were not read


def sample(given: str) -> Sample:
    """The first rows of a file, a folder, a table or what a URI names.

    Raises:
        InvalidError: there is nothing to read, or no row in it.
    """
    found = sources(given)
    frames: list[pl.DataFrame] = []
    rows = 0
    for source in found:
        for batch in itertools.islice(batches(source, 0), 4):
            content = batch.content
            frame = content if isinstance(content, pl.DataFrame) else _of_lines(content, source.name)
            frame = frame.with_columns(
                pl.lit(v).alias(n) for n, v in source.partitions.items() if n not in frame.columns
            )
            frames.append(frame)
            rows += frame.height
            if rows >= SAMPLE_ROWS:
                break
        if rows >= SAMPLE_ROWS:
            break
    if not rows:
        raise InvalidError(f"file: {given} has no rows; give one with at least {MIN_ROWS}", field="file", value=given)
    frame = pl.concat(frames, how="diagonal_relaxed").head(SAMPLE_ROWS)
    if found[0].format == "csv":
        _check_header(given, frame.columns)
    return Sample(frame, rows > SAMPLE_ROWS)


def _check_header(given: str, names: Sequence[str]) -> None:
    """Refuse what a CSV reader takes for names and people do not."""
    marks = {"\t": "tabs", ";": "semicolons", "|": "bars"}
    other = next((name for mark, name in marks.items() if mark in names[0]), None)
    if len(names) == 1 and other is not None:
        raise InvalidError(
            f"file: the columns of {given} are separated by {other}; separate them by commas", field="file", value=given
        )
    if all(_number(name) for name in names):
        raise InvalidError(
            f"file: the first line of {given} holds values ({', '.join(names)[:60]}); begin it with a line of names",
            field="file", value=given,
        )  # fmt: skip


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _of_lines(lines: Sequence[bytes | None], name: str) -> pl.DataFrame:
    text = b"\n".join(line for line in lines if line and line.strip())
    if not text:
        return pl.DataFrame()
    if text.startswith(b"["):
        raise InvalidError(f"file {name} holds a JSON array; write one JSON object a line", field="file", value=name)
    try:
        return pl.read_ndjson(io.BytesIO(text), infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise InvalidError(f"file {name} cannot be read as NDJSON: {reason}", field="file", value=name) from error


def plain_name(given: str) -> str:
    """The name of a file or table without folder and suffix."""
    name = Path(given.rstrip("/")).name
    return name.partition(".")[0] or name
