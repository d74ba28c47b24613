"""Explanations of rows of typed columns: which columns led to a model's answer, checked output by output."""
