"""Every table that a user may hang on cells is written and read back; what changes is reported."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from grn_cotrain.data.io.counts import load_counts
from grn_cotrain.data.io.writable import make_writable, writable_frame
from grn_cotrain.data.io.write_h5ad import write_h5ad
from grn_cotrain.errors import UserError

CELLS = ["x", "y"]


def stored(frame: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """The table after a round through a file, and what was reported."""
    adata = anndata.AnnData(np.ones((len(frame), 1), np.float32), obs=pd.DataFrame(index=CELLS[: len(frame)]))
    adata.uns["table"] = frame
    notes = write_h5ad(adata, folder / "a.h5ad")
    return anndata.read_h5ad(folder / "a.h5ad").uns["table"], notes


def objects(*values: Any) -> pd.Series:
    return pd.Series(list(values), index=CELLS, dtype=object)


KEPT = {
    "int8": (pd.Series([1, 2], dtype=np.int8, index=CELLS), [1, 2]),
    "text": (objects("a", "b"), ["a", "b"]),
    "text with a missing one": (objects("a", None), ["a", None]),
    "nullable text": (pd.Series(["a", None], dtype="string", index=CELLS), ["a", None]),
    "nullable integers": (pd.Series([1, None], dtype="Int64", index=CELLS), [1, None]),
    "nullable booleans": (pd.Series([True, None], dtype="boolean", index=CELLS), [True, None]),
    "nullable floats": (pd.Series([1.5, None], dtype="Float64", index=CELLS), [1.5, None]),
    "categories of integers": (pd.Series(pd.Categorical([1, 2]), index=CELLS), [1, 2]),
    "categories of booleans": (pd.Series(pd.Categorical([True, None]), index=CELLS), [True, None]),
    "categories of nullable integers": (pd.Series(pd.Categorical(pd.array([1, 2], "Int64")), index=CELLS), [1, 2]),
    "numbers as objects": (objects(1, 2.5), [1.0, 2.5]),
    "booleans as objects": (objects(True, None), [True, None]),
    "nothing": (objects(None, np.nan), [None, None]),
    "sparse": (pd.Series(pd.arrays.SparseArray([0, 3]), index=CELLS), [0, 3]),
    "text from pyarrow": (pd.Series(["a", None], dtype="string[pyarrow]", index=CELLS), ["a", None]),
    "integers from pyarrow": (pd.Series([7, None], dtype="int64[pyarrow]", index=CELLS), [7, None]),
}
AS_TEXT = {
    "mixed": (objects("a", 1.0), ["a", "1"]),
    "booleans and numbers": (objects(True, 1), ["True", "1"]),
    "tuples and lists": (objects((1, 2), [3]), ["(1, 2)", "[3]"]),
    "bytes": (objects(b"a", None), ["a", None]),
    "large whole numbers": (objects(2**60 + 1, 1), [str(2**60 + 1), "1"]),
    "decimals": (objects(Decimal("1.10"), None), ["1.10", None]),
    "dates": (pd.Series(pd.to_datetime(["2020-01-02", None]), index=CELLS), ["2020-01-02 00:00:00", None]),
    "dates with a zone": (
        pd.Series(pd.to_datetime(["2020-01-02", None], utc=True), index=CELLS),
        ["2020-01-02 00:00:00+00:00", None],
    ),
    "durations": (pd.Series(pd.to_timedelta([1, 2], unit="D"), index=CELLS), ["1 days 00:00:00", "2 days 00:00:00"]),
    "periods": (pd.Series(pd.period_range("2020", periods=2, freq="M"), index=CELLS), ["2020-01", "2020-02"]),
    "intervals": (pd.Series(pd.interval_range(0, 2), index=CELLS), ["(0, 1]", "(1, 2]"]),
    "categories that are intervals": (pd.cut(pd.Series([0.5, None], index=CELLS), [0, 1]), ["(0, 1]", None]),
    "mixed categories": (pd.Series(pd.Categorical([1, "1"]), index=CELLS), ["1", "1"]),
}


@pytest.mark.parametrize("name", KEPT)
def test_values_stay_what_they_are(name: str, tmp_path: Path) -> None:
    column, expected = KEPT[name]
    got, notes = stored(pd.DataFrame({"column": column}), tmp_path)
    assert got["column"].astype(object).where(got["column"].notna(), None).tolist() == expected
    assert notes == []


@pytest.mark.parametrize("name", AS_TEXT)
def test_other_values_become_text_and_are_reported(name: str, tmp_path: Path) -> None:
    column, expected = AS_TEXT[name]
    got, notes = stored(pd.DataFrame({"column": column}), tmp_path)
    assert got["column"].astype(object).where(got["column"].notna(), None).tolist() == expected
    assert notes == ["uns['table']: 1 columns were stored as text, no other type fits: column"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["a/b", "a_b"], ["a_b_1", "a_b"]),
        (["a", "a", "a_1"], ["a", "a_2", "a_1"]),
        ([1, "1"], ["1_1", "1"]),
        (["", "."], ["unnamed", "unnamed_1"]),
        (["_index"], ["index_column"]),
        ([("a", 1)], ["a_1"]),
        (["a\0b"], ["ab"]),
        (["caf\u00e9 %", "n (all)"], ["caf\u00e9 %", "n (all)"]),
    ],
)
def test_names_of_columns(given: list[Any], names: list[str], tmp_path: Path) -> None:
    columns = pd.Index(given, dtype=object, tupleize_cols=False)
    frame = pd.DataFrame([range(len(given))] * 2, index=CELLS, columns=columns)
    got, notes = stored(frame, tmp_path)
    assert list(got.columns) == names
    assert got.iloc[0].tolist() == list(range(len(given)))
    changed = [f"{old!r} -> {new!r}" for old, new in zip(given, names, strict=True) if old != new]
    assert [note.rpartition(": ")[2] for note in notes] == ([", ".join(changed)] if changed else [])
    assert list(frame.columns) == given


def test_a_reserved_column_that_repeats_the_index_is_left_out() -> None:
    got, notes = writable_frame(pd.DataFrame({"_index": CELLS, "a": [1, 2]}, index=CELLS))
    assert list(got.columns) == ["a"]
    assert notes == ["obs: the column '_index', whose name is reserved, repeats the index and was left out"]


def test_the_name_of_the_index(tmp_path: Path) -> None:
    other = pd.DataFrame({"barcode": ["p", "q"]}, index=pd.Index(CELLS, name="barcode"))
    got, notes = stored(other, tmp_path)
    assert got["barcode"].tolist() == ["p", "q"]
    assert list(got.index) == CELLS
    assert len(notes) == 1
    assert "stored without its name" in notes[0]
    same = pd.DataFrame({"barcode": CELLS}, index=pd.Index(CELLS, name="barcode"))
    got, notes = stored(same, tmp_path)
    assert (got.index.name, notes) == ("barcode", [])


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(pd.array(["p", "q"], dtype="string")),
        pd.CategoricalIndex(["p", "q"]),
        pd.Index([1, 2]),
        pd.DatetimeIndex(["2020-01-01", "2021-01-01"]),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]),
    ],
)
def test_any_index_becomes_text(index: pd.Index, tmp_path: Path) -> None:
    got, _ = stored(pd.DataFrame({"a": [1, 2]}, index=index), tmp_path)
    assert list(got.index) == [str(name) for name in index]


def test_every_table_of_an_object_is_made_writable(tmp_path: Path) -> None:
    strange = {"_index": ["p", "q"], "list": objects([1], [2]).to_numpy()}
    adata = anndata.AnnData(
        np.ones((2, 2), np.float32), obs=pd.DataFrame(strange, index=CELLS), var=pd.DataFrame(strange, index=["g", "h"])
    )
    adata.raw = adata.copy()
    adata.obsm["table"] = pd.DataFrame(strange, index=CELLS)
    notes = make_writable(adata)
    adata.write_h5ad(tmp_path / "a.h5ad")
    got = anndata.read_h5ad(tmp_path / "a.h5ad")
    for table in (got.obs, got.var, got.raw.var, got.obsm["table"]):
        assert list(table.columns) == ["index_column", "list"]
        assert table["list"].tolist() == ["[1]", "[2]"]
    assert [note.partition(":")[0] for note in notes] == [
        place for place in ("obs", "var", "raw.var", "obsm['table']") for _ in range(2)
    ]


def test_what_no_file_can_hold_is_one_line(tmp_path: Path) -> None:
    adata = anndata.AnnData(np.ones((2, 1), np.float32))
    adata.uns["made"] = {"by": object()}
    with pytest.raises(UserError, match=r"cells: cannot be stored as h5ad.*key 'by'"):
        write_h5ad(adata, tmp_path / "a.h5ad")
    assert not (tmp_path / "a.h5ad").exists()


def test_a_reserved_column_of_a_file_is_read_and_reported(tmp_path: Path) -> None:
    X = np.random.default_rng(0).poisson(3, (20, 6)).astype(np.float32)
    names = [f"c{i}" for i in range(20)]
    adata = anndata.AnnData(X, obs=pd.DataFrame({"batch": ["a", "b"] * 10}, index=names))
    adata.var_names = [f"GENE{i}" for i in range(6)]
    adata.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "a") as file:
        obs = file["obs"]
        obs.move("_index", "index")
        obs.attrs["_index"] = "index"
        made = obs.create_dataset("_index", data=np.array(["other"] * 20, object), dtype=h5py.string_dtype())
        made.attrs["encoding-type"], made.attrs["encoding-version"] = "string-array", "0.2.0"
        obs.attrs["column-order"] = np.array(["batch", "_index"], dtype=object)
    counts = load_counts(tmp_path / "a.h5ad")
    assert list(counts.adata.obs_names) == names
    assert counts.adata.obs["index_column"].tolist() == ["other"] * 20
    assert "obs: 1 columns were renamed to be stored: '_index' -> 'index_column'" in counts.notes
