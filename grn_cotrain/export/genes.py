"""Gene embeddings in users' hands, always with symbols, ids and the vocabulary's hash.

Dimension letters: G genes, D width, B cells, T tokens, K groups of cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import anndata
import numpy as np
import pandas as pd
import torch

from grn_cotrain.data.cells import CellMatrix
from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.data.streams import one_pass
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.files import atomic_file
from grn_cotrain.model import CoTrainModel
from grn_cotrain.model_io import load_model
from grn_cotrain.run_folder import RunFolder

__all__ = ["FORMATS", "KINDS", "GeneEmbeddings", "export_genes"]

Kind = Literal["static", "graph", "contextual"]
Format = Literal["parquet", "tsv", "h5ad"]
KINDS: tuple[str, ...] = get_args(Kind)
FORMATS: tuple[str, ...] = get_args(Format)
_TOKENS_PER_BATCH = 32_768


@dataclass(frozen=True)
class GeneEmbeddings:
    """Embeddings of genes.

    Attributes
    ----------
    frame
        ``symbol, id, modality`` and, for contextual ones, ``group`` (empty without ``--by``) and ``n`` (cells in which
        the gene is a token), then one column ``d0, d1, ...`` a dimension.
    kind, vocab_hash
        What they are, and the vocabulary they belong to.
    """

    frame: pd.DataFrame
    kind: str
    vocab_hash: str

    @property
    def dimensions(self) -> list[str]:
        """Names of the embedding's columns."""
        return [name for name in self.frame.columns if name[0] == "d" and name[1:].isdigit()]

    def write(self, path: str | Path, format: str) -> None:
        """Write parquet (hash in the schema's metadata), TSV (hash in a leading comment) or h5ad (hash in ``uns``)."""
        with atomic_file(path) as temporary:
            if format == "tsv":
                with temporary.open("w", encoding="utf-8") as handle:
                    handle.write(f"# grn_cotrain {self.kind} gene embeddings; vocab_hash={self.vocab_hash}\n")
                    self.frame.to_csv(handle, sep="\t", index=False, float_format="%.7g")
            elif format == "parquet":
                import pyarrow as pa
                import pyarrow.parquet as pq

                table = pa.Table.from_pandas(self.frame, preserve_index=False)
                own = {b"grn_cotrain.kind": self.kind.encode(), b"grn_cotrain.vocab_hash": self.vocab_hash.encode()}
                pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **own}), temporary)
            else:
                self._anndata().write_h5ad(temporary)

    def _anndata(self) -> anndata.AnnData:
        obs = self.frame.drop(columns=self.dimensions)
        groups = obs["group"] if "group" in obs else pd.Series("", index=obs.index)
        names = [f"{symbol}|{group}" if group else symbol for symbol, group in zip(obs["symbol"], groups, strict=True)]
        result = anndata.AnnData(
            X=self.frame[self.dimensions].to_numpy(np.float32),
            obs=obs.set_axis(pd.Index(names, name="gene"), axis=0),
            var=pd.DataFrame(index=self.dimensions),
        )
        result.uns["grn_cotrain"] = {"kind": self.kind, "vocab_hash": self.vocab_hash}
        return result


