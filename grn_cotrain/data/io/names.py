"""Tables of gene names that a user gives: old symbols -> current ones, genes -> those of the other species.

A gene is never guessed: names that could mean several genes are left alone (aliases) or left out (orthologs), counted
and named.
"""

from __future__ import annotations

from grn_cotrain.data.io.aliases import AliasTable
from grn_cotrain.data.io.name_tables import Renamed, TargetSpecies
from grn_cotrain.data.io.orthologs import ORTHOLOG_POLICIES, OrthologTable

__all__ = ["ORTHOLOG_POLICIES", "AliasTable", "OrthologTable", "Renamed", "TargetSpecies"]
