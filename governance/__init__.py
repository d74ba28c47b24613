"""Proof and rights: the ledger, its verifier, who may do what, and erasure requests."""
