"""One Delta table on a local disk: commits, snapshots, scans, ids, compaction. Knows no model and no SQL."""
