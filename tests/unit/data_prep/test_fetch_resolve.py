"""What users write where a file is wanted; and the command line around it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from data_prep.cli import app
from data_prep.fetch import known_format, resolve_source
from data_prep.grn import prepare_grn
from grn_cotrain.commandline import run_app
from grn_cotrain.errors import UserError
from tests.worlds import make_world

NET = b"source\ttarget\nA\tB\n"


@pytest.fixture(autouse=True)
def empty_place(cache, tmp_path, monkeypatch) -> Path:
    """A working directory of our own: names of resources must not meet files by chance."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def lab(server, catalogue, monkeypatch):
    """A lab's catalogue with a network on the local server, known through the environment."""
    server.add("nets/lab.tsv", NET)
    path = catalogue({"name": "lab-net", "kind": "network", "format": "tsv", "url": server.url("nets/lab.tsv")})
    monkeypatch.setenv("GRN_COTRAIN_CATALOGUE", str(path))
    return server


def test_existing_files_come_first_and_nothing_is_fetched(lab, empty_place) -> None:
    (empty_place / "lab-net").write_text("mine")
    assert resolve_source("lab-net") == Path("lab-net")
    assert resolve_source(Path("lab-net")) == Path("lab-net")
    assert resolve_source("lab-net:string/hESC/TFs+500") == Path("lab-net:string/hESC/TFs+500")
    assert known_format("lab-net") is None
    (empty_place / "lab-net").unlink()
    (empty_place / "lab-net:v2").write_text("mine")
    assert resolve_source("lab-net:v2") == Path("lab-net:v2")
    assert lab.log == []


def test_known_names_are_fetched_and_bring_their_format(lab) -> None:
    path = resolve_source("lab-net", say=lambda line: None)
    assert path.read_bytes() == NET
    assert known_format("lab-net") == "tsv"
    assert known_format("lab-net:a/b/c") == "tsv"
    selected = resolve_source("lab-net:a/b/c", say=lambda line: None)
    assert str(selected) == f"{path}:a/b/c"
    assert resolve_source("lab-net", offline=True) == path
    assert len(lab.log) == 1
    assert [known_format(name) for name in ("collectri", "dorothea-mouse", "trrust-human", "beeline-hesc-chip")] == [
        "decoupler",
        "dorothea",
        "trrust",
        "beeline",
    ]
    assert known_format("pbmc3k") is None
    assert known_format("no/such/file.tsv") is None


def test_an_address_is_kept_under_its_own_name(server) -> None:
    url = server.add("some/edges.tsv.gz", NET)
    path = resolve_source(url + "?token=1", say=lambda line: None)
    assert path.name == "edges.tsv.gz"
    assert path.read_bytes() == NET
    assert resolve_source(url + "?token=1") == path
    assert len(server.log) == 1
    assert resolve_source(url + "?token=2", say=lambda line: None).parent != path.parent  # another address
    as_path = Path(url)  # typer makes paths of arguments, and a path makes one stroke of two
    assert resolve_source(as_path, say=lambda line: None).name == "edges.tsv.gz"
    selected = resolve_source(url + ":string/hESC/TFs+500", say=lambda line: None)
    assert str(selected).endswith("edges.tsv.gz:string/hESC/TFs+500")


def test_a_name_that_says_nothing_gives_way_to_the_servers(server) -> None:
    disposition = {"Content-Disposition": 'attachment; filename="../../pbmc cells.h5ad"'}
    url = server.add("files/34464122", b"cells", headers=disposition)
    path = resolve_source(url, say=lambda line: None)
    assert path.name == "pbmc_cells.h5ad"
    assert resolve_source(url, offline=True) == path
    assert len(server.log) == 1


@pytest.mark.parametrize("text", ["file:///etc/passwd", "ftp://h/x.tsv", "s3://bucket/x.h5ad", "sftp:/h/x"])
def test_other_schemes_are_refused(text) -> None:
    with pytest.raises(UserError, match=f"'{text}': addresses of kind '{text.partition(':')[0]}:' are not fetched"):
        resolve_source(text)


@pytest.mark.parametrize(
    "text", ["data/none.h5ad", "none.h5ad", "a b c", "/abs/none", "C:\\data\\x.h5ad", "x.tsv:a/b/c"]
)
def test_anything_else_is_the_readers_to_refuse(text) -> None:
    assert resolve_source(text) == Path(text)


def test_near_names_are_hinted_at() -> None:
    with pytest.raises(
        UserError, match=r"^'pbmc3': no such file, and no resource of that name \(did you mean 'pbmc3k'"
    ):
        resolve_source("pbmc3")


def test_archives_are_no_source() -> None:
    with pytest.raises(UserError, match=r"'beeline-networks': is an archive; name what is in it: beeline-hesc-chip, "):
        resolve_source("beeline-networks")


def test_offline_names_the_place(server, cache) -> None:
    url = server.url("x.h5ad")
    with pytest.raises(UserError, match=rf"not in the cache.*download {url} and put it at {cache}/url-\w+/x\.h5ad"):
        resolve_source(url, offline=True)


# -- the command line ------------------------------------------------------------------------------------------------


def run(*arguments: object) -> int:
    return run_app(app, [str(argument) for argument in arguments])


