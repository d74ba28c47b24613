"""Which words of a text led to the model's answer: Owen values of its words, of many texts together."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Final

import numpy as np

from core.arrays import Floats
from core.canonical import digest
from core.errors import InvalidError
from monitor.explain.base import Explainer, OutputSum, TextExplanation, WordAttribution, checked_text, tolerated
from monitor.explain.owen import Mask, Owen, owen_values
from monitor.explain.segments import Pieces, pieces

METHOD_NAME: Final = "Owen values (SHAP partition) over a balanced tree of words, words left out when masked"
MAX_EVALS: Final = 500
# Texts by number, with words left out -> outputs, shape (n, outputs). A model to which all are alike ignores numbers.
Outputs = Callable[[Sequence[tuple[int, str]]], Floats]


@dataclass(frozen=True)
class Reading:
    """How a model reads texts.

    Attributes:
        tokens: where its tokenizer parts a text.
        window: first and last character, half-open, of a text that it reads; the rest is cut off.
        limit: what cuts it, for the reader.
    """

    tokens: Pieces | None = None
    window: Callable[[str], tuple[int, int]] | None = None
    limit: str = "the model reads no more"


WHOLE: Final = Reading()


def explain_text(
    text: str,
    predict_proba: Callable[[Sequence[str]], Floats],
    label_index: int,
    *,
    max_evals: int = MAX_EVALS,
    seed: int = 0,
) -> TextExplanation:
    """`explain_texts` for one text, with a model that takes texts and has outputs without names.

    Args:
        text: the input.
        predict_proba: n texts -> outputs, shape (n, outputs). It is asked for texts that lack some of the words.
        label_index: the output to explain, 0 <= label_index < outputs.
        max_evals: most texts that the model is asked for, besides the unchanged one.
        seed: kept in the record; these values draw nothing at random.

    Returns:
        The record: a value for each word and the residual, in the unit of the output.

    Raises:
        InvalidError: the text has no words, or the model has no output label_index.

    Source: Lundberg and Lee (2017); Owen (1977).
    """
    return explain_texts(
        [text], lambda asked: predict_proba([t for _, t in asked]), [label_index], max_evals=max_evals, seed=seed
    )[0]


def explain_texts(
    texts: Sequence[str],
    outputs: Outputs,
    label_indices: Sequence[int],
    *,
    labels: Sequence[str] | None = None,
    unit: str = "probability",
    same: Callable[[int], Hashable] = lambda _: None,
    reading: Reading = WHOLE,
    max_evals: int = MAX_EVALS,
    seed: int = 0,
) -> list[TextExplanation]:
    """Attribute one output of a model of texts to the words of each text.

    Args:
        texts: the inputs, parted by `monitor.explain.segments`.
        outputs: the model. It is asked each different text once in a round, however many texts lack the same words.
        label_indices: for each text the output to explain, 0 <= label_index < outputs.
        labels: names of the outputs; without them their numbers.
        unit: of the outputs.
        same: texts by number that the model answers alike if they are equal; a model that scores an answer of each
            text's own has one for each answer.
        reading: how the model parts and cuts texts.
        max_evals: most texts that the model is asked for one text, besides the unchanged one.
        seed: kept in the record; these values draw nothing at random.

    Returns:
        A record for each text, in order: a value for each word in the unit of the output, and for every output the
        residual |base + sum - raw output|. A word that the model does not read has no value.

    Raises:
        InvalidError: a text has no words, the model has no output label_index, or one that is no number.

    Source: Lundberg and Lee (2017); Owen (1977).
    """
    parted = [_Parted.of(text, reading) for text in texts]
    ask = _deduplicated(outputs, same)
    raw = np.asarray(ask(list(enumerate(texts))), dtype=np.float64)
    if not np.isfinite(raw).all():
        raise InvalidError("the model's output is not finite, so there is nothing to attribute")
    count = raw.shape[1] if len(texts) else 0
    for index in label_indices:
        if not 0 <= index < count:
            raise InvalidError(f"label_index is {index}; the model has {count} outputs", label_index=index)
    names = [str(i) for i in range(count)] if labels is None else list(labels)

    def masked(pairs: Sequence[tuple[int, Mask]]) -> Floats:
        return ask([(i, parted[i].without(mask)) for i, mask in pairs])

    found = owen_values([len(p.read) for p in parted], masked, budget=max(max_evals, 2))
    records = []
    for i, (part, owen) in enumerate(zip(parted, found, strict=True)):
        at = label_indices[i]
        outputs_of = _sums(names, owen, raw[i])
        one = outputs_of[at]
        records.append(
            TextExplanation(
                label=one.label, label_index=at, unit=unit, base_value=one.base_value, output=one.output,
                residual=one.residual, tolerance=tolerated(one.output), outputs=outputs_of, method=METHOD_NAME,
                background=background(), seed=seed, budget=max_evals, evals=owen.evals + 1, notes=part.notes,
                words=part.words(owen.values[:, at]),
            )
        )  # fmt: skip
    return [checked_text(record) for record in records]


def _sums(names: Sequence[str], owen: Owen, raw: Floats) -> tuple[OutputSum, ...]:
    """How each output adds up against the raw one."""
    residuals = np.abs(owen.base + owen.values.sum(axis=0) - raw)
    return tuple(
        OutputSum(name, float(base), float(output), float(residual))
        for name, base, output, residual in zip(names, owen.base, raw, residuals, strict=True)
    )


def background() -> str:
    """Digest of what stands for a word that is left out, and of how texts are parted."""
    return digest({
        "left_out": "the word is removed with the white space after it; the ends of what remains are stripped",
        "tree": "balanced", "pieces": "white space; budoux; tokens of the model", "budoux": version("budoux"),
    })  # fmt: skip


@dataclass(frozen=True)
class _Parted:
    """A text in pieces, of which the model reads `first`..`last`-1."""

    text: str
    pieces: tuple[str, ...]
    first: int
    last: int
    notes: tuple[str, ...]

    @classmethod
    def of(cls, text: str, reading: Reading) -> "_Parted":
        if not text.strip():
            raise InvalidError("the text has no words, so nothing can be attributed", text_length=len(text))
        found = tuple(pieces(text, reading.tokens))
        whole = cls(text, found, 0, len(found), ())
        if reading.window is None:
            return whole
        begin, end = reading.window(text)
        begin += len(text[begin:end]) - len(text[begin:end].lstrip())  # a token may hold the space before its word
        ends = np.cumsum([len(piece) for piece in found])
        first = int(np.searchsorted(ends, begin, side="right"))
        last = int(np.searchsorted(ends - [len(piece) for piece in found], end, side="left"))
        if first == 0 and last >= len(found):
            return whole
        if first >= last:
            raise InvalidError("the model reads no word of the text, so nothing can be attributed", limit=reading.limit)
        unread = first + len(found) - last
        where = "last" if first == 0 else "first"
        told = f"{reading.limit}: of {len(found)} words the {where} {unread} were not read and have no value"
        return replace(whole, first=first, last=last, notes=(told,))

    @property
    def read(self) -> tuple[str, ...]:
        return self.pieces[self.first : self.last]

    def without(self, mask: Mask) -> str:
        """The words of a mask. All of them are the text as it is, so that what is cut off is cut off as ever."""
        if mask.all():
            return self.text
        return "".join(piece for piece, there in zip(self.read, mask, strict=True) if there).strip()

    def words(self, values: Floats) -> tuple[WordAttribution, ...]:
        given = [None] * self.first + [float(v) for v in values] + [None] * (len(self.pieces) - self.last)
        return tuple(WordAttribution(p.strip(), v, p) for p, v in zip(self.pieces, given, strict=True))


def _deduplicated(outputs: Outputs, same: Callable[[int], Hashable]) -> Outputs:
    """The model, asked each different text of a call once."""

    def ask(asked: Sequence[tuple[int, str]]) -> Floats:
        places: dict[Hashable, int] = {}
        rows = [places.setdefault((same(i), text), len(places)) for i, text in asked]
        firsts: dict[int, tuple[int, str]] = {}
        for pair, row in zip(asked, rows, strict=True):
            firsts.setdefault(row, pair)
        found = np.asarray(outputs(list(firsts.values())), dtype=np.float64)
        return np.asarray(found[rows])

    return ask


EXPLAINER: Final = Explainer(name="owen_words", input="text", unit="output", compute=explain_text)
