"""Charts as plain records, Vega-Lite specifications and SVG. Knows no database."""
