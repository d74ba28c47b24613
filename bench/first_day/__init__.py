"""Traffic for docs/first-day.md: a credit model on a public table, and a chat bot with OpenTelemetry.

Neither is part of the benchmarks: a person uses them to try the first day by hand. The order of arrival is simulated.
"""
