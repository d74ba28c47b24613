"""Decide drift or no drift: block permutation test, other rules, and the words of a verdict. Pure."""
