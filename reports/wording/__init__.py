"""The sentences of pages and reports: the state of a model, answers, plans, gaps, definitions."""
