"""In-silico perturbation: edits equal cells that were tokenised anew; shifts equal a plain loop, for every encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import grn_cotrain as gc
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.config import parse
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.data.vocab import NUM_SPECIAL, FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.in_silico import InSilico, perturb_cells
from grn_cotrain.evaluate.in_silico_controls import matched_controls
from grn_cotrain.evaluate.in_silico_edits import delete_genes, overexpress_genes, rebin, take_cells
from grn_cotrain.model import CoTrainNetwork, ModelInputs
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.recipe import ModelConfig
from tests.cases.toy_cells import toy_cells
from tests.integration.refusals import snapshot

WIDTH, NUM_BINS = 16, 5
LOG = toy_cells(16, kind="log", seed=2)  # log values: a cell's other values do not change with one of them
ALL_ZEROS = {"scbert"}  # read every feature


def build(
    encoder: str,
    cells: MemoryStore = LOG,
    *,
    options: dict[str, Any] | None = None,
    cell_state: str = "skip",
    **tokens: Any,
) -> CoTrainNetwork:
    if encoder in ALL_ZEROS:
        tokens = {"zeros_per_cell": "all", **tokens}
    sizes = {} if (options or {}).get("decoder") == "C" else {"num_layers": 2}
    config = parse(
        ModelConfig,
        {
            "width": WIDTH,
            "table": {"init": "random", "inductive": []},
            "graph_encoder": "identity",
            "link_decoder": "bilinear",
            "cell_state": cell_state,
            "cell_encoder": {"name": encoder, **sizes, **(options or {})},
            "tokens": {"num_bins": NUM_BINS, **tokens},
        },
    )
    none_2E = np.zeros((2, 0), dtype=np.int64)
    model = CoTrainNetwork(config, {}, ModelInputs(cells.vocab, None, {}, None, none_2E, none_2E[0]), backend="csr")
    model.cell_encoder.prepare(Statistics(cells))
    return model.eval()


def changed(cells: MemoryStore, rows: list[int], genes: list[int], value: Any) -> MemoryStore:
    """The cells at ``rows`` with other values of ``genes``; ``value(old, highest of the cell, gene)``."""
    dense = cells.values_CG.toarray()
    for row in rows:
        top = dense[row].max()
        for gene in genes:
            dense[row, gene] = value(dense[row, gene], top, gene)
    return MemoryStore.build(cells.vocab, dense[rows], kind="log")


def by_id(batch: PackedTokens) -> list[tuple[int, int, float, int, int]]:
    """Tokens as (cell, feature, value, bin, modality), sorted."""
    return sorted(
        zip(
            batch.cell_of_token_T.tolist(),
            batch.feature_ids_T.tolist(),
            batch.values_T.tolist(),
            batch.bins_T.tolist(),
            batch.modality_T.tolist(),
            strict=True,
        )
    )


@pytest.mark.parametrize("zeros", [0, "all"])
def test_deletion_is_the_cell_without_the_gene(zeros: Any) -> None:
    model, genes, rows = build("transformer", zeros_per_cell=zeros), [3, 7], list(range(12))
    batch = model.tokenizer(LOG).batch(np.array(rows)).pack()
    edited = delete_genes(batch, torch.tensor(genes), num_bins=NUM_BINS, keep_as_zeros=zeros == "all")
    assert edited is not None
    dense = LOG.values_CG.toarray()
    having = [row for row in rows if dense[row, genes].any()]
    assert 0 < len(having) < len(rows)
    assert edited.cells_B.tolist() == having
    assert edited.batch.cell_index_B.tolist() == having
    expected = model.tokenizer(changed(LOG, having, genes, lambda *_: 0.0)).batch(np.arange(len(having))).pack()
    assert by_id(edited.batch) == by_id(expected)
    assert edited.batch.max_len == expected.max_len
    assert torch.equal(edited.batch.cu_lens, expected.cu_lens)
    assert torch.equal(batch.feature_ids_T[edited.source_N], edited.batch.feature_ids_T)
    nobody = delete_genes(batch, torch.tensor([29]), num_bins=NUM_BINS, keep_as_zeros=False)
    assert nobody is None  # a spike-in is never a token


@pytest.mark.parametrize("zeros", [0, "all"])
@pytest.mark.parametrize("level", [1.3, float("nan")])
def test_over_expression_is_the_cell_with_a_higher_value(zeros: Any, level: float) -> None:
    model, genes, rows = build("transformer", zeros_per_cell=zeros), [7, 3], list(range(6))
    batch = model.tokenizer(LOG).batch(np.array(rows)).pack()
    values = torch.tensor([level, 2.1])
    edited = overexpress_genes(
        batch, torch.tensor(genes), values, torch.tensor([0, 0]), num_bins=NUM_BINS, prepare=model.prepare_batch
    )

    def raised(old: float, top: float, gene: int) -> float:
        wanted = np.float32(level if gene == 7 else 2.1)
        return float(max(old, top if np.isnan(wanted) else wanted))

    expected = model.tokenizer(changed(LOG, rows, genes, raised)).batch(np.arange(len(rows))).pack()
    assert by_id(edited.batch) == by_id(expected)
    assert torch.equal(edited.batch.cu_lens, expected.cu_lens)
    own_N = edited.source_N >= 0
    assert torch.equal(batch.feature_ids_T[edited.source_N[own_N]], edited.batch.feature_ids_T[own_N])
    added = set(edited.batch.feature_ids_T[~own_N].tolist())
    assert added <= {10, 6}
    assert bool(added) == (zeros == 0)


def test_over_expressed_genes_come_first_for_encoders_that_read_ranks() -> None:
    model, genes = build("geneformer"), [7, 3]
    batch = model.tokenizer(LOG).batch(np.arange(6)).pack()
    edited = overexpress_genes(
        batch,
        torch.tensor(genes),
        torch.tensor([0.5, 0.5]),
        torch.tensor([0, 0]),
        num_bins=NUM_BINS,
        prepare=model.prepare_batch,
    ).batch
    ranks_T = model.prepare_batch(batch).ranks_T
    assert ranks_T is not None
    assert edited.ranks_T is not None
    for cell in range(6):
        old = {int(batch.feature_ids_T[t]): int(ranks_T[t]) for t in torch.nonzero(batch.cell_of_token_T == cell)}
        here = torch.nonzero(edited.cell_of_token_T == cell)
        new = {int(edited.feature_ids_T[t]): int(edited.ranks_T[t]) for t in here}
        order = sorted((name for name in new if name >= NUM_SPECIAL), key=new.__getitem__)
        rest = sorted((name for name in old if name >= NUM_SPECIAL and name - 3 not in genes), key=old.__getitem__)
        assert order == [6, 10, *rest]
        assert [new[name] for name in order] == list(range(1, len(order) + 1))


def test_edits_of_some_cells_point_into_the_whole_batch() -> None:
    model = build("transformer")
    batch = rebin(model.tokenizer(LOG).batch(np.arange(6)).pack(), num_bins=NUM_BINS)
    part = take_cells(batch, torch.tensor([1, 3, 4]))
    expected = rebin(model.tokenizer(LOG).batch(np.array([1, 3, 4])).pack(), num_bins=NUM_BINS)
    assert by_id(part.batch) == by_id(expected)
    assert torch.equal(part.batch.cell_index_B, expected.cell_index_B)
    edited = delete_genes(part.batch, torch.tensor([3]), num_bins=NUM_BINS, keep_as_zeros=False)
    assert edited is not None
    edited = edited.seen_from(part)
    assert torch.equal(batch.feature_ids_T[edited.source_N], edited.batch.feature_ids_T)
    assert torch.equal(batch.cell_index_B[edited.cells_B], edited.batch.cell_index_B)


# Over-expression moves Geneformer's ranks, not values: that has a test of its own.
@pytest.mark.parametrize(
    ("encoder", "mode"),
    [
        (encoder, mode)
        for encoder in CELL_ENCODERS.names()
        for mode in ("delete", "overexpress")
        if (encoder, mode) != ("geneformer", "overexpress")
    ],
)
def test_shifts_equal_a_plain_loop_for_every_encoder(encoder: str, mode: str) -> None:
    """Each cell alone, tokenised before and after the matrix is changed, one vector at a time."""
    model, gene, rows = build(encoder), 5, [0, 1, 2, 3, 4]
    result = perturb_cells(model, LOG, [gene], rows_C=np.array(rows), mode=mode, level="cell_max", num_controls=0)
    dense = LOG.values_CG.toarray()
    states = model.encode_graph()
    cells, genes = {}, {}
    for row in rows:
        if mode == "delete" and dense[row, gene] == 0:
            continue
        value = (lambda *_: 0.0) if mode == "delete" else (lambda old, top, _: top)
        found = []
        for matrix in (LOG.take(np.array([row])), changed(LOG, [row], [gene], value)):
            batch = model.tokenizer(matrix).batch(np.array([0])).pack()
            with torch.no_grad():
                out = model.encode_cells(batch, states)
            tokens = {
                name: out.tokens_TD[t].double().numpy()
                for t, name in enumerate((batch.feature_ids_T - NUM_SPECIAL).tolist())
                if name >= 0 and batch.values_T[t] != 0 and name != gene
            }
            # A pooled state is pooled over the same other genes before and after.
            with torch.no_grad():
                without_BD = out.of_encoder().cells_without(batch.feature_ids_T == gene + NUM_SPECIAL)
            found.append((without_BD[0].double().numpy(), tokens))
        (cell, before), (cell_after, after) = found
        cells[f"cell{row}"] = far(cell, cell_after)
        assert before.keys() == after.keys()
        for name in before:
            genes.setdefault(name, []).append(far(before[name], after[name]))
    assert 1 < len(cells) <= len(rows)
    got = result.cells.set_index("cell")
    assert set(got.index) == set(cells)
    for name, (cosine, euclidean) in cells.items():
        assert got.loc[name, "cosine_shift"] == pytest.approx(cosine, abs=2e-6)
        assert got.loc[name, "euclidean_shift"] == pytest.approx(euclidean, abs=1e-4)
    # The edited gene's own state is no part of this, and scbert's rows of values are short at the start.
    assert max(euclidean for _, euclidean in cells.values()) > 5e-4
    table = result.genes.set_index("symbol")
    assert set(table.index) == {LOG.vocab.symbols[name] for name in genes}
    for name, pairs in genes.items():
        row = table.loc[LOG.vocab.symbols[name]]
        assert row["num_cells"] == len(pairs)
        assert row["cosine_shift"] == pytest.approx(np.mean([cosine for cosine, _ in pairs]), abs=2e-6)
        assert row["euclidean_shift"] == pytest.approx(np.mean([euclidean for _, euclidean in pairs]), abs=1e-4)
    assert result.summary["num_cells"] == len(cells)
    assert result.summary["reads_ranks"] == (encoder == "geneformer")
    assert result.summary["percentile"] is None


POOLED = [
    ("scbert", "mean", {}),
    ("scbert", "max", {}),
    ("scbert", "cls", {}),
    ("geneformer", "mean", {"cell_layer": -1}),
    ("xtrimogene", "mean", {}),
    ("xtrimogene", "max", {"decoder": "A"}),
    ("xtrimogene", "mean", {"decoder": "C"}),
    ("scfoundation", "max", {}),
    ("scfoundation", "all", {}),
]


@pytest.mark.parametrize(("encoder", "pooling", "options"), POOLED)
def test_cells_are_pooled_again_without_some_genes(encoder: str, pooling: str, options: dict[str, Any]) -> None:
    """By hand: the mean or largest of the states of the expressed genes but one; CLS and latents as they were."""
    model = build(encoder, options={"pooling": pooling, **options}, cell_state="encoder")
    batch, left_out = model.tokenizer(LOG).batch(np.arange(6)).pack(), 5 + NUM_SPECIAL
    with torch.no_grad():
        states = model.encode_cells(batch, model.encode_graph())
    left_out_T = batch.feature_ids_T == left_out
    found_BD = states.cells_without(left_out_T)
    torch.testing.assert_close(states.cells_without(torch.zeros_like(left_out_T)), states.cells_BD)
    if pooling == "cls" or options.get("decoder") == "C":
        assert torch.equal(found_BD, states.cells_BD)
        return
    reads_cls = encoder in ("xtrimogene", "scfoundation")
    for cell in range(6):
        pooled_T = (batch.cell_of_token_T == cell) & ~left_out_T
        pooled_T &= (batch.values_T != 0) | (reads_cls & (batch.feature_ids_T < NUM_SPECIAL))
        rows_ND = states.tokens_TD[pooled_T]
        if encoder == "scfoundation":  # T and S, whose states are not given out, are pooled too
            has_gene = bool(left_out_T[batch.cell_of_token_T == cell].any())
            moved = not torch.equal(found_BD[cell], states.cells_BD[cell])
            assert moved <= has_gene
            if pooling == "max":
                assert bool((found_BD[cell] >= rows_ND.amax(0) - 1e-6).all())
            continue
        expected_D = rows_ND.mean(0) if pooling == "mean" else rows_ND.amax(0)
        torch.testing.assert_close(found_BD[cell], expected_D, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["delete", "overexpress"])
@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_attention_that_moves_nothing_has_no_shift(pooling: str, mode: str) -> None:
    """No gene reads another here, so an edit of one changes no state but its own."""
    model = build("scbert", options={"pooling": pooling})
    with torch.no_grad():
        for block in model.cell_encoder.trunk.blocks:
            block.attention_out.weight.zero_()
            block.attention_out.bias.zero_()
    # Cells of log values, and classes of the value alone: what other genes show does not depend on the edited one.
    result = perturb_cells(model, LOG, [5, 8], mode=mode, level="cell_max", num_controls=3)
    assert result.summary["num_cells"] > 5
    assert result.summary["cosine_shift"] == 0
    assert result.summary["percentile"] == 50, "nothing is farther than the controls where nothing moves"
    assert result.summary["euclidean_shift"] < 1e-6
    assert result.controls["cosine_shift"].abs().max() < 1e-6
    assert result.genes["euclidean_shift"].max() < 1e-6


def far(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    cosine = 1 - float(before @ after / np.sqrt((before @ before) * (after @ after)))
    return cosine, float(np.sqrt(np.square(after - before).sum()))


def test_deletion_of_counts_leaves_the_values_of_others() -> None:
    cells = toy_cells(8)
    model = build("transformer", cells)
    batch = model.tokenizer(cells).batch(np.arange(8)).pack()
    edited = delete_genes(batch, torch.tensor([3]), num_bins=NUM_BINS, keep_as_zeros=False)
    assert edited is not None
    assert torch.equal(edited.batch.values_T, batch.values_T[edited.source_N])
    assert edited.batch.total_B is not None
    assert batch.total_B is not None
    assert torch.equal(edited.batch.total_B, batch.total_B[edited.cells_B])


def test_controls_are_like_the_gene_and_never_the_gene() -> None:
    generator = np.random.default_rng(0)
    rate_G = np.repeat([0.1, 0.5, 0.9], 12)
    mean_G = np.tile(np.repeat([1.0, 3.0], 6), 3)
    values = (generator.random((400, 36)) < rate_G) * (mean_G + 0.1 * generator.standard_normal((400, 36)))
    vocab = FeatureVocab.from_symbols([f"G{i}" for i in range(36)], species="human")
    moments = Statistics(MemoryStore.build(vocab, values.clip(min=0), kind="log"))[Moments()]
    group_G = np.arange(36) // 6
    every = np.ones(36, dtype=bool)
    for gene in (0, 8, 35):
        sets = matched_controls(moments, [gene], every, num_controls=2, seed=1)
        assert len(sets) == 2
        assert len({members[0] for members in sets}) == 2
        for (control,) in sets:
            assert control != gene
            assert group_G[control] == group_G[gene]
    pairs = matched_controls(moments, [0, 8], every, num_controls=4)
    assert all(len(set(pair)) == 2 and not set(pair) & {0, 8} for pair in pairs)
    assert matched_controls(moments, [0], every, num_controls=3, seed=5) != matched_controls(
        moments, [0], every, num_controls=3, seed=6
    )
    only_G = every.copy()
    only_G[3:] = False
    assert matched_controls(moments, [0], only_G, num_controls=9) in ([(1,), (2,)], [(2,), (1,)])


@pytest.mark.parametrize("mode", ["delete", "overexpress"])
def test_a_gene_that_matters_stands_out_and_one_like_the_others_does_not(mode: str) -> None:
    cells = toy_cells(40, density=0.6, seed=4)
    model = build("transformer", cells)
    with torch.no_grad():
        (rows_GD,) = [weight for weight in model.table.parameters() if weight.shape == (cells.num_features, WIDTH)]
        rows_GD[5] *= 20
    loud = perturb_cells(model, cells, [5], mode=mode, num_controls=10).summary
    assert loud["percentile"] == 100
    assert loud["p_value"] == pytest.approx(1 / 11)
    assert loud["cosine_shift"] > 2 * loud["control_cosine_shift"]
    plain = [perturb_cells(model, cells, [gene], mode=mode, num_controls=10).summary for gene in (2, 9, 12, 20)]
    assert min(summary["percentile"] for summary in plain) < 60


def test_sampled_cells_bound_the_work_and_progress_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grn_cotrain.apply.cells.TOKENS_PER_BATCH", 60)
    model, seen = build("transformer"), []
    result = perturb_cells(model, LOG, [5], max_cells=4, num_controls=3, progress=lambda *now: seen.append(now))
    assert (result.controls["num_cells"] <= 4).all()
    assert result.summary["num_cells"] == 4
    done, total = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == total[-1] == result.controls["num_cells"].sum()
    again = perturb_cells(model, LOG, [5], max_cells=4, num_controls=3)
    pd.testing.assert_frame_equal(again.controls, result.controls, rtol=1e-4, atol=1e-6)
    other = perturb_cells(model, LOG, [5], max_cells=4, num_controls=3, seed=1)
    assert set(other.cells["cell"]) != set(result.cells["cell"])


def test_refusals_name_the_argument() -> None:
    model = build("transformer")
    empty = MemoryStore.build(LOG.vocab, np.zeros((3, LOG.num_features)), kind="log")
    for match, genes, options in (
        ("mode='delet'.*did you mean 'delete'", [5], {"mode": "delet"}),
        ("level=1.5", [5], {"level": 1.5, "mode": "overexpress"}),
        ("level='max'", [5], {"level": "max", "mode": "overexpress"}),
        ("max_cells=-1: give 0 or more", [5], {"max_cells": -1}),
        ("num_controls=-1: give 0 or more", [5], {"num_controls": -1}),
        ("gene: none given", [], {}),
        ("gene 'ERCC-00001'.*spike-in", [29], {}),
        ("cells: there is none", [5], {"rows_C": np.zeros(0, int)}),
        ("seed=-1: give 0 to 4294967295", [5], {"seed": -1}),
    ):
        with pytest.raises(UserError, match=match):
            perturb_cells(model, LOG, genes, **options)
    with pytest.raises(UserError, match=r"expressed in none of the 3 cells.*overexpress"):
        perturb_cells(model, empty, [5])


def test_model_keeps_its_mode() -> None:
    model = build("transformer").train()
    perturb_cells(model, LOG, [5], num_controls=0)
    assert model.training


@pytest.fixture
def gene(tiny_world: Path) -> str:
    """The gene that most cells of the tiny world express."""
    adata = Prep.open(tiny_world).to_anndata()
    return str(adata.var_names[int(np.argmax(np.asarray((adata.X > 0).mean(axis=0)).ravel()))])


def perturb(*arguments: object) -> int:
    return run_app(app, ["perturb", *map(str, arguments)])


def test_command_writes_tables_and_tl_returns_the_same(
    tiny_world: Path, tiny_run: Path, gene: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, per_cell = tmp_path / "genes.tsv", tmp_path / "cells.parquet"
    options = ("--gene", gene, "--num-controls", 4, "--max-cells", 20)
    assert perturb(tiny_run, *options, "--out", out, "--cells-out", per_cell) == 0
    said = capsys.readouterr().out
    assert f"delete {gene}: cells move by" in said
    assert "percentile" in said
    first = out.read_text(encoding="utf-8").splitlines()[0]
    facts = json.loads(first[first.index("{") :])
    assert facts["genes"] == [gene]
    assert facts["run"] == "tiny"
    frame = pd.read_csv(out, sep="\t", comment="#", keep_default_na=False)
    adata = Prep.open(tiny_world).to_anndata()
    before = adata.X.copy()
    result = gc.tl.perturb(None, tiny_run, gene, num_controls=4, max_cells=20)
    assert isinstance(result, InSilico)
    assert frame["symbol"].tolist() == result.genes["symbol"].tolist()
    np.testing.assert_allclose(frame["cosine_shift"], result.genes["cosine_shift"], rtol=1e-4)
    cells = pd.read_parquet(per_cell)
    np.testing.assert_allclose(cells["cosine_shift"], result.cells["cosine_shift"])
    assert (before != adata.X).nnz == 0
    given = gc.tl.perturb(adata, tiny_run, gene, num_controls=4, max_cells=20)
    assert given.summary["cosine_shift"] == pytest.approx(result.summary["cosine_shift"])
    up = tmp_path / "up.parquet"
    assert perturb(tiny_run, *options, "--mode", "overexpress", "--level", "cell_max", "--out", up) == 0
    assert len(pd.read_parquet(up)) > 10


def test_command_refuses_in_one_line(
    tiny_run: Path, gene: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.tsv"
    for arguments, expected in (
        (("--gene", gene + "X", "--out", out), f"did you mean '{gene}'?"),
        (("--gene", gene, "--out", tmp_path / "x.csv"), "ends in .tsv or .parquet"),
        (("--gene", gene, "--out", out, "--only", "nonsense"), "COLUMN=VALUE"),
        (("--gene", gene, "--out", out, "--only", "nonsense=1"), "no such column of obs"),
        (("--gene", gene, "--out", out, "--mode", "remove"), "choose from delete, overexpress"),
        (("--gene", gene, "--out", out, "--level", "high", "--mode", "overexpress"), "level 'high'"),
    ):
        assert perturb(tiny_run, *arguments) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("error: ")
        assert "\n" not in error
        assert expected in error
    assert list(tmp_path.iterdir()) == []


def test_tables_never_share_a_file_nor_replace_the_input(
    tiny_world: Path, tiny_run: Path, gene: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adata = Prep.open(tiny_world).to_anndata()
    counts = tmp_path / "counts.tsv"
    adata.to_df().astype(int).to_csv(counts, sep="\t")
    matrix = tmp_path / "matrix"
    matrix.mkdir()
    (matrix / "genes.tsv").write_text("A\tA\n")
    (tmp_path / "folder.tsv").mkdir()
    (tmp_path / "file").write_text("x")
    out, before = tmp_path / "x.tsv", snapshot(tmp_path)
    for arguments, expected in (
        (("--out", out, "--cells-out", out), f"--cells-out '{out}': is --out too"),
        (("--out", out, "--cells-out", tmp_path / "a" / ".." / "x.tsv"), "is --out too"),
        ((counts, "--out", counts), f"--out '{counts}': is the input itself"),
        ((counts, "--out", out, "--cells-out", counts), f"--cells-out '{counts}': is the input itself"),
        ((matrix, "--out", matrix / "genes.tsv"), "genes.tsv': is a file of the input"),
        (("--out", out, "--cells-out", tmp_path / "c.csv"), f"--cells-out '{tmp_path / 'c.csv'}': unknown kind"),
        (("--out", out, "--cells-out", tmp_path / "folder.tsv"), "folder.tsv': is a folder; give the name of a file"),
    ):
        assert perturb(tiny_run, "--gene", gene, *arguments) == 2
        captured = capsys.readouterr()
        assert expected in captured.err
        assert captured.err.count("\n") == 1
        assert snapshot(tmp_path) == before


def test_a_place_that_cannot_be_written_is_told_before_the_work(
    tiny_run: Path, gene: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*arguments: object, **options: object) -> None:
        pytest.fail("genes were perturbed before the place was tried")

    monkeypatch.setattr("grn_cotrain.export.perturb.perturb_genes", work)
    (tmp_path / "file").write_text("x")
    good, bad = tmp_path / "x.tsv", tmp_path / "file" / "x.tsv"
    for out, cells_out in ((bad, good), (good, bad)):
        assert perturb(tiny_run, "--gene", gene, "--out", out, "--cells-out", cells_out) == 2
        assert f"output '{bad}': cannot be written" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
