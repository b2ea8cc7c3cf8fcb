"""A column of obs by name: what it gives, and how a wrong name is told wherever one is given."""

from __future__ import annotations

import pandas as pd
import pytest

from grn_cotrain.data.obs import obs_column
from grn_cotrain.errors import UserError


def test_the_column_comes_back() -> None:
    obs = pd.DataFrame({"cell_type": ["B", "T"], "batch": [1, 2]})
    assert obs_column(obs, "batch", "--by").tolist() == [1, 2]


def test_a_wrong_name_is_told_with_the_option_the_choices_and_the_nearest() -> None:
    obs = pd.DataFrame({"cell_type": ["B"], "batch": [1]})
    with pytest.raises(UserError) as caught:
        obs_column(obs, "celltype", "--test-by")
    assert str(caught.value) == (
        "--test-by 'celltype': no such column of obs; choose from cell_type, batch (did you mean 'cell_type'?)"
    )
    with pytest.raises(UserError, match="choose from none, obs is empty"):
        obs_column(pd.DataFrame(index=["a"]), "batch", "--by")


def test_many_columns_stay_one_line() -> None:
    wide = pd.DataFrame({f"column{i}": [0] for i in range(300)})
    with pytest.raises(UserError, match=r"column19 and 280 more \(did you mean 'column299'\?\)$"):
        obs_column(wide, "column2999", "--by")
