"""Files a user brings to a card: pathways as GMT, chromosomes as a table. What does not match is counted and named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from grn_cotrain.data.io.tables import read_table, read_text
from grn_cotrain.data.vocab import FeatureVocab, name_some
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["chromosomes_of", "pathways_of", "read_chromosomes", "read_pathways"]

Say = Callable[[str], None]
_GENE = ("gene", "symbol", "gene_name", "gene_symbol", "gene_id")
_CHROMOSOME = ("chrom", "chromosome", "chr", "seqname", "seqnames")


def pathways_of(
    given: str | Path | Mapping[str, Sequence[str]] | None, vocab: FeatureVocab, *, say: Say = print
) -> dict[str, list[int]] | None:
    """Gene sets from a GMT file or from memory, as gene indices; None if nothing was given."""
    if given is None or isinstance(given, (str, Path)):
        return None if given is None else read_pathways(given, vocab, say=say)
    found = {name: [vocab.get(gene) for gene in genes] for name, genes in given.items()}
    return {name: sorted({index for index in indices if index is not None}) for name, indices in found.items()}


def chromosomes_of(
    given: str | Path | Mapping[str, str] | None, vocab: FeatureVocab, *, say: Say = print
) -> dict[int, str] | None:
    """Chromosomes from a table or from memory, by gene index; None if nothing was given."""
    if given is None or isinstance(given, (str, Path)):
        return None if given is None else read_chromosomes(given, vocab, say=say)
    found = {vocab.get(gene): place for gene, place in given.items()}
    return {index: place for index, place in found.items() if index is not None}


def read_pathways(path: str | Path, vocab: FeatureVocab, *, say: Say = print) -> dict[str, list[int]]:
    """Read gene sets in GMT: a line a set, tab-separated: name, description, genes.

    Returns
    -------
    dict
        Name -> gene indices of ``vocab``, distinct and sorted. Sets keep their place even without a known gene.

    Raises
    ------
    UserError
        Missing or unreadable file, a line with fewer than three columns, a name given twice, no gene known.
    """
    sets: dict[str, list[int]] = {}
    unknown: dict[str, None] = {}
    for number, line in enumerate(read_text(path, what="--pathways").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *rest = (cell.strip() for cell in line.rstrip("\r\n").split("\t"))
        genes = [gene for gene in rest[1:] if gene]
        if not name or not genes:
            raise UserError(
                f"--pathways '{path}': line {number} is not a GMT line (name, description, genes, with tabs between); "
                "give a GMT file"
            )
        if name in sets:
            raise UserError(
                f"--pathways '{path}': line {number}: the set '{name}' occurs twice; give each set one line"
            )
        found = {gene: vocab.get(gene.split(",")[0]) for gene in genes}  # GMT may carry weights: GENE,1.0
        sets[name] = sorted({index for index in found.values() if index is not None})
        unknown.update(dict.fromkeys(gene for gene, index in found.items() if index is None))
    if not any(sets.values()):
        raise UserError(
            f"--pathways '{path}': none of its genes is in the model's vocabulary ({name_some(list(unknown))}); "
            "give gene sets of the same species and kind of names"
        )
    known = len({index for members in sets.values() for index in members})
    say(
        f"pathways: {len(sets):,} sets, {known:,} of their genes known"
        + (f", {len(unknown):,} unknown ({name_some(list(unknown), 3)})" if unknown else "")
    )
    return sets


def read_chromosomes(path: str | Path, vocab: FeatureVocab, *, say: Say = print) -> dict[int, str]:
    """Read a table with a column of genes and one of chromosomes.

    Unplaced and alternative contigs (``chrUn_...``, ``chr6_..._alt``) are left out; a gene on two chromosomes (as the
    pseudoautosomal ones) is left out too, since no answer about it would be right.

    Returns
    -------
    dict
        Gene index of ``vocab`` -> chromosome.

    Raises
    ------
    UserError
        Missing or unreadable file, no such columns, no gene known.
    """
    table = read_table(path, what="--annotation")
    columns = {str(column).lower(): str(column) for column in table.columns}
    gene = next((columns[name] for name in _GENE if name in columns), None)
    chromosome = next((columns[name] for name in _CHROMOSOME if name in columns), None)
    if gene is None or chromosome is None:
        wanted = "gene" if gene is None else "chrom"
        near = did_you_mean(wanted, list(table.columns))
        raise UserError(
            f"--annotation '{path}': no column '{wanted}'{near}; it has {name_some(list(table.columns))}: give a table "
            "with the columns gene, chrom"
        )
    places: dict[int, set[str]] = {}
    contigs = unknown = 0
    for name, place in zip(table[gene].str.strip(), table[chromosome].str.strip(), strict=True):
        if not place or "_" in place or "." in place:
            contigs += 1
            continue
        index = vocab.get(name)
        if index is None:
            unknown += 1
        else:
            places.setdefault(index, set()).add(place)
    if not places:
        raise UserError(
            f"--annotation '{path}': none of its genes is in the model's vocabulary "
            f"({name_some(list(table[gene][:5]))}); give one of the same species and kind of names"
        )
    result = {index: next(iter(found)) for index, found in places.items() if len(found) == 1}
    twice = [vocab.symbols[index] for index, found in places.items() if len(found) > 1]
    say(
        f"annotation: {len(result):,} of {len(vocab):,} genes have a chromosome"
        + (f"; {len(twice):,} are on several and left out ({name_some(twice, 3)})" if twice else "")
        + (f"; {contigs:,} rows of unplaced contigs left out" if contigs else "")
    )
    return result
