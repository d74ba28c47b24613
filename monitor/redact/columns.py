"""Redaction of whole columns: only the texts that hold a candidate are taken out of their column and looked at.

A find becomes `[kind:0123456789ab]`, the first 12 hexadecimal digits of its HMAC-SHA256 under the installation's key,
so that equal values stay equal and nobody without the key can try values out. Markers are never looked into, and a text
is gone through until nothing is found in it any more: what comes out is not changed by a second pass.
"""

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Final

import polars as pl

from monitor.redact import PATTERNS, presidio
from monitor.redact.base import Pattern
from monitor.redact.own import own
from monitor.schema import ModelSpec, OwnPattern

MARKER: Final = re.compile(r"(\[[a-z][a-z0-9_]{0,31}:[0-9a-f]{12}\]|\[subject:[0-9a-f]{64}\])")
_MARKED: Final = MARKER.pattern
_EDGE: Final = "\ufdd0"  # no character, by Unicode's own definition; stands around candidates for a moment


def redaction_key(subject_key: bytes) -> bytes:
    """The key of the markers: made from the installation's subject key and good for nothing else."""
    return hmac.digest(subject_key, b"assay: redaction of texts", "sha256")


def redacted(frame: pl.DataFrame, spec: ModelSpec, key: bytes) -> pl.DataFrame:
    """The rows with the finds of `spec.redact` replaced; columns the frame does not have are left out.

    Args:
        frame: rows of typed columns, as they are about to be stored.
        key: of `redaction_key`.
    """
    return frame.with_columns(
        redacted_texts(frame[name], rules, key)
        for name, rules in spec.redact.items()
        if name in frame.columns and frame.schema[name] == pl.String
    )


def redacted_texts(texts: pl.Series, rules: Sequence[str | OwnPattern], key: bytes) -> pl.Series:
    """One column of texts; the spec's own patterns come first, for they know best, and Presidio last."""
    for pattern in _patterns(tuple(rules)):
        texts = _replaced(texts, pattern.hint, partial(_with_markers, pattern=pattern, key=key))
    if presidio.NAME in rules:
        texts = _replaced(texts, r"\pL", partial(_by_presidio, key=key))
    return texts


@lru_cache(maxsize=256)
def _patterns(rules: tuple[str | OwnPattern, ...]) -> tuple[Pattern, ...]:
    declared = [own(rule.name, rule.pattern) for rule in rules if isinstance(rule, OwnPattern)]
    return (*declared, *(pattern for name, pattern in PATTERNS.items() if name in rules))


def _candidates(texts: pl.Series, hint: str) -> pl.Series:
    """Positions of the texts that have the hint outside of markers."""
    at = texts.str.contains(hint, literal=re.escape(hint) == hint).fill_null(value=False).arg_true()
    bare = texts.gather(at).str.replace_all(_MARKED, _EDGE)
    return at.filter(bare.str.contains(hint))


def _replaced(texts: pl.Series, hint: str, replace: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """The texts with `replace` done to those that have the hint, again to those that changed, until none does."""
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


def every_rule(redact: Mapping[str, Sequence[str | OwnPattern]]) -> tuple[str | OwnPattern, ...]:
    """What is looked for in text of no known column: every built-in pattern and all that the spec names."""
    named = [rule for rules in redact.values() for rule in rules]
    return tuple(dict.fromkeys([*PATTERNS, *named]))
