"""What everything else stands on: settings, errors, database, clock, canonical JSON, jobs, artifacts, logs."""
