"""The graph as OpenLineage run events: curation, training, evaluation, promotion and reporting, START and COMPLETE."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

from reports.lineage.graph import Graph, Shown

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent

PRODUCER: Final = "urn:assay:0.1"
STEPS: Final = ("curation", "training", "evaluation", "promotion", "reporting")
FINAL: Final = ("promoted", "rejected")


def run_events(graph: Graph, origin: str) -> "list[RunEvent]":
    """Events of every run whose steps are known, in the order in which a consumer expects them.

    Args:
        origin: name of the installation, as its ledger has it: the namespace of jobs and datasets.
    """
    from openlineage.client.event_v2 import set_producer

    set_producer(PRODUCER)
    shown = graph.shown
    found: list[RunEvent] = []
    for one in shown.values():
        told = one.document
        if told["kind"] == "run":
            found += _of_run(graph, one, origin)
        elif told["kind"] == "report":
            sources = [shown[s.node] for s in one.node.sources if s.node in shown]
            found += _pair("reporting", told["name"], graph, origin, (told["at"], told["at"]), sources, [one])
    return found


def _of_run(graph: Graph, run: Shown, origin: str) -> "list[RunEvent]":
    shown, told = graph.shown, run.document
    read = {s.node: shown[s.node] for s in run.node.sources if s.node in shown}  # a champion may teach too
    sets = [one for one in read.values() if one.node.kind == "dataset"]
    others = [one for one in read.values() if one.node.kind != "dataset"]
    made = [one for one in shown.values() if any(s.node == run.node.digest and s.role == "made_by"
                                                 for s in one.node.sources)]  # fmt: skip
    origins = {s.node: shown[s.node] for one in sets for s in one.node.sources if s.node in shown}
    chosen = sets[0].document["at"] if sets else told["at"]
    trained = made[0].document["at"] if made else told["ended_at"] or chosen
    ended = told["ended_at"] or trained
    events = _pair("curation", told["name"], graph, origin, (told["at"], chosen), list(origins.values()), sets)
    if not made:
        return events
    train = [one for one in sets if one.document["role"] == "train"]
    held = [one for one in sets if one.document["role"] != "train"]
    events += _pair("training", told["name"], graph, origin, (chosen, trained), [*train, *others], made)
    if told["state"] in FINAL:
        events += _pair("evaluation", told["name"], graph, origin, (trained, ended), [*held, *made], [])
    if told["state"] == "promoted":
        events += _pair("promotion", told["name"], graph, origin, (ended, ended), made, [])
    return events


def _pair(
    step: str, run: str, graph: Graph, origin: str, times: tuple[str, str], inputs: Sequence[Shown],
    outputs: Sequence[Shown],
) -> "list[RunEvent]":  # fmt: skip
    """START and COMPLETE of one step. A step of a run has an id of its own and the run as its parent."""
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
    from openlineage.client.generated.job_type_job import JobTypeJobFacet
    from openlineage.client.generated.nominal_time_run import NominalTimeRunFacet
    from openlineage.client.generated.parent_run import Job as ParentJob
    from openlineage.client.generated.parent_run import ParentRunFacet
    from openlineage.client.generated.parent_run import Run as ParentRun

    model = graph.model.name
    kind = JobTypeJobFacet(processingType="BATCH", integration="ASSAY", jobType=step.upper())
    parent = ParentRunFacet(run=ParentRun(runId=run), job=ParentJob(namespace=origin, name=f"{model}.retrain"))
    facets: dict[str, Any] = {"nominalTime": NominalTimeRunFacet(nominalStartTime=times[0], nominalEndTime=times[1])}
    if step != "reporting":
        facets["parent"] = parent
    return [
        RunEvent(
            eventType=state, eventTime=at, run=Run(runId=str(uuid5(UUID(run), step)), facets=facets),
            job=Job(namespace=origin, name=f"{model}.{step}", facets={"jobType": kind}), producer=PRODUCER,
            inputs=[InputDataset(**_named(one, origin, model)) for one in inputs],
            outputs=[OutputDataset(**_named(one, origin, model)) for one in outputs if state == RunState.COMPLETE],
        )
        for state, at in ((RunState.START, times[0]), (RunState.COMPLETE, times[1]))
    ]  # fmt: skip


def _named(one: Shown, origin: str, model: str) -> dict[str, Any]:
    from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet
    from openlineage.client.generated.documentation_dataset import DocumentationDatasetFacet

    told = one.document
    version = str(told.get("digest") or told.get("adapter") or one.node.digest)
    facets: dict[str, Any] = {"version": DatasetVersionDatasetFacet(datasetVersion=version)}
    if words := _words(told):
        facets["documentation"] = DocumentationDatasetFacet(description=words)
    return {"namespace": origin, "name": f"{model}/{told['kind']}/{told['name']}", "facets": facets}


def _words(told: Mapping[str, Any]) -> str:
    declared = told["declared"] or {}
    parts = [f"{name} {declared[name]}" for name in ("licence", "consent") if declared.get(name)]
    return f"{told['kind']} {told['name']}" + (f": {', '.join(parts)}" if parts else "")


def lines(graph: Graph, origin: str) -> Iterator[bytes]:
    """One event a line, as the client writes them."""
    from openlineage.client.serde import Serde

    for event in run_events(graph, origin):
        yield Serde.to_json(event).encode() + b"\n"
