"""Binds every row that people are shown to a ledger entry of its time, and holds the stored rows against the ledger."""
