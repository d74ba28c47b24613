"""Explanations of single decisions, with the version that made each; kept as artifacts."""
