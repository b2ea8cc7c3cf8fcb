"""Any matrix of gene features that the user brings: motif, protein or text vectors.

Dimension letters: F features, G genes, N names given.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from grn_cotrain.data.vocab import AlignmentReport, FeatureVocab, name_some
from grn_cotrain.errors import UserError
from grn_cotrain.nn.features.base import FEATURE_SOURCES, FeatureContext, FeatureSource, standardised, unit_block

__all__ = ["MatrixFeatures", "align_feature_matrix", "read_feature_matrix"]

_LOGGER = logging.getLogger(__name__)


@FEATURE_SOURCES.register("matrix", paper="user's file (`feature_matrix`)")
class MatrixFeatures(FeatureSource):
    """Columns of a file, standardised over the genes that have a row; the others are marked in a last column.

    Parameters
    ----------
    config
        No options; the recipe's ``model.table.feature_matrix`` names the file.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def features(self, context: FeatureContext) -> np.ndarray:
        """See :class:`FeatureSource`."""
        if context.feature_matrix is None:
            raise UserError(
                "inductive 'matrix': feature_matrix is not set; give a parquet, tsv, csv or npy file of gene features"
            )
        frame = read_feature_matrix(context.feature_matrix)
        values_GF, _ = align_feature_matrix(frame, context.vocab, what=f"genes of {Path(context.feature_matrix).name}")
        return values_GF


def read_feature_matrix(path: str | Path) -> pd.DataFrame:
    """Read gene features: one row a gene (index: names), float64 columns.

    ``.parquet`` (names in the index, or in a first column of text), ``.tsv`` / ``.txt`` / ``.csv``, plain or ``.gz``
    (first row: column names, first column: gene names), or ``.npy`` with the names, one a line, in a file of the same
    name ending ``.genes.txt``.

    Raises
    ------
    UserError
        No such file, an unknown ending, a file that can't be read, a column that is not numeric, NaN or infinity.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"feature_matrix '{path}': no such file; give a parquet, tsv, csv or npy file of gene features")
    ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    try:
        frame = _READERS[ending.lower().removesuffix(".gz")](path)
    except KeyError:
        raise UserError(
            f"feature_matrix '{path}': ending '{ending}' is not read; give .parquet, .tsv, .csv or .npy"
        ) from None
    except (OSError, ValueError, EOFError, zlib.error) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"feature_matrix '{path}': cannot be read ({error}); write the file again") from None
    if frame.shape[1] == 0 or len(frame) == 0:
        raise UserError(
            f"feature_matrix '{path}': {frame.shape[0]} rows and {frame.shape[1]} columns; give a gene a row"
        )
    words = [str(column) for column in frame.columns if not pd.api.types.is_numeric_dtype(frame[column])]
    if words:
        raise UserError(f"feature_matrix '{path}': columns that are not numbers: {name_some(words)}; leave them out")
    frame = frame.astype(np.float64)
    broken_N = ~np.isfinite(frame.to_numpy()).all(axis=1)
    if broken_N.any():
        names = [str(name) for name in frame.index[broken_N]]
        raise UserError(
            f"feature_matrix '{path}': NaN or infinity in {len(names):,} rows ({name_some(names)}); leave them out"
        )
    return frame


def align_feature_matrix(
    frame: pd.DataFrame, vocab: FeatureVocab, *, what: str = "genes of the feature matrix"
) -> tuple[np.ndarray, AlignmentReport]:
    """Bring rows into vocabulary order; report, by name, what was lost and which genes have no row.

    Returns
    -------
    values_GF
        float32; columns standardised over the genes that have a row, and a last column that is 1 for genes without one
        (there only if there are such genes).
    report
        Report of the file's names.

    Raises
    ------
    UserError
        No name of the file is in the vocabulary.
    """
    # A small share mapped does not cause a refusal: a matrix of all proteins is welcome where 800 genes were measured.
    alignment = vocab.align([str(name) for name in frame.index], min_mapped=0.0, what=what)
    found_N = alignment.index_N >= 0
    if not found_N.any():
        raise UserError(
            f"{what}: none of {len(found_N):,} names ({name_some(alignment.report.lost)}) is in the vocabulary; "
            "name rows by gene symbol or Ensembl id of the same species"
        )
    values_GF = np.zeros((vocab.num_features, frame.shape[1]))
    # A unit block, so that the column of missing genes below is not drowned by a thousand others.
    values_GF[alignment.index_N[found_N]] = unit_block(standardised(frame.to_numpy(dtype=np.float64)[found_N]))
    missing_G = np.ones(vocab.num_features, dtype=bool)
    missing_G[alignment.index_N[found_N]] = False
    _LOGGER.info("%s: %s", what, alignment.report.summary())
    if missing_G.any():
        names = [vocab.symbols[gene] for gene in np.flatnonzero(missing_G)]
        _LOGGER.warning(
            "%s: %d of %d genes have no features (%s); they are marked in a column of their own",
            what, len(names), vocab.num_features, name_some(names),
        )  # fmt: skip
        values_GF = np.column_stack([values_GF, missing_G])
    return values_GF.astype(np.float32), alignment.report


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    first_is_text = frame.shape[1] > 0 and not pd.api.types.is_numeric_dtype(frame.iloc[:, 0])
    return frame.set_index(frame.columns[0]) if isinstance(frame.index, pd.RangeIndex) and first_is_text else frame


def _read_text(path: Path) -> pd.DataFrame:
    separator = "," if ".csv" in path.suffixes else "\t"
    # Gene names are never missing values: "NA" and "NAN" are read as written.
    names = pd.read_csv(path, sep=separator, usecols=[0], dtype=str, keep_default_na=False).iloc[:, 0]
    frame = pd.read_csv(path, sep=separator, index_col=0)
    return frame.set_index(pd.Index(names, name=frame.index.name))


def _read_npy(path: Path) -> pd.DataFrame:
    values_NF = np.load(path, allow_pickle=False)
    names_file = path.with_suffix(".genes.txt")
    if not names_file.is_file():
        raise UserError(f"feature_matrix '{path}': it holds no gene names; write them, one a line, to '{names_file}'")
    names = [line.strip() for line in names_file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if values_NF.ndim != 2 or len(values_NF) != len(names):
        raise UserError(f"feature_matrix '{path}': shape {values_NF.shape} for {len(names)} names; give a row a name")
    return pd.DataFrame(values_NF, index=names, columns=[f"f{i}" for i in range(values_NF.shape[1])])


_READERS = {".parquet": _read_parquet, ".tsv": _read_text, ".txt": _read_text, ".csv": _read_text, ".npy": _read_npy}
