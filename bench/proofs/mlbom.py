"""Case `mlbom`: how complete the bill of materials of a demo adapter is; case `lineage`: how fast look-ups are.

The adapter is trained for it: QLoRA on a tiny classifier, by a whole run with its gates and its promotion.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.load.results import write_lines
from bench.proofs.aibom_fields import completeness
from bench.proofs.installation import migrate
from core import settings
from core.clock import ManualClock
from core.jobs import RunJob
from core.settings_train import TrainSettings
from monitor.site import Site, open_site
from monitor.spec.parse import parse_spec
from monitor.store import model as model_named
from reports.lineage.graph import graph_of
from reports.lineage.mlbom import mlbom_bytes
from retrain import jobs
from retrain.provenance.declarations import declare
from retrain.provenance.members import holds, written
from retrain.train.demo_base import make_base
from tests.retrain import world
from tests.retrain.train import tiny

BASE: Final[dict[str, Any]] = {
    "source": "trained from random weights on made-up messages", "licence": "Apache-2.0",
    "collected": {"from": "2026-01-01", "to": "2026-01-05"}, "consent": "not_personal", "collector": "Assay",
    "processing": [{"step": "pre-trained", "code": "retrain.train.demo_base"}], "known_biases": ["none known"],
    "synthetic_share": 1.0,
}  # fmt: skip
OWN: Final = {"licence": "LicenseRef-internal", "consent": "contract", "collector": "us", "known_biases": ["made up"]}
SETS: Final = 100  # training sets that one look-up asks
EVENTS: Final = 200_000  # of each


def run(out: Path) -> None:
    """Append the lines of both cases."""
    with tempfile.TemporaryDirectory(prefix="assay-mlbom-") as folder:
        site = _adapter(Path(folder))
        with site.database.read() as db:
            bom = json.loads(mlbom_bytes(site, db, world.NAME, "v2"))
            begun = time.perf_counter()
            nodes = len(graph_of(db, model_named(db, world.NAME)).shown)
            graph_ms = 1000 * (time.perf_counter() - begun)
        site.close()
        score, missing = completeness(bom)
        print(f"ML-BOM completeness {score:.1f} of 100; missing: {', '.join(missing) or 'nothing'}")
        write_lines(out, "mlbom", {"completeness": (score, "of 100")}, bench="ledger", missing=missing)
        lookup_ms, size = _lookups(Path(folder) / "members")
    print(f"an event in {SETS} sets of {EVENTS} events: {lookup_ms:.1f} ms, {size / EVENTS:.0f} bytes an event")
    print(f"the whole graph, {nodes} nodes: {graph_ms:.1f} ms")
    write_lines(out, "lineage", {"event_ms": (lookup_ms, "ms"), "graph_ms": (graph_ms, "ms")}, bench="ledger",
                sets=SETS, events=EVENTS, nodes=nodes)  # fmt: skip


def _adapter(folder: Path) -> Site:
    """An installation whose model has a promoted QLoRA adapter, v2."""
    home, clock = folder / "home", ManualClock(world.START)
    made = folder / "made"
    make_base(tiny.base_config(made, tiny.messages(tiny.OLD, 320)))
    train = TrainSettings(device="cpu", threads=1, country="DEU")
    loaded = settings.load({}, home=home, train=train)
    home.mkdir()
    migrate(loaded.database_url)
    site = open_site(loaded, clock)
    law = {"max_gpu_hours": 0.5, "licences": ["Apache-2.0", "LicenseRef-internal"], "consent": ["contract"],
           "max_forgetting": 0.5, "kpi_floor": {"accuracy": 0.3}}  # fmt: skip
    base = str(made / "base")
    document = world.spec(base, recipe={"method": "qlora"}, envelope=law).document | {"provenance": OWN}
    world.declare(site, parse_spec(document))
    world.send(site, world.traffic(250, tiny.OLD), clock)
    world.send(site, world.traffic(350, (*tiny.OLD, *tiny.NEW), first=250), clock)
    world.baseline_ends(site, 250)
    with site.database.write() as db:
        declare(site, db, world.NAME, "base_model", None, BASE, "bench")
    run_id = world.start(site)
    jobs.run(site, RunJob(run_id=run_id))
    ended = world.read(site, run_id)
    if ended.state != "promoted":
        raise SystemExit(f"the run ended as {ended.state}: {ended.error}")
    return site


def _lookups(folder: Path) -> tuple[float, int]:
    """(median ms to ask every set for one event, bytes of the index of one set)."""
    folder.mkdir()
    made = written(f"{i * 2654435761 % 2**64:016x}" * 4 for i in range(EVENTS))
    paths = [folder / f"{i}.members" for i in range(SETS)]
    for path in paths:
        path.write_bytes(made)
    took = []
    for number in range(50):
        wanted = f"{number * 40503 * 2654435761 % 2**64:016x}" * 4
        begun = time.perf_counter()
        found = sum(holds(path, wanted) for path in paths)
        took.append(1000 * (time.perf_counter() - begun))
        if found not in (0, SETS):
            raise SystemExit("equal sets gave different answers")
    return statistics.median(took), len(made)
