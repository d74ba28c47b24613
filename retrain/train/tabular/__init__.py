"""Tabular models: typed columns, a declared pipeline, an estimator in its library's own file or in skops, no pickle."""
