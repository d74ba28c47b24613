"""Which words of one text led to the model's answer: Shapley values of its words, by shap."""

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from core.arrays import Floats
from core.errors import InvalidError
from monitor.explain.base import Explainer, TextExplanation, WordAttribution

WORD: Final = re.compile(r"\S+\s*")
MASK: Final = " "  # what remains of a word that is left out: the space between its neighbours
METHOD_NAME: Final = "shap partition explainer (Owen values over a balanced tree of words), words left out when masked"


def explain_text(
    text: str,
    predict_proba: Callable[[Sequence[str]], Floats],
    label_index: int,
    *,
    max_evals: int = 500,
    seed: int = 0,
) -> TextExplanation:
    """Attribute one output of a text classifier to the words of one text.

    Args:
        text: the input; split at white space, so punctuation stays with its word.
        predict_proba: n texts -> outputs, shape (n, labels). It is called with texts that lack some of the words.
        label_index: the output to explain, 0 <= label_index < labels.
        max_evals: most texts that the model is called with; from 2 x words + 1 on, every word has a value of its own.
        seed: of the explainer. The same input, model and seed give the same values.

    Returns:
        One value per word in order, in the unit of the output, and the residual |base + sum - output|.

    Raises:
        InvalidError: the text has no words, or the model has no output label_index.

    Source: Lundberg and Lee (2017); Owen (1977); computed by shap.Explainer.
    """
    if not text.split():
        raise InvalidError("the text has no words, so nothing can be attributed", text_length=len(text))
    calls = 0

    def outputs(texts: Sequence[str]) -> Floats:
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
        method=METHOD_NAME,
        evals=calls,
        seed=seed,
    )


def _owen(text: str, output: Callable[[Sequence[str]], Floats], max_evals: int, seed: int) -> tuple[float, Floats]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from numba, and from shap's use of numpy; the caller cannot act on them
        import shap

        masker = shap.maskers.Text(_Words(), mask_token=MASK, collapse_mask_token=False)
        explainer = shap.Explainer(output, masker, algorithm="partition", seed=seed)
        result = explainer([text], max_evals=max(max_evals, 3), silent=True)
    return float(np.ravel(result.base_values)[0]), np.asarray(result.values[0], dtype=np.float64)


class _Words:
    """The tokenizer that shap requires; a token is a word with the white space after it. Nothing is downloaded."""

    mask_token: str | None = None

    def __call__(self, s: str, return_offsets_mapping: bool = True) -> dict[str, Any]:
        spans = [match.span() for match in WORD.finditer(s)] or ([(0, len(s))] if s else [])
        out: dict[str, Any] = {"input_ids": [s[a:b] for a, b in spans]}
        if return_offsets_mapping:
            out["offset_mapping"] = spans
        return out

    def split(self, s: str) -> list[str]:
        return [token.strip() for token in self(s)["input_ids"]]


EXPLAINER: Final = Explainer(name="owen_words", input="text", unit="output", compute=explain_text)
