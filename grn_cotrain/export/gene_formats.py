"""File formats of gene embeddings: one writer each, in one table, every one with names, ids, hashes and kind.

Dimension letters: G rows, D width.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.write_h5ad import write_h5ad as write_file
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.export.annotate import UNS_KEY
from grn_cotrain.export.gene_frame import GeneEmbeddings, tell_apart
from grn_cotrain.export.gene_varm import write_varm
from grn_cotrain.files import atomic_file, write_json
from grn_cotrain.jobs.genes import IntoOptions
from grn_cotrain.text_tables import write_delimited

__all__ = ["FORMATS", "GENE_FORMATS", "GeneFormat", "gene_format", "write_genes", "write_safetensors", "write_word2vec"]


@dataclass(frozen=True)
class GeneFormat:
    """One format.

    Attributes
    ----------
    suffix
        Suffix of the default file name.
    write
        Writes the file, atomically; returns lines to report.
    summary
        For whom it is, in a line.
    """

    suffix: str
    write: Callable[[GeneEmbeddings, Path], list[str]]
    summary: str


def write_parquet(embeddings: GeneEmbeddings, path: Path) -> list[str]:
    """Names and ``d0, d1, ...`` as columns; kind and hashes in the schema's metadata, as ``grn_cotrain.NAME``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(embeddings.frame, preserve_index=False)
    own = {f"grn_cotrain.{name}".encode(): value.encode() for name, value in embeddings.metadata().items()}
    with atomic_file(path) as temporary:
        pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **own}), temporary)
    return []


def write_tsv(embeddings: GeneEmbeddings, path: Path) -> list[str]:
    """The same columns as text that gives back every float32 exactly, after one comment line with kind and hashes.

    ``pandas.read_csv(FILE, sep="\\t", comment="#", keep_default_na=False)`` reads it.
    """
    facts = embeddings.metadata()
    kind, vocab_hash = facts.pop("kind"), facts.pop("vocab_hash")
    header = "; ".join([*(f"{name}={value}" for name, value in facts.items()), f"vocab_hash={vocab_hash}"])
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
        handle.write(f"# grn_cotrain {kind} gene embeddings; {header}\n")
        write_delimited(embeddings.frame, handle, float_format="%.9g")
    return []


def write_word2vec(embeddings: GeneEmbeddings, path: Path) -> list[str]:
    """word2vec text, as gene2vec is published and gensim reads it: ``G D``, then ``NAME v0 v1 ...`` a line.

    A name is a symbol; ``SYMBOL|GROUP`` where there are groups; ``SYMBOL|MODALITY`` for a protein or peak named like a
    gene. The format parts its columns by spaces, so white space in a name becomes ``_``; what would collide then gets
    ``|2``. The format has no room for anything else: ids, modality, original symbols, kind and hashes are stored next
    to it in ``STEM.meta.json``, row by row.

    Examples
    --------
    >>> from gensim.models import KeyedVectors
    >>> vectors = KeyedVectors.load_word2vec_format("genes.txt", binary=False)  # doctest: +SKIP
    >>> vectors.most_similar("STAT1")  # doctest: +SKIP
    """
    given = embeddings.names()
    names = tell_apart([re.sub(r"\s+", "_", name) for name in given])
    rows_GD = embeddings.matrix()
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as handle:
        handle.write(f"{rows_GD.shape[0]} {rows_GD.shape[1]}\n")
        for name, row_D in zip(names, rows_GD.tolist(), strict=True):
            handle.write(" ".join([name, *(f"{value:.9g}" for value in row_D)]) + "\n")
    rows = embeddings.annotation().assign(name=names)
    beside = path.with_suffix(".meta.json")
    write_json(beside, {**embeddings.metadata(), "rows": {name: rows[name].tolist() for name in rows.columns}})
    notes = [f"ids, modality and hashes of its rows: {beside}"]
    changed = [f"{old} -> {new}" for old, new in zip(given, names, strict=True) if old != new]
    if changed:
        notes.append(f"{len(changed):,} names hold white space and were changed: {name_some(changed, 5)}")
    return notes


