"""Write docs/spec.md: `python -m api.spec_reference.page > docs/spec.md`, or `make docs`."""

import sys
from collections.abc import Mapping
from typing import Any, Final

from api.spec_reference.sections import Section, SpecKey, sections
from monitor.spec import bounds
from monitor.spec.columns import BUILT_IN, ROLES, TYPES

_HEAD: Final = """# The spec

<!-- Made from the models of the spec by `make docs`. To change it, change the descriptions there. -->

A spec declares one model: what its rows hold, what is watched, and how far it may be retrained. It is YAML or JSON.
`assay init` writes a first one from a file, a table or a trace; `assay apply` declares it. Each revision is in the
ledger.

Editors check a spec and complete its keys with the JSON Schema that `assay schema` prints and
`GET /api/v1/schema/spec` serves. With a YAML language server this line at the top of the spec is enough:

```yaml
# yaml-language-server: $schema=./spec.schema.json
```

Lists are written `[a, b]` or one entry a line. A duration is a whole number and `s`, `m`, `h` or `d`. A key that is
not on this page is refused, with its line.

A spec is bounded before it is understood: {bytes} MiB, {values:,} values with every YAML alias written out, {levels}
levels, {columns:,} columns, {name} characters of a name and {text:,} of a text, {windows} windows, {kpis} KPIs,
{patterns} patterns of your own, and no control characters.
`Content-Type: application/json` means JSON alone, `application/yaml` means either.
"""


def page() -> str:
    """The page, in Markdown."""
    head = _HEAD.format(
        bytes=bounds.MAX_BYTES >> 20, values=bounds.MAX_VALUES, levels=bounds.MAX_LEVELS, columns=bounds.MAX_COLUMNS,
        name=bounds.MAX_NAME_CHARS, text=bounds.MAX_TEXT_CHARS, windows=bounds.MAX_ENTRIES["monitors", "windows"],
        kpis=bounds.MAX_ENTRIES["monitors", "kpi"], patterns=bounds.MAX_PATTERNS,
    )  # fmt: skip
    return "\n".join([head, *(_section(section) for section in sections()), _roles(), _types()])


def _section(section: Section) -> str:
    head = ["| key | value | unit | default | example | what it does, and costs |", "|---|---|---|---|---|---|"]
    rows = [_row(key) for key in section.keys]
    return "\n".join([f"## {section.path or 'The top level'}", "", section.about, "", *head, *rows, ""])


def _row(key: SpecKey) -> str:
    cells = (f"`{key.path}`", key.value, key.unit, key.default, key.example, key.meaning)
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"


def _roles() -> str:
    return "\n".join(["## Roles", "", "| role | what the column is for |", "|---|---|", *_listed(ROLES), ""])


def _types() -> str:
    built_in = ", ".join(f"`{name}`" for name in BUILT_IN)
    note = f"No column may be called {built_in}: every event has fields of these names."
    return "\n".join(["## Types", "", "| type | values |", "|---|---|", *_listed(TYPES), "", note, ""])


def _listed(meanings: Mapping[Any, str]) -> list[str]:
    return [f"| `{name}` | {meaning} |" for name, meaning in meanings.items()]


if __name__ == "__main__":
    sys.stdout.write(page())
