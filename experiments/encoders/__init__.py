"""What the studies of encoders share: systems and their sizes, worlds, and one process a row."""
