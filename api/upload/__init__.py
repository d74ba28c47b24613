"""`assay ingest`: read files, match their columns to a spec and send them in resumable batches."""
