"""Tensors that a base lacks, found by their names alone: the library would make them at random and say so nowhere.

What can be told without building the model: layers of one stack hold the same tensors, a model with layers has a table
of words and the last norm of its class, and a head that answers has all linear layers of its class.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from retrain.base_library import backbone_of, source_of
from retrain.base_weights import Shapes, wrong

EMBEDDING: Final = re.compile(
    r"(embed_tokens|tokens_embed|word_embeddings?|wte|embed_in|input_embedding|tok_embeddings|shared|(^|\.)embeddings"
    r"|^transformer\.w)\.weight$"
)
LAYER: Final = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
FEW: Final = 2  # a layer that lacks more than so many tensors is one of another kind
LAST_NORM: Final = re.compile(r"self\.(norm|ln_f|final_layernorm) = [\w.]*Norm\(")
LINEAR: Final = re.compile(r"self\.(\w+) = nn\.Linear\(")
PART: Final = re.compile(r"self\.(\w+) = (\w+)\(config\)")


def check_whole(shapes: Shapes, model_type: str, head: str | None, folder: Path) -> None:
    """Refuse files that lack a tensor.

    Args:
        shapes: of the tensors, by name.
        head: class whose saved head answers; None where a new one is made.

    Raises:
        BaseModelError: names what is missing.
    """
    if not any(LAYER.search(name) for name in shapes):  # nothing to tell it from
        return
    source = source_of(model_type)
    found = [*_of_layers(shapes, source), *_around(shapes, source)]
    if head is not None:
        found += _of_head(shapes, source, head, backbone_of(model_type))
    if found:
        raise wrong(folder, f"has no {', '.join(sorted(found)[:3])}, which would be made at random; copy every file "
                    "again, or save the whole model")  # fmt: skip


def _of_layers(shapes: Shapes, source: str) -> Iterator[str]:
    """Tensors that one layer lacks and every other layer of its stack has."""
    stacks: Mapping[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in shapes:
        if match := LAYER.search(name):
            stacks[name[: match.start(1)]][int(match[1])].add(name[match.end() :])
    for stack, layers in stacks.items():
        for number, there in layers.items():
            others = [names for other, names in layers.items() if other != number]
            if not others or (number == 0 and "nn.Identity()" in source):  # a first layer without its norm
                continue
            lacking = set.intersection(*others) - there
            if len(lacking) <= FEW and there < set.union(*others):
                yield from (f"{stack}{number}.{name}" for name in lacking)


def _around(shapes: Shapes, source: str) -> Iterator[str]:
    """The table of words, and the norm behind the last layer."""
    if not any(EMBEDDING.search(name) for name in shapes):
        yield "table of words"
    for name, body in _classes(source):
        if name.endswith("Model") and (norm := LAST_NORM.search(body)):
            outside = [one for one in shapes if not LAYER.search(one)]
            if not any(re.search(rf"(^|\.){norm[1]}\.weight$", one) for one in outside):
                yield f"{norm[1]}.weight"
            return


def _of_head(shapes: Shapes, source: str, head: str, backbone: str) -> Iterator[str]:
    """Linear layers of the class of a head, and of its parts."""
    bodies = dict(_classes(source))
    body = bodies.get(head, "")
    wanted = list(LINEAR.findall(body))
    for part, kind in PART.findall(body):
        below = bodies.get(kind, "")
        if part != backbone:
            wanted += [f"{part}.{name}" for name in LINEAR.findall(below)]
        elif "self.pooler = " in below:
            wanted.append("pooler")
    for name in wanted:
        if not any(re.search(rf"(^|\.){re.escape(name)}\.", one) for one in shapes):
            yield f"{name}.weight"


def _classes(source: str) -> Iterator[tuple[str, str]]:
    """Name and text of each class of a module."""
    starts = list(re.finditer(r"^class (\w+)", source, re.MULTILINE))
    for at, match in enumerate(starts):
        yield match[1], source[match.start() : starts[at + 1].start() if at + 1 < len(starts) else None]
