"""A file's kind is told by its bytes: what is simple to unpack is read within limits, everything else is named."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow
import pytest

from grn_cotrain.data.io import packed
from grn_cotrain.data.io.counts import load_counts
from grn_cotrain.errors import UserError
from tests.unit.data.matrix_files import GENE_ROWS, h5ad, mtx, notes_of, text

PACKERS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Iterator[Path]:
    """Where temporary files go; empty again after every test."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def saved(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def zipped(folder: Path, members: dict[str, bytes], name: str = "cells.zip") -> Path:
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return folder / name


def tarred(folder: Path, place: Path, inside: str, mode: str = "w:gz") -> Path:
    with tarfile.open(folder / "cells.tar.any", mode) as archive:
        archive.add(place, arcname=inside)
    return folder / "cells.tar.any"


@pytest.mark.parametrize("packer", PACKERS)
def test_compressed_files_are_read(tmp_path, scratch, packer) -> None:
    whole = h5ad(tmp_path).read_bytes()
    said = notes_of(saved(tmp_path, "any.h5ad.packed", PACKERS[packer](whole)))
    assert f"the file is an HDF5 file, compressed with {packer}: it was unpacked to a temporary file" in said
    table = text(tmp_path, GENE_ROWS).read_bytes()
    assert notes_of(saved(tmp_path, "any.csv.packed", PACKERS[packer](table)))
    folder = mtx(tmp_path)
    for file in list(folder.iterdir()):
        if file.name == "matrix.mtx":
            ending = {"gzip": "gz", "bzip2": "bz2", "xz": "xz"}[packer]
            saved(folder, f"matrix.mtx.{ending}", PACKERS[packer](file.read_bytes()))
            file.unlink()
    assert notes_of(folder)


def test_zstandard_is_read(tmp_path, scratch) -> None:
    with pyarrow.CompressedOutputStream(str(tmp_path / "t.csv.zst"), "zstd") as stream:
        stream.write(text(tmp_path, GENE_ROWS).read_bytes())
    assert notes_of(tmp_path / "t.csv.zst")


def test_archives_of_one_data_set_are_read(tmp_path, scratch) -> None:
    table, cells = text(tmp_path, GENE_ROWS).read_bytes(), h5ad(tmp_path).read_bytes()
    about = {"README.md": b"x", "__MACOSX/d/._counts.csv": b"x", ".DS_Store": b"x"}
    said = notes_of(zipped(tmp_path, {"d/counts.csv": table, **about}))
    assert "the file is a zip archive: d/counts.csv was read" in said
    assert notes_of(zipped(tmp_path, {"d/cells.h5ad": cells, **about}))
    assert notes_of(zipped(tmp_path, {"t.csv.gz": gzip.compress(table)}))
    folder = mtx(tmp_path)
    assert notes_of(zipped(tmp_path, {f"out/{file.name}": file.read_bytes() for file in folder.iterdir()}))
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        assert "filtered was read" in notes_of(tarred(tmp_path, folder, "out/filtered", mode))
    assert notes_of(tarred(tmp_path, folder, "."))
    assert notes_of(tarred(tmp_path, tmp_path / "cells.h5ad", "cells.h5ad"))


def test_archives_of_several_or_none_are_named(tmp_path, scratch) -> None:
    table = text(tmp_path, GENE_ROWS).read_bytes()
    with pytest.raises(UserError, match=r"a zip archive and holds 2 files \(a.csv, b.csv\); unpack it"):
        load_counts(zipped(tmp_path, {"a.csv": table, "b.csv": table}))
    with pytest.raises(UserError, match="holds no data"):
        load_counts(zipped(tmp_path, {"README.md": b"x"}))
    inner = zipped(tmp_path, {"a.csv": table}, "inner.zip").read_bytes()
    with pytest.raises(UserError, match=r"a zip archive that holds a zip archive \(inner.zip\)"):
        load_counts(zipped(tmp_path, {"inner.zip": inner}))


