"""Patterns that a spec declares as regular expressions of its own."""

from functools import lru_cache

from monitor.redact.base import Pattern, TextSpan


def spans(candidate: str) -> tuple[TextSpan, ...]:
    return ((0, len(candidate)),)


@lru_cache(maxsize=256)
def _fault(expression: str) -> str | None:
    """Why an expression cannot be a pattern; None if it can. The same one often stands for several columns."""
    import polars as pl

    try:
        empty = bool(pl.Series([""]).str.contains(expression).item())
    except pl.exceptions.PolarsError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
        return f"{reason}; write it as RE2 or Rust's regex crate takes it, without look-around and back-references"
    return "it matches the empty string; have it ask for a character" if empty else None


def own(name: str, expression: str) -> Pattern:
    """A pattern of the user's own; each match is a find.

    Raises:
        ValueError: the expression does not compile, or it matches the empty string.
    """
    if fault := _fault(expression):
        raise ValueError(f"pattern {expression!r} of {name}: {fault}")
    # The group keeps an alternative in the expression from ending the whole pattern.
    return Pattern(name=name, hint=expression, pattern=f"(?:{expression})", spans=spans, normal=str)
