"""``CoTrainModel``: set up, train, evaluate, embed and save from Python, in six lines.

The recipe, the preparing, the training and the evaluation are those of the command line, so the numbers are the same.
What they keep on disk (prepared data, checkpoints, the best model, scores of controls) is in a private temporary folder
that is removed with the object; :meth:`CoTrainModel.save` is what keeps a project
(``docs/decisions/0011-training-from-python.md``).
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from grn_cotrain.config import apply_overrides, parse, to_dict
from grn_cotrain.data.edge_split import SplitKind
from grn_cotrain.data.prep_hook import open_prepared
from grn_cotrain.data.splits import split_name
from grn_cotrain.door.objects import cells_file, edges_file
from grn_cotrain.door.tables import links_frame
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.files import atomic_folder, write_text
from grn_cotrain.recipe import PrepConfig, Recipe, SplitConfig, load_recipe
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.start import check_place, prepare_plan

if TYPE_CHECKING:
    import anndata
    import mudata

    from grn_cotrain.data.prep import Prep

__all__ = ["CoTrainModel"]

_RECIPE, _PREP, _RUN = "recipe.yaml", "prep", "run"
_KINDS: tuple[SplitKind, ...] = ("unseen-target", "unseen-tf", "unseen-both", "random")


class CoTrainModel:
    """A project: prepared data, a recipe and, once trained, a run.

    Make one with :meth:`setup` or :meth:`load`.

    Attributes
    ----------
    recipe
        The resolved recipe; ``model.recipe.to_yaml()`` is its text.
    notes
        Lines on what was found in the data and what was chosen.
    """

    def __init__(self, recipe: Recipe, home: Path, *, notes: tuple[str, ...] = ()) -> None:
        self.recipe = recipe
        self.notes = notes
        self._home = home
        self._cells: str | None = None
        self._run: RunFolder | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._runs = 0

    # ---------------------------------------------------------------- making one

    @classmethod
    def setup(
        cls,
        cells: anndata.AnnData | mudata.MuData | str | Path,
        grn: Any,
        *,
        split: SplitKind | None = None,
        genes: str | None = None,
        layer: str | None = None,
        species: str = "auto",
        recipe: Recipe | str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """Validate and prepare cells and a network, and choose a recipe.

        Parameters
        ----------
        cells
            AnnData, MuData, or the path of a file of cells. The object itself is not changed.
        grn
            Edges: a DataFrame, a networkx DiGraph, or the path of a file.
        split
            Kind of edges to hold out: ``unseen-target``, ``unseen-tf``, ``unseen-both`` or ``random``; default: chosen
            by the number of TFs that can be tested, or that of ``recipe``.
        genes
            Genes to keep: ``all``, or a sum such as ``hvg:2000+tf+targets``; default: chosen by their number.
        layer
            Layer that holds the counts; ``raw`` for ``.raw``; default: ``X``.
        species
            ``auto``, ``human`` or ``mouse``.
        recipe
            Recipe to use in place of the chosen one; its cells and network are replaced by those given here.
        settings
            Keys of the recipe -> values, for example ``{"model.cell_encoder": "scgpt"}``.

        Raises
        ------
        UserError
            An object or value that is not usable; the message names it.
        """
        if split is not None and split not in _KINDS:
            raise UserError(f"split='{split}': choose from {', '.join(_KINDS)}{did_you_mean(split, _KINDS)}")
        temporary = tempfile.TemporaryDirectory(prefix="grn-cotrain-")
        home = Path(temporary.name)
        with _python_words(home):
            files = (cells_file(cells, home, layer), edges_file(grn, home))
            block = PrepConfig(counts=files[0], grn=files[1], layer=layer, species=species)  # type: ignore[arg-type]
            notes: tuple[str, ...] = ()
            if recipe is None:
                plan, _ = prepare_plan(block, home / _PREP, kind=split, genes=genes)
                chosen = plan.recipe(home / _PREP)
                notes = (*plan.found, f"split {plan.split.value}: {plan.split.why}", f"genes: {plan.genes.why}")
            else:
                given = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
                chosen = _with_data(given, block, home / _PREP, split, genes)
            model = cls(_changed(chosen, settings or {}), home, notes=notes)
            model._temporary, model._cells = temporary, files[0]
            model._prepared()
        return model

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Open a project that :meth:`save` wrote, or the folder of a run.

        Embeddings of a run need the run alone; :meth:`evaluate_links` needs its prepared folder, and searches for it.

        Raises
        ------
        UserError
            The folder is neither a project nor a run.
        """
        home = Path(path)
        if RunFolder(home).record_file.is_file():
            run = RunFolder.open(home)
            run.require_model()
            model = cls(run.recipe(), home)
            model._run = run
            return model
        if not (home / _RECIPE).is_file():
            raise UserError(
                f"path '{path}': is not a saved model (it has no {_RECIPE}); give the folder of model.save, or a run"
            )
        recipe = load_recipe(home / _RECIPE)
        model = cls(replace(recipe, data=replace(recipe.data, prep=str(home.resolve() / _PREP))), home)
        if (home / _RUN).is_dir():
            model._run = RunFolder.open(home / _RUN)
        return model

    # ---------------------------------------------------------------- training

    def train(
        self, *, max_steps: int | None = None, schedule: str | None = None, settings: Mapping[str, Any] | None = None
    ) -> Self:
        """Train from the beginning; an earlier run of this object is replaced.

        Parameters
        ----------
        max_steps
            Optimiser steps; default: the recipe's.
        schedule
            Which losses act when: ``joint``, ``link_only``, ``mlm_only`` and others; default: the recipe's.
        settings
            Further keys of the recipe -> values.

        Returns
        -------
        CoTrainModel
            The object itself.

        Raises
        ------
        UserError
            A key or value that is not usable; a loss that is not finite.
        """
        from grn_cotrain.train.run import train

        changes = dict(settings or {})
        changes |= {} if max_steps is None else {"train.max_steps": max_steps}
        changes |= {} if schedule is None else {"train.schedule.name": schedule}
        recipe = _changed(self.recipe, changes)
        if self._temporary is None:  # a saved project is not changed by training
            self._temporary = tempfile.TemporaryDirectory(prefix="grn-cotrain-")
        place = Path(self._temporary.name)
        self._runs += 1
        with _python_words(place):
            self._run = train(recipe, place / f"{_RUN}-{self._runs}")
        self.recipe = recipe
        return self

    # ---------------------------------------------------------------- results

    def evaluate_links(
        self, split: str | None = None, *, controls: str | None = None, bootstrap: int | None = None
    ) -> pd.DataFrame:
        """Score the held-out edges, with the controls.

        Parameters
        ----------
        split
            Kind or name of the split, to be sure of it: a model can only be tested on the split it was trained with.
        controls
            ``default``, ``all``, ``none``, or names separated by commas; default: the recipe's.
        bootstrap
            Replicates of the intervals; 0: no intervals; default: the recipe's.

        Returns
        -------
        DataFrame
            A row for each scorer, see :func:`grn_cotrain.door.tables.links_frame`.

        Raises
        ------
        UserError
            Not trained; another split; an unknown control.
        """
        from grn_cotrain.evaluate.run import evaluate_run

        run = self._trained()
        name = self.recipe.data.split
        if split is not None and split != name and not name.startswith(f"{split}-"):
            raise UserError(
                f"split='{split}': the model was trained with '{name}'; set up another model with split='{split}'"
            )
        with _python_words(run.folder):
            table = evaluate_run(run.folder, controls=controls, bootstrap=bootstrap, prep=self._place(), out=run.folder)
        return links_frame(table)

    def embed_genes(self, kind: str = "graph") -> pd.DataFrame:
        """Embeddings of the genes, float32 ``[genes, width]``; the index holds their symbols.

        Parameters
        ----------
        kind
            ``static`` (rows of the table), ``graph`` (after messages), ``contextual`` (means over cells) or
            ``regulation`` (directions of known and predicted regulators).

        Raises
        ------
        UserError
            Not trained; an unknown kind.
        """
        from grn_cotrain.export.genes import gene_embeddings

        run = self._trained()
        with _python_words(run.folder):
            frame = gene_embeddings(run.folder, kind=kind, prep=self._place()).frame
        values = frame.loc[:, [name for name in frame.columns if name[0] == "d" and name[1:].isdigit()]]
        return values.set_axis(pd.Index(frame["symbol"], name="gene"), axis=0)

    def embed_cells(self, cells: anndata.AnnData | None = None, *, keep_depth: bool = False) -> pd.DataFrame:
        """Embeddings of cells, float32 ``[cells, width]``; the index holds their names.

        Parameters
        ----------
        cells
            AnnData whose genes are matched by name; it is not changed. Default: the cells of :meth:`setup`.
        keep_depth
            Keep the linear trace of read depth, which is taken out otherwise.

        Returns
        -------
        DataFrame
            Rows of cells without a value of a known gene are NaN. ``attrs`` holds ``notes`` and ``warnings``.

        Raises
        ------
        UserError
            Not trained; too few genes in common; no cells, where the model was loaded.
        """
        from grn_cotrain.data.io.counts import counts_from_anndata, load_counts
        from grn_cotrain.export.cells import cell_embeddings

        run = self._trained()
        layer = None if self.recipe.prep is None else self.recipe.prep.layer
        with _python_words(run.folder):
            if cells is not None:
                counts = counts_from_anndata(cells, layer if layer in cells.layers else None, what="cells")
            elif self._cells is not None:
                counts = load_counts(self._cells, layer)
            else:
                raise UserError("cells: not given, and a loaded model holds none; give an AnnData")
            found = cell_embeddings(run.folder, counts, keep_depth=keep_depth)
        columns = [f"d{i}" for i in range(found.values_CD.shape[1])]
        frame = pd.DataFrame(found.values_CD, index=pd.Index(found.names, name="cell"), columns=columns)
        frame.attrs = {"notes": list(found.notes), "warnings": list(found.warnings)}
        return frame

    # ---------------------------------------------------------------- files

    def save(self, path: str | Path) -> Path:
        """Write the project: ``PATH/recipe.yaml``, ``PATH/prep`` and, once trained, ``PATH/run``.

        The commands of the command line work on ``PATH/run``.

        Raises
        ------
        UserError
            ``path`` is a file or a folder with content.
        """
        target = Path(path)
        with _python_words(target):
            check_place(target)
        recipe = replace(self.recipe, prep=None)  # the prepared folder is part of the project; raw files are not
        recipe = replace(recipe, data=replace(recipe.data, prep=str(target.resolve() / _PREP)))
        with atomic_folder(target) as temporary:
            shutil.copytree(self._prepared().folder, temporary / _PREP)
            if self._run is not None:
                shutil.copytree(self._run.folder, temporary / _RUN, ignore=shutil.ignore_patterns(".*lock*"))
            write_text(temporary / _RECIPE, recipe.to_yaml())
        return target

    def __repr__(self) -> str:
        state = "trained" if self._run is not None else "not trained"
        return f"CoTrainModel({self.recipe.name}, {self.recipe.data.split}, {state})"

    def _place(self) -> Path | None:
        """The prepared folder; None for the folder of a run, which searches for its own."""
        if self._run is not None and self._run.folder == self._home:
            return None
        return self._prepared().folder

    def _prepared(self) -> Prep:
        if self._run is not None and self._run.folder == self._home:
            return self._run.require_prep()
        return open_prepared(self.recipe)

    def _trained(self) -> RunFolder:
        if self._run is None:
            raise UserError("model: is not trained; call model.train() first")
        return self._run


