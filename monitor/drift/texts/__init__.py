"""The catalogue of drift statistics of text columns, computed from block profiles like those of numbers."""

from typing import Final

from monitor.drift.texts import novelty, oov
from monitor.drift.texts.base import Mean, TextMethod

TEXT_METHODS: Final = {m.name: m for m in (novelty.METHOD, oov.METHOD)}

__all__ = ["TEXT_METHODS", "Mean", "TextMethod"]
