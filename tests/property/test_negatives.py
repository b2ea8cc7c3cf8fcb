"""The sampler by its rules: no training positive among the negatives, universes respected, supervised pairs dropped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.leakage import audit
from grn_cotrain.data.negatives import LinkSampler
from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.data.splits import make_split
from grn_cotrain.errors import UserError
from tests.cases.networks import labelled_split, random_grn

splits = st.builds(
    lambda kind, track, seed, undirected: make_split(
        random_grn(num_genes=50, num_tfs=14, seed=seed, undirected=undirected), kind, track=track
    )[0],
    st.sampled_from(["random", "unseen-tf", "unseen-target", "unseen-both"]),
    st.sampled_from(["visible", "hidden"]),
    st.integers(0, 1000),
    st.booleans(),
)


def keys(split: EdgeSplit, pairs: object) -> np.ndarray:
    return pair_keys(np.asarray(pairs), split.num_genes)


@settings(deadline=None, max_examples=20)
@given(splits, st.integers(0, 1000))
def test_pairs(split: EdgeSplit, seed: int) -> None:
    sampler = LinkSampler(split, positives_per_step=17, negatives_per_positive=3)
    step = sampler.draw(np.random.default_rng(seed))
    train_E = keys(split, split.train_2E)
    positives = keys(split, step.positives_2P)
    assert np.isin(positives, train_E).all()
    assert np.unique(positives).size == positives.size <= max(1, train_E.size // 4)
    negatives_2N = step.negatives_2N.numpy()
    assert negatives_2N.shape[1] == 3 * positives.size
    assert not np.isin(keys(split, negatives_2N), train_E).any()
    assert (negatives_2N[0] != negatives_2N[1]).all()
    assert np.isin(negatives_2N[0], split.train_sources_S).all()
    assert np.isin(negatives_2N[1], split.train_targets_N).all()
    np.testing.assert_array_equal(step.drop_2M.numpy(), step.positives_2P.numpy())
    again = sampler.draw(np.random.default_rng(seed))
    np.testing.assert_array_equal(step.negatives_2N.numpy(), again.negatives_2N.numpy())


@settings(deadline=None, max_examples=20)
@given(splits, st.integers(0, 1000))
def test_rows(split: EdgeSplit, seed: int) -> None:
    step = LinkSampler(split, mode="rows", source_share=0.3).draw(np.random.default_rng(seed))
    sources = step.sources_S.tolist()
    assert len(set(sources)) == len(sources) == max(1, round(0.3 * split.train_sources_S.size))
    assert step.row_labels_SG is not None
    assert step.row_allowed_SG is not None
    positive = {tuple(p) for p in split.train_2E.T.tolist()}
    targets = set(split.train_targets_N.tolist())
    for row, source in enumerate(sources):
        assert source in split.train_sources_S
        for gene in range(split.num_genes):
            assert bool(step.row_labels_SG[row, gene]) == ((source, gene) in positive)
            assert bool(step.row_allowed_SG[row, gene]) == (gene in targets and gene != source)
    mine = {p for p in positive if p[0] in sources}
    assert {tuple(p) for p in step.drop_2M.T.tolist()} == mine
    messages_2E = np.array(sorted(positive - mine), dtype=np.int64).reshape(-1, 2).T
    left = np.setdiff1d(keys(split, messages_2E), keys(split, step.drop_2M.flip(0)))
    messages_2E = np.stack(np.divmod(left, split.num_genes))
    assert audit(split, messages_2E, supervision_2P=step.positives_2P.numpy()).ok


def test_test_positives_stay_among_the_unlabelled_pairs() -> None:
    split = make_split(random_grn(num_genes=40, num_tfs=12, density=0.3), "random")[0]
    sampler, rng = LinkSampler(split, negatives_per_positive=10), np.random.default_rng(0)
    drawn = np.concatenate([keys(split, sampler.draw(rng).negatives_2N) for _ in range(20)])
    held = np.concatenate([keys(split, split.test_2E), keys(split, split.validation_2E)])
    assert np.isin(held, drawn).mean() > 0.9


@pytest.mark.parametrize("mode", ["pairs", "rows"])
def test_published_splits_use_exactly_their_labelled_pairs(mode: str) -> None:
    split = labelled_split()
    labelled = np.union1d(keys(split, split.train_2E), keys(split, split.train_negatives_2N))
    rng = np.random.default_rng(0)
    for _ in range(5):
        step = LinkSampler(split, mode=mode, source_share=1.0).draw(rng)  # type: ignore[arg-type]
        if mode == "pairs":
            assert np.isin(keys(split, step.negatives_2N), keys(split, split.train_negatives_2N)).all()
        else:
            assert step.row_allowed_SG is not None
            rows, columns = np.nonzero(step.row_allowed_SG.numpy())
            allowed = keys(split, np.stack([step.sources_S.numpy()[rows], columns]))
            np.testing.assert_array_equal(np.sort(allowed), labelled)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "row"}, "mode 'row'"),
        ({"positives_per_step": 0}, "positives_per_step: got 0"),
        ({"negatives_per_positive": 0}, "negatives_per_positive"),
        ({"source_share": 1.5}, "source_share: got 1.5"),
        ({"positive_share": 0.0}, "positive_share"),
    ],
)
def test_options_are_checked(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        LinkSampler(labelled_split(), **options)


def test_a_split_without_negatives_is_refused_instead_of_drawn_for_ever() -> None:
    split = labelled_split()
    full = np.stack(np.nonzero(~np.eye(split.num_genes, dtype=bool)))
    everything = replace(
        split, train_2E=full, train_negatives_2N=None,
        train_sources_S=np.arange(split.num_genes), train_targets_N=np.arange(split.num_genes),
    )  # fmt: skip
    with pytest.raises(UserError, match="no negative"):
        LinkSampler(everything)
    with pytest.raises(UserError, match="no training positive"):
        LinkSampler(replace(split, train_2E=full[:, :0]))
