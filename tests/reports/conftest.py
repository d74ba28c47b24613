"""Fixtures of other folders that reports need too."""

from tests.monitor.notify.conftest import configured

__all__ = ["configured"]
