"""Windows: close, judge, correct and refresh them, with every reading behind a verdict."""
