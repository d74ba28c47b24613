"""Regular expressions that a spec declares for itself."""

from monitor.redact.base import Pattern, Span


def spans(candidate: str) -> tuple[Span, ...]:
    return ((0, len(candidate)),)


def own(name: str, expression: str) -> Pattern:
    """A pattern of the user's; each match is a find.

    Raises:
        ValueError: it does not compile, or it matches the empty string.
    """
    import polars as pl

    try:
        empty = bool(pl.Series([""]).str.contains(expression).item())
    except pl.exceptions.PolarsError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        why = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
        raise ValueError(
            f"pattern {expression!r} of {name}: {why}; write it as RE2 or Rust's regex crate takes it, without "
            "look-around and back-references"
        ) from error
    if empty:
        raise ValueError(f"pattern {expression!r} of {name} matches the empty string; have it ask for a character")
    # As a group of its own: an alternative in it must not end the whole.
    return Pattern(name=name, hint=expression, pattern=f"(?:{expression})", spans=spans, normal=str)
