"""Cell matrices of every common format, validated once, and whether they hold counts or log-scale values.

Dimension letters: C cells, G genes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.io.matrix_formats import read_matrix
from grn_cotrain.data.vocab import MODALITIES, is_ensembl_id, name_some
from grn_cotrain.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import anndata

__all__ = ["CountsFile", "ValueKind", "detect_value_kind", "load_counts", "read_counts"]

logger = logging.getLogger(__name__)

ValueKind = Literal["counts", "log"]

_LARGEST_LOG = 50.0  # log1p of 2e21: larger values are on no log scale
_ID_COLUMNS = ("gene_ids", "ensembl_id", "gene_id", "ensembl", "ensembl_ids", "feature_id")
_SYMBOL_COLUMNS = ("gene_symbols", "gene_symbol", "symbol", "gene_name", "gene_names", "feature_name")
_TYPE_COLUMNS = ("feature_types", "feature_type", "modality")
_MODALITY_OF = {
    "gene expression": "gene",
    "gene": "gene",
    "gex": "gene",
    "antibody capture": "protein",
    "protein": "protein",
    "adt": "protein",
    "peaks": "peak",
    "peak": "peak",
    "atac": "peak",
}


@dataclass
class CountsFile:
    """A validated matrix.

    Attributes
    ----------
    adata
        ``X`` CSR float32 ``[C, G]``; ``var_names`` unique; ``var["gene_ids"]`` Ensembl ids or ``""``;
        ``var["modality"]`` gene, peak or protein; ``obs`` as in the file.
    kind
        ``counts`` or ``log``.
    notes
        What a user must hear: what was detected, renamed or left out.
    renamed
        ``(name in the file, name now)``.
    """

    adata: anndata.AnnData
    kind: ValueKind
    notes: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)


def read_counts(path: str | Path, layer: str | None = None) -> anndata.AnnData:
    """Read and validate a matrix; see :func:`load_counts`. ``uns["grn_cotrain"]`` says counts or log, and the notes."""
    counts = load_counts(path, layer)
    for note in counts.notes:
        logger.info("%s: %s", path, note)
    counts.adata.uns["grn_cotrain"] = {"kind": counts.kind, "notes": counts.notes}
    return counts.adata


def load_counts(path: str | Path, layer: str | None = None) -> CountsFile:
    """Read cells x genes from h5ad, 10x h5, a folder of Matrix Market files, or a CSV/TSV table.

    Parameters
    ----------
    path
        The file or folder; the format is told by its content.
    layer
        h5ad only: a layer instead of ``X``; ``raw`` for ``adata.raw``.

    Raises
    ------
    UserError
        Missing, damaged or empty file; no such layer; NaN, infinite or negative values; values that are neither counts
        nor on a log scale; duplicated barcodes; duplicated gene names that no Ensembl ids tell apart.
    """
    raw, notes = read_matrix(path, layer)
    if raw.n_obs == 0 or raw.n_vars == 0:
        raise UserError(f"counts '{path}': holds {raw.n_obs} cells x {raw.n_vars} genes; give a matrix with content")
    values_CG = _validated(raw.X, path)
    kind, reason = _kind_and_reason(values_CG.data, f"counts '{path}'")
    notes.append(f"values are {'raw counts' if kind == 'counts' else 'on a log scale, not counts'}: {reason}")
    _refuse_repeated_barcodes(raw.obs_names, path)
    var, renamed, more = _features(raw.var, path)
    empty_C = np.diff(values_CG.indptr) == 0
    if empty_C.all():
        raise UserError(f"counts '{path}': every cell is empty; give the layer that holds the counts (--layer)")
    obs = raw.obs.copy()
    if empty_C.any():
        names = list(raw.obs_names[empty_C])
        more.append(f"{len(names):,} cells without any count were left out: {name_some(names, 3)}")
        values_CG, obs = values_CG[~empty_C], obs[~empty_C]
    import anndata

    adata = anndata.AnnData(X=values_CG, obs=obs, var=var)
    return CountsFile(adata, kind, notes + more, renamed)


def detect_value_kind(X: Any, what: str = "counts") -> ValueKind:
    """Whether a matrix holds raw counts or log-scale values.

    Whole numbers are counts. Other values are on a log scale if none exceeds 50. Anything else (TPM, corrected counts,
    scaled values) is an error: guessing would be silent harm.
    """
    return _kind_and_reason(X.data if sparse.issparse(X) else np.asarray(X).ravel(), what)[0]


def _kind_and_reason(values_N: np.ndarray, what: str) -> tuple[ValueKind, str]:
    largest = float(values_N.max(initial=0.0))
    if np.array_equal(values_N, np.rint(values_N)):
        return "counts", f"whole numbers up to {largest:,.0f}"
    if largest <= _LARGEST_LOG:
        return "log", f"fractions, at most {largest:.4g}"
    raise UserError(
        f"{what}: values are neither raw counts nor on a log scale (fractions up to {largest:,.6g}); "
        "give raw counts, or log1p-transformed values"
    )


def _validated(X: Any, path: str | Path) -> sparse.csr_matrix:
    """CSR float32, sorted and without stored zeros; NaN, infinite and negative values refused."""
    if X is None:
        raise UserError(f"counts '{path}': X is empty; name a layer with --layer")
    values_CG = sparse.csr_matrix(X, dtype=np.float32)
    for trouble, bad_N in (
        ("NaN", np.isnan(values_CG.data)),
        ("infinite", np.isinf(values_CG.data)),
        ("negative", values_CG.data < 0),
    ):
        if bad_N.any():
            cells = np.unique(np.searchsorted(values_CG.indptr, np.flatnonzero(bad_N), side="right")).size
            fix = (
                "give raw counts or log1p values, not scaled ones" if trouble == "negative" else "repair or remove them"
            )
            raise UserError(f"counts '{path}': {int(bad_N.sum()):,} {trouble} values in {cells:,} cells; {fix}")
    values_CG.sum_duplicates()
    values_CG.eliminate_zeros()
    return values_CG


def _refuse_repeated_barcodes(names: pd.Index, path: str | Path) -> None:
    repeated = list(dict.fromkeys(names[names.duplicated()]))
    if repeated:
        raise UserError(
            f"counts '{path}': {len(repeated):,} cell names occur more than once ({name_some(repeated, 3)}); "
            "make them unique (adata.obs_names_make_unique())"
        )


def _text_column(var: pd.DataFrame, names: tuple[str, ...]) -> list[str] | None:
    lower = {str(column).lower(): column for column in var.columns}
    found = next((lower[name] for name in names if name in lower), None)
    if found is None:
        return None
    return ["" if pd.isna(value) else str(value) for value in var[found]]


def _features(var: pd.DataFrame, path: str | Path) -> tuple[pd.DataFrame, list[tuple[str, str]], list[str]]:
    """Names, Ensembl ids and modality of the columns; symbols preferred, ids where a symbol is taken."""
    given = [str(name) for name in var.index]
    ids = _text_column(var, _ID_COLUMNS) or [name if is_ensembl_id(name) else "" for name in given]
    names, notes = list(given), []
    symbols = _text_column(var, _SYMBOL_COLUMNS)
    if symbols is not None and sum(map(is_ensembl_id, given)) > 0.5 * len(given):
        ids = [name if is_ensembl_id(name) else known for name, known in zip(given, ids, strict=True)]
        names = [symbol or name for symbol, name in zip(symbols, given, strict=True)]
        notes.append("genes are named by Ensembl ids; the file's symbols were taken")
    types = _text_column(var, _TYPE_COLUMNS) or ["gene"] * len(given)
    modality = [_MODALITY_OF.get(value.lower(), "") for value in types]
    if "" in modality:
        strange = types[modality.index("")]
        raise UserError(
            f"counts '{path}': feature type '{strange}' is unknown{did_you_mean(strange.lower(), _MODALITY_OF)}; "
            f"remove those features (known: {', '.join(MODALITIES)})"
        )
    names, doubled = _tell_apart(names, ids, modality, path)
    if doubled:
        notes.append(f"{len(doubled):,} repeated symbols took their Ensembl ids: {name_some(doubled, 3)}")
    new = pd.DataFrame({"gene_ids": ids, "modality": modality}, index=pd.Index(names, dtype=object))
    return new, [(old, name) for old, name in zip(given, names, strict=True) if old != name], notes


def _tell_apart(names: list[str], ids: list[str], modality: list[str], path: str | Path) -> tuple[list[str], list[str]]:
    """Give later bearers of a repeated symbol their Ensembl id as a name (10x matrices have some); else refuse."""
    seen: set[tuple[str, str]] = set()
    result, doubled, hopeless = [], [], []
    taken = set(names)
    for name, known, kind in zip(names, ids, modality, strict=True):
        if (kind, name) in seen:
            doubled.append(name)
            if not known or known in taken:
                hopeless.append(name)
            name = known
            taken.add(name)
        seen.add((kind, name))
        result.append(name)
    if hopeless:
        repeated = list(dict.fromkeys(hopeless))
        raise UserError(
            f"counts '{path}': {len(repeated):,} gene names occur more than once ({name_some(repeated, 3)}); "
            "sum or remove them, or make them unique (adata.var_names_make_unique())"
        )
    return result, doubled
