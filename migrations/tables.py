"""Every mapped table of the application, brought together so that migrations see them all."""

from types import ModuleType
from typing import Final

import core.queue
import governance.tables
import monitor.alerts.tables
import monitor.explore.tables
import monitor.finding_tables
import monitor.ingest.otlp.tables
import monitor.lake_tables
import monitor.notify.tables
import monitor.tables
import reports.tables
import retrain.tables
from core.db import Base

MAPPED: Final[tuple[ModuleType, ...]] = (
    core.queue,
    governance.tables,
    monitor.tables,
    monitor.alerts.tables,
    monitor.finding_tables,
    monitor.lake_tables,
    monitor.explore.tables,
    monitor.ingest.otlp.tables,
    monitor.notify.tables,
    retrain.tables,
    reports.tables,
)
METADATA: Final = Base.metadata
