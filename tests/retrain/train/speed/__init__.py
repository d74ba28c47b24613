"""Tests of retrain/train/speed."""
