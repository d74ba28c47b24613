"""How many examples hypothesis tries."""

import os
from typing import Final

# `make test-all` tries them all.
ALL: Final = os.environ.get("EXAMPLES") == "all"


def examples(count: int) -> int:
    """`count` in `make test-all`, a third of them in `make test`."""
    return count if ALL else -(-count // 3)
