"""Fairness in training: rows that count otherwise, and answers decided otherwise, each with its trade-off curve."""
