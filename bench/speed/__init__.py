"""Parts of the drift bench: rows, the work of one process, verdicts from stored profiles, and the law of growth."""
