"""Regime packs: what a law, rule or standard asks for, as data, and where a report has evidence for it."""
