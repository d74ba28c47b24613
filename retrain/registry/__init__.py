"""Versions and stages of a model; the only code that makes a champion."""
