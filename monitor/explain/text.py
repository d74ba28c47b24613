"""Which words made the model say so: Shapley values of the words of one text, by shap."""

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidError

WORD: Final = re.compile(r"\S+\s*")
MASK: Final = " "  # a word left out leaves nothing but the space between its neighbours
METHOD: Final = "shap partition explainer (Owen values over a balanced tree of words), words left out when masked"


@dataclass(frozen=True)
class WordAttribution:
    word: str
    value: float


@dataclass(frozen=True)
class TextExplanation:
    """base_value + sum of the words' values = output, up to `residual`, in units of the explained output (probability).

    `base_value` is the model's output for the text with every word left out.
    """

    words: tuple[WordAttribution, ...]
    base_value: float
    output: float
    residual: float
    label_index: int
    method: str
    evals: int
    seed: int


def explain_text(
    text: str,
    predict_proba: Callable[[Sequence[str]], NDArray[np.float64]],
    label_index: int,
    *,
    max_evals: int = 500,
    seed: int = 0,
) -> TextExplanation:
    """Attribute one output of a text classifier to the words of one text.

    Args:
        text: the input; split at white space, so punctuation stays with its word.
        predict_proba: n texts -> outputs, shape (n, labels). Called with texts in which words are left out.
        label_index: which output to explain.
        max_evals: upper bound of model calls, in texts; at least 2 x words + 1 attributes every word by itself.
        seed: of the explainer; same input, model and seed, same values.

    Returns:
        One value per word in order, in units of the output, and the residual |base + sum - output|.

    Raises:
        InvalidError: the text has no words, or label_index is no output of the model.

    Source: Lundberg and Lee (2017); Owen (1977); computed by shap.Explainer.
    """
    if not text.split():
        raise InvalidError("the text has no words, so nothing can be attributed", text_length=len(text))
    calls = 0

    def outputs(texts: Sequence[str]) -> NDArray[np.float64]:
        nonlocal calls
        given = [str(t) for t in texts]
        calls += len(given)
        return np.asarray(predict_proba(given), dtype=np.float64)

    labels = outputs([text]).shape[1]
    if not 0 <= label_index < labels:
        raise InvalidError(f"label_index is {label_index}; the model has {labels} outputs", label_index=label_index)

    words = _Words().split(text)
    if len(words) == 1:
        base = float(outputs([""])[0, label_index])
        values = outputs([text])[:, label_index] - base
    else:
        base, values = _owen(text, lambda texts: outputs(texts)[:, label_index], max_evals, seed)
    output = float(outputs([text])[0, label_index])
    return TextExplanation(
        words=tuple(WordAttribution(w, float(v)) for w, v in zip(words, values, strict=True)),
        base_value=base,
        output=output,
        residual=abs(base + float(values.sum()) - output),
        label_index=label_index,
        method=METHOD,
        evals=calls,
        seed=seed,
    )


def _owen(
    text: str, output: Callable[[Sequence[str]], NDArray[np.float64]], max_evals: int, seed: int
) -> tuple[float, NDArray[np.float64]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba and of shap's own use of numpy; nothing the caller could act on
        import shap

        masker = shap.maskers.Text(_Words(), mask_token=MASK, collapse_mask_token=False)
        explainer = shap.Explainer(output, masker, algorithm="partition", seed=seed)
        result = explainer([text], max_evals=max(max_evals, 3), silent=True)
    return float(np.ravel(result.base_values)[0]), np.asarray(result.values[0], dtype=np.float64)


class _Words:
    """The tokenizer interface shap asks for, over words with the white space after them; nothing is downloaded."""

    mask_token: str | None = None

    def __call__(self, s: str, return_offsets_mapping: bool = True) -> dict[str, Any]:
        spans = [match.span() for match in WORD.finditer(s)] or ([(0, len(s))] if s else [])
        out: dict[str, Any] = {"input_ids": [s[a:b] for a, b in spans]}
        if return_offsets_mapping:
            out["offset_mapping"] = spans
        return out

    def split(self, s: str) -> list[str]:
        return [token.strip() for token in self(s)["input_ids"]]
