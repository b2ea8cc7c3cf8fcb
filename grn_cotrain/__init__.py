"""grn_cotrain: gene regulatory networks inside single-cell pretraining."""

__all__ = ["__version__"]

__version__ = "0.1.0"
