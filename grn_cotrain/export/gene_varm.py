"""Gene embeddings added to a user's own genes: ``varm`` of an AnnData, aligned by name.

Dimension letters: N features of the user's object, G rows of the embeddings, D width.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grn_cotrain.apply.read import tables_of
from grn_cotrain.data.alignment import AlignmentReport, name_some
from grn_cotrain.data.io.features import NameTables, resolve_features
from grn_cotrain.data.io.matrix_formats import HDF5_MAGIC
from grn_cotrain.data.io.names import TargetSpecies
from grn_cotrain.data.io.storage_errors import reading
from grn_cotrain.data.io.write_h5ad import write_h5ad
from grn_cotrain.errors import UserError
from grn_cotrain.export.annotate import annotate, refuse_taken
from grn_cotrain.export.gene_frame import GeneEmbeddings
from grn_cotrain.files import atomic_file, refuse_input
from grn_cotrain.jobs.genes import IntoOptions
from grn_cotrain.options import keywords

if TYPE_CHECKING:
    import anndata

__all__ = ["annotate_genes", "write_varm"]


@keywords(IntoOptions)
def annotate_genes(adata: anndata.AnnData, embeddings: GeneEmbeddings, options: IntoOptions) -> list[str]:
    """Write embeddings into ``adata.varm[key_added]``, float32 ``[N, D]``, in the order of ``adata.var_names``.

    A feature is found by its name, or else by an id or symbol in ``var`` (columns such as ``gene_ids``). Features
    without an embedding get NaN: a row of zeros would be a point of the space, with neighbours and a distance to every
    gene, and would pass for a gene; NaN can't be mistaken and can be filtered.

    With groups (``contextual`` embeddings ``by`` a column) each group has a key of its own, ``KEY_GROUP``.

    Parameters
    ----------
    adata
        Changed in place: ``varm`` and ``uns["grn_cotrain"]``, nothing else, and only if all went well.
    embeddings
        From :func:`~grn_cotrain.export.genes.gene_embeddings`.
    {options}

    Returns
    -------
    list of str
        Lines to report: how many features were mapped, renamed, duplicated or lost, by name.

    Raises
    ------
    UserError
        No feature has an embedding; another species; a key is taken and ``overwrite`` is False.
    """
    frame, rows_GD = embeddings.frame, embeddings.matrix()
    groups = pd.unique(frame["group"].astype(str)) if "group" in frame else np.array([""])
    keys = {
        str(group): f"{options.key_added}_{group}".replace("/", "_") if group else options.key_added for group in groups
    }
    if len(set(keys.values())) < len(keys):
        raise UserError(f"--by: groups would share a key of varm ({name_some(sorted(keys.values()))}); rename them")
    refuse_taken(adata, "varm", list(keys.values()), overwrite=options.overwrite)
    vocab = embeddings.vocab()
    target: TargetSpecies | None = {"human": "human", "mouse": "mouse"}.get(embeddings.species)  # type: ignore[assignment]
    tables = NameTables(**tables_of(options), to_species=target)
    index_N, report, said = _align(adata.var, embeddings, tables)
    notes = [*said, f"genes of the file: {report.summary()}"]
    origin: dict[str, Any] = {
        **embeddings.metadata(),
        "what": "gene embeddings",
        "features_given": report.num_given,
        "features_mapped": report.mapped,
        "features_lost": report.lost,
    }
    row_of_gene = pd.MultiIndex.from_arrays([vocab.modality, vocab.symbols])
    results: dict[str, tuple[np.ndarray, dict[str, Any]]] = {}
    for group, key in keys.items():
        mine = np.flatnonzero(frame["group"].astype(str) == group) if "group" in frame else np.arange(len(frame))
        table_GD = np.full((len(vocab), rows_GD.shape[1]), np.nan, np.float32)
        part = frame.iloc[mine]
        table_GD[row_of_gene.get_indexer(pd.MultiIndex.from_frame(part[["modality", "symbol"]]))] = rows_GD[mine]
        values_ND = np.full((adata.n_vars, rows_GD.shape[1]), np.nan, np.float32)
        values_ND[index_N >= 0] = table_GD[index_N[index_N >= 0]]
        empty_N = np.isnan(values_ND).all(axis=1)
        if empty_N.any():
            named = name_some(list(map(str, adata.var_names[empty_N])), 5)
            notes.append(
                f"varm '{key}': {int(empty_N.sum()):,} features have no embedding, their rows are NaN: {named}"
            )
        results[key] = (values_ND, {**origin, **({"group": group} if group else {})})
    for key, (values_ND, about) in results.items():
        annotate(adata, "varm", key, values_ND, about)
    return notes


def _align(
    var: pd.DataFrame, embeddings: GeneEmbeddings, tables: NameTables
) -> tuple[np.ndarray, AlignmentReport, list[str]]:
    """Row of the embeddings' vocabulary of each feature, -1 where it has none; the report; what the reader noted.

    Features of one gene keep its embedding, all of them: it describes the gene, not the column.
    """
    vocab = embeddings.vocab()
    features = resolve_features(var, "genes of the file", tables=tables)
    names = [str(name) for name in features.var.index]
    modality = features.var["modality"].to_numpy(dtype=object)
    index_K = np.full(len(names), -1, dtype=np.int64)
    report = AlignmentReport(num_given=len(var), lost=list(features.report.lost))
    for kind in pd.unique(modality):
        mine = np.flatnonzero(modality == kind)
        given = [
            names[k] if vocab.get(names[k], kind) is not None else features.var["gene_ids"].iloc[k] or names[k]
            for k in mine
        ]
        part = vocab.align(given, min_mapped=0.0, what=f"{kind}s of the file", modality=kind, repeats="keep")
        index_K[mine] = part.index_N
        report.mapped += part.report.mapped
        for field in ("renamed", "duplicated", "lost"):
            getattr(report, field).extend(getattr(part.report, field))
    if report.mapped == 0:
        raise UserError(
            f"genes of the file: none of {len(names):,} ({name_some(names, 3)}) has an embedding among"
            f" {len(vocab):,} ({name_some(vocab.symbols, 3)}); {vocab.diagnose(report.lost, 'the file')}"
        )
    index_N = np.where(features.column_N >= 0, index_K[features.column_N], -1)
    return index_N, report, list(features.notes)


def write_varm(embeddings: GeneEmbeddings, path: Path, cells: str | Path, options: IntoOptions) -> list[str]:
    """Write a copy of the h5ad ``cells`` with the embeddings in ``varm``; return the lines to print."""
    import anndata

    cells = Path(cells)
    refuse_input(path, cells)
    if path.suffix != ".h5ad":
        raise UserError(f"--out '{path}': --format varm writes h5ad; give a name that ends in .h5ad")
    if not cells.is_file():
        raise UserError(f"CELLS '{cells}': no such file; give an h5ad")
    with reading(f"CELLS '{cells}'"):
        with cells.open("rb") as handle:
            if handle.read(len(HDF5_MAGIC)) != HDF5_MAGIC:
                raise UserError(f"CELLS '{cells}': is not a readable h5ad (it is not HDF5); give an h5ad")
        adata = anndata.read_h5ad(cells)
    with atomic_file(path) as temporary:
        notes = annotate_genes(adata, embeddings, options=options)
        notes += write_h5ad(adata, temporary)
    return notes
