"""Read depth in states: what is taken out, by covariances computed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from grn_cotrain.errors import UserError
from grn_cotrain.metrics.depth_directions import DepthDirections


def states(num_cells: int = 400, width: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """States three of whose dimensions hold log depth, and the depth."""
    generator = np.random.default_rng(seed)
    depth_C = np.exp(generator.normal(8, 0.5, num_cells))
    states_CD = generator.normal(size=(num_cells, width)) + 3
    states_CD[:, :3] += 2 * np.log(depth_C)[:, None] * np.array([1.0, -0.5, 0.25])
    return states_CD, depth_C


def test_no_linear_function_of_the_states_knows_depth_afterwards() -> None:
    states_CD, depth_C = states()
    found = DepthDirections.fit(states_CD, {"rna": depth_C})
    left_CD = found.removed(states_CD)
    log_C = np.log(depth_C)
    assert LinearRegression().fit(states_CD, log_C).score(states_CD, log_C) > 0.5
    assert LinearRegression().fit(left_CD, log_C).score(left_CD, log_C) < 1e-6
    assert found.removed(states_CD.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(left_CD.mean(0), states_CD.mean(0), atol=1e-9)
    # The rest is not touched: what is orthogonal to the direction stays.
    across_DD = np.eye(6) - found.along_AD.T @ found.along_AD
    np.testing.assert_allclose((left_CD - found.mean_D) @ across_DD, (states_CD - found.mean_D) @ across_DD, atol=1e-9)


def test_the_share_is_that_of_a_regression_on_depth() -> None:
    states_CD, depth_C = states()
    found = DepthDirections.fit(states_CD, {"rna": depth_C})
    log_C1 = np.log(depth_C)[:, None]
    fitted_CD = LinearRegression().fit(log_C1, states_CD).predict(log_C1)
    assert found.explained["rna"] == pytest.approx(fitted_CD.var(0).sum() / states_CD.var(0).sum(), rel=1e-4)
    assert f"{found.explained['rna']:.1%} (rna)" in found.note()


def test_each_assay_has_a_direction_of_its_own_cells() -> None:
    states_CD, depth_C = states()
    atac_C = np.exp(np.random.default_rng(1).normal(9, 0.4, len(depth_C)))
    states_CD[:, 4] += 3 * np.log(atac_C)
    atac_C[::2] = np.nan  # half of the cells lack the assay
    found = DepthDirections.fit(states_CD, {"rna": depth_C, "atac": atac_C, "protein": None})
    assert found.along_AD.shape == (2, 6)
    left_CD, has_C = found.removed(states_CD), ~np.isnan(atac_C)
    for log_C, rows_C in ((np.log(depth_C), np.ones_like(has_C)), (np.log(atac_C), has_C)):
        fit = LinearRegression().fit(left_CD[rows_C], log_C[rows_C])
        assert fit.score(left_CD[rows_C], log_C[rows_C]) < 1e-6
    assert found.without == {"protein": "its values are not reads"}


@pytest.mark.parametrize(
    ("depth_C", "reason"),
    [
        (np.full(400, 100.0), "all training cells have the same depth"),
        (np.where(np.arange(400) < 49, 100.0 + np.arange(400), np.nan), "49 training cells have it"),
        (np.zeros(400), "0 training cells have it"),
    ],
)
def test_without_a_depth_states_stay_and_the_note_states_why(depth_C: np.ndarray, reason: str) -> None:
    states_CD, _ = states()
    found = DepthDirections.fit(states_CD, {"rna": depth_C})
    np.testing.assert_array_equal(found.removed(states_CD), states_CD)
    assert reason in found.note()


def test_cells_without_a_state_have_none_afterwards() -> None:
    states_CD, depth_C = states()
    found = DepthDirections.fit(states_CD, {"rna": depth_C})
    states_CD[3] = np.nan
    left_CD = found.removed(states_CD)
    assert np.isnan(left_CD[3]).all()
    assert np.isfinite(np.delete(left_CD, 3, axis=0)).all()


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    states_CD, depth_C = states()
    found = DepthDirections.fit(states_CD, {"rna": depth_C, "atac": None})
    found.save(tmp_path / "depth.json")
    again = DepthDirections.load(tmp_path / "depth.json", width=6)
    np.testing.assert_array_equal(again.removed(states_CD), found.removed(states_CD))
    assert again.note() == found.note()


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    states_CD, depth_C = states()
    path = tmp_path / "depth.json"
    DepthDirections.fit(states_CD, {"rna": depth_C}).save(path)
    with pytest.raises(UserError, match="not those of a model of width 7"):
        DepthDirections.load(path, width=7)
    whole = json.loads(path.read_text())
    for change in (
        {"mean": whole["mean"][:-1]},
        {"directions": {"0": [2 * value for value in whole["directions"]["0"]]}},
        {"directions": {"0": whole["directions"]["0"][:-1]}},
    ):
        path.write_text(json.dumps(whole | change))
        with pytest.raises(UserError, match="directions of depth"):
            DepthDirections.load(path, width=6)
