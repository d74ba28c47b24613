"""Which databases a test runs on. Without a word, both: see `database_url` in conftest.py."""

import pytest

# Of SQLite alone: its file is copied, or its settings are read.
SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
# On SQLite; `make test-all` runs it on PostgreSQL too.
SQLITE_FIRST = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
