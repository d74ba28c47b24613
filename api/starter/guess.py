"""Guess what each column of a table is for. Every guess says why; what cannot be known is asked. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from api.starter import words
from api.starter.facts import MANY, MIN_ROWS, Facts, facts
from api.starter.own_fields import OwnFields, own_fields
from monitor.spec.columns import BUILT_IN, ColumnType, Role
from monitor.spec.target import fitting

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ .-]{0,99}")
PLACEHOLDER: Final = "prediction"  # where the file has no column with the model's answer
MAX_GROUPS: Final = 10  # values of a protected column that fairness can compare


@dataclass(frozen=True)
class Guess:
    """One column of the spec.

    Attributes:
        name: in the spec; differs from `source` where the file's name is not allowed.
        source: in the file; empty for a column that the file does not have.
        why: what the guess rests on.
        ask: a question for whoever reads the spec.
        more: further keys of the column, such as its unit.
        distinct: number of different values in the sample.
    """

    name: str
    source: str
    role: Role
    type: ColumnType
    why: str
    ask: str = ""
    more: dict[str, Any] = field(default_factory=dict)
    distinct: int = 0


@dataclass(frozen=True)
class Draft:
    """What a table is taken for."""

    task: str
    columns: Sequence[Guess]
    left_out: Sequence[tuple[str, str]]  # name in the file, and why
    own: OwnFields
    rows: int

    def with_role(self, role: Role) -> list[Guess]:
        return [guess for guess in self.columns if guess.role == role]

    @property
    def targets(self) -> tuple[str, ...]:
        """The outcomes that fit the prediction best."""
        return _targets(self.columns)

    @property
    def renames(self) -> dict[str, str]:
        """How columns of the file must be called to fit the spec; an empty name leaves one out."""
        renamed = {guess.source: guess.name for guess in self.columns if guess.source and guess.source != guess.name}
        own = {source: name for name, source in self.own.sources.items() if name not in (source, "ts")}
        return {**own, **renamed, **{name: "" for name, _ in self.left_out}}


def guess_table(frame: pl.DataFrame) -> Draft:
    """What the columns of a sample are, shape (rows, columns)."""
    known = [facts(series) for series in frame.get_columns()]
    own = own_fields(known)
    left_out, guesses = [], []
    for one in known:
        if one.name in own.sources.values():
            continue
        reason = _unusable(one)
        if reason:
            left_out.append((one.name, reason))
        else:
            guesses.append((one, _role(one, known)))
    chosen = _single(guesses)
    columns = [_typed(one, guess) for one, guess in chosen]
    task, columns = _task(columns, [one for one, _ in chosen])
    return Draft(task, _with_target(_named(_positive(columns, frame))), left_out, own, frame.height)


def _unusable(one: Facts) -> str:
    match one.kind:
        case "empty":
            return "no value in the rows that were read; declare it once it has some"
        case "time":
            return "another time; a spec has no type for it"
        case "other" if one.values.dtype == pl.List(pl.String):
            return (
                "lists of texts; if they are references of generated answers, declare role: outcome, type: texts, and "
                "references: accepted or collected"
            )
        case "other":
            return f"holds {one.values.dtype}, which a column cannot be"
    whole = one.kind == "whole" and one.unique and one.rows >= MIN_ROWS
    counted = whole and one.high - one.low == one.rows - 1 and one.values.is_sorted()
    if counted and one.words[-1:] != ("id",):
        return "numbers the rows"
    return ""


# --- roles ------------------------------------------------------------------------------------------------------------


def _role(one: Facts, known: Sequence[Facts]) -> Guess:
    """The role that name and values suggest; the type follows in `_typed`."""
    name, has = one.name, set(one.words)
    others = {other.name.lower() for other in known if other is not one}

    def guess(role: Role, why: str, ask: str = "") -> Guess:
        return Guess(name, name, role, "category", why, ask, distinct=one.distinct)

    pair = _pair(name, others)
    if pair == "outcome":
        return guess("outcome", "the true value of another column, by its name")
    if (has & words.PREDICTION and not has & (words.ABOUT | words.MEASURE)) or pair == "prediction":
        if one.share and not pair:
            return guess("score", "named like an answer, with values within 0..1")
        return guess("prediction", "named like an answer" if not pair else "another column holds its true value")
    if has & words.PROTECTED and not has & words.OF_THINGS and _few(one, "age" in has):
        return guess("protected", "names a protected attribute")
    if "status" in has and "personal" in has:
        return guess("protected", "personal status", "does it tell sex or marriage?")
    if has & words.SCORE and (one.numeric or one.flag):
        if one.share or (one.kind == "decimal" and one.low >= 0 and one.high <= 1):
            return guess("score", "named like a score, within 0..1")
        return guess("input", f"named like a score, but not within 0..1 ({one.low:g} to {one.high:g})",
                     "is it the model's answer? Then role: prediction")  # fmt: skip
    if _outcome(one, has):
        return guess("outcome", "named like something that turns out later")
    return _other_role(one, has, guess)


def _other_role(one: Facts, has: set[str], guess: Any) -> Guess:
    if _person(one, has):
        found: Guess = guess("subject", "identifies a person; stored as a keyed digest only")
        return found
    if has & words.AGENT and "user" not in has and one.kind == "text" and one.distinct <= MANY:
        found = guess("agent", "named like the part that answered")
    elif has & words.MEASURE and one.numeric:
        found = guess("measure", "named like a cost of the answer")
    elif has & words.SEGMENT and one.kind in ("text", "boolean") and one.distinct <= MANY:
        found = guess("segment", f"named like a segment, {one.distinct} values")
    elif has & words.PERHAPS_PROTECTED:
        found = guess("input", _shown(one), "is it close to a protected attribute? Then role: protected")
    else:
        found = guess("input", _shown(one))
    return found


def _pair(name: str, others: set[str]) -> str:
    """Whether a column and another one are an answer and its truth, such as `intent` and `intent_true`."""
    low = name.lower()
    for word in words.TRUE:
        for joint in ("_", ".", " ", "-", ""):
            if low.endswith(f"{joint}{word}") and joint and low.removesuffix(f"{joint}{word}") in others:
                return "outcome"
            if low.startswith(f"{word}{joint}") and joint and low.removeprefix(f"{word}{joint}") in others:
                return "outcome"
            if joint and (f"{low}{joint}{word}" in others or f"{word}{joint}{low}" in others):
                return "prediction"
    return "outcome" if low in ("y_true", "ytrue") else ""


def _outcome(one: Facts, has: set[str]) -> bool:
    if has & (words.ABOUT | words.OF_THINGS) - {"status", "code"}:
        return False
    if has & words.OUTCOME:
        return True
    few = one.flag or (one.kind in ("whole", "text") and one.distinct <= MAX_GROUPS)
    return bool(has & words.EVENTUAL) and few


def _few(one: Facts, age: bool) -> bool:
    """Protected attributes have few values; an age may be a number."""
    return one.flag or (one.kind in ("text", "whole", "decimal") and (one.distinct <= MANY or (age and one.numeric)))


def _person(one: Facts, has: set[str]) -> bool:
    plain = has <= words.PERSON and one.kind in ("text", "whole") and one.distinct > MAX_GROUPS
    return bool(has & words.PERSON) and (bool(has & words.ID) or plain) and one.kind in ("text", "whole")


def _single(guesses: Sequence[tuple[Facts, Guess]]) -> list[tuple[Facts, Guess]]:
    """Only one column may be prediction, score or subject: the first; the others become what they also may be."""
    seen: set[str] = set()
    found = []
    for one, guess in guesses:
        role = guess.role
        if role in ("prediction", "score", "subject") and role in seen:
            other: Role = "input" if role == "subject" else "measure" if one.numeric else "input"
            guess = replace(guess, role=other, why=f"{guess.why}; only one column may have role {role}")  # noqa: PLW2901
        seen.add(role)
        found.append((one, guess))
    return found


# --- types ------------------------------------------------------------------------------------------------------------


def _typed(one: Facts, guess: Guess) -> Guess:
    kind, more = _type(one, guess.role), dict(guess.more)
    if kind == "vector":
        more["dimensions"] = one.dimensions
    if guess.role == "measure" and kind == "number" and (unit := _unit(one.words)):
        more["unit"] = unit
    role = guess.role
    if kind == "vector" and role not in ("input", "measure"):
        role = "input"
    why = guess.why
    if one.distinct == 1:
        why += "; the same value in every row that was read"
    if kind == "category" and one.distinct > 1000:
        why += f"; {one.distinct} values, of which the rarest are counted together"
    if one.nearly:
        kind = "category" if kind == "string" else kind
        strange = " ".join(one.nearly.split())
        guess = replace(guess, ask=f"{strange!r} is no number; are the others? Leave it empty, then type: number")
    return replace(guess, type=kind, role=role, why=why, more=more)


def _type(one: Facts, role: Role) -> ColumnType:
    if role == "subject":
        return "string"
    if one.kind == "vector":
        return "vector"
    if one.kind == "boolean":
        return "boolean"
    if role == "input" and one.words[-1:] == ("id",) and one.distinct > MANY:
        return "string"
    if one.kind == "text":
        return _text_type(one, role)
    if role in ("prediction", "outcome", "protected", "segment", "agent") and one.kind == "whole":
        return "category" if one.distinct <= MAX_GROUPS else "number"
    if one.flag:
        return "boolean" if one.distinct == 2 else "number"
    coded = one.kind == "whole" and bool(set(one.words) & words.CODES) and one.distinct <= MANY
    return "category" if coded or (one.kind == "whole" and one.distinct == 2) else "number"


def _text_type(one: Facts, role: Role) -> ColumnType:
    named = bool(set(one.words) & words.TEXTS)
    if one.length >= 3 and (one.distinct > MAX_GROUPS or named) and one.distinct > 0.05 * one.n:
        return "text"
    if named and one.length >= 2 and one.distinct > 0.5 * one.n:
        return "text"
    if role in ("input", "measure") and one.n >= MANY and one.distinct > 0.5 * one.n:
        return "string"
    return "category"


def _unit(name: Sequence[str]) -> str:
    return next((words.UNITS[word] for word in reversed(name) if word in words.UNITS), "")


def _shown(one: Facts) -> str:
    """The values in words; never those of texts or of columns with many values, which may be about a person."""
    if one.distinct == 1 and one.kind != "vector":
        return "one value"
    if one.kind == "boolean":
        return "true or false"
    if one.numeric and one.distinct > MAX_GROUPS:
        return f"{_number(one, one.low)} to {_number(one, one.high)}"
    if one.kind == "vector":
        return f"lists of {one.dimensions} numbers"
    if one.numeric or (one.distinct <= MAX_GROUPS and one.length < 3):
        shown = [str(value) for value in one.values.unique().sort().head(4)]
        more = ", ..." if one.distinct > 4 else ""
        return ", ".join(" ".join(text.split())[:20] for text in shown) + more
    return f"{one.distinct} different values in {one.n} rows"


def _number(one: Facts, value: float) -> str:
    return f"{value:,.0f}" if one.kind == "whole" else f"{value:g}"


# --- the table as a whole ---------------------------------------------------------------------------------------------


def _task(columns: list[Guess], known: Sequence[Facts]) -> tuple[str, list[Guess]]:
    """What the model does, by its answer or else by its outcome; with the columns, completed."""
    answers = [guess for guess in columns if guess.role == "prediction"]
    if answers:
        task = {"text": "generation", "number": "regression"}.get(answers[0].type, "classification")
        columns = [_as_category(guess, task) for guess in columns]
        return task, columns
    outcomes = [guess for guess in columns if guess.role == "outcome"]
    kind: ColumnType = outcomes[0].type if outcomes else "category"
    if not outcomes and columns:
        columns = _asked(columns, known)
    if kind not in ("category", "boolean", "number", "text"):
        kind = "category"
    why = "your file has no column with the model's answer"
    made = Guess(_free(columns), "", "prediction", kind, why, "send it under this name with your events, or rename it")
    return {"text": "generation", "number": "regression"}.get(kind, "classification"), [*columns, made]


def _as_category(guess: Guess, task: str) -> Guess:
    """A class is a category or a truth value, whatever it looks like."""
    if guess.role == "prediction" and task == "classification" and guess.type not in ("category", "boolean"):
        return replace(guess, type="category")
    return guess


def _asked(columns: list[Guess], known: Sequence[Facts]) -> list[Guess]:
    """Where nothing is named like an outcome, the last number or column with few values may be one."""
    fitting = [at for at, one in enumerate(known) if _may_turn_out(one, columns[at])]
    if not fitting:
        return columns
    at = fitting[-1]
    number = columns[at].type == "number"
    also = "; and task: regression, with a prediction of type number" if number else ""
    asked = replace(columns[at], ask=f"is this the outcome, known only later? Then role: outcome{also}")
    return [*columns[:at], asked, *columns[at + 1 :]]


def _may_turn_out(one: Facts, guess: Guess) -> bool:
    few = guess.type == "category" and one.distinct <= 100
    return guess.role == "input" and one.distinct >= 2 and (few or guess.type in ("number", "boolean"))


def _free(columns: Sequence[Guess]) -> str:
    taken = {guess.name for guess in columns}
    return next(n for n in (PLACEHOLDER, *(f"{PLACEHOLDER}_{i}" for i in range(2, 1000))) if n not in taken)


def _positive(columns: list[Guess], frame: pl.DataFrame) -> list[Guess]:
    """The class whose probability a score is, where the answers (or else the outcomes) of two classes show it."""
    at = next((i for i, guess in enumerate(columns) if guess.role == "score"), None)
    against = [g for role in ("prediction", "outcome") for g in columns if g.role == role and g.source]
    if at is None or not against or against[0].type not in ("category", "boolean") or against[0].distinct != 2:
        return columns
    score = frame[columns[at].source].cast(pl.Float64, strict=False)
    answer = frame[against[0].source].cast(pl.String).str.strip_chars()
    means = pl.DataFrame({"answer": answer, "score": score}).drop_nulls().group_by("answer").agg(pl.col("score").mean())
    low = score.min()
    if means.height != 2 or not isinstance(low, float) or low >= 0.5:  # the score of the class that was answered
        return columns
    positive = str(means.sort("score")["answer"][-1])
    guess = columns[at]
    why = f"{guess.why}; higher where {against[0].source} is {positive}"
    return [*columns[:at], replace(guess, why=why, more={"positive": positive}), *columns[at + 1 :]]


def _targets(columns: Sequence[Guess]) -> tuple[str, ...]:
    answer = next(guess for guess in columns if guess.role == "prediction")
    return fitting(answer.type, {guess.name: guess.type for guess in columns if guess.role == "outcome"})


def _with_target(columns: list[Guess]) -> list[Guess]:
    """Where several outcomes fit the prediction: the one that is named like its truth, else the first, and a question.

    Texts beside a generated text are mostly remarks, and nothing compares them until a person says so.
    """
    at = next(i for i, guess in enumerate(columns) if guess.role == "prediction")
    answer, found = columns[at], _targets(columns)
    if len(found) < 2 or answer.type == "text":
        return columns
    named = next((name for name in found if _pair(name, {answer.name.lower()}) == "outcome"), found[0])
    others = ", ".join(name for name in found if name != named)
    asked = f"{answer.ask}; " if answer.ask else ""
    ask = f"{asked}does {named} tell the right answer, or {others}? KPIs and retraining use what predicts names"
    told = replace(answer, more={**answer.more, "predicts": named}, ask=ask)
    return [*columns[:at], told, *columns[at + 1 :]]


def _named(columns: Sequence[Guess]) -> list[Guess]:
    """Columns under names that a spec allows."""
    found: list[Guess] = []
    taken = {guess.name for guess in columns if _allowed(guess.name)}
    for guess in columns:
        if _allowed(guess.name):
            found.append(guess)
            continue
        name = _clean(guess.name)
        name = next(n for n in (name, *(f"{name[:95]}_{i}" for i in range(2, 10_000))) if n not in taken)
        taken.add(name)
        found.append(replace(guess, name=name, why=f"{guess.why}; {guess.name[:40]!r} is no name for a column"))
    return found


def _allowed(name: str) -> bool:
    return name not in BUILT_IN and _NAME.fullmatch(name) is not None


def _clean(name: str) -> str:
    if name in BUILT_IN:
        return f"{name}_column"
    spelled = name.replace("%", " percent").replace("$", " usd").replace("€", " eur").replace("#", " number")
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", spelled).strip("_.-")[:90] or "column"
    return plain if _allowed(plain) else f"c_{plain}"
