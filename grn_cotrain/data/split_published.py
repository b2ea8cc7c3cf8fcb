"""Published splits: labelled pairs exactly as in the files of GENELink and scRegNet.

Sources: Chen & Liu (2022), GENELink, *Bioinformatics* 38; Kommu et al. (2025), scRegNet, *Bioinformatics* 41.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.hidden import hidden_genes
from grn_cotrain.data.io.columns import find_ends, fold_column
from grn_cotrain.data.pairs import pair_keys, pairs_from_keys
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["published_split", "read_gene_index"]

logger = logging.getLogger(__name__)

VALIDATION_SHARE = 0.1
_LABELS = frozenset(("label", "labels", "class", "y", "ispositive", "isedge", "groundtruth"))
_INDEX_COLUMNS = ("network", "cell", "set", "index", "gene")


def published_split(
    train: str | Path,
    validation: str | Path | None,
    test: str | Path,
    *,
    vocab: FeatureVocab,
    index: str | None = None,
    grn_hash: str = "",
    seed: int = 0,
    name: str = "published",
) -> EdgeSplit:
    """Read labelled pairs of train, validation and test.

    Parameters
    ----------
    train, validation, test
        Tables, ``.gz`` or plain, separated by tabs or commas, with a column ``label`` (0 or 1) and the columns of TF
        and target under any name that an edge list may have (``TF`` and ``Target``, ``source`` and ``target``).
        Without ``validation``, a tenth of train is taken, seeded, the same share of positives and of negatives.
    vocab
        The vocabulary whose gene indices the split is to hold.
    index
        ``PATH:NETWORK/CELL/SET``: the table that says which gene an integer means. ``PATH`` is looked for as it is,
        then beside ``train``, then in the folder ``networks`` beside that folder. None: the files hold symbols.
    grn_hash
        Hash of the network, where there is one.
    seed
        Of the validation share.
    name
        Of the split.

    Notes
    -----
    Genes that the files hold out of training are derived from the pairs (:func:`hidden_genes`): controls use a prior
    for them, not a degree of 0.

    Raises
    ------
    UserError
        A file cannot be read, a label is not 0 or 1, an index or a gene is unknown, or a pair is in two files:
        GENELink's and scRegNet's files of mESC are different draws and must not be mixed.
    """
    genes = None if index is None else read_gene_index(index, beside=Path(train))
    files = {"train": train, "validation": validation, "test": test}
    labelled = {
        part: _read_labelled(Path(path), part, genes, vocab) for part, path in files.items() if path is not None
    }
    _refuse_mixture(labelled, files)
    if validation is None:
        labelled["train"], labelled["validation"] = _take_validation(*labelled["train"], seed)
        logger.info("no validation file: a tenth of train validates (seed %d)", seed)
    positive = {part: keys_M[labels_M] for part, (keys_M, labels_M) in labelled.items()}
    negative = {part: keys_M[~labels_M] for part, (keys_M, labels_M) in labelled.items()}
    num_genes = vocab.num_genes or vocab.num_features
    pairs = {part: pairs_from_keys(keys_M, num_genes) for part, (keys_M, _) in labelled.items()}
    parts = ("train", "validation", "test")
    positive_2E = pairs_from_keys(positive["train"], num_genes)
    hidden = [
        hidden_genes(*(given[side] for given in (pairs["train"], positive_2E, pairs["validation"], pairs["test"])))
        for side in (0, 1)
    ]
    universes = {part: [np.unique(genes_M) for genes_M in pairs[part]] for part in parts}
    universes["train"] = [np.setdiff1d(*sides) for sides in zip(universes["train"], hidden, strict=True)]
    split = EdgeSplit(
        name=name,
        kind="published",
        track="visible",
        seed=seed,
        fold=None,
        num_genes=num_genes,
        vocab_hash=vocab.content_hash,
        grn_hash=grn_hash,
        **{f"{part}_2E": pairs_from_keys(positive[part], num_genes) for part in parts},
        **{f"{part}_negatives_2N": pairs_from_keys(negative[part], num_genes) for part in parts},
        **{f"{part}_sources_S": universes[part][0] for part in parts},
        **{f"{part}_targets_N": universes[part][1] for part in parts},
        hidden_sources_S=hidden[0],
        hidden_targets_N=hidden[1],
        withheld_2E=np.empty((2, 0), dtype=np.int64),
    )
    logger.info("%s", split.summary())
    if any(side.size for side in hidden):
        logger.info("held out of training, as no pair there names them: %d TFs, %d targets", *(s.size for s in hidden))
    return split


def read_gene_index(index: str, *, beside: Path | None = None) -> dict[int, str]:
    """Read ``PATH:NETWORK/CELL/SET`` into a mapping of integer to gene symbol."""
    path_text, separator, key = index.rpartition(":")
    wanted = key.split("/")
    if not separator or len(wanted) != 3:
        raise UserError(f"index '{index}': write PATH:NETWORK/CELL/SET, for example genes.tsv.gz:string/hESC/TFs+500")
    places = [Path(path_text)]
    if beside is not None and not Path(path_text).is_absolute():
        places += [beside.parent / path_text, beside.parent.parent / "networks" / path_text]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise UserError(f"index '{index}': no such file; looked for {', '.join(str(place) for place in places)}")
    frame = _read_table(path, "index")
    missing = [column for column in _INDEX_COLUMNS if column not in frame]
    if missing:
        raise UserError(f"index '{path}': no column {', '.join(missing)}; it needs {', '.join(_INDEX_COLUMNS)}")
    chosen = frame[(frame["network"] == wanted[0]) & (frame["cell"] == wanted[1]) & (frame["set"] == wanted[2])]
    if chosen.empty:
        known = sorted({"/".join(row) for row in frame[["network", "cell", "set"]].astype(str).itertuples(index=False)})
        raise UserError(f"index '{key}': not in {path.name}; choose from {', '.join(known)}{did_you_mean(key, known)}")
    if chosen["index"].duplicated().any():
        raise UserError(f"index '{path}': {key} gives an index twice; repair the table")
    return dict(zip(chosen["index"].astype(int), chosen["gene"].astype(str), strict=True))


def _read_table(path: Path, what: str) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep=None if path.suffix == ".txt" else _separator(path), keep_default_na=False)
    except (OSError, ValueError, EOFError, pd.errors.ParserError) as error:
        raise UserError(f"{what} '{path}': cannot be read ({error}); give a table with a header") from None


def _separator(path: Path) -> str:
    return "," if ".csv" in path.suffixes else "\t"


def _read_labelled(
    path: Path, part: str, genes: dict[int, str] | None, vocab: FeatureVocab
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys, sorted, and their labels."""
    frame = _read_table(path, part)
    label = _label_column(frame, path, part)
    labels = pd.to_numeric(frame[label], errors="coerce")
    if not labels.isin([0, 1]).all():
        raise UserError(f"{part} '{path}': label {frame[label][~labels.isin([0, 1])].iloc[0]!r} is neither 0 nor 1")
    try:
        named = find_ends(frame.drop(columns=label))
    except UserError as error:
        text = str(error).replace("edge list:", f"{part} '{path}':", 1).partition("; name both with")[0]
        raise UserError(f"{text}; name the columns source, target and label") from None
    ends = [_resolve(frame[column], path, part, genes, vocab) for column in (named.source, named.target)]
    keys_M = pair_keys(np.stack(ends), vocab.num_genes or vocab.num_features)
    unique_M, first_M, inverse_M = np.unique(keys_M, return_index=True, return_inverse=True)
    labels_M = labels.to_numpy(dtype=bool)
    contradicted = int((labels_M != labels_M[first_M][inverse_M]).sum())
    if contradicted:
        raise UserError(f"{part} '{path}': {contradicted} pairs have both labels; repair the file")
    if unique_M.size < keys_M.size:
        logger.warning("%s '%s': %d repeated rows counted once", part, path.name, keys_M.size - unique_M.size)
    return unique_M, labels_M[first_M]


