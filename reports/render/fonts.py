"""The fonts of the print: those that Typst brings, then Noto's, from two packages of one pinned version.

Noto's are licensed under the SIL Open Font License 1.1. Typst gets the folders of the packages and nothing of the
machine, so that the same report is the same bytes everywhere.
"""

import json
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = ("manimgx_fonts", "manimgx_fonts_cjk")
# Asked in this order where Libertinus Serif has no glyph. Unified ideographs are drawn in the simplified Chinese form.
FAMILIES: Final = (
    "Noto Sans", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Ethiopic",
    "Noto Sans Armenian", "Noto Sans Bengali", "Noto Sans Georgian", "Noto Sans Gujarati", "Noto Sans Gurmukhi",
    "Noto Sans Kannada", "Noto Sans Khmer", "Noto Sans Lao", "Noto Sans Malayalam", "Noto Sans Myanmar",
    "Noto Sans Oriya", "Noto Sans Sinhala", "Noto Sans Tamil", "Noto Sans Telugu", "Noto Sans CJK SC",
    "Noto Sans Symbols", "Noto Emoji",
)  # fmt: skip
# Blocks of Libertinus Serif and DejaVu Sans Mono, as far as every character of them was seen to print in both.
_BROUGHT: Final = (
    (0x20, 0x7E), (0xA0, 0x377), (0x37A, 0x37F), (0x384, 0x38A), (0x38C, 0x38C), (0x38E, 0x3A1), (0x3A3, 0x484),
    (0x487, 0x4FF), (0x591, 0x5C7), (0x5D0, 0x5EA), (0x1E00, 0x1F15), (0x2000, 0x2040), (0x2044, 0x2052),
    (0x2054, 0x2064), (0x2070, 0x2071), (0x2074, 0x208E), (0x2090, 0x209C), (0x20A0, 0x20C0), (0x2100, 0x211E),
    (0x2126, 0x2151), (0x2153, 0x2184), (0x2190, 0x23FF), (0x2460, 0x2606), (0x2609, 0x262F),
)  # fmt: skip


def folders() -> list[str]:
    """The folders of the font packages that are installed."""
    found = (find_spec(name) for name in PACKAGES)
    return [place for spec in found if spec is not None for place in spec.submodule_search_locations or ()]


def _points(paths: Iterable[Path]) -> set[int]:
    from fontTools.ttLib import TTCollection, TTFont

    points: set[int] = set()
    for path in paths:
        opened: Any = TTCollection(path, lazy=True) if path.suffix == ".ttc" else TTFont(path, lazy=True)
        with opened:
            for font in opened.fonts if path.suffix == ".ttc" else [opened]:
                points |= set(font.getBestCmap())
    return points


def coverage() -> list[list[int]]:
    """Ranges of the characters that the fonts have a glyph for."""
    points = _points(path for folder in folders() for path in sorted(Path(folder).glob("*.tt[cf]")))
    points.update(point for first, last in _BROUGHT for point in range(first, last + 1))
    ranges: list[list[int]] = []
    for point in sorted(points):
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return ranges


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"ranges": coverage()}, separators=(",", ":")) + "\n")
