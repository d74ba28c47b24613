"""Watch models: store events, profile them, judge windows, open alerts."""
