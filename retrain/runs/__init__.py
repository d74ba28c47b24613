"""A run from the decision to its end: consider, curate, train, evaluate, approve, record."""
