"""Recipes to start from; once installed they are in the package ``grn_cotrain.recipes``."""
