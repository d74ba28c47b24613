"""Read a YAML or JSON text, and remember on which line each key stands."""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from monitor.spec.base import Key


class UnreadableTextError(ValueError):
    """The text is neither YAML nor JSON, or has two keys of one name."""

    def __init__(self, reason: str, key: Key = (), line: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.key, self.line = reason, key, line


def read_text(text: str | bytes) -> tuple[Any, dict[Key, int]]:
    """The document that a text holds, and the line of each key, counted from 1; no lines if the text has only one.

    Raises:
        UnreadableTextError: with the place of the fault.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines = dict(_lines(node))
        one = node.start_mark.line == node.end_mark.line  # JSON that a program wrote: a line says nothing
        return loader.construct_document(node), {} if one else lines
    except yaml.MarkedYAMLError as error:
        if (document := _json(text)) is not None:
            return document, {}
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UnreadableTextError(f"neither YAML nor JSON: {at}{error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnreadableTextError(f"neither YAML nor JSON: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UnreadableTextError("nested too deeply; a spec has at most a few levels") from error


def _json(text: str | bytes) -> Any:
    """The document of a JSON text; JSON may be indented by tabs, which YAML refuses. None if it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _lines(node: yaml.Node, key: Key = (), seen: set[int] | None = None) -> Iterator[tuple[Key, int]]:
    """The line of each key; what an alias repeats is looked at once, so that no text takes long."""
    seen = set() if seen is None else seen
    yield key, node.start_mark.line + 1
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for at, item in enumerate(node.value):
            yield from _lines(item, (*key, at), seen)
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for name, value in node.value:
            text, line = str(name.value), name.start_mark.line + 1
            if text in first and name.tag != "tag:yaml.org,2002:merge":
                raise UnreadableTextError(
                    f"appears twice, on lines {first[text]} and {line}; leave one out", (*key, text), line
                )
            first[text] = line
            yield from _lines(value, (*key, text), seen)
            yield (*key, text), line
