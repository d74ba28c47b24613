"""What Prometheus scrapes, from one registry a process: what this process measures, and what the stores say.

Every replica answers the same of the stores. What it measures itself is its own: add that up over replicas.
`docs/metrics.md` lists every metric.
"""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from api.http.store_metrics import StoreCollector
from monitor.ingest.media import ARROW, JSON, NDJSON, PARQUET, PROTOBUF
from monitor.site import Site

MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
FORMATS: Final[Mapping[str, str]] = {
    NDJSON: "ndjson", JSON: "json", ARROW: "arrow", PARQUET: "parquet", PROTOBUF: "protobuf",
}  # fmt: skip
ROUTES: Final = ("events", "outcomes", "traces", "logs")
RESULTS: Final = ("accepted", "duplicate", "rejected", "skipped")
INGEST_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FLUSH_BUCKETS_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0)


class ServiceMetrics:
    """The metrics of one application: each has a registry of its own, so that a process may hold several sites."""

    def __init__(self, site: Site) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
        self._site = site
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "assay_ingest_seconds", "time from the last byte of an ingest request to its answer, of those answered 200",
            ("route", "format"), registry=self._registry, buckets=INGEST_BUCKETS_S,
        )  # fmt: skip
        rows = Counter("assay_ingest_rows", "rows of ingest requests answered 200", ("route", "result"),
                       registry=self._registry)  # fmt: skip
        self._seconds_of: dict[tuple[str, str], Histogram] = {}  # by route and media type
        # Counters are zero from the start: Prometheus sees an increase only between two values.
        self._rows = {(route, result): rows.labels(route, result) for route in ROUTES for result in RESULTS}
        self._flush_lag = Histogram(
            "assay_flush_lag_seconds", "time for which the oldest row of a flush waited in the log of this process",
            registry=self._registry, buckets=FLUSH_BUCKETS_S,
        )  # fmt: skip
        self._registry.register(StoreCollector(site))

    def stored(
        self, route: str, media_type: str, seconds: float, *, accepted: int, duplicates: int, rejected: int,
        skipped: int = 0,
    ) -> None:  # fmt: skip
        """Count an ingest request that was answered 200."""
        if (histogram := self._seconds_of.get((route, media_type))) is None:
            histogram = self._seconds_of[route, media_type] = self._seconds.labels(route, FORMATS[media_type])
        histogram.observe(seconds)
        for result, rows in zip(RESULTS, (accepted, duplicates, rejected, skipped), strict=True):
            if rows:
                self._rows[route, result].inc(rows)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format 0.0.4; reads the database and the headers of the lake."""
        for lag_s in self._site.events.unflushed.take_lags():
            self._flush_lag.observe(lag_s)
        return generate_latest(self._registry)
