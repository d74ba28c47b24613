"""Searching events: filters over columns, outcomes and time, pages of rows, counts over time, and similar decisions."""
