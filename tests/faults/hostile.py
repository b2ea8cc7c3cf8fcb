"""Files of strangers that mean harm, or look as if they did: makers and the commands that are given them."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from tests.faults.child import commands
from tests.faults.subject import PREP, RUN

__all__ = ["PLACED", "Given", "hostile_files"]

PLACED = {
    "run/model/config.json": ("genes",),
    "run/model/vocab.json": ("genes",),
    "run/model/model.safetensors": ("genes",),
    "run/model/platt.json": ("edges",),
    "run/recipe.yaml": ("edges",),
    "run/run.json": ("hub",),
    "run/links.json": ("tables",),
    "run/links.parquet": ("tables",),
    "prep/prep.json": ("train",),
    "prep/graph.parquet": ("train",),
    "prep/splits/unseen-target-seed0.parquet": ("train",),
    "open/checkpoints/latest.json": ("resume",),
    "open/checkpoints/step-00000004/optimizer.pt": ("resume",),
}
"""Files of ours that hostile ones replace, and the probes that then read them."""

Make = Callable[[Path], Any]


@dataclass(frozen=True)
class Given:
    """A file that a command gets as an argument."""

    file: str
    arguments: tuple[str, ...]
    app: Any = PREP

    def work(self) -> Callable[[], int]:
        """The command."""
        return commands((self.app, self.arguments))


def hostile_files() -> dict[str, tuple[Make, Given | str]]:
    """Name -> how to make the file, and where it goes."""
    made: dict[str, tuple[Make, Given | str]] = {}
    for file, make in _cells().items():
        name, what = file.split(": ")
        made[f"cells, {what}"] = (make, Given(name, ("counts", name, "--out", "new")))
    for what, make in _edges().items():
        made[f"edges, {what}"] = (make, Given("edges.tsv", ("grn", "edges.tsv", "--prep", "prep")))
        if len(made) % 3 == 0:
            made[f"pairs, {what}"] = (
                make,
                Given("pairs.tsv", ("score", "run", "--pairs", "pairs.tsv", "--out", "s.tsv"), RUN),
            )
    for what, make in _recipes().items():
        made[f"recipe, {what}"] = (make, Given("stranger.yaml", ("check", "stranger.yaml"), RUN))
    for i, (what, make) in enumerate(_json().items()):
        places = [place for place in PLACED if place.endswith(".json")]
        for place in (places[i % len(places)], places[(i + 3) % len(places)]):
            made[f"{place}, {what}"] = (make, place)
    for what, make in _tensors().items():
        made[f"model.safetensors, {what}"] = (make, "run/model/model.safetensors")
    for what, make in _config().items():
        made[f"config.json, {what}"] = (make, "run/model/config.json")
    for place in ("prep/graph.parquet", "prep/splits/unseen-target-seed0.parquet", "run/links.parquet"):
        for what, make in _parquet().items():
            made[f"{place}, {what}"] = (make, place)
    made["optimizer.pt, a pickle that runs a command"] = (_pickle, "open/checkpoints/step-00000004/optimizer.pt")
    return made


# -- plain -------------------------------------------------------------------------------------------------------------


def _bytes(content: bytes | str) -> Make:
    raw = content.encode() if isinstance(content, str) else content

    def make(path: Path) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(raw)

    return make


def _fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _link(target: str) -> Make:
    def make(path: Path) -> None:
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return make


def _folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def _gzip_of(size: int, head: bytes = b"") -> Make:
    def make(path: Path) -> None:
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(head)
            for _ in range(size >> 20):
                file.write(b"\n" * (1 << 20))

    return make


def _zip_of(name: str, size: int) -> Make:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file, file.open(name, "w") as part:
            for _ in range(size >> 20):
                part.write(b"0" * (1 << 20))

    return make


# -- cells -------------------------------------------------------------------------------------------------------------


def _h5ad(change: Callable[[h5py.File], None]) -> Make:
    """An h5ad of 12 cells and 30 genes in CSR, then changed."""

    def make(path: Path) -> None:
        import anndata
        from scipy import sparse

        values = np.random.default_rng(0).poisson(1.0, (12, 30)).astype(np.float32)
        names = pd.DataFrame(index=[f"GENE{i}" for i in range(30)])
        cells = pd.DataFrame({"kind": pd.Categorical(["a", "b"] * 6)}, index=[f"c{i}" for i in range(12)])
        anndata.AnnData(sparse.csr_matrix(values), obs=cells, var=names).write_h5ad(path)
        with h5py.File(path, "r+") as file:
            change(file)

    return make


def _set(name: str, place: int, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name][place] = value

    return change


def _replace(name: str, **dataset: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        attributes = dict(file[name].attrs) if name in file else {}
        if name in file:
            del file[name]
        if dataset:
            made = file.create_dataset(name, **dataset)
            made.attrs.update({key: value for key, value in attributes.items() if isinstance(value, str)})

    return change


def _attribute(name: str, key: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name].attrs[key] = value

    return change


def _mtx(content: bytes | str) -> Make:
    """With the files beside it that a Matrix Market folder needs."""

    def make(path: Path) -> None:
        _bytes(content)(path)
        (path.parent / "genes.tsv").write_text("".join(f"ENSG0000000000{i}\tG{i}\n" for i in range(3)))
        (path.parent / "barcodes.tsv").write_text("c0\nc1\nc2\n")

    return make


def _h5_link(link: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file["X"]
        file["X"] = link

    return change


def _cells() -> dict[str, Make]:
    changes: dict[str, Callable[[h5py.File], None]] = {
        "index beyond the columns": _set("X/indices", 3, 120),
        "negative index": _set("X/indices", 3, -5),
        "indptr falls": _set("X/indptr", 2, 10**6),
        "indptr negative": _set("X/indptr", 1, -7),
        "indptr cut": _replace("X/indptr", data=np.array([0, 2])),
        "a column twice in a row": lambda file: file["X/indices"].write_direct(
            np.zeros(file["X/indices"].shape[0], file["X/indices"].dtype)
        ),
        "data cut": _replace("X/data", data=np.ones(3, np.float32)),
        "shape of 10^8 columns": _attribute("X", "shape", np.array([12, 10**8])),
        "shape of 10^8 rows": _attribute("X", "shape", np.array([10**8, 30])),
        "negative shape": _attribute("X", "shape", np.array([-1, 30])),
        "unknown encoding": _attribute("X", "encoding-type", "evil"),
        "no X": _replace("X"),
        "no obs": _replace("obs"),
        "no var": _replace("var"),
        "X of three dimensions": _replace("X", data=np.ones((2, 3, 4))),
        "X of words": _replace("X", data=np.array([[b"a"] * 30] * 12)),
        "X complex": _replace("X", data=np.ones((12, 30), complex)),
        "X a number": _replace("X", data=3.0),
        "X of 10^12 values": _replace("X", shape=(10**7, 10**5), dtype="f4", chunks=(1000, 1000)),
        "NaN": _set("X/data", 0, np.nan),
        "infinity": _set("X/data", 0, np.inf),
        "a count of 1e38": _set("X/data", 0, 1e38),
        "category code beyond": _set("obs/kind/codes", 0, 9),
        "link to another file": _h5_link(h5py.ExternalLink("/etc/passwd", "/x")),
        "link to itself": _h5_link(h5py.SoftLink("/X")),
        "names cut": _replace("var/_index", data=np.array([b"GENE0"])),
    }
    files: dict[str, Make] = {f"a.h5ad: h5ad, {what}": _h5ad(change) for what, change in changes.items()}
    header = "%%MatrixMarket matrix coordinate integer general\n"
    texts: dict[str, bytes | str] = {
        "a.h5ad: empty": b"",
        "a.h5ad: text": "gene,c1\n",
        "a.h5ad: header of HDF5 alone": b"\x89HDF\r\n\x1a\n" + b"\0" * 500,
        "matrix.mtx: mtx, header alone": header,
        "matrix.mtx: mtx, negative size": header + "-1 2 1\n1 1 1\n",
        "matrix.mtx: mtx, 10^9 x 10^9": header + "1000000000 1000000000 1\n1 1 1\n",
        "matrix.mtx: mtx, index 0": header + "3 3 1\n0 1 1\n",
        "matrix.mtx: mtx, index beyond": header + "3 3 1\n9 1 1\n",
        "matrix.mtx: mtx, fewer entries": header + "3 3 5\n1 1 1\n",
        "matrix.mtx: mtx, words": header + "a b c\n",
        "matrix.mtx: mtx, 6,000 digits": header + "3 3 1\n1 1 " + "9" * 6000 + "\n",
        "a.csv: csv, ragged": "g,c1,c2\nA,1\nB,1,2,3\n",
        "a.csv: csv, NUL": "g,c1\nA\0,1\n",
        "a.csv: csv, open quote": 'g,c1\n"A,1\nB,2\n',
        "a.csv: csv, header alone": "g,c1,c2\n",
        "a.csv: csv, UTF-16": "g,c1\nA,1\n".encode("utf-16"),
        "a.csv: csv, 6,000 digits": "g,c1,c2\nA,1,2\nB,3," + "9" * 6000 + "\n",
        "a.csv: csv, one line of 5 MB": "x" * 5_000_000,
        "a.csv: csv, 10^5 columns": ",".join(["g", *(f"c{i}" for i in range(100_000))]) + "\n",
        "a.csv.gz: csv.gz, cut": gzip.compress(b"g,c1\nA,1\n" * 1000)[:40],
        "a.zip: zip, cut": b"PK\x03\x04" + b"\0" * 40,
        "a.tar.gz: tar.gz of nothing": gzip.compress(b"\0" * 10240),
    }
    files |= {name: _mtx(content) if name.startswith("matrix") else _bytes(content) for name, content in texts.items()}
    files["a.csv.gz: csv.gz of 1 GiB"] = _gzip_of(1 << 30, b"g,c1\nA,1\n")
    files["a.zip: zip of 1 GiB"] = _zip_of("a.csv", 1 << 30)
    files["a.zip: zip that leaves its folder"] = _zip_of("../../a.csv", 1 << 20)
    files["a.h5ad: pipe"] = _fifo
    files["a.csv: csv, pipe"] = _fifo
    files["a.h5ad: loop of links"] = _link("a.h5ad")
    files["a.csv: endless device"] = _link("/dev/zero")
    files["a.h5ad: a folder"] = _folder
    return files


# -- networks and recipes ----------------------------------------------------------------------------------------------


def _edges() -> dict[str, Make]:
    head, rows = "source\ttarget\tweight\n", "TULA1\tTULA2\t"
    texts: dict[str, bytes | str] = {
        "empty": "",
        "header alone": head,
        "NaN weight": head + rows + "nan\n",
        "infinite weight": head + rows + "1e999\n",
        "6,000 digits": head + rows + "9" * 6000 + "\n",
        "NUL": head + "A\0\tB\t1\n",
        "UTF-16": (head + rows + "1\n").encode("utf-16"),
        "bytes": b"\xff\xfe\x00\x01" * 100,
        "ragged": head + "A\tB\n" + "C\tD\t1\t2\t3\n",
        "open quote": head + '"A\tB\t1\nC\tD\t2\n',
        "one line of 5 MB": head + "A" * 5_000_000 + "\tB\t1\n",
        "gzip cut": gzip.compress((head + rows + "1\n").encode() * 100)[:30],
        "JSON": "[" * 100_000,
        "formula": head + "=cmd|' /C calc'!A0\tTULA2\t1\n",
        "one column": "source\nA\nB\n",
    }
    files = {what: _bytes(content) for what, content in texts.items()}
    return files | {"pipe": _fifo, "endless device": _link("/dev/zero"), "gzip of 1 GiB": _gzip_of(1 << 30)}


def _recipes() -> dict[str, Make]:
    base = "name: x\ndata: {prep: prep, split: unseen-target-seed0}\n"
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    texts: dict[str, bytes | str] = {
        "billion laughs": laughs,
        "an alias of itself": "a: &a [*a]\n",
        "10^5 levels": "a: " + "[" * 100_000,
        "10^4 levels of mappings": "".join(f"{' ' * i}a:\n" for i in range(400)),
        "6,000 digits": base + "seed: " + "9" * 6000 + "\n",
        "a key twice": base + "name: y\n",
        "code": base + "seed: !!python/object/apply:os.system ['true']\n",
        "binary": base + "seed: !!binary AAAA\n",
        "NUL": base + 'seed: "\\0"\n',
        "NUL in a path": 'name: x\ndata: {prep: "a\\0b", split: s}\n',
        "tabs": "a:\n\t- b\n",
        "a list": "- a\n",
        "empty": "",
        "UTF-16": base.encode("utf-16"),
        "10 MB": base + "# " + "x" * 10_000_000,
        "width of 10^8": base + "model: {width: 100000000}\n",
        "10^8 layers": base + "model: {cell_encoder: {name: transformer, num_layers: 100000000}}\n",
        "10^8 bins": base + "model: {tokens: {num_bins: 100000000}}\n",
        "infinity": base + "train: {learning_rate: .inf}\n",
        "a date": "name: 2020-99-99\ndata: {prep: prep, split: s}\n",
        "a secret": "name: '${PATH}'\ndata: {prep: prep, split: s}\n",
        "a list as a key": "? [a, b]\n: c\n",
        "a list as a choice": base + "train: {precision: [fp32]}\n",
        "a prep that is a loop": "name: x\ndata: {prep: loop, split: s}\n",
        "a name of 5,000 letters": base.replace("prep: prep", "prep: " + "x" * 5000),
    }
    return {what: _bytes(content) for what, content in texts.items()}


# -- files of ours -----------------------------------------------------------------------------------------------------


def _json() -> dict[str, Make]:
    texts: dict[str, bytes | str] = {
        "10^5 levels": "[" * 100_000,
        "10^4 mappings": '{"a": ' * 10_000 + "1" + "}" * 10_000,
        "6,000 digits": '{"format_version": ' + "9" * 6000 + "}",
        "NaN": '{"format_version": NaN}',
        "a key twice": '{"format_version": 1, "format_version": 1}',
        "a lone surrogate": '{"name": "\\ud800"}',
        "null": "null",
        "a list": "[]",
        "bytes": b"\xff\xfe\x00",
        "30 MB of brackets": "[" + "[]," * 10_000_000 + "[]]",
    }
    return {what: _bytes(content) for what, content in texts.items()} | {"pipe": _fifo, "loop": _link("config.json")}


def _tensors() -> dict[str, Make]:
    """Weights whose checksum in config.json was repaired: no checksum protects from who can write both."""

    def header(content: Any, size: int | None = None, data: bytes = b"") -> Make:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        return _rehashed(struct.pack("<Q", len(raw) if size is None else size) + raw + data)

    def entry(shape: Any, offsets: Any, dtype: str = "F32") -> dict[str, Any]:
        return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}

    return {
        "empty": _rehashed(b""),
        "header of 2^60 bytes": header({}, 1 << 60),
        "no JSON": header(b"not json"),
        "10^5 levels": header(b'{"a": ' * 100_000),
        "offsets beyond": header(entry([4], [0, 16])),
        "offsets fall": header(entry([4], [16, 0]), data=b"\0" * 16),
        "shape of 10^16": header(entry([10**8, 10**8], [0, 16]), data=b"\0" * 16),
        "unknown type": header(entry([4], [0, 16], "EVIL"), data=b"\0" * 16),
        "other weights": header(entry([4], [0, 16]), data=b"\0" * 16),
    }


def _rehashed(raw: bytes) -> Make:
    def make(path: Path) -> None:
        import hashlib

        path.write_bytes(raw)
        config = json.loads((path.parent / "config.json").read_text())
        config["sha256"][path.name] = hashlib.sha256(raw).hexdigest()
        (path.parent / "config.json").write_text(json.dumps(config))

    return make


def _config() -> dict[str, Make]:
    def changed(change: Callable[[dict[str, Any]], Any]) -> Make:
        def make(path: Path) -> None:
            config = json.loads(path.read_text())
            change(config)
            path.write_text(json.dumps(config))

        return make

    return {
        "features of 10^16 values": changed(lambda c: c.update(features={"x": [10**8, 10**8]})),
        "features of negative size": changed(lambda c: c.update(features={"x": [-1, 4]})),
        "width of 10^8": changed(lambda c: c["model"].update(width=10**8)),
        "width of 30,000": changed(lambda c: c["model"].update(width=30_000)),
        "10^8 layers": changed(lambda c: c["model"]["cell_encoder"].update(num_layers=10**8)),
        "500 layers": changed(lambda c: c["model"]["cell_encoder"].update(num_layers=500)),
        "10^8 bins": changed(lambda c: c["model"]["tokens"].update(num_bins=10**8)),
        "a file outside": changed(lambda c: c["model"]["table"].update(feature_matrix="/etc/passwd")),
        "unknown encoder": changed(lambda c: c["model"].update(cell_encoder={"name": "__import__"})),
        "backend by path": changed(lambda c: c.update(backend="os.system")),
    }


def _parquet() -> dict[str, Make]:
    buffer = io.BytesIO()
    pd.DataFrame({"role": ["x"], "source": ["a"]}).to_parquet(buffer)
    whole = buffer.getvalue()
    return {
        "magic alone": _bytes(b"PAR1"),
        "cut": _bytes(whole[: len(whole) // 2]),
        "footer of 2^31": _bytes(b"PAR1" + b"\0" * 20 + struct.pack("<I", (1 << 31) - 1) + b"PAR1"),
        "other columns": _bytes(whole),
    }


class _Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("planted",)


def _pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Command()))
