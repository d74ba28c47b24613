"""What the fonts of the print can show, and how it tells what they cannot."""

import json

from reports.render.fonts import coverage
from reports.render.glyphs import COVERAGE, Shown


def test_the_characters_that_print_are_those_of_the_fonts() -> None:
    assert json.loads(COVERAGE.read_bytes())["ranges"] == coverage()
    marks = "e" + "\u0301" * 30
    assert Shown().text(marks).startswith("e" + "\u0301" * 6 + "[")
    assert (
        Shown().text("\U0001f468\u200d\U0001f469 \u0915\u094d\u200d") == "\U0001f468\u200d\U0001f469 \u0915\u094d\u200d"
    )
    assert Shown().text("a\u200db \ud800") == "a[U+200D]b [U+D800]"
