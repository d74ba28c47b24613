"""Tests of retrain/registry."""
