"""Read a YAML or JSON text within bounds, and remember on which line each key stands."""

import codecs
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import yaml

from monitor.spec.base import Key, written
from monitor.spec.bounds import (
    MAX_DIGITS,
    MAX_LEVELS,
    MAX_TEXT_CHARS,
    MAX_VALUES,
    OutOfBoundsError,
    check_bytes,
    check_directives,
    check_document,
    too_deep,
    too_many,
)

Form = Literal["json", "yaml"]
# libyaml where PyYAML was built with it, as its wheels are: ten times as fast.
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_QUOTED_CHARS: Final = 500  # of what the parser says
_MERGE: Final = "tag:yaml.org,2002:merge"


class UnreadableTextError(ValueError):
    """The text is neither YAML nor JSON, is out of bounds, or has two keys of one name."""

    def __init__(self, reason: str, key: Key = (), line: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.key, self.line = reason, key, line


def read_text(text: str | bytes, form: Form | None = None) -> tuple[Any, dict[Key, int]]:
    """The document that a text holds, and the line of each key, counted from 1; no lines if the text has only one.

    Args:
        form: what the sender says it is. A text of an unknown form, or of YAML, that is JSON is read as JSON.

    Raises:
        UnreadableTextError: with the place of the fault.
    """
    lines: dict[Key, int] = {}
    try:
        check_bytes(text)
        decoded = _decoded(text)
        if form == "json" or decoded.lstrip()[:1] in ("{", "["):
            try:
                document = _JSON.decode(decoded.strip(" \t\r\n"))
            except json.JSONDecodeError as error:
                if form == "json":
                    at = f"line {error.lineno}, column {error.colno}"
                    raise UnreadableTextError(f"no JSON: {at}: {error.msg}; send YAML as application/yaml") from error
                document, lines = _yaml(decoded)
            else:
                lines = _lines_of_json(decoded)
        else:
            document, lines = _yaml(decoded)
        check_document(document)
    except _TwiceError as error:
        lines_of_key = _lines_of_twice(decoded, error.name)
        raise lines_of_key or UnreadableTextError("appears twice; leave one out", (error.name,)) from error
    except OutOfBoundsError as error:
        line = next((lines[error.key[:n]] for n in range(len(error.key), 0, -1) if error.key[:n] in lines), None)
        raise UnreadableTextError(error.reason, error.key, line) from error
    except RecursionError as error:
        raise UnreadableTextError(too_deep().reason) from error
    return document, lines


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    wide = text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return text.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableTextError(
            f"neither YAML nor JSON: byte {error.object[error.start]:#04x} at position {error.start + 1} is not UTF-8"
        ) from error


class _TwiceError(ValueError):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _TwiceError(next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1))
    return found


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise OutOfBoundsError(f"out of bounds: a number has {len(digits)} digits; write at most {MAX_DIGITS}")
    return int(digits)


def _no_number(word: str) -> float:
    raise OutOfBoundsError(f"no JSON: {word} is no number there; give a number or null")


_JSON: Final = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole, parse_constant=_no_number)


def _yaml(text: str) -> tuple[Any, dict[Key, int]]:
    loader = None
    try:
        check_directives(text)
        _check_events(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        _check_size(node)
        lines = dict(_lines(node))
        one = node.start_mark.line == node.end_mark.line  # a program wrote it: a line says nothing
        return _constructed(loader, node), {} if one else lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = _place(mark, text) if mark else ""
        reason = str(error.problem or error.context)[:MAX_QUOTED_CHARS]  # it may quote a tag of any length
        raise UnreadableTextError(f"neither YAML nor JSON: {at}{reason}") from error
    except yaml.YAMLError as error:
        raise UnreadableTextError(
            f"neither YAML nor JSON: {' '.join(str(error).split())[:MAX_QUOTED_CHARS]}"
        ) from error
    finally:
        if loader is not None:
            loader.dispose()


def _place(mark: yaml.Mark, text: str) -> str:
    """Where a mark stands; libyaml puts the end of a text without a last newline on a line below it."""
    last = text.count("\n") + 1
    return f"line {last}: " if mark.line >= last else f"line {mark.line + 1}, column {mark.column + 1}: "


def _check_events(text: str) -> None:
    """Bound levels and values of a text, event by event, before nodes are made of them."""
    levels = values = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            levels += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            levels -= 1
        elif not isinstance(event, yaml.NodeEvent):
            continue
        values += 1
        if levels > MAX_LEVELS:
            raise too_deep()
        if values > 2 * MAX_VALUES:
            raise too_many()
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_TEXT_CHARS:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise UnreadableTextError(
                f"too large: the text on line {line} has {len(event.value)} characters; write at most {MAX_TEXT_CHARS}"
            )


def _check_size(node: yaml.Node) -> None:
    """Bound levels and values with every alias written out.

    Raises:
        OutOfBoundsError: a bound is passed, or an alias contains itself.
    """
    known: dict[int, int] = {}

    def values(of: yaml.Node, levels: int) -> int:
        if levels > MAX_LEVELS:
            raise too_deep()
        if isinstance(of, yaml.ScalarNode):
            return 1
        if (size := known.get(id(of))) is None:
            known[id(of)] = MAX_VALUES + 1  # should it be met below itself
            parts = of.value if isinstance(of, yaml.SequenceNode) else [one for pair in of.value for one in pair]
            size = 1
            for part in parts:
                size += values(part, levels + 1)
                if size > MAX_VALUES:
                    raise too_many()
            known[id(of)] = size
        return size

    values(node, 0)


def _constructed(loader: Any, node: yaml.Node) -> Any:
    try:
        return loader.construct_document(node)
    except (ValueError, OverflowError):  # a date that is none, a number of thousands of digits
        for scalar in _scalars(node):
            try:
                _Loader("").construct_document(scalar)
            except (ValueError, OverflowError) as error:
                kind = scalar.tag.rpartition(":")[2]
                what = {"timestamp": "a date or time", "int": "a number", "float": "a number"}.get(kind, kind)
                raise UnreadableTextError(
                    f"not readable: line {scalar.start_mark.line + 1}: {scalar.value[:60]!r} looks like {what} and is "
                    "none that can be read; correct it, or put it in quotes"
                ) from error
        raise


def _scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    waiting, seen = [node], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, yaml.ScalarNode):
            yield one
        else:
            waiting += (
                one.value if isinstance(one, yaml.SequenceNode) else [part for pair in one.value for part in pair]
            )


def _lines_of_json(text: str) -> dict[Key, int]:
    """The line of each key of a JSON text, where YAML can read it too (tabs it cannot)."""
    if "\n" not in text.strip():
        return {}
    try:
        return _yaml(text)[1]
    except (UnreadableTextError, OutOfBoundsError, RecursionError):
        return {}


def _lines_of_twice(text: str, name: str) -> UnreadableTextError | None:
    """The error of a key that appears twice, with both lines, where YAML can read the text too."""
    try:
        _yaml(text)
    except UnreadableTextError as error:
        return error if error.key and error.key[-1] == name else None
    except (OutOfBoundsError, RecursionError):
        return None
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
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                where = f" in {written(key)}" if key else ""
                raise UnreadableTextError(
                    f"not readable: line {line}: a key{where} is a list or a mapping; write a name"
                )
            text = str(name.value)
            if text in first and name.tag != _MERGE:
                raise UnreadableTextError(
                    f"appears twice, on lines {first[text]} and {line}; leave one out", (*key, text), line
                )
            first[text] = line
            yield from _lines(value, (*key, text), seen)
            yield (*key, text), line
