"""Joined cells against pandas, for any files; alias renaming keeps names distinct and is idempotent."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.merge import merge_counts
from grn_cotrain.data.io.counts import CountsFile, counts_from_anndata
from grn_cotrain.data.io.names import AliasTable

GENES = [f"G{letter}" for letter in "ABCDEFGH"]


def build(genes: list[str], cells: list[str], seed: int) -> tuple[pd.DataFrame, CountsFile]:
    values = np.random.default_rng(seed).poisson(1.0, (len(cells), len(genes))) + 1.0  # no empty cells
    frame = pd.DataFrame(values.astype(np.float32), index=cells, columns=genes)
    return frame, counts_from_anndata(anndata.AnnData(frame))


files = st.lists(st.lists(st.sampled_from(GENES[1:]), unique=True, max_size=7), min_size=2, max_size=4)


@settings(max_examples=40, deadline=None)
@given(files, st.sampled_from(["outer", "inner"]))
def test_join_is_that_of_pandas(genes_of: list[list[str]], join: str) -> None:
    built = [build([GENES[0], *genes], [f"f{i}c{k}" for k in range(i + 1)], i) for i, genes in enumerate(genes_of)]
    merged = merge_counts([(f"f{i}", counts) for i, (_, counts) in enumerate(built)], join=join)
    expected = pd.concat([frame for frame, _ in built], join=join).fillna(0.0)
    names = list(merged.adata.var_names)
    assert sorted(names) == sorted(expected.columns)
    assert np.array_equal(merged.adata.X.toarray(), expected[names].to_numpy())
    for i, (frame, _) in enumerate(built):
        report = merged.report.files[f"f{i}"]
        assert report.mapped + len(report.lost) == report.num_given == frame.shape[1]
        assert report.mapped + len(report.absent) == len(names)


relations = st.lists(st.tuples(st.sampled_from(list("abcdefghij")), st.sampled_from(list("ABCDE"))), min_size=1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*"pqrstuvw", *"ABCDE"]), unique=True, min_size=1), relations)
def test_renaming_keeps_names_distinct_and_settles(names: list[str], pairs: list[tuple[str, str]]) -> None:
    other: dict[str, tuple[str, ...]] = {}
    for alias, symbol in pairs:
        key = dict(zip("abcdefghij", "pqrstuvwxy", strict=True))[alias]
        other[key] = tuple(dict.fromkeys((*other.get(key, ()), symbol)))
    table = AliasTable("t", {s.casefold(): s for _, s in pairs}, {}, other, {})
    renamed = table.rename(names)
    assert len(set(renamed.names)) == len(names)
    assert table.rename([name for name in renamed.names if name is not None]).names == renamed.names
    for old, new in zip(names, renamed.names, strict=True):
        assert new == old or other[old] == (new,)
