"""The cases of the fairness bench."""