def test_an_archive_chooses_no_place_and_no_link(tmp_path, scratch) -> None:
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        info = tarfile.TarInfo("counts.csv")
        info.type, info.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.csv")
        archive.addfile(info)
    with pytest.raises(UserError, match="holds no data"):
        load_counts(tmp_path / "link.tar")
    table = text(tmp_path, GENE_ROWS).read_bytes()
    with pytest.raises(UserError, match="holds no data"):
        load_counts(zipped(tmp_path, {"a/../../../evil.csv": table}))
    assert not list(tmp_path.parent.glob("evil.csv"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"X\n\x00\x00\x00\x03" + bytes(99), "is an R object .rds., which holds no cells .* in R: "),
        (gzip.compress(b"X\n\x00\x00\x00\x03" + bytes(99), mtime=0), "is an R object .rds., compressed with gzip"),
        (bz2.compress(b"X\n\x00\x00\x00\x03" + bytes(99)), "is an R object .rds., compressed with bzip2"),
        (lzma.compress(b"RDX3\nX\n" + bytes(99)), "is an R workspace .RData., compressed with xz"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7z archive.*7z x"),
        (b"Rar!\x1a\x07" + bytes(99), "a rar archive"),
        (b"PAR1" + bytes(99), "a parquet table.*read_parquet"),
        (b"ARROW1\x00\x00" + bytes(99), "an Arrow or feather table"),
        (b"\x93NUMPY\x01" + bytes(99), "a numpy array"),
        (b"\x80\x04\x95" + bytes(99), "a Python pickle.*never opened"),
        (b"%PDF-1.4\n", "a PDF document"),
        (b"\n  <!DOCTYPE html>\n<html>\n", "an HTML or XML page.*open the address in a browser"),
        (b'{"message": "Not found",\n "status": 404}', "JSON text.*a server may have sent an error"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "a pointer of Git LFS.*git lfs pull"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "an old Excel workbook"),
        (bytes(999), "binary data"),
        (bytes(range(128, 256)), "not UTF-8 text"),
        (gzip.compress(b"gene,c1\nA,1\n" * 99, mtime=0)[:25], "compressed data are cut short or damaged"),
    ],
)
@pytest.mark.parametrize("name", ["cells.csv", "cells.h5ad"])
def test_other_files_are_named_for_what_they_are(tmp_path, scratch, content, message, name) -> None:
    if name == "cells.h5ad" and message in ("binary data", "not UTF-8 text"):
        message = "not an HDF5 file in spite of its name"
    with pytest.raises(UserError, match=message) as caught:
        load_counts(saved(tmp_path, name, content))
    assert "\n" not in str(caught.value)


def test_formats_that_are_a_zip(tmp_path, scratch) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(UserError, match="an archive of numpy arrays"):
        load_counts(tmp_path / "x.npz")
    kinds = {"xl/workbook.xml": "an Excel workbook", "m/data.pkl": "a PyTorch file", "z/.zgroup": "zipped zarr"}
    for member, message in kinds.items():
        with pytest.raises(UserError, match=message):
            load_counts(zipped(tmp_path, {"first.xml": b"x", member: b"x"}))


def test_bombs_stop_at_the_limit(tmp_path, scratch, monkeypatch) -> None:
    monkeypatch.setattr(packed, "FREE_BYTES", 2**20)
    zeros = bytes(2**24)
    rows = b"gene,c1,c2\n" + b"A,0,0\n" * 2**21
    tar = tarred(tmp_path, saved(tmp_path, "z.csv", rows), "z.csv", "w").read_bytes()
    for path in (
        zipped(tmp_path, {"cells.csv": rows}),
        saved(tmp_path, "cells.csv.gz", gzip.compress(rows)),
        saved(tmp_path, "cells.h5ad.xz", lzma.compress(h5ad(tmp_path).read_bytes() + zeros)),
        saved(tmp_path, "cells.tar.gz", gzip.compress(tar)),
    ):
        with pytest.raises(UserError, match=r"unpacks to more than [\d,]+ bytes"):
            load_counts(path)
    folder = mtx(tmp_path)
    (folder / "matrix.mtx").unlink()
    head = b"%%MatrixMarket matrix coordinate integer general\n12 20 2097152\n"
    saved(folder, "matrix.mtx.gz", gzip.compress(head + b"1 1 1\n" * 2**21))
    with pytest.raises(UserError, match=r"unpacks to more than"):
        load_counts(folder)
    honest = saved(tmp_path, "t.csv.gz", gzip.compress(text(tmp_path, GENE_ROWS).read_bytes()))
    assert notes_of(honest)
