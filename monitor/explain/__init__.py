"""The catalogue of explanations of single decisions."""

from typing import Final

from monitor.explain import text
from monitor.explain.base import Explainer, TextExplanation, WordAttribution

EXPLAINERS: Final = {explainer.name: explainer for explainer in (text.EXPLAINER,)}

__all__ = ["EXPLAINERS", "Explainer", "TextExplanation", "WordAttribution"]
