"""Render a chart to SVG."""

import hashlib
import re
from functools import lru_cache
from typing import Final

from reports.charts.loss import loss_spec
from reports.charts.palette import COLOURS
from reports.charts.records import Theme, Timeline, Vega
from reports.charts.timeline import timeline_spec

_CLIP: Final = re.compile(r"\bclip\d+\b")


@lru_cache(maxsize=128)
def timeline_svg(timeline: Timeline, *, width: int = 960, theme: Theme = "page") -> str:
    """Small multiples on one time axis. Equal input gives equal bytes.

    Args:
        timeline: panels in the order they are drawn; a timeline without panels gives the lane of events alone.
        width: of the whole picture, px.
        theme: `page` colours by CSS variable, `print` literally.
    """
    return render(timeline_spec(timeline, width=width, theme=theme), theme)


@lru_cache(maxsize=32)
def loss_svg(losses: tuple[float, ...], *, width: int = 480, theme: Theme = "page") -> str:
    """The loss of each step; of a long run the mean of equal stretches, so that the picture stays small."""
    return render(loss_spec(losses, width=width, theme=theme), theme)


def _named_clips(svg: str) -> str:
    """Vega numbers its clip paths for as long as the process lives: two pictures on a page must not share a name, and
    equal pictures must be equal bytes, so they are numbered by place under a digest of the picture."""
    order = {name: i for i, name in enumerate(dict.fromkeys(_CLIP.findall(svg)))}
    bare = _CLIP.sub(lambda m: f"clip{order[m[0]]}", svg)
    prefix = "c" + hashlib.sha256(bare.encode()).hexdigest()[:10]
    return _CLIP.sub(lambda m: f"{prefix}-{order[m[0]]}", svg)


def render(spec: Vega, theme: Theme) -> str:
    import vl_convert

    svg = _named_clips(vl_convert.vegalite_to_svg(spec, vl_version="6.4"))
    if theme == "page":
        for name, colour in COLOURS.items():
            svg = svg.replace(f'"{colour}"', f'"var({name},{colour})"')
    return svg
