"""A file in use, a missing codec, a newer encoding or a lost disk is not called damaged; a damaged file is."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from grn_cotrain.data.io.counts import load_counts
from grn_cotrain.data.io.storage_errors import reading
from grn_cotrain.errors import UserError

IN_USE = "is open for writing elsewhere"
NO_LOCKS = "cannot lock files"
PERMISSION = "permission is missing"
DISK = "does not answer"
CODEC = "compressed with a filter that is not installed here"
ENCODING = "an encoding that the installed anndata does not know"
ELSEWHERE = "refers to another file that is not there"
TEXT = "text that is not UTF-8"
DAMAGED = "is damaged or cut short"
OTHER = "its layout does not follow its format"


def system(number: int, text: str = "") -> OSError:
    return OSError(number, text or os.strerror(number))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (system(errno.EAGAIN, "Unable to synchronously open file (unable to lock file, errno = 11)"), IN_USE),
        (OSError("Unable to synchronously open file (file is already open for write/SWMR write)"), IN_USE),
        (system(errno.EBUSY), IN_USE),
        (system(errno.ENOLCK), NO_LOCKS),
        (OSError("Unable to lock file, errno = 37, error message = 'No locks available'"), NO_LOCKS),
        (system(errno.EACCES), PERMISSION),
        (OSError("Unable to open file (errno = 13, error message = 'Permission denied')"), PERMISSION),
        (system(errno.ESTALE), DISK),
        (system(errno.EIO), DISK),
        (OSError("Can't read data (file read failed: errno = 5, error message = 'Input/output error')"), DISK),
        (system(errno.EMFILE), "too many files are open"),
        (OSError("Can't synchronously read data (can't open directory (/usr/local/hdf5/lib/plugin))"), CODEC),
        (OSError("Can't read data (required filter 'blosc' is not registered)"), CODEC),
        (ValueError("codec not available: 'blosc2'"), CODEC),
        (RuntimeError("No read method registered for IOSpec(encoding_type='x', encoding_version='9.0')"), ENCODING),
        (KeyError("Unable to synchronously open object (unable to open external file, name = 'b.h5')"), ELSEWHERE),
        (UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid continuation byte"), TEXT),
        (OSError("Unable to synchronously open file (truncated file: eof = 96, stored_eof = 2048)"), DAMAGED),
        (OSError("Can't synchronously read data (inflate() failed)"), DAMAGED),
        (OSError("Unable to open object (bad object header version number)"), DAMAGED),
        (zlib.error("Error -3 while decompressing data: incorrect header check"), DAMAGED),
        (EOFError(), DAMAGED),
        (OSError("Unable to synchronously open object"), DAMAGED),
        (KeyError("Unable to synchronously open object (bad object header version number)"), DAMAGED),
        (KeyError("Unable to synchronously open object (object 'id' doesn't exist)"), OTHER),
        (KeyError("indptr"), OTHER),
        (TypeError("'NoneType' object is not iterable"), OTHER),
    ],
)
def test_each_kind_of_failure_has_its_own_sentence(error: Exception, expected: str) -> None:
    with pytest.raises(UserError) as caught, reading("counts 'a.h5ad'"):
        raise error
    text = str(caught.value)
    assert text.startswith("counts 'a.h5ad': ")
    assert expected in text
    others = {IN_USE, NO_LOCKS, PERMISSION, DISK, CODEC, ENCODING, ELSEWHERE, TEXT, DAMAGED, OTHER} - {expected}
    assert not [other for other in others if other in text]


@pytest.mark.parametrize("error", [UserError("mine"), MemoryError("12 GiB"), KeyboardInterrupt()])
def test_these_pass_unchanged(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, reading("x"):
        raise error
    assert caught.value is error


def h5ad(folder: Path) -> Path:
    obs = pd.DataFrame({"batch": ["a", "b"] * 5}, index=[f"c{i}" for i in range(10)])
    X = sparse.csr_matrix(np.random.default_rng(0).poisson(2, (10, 6)).astype(np.float32))
    var = pd.DataFrame(index=[f"GENE{i}" for i in range(6)])
    anndata.AnnData(X, obs=obs, var=var).write_h5ad(folder / "cells.h5ad")
    return folder / "cells.h5ad"


def unknown_filter(path: Path) -> None:
    with h5py.File(path, "a") as file:
        values = file["X/data"][()]
        del file["X/data"]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((len(values),))
        properties.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((len(values),))
        made = h5py.h5d.create(file["X"].id, b"data", h5py.h5t.NATIVE_FLOAT, space, properties)
        made.write_direct_chunk((0,), values.tobytes(), 0)


def newer_encoding(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["obs/batch"].attrs["encoding-version"] = "9.9.9"


def external(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["X"]
        file["X"] = h5py.ExternalLink("gone.h5", "/X")


def latin(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["obs/batch"]
        made = file.create_dataset("obs/batch", (10,), h5py.string_dtype())
        made[...] = [b"caf\xe9"] * 10
        made.attrs["encoding-type"], made.attrs["encoding-version"] = "string-array", "0.2.0"


def without_a_part(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["X/indptr"]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (unknown_filter, CODEC),
        (newer_encoding, ENCODING),
        (external, ELSEWHERE),
        (latin, TEXT),
        (without_a_part, DAMAGED),
    ],
)
def test_files_of_each_kind(tmp_path: Path, spoil: Callable[[Path], None], expected: str) -> None:
    path = h5ad(tmp_path)
    spoil(path)
    with pytest.raises(UserError, match=expected) as caught:
        load_counts(path)
    assert "\n" not in str(caught.value)


def test_a_locked_file_is_in_use_and_readable_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)
    path = h5ad(tmp_path)
    with path.open("rb+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=f"{IN_USE}.*HDF5_USE_FILE_LOCKING=FALSE"):
            load_counts(path)
    assert load_counts(path).adata.shape == (10, 6)


def test_a_codec_that_zarr_lacks(tmp_path: Path) -> None:
    store = tmp_path / "cells.zarr"
    anndata.read_h5ad(h5ad(tmp_path)).write_zarr(store)
    for name in (".zmetadata", "X/.zmetadata"):
        (store / name).unlink(missing_ok=True)
    described = store / "X" / "data" / ".zarray"
    content = json.loads(described.read_text())
    content["compressor"] = {"id": "unheard-of"}
    described.write_text(json.dumps(content))
    with pytest.raises(UserError, match=CODEC):
        load_counts(store)
