"""A column of obs by name, the error of a wrong name, and labels that have one form however they are stored."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from grn_cotrain.data.covariates import UNKNOWN, categories_of, covariate_codes, unknown_notes
from grn_cotrain.data.obs import as_labels, canonical_text, obs_column
from grn_cotrain.errors import UserError


def test_the_column_comes_back() -> None:
    obs = pd.DataFrame({"cell_type": ["B", "T"], "batch": [1, 2]})
    assert obs_column(obs, "batch", "--by").tolist() == [1, 2]


def test_a_wrong_name_is_told_with_the_option_the_choices_and_the_nearest() -> None:
    obs = pd.DataFrame({"cell_type": ["B"], "batch": [1]})
    with pytest.raises(UserError) as caught:
        obs_column(obs, "celltype", "--test-by")
    assert str(caught.value) == (
        "test_by='celltype': no such column of obs; choose from cell_type, batch (did you mean 'cell_type'?)"
    )
    with pytest.raises(UserError, match="choose from none, obs is empty"):
        obs_column(pd.DataFrame(index=["a"]), "batch", "--by")


def test_many_columns_stay_one_line() -> None:
    wide = pd.DataFrame({f"column{i}": [0] for i in range(300)})
    with pytest.raises(UserError, match=r"column19 and 280 more \(did you mean 'column299'\?\)$"):
        obs_column(wide, "column2999", "--by")


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("0", [0, 0.0, -0.0, "0", "0.0", np.int8(0), np.float32(0), "-0.0", b"0", " 0 ", Decimal("0.0")]),
        ("1", [1, 1.0, "1", "1.0", "1.00", np.uint64(1), np.float16(1)]),
        ("-3", [-3, -3.0, "-3.0"]),
        ("0.1", [0.1, "0.1", np.float32(0.1)]),
        ("True", [True, "True", np.bool_(True)]),
        ("01", ["01"]),
        ("01.0", ["01.0"]),
        ("1e3", ["1e3"]),
        ("1.5", ["1.5", 1.5]),
        ("inf", [float("inf")]),
        ("9007199254740993", [9007199254740993, "9007199254740993"]),
        (None, [None, float("nan"), pd.NA, pd.NaT, "nan", "NaN", "<NA>", "", "  ", np.float32("nan")]),
    ],
)
def test_a_label_has_one_text_however_it_is_stored(label: str | None, values: list[object]) -> None:
    assert [canonical_text(value) for value in values] == [label] * len(values)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([0, 1, 1]), ["0", "1", "1"]),
        (pd.Series([0.0, np.nan, 1.0]), ["0", None, "1"]),
        (pd.Series([0, None, 1], dtype="Int64"), ["0", None, "1"]),
        (pd.Series([0.5, None, 1], dtype="Float64"), ["0.5", None, "1"]),
        (pd.Series([True, None, False], dtype="boolean"), ["True", None, "False"]),
        (pd.Series(["0", None, "1.0"], dtype="string"), ["0", None, "1"]),
        (pd.Series([True, 1, 1.0, "1"], dtype=object), ["True", "1", "1", "1"]),
        (pd.Series([1, True, "True"], dtype=object), ["1", "True", "True"]),
        (pd.Series(pd.Categorical([0, 1, None])), ["0", "1", None]),
        (pd.Series(pd.Categorical(np.array([0, 1], dtype=np.int8))), ["0", "1"]),
        (pd.Series(pd.Categorical([0.0, 1.0])), ["0", "1"]),
        (pd.Series(pd.Categorical(["nan", "a"])), [None, "a"]),
        (pd.Series(["01", "1"]), ["01", "1"]),
    ],
)
def test_labels_of_a_column(column: pd.Series, expected: list[str | None]) -> None:
    labels = as_labels(column)
    assert labels.tolist() == expected
    assert labels.index.equals(column.index)


def test_covariates_of_one_file_are_known_in_another() -> None:
    learned = categories_of(pd.DataFrame({"batch": [0, 1, 1]}), ["batch"])
    assert learned == {"batch": ("0", "1")}
    for batch in ([0.0, np.nan, 1.0], ["0", None, "1"], ["0.0", "nan", "1.0"], pd.Categorical([0, None, 1])):
        obs = pd.DataFrame({"batch": batch})
        assert covariate_codes(obs, learned).ravel().tolist() == [0, UNKNOWN, 1]
        assert unknown_notes(obs, learned) == ["covariate 'batch': 1 cells have none and are taken as unknown"]
    assert covariate_codes(pd.DataFrame({"batch": ["01", 2]}), learned).ravel().tolist() == [UNKNOWN, UNKNOWN]


def test_categories_that_an_earlier_version_learned_are_found() -> None:
    learned = {"batch": ("0.0", "1.0", "2")}
    assert covariate_codes(pd.DataFrame({"batch": [0, 1.0, "2"]}), learned).ravel().tolist() == [0, 1, 2]
    both = {"batch": ("0", "0.0")}
    assert covariate_codes(pd.DataFrame({"batch": ["0", "0.0"]}), both).ravel().tolist() == [0, 0]
