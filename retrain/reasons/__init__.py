"""Reasons of single decisions and attributions over time, from attributions of rows of typed columns."""
