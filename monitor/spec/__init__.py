"""The model spec that a user declares: its sections, their checks, and the parser. Pure."""
