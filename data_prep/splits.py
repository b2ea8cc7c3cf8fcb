"""Edge splits of a prepared folder: ``grn-prep splits``."""

from __future__ import annotations

import logging
from pathlib import Path

from grn_cotrain.data.edge_split import SPLIT_KINDS, EdgeSplit, SplitKind
from grn_cotrain.data.leakage import assert_no_leak
from grn_cotrain.data.prep import Prep, write_split
from grn_cotrain.data.split_checks import refuse_one_class, split_warnings
from grn_cotrain.data.splits import make_split, published_split, transfer_split
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.jobs.prepare import SplitOptions
from grn_cotrain.options import keywords

__all__ = ["prepare_splits"]

logger = logging.getLogger(__name__)


@keywords(SplitOptions)
def prepare_splits(prep_folder: str | Path, kind: SplitKind, options: SplitOptions) -> list[str]:
    """Make the splits of one kind, audit them, write them into ``PREP/splits``, and return their names.

    Parameters
    ----------
    prep_folder
        Prepared folder; all kinds but ``published`` need its network.
    kind
        See :func:`~grn_cotrain.data.splits.make_split`.
    {options}

    Raises
    ------
    UserError
        An option of another kind is given, one that the kind needs is missing, a test part has no positive or no
        negative, or the audit finds a leak. Nothing is written then.
    """
    if kind not in SPLIT_KINDS:
        raise UserError(f"kind '{kind}': choose from {', '.join(SPLIT_KINDS)}{did_you_mean(kind, SPLIT_KINDS)}")
    train, validation, test, index = options.train, options.validation, options.test, options.index
    source_prep, seed = options.source_prep, options.seed
    files = {"train": train, "validation": validation, "test": test, "index": index}
    given = [name for name, value in files.items() if value is not None]
    if kind != "published" and given:
        raise UserError(f"--{given[0]}: only a published split reads it; use kind published, or leave it out")
    if options.every_fold and kind in ("published", "transfer"):
        raise UserError(f"--every-fold: a split of kind {kind} has no folds; leave it out, or take kind unseen-target")
    if kind != "transfer" and source_prep is not None:
        raise UserError("--source-prep: only a transfer split reads it; use kind transfer, or leave it out")
    prep = Prep.open(prep_folder)
    if kind == "published":
        if train is None or test is None:
            raise UserError(f"{'train' if train is None else 'test'}: a published split needs it; give the file")
        grn_hash = prep.grn.content_hash if prep.has_grn else ""
        splits = [published_split(train, validation, test, vocab=prep.vocab, index=index, grn_hash=grn_hash, seed=seed)]
    elif kind == "transfer":
        if source_prep is None:
            raise UserError("--source-prep: a transfer split needs the prepared folder to train on; give it")
        source = Prep.open(source_prep).grn
        splits = [transfer_split(prep.grn, source, seed=seed, outdated=options.outdated)]
    else:
        splits = make_split(
            prep.grn,
            kind,
            seed=seed,
            track=options.track,
            folds=options.folds,
            every_fold=options.every_fold,
            outdated=options.outdated,
        )
    refuse_one_class(splits)
    _audit(splits, prep)
    for split in splits:
        write_split(prep.folder, split)
    return [split.name for split in splits]


def _audit(splits: list[EdgeSplit], prep: Prep) -> None:
    for split in splits:
        report = assert_no_leak(split, split.train_2E, vocab_hash=prep.vocab.content_hash, symbols=prep.vocab.symbols)
        for finding in report.findings:
            logger.warning("%s: %s: %d (%s)", split.name, finding.name, finding.count, finding.meaning)
        for line in split_warnings(split):
            logger.warning("%s", line)
