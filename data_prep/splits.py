"""Edge splits of a prepared folder: ``grn-prep splits``."""

from __future__ import annotations

import logging
from pathlib import Path

from grn_cotrain.data.edge_split import SPLIT_KINDS, EdgeSplit, SplitKind, Track
from grn_cotrain.data.leakage import assert_no_leak
from grn_cotrain.data.prep import Prep, write_split
from grn_cotrain.data.split_check import one_sided
from grn_cotrain.data.splits import make_split, published_split, transfer_split
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["prepare_splits"]

logger = logging.getLogger(__name__)


def prepare_splits(
    prep_folder: str | Path,
    kind: SplitKind,
    *,
    seed: int = 0,
    track: Track = "visible",
    folds: int = 5,
    train: str | Path | None = None,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    index: str | None = None,
    source_prep: str | Path | None = None,
) -> list[str]:
    """Make the splits of one kind, audit them, write them into ``PREP/splits``, and return their names.

    Parameters
    ----------
    prep_folder
        Prepared folder; all kinds but ``published`` need its network.
    kind, seed, track, folds
        See :func:`~grn_cotrain.data.splits.make_split`.
    train, validation, test, index
        Files of a published split, see :func:`~grn_cotrain.data.split_published.published_split`.
    source_prep
        Prepared folder whose network a transfer split trains on.

    Raises
    ------
    UserError
        An option of another kind is given, one that the kind needs is missing, a test part has no positive or no
        negative, or the audit finds a leak. Nothing is written then.
    """
    if kind not in SPLIT_KINDS:
        raise UserError(f"kind '{kind}': choose from {', '.join(SPLIT_KINDS)}{did_you_mean(kind, SPLIT_KINDS)}")
    files = {"train": train, "validation": validation, "test": test, "index": index}
    given = [name for name, value in files.items() if value is not None]
    if kind != "published" and given:
        raise UserError(f"{given[0]}: only a published split reads it; use kind published, or leave it out")
    if kind != "transfer" and source_prep is not None:
        raise UserError("from: only a transfer split reads it; use kind transfer, or leave it out")
    prep = Prep.open(prep_folder)
    if kind == "published":
        if train is None or test is None:
            raise UserError(f"{'train' if train is None else 'test'}: a published split needs it; give the file")
        grn_hash = prep.grn.content_hash if prep.has_grn else ""
        splits = [published_split(train, validation, test, vocab=prep.vocab, index=index, grn_hash=grn_hash, seed=seed)]
    elif kind == "transfer":
        if source_prep is None:
            raise UserError("from: a transfer split needs the prepared folder to train on; give it")
        splits = [transfer_split(prep.grn, Prep.open(source_prep).grn, seed=seed)]
    else:
        splits = make_split(prep.grn, kind, seed=seed, track=track, folds=folds)
    _refuse_one_sided(splits)
    _audit(splits, prep)
    for split in splits:
        write_split(prep.folder, split)
    return [split.name for split in splits]


def _refuse_one_sided(splits: list[EdgeSplit]) -> None:
    """A test that cannot be ranked is refused; a validation part that cannot be is only said."""
    for split in splits:
        if lacking := one_sided(split, "test"):
            raise UserError(lacking)
        num_positives, num_pairs = split.counts("test")
        if 2 * num_positives > num_pairs:
            logger.warning(
                "split '%s': %s of the %s candidate pairs of its test are edges, so few negatives are left",
                split.name,
                f"{num_positives:,}",
                f"{num_pairs:,}",
            )
        if lacking := one_sided(split, "validation"):
            logger.warning("%s (training can neither stop early nor calibrate on it)", lacking)


def _audit(splits: list[EdgeSplit], prep: Prep) -> None:
    for split in splits:
        report = assert_no_leak(split, split.train_2E, vocab_hash=prep.vocab.content_hash, symbols=prep.vocab.symbols)
        for finding in report.findings:
            logger.warning("%s: %s: %d (%s)", split.name, finding.name, finding.count, finding.meaning)
