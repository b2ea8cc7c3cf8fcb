"""Raw cells -> a prepared folder: ``grn-prep counts``.

Dimension letters: C cells, G genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from grn_cotrain.data.assays import assay_notes
from grn_cotrain.data.backed import BackedStore
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.diagnosis import respell
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.io.align import align_cells, cells_over, without_counts
from grn_cotrain.data.io.counts import CountsFile, load_counts
from grn_cotrain.data.io.name_lists import read_names
from grn_cotrain.data.io.names import AliasTable, OrthologTable, TargetSpecies
from grn_cotrain.data.io.size_factors import size_factors
from grn_cotrain.data.io.stored_rows import Place
from grn_cotrain.data.prep import Prep, check_output, write_prep
from grn_cotrain.data.store import IN_MEMORY_VALUES
from grn_cotrain.data.vocab import AlignmentReport, FeatureVocab, detect_species, is_spike_in, name_some
from grn_cotrain.errors import UserError
from grn_cotrain.jobs.prepare import CountsOptions
from grn_cotrain.options import keywords

from .fetch import resolve_source
from .grn import build_network
from .merge import labels_of, merge_counts
from .outdated import with_marked_symbols
from .selection import parse_selection, select_genes

__all__ = ["prepare_counts", "source_list"]

PLACE: Place = "auto"
"""Where the values of one file are kept while it is prepared; see :func:`~grn_cotrain.data.io.counts.load_counts`."""


@keywords(CountsOptions)
def prepare_counts(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    options: CountsOptions,
    *,
    min_mapped: float = 0.5,
    vocab: FeatureVocab | None = None,
) -> Prep:
    """Read, validate, select and write cells, and the network if one is given.

    Parameters
    ----------
    source
        h5ad, h5mu, loom, zarr, 10x h5, folder with Matrix Market files, or CSV/TSV, each compressed or not; a zip or
        tar of one of them; an address or a name that ``grn-prep fetch`` knows; or several of these, whose cells are
        joined.
    out
        Prepared folder to write. An earlier one is replaced as a whole; other content is never touched.
    {options}
    vocab
        Align to this vocabulary instead of making one from the data (another data set's genes); ``genes`` must be
        ``all`` then. Features that the data lack are zero.
    min_mapped
        With ``vocab``: least share of the data's genes that it must hold.

    Returns
    -------
    Prep
        The folder, opened; ``meta["notes"]`` lists what was detected and left out.

    Raises
    ------
    UserError
        Whatever is wrong with the files or arguments; nothing is written then.
    """
    selection = parse_selection(options.genes)
    if vocab is not None and not selection.everything:
        raise UserError(f"--genes '{options.genes}': a given vocabulary decides about genes; leave it at all")
    replaced = check_output(out)
    given = source_list(source)
    renaming = None if options.aliases is None else AliasTable.read(resolve_source(options.aliases))
    pairs = None if options.orthologs is None else OrthologTable.read(resolve_source(options.orthologs))
    known: TargetSpecies | None = None if options.species == "auto" else options.species
    files = [resolve_source(file) for file in given]
    place = _place(files)
    read = [
        load_counts(
            file,
            options.layer,
            modality=options.modality,
            annotations=_listed(options.annotations),
            aliases=renaming,
            orthologs=pairs,
            orthologs_policy=options.orthologs_policy,
            to_species=options.to_species,
            species=known,
            names=options.names,
            place=place,
        )
        for file in files
    ]
    grn, species = options.grn, options.species
    counts = read[0]
    if len(read) > 1:
        labels = labels_of(given)
        labelled = list(zip(labels, read, strict=True))
        counts = merge_counts(labelled, join=options.join, source_key=options.source_key, species=species)
    notes = list(counts.notes)
    cells, report = _aligned_cells(counts, species, vocab, min_mapped, notes)
    cells = with_marked_symbols(cells, options.current_symbols, renaming, notes)
    network = None
    if grn is not None:
        network = build_network(grn, cells.vocab, format=options.grn_format, aliases=renaming)
    listed = np.empty(0, dtype=np.int64)
    if options.tf_list is not None:
        listed = _listed_tfs(options.tf_list, cells.vocab, notes)
    sources, targets = (np.empty(0, dtype=np.int64),) * 2 if network is None else map(np.unique, network.pairs_2E)
    kept, said = select_genes(cells, selection, tf_index=np.union1d(listed, sources), target_index=targets)
    notes.append(said)
    tfs = [cells.vocab.symbols[i] for i in np.intersect1d(listed, kept)]
    if kept.size < cells.num_features:
        cells = cells.with_features(kept)
        network = None if network is None else _restricted(network, cells.vocab, kept)
    notes += [note for note in without_counts(cells) if note not in notes]
    notes += assay_notes(cells.assays)
    if replaced:
        notes.append(f"an earlier prepared folder at {out} was replaced")
    meta = {
        "source": {
            "counts": [Path(file).name for file in given] if len(given) > 1 else Path(given[0]).name,
            "layer": options.layer,
            "modality": options.modality,
            "names": options.names,
            "annotations": _listed(options.annotations),
            "join": options.join if len(given) > 1 else None,
            "genes": options.genes,
            "grn_format": options.grn_format,
        }
        | {
            key: None if (value := getattr(options, key)) is None else Path(value).name
            for key in ("grn", "tf_list", "aliases", "current_symbols", "orthologs")
        },
        "notes": notes,
    }
    return write_prep(out, cells.vocab, cells, report=report, grn=network, tfs=tfs, meta=meta)


def _place(files: Sequence[str | Path]) -> Place:
    """Where values are kept. Each of several files may be small; all stay on disk if they are large together."""
    if len(files) == 1 or PLACE != "auto":
        return PLACE
    parts = [part for file in map(Path, files) for part in ([file] if file.is_file() else file.rglob("*"))]
    size = sum(part.stat().st_size for part in parts if part.is_file())
    return "backed" if size > IN_MEMORY_VALUES else "auto"  # a stored value takes one byte at least, or nearly so


def _aligned_cells(
    counts: CountsFile, species: str, vocab: FeatureVocab | None, min_mapped: float, notes: list[str]
) -> tuple[MemoryStore | BackedStore, AlignmentReport]:
    """Cells over their own vocabulary, or over a given one, with size factors from before any selection."""
    if vocab is not None:
        cells, report, told = align_cells(counts, vocab, min_mapped=min_mapped)
    else:
        adata = counts.adata
        names, ids = list(adata.var_names), list(adata.var["gene_ids"])
        telling = adata.var["modality"] == "gene"
        telling_names = [*adata.var_names[telling], *adata.var["gene_ids"][telling]]
        species = _species(telling_names, species, notes) if counts.species is None else counts.species
        given = FeatureVocab.from_symbols(
            names, ids, modality=list(adata.var["modality"]), species=species, intervals=counts.intervals
        )
        own, order = given.ordered()
        report = counts.report
        depth, told = size_factors(counts)
        if report.renamed or report.lost or report.duplicated or report.files:
            told = [*told, *(f"names: {line}" for line in report.lines())]
        same = own is given
        cells = cells_over(
            own, counts, lambda part: part if same else part[:, order], counts.kinds, depth, counts.present
        )
    notes += told
    spikes = [name for name in cells.vocab.symbols if is_spike_in(name)]
    if spikes:
        notes.append(f"{len(spikes):,} ERCC spike-ins are graph nodes but never tokens: {name_some(spikes, 3)}")
    return cells, report


def _listed(names: str | Sequence[str] | None) -> list[str]:
    """``a,b`` -> its parts; a list stays."""
    if names is None:
        return []
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else list(names)


def source_list(source: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """One file or several, as a list."""
    files = [source] if isinstance(source, (str, Path)) else list(source)
    if not files:
        raise UserError("IN: no file is given; name at least one")
    return files


def _species(names: list[str], asked: str, notes: list[str]) -> str:
    found, evidence = detect_species(name for name in names if name)
    if asked == "auto":
        notes.append(
            f"species: {found} ({evidence})" if found else f"species: unknown ({evidence}); --species names it"
        )
        return found or "unknown"
    if found is not None and found != asked:
        raise UserError(
            f"--species '{asked}': the names are of another species: {found} ({evidence}); leave it at auto"
        )
    notes.append(f"species: {asked}, as given")
    return asked


def _listed_tfs(tf_list: str | Path, vocab: FeatureVocab, notes: list[str]) -> np.ndarray:
    """Gene indices of the TFs of a list; those without a gene in the data are counted and named."""
    what = f"TF list '{tf_list}'"
    said: list[str] = []
    names = read_names(resolve_source(tf_list), what="TF list", notes=said)
    notes += [f"TF list: {note}" for note in said]
    genes = [symbol for symbol, kind in zip(vocab.symbols, vocab.modality, strict=True) if kind == "gene"]
    dotted = respell([name for name in names if vocab.get(name, "gene") is None], genes)
    if dotted:
        pairs = [f"{old} -> {new}" for old, new in dotted.items()]
        notes.append(f"TF list: {len(dotted):,} names were found with dots for dashes: {name_some(pairs, 3)}")
    names = [dotted.get(name, name) for name in names]
    alignment = vocab.align(names, min_mapped=0.0, what=what, modality="gene")
    found = alignment.index_N[alignment.index_N >= 0]
    if not found.size:
        raise UserError(
            f"{what}: none of its {len(names):,} names is a gene of the data "
            f"({name_some(names, 3)}); {vocab.diagnose(names, 'the list')}"
        )
    notes.append(f"TF list: {alignment.report.summary()}")
    return np.sort(found)


def _restricted(network: GRN, vocab: FeatureVocab, kept: np.ndarray) -> GRN:
    """The network over the selected features; its report stays that of all features, plus what the selection cost."""
    inside_E = np.isin(network.pairs_2E, kept).all(axis=0)
    if not inside_E.any():
        raise UserError("--genes: the selection leaves no edge of the network; add +tf+targets to it")
    if not inside_E.all():
        network.report.notes.append(f"the selection of genes left {int((~inside_E).sum()):,} edges out")
    return GRN.from_symbols(network.edges.iloc[np.flatnonzero(inside_E)], vocab, network.report)
