"""Cases of `bench/retrain.py`, a module each."""
