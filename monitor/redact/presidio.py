"""Names, places and the like, found by Microsoft Presidio where it is installed (extra `presidio`)."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from core.errors import InvalidError

NAME: Final = "presidio"
_MODELS: Final = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")
_LEAST_SCORE: Final = 0.5  # of Presidio's confidence, from 0 to 1


class PresidioMissingError(InvalidError):
    code = "presidio_missing"


def check_installed() -> str:
    """The language model that is used.

    Raises:
        PresidioMissingError: Presidio or a language model is not installed; the service never downloads one.
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
    """For each text the finds as (start, end, kind), in order and apart; the surest first where they overlap."""
    analyzer = _analyzer()
    return [_apart(analyzer.analyze(text=text, language="en", score_threshold=_LEAST_SCORE)) for text in texts]


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
    # It fetches a list of domains over the network; the built-in pattern `email` does without.
    analyzer.registry.remove_recognizer("EmailRecognizer")
    return analyzer
