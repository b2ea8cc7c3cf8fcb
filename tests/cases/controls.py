"""Contract of controls: what every registered link scorer must do."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest

from grn_cotrain.controls import CONTROLS, Control
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.errors import UserError
from tests.cases.toy_links import toy_cells, toy_split

KINDS = ("random", "unseen-tf", "unseen-target", "unseen-both")


def without_test(split: EdgeSplit) -> EdgeSplit:
    """The split as it looks to a scorer that cannot know which withheld pairs are the test."""
    withheld_2E = np.concatenate([split.withheld_2E, split.test_2E], axis=1)
    return dataclasses.replace(split, test_2E=split.test_2E[:, :0], withheld_2E=withheld_2E)


class ControlCases:
    """Subclass once per registered control; ``options`` keep it quick."""

    name: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}
    kinds: ClassVar[tuple[str, ...]] = KINDS

    def build(self, seed: int = 0) -> Control:
        return CONTROLS.build(self.name, self.options, seed=seed)

    def scores(self, split: EdgeSplit, pairs_2M: np.ndarray) -> np.ndarray:
        control = self.build()
        assert control.fit(split, toy_cells()) is control
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
        control = self.build().fit(split, toy_cells())
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

    def test_cells_are_asked_for_where_they_are_read(self) -> None:
        split = toy_split(self.kinds[0])
        control = self.build()
        if control.needs_cells:
            with pytest.raises(UserError, match="cells"):
                control.fit(split, None)
        else:
            pairs_2M = split.pairs("test").pairs_2M
            np.testing.assert_array_equal(control.fit(split, None).score(pairs_2M), self.scores(split, pairs_2M))
