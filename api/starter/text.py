"""Write a spec with comments: what was guessed, why, and what is asked of the reader. Pure."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from api.starter.guess import MAX_GROUPS, Draft, Guess

_PLAIN: Final = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_@. /-]*[A-Za-z0-9_])?")
_WIDTH: Final = 120
KPI: Final = {"classification": "accuracy", "regression": "mae"}


def scalar(value: Any) -> str:
    """A value as YAML in one line, in quotes where it would be read as something else."""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    text = str(value)
    try:
        plain = _PLAIN.fullmatch(text) is not None and yaml.safe_load(text) == text
    except yaml.YAMLError:
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)


def flow(value: Any) -> str:
    """A mapping or list as YAML in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(name)}: {flow(one)}" for name, one in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(flow(one) for one in value) + "]"
    return scalar(value)


def column_lines(columns: Sequence[Guess]) -> list[str]:
    """The columns of a spec, with the reasons as comments in one column of their own."""
    heads = [f"  {scalar(guess.name)}:" for guess in columns]
    width = max(len(head) for head in heads)
    lines = [
        f"{head:{width}} {flow({'role': guess.role, 'type': guess.type, **guess.more})}"
        for head, guess in zip(heads, columns, strict=True)
    ]
    comments = [guess.why + (f". ASK: {guess.ask}" if guess.ask else "") for guess in columns]
    edge = min(max(len(line) for line in lines), 70)
    return [f"{line:{edge}}  # {_one_line(comment)}" for line, comment in zip(lines, comments, strict=True)]


def spec_text(
    draft: Draft, *, model: str, owner: str | None, purpose: str | None, file: str, commands: Sequence[str],
    schema: str | None, notes: Sequence[str],
) -> str:  # fmt: skip
    """The spec of a table, as YAML with comments."""
    head = [f"# yaml-language-server: $schema={schema}"] if schema else []
    read = f", of which {draft.rows} rows were read" if draft.rows else ""
    about = (
        f"Written by assay init from {_one_line(Path(file).name)}{read}. Roles are guesses: check them. Comments with "
        "ASK are questions. Every key is explained in docs/spec.md."
    )
    head += _wrapped([about, *notes])
    if commands:
        head += ["#", "# What comes next:", *(f"#   {command}" for command in commands)]
    names = [
        f"model: {scalar(model)}", f"task: {draft.task}",
        _named("owner", owner, "the person or team that answers for the model"),
        _named("purpose", purpose, "what the model is for, in a sentence"),
    ]  # fmt: skip
    left_out = [f"  # left out: {_one_line(name)}: {_one_line(why)}" for name, why in draft.left_out]
    return "\n".join([*head, *names, "columns:", *column_lines(draft.columns), *left_out, *_monitors(draft), ""])


def _named(key: str, given: str | None, ask: str) -> str:
    return f"{key}: {scalar(given)}" if given else f"{key}: to be named  # ASK: {ask}"


def _monitors(draft: Draft) -> list[str]:
    return [
        "# baseline: auto       # the rows that windows are compared with; or {rows: first 5000}, or a range of days",
        "monitors:",
        "  # windows: auto       # chosen from the traffic; or lengths such as [1d, 7d], or {rows: 500}",
        "  false_alarms: 1 per 30d  # of the whole model; fewer false alarms need larger changes or more rows",
        *_kpi(draft), *_fairness(draft),
    ]  # fmt: skip


def _kpi(draft: Draft) -> list[str]:
    metric = KPI.get(draft.task)
    if metric is None or not draft.targets:
        return []
    limit = "min: 0.85" if metric == "accuracy" else "max: 10"
    return [f"  kpi: [{{metric: {metric}}}]  # with a limit such as `{limit}` it alarms"]


def _fairness(draft: Draft) -> list[str]:
    groups = [g.name for g in draft.with_role("protected") if 2 <= g.distinct <= MAX_GROUPS]
    wide = [g.name for g in draft.with_role("protected") if g.distinct > MAX_GROUPS]
    lines = [f"  # {_one_line(name)} has too many values to compare groups; send a band of it" for name in wide]
    if draft.task != "classification" or not groups:
        return lines
    metric = "equalized_odds_difference" if draft.targets else "demographic_parity_difference"
    rules = [f"    - {{metric: {metric}, by: {flow([name])}}}" for name in groups]
    answer = next(iter(draft.with_role("prediction")), None)
    if (
        answer is not None
        and answer.type == "category"
        and not any("positive" in guess.more for guess in draft.columns)
    ):
        asked = f"which of two classes is the positive one? Write `positive: NAME` on {_one_line(answer.name)}"
        lines = [*lines, f"  # ASK: {asked}"]
    return [*lines, "  fairness:  # with a limit such as `max: 0.10` a rule alarms", *rules]


def _wrapped(notes: Sequence[str]) -> list[str]:
    return [f"# {line}" for note in notes for line in textwrap.wrap(_one_line(note), _WIDTH - 2)]


def _one_line(text: str) -> str:
    """Text of a comment: a name from a file must not end it."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))[:400]
