"""Fuzzing for as long as you like, by `make fuzz`: what no suite has time for."""