def export_genes(
    run: str | Path,
    kind: str = "graph",
    format: str = "parquet",
    out: str | Path | None = None,
    *,
    by: str | None = None,
    say: Callable[[str], None] = print,
) -> GeneEmbeddings:
    """Export gene embeddings of a run.

    Parameters
    ----------
    run
        Run folder.
    kind
        ``static``: rows of the shared table. ``graph``: output of the graph encoder over all training edges.
        ``contextual``: mean final state over the cells in which the gene is a token.
    format
        ``parquet``, ``tsv`` or ``h5ad``.
    out
        File; default ``genes_KIND.FORMAT`` in the run folder.
    by
        Column of ``obs``: contextual means per group of cells.
    say
        Told of genes without an embedding.

    Raises
    ------
    UserError
        Unknown kind, format or column; no model.
    """
    for name, value, choices in (("--kind", kind, KINDS), ("--format", format, FORMATS)):
        if value not in choices:
            raise UserError(f"{name} '{value}': choose from {', '.join(choices)}{did_you_mean(value, choices)}")
    if by is not None and kind != "contextual":
        raise UserError(f"--by '{by}': groups of cells concern contextual embeddings; add --kind contextual")
    folder = RunFolder.open(run)
    model, _ = load_model(folder.require_model())
    if kind == "contextual":
        cells = load_run_data(folder.recipe()).cells
        if cells.vocab.content_hash != model.vocab.content_hash:
            raise UserError(
                f"run '{run}': its prepared folder has other genes now than the model was trained on; prepare it as it"
                " was, or train again"
            )
        frame = _contextual(model, cells, by, folder, say)
    else:
        with torch.no_grad():
            genes = model.encode_graph()
        frame = _frame(model, (genes.table_GD if kind == "static" else genes.graph_GD).numpy())
    result = GeneEmbeddings(frame, kind, model.vocab.content_hash)
    path = Path(out) if out is not None else folder.folder / f"genes_{kind}.{format}"
    result.write(path, format)
    say(f"{len(frame):,} {kind} embeddings of width {model.config.width}: {path}")
    return result


def _frame(model: CoTrainModel, rows_GD: np.ndarray) -> pd.DataFrame:
    vocab = model.vocab
    names = pd.DataFrame({"symbol": vocab.symbols, "id": vocab.ids, "modality": vocab.modality})
    columns = [f"d{i}" for i in range(rows_GD.shape[1])]
    return pd.concat([names, pd.DataFrame(rows_GD.astype(np.float32), columns=columns)], axis=1)


@torch.no_grad()
def _contextual(
    model: CoTrainModel, cells: CellMatrix, by: str | None, folder: RunFolder, say: Callable[[str], None]
) -> pd.DataFrame:
    if by is not None and by not in cells.obs:
        columns = [str(name) for name in cells.obs.columns]
        raise UserError(
            f"--by '{by}': no such column of obs; choose from {', '.join(columns)}{did_you_mean(by, columns)}"
        )
    labels_C = pd.Series("", index=cells.obs.index) if by is None else cells.obs[by].astype(str)
    codes_C, groups = pd.factorize(labels_C, sort=True)
    num_genes, width = model.vocab.num_features, model.config.width
    sums = torch.zeros(len(groups) * num_genes, width, dtype=torch.float64)
    counts = torch.zeros(len(groups) * num_genes, dtype=torch.int64)
    genes = model.encode_graph()
    tokenizer = Tokenizer(cells, folder.recipe().model.tokens)
    for batch in one_pass(tokenizer, np.arange(cells.num_cells), tokens_per_batch=_TOKENS_PER_BATCH):
        states_TD = model.encode_cells(batch, genes).tokens_TD
        keep_T = (batch.feature_ids_T >= NUM_SPECIAL) & (batch.bins_T > 0)
        group_T = torch.from_numpy(codes_C)[batch.cell_index_B[batch.cell_of_token_T]]
        slot_T = (group_T * num_genes + batch.feature_ids_T - NUM_SPECIAL)[keep_T]
        sums.index_add_(0, slot_T, states_TD[keep_T].double())
        counts += torch.bincount(slot_T, minlength=len(counts))
    means = (sums / counts.clamp_min(1)[:, None]).float().numpy()
    frames = []
    for index, group in enumerate(groups):
        part = slice(index * num_genes, (index + 1) * num_genes)
        frame = _frame(model, means[part])
        frame.insert(3, "group", group)
        frame.insert(4, "n", counts[part].numpy())
        frames.append(frame[frame["n"] > 0])
    result = pd.concat(frames, ignore_index=True)
    never = sorted(set(model.vocab.symbols) - set(result["symbol"]))
    if never:
        named = ", ".join(never[:10]) + (" ..." if len(never) > 10 else "")
        say(f"{len(never):,} genes are a token in no cell and have no contextual embedding: {named}")
    return result
