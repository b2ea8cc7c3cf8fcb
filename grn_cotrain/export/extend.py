"""Extend the vocabulary of a run by features of a list or of a file: the function behind ``grn-cotrain extend``."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grn_cotrain.apply import OpenRun
from grn_cotrain.apply.read import tables_of
from grn_cotrain.config import canonical_hash
from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.align import align_cells
from grn_cotrain.data.io.counts import CountsFile, load_counts
from grn_cotrain.data.prep_hook import place_for
from grn_cotrain.data.vocab import MODALITIES, FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_folder, write_json
from grn_cotrain.finetune.classifier import CLASSES_FILE, Classifier
from grn_cotrain.jobs.extend import ExtendOptions
from grn_cotrain.manifest import FITTED_FILES
from grn_cotrain.model_extend import extend_model
from grn_cotrain.model_io import add_to_model, load_model, save_model
from grn_cotrain.options import keywords
from grn_cotrain.run_folder import RunFolder

__all__ = ["extend_run", "read_features"]

_COLUMNS = 3


def read_features(path: str | Path, modality: str = "gene") -> tuple[list[str], list[str], list[str]]:
    """Names, Ensembl ids (or empty text) and modalities of a list of features.

    One feature a line: its name, and after tabs, if there are any, its Ensembl id and its modality (default
    ``modality``). Empty lines and lines that start with ``#`` are skipped.

    Raises
    ------
    UserError
        No such file, no feature in it, an unknown modality.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"--features '{path}': no such file; give a list of features, one a line")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"--features '{path}': not a text file; give a list of features, one a line") from None
    names: list[str] = []
    ids: list[str] = []
    kinds: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("\t")]
        if len(parts) > _COLUMNS:
            raise UserError(f"--features '{path}': line {number} has {len(parts)} columns; give name, id, modality")
        name, identifier, kind = (*parts, *[""] * (_COLUMNS - len(parts)))
        kind = kind or modality
        if kind not in MODALITIES:
            raise UserError(
                f"--features '{path}': line {number}: modality '{kind}'; choose from {', '.join(MODALITIES)}"
            )
        names.append(name)
        ids.append(identifier)
        kinds.append(kind)
    if not names:
        raise UserError(f"--features '{path}': holds no feature; name one a line")
    return names, ids, kinds


@keywords(ExtendOptions)
def extend_run(
    run: str | Path | OpenRun,
    cells: str | Path | None,
    out: str | Path,
    options: ExtendOptions,
    *,
    say: Callable[[str], None] = print,
) -> FeatureVocab:
    """Append features to the vocabulary of a run's model and write it as a run of its own.

    Old features keep their rows, so what the model makes of cells without the new ones stays the same to the bit.
    A fine-tuned run keeps its head. The new run can be fine-tuned, annotates and embeds; the network and prepared
    folder of the old one know nothing of the new features.

    Parameters
    ----------
    run
        Run folder; not changed.
    cells
        File of cells whose features are wanted; either this or ``features``. Statistics of the new features are those
        of the cells, or those of a typical feature.
    out
        New folder.
    {options}
    say
        Receives what was added.

    Raises
    ------
    UserError
        Neither or both of ``features`` and ``cells``; nothing new in them; ``out`` is not new; no model.
    """
    features, modality = options.features, options.modality
    if (features is None) == (cells is None):
        raise UserError("--features, CELLS: give one of them, a list of features or a file of cells")
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out '{out}': exists; give a new folder")
    opened = OpenRun.of(run)
    base, model = opened.folder, opened.model
    counts: CountsFile | None = None
    if features is not None:
        names, ids, kinds = read_features(features, modality or "gene")
    else:
        assert cells is not None
        counts = load_counts(cells, options.layer, to_species=opened.species, **tables_of(options))
        var = counts.adata.var
        chosen = [i for i, kind in enumerate(var["modality"]) if modality in (None, kind)]
        if not chosen:
            found = ", ".join(sorted(set(var["modality"])))
            raise UserError(f"--modality '{modality}': the file has {found} features alone")
        names = [str(var.index[i]) for i in chosen]
        ids = [str(var["gene_ids"].iloc[i]) for i in chosen]
        kinds = [str(var["modality"].iloc[i]) for i in chosen]
    vocab = _extended(model.vocab, names, ids, kinds)
    aligned = None
    if counts is not None:
        aligned = align_cells(counts, vocab, min_mapped=0.0)[0]
    extended = extend_model(model, vocab, cells=aligned, seed=options.seed)
    identity = opened.identity.to_dict()
    extended.meta = {**extended.meta, "run_id": canonical_hash([identity, vocab.content_hash, options.seed])}
    before = model.vocab.num_features
    new = Counter(vocab.modality[before:])
    listed = ", ".join(f"{number:,} {kind}s" for kind, number in new.items())
    say(f"{listed} added to {before:,} features: {name_some(list(vocab.symbols[before:]), 3)}")
    say(f"{len(names) - sum(new.values()):,} of {len(names):,} were there already")
    for kind in sorted(set(new) - set(model.vocab.modality)):
        say(f"warning: modality '{kind}' is new to the model: its rows are untrained, fine-tune before use")
    with atomic_folder(out) as folder:
        if (base.folder / CLASSES_FILE).is_file():
            classifier = Classifier.of(opened)
            classifier.model = extended
            classifier.save(folder, backend=extended.backend)
        else:
            save_model(folder / "model", extended, backend=extended.backend, meta=extended.meta)
        for other in base.model_folders:
            if other != base.model:  # the best model of the other side grows in the same way
                second = extend_model(load_model(other)[0], vocab, cells=aligned, seed=options.seed)
                second.meta = {**second.meta, "run_id": extended.meta["run_id"]}
                save_model(folder / other.name, second, backend=second.backend, meta=second.meta)
            for name in FITTED_FILES:  # old pairs keep their scores, and old cells their states
                if (other / name).is_file():
                    shutil.copyfile(other / name, folder / other.name / name)
                    add_to_model(folder / other.name, name)
        shutil.copyfile(base.recipe_file, folder / base.recipe_file.name)
        record: dict[str, Any] = dict(opened.record)
        record |= place_for(record) | {
            "kind": "extended",
            "base": identity,
            "run_id": extended.meta["run_id"],
            "vocab_hash": vocab.content_hash,
            "num_features_added": dict(new),
            "features_from": Path(str(features or cells)).name,
            "status": "finished",
        }
        write_json(folder / base.record_file.name, record)
        RunFolder(folder).seal({"run_id": record["run_id"], "name": record.get("name")})
    return vocab


def _extended(vocab: FeatureVocab, names: list[str], ids: list[str], kinds: list[str]) -> FeatureVocab:
    """With the features that are found neither by name nor by id, in the order given."""
    new = [
        i
        for i, (name, identifier, kind) in enumerate(zip(names, ids, kinds, strict=True))
        if vocab.get(name, kind) is None and (not identifier or vocab.get(identifier, kind) is None)
    ]
    if not new:
        raise UserError(f"features: the model has all {len(names):,} of them already; name new ones")
    return vocab.extend([names[i] for i in new], [ids[i] for i in new], modality=[kinds[i] for i in new])
