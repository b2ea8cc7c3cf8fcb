"""Figures: each function draws on Axes and returns them; nothing is shown, and no setting of matplotlib is changed.

Functions take run folders or what was read from them. Save a figure with ``ax.figure.savefig(...)``, or take it into a
page with :func:`to_svg`.
"""

from __future__ import annotations

from grn_cotrain.pl.attention import attention
from grn_cotrain.pl.controls import controls
from grn_cotrain.pl.embedding_coordinates import embedding_coordinates
from grn_cotrain.pl.gene_embedding import gene_embedding
from grn_cotrain.pl.link_curves import link_curves
from grn_cotrain.pl.losses import losses
from grn_cotrain.pl.network import network
from grn_cotrain.pl.power import power
from grn_cotrain.pl.regulon import regulon
from grn_cotrain.pl.sparsity import sparsity
from grn_cotrain.pl.theme import to_svg

__all__ = [
    "attention",
    "controls",
    "embedding_coordinates",
    "gene_embedding",
    "link_curves",
    "losses",
    "network",
    "power",
    "regulon",
    "sparsity",
    "to_svg",
]