def _label_column(frame: pd.DataFrame, path: Path, part: str) -> str:
    """The one column that holds labels, by its name."""
    found = [str(name) for name in frame.columns if fold_column(name) in _LABELS]
    if len(found) == 1:
        return found[0]
    named = ", ".join(map(str, frame.columns[:8]))
    problem = f"{len(found)} columns of labels ({', '.join(found)})" if found else f"no column Label (columns: {named})"
    raise UserError(f"{part} '{path}': {problem}; it needs source, target and one label of 0 or 1")


def _resolve(column: pd.Series, path: Path, part: str, genes: dict[int, str] | None, vocab: FeatureVocab) -> np.ndarray:
    """Gene indices of the vocabulary, through the index table where there is one."""
    distinct = pd.unique(column)
    symbols = {value: str(value) for value in distinct}
    if genes is not None:
        try:
            symbols = {value: genes[int(value)] for value in distinct}
        except (KeyError, ValueError) as error:
            raise UserError(
                f"{part} '{path}': column {column.name} holds {error}, which the index table does not; "
                "give the table of the same network, cell and set"
            ) from None
    found = {value: vocab.get(symbol) for value, symbol in symbols.items()}
    lost = [symbols[value] for value, index in found.items() if index is None]
    if lost:
        raise UserError(
            f"{part} '{path}': {len(lost)} of {distinct.size} genes of column {column.name} are not in the "
            f"vocabulary ({', '.join(sorted(lost)[:5])}); a published split keeps every pair: "
            "prepare the counts with all genes"
        )
    return column.map(found).to_numpy(dtype=np.int64)


def _take_validation(
    keys_M: np.ndarray, labels_M: np.ndarray, seed: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    taken_M = np.zeros(keys_M.size, dtype=bool)
    for label in (True, False):
        members = rng.permutation(np.flatnonzero(labels_M == label))
        taken_M[members[: round(members.size * VALIDATION_SHARE)]] = True
    return (keys_M[~taken_M], labels_M[~taken_M]), (keys_M[taken_M], labels_M[taken_M])


def _refuse_mixture(labelled: dict[str, tuple[np.ndarray, np.ndarray]], files: dict[str, str | Path | None]) -> None:
    for held, earlier in (("test", "train"), ("test", "validation"), ("validation", "train")):
        if held not in labelled or earlier not in labelled:
            continue
        shared = np.intersect1d(labelled[held][0], labelled[earlier][0]).size
        if shared:
            raise UserError(
                f"{held} '{files[held]}': {shared} of {labelled[held][0].size} pairs are in {earlier} too; the "
                "files are not one split (GENELink's and scRegNet's mESC files differ): take all from one source"
            )
