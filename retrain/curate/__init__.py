"""Which rows a run learns from, which judge it, and where each came from."""
