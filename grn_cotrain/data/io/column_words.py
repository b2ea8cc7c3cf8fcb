"""The words by which files name what they hold in addition to counts: names of genes, their annotation, annotation of
cells.

All readers ask here, so that a word means the same in every format.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from grn_cotrain.data.vocab import is_ensembl_id, is_spike_in

__all__ = [
    "CELL_NAME_WORDS",
    "GENE_ID_WORDS",
    "GENE_NAME_WORDS",
    "are_numbers",
    "corner_says_genes",
    "could_name_a_sample",
    "folded",
    "gene_like_share",
    "is_cell_annotation",
    "is_gene_annotation",
    "is_written_index",
    "like_a_barcode",
]

GENE_NAME_WORDS = (
    *("gene_symbols", "gene_symbol", "symbol", "symbols", "gene_name", "gene_names", "feature_name", "feature_names"),
    *("gene_short_name", "genename", "genesymbol", "external_gene_name", "hgnc_symbol", "mgi_symbol", "features"),
    *("gene", "genes", "names", "name", "feature", "featurekey", "feature_key", "var_names", "index", "_index"),
)
"""Columns that hold names of genes, folded."""

GENE_ID_WORDS = (
    *("gene_ids", "ensembl_id", "gene_id", "ensembl", "ensembl_ids", "feature_id", "ensembl_gene_id", "accession"),
    *("geneid", "ensg", "ensemblid"),
)
"""Columns that hold ids of genes, folded."""

CELL_NAME_WORDS = (
    *("cell", "cells", "barcode", "barcodes", "cell_id", "cell_ids", "cellid", "cell_index", "cell_barcode"),
    *("cell_barcodes", "cell_name", "cell_names", "cellname", "obs_names", "bc_wells", "bc_well", "cellkey"),
)
"""Columns that hold names of cells, folded."""

_CORNER_CELLS = {*CELL_NAME_WORDS, "sample", "samples", "sample_id", "sample_name", "obs"}
_CORNER_GENES = {
    *GENE_NAME_WORDS,
    *GENE_ID_WORDS,
    *("entrez", "entrez_id", "entrezid", "entrez_gene_id", "gene_symbol_id", "hugo_symbol", "hgnc", "probe", "id_ref"),
} - {"index", "_index", "name", "names"}

_GENE_ANNOTATION = {
    *GENE_NAME_WORDS,
    *GENE_ID_WORDS,
    *("chr", "chrom", "chromosome", "chromosome_name", "seqname", "seqnames", "start", "end", "stop", "strand"),
    *("start_position", "end_position", "length", "gene_length", "width", "effective_length", "description"),
    *("gene_description", "gene_type", "gene_biotype", "biotype", "transcript_id", "entrez", "entrez_id", "entrezid"),
    *("entrez_gene_id", "entrezgene", "hgnc", "hgnc_id", "uniprot", "feature_type", "feature_types", "genome"),
    *("n_cells", "n_cells_by_counts", "mean_counts", "means", "dispersions", "dispersions_norm", "highly_variable"),
    *("highly_variable_rank", "pct_dropout_by_counts", "mean", "variance", "variances", "variances_norm", "std"),
    *("interval", "exon_length", "gc_content", "percentage_gc_content", "locus", "cytoband", "hugo_symbol"),
}

_CELL_ANNOTATION = {
    *CELL_NAME_WORDS,
    *("counts", "ncounts", "ngene", "ngenes", "numi", "numis", "n_count", "n_umi", "n_umis", "library_size"),
    *("libsize", "lib_size", "size_factor", "size_factors", "sizefactor", "sizefactors", "mito_frac", "mt_frac"),
    *("mito_fraction", "mito_percent", "orig_ident", "ident", "cluster", "clusters", "seurat_clusters", "leiden"),
    *("louvain", "kmeans", "batch", "batches", "batch_id", "sample", "samples", "sample_id", "sample_name", "donor"),
    *("donor_id", "patient", "patient_id", "subject", "subject_id", "individual", "cell_type", "cell_types"),
    *("celltype", "celltypes", "cell_label", "cell_labels", "cell_ontology_class", "cell_type_ontology_term_id"),
    *("label", "labels", "annotation", "annotations", "condition", "conditions", "treatment", "stim", "stimulus"),
    *("genotype", "phase", "cell_cycle_phase", "s_score", "g2m_score", "doublet", "doublets", "is_doublet"),
    *("doublet_score", "doublet_scores", "predicted_doublet", "predicted_doublets", "scrublet_score", "age", "sex"),
    *("gender", "tissue", "organ", "organism", "disease", "timepoint", "time_point", "time", "day", "group", "groups"),
    *("replicate", "plate", "well", "method", "platform", "technology", "chemistry", "lane", "library", "library_id"),
    *("pseudotime", "dpt_pseudotime", "study", "dataset", "source_file", "species", "perturbation", "guide"),
    # Words that counting programs write for reads that belong to no gene, and sums.
    *("total", "totals", "sum", "no_feature", "ambiguous", "too_low_aqual", "not_aligned", "alignment_not_unique"),
    *("n_unmapped", "n_multimapping", "n_nofeature", "n_ambiguous", "unmapped", "multimapping", "unassigned", "*"),
}
_SAMPLES = {
    *("treatment", "condition", "time", "day", "age", "sex", "gender", "group", "sample", "total", "totals", "sum"),
    *(
        "method",
        "tissue",
        "organ",
        "organism",
        "disease",
        "label",
        "plate",
        "well",
        "lane",
        "batch",
        "donor",
        "patient",
    ),
    *("subject", "individual", "guide", "perturbation", "stim", "stimulus", "species", "study", "dataset", "library"),
    *("phase", "replicate", "doublet", "technology", "platform", "chemistry", "genotype", "cell", "annotation"),
}
_CELL_ANNOTATION_FORMS = re.compile(
    r"__.+|(?:log1p_)?(?:total|n)_(?:counts?|genes?|umis?|features?)(?:_.+)?|(?:pct|percent|perc|fraction|frac)_.+"
    r"|n(?:count|feature)_\w+|.+_snn_res_[\d_]+|(?:leiden|louvain|cluster|clusters|seurat_clusters)_.+"
    r"|(?:x_)?(?:umap|tsne)_?\d+|pc_\d+|unassigned_.+|(?:celltype|cell_type|doublet)_.+"
)
_OWN_WORDS = re.compile(  # my_cluster, patientID, barcode2, is_tumor
    r"(?:is|has)_.+|(?:[a-z0-9]+_)*(?:cluster|barcode|patient|donor|batch|celltype|cell_type|subtype|condition|sample)s?"
    r"(?:_?(?:id|ids|no|nr|name|names|num|number|label|labels|index|code|\d+))?"
)
_WRITTEN_INDEX = re.compile(r"(?:unnamed:_\d+(?:_\d+)?|index|x|_index|row_names|rownames|)")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:e[+-]?\d+)?", re.IGNORECASE)
_BARCODE = re.compile(r"(?:.*[_:\-.])?[ACGT]{8,}(?:[-_.].*)?", re.IGNORECASE)
_CELL_NAME = re.compile(r"(?:cell|barcode|sample|bc|well)s?[\W_]?\d*\w*", re.IGNORECASE)
_GENE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-.@][A-Za-z0-9]+)*")


def folded(name: str) -> str:
    """The word without case: spaces, dots and dashes become ``_``."""
    return re.sub(r"[\s.\-]+", "_", str(name).strip().lower())


def is_cell_annotation(name: str) -> bool:
    """Whether a column so called describes cells: ``n_counts``, ``cluster``, ``percent.mt``; not a gene."""
    word = folded(name)
    if word in _CELL_ANNOTATION or _CELL_ANNOTATION_FORMS.fullmatch(word) is not None:
        return True
    return _OWN_WORDS.fullmatch(folded(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name)))) is not None


def is_gene_annotation(name: str) -> bool:
    """Whether a column so called describes genes: ``Chr``, ``Length``, ``gene_name``; not a cell."""
    return folded(name) in _GENE_ANNOTATION


def could_name_a_sample(name: str) -> bool:
    """Whether a word for cells could as well be the name of one sample: ``Treatment``, ``Total``; not ``n_counts``."""
    return folded(name) in _SAMPLES


def is_written_index(name: str, values: Sequence[str]) -> bool:
    """Whether a column is a running number that a program has written next to the data."""
    return _WRITTEN_INDEX.fullmatch(folded(name)) is not None and are_running(values)


def are_running(values: Sequence[str]) -> bool:
    """Whether values are 0, 1, 2, ... or 1, 2, 3, ... in order."""
    if not values or values[0] not in ("0", "1"):
        return False
    first = int(values[0])
    return all(value == str(first + i) for i, value in enumerate(values))


def are_numbers(names: Sequence[str]) -> bool:
    """Whether names are numbers, which no gene is called by."""
    return bool(len(names)) and all(_NUMBER.fullmatch(name.strip()) for name in names)


def corner_says_genes(corner: str) -> bool | None:
    """Whether the rows of a table are genes (True) or cells (False) by its first cell; None if that does not
    decide."""
    word = folded(corner)
    if word in _CORNER_GENES:
        return True
    return False if word in _CORNER_CELLS else None


def like_a_barcode(name: str) -> bool:
    """Whether a name holds a barcode of at least eight bases."""
    return _BARCODE.fullmatch(name) is not None


def gene_like_share(names: Sequence[str]) -> float:
    """Share of the names that look like genes."""

    def like_a_gene(name: str) -> bool:
        if is_ensembl_id(name) or is_spike_in(name):
            return True
        if _BARCODE.fullmatch(name) or _CELL_NAME.fullmatch(name):
            return False
        return _GENE_NAME.fullmatch(name) is not None

    return sum(map(like_a_gene, names)) / max(1, len(names))
