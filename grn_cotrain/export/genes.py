"""Gene embeddings of a run: computed by :func:`gene_embeddings`, written by :func:`export_genes`.

Dimension letters: G genes, D width, B cells, T tokens, K groups of cells.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd
import torch

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.batch import CellBatch
from grn_cotrain.data.obs import as_labels, obs_column
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.streams import one_pass
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.export.gene_formats import FORMATS, GENE_FORMATS, gene_format, write_genes
from grn_cotrain.export.gene_frame import GeneEmbeddings
from grn_cotrain.export.gene_varm import VARM_KEY, Into
from grn_cotrain.export.identity import RunIdentity
from grn_cotrain.model import CoTrainModel
from grn_cotrain.model_io import load_model
from grn_cotrain.run_folder import RunFolder

if TYPE_CHECKING:
    from grn_cotrain.data.io.names import AliasTable, OrthologTable

__all__ = ["FORMATS", "KINDS", "GeneEmbeddings", "export_genes", "gene_embeddings"]

Kind = Literal["static", "graph", "contextual"]
KINDS: tuple[str, ...] = get_args(Kind)
_TOKENS_PER_BATCH = 32_768


def gene_embeddings(
    run: str | Path,
    kind: str = "graph",
    *,
    by: str | None = None,
    prep: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> GeneEmbeddings:
    """Compute gene embeddings of a run; nothing is written.

    Parameters
    ----------
    run
        Run folder. ``static`` and ``graph`` need its model alone, ``contextual`` its prepared folder too.
    kind
        ``static``: rows of the shared table. ``graph``: output of the graph encoder over all training edges.
        ``contextual``: mean final state over the cells in which the gene is a token.
    by
        Column of ``obs``: contextual means per group of cells.
    prep
        New place of the run's prepared folder, for contextual embeddings; default: it is looked for.
    progress
        Told ``(cells done, cells in all)`` of contextual embeddings.

    Returns
    -------
    GeneEmbeddings
        One row a gene (and group), in the vocabulary's order. Genes without an embedding are named in its ``notes``.

    Raises
    ------
    UserError
        Unknown kind or column; no model; ``contextual`` on a machine without the run's prepared folder.
    """
    _check_kind(kind, by)
    folder = RunFolder.open(run)
    model, config = load_model(folder.require_model())
    notes: tuple[str, ...] = ()
    if kind == "contextual":
        data = folder.load_data(prep)
        folder.check_data(data, model.vocab, config["meta"])
        frame, notes = _contextual(model, data.cells, by, progress)
    else:
        with torch.no_grad():
            genes = model.encode_graph()
        frame = _frame(model, (genes.table_GD if kind == "static" else genes.graph_GD).numpy())
        if without := model.nodes.num_features - model.nodes.num_nodes:
            notes = (f"{without:,} features are not nodes of the graph: only --kind contextual has them",)
    vocab = model.vocab
    return GeneEmbeddings(frame, kind, vocab.content_hash, RunIdentity.of(folder, config), vocab.species, notes)


def export_genes(
    run: str | Path,
    kind: str = "graph",
    format: str = "parquet",
    out: str | Path | None = None,
    *,
    by: str | None = None,
    prep: str | Path | None = None,
    into: str | Path | None = None,
    key_added: str = VARM_KEY,
    overwrite: bool = False,
    aliases: AliasTable | None = None,
    orthologs: OrthologTable | None = None,
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> GeneEmbeddings:
    """Export gene embeddings of a run, always with symbols, ids, kind and hashes.

    Parameters
    ----------
    run
        Run folder.
    kind, by, prep, progress
        As in :func:`gene_embeddings`.
    format
        ``parquet``, ``tsv``, ``word2vec``, ``safetensors`` or ``h5ad``: a file of genes, see
        :mod:`~grn_cotrain.export.gene_formats`; ``varm``: a copy of ``into`` with the embeddings of its genes.
    out
        File; default ``genes_KIND.SUFFIX`` in the run folder; ``varm`` needs it.
    into
        ``varm`` only: the h5ad to copy. It is not changed.
    key_added, overwrite
        ``varm`` only: key in ``varm``, and whether the file's own key of that name may be replaced in the copy.
    aliases, orthologs
        ``varm`` only: tables of old symbols, and of the other species' genes, for finding the file's features.
    say
        Told of genes without an embedding, and of the file.

    Raises
    ------
    UserError
        Unknown kind, format or column; no model; ``into`` missing or unreadable.
    """
    _check_kind(kind, by)
    target = None if into is None else Into(Path(into), key_added, overwrite, aliases, orthologs)
    if gene_format(format) == "varm":
        if target is None:
            raise UserError("--format 'varm': writes into a copy of your cells; name them with --into CELLS.h5ad")
        if out is None:
            raise UserError("--format 'varm': needs the name of the copy; give --out OUT.h5ad")
        path = Path(out)
    else:
        suffix = GENE_FORMATS[format].suffix
        path = Path(out) if out is not None else RunFolder.open(run).folder / f"genes_{kind}.{suffix}"
    result = gene_embeddings(run, kind, by=by, prep=prep, progress=progress)
    for note in [*result.notes, *write_genes(result, path, format, into=target)]:
        say(note)
    if out is None:
        RunFolder.open(run).register(path.parent.absolute().glob(f"{path.stem}.*"))
    say(f"{len(result.frame):,} {kind} embeddings of width {len(result.dimensions)}: {path}")
    return result


def _check_kind(kind: str, by: str | None) -> None:
    if kind not in KINDS:
        raise UserError(f"--kind '{kind}': choose from {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    if by is not None and kind != "contextual":
        raise UserError(f"--by '{by}': groups of cells concern contextual embeddings; add --kind contextual")


def _frame(model: CoTrainModel, rows_GD: np.ndarray) -> pd.DataFrame:
    vocab = model.nodes.vocab(model.vocab)
    names = pd.DataFrame({"symbol": vocab.symbols, "id": vocab.ids, "modality": vocab.modality})
    columns = [f"d{i}" for i in range(rows_GD.shape[1])]
    return pd.concat([names, pd.DataFrame(rows_GD.astype(np.float32), columns=columns)], axis=1)


@torch.no_grad()
def _contextual(
    model: CoTrainModel, cells: CellStore, by: str | None, progress: Callable[[int, int], None] | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    labels_C = pd.Series("", index=cells.obs.index) if by is None else as_labels(obs_column(cells.obs, by, "--by"))
    codes_C, groups = pd.factorize(labels_C, sort=True)  # -1 for cells without a label
    rows_C = np.flatnonzero(codes_C >= 0)
    if not len(rows_C):
        raise UserError(f"--by '{by}': no cell has a label; choose another column")
    num_genes, width = model.vocab.num_features, model.config.width
    sums = torch.zeros(len(groups) * num_genes, width, dtype=torch.float64)
    counts = torch.zeros(len(groups) * num_genes, dtype=torch.int64)
    genes = model.encode_graph()
    tokenizer = model.tokenizer(cells)
    for batch in map(CellBatch.pack, one_pass(tokenizer, rows_C, tokens_per_batch=_TOKENS_PER_BATCH)):
        states_TD = model.encode_cells(batch, genes).tokens_TD
        keep_T = (batch.feature_ids_T >= NUM_SPECIAL) & (batch.bins_T > 0)
        group_T = torch.from_numpy(codes_C)[batch.cell_index_B[batch.cell_of_token_T]]
        slot_T = (group_T * num_genes + batch.feature_ids_T - NUM_SPECIAL)[keep_T]
        sums.index_add_(0, slot_T, states_TD[keep_T].double())
        counts += torch.bincount(slot_T, minlength=len(counts))
        if progress is not None:
            progress(int(batch.cell_index_B[-1]) + 1, cells.num_cells)
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
    notes = []
    if without := cells.num_cells - len(rows_C):
        notes.append(f"{without:,} cells have no value in '{by}' and are in no group")
    if never:
        notes.append(
            f"{len(never):,} genes are a token in no cell and have no contextual embedding: {name_some(never, 10)}"
        )
    return result, tuple(notes)
