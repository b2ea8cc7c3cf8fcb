"""Gene embeddings of a run: computed by :func:`gene_embeddings`, written by :func:`export_genes`.

Dimension letters: G genes, D width, B cells, T tokens, K groups of cells.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from grn_cotrain.apply import Encoder, OpenRun, over_cells
from grn_cotrain.apply.cells import Progress
from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.obs import as_labels, obs_column
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import NUM_SPECIAL, FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.export.annotated import Say
from grn_cotrain.export.gene_formats import FORMATS, GENE_FORMATS, gene_format, write_genes
from grn_cotrain.export.gene_frame import GeneEmbeddings
from grn_cotrain.export.regulation import regulation_rows
from grn_cotrain.jobs.genes import KINDS, GeneOptions, IntoOptions
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.options import keywords

__all__ = ["FORMATS", "KINDS", "GeneEmbeddings", "export_genes", "gene_embeddings"]


@keywords(GeneOptions)
def gene_embeddings(
    run: str | Path | OpenRun, options: GeneOptions, *, progress: Progress | None = None
) -> GeneEmbeddings:
    """Compute gene embeddings of a run; nothing is written.

    Parameters
    ----------
    run
        Run folder. ``contextual`` needs its prepared folder; the others need its model alone (``regulation``
        only where the messages of the graph are the training edges).
    {options}
    progress
        Receives ``(cells done, cells in all)`` of contextual embeddings.

    Returns
    -------
    GeneEmbeddings
        One row a gene (and group), in the vocabulary's order. Genes without an embedding are named in its ``notes``.

    Raises
    ------
    UserError
        Unknown kind or column; no model; ``contextual`` on a machine without the run's prepared folder.
    """
    opened, kind = OpenRun.of(run, prep=options.prep), options.kind
    notes: tuple[str, ...] = ()
    if kind == "contextual":
        frame, notes = _contextual(opened, opened.data().cells, options.by, progress)
    else:
        genes, nodes = opened.encoder.genes, opened.model.nodes
        if kind == "regulation":
            rows_GD = regulation_rows(OpenRun.of(opened, side="links"))
        else:
            rows_GD = (genes.table_GD if kind == "static" else genes.graph_GD).numpy()
        frame = _frame(nodes.vocab(opened.vocab), rows_GD)
        if without := nodes.num_features - nodes.num_nodes:
            notes = (f"{without:,} features are not nodes of the graph: only --kind contextual has them",)
    vocab = opened.vocab
    return GeneEmbeddings(frame, kind, vocab.content_hash, opened.identity, vocab.species, notes)


@keywords(GeneOptions)
def export_genes(
    run: str | Path | OpenRun,
    cells: str | Path | None = None,
    out: str | Path | None = None,
    *,
    options: GeneOptions,
    format: str = "parquet",
    into: IntoOptions | None = None,
    say: Say = print,
    progress: Progress | None = None,
) -> GeneEmbeddings:
    """Export gene embeddings of a run, always with symbols, ids, kind and hashes.

    Parameters
    ----------
    run
        Run folder.
    cells
        ``varm`` only: the h5ad to copy. It is not changed.
    out
        File; default ``genes_KIND.SUFFIX`` in the run folder; ``varm`` needs it.
    {options}
    format
        ``parquet``, ``tsv``, ``word2vec``, ``safetensors`` or ``h5ad``: a file of genes, see
        :mod:`~grn_cotrain.export.gene_formats`; ``varm``: a copy of ``cells`` with the embeddings of its genes.
    into
        ``varm`` only: key, and how the file's features are found.
    say
        Receives genes without an embedding, and the file.
    progress
        Receives ``(cells done, cells in all)`` of contextual embeddings.

    Raises
    ------
    UserError
        Unknown kind, format or column; no model; ``cells`` missing or unreadable.
    """
    opened = OpenRun.of(run, prep=options.prep)
    if gene_format(format) == "varm":
        if cells is None:
            raise UserError("--format 'varm': writes into a copy of your cells; name them: CELLS.h5ad after RUN")
        if out is None:
            raise UserError("--format 'varm': needs the name of the copy; give --out OUT.h5ad")
    elif cells is not None:
        raise UserError(f"CELLS '{cells}': belongs to --format varm, not {format}; leave one out")
    own = opened.folder.folder / f"genes_{options.kind}.{GENE_FORMATS[format].suffix}" if out is None else Path(out)
    result = gene_embeddings(opened, options=options, progress=progress)
    for note in [*result.notes, *write_genes(result, own, format, cells=cells, into=into)]:
        say(note)
    if out is None:
        opened.folder.register(own.parent.absolute().glob(f"{own.stem}.*"))
    say(f"{len(result.frame):,} {options.kind} embeddings of width {len(result.dimensions)}: {own}")
    return result


def _frame(vocab: FeatureVocab, rows_GD: np.ndarray) -> pd.DataFrame:
    names = pd.DataFrame({"symbol": vocab.symbols, "id": vocab.ids, "modality": vocab.modality})
    columns = [f"d{i}" for i in range(rows_GD.shape[1])]
    return pd.concat([names, pd.DataFrame(rows_GD.astype(np.float32), columns=columns)], axis=1)


def _contextual(
    run: OpenRun, cells: CellStore, by: str | None, progress: Progress | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    model = run.model
    labels_C = pd.Series("", index=cells.obs.index) if by is None else as_labels(obs_column(cells.obs, by, "--by"))
    codes_C, groups = pd.factorize(labels_C, sort=True)  # -1 for cells without a label
    rows_C = np.flatnonzero(codes_C >= 0)
    if not len(rows_C):
        raise UserError(f"--by '{by}': no cell has a label; choose another column")
    size, width = model.vocab.num_features, model.config.width
    sums = torch.zeros(len(groups) * size, width, dtype=torch.float64)
    counts = torch.zeros(len(groups) * size, dtype=torch.int64)
    stateful_F, notes = _with_states(model)

    def read(batch: PackedTokens, encoder: Encoder) -> None:
        states_TD = encoder.cells(batch).tokens_TD
        keep_T = (batch.feature_ids_T >= NUM_SPECIAL) & (batch.bins_T > 0)
        keep_T &= stateful_F[(batch.feature_ids_T - NUM_SPECIAL).clamp(min=0)]
        group_T = torch.from_numpy(codes_C)[batch.cell_index_B[batch.cell_of_token_T]]
        slot_T = (group_T * size + batch.feature_ids_T - NUM_SPECIAL)[keep_T]
        sums.index_add_(0, slot_T, states_TD[keep_T].double())
        counts.add_(torch.bincount(slot_T, minlength=len(counts)))

    over_cells(model, model.tokenizer(cells), read, rows=rows_C, encoder=run.encoder, progress=progress)
    means = (sums / counts.clamp_min(1)[:, None]).float().numpy()
    frames = []
    for index, group in enumerate(groups):
        part = slice(index * size, (index + 1) * size)
        frame = _frame(model.vocab, means[part])
        frame.insert(3, "group", group)
        frame.insert(4, "n", counts[part].numpy())
        frames.append(frame[frame["n"] > 0])
    result = pd.concat(frames, ignore_index=True)
    if without := cells.num_cells - len(rows_C):
        notes.append(f"{without:,} cells have no value in '{by}' and are in no group")
    seen_F = counts.reshape(len(groups), size).sum(dim=0).numpy() > 0
    never = np.flatnonzero(stateful_F.numpy() & ~seen_F)
    if never.size:
        lost = model.vocab.select(never)
        notes.append(
            f"{lost.counted} are a token in no cell and have no contextual embedding: "
            f"{name_some(sorted(lost.symbols), 10)}"
        )
    return result, tuple(notes)


def _with_states(model: CoTrainNetwork) -> tuple[Tensor, list[str]]:
    """bool ``[G]``: features that are tokens of an encoder, and notes on encoders that make other tokens."""
    own = [name for name, encoder in model.encoders.items() if encoder.owns_tokens()]
    spaces = {space for name, read in model.reads.items() if name not in own for space in read}
    notes = [
        f"the encoder {name} makes tokens of its own, so the {space}s that it reads have no contextual embedding"
        for name in own
        for space in model.reads[name]
        if space not in spaces
    ]
    return torch.from_numpy(np.isin(np.asarray(model.vocab.modality, dtype=object), sorted(spaces))), notes
