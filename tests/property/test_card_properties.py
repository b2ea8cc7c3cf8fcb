"""What an embedding's axes, units and order of genes must not change."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.card.ridge import fold_numbers, out_of_fold
from grn_cotrain.card.spectrum import spectrum_of
from grn_cotrain.card.vectors import linear_cka, nearest, overlap, procrustes_r2

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """Rows, and a random rotation of their axes."""
    generator = np.random.default_rng(seed)
    num_genes, width = int(generator.integers(12, 60)), int(generator.integers(2, 7))
    rows = generator.standard_normal((num_genes, width)) * generator.uniform(0.2, 3, width)
    return generator, rows, np.linalg.qr(generator.standard_normal((width, width)))[0]


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_rotation_and_scale_change_no_agreement(seed: int) -> None:
    generator, rows, rotation = drawn(seed)
    other = generator.standard_normal((len(rows), 3)) + rows[:, :1]
    moved = generator.uniform(0.1, 9) * rows @ rotation + generator.standard_normal(rows.shape[1])
    for measure in (procrustes_r2, linear_cka):
        np.testing.assert_allclose(measure(rows, other), measure(moved, other), atol=1e-9)
        np.testing.assert_allclose(measure(rows, other), measure(other, rows), atol=1e-9)
        assert 0 <= measure(rows, other) <= 1 + 1e-12


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_order_of_genes_changes_no_agreement(seed: int) -> None:
    generator, rows, _ = drawn(seed)
    other = generator.standard_normal(rows.shape)
    order = generator.permutation(len(rows))
    for measure in (procrustes_r2, linear_cka):
        np.testing.assert_allclose(measure(rows, other), measure(rows[order], other[order]), atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(1, 8))
def test_neighbours_follow_their_genes(seed: int, k: int) -> None:
    generator, rows, rotation = drawn(seed)
    order = generator.permutation(len(rows))
    index, _ = nearest(rows, k)
    moved, _ = nearest((3 * rows @ rotation)[order], k)
    # Neighbour sets, since rounding may exchange genes of all but equal cosine.
    assert overlap(index[order], order[moved]).mean() > 0.97


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_probes_do_not_depend_on_axes(seed: int) -> None:
    generator, rows, rotation = drawn(seed)
    labels = generator.random((len(rows), 3)) < 0.3
    folds = fold_numbers(np.zeros(len(rows)), seed=seed % 1000)
    found = out_of_fold(rows, labels, folds)
    np.testing.assert_allclose(out_of_fold(7 * rows @ rotation + 2, labels, folds), found, atol=1e-6)
    order = generator.permutation(len(rows))
    np.testing.assert_allclose(out_of_fold(rows[order], labels[order], folds[order]), found[order], atol=1e-8)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_effective_rank_lies_between_one_and_the_width(seed: int) -> None:
    _, rows, rotation = drawn(seed)
    found = spectrum_of(rows)
    assert 1 - 1e-9 <= found.effective_rank <= rows.shape[1] + 1e-9
    np.testing.assert_allclose(found.effective_rank, spectrum_of(rows @ rotation).effective_rank, rtol=1e-6)
    assert sum(found.variance_shares) <= 1 + 1e-9
