"""OpenTelemetry spans as rows of a model: decode, map, join, answer."""