def test_fetch_prints_where_and_copies_or_links(lab, tmp_path, capsys) -> None:
    assert run("fetch", "lab-net", "--out", tmp_path / "out") == 0
    copied = tmp_path / "out" / "lab.tsv"
    assert copied.read_bytes() == NET
    assert not copied.is_symlink()
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"lab-net: {copied}",
        "next: grn-prep grn lab-net --out PREP",
    ]
    assert run("fetch", "lab-net", "--out", tmp_path / "out") == 0  # the same file: nothing to do
    copied.write_text("mine")
    assert run("fetch", "lab-net", "--out", tmp_path / "out") == 2
    assert "is another file" in capsys.readouterr().err
    assert copied.read_text() == "mine"
    assert run("fetch", "lab-net", "--out", tmp_path / "links", "--link") == 0
    assert (tmp_path / "links" / "lab.tsv").is_symlink()
    assert (tmp_path / "links" / "lab.tsv").read_bytes() == NET
    assert len(lab.log) == 1


def test_fetch_takes_addresses_and_several_names(lab, capsys) -> None:
    other = lab.add("other.h5ad", b"cells")
    assert run("fetch", "lab-net", other) == 0
    last = capsys.readouterr().out.splitlines()
    assert sum(line.endswith(("lab.tsv", "other.h5ad")) and "cache" in line for line in last) == 2


def test_fetch_checks_all_names_before_it_downloads(lab, capsys) -> None:
    assert run("fetch", "lab-net", "lab-nett") == 2
    assert "did you mean 'lab-net'" in capsys.readouterr().err
    assert lab.log == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "name a resource"),
        (("lab-net", "--link"), "needs --out"),
        (("lab-net", "--offline", "--refresh"), "leave one out"),
        (("lab-net", "--offline"), "download http"),
        (("ftp://h/x",), "no such resource"),
        (("lab-net", "--catalogue", "none.yaml"), "no such file"),
        (("lab-net", "--base-url", "nonsense"), "must begin with https://"),
    ],
)
def test_bad_calls_are_one_line(lab, capsys, arguments, text) -> None:
    assert run("fetch", *arguments) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert lab.log == []


def test_list_names_all_with_licences(lab, capsys) -> None:
    run("fetch", "lab-net")
    capsys.readouterr()
    assert run("fetch", "--list") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["name", "what", "size", "licence", "cached"]
    table = {row[0]: row for row in rows}
    assert table["lab-net"][4] == "yes"
    assert table["pbmc3k"][2:] == ["5.9 MB", "CC BY 4.0", ""]
    assert "academic use only" in table["collectri-omnipath"][3]
    assert table["beeline-hesc"][2] == "in beeline-data"


def test_academic_terms_are_said_before_the_download(server, catalogue, capsys) -> None:
    own = catalogue({"name": "lab", "url": server.add("x.h5ad", b"1"), "terms": "academic use only"})
    assert run("fetch", "lab", "--catalogue", own) == 0
    out = capsys.readouterr().out
    assert "NOTE: academic use only" in out
    assert out.index("NOTE") < out.index("from http")
    assert hashlib.sha256(b"1").hexdigest() in out


# -- end to end ------------------------------------------------------------------------------------------------------


def test_a_known_network_goes_into_a_prepared_folder(server, catalogue, tmp_path, monkeypatch, capsys) -> None:
    prep = make_world(tmp_path / "prep")
    from grn_cotrain.data.prep import Prep

    symbols = Prep.open(prep).vocab.symbols
    rows = "".join(f"{symbols[0]}\t{symbol}\tActivation\t1\n" for symbol in symbols[1:6])
    url = server.add("raw.tsv", rows.encode())  # no header, as TRRUST's raw file
    own = catalogue({"name": "lab-trrust", "kind": "network", "format": "trrust", "url": url})
    monkeypatch.setenv("GRN_COTRAIN_CATALOGUE", str(own))
    assert run("grn", "lab-trrust", "--prep", prep) == 0
    assert "nobody publishes one" in capsys.readouterr().out
    assert Prep.open(prep).grn.num_edges == 5
    assert prepare_grn("lab-trrust", prep, format="trrust").num_edges == 5
    assert len(server.log) == 1


def test_an_address_of_cells_goes_into_a_prepared_folder(server, tmp_path, capsys) -> None:
    import anndata
    import numpy as np
    import scipy.sparse

    counts = np.random.default_rng(0).poisson(1.0, (40, 12)).astype(np.float32)
    adata = anndata.AnnData(scipy.sparse.csr_matrix(counts))
    adata.var_names = ["STAT1", "IRF1", "IRF7", "CD3D", "CD8A", "MS4A1", "LYZ", "NKG7", "GNLY", "CD14", "IL7R", "ACTB"]
    adata.obs_names = [f"cell{i}" for i in range(40)]
    adata.write_h5ad(tmp_path / "x.h5ad")
    url = server.add("x.h5ad", (tmp_path / "x.h5ad").read_bytes())
    assert run("counts", url, "--out", tmp_path / "prep") == 0, capsys.readouterr().err
    from grn_cotrain.data.prep import Prep

    assert Prep.open(tmp_path / "prep").meta["num_cells"] == 40
    assert "40 x 12 genes" in capsys.readouterr().out
    assert len(server.log) == 1
    assert os.listdir(tmp_path / "place") == []
