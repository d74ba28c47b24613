"""What is shown of the causes of a disparity to whom."""

from typing import Any, Final

LEVELS_WITHHELD: Final = "names of levels are values of rows, which your role does not read"


def without_levels(document: dict[str, Any]) -> dict[str, Any]:
    """The document for somebody who may not read rows: levels of columns, which are values of rows, are left out."""
    found = document.get("causes")
    if found is None:
        return document
    parts = [{**part, "levels": []} for part in found["columns"]]
    fixed = [{**one, "strata": []} for one in found["each"]]
    declared = None if found["declared"] is None else {**found["declared"], "strata": []}
    shown = {**found, "columns": parts, "each": fixed, "declared": declared, "levels_withheld": LEVELS_WITHHELD}
    return {**document, "causes": shown}
