"""`assay replay`: judge a file of history through the real path, with the clock driven by event time."""
