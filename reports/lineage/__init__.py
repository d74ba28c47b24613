"""The graph of what was made from what, look-ups in both directions, and its exports in other tools' forms."""
