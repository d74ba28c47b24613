"""The facts of a report, gathered from the database, each with its ledger entry."""
