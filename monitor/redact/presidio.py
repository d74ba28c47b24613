"""Names, places and other entities, found by Microsoft Presidio if it is installed (extra `presidio`)."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from core.errors import InvalidError

NAME: Final = "presidio"
_MODELS: Final = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")
_MIN_SCORE: Final = 0.5  # Presidio's confidence, 0..1


class PresidioMissingError(InvalidError):
    code = "presidio_missing"


def check_installed() -> str:
    """The name of the language model that Presidio will use.

    Raises:
        PresidioMissingError: Presidio or every language model is missing; the service never downloads one.
    """
    if find_spec("presidio_analyzer") is None:
        raise PresidioMissingError(
            "redact names presidio, which is not installed; run `pip install 'assay[presidio]'` and install a spaCy "
            f"model such as {_MODELS[0]}, or leave presidio out",
            field="redact", value=NAME,
        )  # fmt: skip
    model = next((name for name in _MODELS if find_spec(name) is not None), None)
    if model is None:
        raise PresidioMissingError(
            f"redact names presidio, but none of its spaCy models is installed; install {' or '.join(_MODELS)}",
            field="redact", value=NAME,
        )  # fmt: skip
    return model


def finds(texts: Sequence[str]) -> list[list[tuple[int, int, str]]]:
    """The finds of each text as (start, end, kind), in order, without overlap; of overlapping ones the most certain."""
    analyzer = _analyzer()
    return [_apart(analyzer.analyze(text=text, language="en", score_threshold=_MIN_SCORE)) for text in texts]


def _apart(results: Sequence[Any]) -> list[tuple[int, int, str]]:
    kept: list[tuple[int, int, str]] = []
    for found in sorted(results, key=lambda r: (-r.score, r.start - r.end)):
        if all(found.end <= start or found.start >= end for start, end, _ in kept):
            kept.append((found.start, found.end, str(found.entity_type).lower()))
    return sorted(kept)


@cache
def _analyzer() -> Any:
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    models = [{"lang_code": "en", "model_name": check_installed()}]
    provider = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models})
    analyzer = AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=["en"])
    # This recogniser fetches a list of domains over the network. The built-in pattern `email` needs none.
    analyzer.registry.remove_recognizer("EmailRecognizer")
    return analyzer
