"""What everything else is built on: settings, errors, database, clock, canonical JSON, jobs, artifacts, logs."""
