"""Vocabulary, networks, splits, leak audit, cells and packed batches. No model code."""
