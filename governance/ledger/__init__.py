"""The ledger in the database: append, read, sign checkpoints, check itself."""
