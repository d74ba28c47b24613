"""SPDX licence expressions: read, spelled as the SPDX list has them, and compared with those that are allowed.

A `LicenseRef-` names a licence that is in no list; it stands for itself alone. The library takes some of them for
listed licences (`LicenseRef-MIT-TC` for MIT), so expressions are parsed without its list and each id is looked up.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from core.errors import InvalidError

if TYPE_CHECKING:
    from license_expression import LicenseExpression

REFERENCE: Final = re.compile(r"(DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+")
NOT_STATED: Final = ("NONE", "NOASSERTION")
MAX_CHARS: Final = 1000  # of an expression
MAX_ALTERNATIVES: Final = 64
HINT: Final = (
    "write an SPDX licence expression such as Apache-2.0, CC-BY-4.0 or `MIT OR Apache-2.0`; a licence that is in no "
    "list is LicenseRef-NAME"
)


class LicenceError(InvalidError):
    code = "licence_expression"


def normalised(expression: str) -> str:
    """An expression with its ids as the SPDX list spells them.

    Raises:
        LicenceError: it is no SPDX expression, or names an id that is not in the list.
    """
    return str(_parsed(expression).render("{symbol.key}"))


def allows(allowed: Sequence[str], expression: str) -> bool:
    """Whether what is licensed so may be used where `allowed` licences are.

    One alternative of the expression is enough, and all licences of that alternative must be allowed. An exception
    (`WITH`) only adds rights, so that a licence without it allows it too; `-or-later` may be taken as `-only`.

    Raises:
        LicenceError: one of them is no SPDX expression.
    """
    ways = [way for one in allowed for way in _alternatives(one)]
    single = {next(iter(way)) for way in ways if len(way) == 1}
    for wanted in _alternatives(expression):
        together = set[str]().union(*(way for way in ways if way <= wanted))
        if all(_covered(licence, single | together) for licence in wanted):
            return True
    return False


def _covered(licence: str, allowed: Iterable[str]) -> bool:
    plain = licence.partition(" WITH ")[0]
    later = plain.removesuffix("-or-later")
    names = {licence, plain} | ({f"{later}-only"} if later != plain else set())
    return bool(names & set(allowed))


def _alternatives(expression: str) -> list[frozenset[str]]:
    """The alternatives of an expression, each with all the licences that hold together."""
    from license_expression import Licensing

    found = Licensing().dnf(_parsed(expression))
    either = found.args if _is(found, "OR") else (found,)
    return [frozenset(_text(one) for one in (way.args if _is(way, "AND") else (way,))) for way in either]


def _is(expression: Any, operator: str) -> bool:
    return type(expression).__name__ == operator


def _text(symbol: Any) -> str:
    return str(symbol.render("{symbol.key}"))


def _parsed(expression: str) -> "LicenseExpression":
    """Parse an expression whose every id is looked up."""
    from license_expression import LicenseSymbol, LicenseWithExceptionSymbol, Licensing

    text = expression.strip()
    if not text or len(text) > MAX_CHARS:
        raise _wrong(expression, "is empty" if not text else f"has more than {MAX_CHARS} characters")
    if text in NOT_STATED:
        raise _wrong(expression, "says that no licence is stated")
    try:
        found = Licensing().parse(text)
    except Exception as error:  # the parser raises an IndexError and others besides its own errors
        raise _wrong(expression, f"cannot be read ({error})") from error
    if found is None:
        raise _wrong(expression, "is empty")
    if sum(_is(part, "OR") for part in _parts(found)) > MAX_ALTERNATIVES.bit_length():
        raise _wrong(expression, "has too many alternatives")
    known = {}
    for symbol in found.symbols:
        if isinstance(symbol, LicenseWithExceptionSymbol):
            licence = LicenseSymbol(_id(symbol.license_symbol.key, expression))
            extra = LicenseSymbol(_id(symbol.exception_symbol.key, expression, exception=True), is_exception=True)
            known[symbol] = LicenseWithExceptionSymbol(licence, extra)
        else:
            known[symbol] = LicenseSymbol(_id(symbol.key, expression))
    return found.subs(known)


def _parts(expression: Any) -> list[Any]:
    return [expression, *(part for one in getattr(expression, "args", ()) for part in _parts(one))]


def _id(name: str, expression: str, *, exception: bool = False) -> str:
    if REFERENCE.fullmatch(name):
        return name
    listed, exceptions = _listed()
    found = (exceptions if exception else listed).get(name.lower())
    if found is None:
        what = "exception" if exception else "licence"
        raise _wrong(expression, f"names {name!r}, which is no {what} of the SPDX list")
    return found


@cache
def _listed() -> tuple[dict[str, str], dict[str, str]]:
    """Licences and exceptions of the SPDX list by their lower-case names, those of earlier versions among them."""
    from license_expression import get_license_index

    licences: dict[str, str] = {}
    exceptions: dict[str, str] = {}
    for entry in get_license_index():
        key = entry.get("spdx_license_key")
        if not key or key.startswith("LicenseRef-"):
            continue
        names = [key, *(n for n in entry.get("other_spdx_license_keys") or () if not n.startswith("LicenseRef-"))]
        (exceptions if entry.get("is_exception") else licences).update({n.lower(): key for n in names})
    return licences, exceptions


def _wrong(expression: str, why: str) -> LicenceError:
    shown = expression if len(expression) <= 100 else f"{expression[:100]}..."
    return LicenceError(f"licence {shown!r} {why}; {HINT}", field="licence", value=shown)
