"""Redaction of whole columns. Only the texts that hold a candidate leave their column and are searched.

A find becomes `[kind:0123456789ab]`, the first 12 hexadecimal digits of its HMAC-SHA256 under the installation's key.
Equal values stay equal, and nobody without the key can try out values. Markers are never searched, and each text is
searched until it holds no find any more, so a second redaction changes nothing.
"""

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Final

import polars as pl

from monitor.redact import PATTERNS, presidio
from monitor.redact.base import MARKER, Pattern
from monitor.redact.own import own
from monitor.redact.rules import OwnPattern, RedactionRule

_MARKED: Final = MARKER.pattern
_EDGE: Final = "\ufdd0"  # a noncharacter of Unicode; it encloses candidates while they are examined


def redaction_key(subject_key: bytes) -> bytes:
    """The key of the markers, derived from the installation's subject key and used for nothing else."""
    return hmac.digest(subject_key, b"assay: redaction of texts", "sha256")


def redacted(frame: pl.DataFrame, rules: Mapping[str, Sequence[RedactionRule]], key: bytes) -> pl.DataFrame:
    """The rows with every find replaced by its marker.

    Args:
        frame: rows of typed columns, as they are about to be stored.
        rules: the rules of each column, as `redact` of a spec has them; columns that the frame lacks are skipped.
        key: the key of the markers, from `redaction_key`.
    """
    return frame.with_columns(
        _lists(frame[name], column_rules, key)
        if isinstance(frame.schema[name], pl.List)
        else redacted_texts(frame[name], column_rules, key)
        for name, column_rules in rules.items()
        if name in frame.columns and frame.schema[name] in (pl.String, pl.List(pl.String))
    )


def _lists(lists: pl.Series, rules: Sequence[RedactionRule], key: bytes) -> pl.Series:
    """A column of lists of texts, each text redacted."""
    flat = pl.DataFrame({"row": pl.int_range(len(lists), eager=True), "text": lists}).explode(
        "text", empty_as_null=True, keep_nulls=True
    )
    done = flat.with_columns(redacted_texts(flat["text"], rules, key).alias("text"))
    rows = done.group_by("row", maintain_order=True).agg("text").get_column("text").alias(lists.name)
    return rows.zip_with(lists.is_not_null(), pl.Series([None], dtype=lists.dtype).new_from_index(0, len(lists)))


def redacted_texts(texts: pl.Series, rules: Sequence[RedactionRule], key: bytes) -> pl.Series:
    """One column of texts, redacted: the spec's own patterns first, as the most specific ones, and Presidio last."""
    for pattern in _patterns(tuple(rules)):
        texts = _replaced(texts, pattern.hint, partial(_with_markers, pattern=pattern, key=key))
    if presidio.NAME in rules:
        texts = _replaced(texts, r"\pL", partial(_by_presidio, key=key))
    return texts


@lru_cache(maxsize=256)
def _patterns(rules: tuple[RedactionRule, ...]) -> tuple[Pattern, ...]:
    declared = [own(rule.name, rule.pattern) for rule in rules if isinstance(rule, OwnPattern)]
    return (*declared, *(pattern for name, pattern in PATTERNS.items() if name in rules))


def _candidates(texts: pl.Series, hint: str) -> pl.Series:
    """Positions of the texts that match the hint outside markers."""
    at = texts.str.contains(hint, literal=re.escape(hint) == hint).fill_null(value=False).arg_true()
    bare = texts.gather(at).str.replace_all(_MARKED, _EDGE)
    return at.filter(bare.str.contains(hint))


def _replaced(texts: pl.Series, hint: str, replace: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """The texts after `replace` ran on those that match the hint, and again on those it changed, until none changes."""
    at = _candidates(texts, hint)
    while len(at):
        before = texts.gather(at).str.replace_all(_EDGE, "\ufffd", literal=True)
        after = _between_markers(before, replace)
        changed = (after != before).arg_true()
        if not len(changed):
            break
        at, after = at.gather(changed), after.gather(changed)
        texts = texts.clone().scatter(at, after)
        at = at.gather(_candidates(after, hint))
    return texts


def _between_markers(texts: pl.Series, replace: Callable[[pl.Series], pl.Series]) -> pl.Series:
    marked = texts.str.contains(_MARKED)
    if not marked.any():
        return replace(texts)
    pieces = [MARKER.split(t) if m else [t] for t, m in zip(texts.to_list(), marked.to_list(), strict=True)]
    gaps = iter(replace(pl.Series([gap for parts in pieces for gap in parts[::2]], dtype=pl.String)).to_list())
    for parts in pieces:
        parts[::2] = [next(gaps) for _ in parts[::2]]
    return pl.Series(texts.name, ["".join(parts) for parts in pieces], dtype=pl.String)


def _with_markers(gaps: pl.Series, *, pattern: Pattern, key: bytes) -> pl.Series:
    wrapped = gaps.str.replace_all(pattern.pattern, f"{_EDGE}${{0}}{_EDGE}")
    hits = wrapped.str.contains(_EDGE, literal=True).arg_true()
    if not len(hits):
        return gaps
    seen: dict[str, str] = {}
    done: list[str] = []
    for text in wrapped.gather(hits).to_list():
        parts = text.split(_EDGE)
        for i in range(1, len(parts), 2):
            if parts[i] not in seen:
                seen[parts[i]] = _marked(parts[i], pattern, key)
            parts[i] = seen[parts[i]]
        done.append("".join(parts))
    return gaps.clone().scatter(hits, pl.Series(done, dtype=pl.String))


def _marked(candidate: str, pattern: Pattern, key: bytes) -> str:
    out, at = [], 0
    for start, end in pattern.spans(candidate):
        out += [candidate[at:start], marker(pattern.name, pattern.normal(candidate[start:end]), key)]
        at = end
    return "".join(out) + candidate[at:]


def _by_presidio(gaps: pl.Series, *, key: bytes) -> pl.Series:
    texts = gaps.to_list()
    for i, found in enumerate(presidio.finds(texts)):
        for start, end, kind in reversed(found):
            texts[i] = texts[i][:start] + marker(kind, texts[i][start:end], key) + texts[i][end:]
    return pl.Series(gaps.name, texts, dtype=pl.String)


def marker(kind: str, value: str, key: bytes) -> str:
    digest = hmac.digest(key, f"{kind}\0{value}".encode(), "sha256").hex()
    return f"[{kind}:{digest[:12]}]"


def every_rule(redact: Mapping[str, Sequence[RedactionRule]]) -> tuple[RedactionRule, ...]:
    """The rules for text of no known column: every built-in pattern, and every rule of the spec."""
    named = [rule for rules in redact.values() for rule in rules]
    return tuple(dict.fromkeys([*PATTERNS, *named]))
