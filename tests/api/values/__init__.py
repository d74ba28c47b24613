"""One rule of equality and missing on every route."""
