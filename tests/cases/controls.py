"""Contract of controls: what every registered link scorer must do."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest

from grn_cotrain.controls import CONTROLS, Control
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError

from .skips import skip_listed
from .toy_links import NUM_GENES, toy_cells, toy_split

KINDS = ("random", "unseen-tf", "unseen-target", "unseen-both")


def without_test(split: EdgeSplit) -> EdgeSplit:
    """The split as it looks to a scorer that cannot know which withheld pairs are the test."""
    withheld_2E = np.concatenate([split.withheld_2E, split.test_2E], axis=1)
    return dataclasses.replace(split, test_2E=split.test_2E[:, :0], withheld_2E=withheld_2E)


def renumbered_split(split: EdgeSplit, new_of_old_G: np.ndarray) -> EdgeSplit:
    """The same split under another numbering of the genes."""
    arrays = {
        field.name: new_of_old_G[getattr(split, field.name)]
        for field in dataclasses.fields(split)
        if isinstance(getattr(split, field.name), np.ndarray)
    }
    return dataclasses.replace(split, **arrays)


def renumbered_cells(cells: MemoryStore, new_of_old_G: np.ndarray) -> MemoryStore:
    """The same cells with their genes in another order; size factors do not change."""
    old_of_new_G = np.argsort(new_of_old_G)
    vocab = FeatureVocab.from_symbols([cells.vocab.symbols[i] for i in old_of_new_G], species="human")
    vocab = dataclasses.replace(vocab, outdated=cells.vocab.outdated, features=cells.vocab.features)
    return MemoryStore.build(vocab, cells.values_CG[:, old_of_new_G], kind="counts", size_factor_C=cells.size_factor_C)


class ControlCases:
    """Subclass once per registered control; ``options`` keep it quick."""

    name: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}
    kinds: ClassVar[tuple[str, ...]] = KINDS
    # A sample of training pairs, and a choice among equals, are others when genes are numbered otherwise.
    samples: ClassVar[bool] = False

    def cells(self) -> MemoryStore:
        """Cells that have what the control needs."""
        return toy_cells()

    def build(self, seed: int = 0) -> Control:
        return CONTROLS.build(self.name, self.options, seed=seed)

    def scores(self, split: EdgeSplit, pairs_2M: np.ndarray) -> np.ndarray:
        control = self.build()
        assert control.fit(split, self.cells()) is control
        return control.score(pairs_2M)

    def test_declares_itself(self) -> None:
        control = self.build(seed=3)
        assert control.name == self.name
        assert control.seed == 3
        assert control.cost in ("default", "costly")

    def test_unknown_option_is_refused(self) -> None:
        with pytest.raises(UserError, match="unknown key"):
            CONTROLS.build(self.name, {"no_such_option": 1})

    def test_scores_are_finite_and_one_a_pair(self) -> None:
        for kind in self.kinds:
            split = toy_split(kind)
            pairs_2M = split.pairs("test").pairs_2M
            scores_M = self.scores(split, pairs_2M)
            assert scores_M.shape == (pairs_2M.shape[1],), kind
            assert scores_M.dtype == np.float64, kind
            assert np.isfinite(scores_M).all(), kind

    def test_order_and_company_of_pairs_do_not_matter(self) -> None:
        split = toy_split(self.kinds[0])
        pairs_2M = split.pairs("test").pairs_2M
        control = self.build().fit(split, self.cells())
        scores_M = control.score(pairs_2M)
        chosen = np.random.default_rng(0).permutation(pairs_2M.shape[1])[:50]
        np.testing.assert_allclose(control.score(pairs_2M[:, chosen]), scores_M[chosen], rtol=1e-5, atol=1e-6)

    def test_same_seed_same_scores(self) -> None:
        split = toy_split(self.kinds[-1])
        pairs_2M = split.pairs("test").pairs_2M
        np.testing.assert_array_equal(self.scores(split, pairs_2M), self.scores(split, pairs_2M))

    def test_never_reads_the_test(self) -> None:
        for kind in self.kinds:
            split = toy_split(kind)
            pairs_2M = split.pairs("test").pairs_2M
            blind = self.scores(without_test(split), pairs_2M)
            np.testing.assert_array_equal(self.scores(split, pairs_2M), blind, err_msg=kind)

    def test_numbering_of_genes_does_not_matter(self) -> None:
        if self.samples:
            skip_listed("samples")
        new_of_old_G = np.random.default_rng(2).permutation(NUM_GENES)
        for kind in self.kinds:
            split = toy_split(kind)
            pairs_2M = split.pairs("test").pairs_2M
            control = self.build().fit(
                renumbered_split(split, new_of_old_G), renumbered_cells(self.cells(), new_of_old_G)
            )
            scores_M = control.score(new_of_old_G[pairs_2M])
            np.testing.assert_allclose(scores_M, self.scores(split, pairs_2M), rtol=1e-3, atol=1e-5, err_msg=kind)

    def test_unknown_source_gets_a_finite_score(self) -> None:
        split = toy_split(self.kinds[0])
        outside = np.setdiff1d(np.arange(NUM_GENES), split.all_positives()[0])[:5]
        pairs_2M = np.stack([outside, np.zeros_like(outside)])
        assert np.isfinite(self.build().fit(split, self.cells()).score(pairs_2M)).all()

    def test_what_is_missing_is_named(self) -> None:
        control = self.build()
        assert control.missing(self.cells()) is None
        assert (control.missing(None) is not None) == control.needs_cells

    def test_cells_are_asked_for_where_they_are_read(self) -> None:
        split = toy_split(self.kinds[0])
        control = self.build()
        if control.needs_cells:
            with pytest.raises(UserError, match="cells"):
                control.fit(split, None)
        else:
            pairs_2M = split.pairs("test").pairs_2M
            np.testing.assert_array_equal(control.fit(split, None).score(pairs_2M), self.scores(split, pairs_2M))
