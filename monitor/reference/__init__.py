"""The reference: choose its rows, cut and fit them, store its block profiles."""
