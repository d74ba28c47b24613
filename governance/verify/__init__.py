"""The independent verifier: logs, entries, bundles and lakes checked from bytes alone."""