def write_safetensors(embeddings: GeneEmbeddings, path: Path) -> list[str]:
    """One float32 tensor ``embeddings`` ``[G, D]``; names, ids, kind and hashes in its metadata (text, JSON lists).

    Next to it ``STEM.vocab.json`` maps every name to its row, as scGPT's ``vocab.json`` does, so that models with a
    gene list of their own (scGPT, GEARS, TxPert and others that hold an ``nn.Embedding`` of genes) start from these
    rows. Give genes that are not in it a row that is no gene's: here the mean.

    Examples
    --------
    Rows for a model whose genes are ``gene_list``:

    >>> import json
    >>> import torch
    >>> from safetensors.torch import load_file
    >>> rows = load_file("genes.safetensors")["embeddings"]
    >>> vocab = json.load(open("genes.vocab.json"))
    >>> weight = rows.mean(0).repeat(len(gene_list), 1)
    >>> known = [i for i, gene in enumerate(gene_list) if gene in vocab]
    >>> weight[known] = rows[[vocab[gene_list[i]] for i in known]]
    >>> gene_embedding = torch.nn.Embedding.from_pretrained(weight, freeze=False)

    Names, ids and hashes:

    >>> from safetensors import safe_open
    >>> with safe_open("genes.safetensors", framework="np") as file:
    ...     metadata = file.metadata()
    >>> symbols, ids = json.loads(metadata["symbol"]), json.loads(metadata["id"])
    """
    from safetensors.numpy import save_file

    names = embeddings.names()
    columns = embeddings.annotation()
    lists = {str(name): json.dumps(columns[name].tolist()) for name in columns.columns}
    metadata = {**embeddings.metadata(), **lists, "names": json.dumps(names)}
    with atomic_file(path) as temporary:
        save_file({"embeddings": embeddings.matrix()}, temporary, metadata=metadata)
    beside = path.with_suffix(".vocab.json")
    write_json(beside, {name: row for row, name in enumerate(names)})
    return [f"row of each name: {beside}"]


def write_h5ad(embeddings: GeneEmbeddings, path: Path) -> list[str]:
    """Genes as observations: ``X`` the vectors, ``obs`` their names and ids, ``uns["grn_cotrain"]`` kind and hashes.

    The format ``varm`` adds embeddings to one's own cells.
    """
    import anndata
    import pandas as pd

    result = anndata.AnnData(
        X=embeddings.matrix(),
        obs=embeddings.annotation().set_axis(pd.Index(embeddings.names(), name="gene"), axis=0),
        var=pd.DataFrame(index=embeddings.dimensions),
    )
    result.uns[UNS_KEY] = embeddings.metadata()
    with atomic_file(path) as temporary:
        write_file(result, temporary)
    return []


#: Format -> its writer, for a file of genes alone.
GENE_FORMATS: dict[str, GeneFormat] = {
    "parquet": GeneFormat("parquet", write_parquet, "pandas, polars, R arrow"),
    "tsv": GeneFormat("tsv", write_tsv, "text, everything"),
    "word2vec": GeneFormat("txt", write_word2vec, "gensim; as gene2vec is published"),
    "safetensors": GeneFormat("safetensors", write_safetensors, "scGPT, GEARS, TxPert: nn.Embedding rows"),
    "h5ad": GeneFormat("h5ad", write_h5ad, "scanpy, genes as observations"),
}
#: All names of formats; ``varm`` writes into a copy of the user's cells.
FORMATS: tuple[str, ...] = (*GENE_FORMATS, "varm")


def gene_format(name: str) -> str:
    """``name`` if it is a format; else an error that lists them."""
    if name not in FORMATS:
        raise UserError(f"--format '{name}': choose from {', '.join(FORMATS)}{did_you_mean(name, FORMATS)}")
    return name


def write_genes(
    embeddings: GeneEmbeddings,
    path: str | Path,
    format: str,
    *,
    cells: str | Path | None = None,
    into: IntoOptions | None = None,
) -> list[str]:
    """Write embeddings in a format of :data:`FORMATS` and return the lines to print.

    Parameters
    ----------
    cells, into
        File of cells whose copy is written, and its options; only for ``varm``.

    Raises
    ------
    UserError
        Unknown format; the file cannot be written.
    """
    if gene_format(format) != "varm":
        return GENE_FORMATS[format].write(embeddings, Path(path))
    assert cells is not None
    return write_varm(embeddings, Path(path), cells, into or IntoOptions())
