"""The event store: accept rows, log them durably, flush them to the lake, read them back."""
