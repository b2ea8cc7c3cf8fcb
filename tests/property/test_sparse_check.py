"""Whatever one entry of a sparse matrix becomes: it is refused, or the matrix says what its arrays say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from grn_cotrain.data.io.sparse_check import compressed
from grn_cotrain.errors import UserError


def said(data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]) -> np.ndarray | None:
    """Entry by entry, without SciPy: the matrix that the arrays describe, or None where they describe none."""
    result = np.zeros(shape)
    if indptr[0] != 0 or indptr[-1] != len(data):
        return None
    for row in range(shape[0]):
        low, high = int(indptr[row]), int(indptr[row + 1])
        columns = [int(i) for i in indices[low:high]] if 0 <= low <= high <= len(data) else [-1]
        if any(not 0 <= column < shape[1] for column in columns) or len(set(columns)) < len(columns):
            return None
        result[row, columns] = data[low:high]
    return result


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_one_wrong_entry_is_refused_or_read_as_it_stands(draw: st.DataObject) -> None:
    shape = draw.draw(st.integers(1, 6)), draw.draw(st.integers(1, 6))
    values = np.asarray(draw.draw(st.lists(st.integers(0, 2), min_size=36, max_size=36)))[: shape[0] * shape[1]]
    by_column = draw.draw(st.booleans())
    X = (sparse.csc_matrix if by_column else sparse.csr_matrix)(values.reshape(shape).astype(np.float32))
    arrays = {"indices": X.indices.copy(), "indptr": X.indptr.copy()}
    part = draw.draw(st.sampled_from([name for name, array in arrays.items() if len(array)]))
    at = draw.draw(st.integers(0, len(arrays[part]) - 1))
    near = st.integers(-2, 8)
    arrays[part][at] = draw.draw(near | st.integers(np.iinfo(np.int32).min, np.iinfo(np.int32).max))
    expected = said(X.data, arrays["indices"], arrays["indptr"], shape[::-1] if by_column else shape)
    if expected is None:
        with pytest.raises(UserError):
            compressed(X.data, arrays["indices"], arrays["indptr"], shape, "X", by_column=by_column)
        return
    found, notes = compressed(X.data, arrays["indices"], arrays["indptr"], shape, "X", by_column=by_column)
    np.testing.assert_array_equal(found.toarray(), expected.T if by_column else expected)
    assert found.has_sorted_indices
    if not np.array_equal(found.toarray(), X.toarray()) and part == "indices":
        # Another column of the same row: only its order can betray it, and then it is said.
        lines = np.repeat(np.arange(len(X.indptr) - 1), np.diff(X.indptr))
        in_order = all(np.all(np.diff(arrays["indices"][lines == line]) > 0) for line in set(lines))
        assert in_order or notes
