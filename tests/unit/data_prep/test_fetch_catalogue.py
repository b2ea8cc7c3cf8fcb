"""The shipped catalogue keeps its promises; a user's catalogue is validated to the letter."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
import yaml

from data_prep.fetch import made
from data_prep.fetch.catalogue import (
    FORMATS_BY_KIND,
    PROCESSES,
    file_name,
    load_catalogue,
    read_catalogue,
    shipped_catalogue,
)
from grn_cotrain.data.io.edges import FORMATS
from grn_cotrain.errors import UserError

ENTRIES = list(shipped_catalogue().values())


def test_it_holds_what_was_promised() -> None:
    names = {entry.name for entry in ENTRIES}
    assert {"collectri", "dorothea-human", "dorothea-mouse", "trrust-human", "trrust-mouse"} <= names
    assert {"beeline-networks", "beeline-data", "beeline-hesc", "beeline-hesc-chip", "hgnc"} <= names
    assert {"orthologs-mouse-human", "lambert-tfs", "pbmc3k", "kang", "papalexi"} <= names


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_shipped_entry(entry) -> None:
    assert entry.what
    assert entry.licence
    assert entry.citation
    assert entry.source
    assert entry.species
    assert len(entry.what) <= 140, "one line"
    if entry.url:
        for url in (entry.url, *entry.mirrors):
            parts = urlsplit(url)
            assert parts.scheme == "https"
            assert "." in parts.netloc
            assert parts.username is None
        assert re.search(r"checksum|SHA-256|MD5", entry.source), "say how the checksum is known, or that there is none"
        assert (
            "sha256" in entry.source.lower().replace("-", "") or "md5" in entry.source.lower()
        ) or not entry.checksum
    if "github" in entry.url:
        assert re.search(r"/[0-9a-f]{40}/", entry.url), "a branch moves; name a commit"
    if "license=academic" in entry.url:
        assert "academic" in entry.terms


def test_network_formats_are_those_of_the_reader() -> None:
    assert set(FORMATS_BY_KIND["network"]) == set(FORMATS)
    assert set(PROCESSES) == set(made.PROCESSES)


def test_no_two_addresses_or_checksums_are_alike() -> None:
    urls = [url for entry in ENTRIES if entry.url for url in (entry.url, *entry.mirrors)]
    sums = [entry.checksum for entry in ENTRIES if entry.checksum]
    assert len(urls) == len(set(urls))
    assert len(sums) == len(set(sums))


GOOD = {
    "name": "lab-net",
    "what": "ours",
    "kind": "network",
    "format": "tsv",
    "url": "http://lab/net.tsv",
    "licence": "ours",
    "citation": "us",
    "source": "we made it",
}


def catalogue_of(tmp_path, *entries, text: str | None = None):
    path = tmp_path / "own catalogue.yaml"
    path.write_text(yaml.safe_dump({"resources": list(entries)}) if text is None else text, encoding="utf-8")
    return path


def test_own_catalogue_adds_and_replaces_aloud(tmp_path, monkeypatch) -> None:
    path = catalogue_of(tmp_path, GOOD, GOOD | {"name": "collectri", "url": "http://lab/mirror/CollecTRI.csv"})
    entries, notes = load_catalogue(path)
    assert entries["lab-net"].url == "http://lab/net.tsv"
    assert entries["lab-net"].file == "net.tsv"
    assert entries["collectri"].url == "http://lab/mirror/CollecTRI.csv"
    assert len(entries) == len(shipped_catalogue()) + 1
    assert len(notes) == 1
    assert "in place of the shipped" in notes[0]
    monkeypatch.setenv("GRN_COTRAIN_CATALOGUE", str(path))
    assert "lab-net" in load_catalogue()[0]


def test_entries_of_an_archive_take_over_licence_and_citation(tmp_path) -> None:
    zipped = GOOD | {
        "name": "lab-zip",
        "kind": "archive",
        "format": "archive",
        "url": "http://lab/a.zip",
        "terms": "no",
    }
    part = {"name": "part", "what": "x", "kind": "network", "format": "tsv", "from": "lab-zip", "members": ["a/b.tsv"]}
    entry = read_catalogue(catalogue_of(tmp_path, part, zipped))["part"]
    assert (entry.licence, entry.citation, entry.source, entry.terms) == ("ours", "us", "we made it", "no")
    shipped = {"name": "part", "what": "x", "kind": "tfs", "format": "names"}
    shipped |= {"from": "beeline-networks", "members": ["human-tfs.csv"]}
    assert load_catalogue(catalogue_of(tmp_path, shipped))[0]["part"].citation.startswith("Pratapa")


def without(key: str) -> dict:
    return {name: value for name, value in GOOD.items() if name != key}


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (without("licence"), "key 'licence' is missing"),
        (without("source"), "key 'source' is missing"),
        (without("url"), "give either 'url' or 'from'"),
        (GOOD | {"from": "beeline-data", "members": ["x"]}, "give either 'url' or 'from'"),
        (GOOD | {"licens": "x"}, r"unknown key 'licens' \(did you mean 'licence'\?\)"),
        (GOOD | {"kind": "networks"}, r"kind 'networks' is unknown.*did you mean 'network'"),
        (GOOD | {"format": "h5ad"}, "format 'h5ad' is unknown for kind network"),
        (GOOD | {"name": "Lab Net"}, "lower-case"),
        (GOOD | {"name": "../x"}, "lower-case"),
        (GOOD | {"url": "ftp://lab/x"}, "is not an address"),
        (GOOD | {"url": "lab/x"}, "is not an address"),
        (GOOD | {"sha256": "abc"}, "sha256 'abc' is not 64 digits"),
        (GOOD | {"md5": "A" * 32}, "is not 32 digits"),
        (GOOD | {"sha256": 12}, "sha256: got 12; it takes str"),
        (GOOD | {"mirrors": ["http://b/x"]}, "mirrors need a checksum"),
        (GOOD | {"size": -3}, "size '-3' must be positive, a number of bytes"),
        (GOOD | {"size": True}, "size: got True; it takes int"),
        (GOOD | {"what": "  "}, "key 'what' is missing or empty"),
        (GOOD | {"members": "a.tsv"}, "members: got 'a.tsv'; it takes a list"),
        (GOOD | {"members": ["../a.tsv"]}, "leads out of the archive"),
        (GOOD | {"members": ["/etc/passwd"]}, "leads out of the archive"),
        (GOOD | {"members": ["a/x", "b/x"]}, "the same file name"),
        (GOOD | {"file": "../x"}, "is not a plain file name"),
        (GOOD | {"file": ".hidden"}, "is not a plain file name"),
        (GOOD | {"process": "gunzipp"}, "did you mean 'gunzip'"),
        (GOOD | {"process": "gunzip", "members": ["x"]}, "exclude each other"),
        (without("url") | {"from": "beeline-data"}, "'from' needs 'members'"),
        (without("url") | {"from": "beeline-dat", "members": ["x"]}, "names no archive"),
        (without("url") | {"from": "collectri", "members": ["x"]}, "names no archive"),
        (without("kind"), "missing key 'kind'"),
        ("text", "got 'text'; it takes a mapping"),
    ],
)
def test_bad_entry_is_one_line(tmp_path, entry, text) -> None:
    with pytest.raises(UserError, match=text) as error:
        load_catalogue(catalogue_of(tmp_path, entry))
    assert "\n" not in str(error.value)
    assert "own catalogue.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resources: [", "not valid YAML"),
        ("- x", "holds list; it must hold a mapping"),
        ("", "holds NoneType; it must hold a mapping"),
        ("resources: []\nmore: 1", "unknown key 'more'"),
    ],
)
def test_bad_file_is_one_line(tmp_path, text, message) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_catalogue(catalogue_of(tmp_path, text=text))
    assert "\n" not in str(error.value)


def test_missing_file_and_repeated_name(tmp_path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_catalogue(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="'lab-net' is there twice"):
        read_catalogue(catalogue_of(tmp_path, GOOD, GOOD))
    (tmp_path / "latin.yaml").write_bytes(b"resources: [\xe4]")
    with pytest.raises(UserError, match=r"cannot be read .*give a UTF-8 YAML file"):
        read_catalogue(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h/a/b.h5ad", "b.h5ad"),
        ("https://h/a/b%20c.h5ad?download=1#x", "b_c.h5ad"),
        ("https://h/", "download"),
        ("https://h", "download"),
        ("https://h/..%2F..%2Fetc%2Fpasswd", "etc_passwd"),
        ("https://h/.bashrc", "bashrc"),
        ("https://h/" + "x" * 300 + ".h5ad", "x" * 115 + ".h5ad"),
    ],
)
def test_file_names_are_safe(url, name) -> None:
    assert file_name(url) == name
