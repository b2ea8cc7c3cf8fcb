"""Edges on which two runs disagree: pairs near the top of one whose rank in the other is far away.

All pairs of the TFs and genes that both runs have are ranked by score. A move from rank 10 to 1,000 matters, one from
500,000 to 700,000 does not, so moves are measured in proportion, among pairs that one of the runs ranks near the top.

Dimension letters: M pairs, G genes, S TFs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata

from grn_cotrain.apply import OpenRun
from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.model_scorer import ModelScorer
from grn_cotrain.export.known_edges import PARTS, KnownEdges, known_edges
from grn_cotrain.run_folder import RunFolder

__all__ = ["SHOWN", "TOP", "changed_edges"]

TOP = 1000
"""Pairs ranked this high by either run are looked at."""
SHOWN = 20
_MOST_PAIRS = 60_000_000  # two tables of float32 scores and their ranks: about 2 GB
_BLOCK = 64


def changed_edges(a: RunFolder, b: RunFolder, *, top: int = TOP, shown: int = SHOWN) -> dict[str, Any]:
    """Score all shared pairs in both runs and return those whose rank changed most.

    Returns
    -------
    dict
        ``num_tfs``, ``num_genes``, ``num_pairs``; ``spearman`` of the two score tables; ``top`` and ``shared_top``, the
        number of pairs looked at and the share of the top that both runs have; ``rows``: ``source, target, rank_a,
        rank_b, known_a, known_b`` (part of the run's split, empty for new pairs), largest change first.

    Raises
    ------
    UserError
        A run has no model, they share no TF or gene, or too many pairs for memory.
    """
    opened = [OpenRun(run, side="links") for run in (a, b)]
    scorers = [ModelScorer(run) for run in opened]
    vocab_a, vocab_b = (scorer.model.vocab for scorer in scorers)
    known, _ = known_edges(opened[0])
    known_b, _ = known_edges(opened[1])
    place_b = {name: i for i, name in enumerate(zip(vocab_b.modality, vocab_b.symbols, strict=True))}
    index_b_of_a = np.array(
        [place_b.get(name, -1) for name in zip(vocab_a.modality, vocab_a.symbols, strict=True)], dtype=np.int64
    )
    genes_G = np.flatnonzero(index_b_of_a >= 0)
    tfs_S = np.intersect1d(known.sources_S, genes_G)
    tfs_S = tfs_S[np.isin(index_b_of_a[tfs_S], known_b.sources_S)]
    if not len(tfs_S) or len(genes_G) < 2:
        raise UserError("RUN_B: shares no TF and target with RUN_A")
    if len(tfs_S) * len(genes_G) > _MOST_PAIRS:
        raise UserError(f"{len(tfs_S):,} TFs x {len(genes_G):,} genes are too many pairs to rank at once")
    score_a = _scores(scorers[0], tfs_S, genes_G)
    score_b = _scores(scorers[1], index_b_of_a[tfs_S], index_b_of_a[genes_G])
    keep = tfs_S[:, None] != genes_G[None, :]
    row_M, column_M = np.nonzero(keep)
    rank_a, rank_b = (rankdata(-scores[keep], method="min") for scores in (score_a, score_b))
    top = min(top, len(rank_a))
    near_M = np.flatnonzero((rank_a <= top) | (rank_b <= top))
    change_M = np.abs(np.log(rank_a[near_M]) - np.log(rank_b[near_M]))
    chosen_M = near_M[np.argsort(-change_M, kind="stable")[:shown]]
    rows = []
    for pair in chosen_M:
        source, target = int(tfs_S[row_M[pair]]), int(genes_G[column_M[pair]])
        rows.append(
            {
                "source": vocab_a.symbols[source],
                "target": vocab_a.symbols[target],
                "rank_a": int(rank_a[pair]),
                "rank_b": int(rank_b[pair]),
                "known_a": _part(known, source, target),
                "known_b": _part(known_b, int(index_b_of_a[source]), int(index_b_of_a[target])),
            }
        )
    both = int(((rank_a <= top) & (rank_b <= top)).sum())
    return {
        "num_tfs": len(tfs_S),
        "num_genes": len(genes_G),
        "num_pairs": len(rank_a),
        "spearman": float(np.corrcoef(rank_a, rank_b)[0, 1]) if len(rank_a) > 2 else None,
        "top": top,
        "shared_top": both / top,
        "rows": rows,
    }


def _part(known: KnownEdges, source: int, target: int) -> str:
    at = int(known.at(pair_keys(np.array([[source], [target]]), known.num_genes))[0])
    return PARTS[known.part_E[at]] if at >= 0 else ""


@torch.no_grad()
def _scores(scorer: ModelScorer, tfs_S: np.ndarray, genes_G: np.ndarray) -> np.ndarray:
    """Logits float32 ``[S, G]``."""
    states = scorer.model.encode_graph()
    scores_SG = np.empty((len(tfs_S), len(genes_G)), dtype=np.float32)
    for first in range(0, len(tfs_S), _BLOCK):
        block_S = torch.from_numpy(tfs_S[first : first + _BLOCK])
        rows_SG = scorer.model.link_decoder.block(states.linked_GD, block_S)
        scores_SG[first : first + len(block_S)] = rows_SG.float().numpy()[:, genes_G]
    return scores_SG