def _with_data(recipe: Recipe, block: PrepConfig, place: Path, split: SplitKind | None, genes: str | None) -> Recipe:
    """The recipe with other cells and another network; its split is exchanged where the caller names one."""
    prep = replace(recipe.prep or block, counts=block.counts, grn=block.grn)
    given = {"layer": block.layer, "genes": genes, "species": None if block.species == "auto" else block.species}
    prep = replace(prep, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    name = recipe.data.split
    if split is not None:
        prep = replace(prep, splits=(SplitConfig(kind=split),))
        name = split_name(split, "visible", 0, 0 if split == "unseen-tf" else None)
    elif not prep.splits:
        prep = replace(prep, splits=(_split_of(name),))
    return replace(recipe, prep=prep, data=replace(recipe.data, prep=str(place), split=name))


def _split_of(name: str) -> SplitConfig:
    """The options that make the split of this name."""
    match = re.fullmatch(r"([a-z-]+?)(?:-(visible|hidden))?-seed(\d+)(?:-fold\d+)?", name)
    if match is None or match[1] not in _KINDS:
        raise UserError(f"recipe: data.split '{name}' names no kind of split that can be made; give split=")
    return SplitConfig(kind=match[1], track=match[2] or "visible", seed=int(match[3]))  # type: ignore[arg-type]


def _changed(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with other values of some keys, parsed strictly."""
    if not settings:
        return recipe
    texts = [f"{key}={json.dumps(to_dict(value))}" for key, value in settings.items()]
    return parse(Recipe, apply_overrides(to_dict(recipe), texts))


@contextmanager
def _python_words(home: Path) -> Iterator[None]:
    """Errors name arguments and objects, never the private files that stand for them."""
    try:
        yield
    except UserError as error:
        text = str(error)
        for private, public in (("edges.parquet", "grn"), ("cells.h5ad", "cells"), ("cells.h5mu", "cells")):
            text = text.replace(f"edge list '{home / private}'", public).replace(f"counts '{home / private}'", public)
            text = text.replace(str(home / private), public)
        raise UserError(re.sub(r"\bout='", "path='", text)) from None
