"""From request bodies to checked rows: formats, validation, redaction, quarantine."""
