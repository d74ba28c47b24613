"""The colours of charts."""

from collections.abc import Mapping
from typing import Final

# Okabe-Ito where a colour carries meaning; greys elsewhere. The CSS variables are set in api/pages/static/assay.css.
COLOURS: Final[Mapping[str, str]] = {
    "--chart-ink": "#202124",
    "--chart-muted": "#5c6066",
    "--chart-grid": "#e4e4e1",
    "--chart-series": "#0072b2",
    "--chart-alarm": "#d55e00",
    "--chart-version": "#9a4f7c",
    "--chart-second": "#e69f00",
}
INK, MUTED, GRID, SERIES, ALARM, VERSION, SECOND = COLOURS.values()
