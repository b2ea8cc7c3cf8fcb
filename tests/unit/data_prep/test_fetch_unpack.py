"""Archives: named members only, nothing outside, no links; what is made is remembered and mended."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from data_prep.fetch import Fetcher, load_catalogue
from data_prep.fetch.made import gunzip, unpack
from grn_cotrain.data.io import packed
from grn_cotrain.data.io.counts import load_counts
from grn_cotrain.data.io.edges import load_edges
from grn_cotrain.errors import UserError


def make_zip(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def make_tar(members: dict[str, str], *, links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return buffer.getvalue()


def saved(tmp_path, content: bytes):
    path = tmp_path / "archive"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("maker", [lambda m: make_zip(**m), make_tar], ids=["zip", "tar"])
def test_named_members_only(tmp_path, maker) -> None:
    archive = saved(tmp_path, maker({"top/a.txt": "A", "top/sub/b.txt": "B", "top/other.txt": "C"}))
    unpack(archive, ["top/a.txt"], tmp_path / "one.txt")
    assert (tmp_path / "one.txt").read_text() == "A"
    unpack(archive, ["top/a.txt", "top/sub/b.txt"], tmp_path / "many")
    assert {path.name: path.read_text() for path in (tmp_path / "many").iterdir()} == {"a.txt": "A", "b.txt": "B"}
    unpack(archive, ["sub/b.txt"], tmp_path / "near.txt")  # a folder in front is forgiven
    assert (tmp_path / "near.txt").read_text() == "B"
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "one.txt", "many", "near.txt"}


@pytest.mark.parametrize("maker", [lambda m: make_zip(**m), make_tar], ids=["zip", "tar"])
def test_an_archive_cannot_choose_where_things_go(tmp_path, maker) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    archive = saved(tmp_path, maker({"../evil.txt": "evil", "/abs.txt": "evil", "../../deep/x.txt": "evil"}))
    with pytest.raises(UserError, match=r"holds no 'deep/x\.txt'"):
        unpack(archive, ["deep/x.txt"], inside / "x")
    with pytest.raises(UserError, match=r"holds no 'evil\.txt'"):
        unpack(archive, ["evil.txt", "abs.txt"], inside / "x")
    assert list(inside.iterdir()) == []
    unpack(archive, ["../evil.txt"], inside / "x")  # even if a caller asks for it by name
    assert [path.name for path in inside.iterdir()] == ["x"]
    assert not (tmp_path / "evil.txt").exists()


def test_links_and_folders_are_not_taken(tmp_path) -> None:
    (tmp_path / "secret").write_text("secret")
    archive = saved(tmp_path, make_tar({"a": "A"}, links={"link": str(tmp_path / "secret"), "rel": "../secret"}))
    for name in ("link", "rel"):
        with pytest.raises(UserError, match=f"'{name}' is not a plain file"):
            unpack(archive, [name], tmp_path / "out")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(info, str(tmp_path / "secret"))
        zipped.writestr("folder/", "")
    archive = saved(tmp_path, buffer.getvalue())
    for name in ("link", "folder/"):
        with pytest.raises(UserError, match="is not a plain file"):
            unpack(archive, [name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_or_foreign_archives(tmp_path) -> None:
    with pytest.raises(UserError, match="neither zip nor tar"):
        unpack(saved(tmp_path, b"no archive"), ["a"], tmp_path / "out")
    whole = make_zip(a="A" * 100_000)
    broken = whole[:40] + bytes(50) + whole[90:]
    with pytest.raises(UserError, match="is damaged"):
        unpack(saved(tmp_path, broken), ["a"], tmp_path / "out")
    with pytest.raises(UserError, match=r"holds no 'b/matrix.mtx' \(did you mean 'a/matrix.mtx'"):
        unpack(saved(tmp_path, make_zip(**{"a/matrix.mtx": "A"})), ["b/matrix.mtx"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_archive_serves_several_names_and_damage_is_mended(server, cache, catalogue) -> None:
    text = "Gene1,Gene2\nA,B\nA,C\n"
    url = server.add("a.zip", make_zip(**{"n/one.csv": text, "n/two.csv": text + "B,C\n"}))
    part = {"kind": "network", "format": "beeline", "from": "lab-zip"}
    entries, _ = load_catalogue(
        catalogue(
            {"name": "lab-zip", "kind": "archive", "format": "archive", "url": url},
            part | {"name": "one", "members": ["n/one.csv"]},
            part | {"name": "two", "members": ["n/two.csv"]},
            part | {"name": "both", "members": ["n/one.csv", "n/two.csv"]},
        )
    )
    lines: list[str] = []
    fetcher = Fetcher(entries, say=lines.append)
    one, two, both = (fetcher.fetch(entries[name]) for name in ("one", "two", "both"))
    assert len(server.log) == 1
    assert one.name == "one.csv"
    assert len(load_edges(two, "beeline").frame) == 3
    assert {path.name for path in both.iterdir()} == {"one.csv", "two.csv"}
    one.write_text("damaged")
    (both / "two.csv").unlink()
    assert fetcher.fetch(entries["one"]).read_text() == text
    assert (fetcher.fetch(entries["both"]) / "two.csv").exists()
    assert sum("made again" in line for line in lines) == 2
    assert len(server.log) == 1
    assert fetcher.cached(entries["one"])
    with pytest.raises(UserError, match="leave one out"):
        Fetcher(entries, offline=True, refresh=True)
    refreshed = Fetcher(entries, refresh=True, say=lines.append)
    for name in ("one", "two"):
        refreshed.fetch(entries[name])
    assert len(server.log) == 2, "one archive is downloaded once in a call"


def test_new_archive_means_new_parts(server, cache, catalogue) -> None:
    url = server.add("a.zip", make_zip(**{"x.csv": "Gene1,Gene2\nA,B\n"}))
    entries, _ = load_catalogue(
        catalogue(
            {"name": "lab-zip", "kind": "archive", "format": "archive", "url": url},
            {"name": "x", "kind": "network", "format": "beeline", "from": "lab-zip", "members": ["x.csv"]},
        )
    )
    first = Fetcher(entries, say=lambda line: None).fetch(entries["x"])
    assert len(first.read_text().splitlines()) == 2
    server.add("a.zip", make_zip(**{"x.csv": "Gene1,Gene2\nA,B\nB,C\n"}))
    second = Fetcher(entries, say=lambda line: None, refresh=True).fetch(entries["x"])
    assert len(second.read_text().splitlines()) == 3


def test_gunzip(server, cache, catalogue) -> None:
    body = b"content" * 1000
    url = server.add("x.h5ad.gz", gzip.compress(body))
    entries, _ = load_catalogue(catalogue({"name": "x", "url": url, "process": "gunzip"}))
    path = Fetcher(entries, say=lambda line: None).fetch(entries["x"])
    assert path.name == "x.h5ad"
    assert path.read_bytes() == body
    bad = server.add("y.h5ad.gz", gzip.compress(body)[:-9])
    entries, _ = load_catalogue(catalogue({"name": "y", "url": bad, "process": "gunzip"}))
    with pytest.raises(UserError, match="damaged"):
        Fetcher(entries, say=lambda line: None).fetch(entries["y"])


@pytest.mark.parametrize("corner", ['"",', ","], ids=["quoted", "empty"])
@pytest.mark.parametrize("has_corner", [True, False])
def test_cells_called_like_genes_get_a_corner_that_tells(server, cache, catalogue, corner, has_corner) -> None:
    body = "\n".join(f'"ENSG00000{115410 + i}",{i % 3},1,2' for i in range(6))
    text = (corner if has_corner else "") + '"A1","A2","B1"\n' + body + "\n"
    url = server.add("wells.csv.gz", gzip.compress(text.encode()))
    entries, _ = load_catalogue(catalogue({"name": "wells", "format": "csv", "url": url, "process": "gene-rows"}))
    path = Fetcher(entries, say=lambda line: None).fetch(entries["wells"])
    assert path.name == "wells.csv"
    counts = load_counts(path)
    assert counts.adata.shape == (3, 6)
    assert list(counts.adata.obs_names) == ["A1", "A2", "B1"]


def test_a_corner_that_speaks_already_is_not_written_over(server, cache, catalogue) -> None:
    url = server.add("wells.csv", b"cell,G1,G2\nA1,1,2\n")
    entries, _ = load_catalogue(catalogue({"name": "wells", "format": "csv", "url": url, "process": "gene-rows"}))
    with pytest.raises(UserError, match="its corner is 'cell' already"):
        Fetcher(entries, say=lambda line: None).fetch(entries["wells"])


OMNIPATH = (
    "source\ttarget\tsource_genesymbol\ttarget_genesymbol\tis_directed\tis_stimulation\tis_inhibition\t"
    "consensus_direction\tconsensus_stimulation\tconsensus_inhibition\tdorothea_level\n"
    "P1\tQ1\tAA\tT1\tTrue\tTrue\tFalse\tTrue\tTrue\tFalse\tA;D\n"
    "P1\tQ2\tAA\tT2\tTrue\tFalse\tTrue\tTrue\tFalse\tTrue\tB\n"
    "P1\tQ3\tAA\tT3\tTrue\tTrue\tTrue\tTrue\tTrue\tFalse\tC\n"
    "P1\tQ4\tAA\tT4\tTrue\tTrue\tTrue\tTrue\tFalse\tTrue\tC\n"
    "P1\tQ5\tAA\tT5\t1\t0\t0\t0\t0\t0\tD\n"
    "P1\tQ1\tAA\tT1\tTrue\tTrue\tFalse\tTrue\tTrue\tFalse\tA;D\n"
)


def test_dorothea_of_omnipath_becomes_the_published_table(server, cache, catalogue) -> None:
    url = server.add("interactions", OMNIPATH.encode(), content_type="text/tab-separated-values")
    entry = {
        "name": "dorothea-lab",
        "kind": "network",
        "format": "dorothea",
        "url": url + "/?x=1",
        "process": "dorothea",
    }
    server.files["/interactions/"] = server.files["/interactions"]
    entries, _ = load_catalogue(catalogue(entry | {"file": "d.tsv"}))
    lines: list[str] = []
    path = Fetcher(entries, say=lines.append).fetch(entries["dorothea-lab"])
    assert path.read_text().splitlines() == [
        "tf\tconfidence\ttarget\tmor",
        "AA\tA\tT1\t1",
        "AA\tB\tT2\t-1",
        "AA\tC\tT3\t1",
        "AA\tC\tT4\t-1",
        "AA\tD\tT5\t1",
    ]
    assert any("1 of 6 rows have no sign" in line for line in lines)
    assert len(load_edges(path, "dorothea:AB").frame) == 2
    assert load_edges(path).format == "dorothea"
    server.add("changed", b"a\tb\n1\t2\n")
    entries, _ = load_catalogue(catalogue(entry | {"url": server.url("changed")}))
    with pytest.raises(UserError, match="no column 'source_genesymbol'"):
        Fetcher(entries, say=lines.append).fetch(entries["dorothea-lab"])


def test_collectri_of_omnipath_is_read_as_it_is(tmp_path) -> None:
    """OmniPath names a complex in the column of accessions only."""
    path = tmp_path / "collectri.tsv"
    path.write_text(
        "source\ttarget\tsource_genesymbol\ttarget_genesymbol\tis_directed\tis_stimulation\tis_inhibition\t"
        "consensus_direction\tconsensus_stimulation\tconsensus_inhibition\tsources\treferences\n"
        "P01106\tO14746\tMYC\tTERT\tTrue\tTrue\tFalse\tTrue\tTrue\tFalse\tCollecTRI\tx:1\n"
        "COMPLEX:P01100_P05412\tP1\tFOS_JUN\tIL2\tTrue\tTrue\tFalse\tTrue\tTrue\tFalse\tCollecTRI\tx:2\n"
    )
    edges = load_edges(path)
    assert edges.format == "collectri"
    assert edges.frame[["source", "target"]].to_numpy().tolist() == [["MYC", "TERT"]]
    assert edges.complexes == ["COMPLEX:FOS_JUN"]
    expanded = load_edges(path, "collectri:expand").frame
    assert sorted(zip(expanded["source"], expanded["target"], strict=True)) == [
        ("FOS", "IL2"),
        ("JUN", "IL2"),
        ("MYC", "TERT"),
    ]


def test_bombs_stop_at_the_limit(tmp_path) -> None:
    """A small zip that unpacks to 300 MiB is refused before anything is written, and so is what only claims less."""
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.csv", "w") as member:
        for _ in range(300):
            member.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    for members in (["x.csv"], ["x.csv", "x.csv"]):
        with pytest.raises(UserError, match=r"unpacks to more than 268,435,456 bytes"):
            unpack(path, members, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["bomb.zip"]


def test_limits_hold_for_streams_that_declare_no_size(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(packed, "FREE_BYTES", 2**20)
    content = bytes(2**24)
    with pytest.raises(UserError, match="unpacks to more than"):
        gunzip(saved(tmp_path, gzip.compress(content)), tmp_path / "out")
    tar = saved(tmp_path, make_tar({"a.csv": "0" * 2**24}))
    with pytest.raises(UserError, match="unpacks to more than"):
        unpack(tar, ["a.csv"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    gunzip(saved(tmp_path, gzip.compress(b"0,1\n" * 1000)), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"0,1\n" * 1000
