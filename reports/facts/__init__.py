"""The facts of a report and the sentences that state them, each with its ledger entry."""
