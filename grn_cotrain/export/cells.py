"""Cell embeddings of any file, in ``obsm`` of an h5ad.

Dimension letters: B cells, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import torch

from grn_cotrain.data.io.align import align_cells
from grn_cotrain.data.io.counts import load_counts
from grn_cotrain.data.streams import one_pass
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.files import atomic_file
from grn_cotrain.model_io import load_model
from grn_cotrain.run_folder import RunFolder

__all__ = ["OBSM_KEY", "embed_cells"]

OBSM_KEY = "X_grn_cotrain"
_TOKENS_PER_BATCH = 32_768


@torch.no_grad()
def embed_cells(
    run: str | Path,
    cells: str | Path,
    out: str | Path,
    *,
    layer: str | None = None,
    key_added: str = OBSM_KEY,
    min_mapped: float = 0.5,
    say: Callable[[str], None] = print,
) -> anndata.AnnData:
    """Embed the cells of any file and write them as h5ad: the file's content with ``obsm[key_added]``.

    An h5ad keeps its layers, annotations and embeddings; cells without any count have no embedding and are left out.

    Parameters
    ----------
    run
        Run folder.
    cells
        h5ad, 10x h5, Matrix Market folder, CSV or TSV; its genes are aligned to the model's by name.
    out
        h5ad to write; the input is not changed.
    layer
        Layer of an h5ad that holds the counts.
    key_added
        Key in ``obsm``.
    min_mapped
        Least share of the file's genes that the model must know.
    say
        Told of the alignment, genes lost by name included.

    Raises
    ------
    UserError
        Too few genes known; values of another kind (counts or log-scale) than the model was trained on.
    """
    folder = RunFolder.open(run)
    model, config = load_model(folder.require_model())
    counts = load_counts(cells, layer)
    trained_on = config["meta"]["values"]
    if counts.kind != trained_on:
        say(f"warning: these values are {counts.kind}, the model was trained on {trained_on}: scales may differ")
    aligned, report, notes = align_cells(counts, model.vocab, min_mapped=min_mapped)
    for note in [*counts.notes, *notes]:
        say(note)
    tokenizer = Tokenizer(aligned, folder.recipe().model.tokens)
    genes = model.encode_graph()
    parts = [
        model.encode_cells(batch, genes).cells_BD.float().numpy()
        for batch in one_pass(tokenizer, np.arange(aligned.num_cells), tokens_per_batch=_TOKENS_PER_BATCH)
    ]
    result = _whole(cells, counts.adata)
    result.obsm[key_added] = np.concatenate(parts)
    result.uns["grn_cotrain"] = {
        "key": key_added,
        "vocab_hash": model.vocab.content_hash,
        "genes_given": report.num_given,
        "genes_mapped": report.mapped,
    }
    with atomic_file(out) as temporary:
        result.write_h5ad(temporary)
    say(f"{aligned.num_cells:,} cells embedded in {model.config.width} dimensions: obsm['{key_added}'] of {out}")
    return result


def _whole(path: str | Path, read: anndata.AnnData) -> anndata.AnnData:
    """Everything an h5ad holds on the cells that were read; other formats hold no more than was read."""
    if Path(path).suffix.lower() != ".h5ad":
        return read.copy()
    return anndata.read_h5ad(path)[read.obs_names].copy()
