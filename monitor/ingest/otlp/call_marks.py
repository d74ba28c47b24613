"""What tells the spans of one call of a model from those of another: texts, names of models, tokens, ids."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Final

from monitor.ingest.otlp.fields import number_of
from monitor.ingest.otlp.spans import Attributes, Span

_OTHER_REQUESTED: Final = ("embedding.model_name", "llm.request.model_name")
_OTHER_INPUT_TOKENS: Final = ("llm.token_count.prompt", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens")
_OTHER_OUTPUT_TOKENS: Final = (
    "llm.token_count.completion", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens",
)  # fmt: skip
# Regions and makers before a name, as in `us.anthropic.claude-3`.
_MAKERS: Final = re.compile(r"(?:[a-z]+\.)+(?=[a-z])")
# What an answering model adds to the name that was asked for: a date, a number, a revision.
_REVISION: Final = re.compile(r"[-@:._]?(?:v?\d[\w.:-]*|latest|preview.*|exp.*)")
_ARGUMENTS: Final = ("arguments", "args", "input")


def mark_of(text: str | None) -> int | None:
    """Return a number that is equal for equal texts, and for equal calls of tools in any convention; None for None."""
    if text is None:
        return None
    text = text.strip()
    if text.startswith("{") and ("tool" in text or "function" in text):
        try:
            calls = sorted(_calls_in(json.loads(text)))
        except (ValueError, RecursionError):
            calls = []
        if calls:
            return hash(tuple(calls))
    return hash(text)


def _calls_in(value: Any) -> Iterator[tuple[str, str]]:
    """The names and arguments of the tools that an answer asks for."""
    if isinstance(value, list):
        for one in value:
            yield from _calls_in(one)
    elif isinstance(value, dict):
        for key, inner in value.items():
            start = key.removesuffix("name")
            if start != key and isinstance(inner, str):
                given = next((value[start + a] for a in _ARGUMENTS if start + a in value), None)
                if given is not None:
                    yield inner, _canonical(given)
            elif isinstance(inner, list | dict):
                yield from _calls_in(inner)


def _canonical(given: Any) -> str:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            return str(given)
    return json.dumps(given, sort_keys=True)


def response_id(span: Span) -> str | None:
    """The provider's id of the response."""
    found = span.attributes.get("gen_ai.response.id") or span.attributes.get("llm.response.id")
    return found if isinstance(found, str) else None


def models_of(span: Span) -> tuple[str, ...]:
    """The names of the model that was asked for and of the one that answered, as far as the span has them."""
    a = span.attributes
    asked = a.get("gen_ai.request.model") or a.get("llm.model_name") or _first(a, _OTHER_REQUESTED)
    answering = a.get("gen_ai.response.model") or a.get("llm.response.model_name")
    if type(asked) is not str:
        return (answering,) if type(answering) is str else ()
    return (asked, answering) if type(answering) is str else (asked,)


def tokens_of(span: Span) -> tuple[Any, Any]:
    """The tokens of the question and of the answer, as sent; None where the span does not count them."""
    a = span.attributes
    if (asked := a.get("gen_ai.usage.input_tokens")) is None:
        asked = _first(a, _OTHER_INPUT_TOKENS)
    if (answered := a.get("gen_ai.usage.output_tokens")) is None:
        answered = _first(a, _OTHER_OUTPUT_TOKENS)
    return asked, answered


def _first(attributes: Attributes, names: Sequence[str]) -> Any:
    for name in names:
        if name in attributes and attributes[name] is not None:
            return attributes[name]
    return None


def is_other_number(one: Any, other: Any) -> bool:
    """Whether two counts are there and differ; one may have been sent as text."""
    return one is not None and other is not None and one != other and number_of(one) != number_of(other)


def are_other_models(ones: Sequence[str], others: Sequence[str]) -> bool:
    """Whether names stand for different models; `gpt-4o`, `openai/gpt-4o` and `gpt-4o-2024-08-06` are one."""
    if not ones or not others or not set(ones).isdisjoint(others):
        return False
    return not any(_is_one_model(_plain(a), _plain(b)) for a, b in product(ones, others))


def _plain(name: str) -> str:
    return _MAKERS.sub("", name.strip().lower().rpartition("/")[2], count=1)


def _is_one_model(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and (short == long or _REVISION.fullmatch(long, len(short)) is not None)
