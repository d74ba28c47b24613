"""Parse a spec from a mapping, YAML or JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from core.errors import InvalidError
from monitor.spec.base import NEW, Key, written
from monitor.spec.model import ModelSpec
from monitor.spec.problems import WHOLE, problems, shown
from monitor.spec.yaml_text import Form, UnreadableTextError, read_text

MAX_REASON_CHARS: Final = 1_000  # of the one that is told first: it may quote what was written


class SpecError(InvalidError):
    """The spec is refused; `problems` lists each wrong field with its value, the reason and, in a text, its line."""

    code = "invalid_spec"

    @classmethod
    def of(cls, found: Sequence[Mapping[str, Any]]) -> "SpecError":
        """The error that tells the first problem, and lists all."""
        first = found[0]
        line = f" (line {first['line']})" if "line" in first else ""
        return cls(f"spec field {first['field']}{line}: {first['reason'][:MAX_REASON_CHARS]}", problems=list(found))


def parse_spec(document: Any, lines: Mapping[Key, int] | None = None, *, new: bool = False) -> ModelSpec:
    """The spec that a mapping of fields declares.

    Args:
        document: the mapping.
        lines: the line of each key, where the document was read from a text.
        new: whether somebody writes it now; a stored spec that an earlier release accepted loads all the same.

    Raises:
        SpecError: with every problem found; each names the field, its value and the reason.
    """
    if not isinstance(document, Mapping):
        what = "nothing" if document is None else shown(document)
        raise SpecError(f"a spec is a mapping of fields such as `model: support-intents`; got {what}", problems=[])
    found = list(_strange_keys(document))
    if not found:
        try:
            return ModelSpec.model_validate(dict(document), context=NEW if new else None)
        except ValidationError as error:
            found = problems(ModelSpec, document, error)
    raise SpecError.of([_listed(one, lines or {}) for one in found])


def load_spec(text: str | bytes, form: Form | None = None) -> ModelSpec:
    """The spec that a YAML or JSON text declares.

    Args:
        form: which of the two it is, where the sender said so.

    Raises:
        SpecError: the text is neither YAML nor JSON, is out of bounds, or a field is wrong.
    """
    try:
        document, lines = read_text(text, form)
    except UnreadableTextError as error:
        if not error.key:
            raise SpecError(f"the spec is {error.reason}", problems=[]) from error
        problem = {"key": error.key, "field": written(error.key), "reason": error.reason, "value": None}
        raise SpecError.of([_listed(problem, {error.key: error.line} if error.line else {})]) from error
    return parse_spec(document, lines, new=True)


def _listed(problem: Mapping[str, Any], lines: Mapping[Key, int]) -> dict[str, Any]:
    """A problem as it is reported, with the line of its key, or of the nearest key above."""
    key: Key = problem["key"]
    line = next((lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in lines), None)
    told = {name: value for name, value in problem.items() if name != "key"}
    return told if line is None else told | {"line": line}


def _strange_keys(document: Any, key: Key = (), seen: set[int] | None = None) -> Iterator[dict[str, Any]]:
    """Keys that are no texts: YAML reads `no:` as false and `1:` as a number."""
    seen = set() if seen is None else seen
    if isinstance(document, Mapping | list | tuple):
        if id(document) in seen:
            return
        seen.add(id(document))
    if isinstance(document, Mapping):
        for name, value in document.items():
            if isinstance(name, str):
                yield from _strange_keys(value, (*key, name), seen)
                continue
            example = {True: "yes", False: "no"}.get(name, name) if isinstance(name, bool) else name
            reason = f'YAML reads a key here as {shown(name)}; put it in quotes, such as "{example}"'
            yield {"key": key, "field": written(key) or WHOLE, "reason": reason, "value": shown(name)}
    elif isinstance(document, list | tuple):
        for at, item in enumerate(document):
            yield from _strange_keys(item, (*key, at), seen)
