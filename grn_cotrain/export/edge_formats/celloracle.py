"""Format ``celloracle``: a base network for CellOracle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pandas as pd

from grn_cotrain.errors import UserError
from grn_cotrain.export.edge_formats.base import EDGE_FORMATS, EdgeFormat

if TYPE_CHECKING:
    from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = ["CelloracleFormat"]

_COLUMNS = ("peak_id", "gene_short_name")


@EDGE_FORMATS.register("celloracle", paper="Kamimoto et al. 2023, Nature 614, 742")
class CelloracleFormat(EdgeFormat):
    """CellOracle's base network: its TF-info matrix (parquet), or its dictionary of targets (JSON).

    ``oracle.import_TF_data(TF_info_matrix_path=FILE)`` reads the matrix: one row a target with ``peak_id``,
    ``gene_short_name`` and one 0/1 column a TF; the import drops ``peak_id``, sums over ``gene_short_name`` and takes
    TFs above 0. There are no peaks here, so ``peak_id`` is the gene's name.
    ``oracle.import_TF_data(TFdict=json.load(open(FILE)))`` takes the dictionary: target -> list of its TFs.
    A base network has neither weights nor signs: CellOracle fits them.
    """

    suffix = "parquet"
    refused_characters: ClassVar[None] = None

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Shape of the file.

        Attributes
        ----------
        layout
            ``matrix``: the TF-info matrix, parquet. ``dictionary``: target -> TFs, JSON.
        """

        layout: Literal["matrix", "dictionary"] = "matrix"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.layout == "dictionary":
            self.suffix = "json"

    def write(self, edges: PredictedEdges, path: Path) -> list[str]:
        """See :class:`EdgeFormat`."""
        frame = edges.frame
        if self.config.layout == "dictionary":
            found = {target: part["source"].tolist() for target, part in frame.groupby("target", sort=True)}
            path.write_text(json.dumps(found, ensure_ascii=False, indent=0), encoding="utf-8")
            return self.lost(edges, "weights and signs")
        tfs, column_M = np.unique(frame["source"].to_numpy(dtype=object), return_inverse=True)
        targets, row_M = np.unique(frame["target"].to_numpy(dtype=object), return_inverse=True)
        taken = sorted(set(tfs) & set(_COLUMNS))
        if taken:
            raise UserError(f"TF '{taken[0]}': has the name of a column of CellOracle's matrix; take layout=dictionary")
        matrix = np.zeros((len(targets), len(tfs)), dtype=np.uint8)
        matrix[row_M, column_M] = 1
        names = pd.DataFrame({_COLUMNS[0]: targets, _COLUMNS[1]: targets})
        pd.concat([names, pd.DataFrame(matrix, columns=tfs)], axis=1).to_parquet(path, index=False)
        return self.lost(edges, "weights and signs")
