"""Served models of typed columns, read from their files or asked over HTTP, so that their answers can be explained."""
