"""Parsing of users' files: cells, edge lists, tables of names; counts-or-log detection."""

CELL_FORMATS = "h5ad, h5mu, loom, zarr, 10x h5, a folder with mtx, CSV or TSV (also compressed, in a zip or in a tar)"
"""Formats of cells that can be read, for help texts and errors."""
