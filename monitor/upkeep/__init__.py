"""Keep the lake in order: retention, compaction, exports, digests in the ledger, erasure."""
