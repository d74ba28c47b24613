"""Texts to vectors by a sentence-transformers model, in a process of its own."""
