"""Shared parts of the studies of encoders: systems and their sizes, worlds, and one process a row."""
