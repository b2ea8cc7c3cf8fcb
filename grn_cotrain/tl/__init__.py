"""Tools on an AnnData, with the habits of the scverse: ``import grn_cotrain as gc; gc.tl.embed_cells(adata, run)``.

Functions that write into an AnnData add documented keys and nothing else: ``X``, ``layers``, ``obs`` and ``var`` are
never touched, a key that is there already is refused unless ``overwrite=True``, and ``uns["grn_cotrain"][KEY]`` records
where the values came from. With ``copy=True`` the object itself stays as it was and an annotated copy is returned.

An AnnData may be in memory, a view, or backed by its file (``backed="r"``), whose ``X`` is then read for the work. A
view becomes an object of its own when results are written into it, as anndata does it. A MuData, an AnnData whose
values are not computed yet (dask), and a view of a backed AnnData are refused, and the error names what works.

A ``run`` is a run folder, or ``hf://NAME/REPOSITORY`` on a model hub. Importing this package loads no torch: the
functions import what they need.
"""

from __future__ import annotations

from grn_cotrain.tl.annotate import annotate
from grn_cotrain.tl.embed_cells import embed_cells
from grn_cotrain.tl.embed_genes import embed_genes
from grn_cotrain.tl.generate import generate
from grn_cotrain.tl.infer_grn import infer_grn
from grn_cotrain.tl.perturb import perturb
from grn_cotrain.tl.score_edges import score_edges

__all__ = ["annotate", "embed_cells", "embed_genes", "generate", "infer_grn", "perturb", "score_edges"]
