"""Checksums of the shipped catalogue against byte copies at hand."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from data_prep.fetch import load_catalogue

pytestmark = pytest.mark.real


@pytest.mark.parametrize("cells", ["5k", "10k"])
def test_byte_copies_have_the_checksums_of_the_catalogue(real_data: Path, cells: str) -> None:
    body = (real_data / "pbmc_cite_scvi_test" / f"pbmc_{cells}_protein_v3.h5ad").read_bytes()
    entry = load_catalogue()[0][f"pbmc-cite-{cells}-mini"]
    assert hashlib.sha256(body).hexdigest() == entry.sha256
    assert len(body) == entry.size


def test_trrust_without_our_header_is_the_published_file(real_data: Path) -> None:
    body = gzip.decompress((real_data / "grn_priors" / "trrust_v2_human.tsv.gz").read_bytes())
    raw = body[body.index(b"\n") + 1 :]
    entry = load_catalogue()[0]["trrust-human"]
    assert hashlib.sha256(raw).hexdigest() == entry.sha256
    assert len(raw) == entry.size
