"""The plan of a first run: what is prepared and trained, and the recipe as commented text."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grn_cotrain.data.edge_split import SplitKind
from grn_cotrain.data.prep_hook import open_prepared
from grn_cotrain.recipe import DataConfig, PrepConfig, Recipe, load_recipe
from grn_cotrain.start.choose import Choice, choose_genes, choose_split, choose_tokens, roles_of_columns

if TYPE_CHECKING:
    from grn_cotrain.data.prep import Prep

__all__ = ["RECIPE_FILE", "Plan", "prepare_plan"]

RECIPE_FILE = "recipe.yaml"
_DEFAULT_STEPS = 300


@dataclass(frozen=True)
class Plan:
    """Choices for a first run.

    Attributes
    ----------
    block
        The ``prep:`` block.
    kind, split
        Kind and name of the split.
    genes, tokens, steps
        Chosen genes, values that are read of a cell, and optimiser steps; None: not chosen, so a default.
    found
        Lines on the cells and the network.
    columns
        Columns of ``obs`` by role.
    facts
        Counts of the prepared data: ``size`` and ``edges``.
    """

    block: PrepConfig
    kind: SplitKind
    split: Choice
    genes: Choice
    tokens: Choice | None = None
    steps: Choice | None = None
    found: Sequence[str] = ()
    columns: Mapping[str, Sequence[str]] | None = None
    facts: Mapping[str, str] | None = None

    def recipe(self, prep: Path, *, steps: int = _DEFAULT_STEPS) -> Recipe:
        """The recipe of the plan, with its prepared folder at ``prep``; ``steps`` where none were chosen."""
        with tempfile.TemporaryDirectory(prefix="grn-cotrain-") as folder:
            file = Path(folder) / RECIPE_FILE
            file.write_text(self.text(Path("prep"), steps=steps), encoding="utf-8")
            recipe = load_recipe(file)
        return replace(recipe, data=replace(recipe.data, prep=str(prep)))

    def text(self, prep: Path, *, steps: int = _DEFAULT_STEPS) -> str:
        """The recipe as commented text of at most 25 lines; ``steps`` where none were chosen."""
        block, facts = self.block, self.facts or {}
        max_steps = steps if self.steps is None else int(self.steps.value)
        tokens = "1024" if self.tokens is None else self.tokens.value
        prepared = [
            (f"  {name}: {_quoted(getattr(block, name))}", "")
            for name in ("layer", "species")
            if getattr(block, name) not in (None, "auto")
        ]
        lines = [
            ("# Written by grn-cotrain init. Keys that are not listed have their defaults.", ""),
            (f"name: {_name(block)}", ""),
            ("seed: 0", ""),
            ("prep:", "how the data are prepared; done again when a file or this block changes"),
            (f"  counts: {_quoted(block.counts)}", ""),
            *prepared,
            (f"  genes: {block.genes}", facts.get("size", "")),
            (f"  grn: {_quoted(block.grn)}", ""),
            (f"  splits: [{{kind: {self.kind}, seed: 0}}]", facts.get("edges", "")),
            ("data:", ""),
            (f"  prep: {_quoted(prep)}", ""),
            (f"  split: {self.split.value}", self.split.why.partition(" (")[0]),
            ("graph: {messages: true, backend: csr}", "true, or the controls rewired, random and none"),
            ("model:", ""),
            (
                "  link_decoder: {name: residual, evidence: [boosting_all]}",
                "starts from boosted trees, the best baseline",
            ),
            ("  table: {init: pca, id_dropout: 0.1, inductive: [expression, tf_family]}", ""),
            ("  cell_encoder: transformer", "others: grn-cotrain list cell_encoder"),
            (f"  tokens: {{max_tokens: {tokens}}}", "" if self.tokens is None else self.tokens.why),
            (
                "objectives: {masked_value: {}, profile_from_cell: {}, link_prediction: {}}",
                "the losses that share the gene table",
            ),
            ("train:", ""),
            (f"  max_steps: {max_steps}", "" if self.steps is None else self.steps.why),
            (f"  warmup_steps: {min(20, max_steps // 10)}", ""),
            (f"  validate_every: {max(1, max_steps // 6)}", "the best of these models is kept"),
            ("  schedule: {name: joint}", "also link_only, mlm_only, alternating, pretrain_then_link"),
            ("evaluate: {controls: default}", "the baselines of grn-cotrain evaluate links"),
        ]
        width = max(len(text) for text, comment in lines[1:] if comment and len(text) < 60)
        written = [f"{text.ljust(width)}  # {comment}" if comment else text for text, comment in lines]
        return "\n".join(written) + "\n"


def prepare_plan(
    base: PrepConfig, folder: Path, *, kind: SplitKind | None = None, genes: str | None = None
) -> tuple[Plan, Prep]:
    """Look at the data with all genes, choose, and prepare them in ``folder`` as the plan states.

    Parameters
    ----------
    base
        Cells, network and how they are read.
    folder
        Prepared folder to make.
    kind, genes
        Kind of split and selection of genes, where the caller has chosen.

    Raises
    ------
    UserError
        From preparing; a network that cannot be split in this way.
    """
    with tempfile.TemporaryDirectory(prefix="grn-cotrain-") as temporary:
        look = Recipe(name="look", data=DataConfig(prep=str(Path(temporary) / "look"), split="none"), prep=base)
        seen = open_prepared(look)
        chosen, split = choose_split(seen.grn, kind)
        selected = choose_genes(seen.vocab.modality.count("gene"), np.unique(seen.grn.pairs_2E).size)
        if genes is not None:
            selected = Choice(genes, "as given")
        plan = Plan(
            block=replace(base, genes=selected.value),
            kind=chosen,
            split=split,
            genes=selected,
            found=_found(seen),
            columns=roles_of_columns(seen.cells.obs),
        )
    prep = open_prepared(plan.recipe(folder))
    facts = {
        "size": f"{prep.meta['num_cells']:,} cells x {prep.vocab.counted}",
        "edges": f"{prep.grn.num_edges:,} edges of {prep.grn.report.num_sources:,} TFs",
    }
    values_C = np.sum([prep.cells.num_values(name) for name in prep.cells.assays], axis=0)
    tokens = choose_tokens(values_C.tolist())
    return replace(plan, tokens=tokens, facts=facts), prep


def _found(prep: Prep) -> list[str]:
    """Lines on the cells and the network."""
    words = {"counts": "raw counts", "log": "log-scale values"}
    kinds = dict.fromkeys(assay.kind for assay in prep.cells.assays.values())
    values = " and ".join(words.get(kind, f"{kind} values") for kind in kinds)
    lines = [
        f"cells     {prep.meta['num_cells']:,} cells x {prep.vocab.counted}, {values}, species {prep.meta['species']}"
    ]
    lines += [f"cells     {note}" for note in prep.meta["notes"] if not note.startswith("species")]
    return [*lines, *(f"network   {line}" for line in prep.grn.report.lines())]


def _name(block: PrepConfig) -> str:
    stem = Path(str(block.counts)).name.partition(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_") or "project"


def _quoted(value: Any) -> str:
    """A text as YAML reads it: unchanged where that is safe, else between quotes."""
    text = str(value)
    return text if re.fullmatch(r"[\w./][\w./+-]*", text, re.ASCII) else json.dumps(text, ensure_ascii=False)
