"""`assay init`: a first spec from a file, a table or a trace. What it cannot know it asks, as comments in the spec."""
