"""Packages that send traces of model calls: run for real against a local model, and replayed from what they sent."""
