"""`assay demo`: the whole loop on generated or labelled messages, on real parts."""
