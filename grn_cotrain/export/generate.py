"""Generated values of cells: from some of their genes, or from the state that those genes give a cell.

Dimension letters: C cells, B cells of a batch, T packed tokens, G features, N entries of cells x features.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from grn_cotrain.apply import Encoder, OpenRun, over_cells
from grn_cotrain.apply.cells import Progress
from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cell_blocks import is_in_memory
from grn_cotrain.data.io.counts import CountsFile
from grn_cotrain.data.io.write_h5ad import write_h5ad
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.export.annotate import UNS_KEY
from grn_cotrain.export.annotated import Say
from grn_cotrain.export.generate_rounds import CellDraws, generate_values, guesser
from grn_cotrain.export.generation_check import accuracy
from grn_cotrain.files import atomic_file, refuse_input
from grn_cotrain.jobs.generate import Asked, GenerateOptions, Prompt
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.nn.token_subset import only_tokens
from grn_cotrain.objectives import ValuePredictor
from grn_cotrain.objectives.masking import hide
from grn_cotrain.objectives.value_target import ConfidentPredictor
from grn_cotrain.options import keywords

if TYPE_CHECKING:
    import anndata

__all__ = ["generate_cells", "generate_file"]

_RESULT_BYTES = (
    100  # bytes for each value of a cell: it is in X, in three or four layers, and in the lists they are made of
)
_STREAM = 31  # random stream that draws the known genes


@keywords(GenerateOptions)
def generate_cells(
    run: str | Path | OpenRun,
    counts: CountsFile,
    options: GenerateOptions,
    *,
    say: Say = print,
    progress: Progress | None = None,
) -> anndata.AnnData:
    """Show a model some genes of each cell and let it generate the others; nothing is written.

    Works with any run one of whose objectives predicts values; meant for the encoder ``scgpt`` and the objective
    ``generative``. Only ``model/`` and ``run.json`` of the run are read. A cell's total counts, its covariates and,
    with ``genes="expressed"``, *which* genes it expresses are taken as known; values of unknown genes never are.

    Parameters
    ----------
    run
        Run folder.
    counts
        Cells, from :func:`~grn_cotrain.data.io.counts.load_counts` or ``counts_from_anndata``.
    {options}
    say
        Receives the alignment, warnings, and the accuracy compared with the gene mean.
    progress
        Receives ``(cells done, cells in all)``.

    Returns
    -------
    anndata.AnnData
        Cells x features of the model. ``X``: known and generated values together, log1p of counts per ten thousand (or
        the log scale of the file). Layers, all on that scale: ``known`` values shown, ``generated`` values, ``truth``
        of the file (NaN where a value was generated of a gene that the file lacks); and ``round``, in which each was
        generated. ``obs``: the file's columns, and how many genes were ``generate_known`` and ``generate_asked``.
        ``var["in_file"]``: whether the file has the gene. ``uns["grn_cotrain"]["generate"]``: run, settings, accuracy.

    Raises
    ------
    UserError
        A seed out of range; no model, or none that predicts values; a name that the model does not know, or names none
        of which the file has; nothing to generate; a cell prompt for an encoder that reads none; too few genes known.
    """
    opened = OpenRun.of(run, side="cells")
    model, prompt = opened.model, options.prompt
    predictor = _predictor(model, prompt)
    pick = _Pick.of(options, model)
    applied = opened.apply_to(counts, options)
    cells, measured_G = applied.cells, applied.measured_G
    pick, lacking = pick.in_file(measured_G)
    applied.warnings.extend(_doubts(model, prompt))
    if lacking:
        applied.notes.append(
            f"{len(lacking):,} of the named genes are not in the file, so they are not shown:"
            f" {name_some([model.vocab.symbols[gene] for gene in lacking])}"
        )
    applied.tell(say)
    if not is_in_memory(cells):
        values = sum(int(cells.num_values(name).sum()) for name in cells.assays)
        say(
            f"the result is held in memory, about {values * _RESULT_BYTES / 2**30:.1f} GiB for {values:,} values; give"
            " fewer cells where that is too much"
        )
    num_bins = model.config.tokens.num_bins
    guess = guesser(predictor, model, opened.encoder.genes, num_bins=num_bins, seed=options.seed)
    draws = CellDraws(options.seed, (_STREAM,)) if options.sample else None
    table = _Table()

    def read(whole: PackedTokens, encoder: Encoder) -> None:
        known_T, asked_T = pick(whole)
        batch, unknown_T = whole, asked_T
        if prompt == "cell":
            hidden_T = asked_T if not pick.reconstructs else torch.zeros_like(asked_T)
            shown = only_tokens(whole, ~hidden_T)
            shown = hide(shown, torch.zeros_like(shown.feature_ids_T, dtype=torch.bool), num_bins=num_bins)
            kept_T = asked_T | (whole.feature_ids_T < NUM_SPECIAL)
            batch = replace(only_tokens(whole, kept_T), prompt_BD=encoder.cells(shown).cells_BD)
            unknown_T = asked_T[kept_T]
        drawn = generate_values(guess, batch, unknown_T, rounds=options.rounds, num_bins=num_bins, draws=draws)
        table.add(whole, "known", known_T, whole.values_T)
        for name in ("values_T", "round_T", "chance_T"):
            if (value_T := getattr(drawn, name)) is not None:
                table.add(batch, name, unknown_T, value_T)

    over_cells(model, _tokenizer(model, cells, options.genes), read, encoder=opened.encoder, progress=progress)
    if not table.size("values_T"):
        raise UserError(
            f"--known: with {pick.text} shown there is nothing to generate; show fewer genes, or ask for all"
        )
    cell_N, gene_N, value_N = table.entries("values_T")
    chance_N = table.entries("chance_T")[2] if table.size("chance_T") else None
    truth = cells.normalised(np.arange(cells.num_cells))
    found = accuracy(truth, cell_N, gene_N, value_N, chance_N, measured_G)
    reconstructed = " (reconstructed from states that have read these very values)" if pick.reconstructs else ""
    say(found.line() + reconstructed)
    origin = {
        **opened.identity.to_dict(),
        "what": "generated values",
        "known": pick.text,
        **{name: getattr(options, name) for name in ("genes", "prompt", "rounds", "sample", "seed")},
        "reconstructed": pick.reconstructs,
        **asdict(found),
    }
    return _result(cells, truth, table, origin, measured_G)


def _predictor(model: CoTrainNetwork, prompt: Prompt) -> ValuePredictor:
    """The objective that knows how sure it is, else the first that predicts values."""
    found = [module for module in model.objectives.values() if isinstance(module, ConfidentPredictor)]
    predictor = found[0] if found else model.value_predictor()
    if not isinstance(predictor, ValuePredictor):
        raise UserError(
            f"run: none of its objectives ({', '.join(model.objectives) or 'none'}) predicts values; train with"
            " objectives.generative or masked_value"
        )
    if prompt == "cell":
        for name, encoder in model.encoders.items():
            if not encoder.reads_prompt:
                component = model.config.encoder_specs[name].component.name
                raise UserError(f"--prompt 'cell': the run's cell encoder '{component}' has no cell prompt; use genes")
    return predictor


def _doubts(model: CoTrainNetwork, prompt: Prompt) -> list[str]:
    """Reasons against such a prompt."""
    weights = (getattr(model.objective(name).config, "cell_prompt_weight", 0.0) for name in model.objectives)
    if prompt == "cell" and not any(weight > 0 for weight in weights):
        return ["this run was never trained to predict genes from a prompting cell state (objectives.generative)"]
    return []


def _tokenizer(model: CoTrainNetwork, cells: CellStore, genes: Asked) -> Tokenizer:
    """Tokens of which some will be unknown; every feature is one where all are asked."""
    if genes == "expressed":
        return model.tokenizer(cells, every_value=True)
    config = replace(model.config.tokens, zeros_per_cell="all", max_tokens=cells.num_features + 1)
    return Tokenizer(cells, config, model.inputs.covariates)


@dataclass(frozen=True)
class _Pick:
    """Which tokens are shown, and which are asked.

    Attributes
    ----------
    share
        Share of each cell's values, where no names are given.
    named_V
        bool over vocabulary ids, where names are given.
    asks_zeros
        Whether genes that the cell does not express are asked too.
    reconstructs
        Whether what is shown, by way of the cell's state, is asked all the same.
    text
        For people.
    """

    share: float
    named_V: Tensor | None
    asks_zeros: bool
    reconstructs: bool
    seed: int
    text: str

    @classmethod
    def of(cls, options: GenerateOptions, model: CoTrainNetwork) -> _Pick:
        known, seed, asks_zeros = options.known, options.seed, options.genes == "all"
        if isinstance(known, (int, float)):
            share = float(known)
            reconstructs = options.prompt == "cell" and share == 1.0
            return cls(share, None, asks_zeros, reconstructs, seed, f"{share:.0%} of values")
        names = [known] if isinstance(known, str) else list(known)
        if not names:
            raise UserError("--known: no name given; give names of genes, or a share from 0 to 1")
        named_V = torch.zeros(model.vocab.size, dtype=torch.bool)
        named_V[torch.tensor([model.vocab.index(name) for name in names]) + NUM_SPECIAL] = True
        return cls(0.0, named_V, asks_zeros, False, seed, f"{int(named_V.sum()):,} named genes")

    def in_file(self, measured_G: np.ndarray) -> tuple[_Pick, list[int]]:
        """The same without named genes that the file lacks, whose zeros nobody knows; and those, as gene indices."""
        if self.named_V is None:
            return self, []
        named_G = self.named_V.numpy()[NUM_SPECIAL:]
        lacking = np.flatnonzero(named_G & ~measured_G).tolist()
        if not lacking:
            return self, []
        num_named = int(named_G.sum())
        if len(lacking) == num_named:
            raise UserError(f"--known: the file has none of the {num_named:,} named genes; name genes of the file")
        kept_V = self.named_V.clone()
        kept_V[torch.tensor(lacking) + NUM_SPECIAL] = False
        text = f"{num_named - len(lacking):,} of {num_named:,} named genes"
        return replace(self, named_V=kept_V, text=text), lacking

    def __call__(self, batch: PackedTokens) -> tuple[Tensor, Tensor]:
        """Known and asked tokens, bool ``[T]`` each; sampled zeros may be neither: they are read, and not reported."""
        is_gene_T, is_value_T = batch.feature_ids_T >= NUM_SPECIAL, batch.values_T != 0
        if self.named_V is not None:
            known_T = self.named_V[batch.feature_ids_T]
        else:
            known_T = is_value_T & (CellDraws(self.seed, (_STREAM,)).uniform(batch) < self.share)
        may_ask_T = is_gene_T if self.asks_zeros else is_value_T
        return known_T, may_ask_T & (~known_T | self.reconstructs)


class _Table:
    """Entries of cells x features, gathered batch by batch."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}

    def add(self, batch: PackedTokens, name: str, where_T: Tensor, value_T: Tensor) -> None:
        """The entries at ``where_T``."""
        cell_T = batch.cell_index_B[batch.cell_of_token_T]
        gene_T = batch.feature_ids_T - NUM_SPECIAL
        part = tuple(x_T[where_T].numpy() for x_T in (cell_T, gene_T, value_T))
        self._parts.setdefault(name, []).append(part)  # type: ignore[arg-type]

    def size(self, name: str) -> int:
        """Number of entries."""
        return sum(len(part[0]) for part in self._parts.get(name, []))

    def entries(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, column and value of each."""
        rows, columns, values = zip(*self._parts[name], strict=True)
        return np.concatenate(rows), np.concatenate(columns), np.concatenate(values)

    def matrix(self, name: str, shape: tuple[int, int], dtype: Any = np.float32) -> sparse.csr_matrix:
        """CSR; a generated zero is a stored zero."""
        rows, columns, values = self.entries(name)
        return sparse.csr_matrix((values.astype(dtype), (rows, columns)), shape=shape)


def _result(
    cells: CellStore, truth: sparse.csr_matrix, table: _Table, origin: dict[str, Any], measured_G: np.ndarray
) -> anndata.AnnData:
    import anndata

    shape = (cells.num_cells, cells.num_features)
    known, generated = table.matrix("known", shape), table.matrix("values_T", shape)
    # A value that was shown and asked again (reconstruction) stands as generated.
    kept = known - known.multiply(generated.astype(bool)) if origin["reconstructed"] else known
    whole = sparse.csr_matrix(kept + generated)
    whole.eliminate_zeros()
    obs = cells.obs.assign(
        generate_known=np.diff(known.indptr).astype(np.int64), generate_asked=np.diff(generated.indptr).astype(np.int64)
    )
    vocab = cells.vocab
    var = pd.DataFrame(
        {"gene_ids": vocab.ids, "modality": vocab.modality, "in_file": measured_G},
        index=pd.Index(vocab.symbols, dtype=object),
    )
    if not measured_G.all():
        # The truth of a gene that the file lacks is unknown; a NaN where one was generated is one number each.
        rows, columns, _ = table.entries("values_T")
        unknown_N = ~measured_G[columns]
        where = (rows[unknown_N], columns[unknown_N])
        truth = truth + sparse.csr_matrix((np.full(len(where[0]), np.nan, dtype=truth.dtype), where), shape=shape)
    layers = {
        "known": known,
        "generated": generated,
        "round": table.matrix("round_T", shape, np.int32),
        "truth": truth,
    }
    return anndata.AnnData(X=whole, obs=obs, var=var, layers=layers, uns={UNS_KEY: {"generate": origin}})


@keywords(GenerateOptions)
def generate_file(
    run: str | Path | OpenRun,
    cells: str | Path,
    out: str | Path,
    options: GenerateOptions,
    *,
    say: Say = print,
    progress: Progress | None = None,
) -> anndata.AnnData:
    """Generate from the cells of any file, which is never changed; write :func:`generate_cells`'s result to an h5ad.

    Parameters
    ----------
    run
        Run folder.
    cells
        Any file that :func:`~grn_cotrain.data.io.counts.load_counts` reads.
    out
        ``OUT.h5ad``, written whole or not at all.
    {options}
    say, progress
        See :func:`generate_cells`.

    Raises
    ------
    UserError
        Unreadable file; ``out`` is the input, a folder, or no h5ad; what :func:`generate_cells` refuses.
    """
    cells, out = Path(cells), Path(out)
    if out.suffix != ".h5ad" or out.is_dir():
        raise UserError(f"--out '{out}': generated cells are written as h5ad; give the name of a file OUT.h5ad")
    refuse_input(out, cells)
    opened = OpenRun.of(run, side="cells")
    counts = opened.read(cells, options)
    with atomic_file(out) as temporary:  # opened first: a place that can't be written is refused before the work
        result = generate_cells(opened, counts, options=options, say=say, progress=progress)
        changed = write_h5ad(result, temporary)
    for note in changed:
        say(note)
    asked = int(result.obs["generate_asked"].sum())
    say(f"{asked:,} values of {result.n_obs:,} cells generated: {out}")
    return result
