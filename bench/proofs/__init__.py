"""Cases of the benches about proof: the ledger, what it binds, and attacks on both."""
