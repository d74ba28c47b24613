"""The picture of a lineage: our own SVG, every node a link. Colours and fonts are those of the style sheet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from reports.lineage.layout import BETWEEN, HEIGHT, LANES, WIDTH, Box, Layout, laid_out, path_of

MOST: Final = 120  # nodes in one picture
LETTERS: Final = 23  # of a name that fit into a node
LANE: Final[Mapping[str, int]] = {
    "events": 0, "base_model": 0, "dataset": 1, "run": 2, "version": 3, "report": 4, "explanation": 4,
}  # fmt: skip
NAMES: Final = ("Sources", "Chosen sets", "Run", "Version", "Made of it")


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, and how many nodes it leaves out."""

    svg: Markup
    shown: int
    left_out: int


def drawn(
    nodes: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]], names: Mapping[str, str],
    links: Mapping[str, str], focus: str | None,
) -> Drawn:  # fmt: skip
    """
    Args:
        nodes: sources before what was made from them.
        names, links: what a node is called, and where it leads, by digest.
        focus: digest of the node that was asked for.
    """
    chosen = _chosen(nodes, focus)
    boxes, pairs = _boxes(chosen, edges), [(e["from"], e["to"]) for e in edges]
    layout = laid_out(boxes, pairs)
    parts = [_lane(i) for i in range(len(LANES)) if any(box.lane == i for box in boxes)]
    parts += [_edge(e, layout) for e in edges if e["from"] in layout.places and e["to"] in layout.places]
    kinds = {node["node"]: node for node in chosen}
    parts += [_node(kinds[box.key], layout, names, links, focus) for box in boxes]
    svg = Markup(
        '<svg class="graph" viewBox="-2 0 {w} {h}" width="{w}" height="{h}" role="group" '
        'aria-label="What was made from what; the same nodes are in the list below">{parts}</svg>'
    ).format(w=layout.width + 4, h=layout.height, parts=Markup("").join(parts))
    return Drawn(svg, len(chosen), len(nodes) - len(chosen))


def _chosen(nodes: Sequence[Mapping[str, Any]], focus: str | None) -> list[Mapping[str, Any]]:
    """The newest nodes that fit, the asked one among them; single explanations are left to the list first."""
    if len(nodes) <= MOST:
        return list(nodes)
    wanted = [n for n in nodes if n["kind"] in ("events", "base_model") or n["node"] == focus]
    rest = [n for n in nodes if n not in wanted]
    rest.sort(key=lambda n: n["kind"] == "explanation", reverse=True)
    kept = {n["node"] for n in (*wanted, *rest[-(max(0, MOST - len(wanted))) :])}
    return [n for n in nodes if n["node"] in kept][-MOST:]


def _boxes(nodes: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]]) -> list[Box]:
    """A block for each run, the newest on top: its sets, itself and its version."""
    kinds = {node["node"]: node["kind"] for node in nodes}
    block: dict[str, str] = {key: key for key, kind in kinds.items() if kind == "run"}
    for edge in edges:
        source, made = edge["from"], edge["to"]
        if kinds.get(made) == "run" and kinds.get(source) == "dataset":
            block.setdefault(source, made)
        elif kinds.get(source) == "run" and kinds.get(made) == "version":
            block[made] = source
    boxes = []
    for node in reversed(nodes):
        key, lane = node["node"], LANE[node["kind"]]
        if node["kind"] == "dataset" and key not in block:
            lane = 0  # a registered set is a source
        boxes.append(Box(key, lane, block.get(key, "")))
    return boxes


def _lane(i: int) -> Markup:
    return Markup('<text class="lane" x="{}" y="16">{}</text>').format(i * (WIDTH + BETWEEN), NAMES[i])


def _edge(edge: Mapping[str, Any], layout: Layout) -> Markup:
    source, made = layout.places[edge["from"]], layout.places[edge["to"]]
    kind = "edge" if made.x > source.x else "edge back"
    return Markup('<path class="{}" d="{}"><title>{}</title></path>').format(
        kind, path_of(source, made), str(edge["role"]).replace("_", " ")
    )


def _node(
    node: Mapping[str, Any], layout: Layout, names: Mapping[str, str], links: Mapping[str, str], focus: str | None
) -> Markup:
    key, kind = node["node"], str(node["kind"]).replace("_", " ")
    place, name = layout.places[key], names[key]
    state = " focus" if key == focus else ""
    state += " differs" if node["standing"] == "differs" else ""
    said = f"{kind} {name}" + (", differs from the ledger" if node["standing"] == "differs" else "")
    short = name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
    return Markup(
        '<a class="node {cls}{state}" href="{link}" aria-label="{said}"{current}><title>{said}</title>'
        '<rect x="{x:g}" y="{y:g}" width="{w}" height="{h}" rx="4"/>'
        '<text class="name" x="{tx:g}" y="{y1:g}">{short}</text>'
        '<text class="kind" x="{tx:g}" y="{y2:g}">{what}</text></a>'
    ).format(
        cls=str(node["kind"]).replace("_", "-"), state=state, link=links[key], said=said, x=place.x, y=place.y, w=WIDTH,
        h=HEIGHT, tx=place.x + 10, y1=place.y + 17, y2=place.y + 32, short=short, what=_what(node),
        current=Markup(' aria-current="true"') if key == focus else "",
    )  # fmt: skip


def _what(node: Mapping[str, Any]) -> str:
    """The second line of a node."""
    match node["kind"]:
        case "dataset":
            return f"{node['role']}, {node['rows_now']:,} rows"
        case "run":
            return f"run, {str(node['state']).replace('_', ' ')}"
        case "version":
            return f"version, {node['stage']}"
    return str(node["kind"]).replace("_", " ")
