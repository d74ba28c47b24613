"""Retrain a model inside its envelope: triggers, curation, training, gates, registry."""
