"""``grn-cotrain init``: two files become a project folder with a recipe and its prepared data.

The files are prepared once with all genes, to look at them. Choices follow from what was found. Then the data are
prepared as the recipe states, and the steps of a run are measured on this machine.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grn_cotrain.data.prep_hook import open_prepared
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_folder, write_text
from grn_cotrain.recipe import DataConfig, PrepConfig, Recipe, load_recipe
from grn_cotrain.start.choose import Choice, choose_genes, choose_split, choose_tokens, roles_of_columns

if TYPE_CHECKING:
    from grn_cotrain.data.prep import Prep

__all__ = ["Project", "start_project"]

RECIPE_FILE = "recipe.yaml"
_PREP = "prep"
_SECONDS = 300.0
_FEWEST, _MOST = 20, 5000
_PROBED = 60  # steps of the recipe that is tried, so that its validations are part of the estimate


@dataclass(frozen=True)
class Project:
    """The new project: the place of the recipe, and lines on what was found and chosen."""

    recipe: Path
    lines: tuple[str, ...]


def start_project(
    cells: str | Path, edges: str | Path, out: str | Path, *, say: Callable[[str], None] = lambda text: None
) -> Project:
    """Look at cells and edges, choose settings, prepare the data, and write ``OUT/recipe.yaml`` and ``OUT/prep``.

    Parameters
    ----------
    cells
        File or folder of cells, as ``grn-prep counts`` reads it.
    edges
        Edge list, as ``grn-prep grn`` reads it.
    out
        Folder to make; it must be new or empty.
    say
        Called with each line of progress.

    Raises
    ------
    UserError
        A folder with content, a file that cannot be read, cells and edges without common genes, a network that cannot
        be split. Nothing is written then.
    """
    out = Path(out)
    _check_place(out)
    base = PrepConfig(counts=_absolute(cells, "CELLS"), grn=_absolute(edges, "EDGES"))
    say("looking at the files")
    with tempfile.TemporaryDirectory(prefix="grn-cotrain-init-") as temporary:
        look = _prepare(base, Path(temporary) / "look")
        kind, split = choose_split(look.grn)
        genes = choose_genes(look.vocab.modality.count("gene"), np.unique(look.grn.pairs_2E).size)
        found = _found(look)
        obs = roles_of_columns(look.cells.obs)
    with atomic_folder(out) as temporary_out:
        block = replace(base, genes=genes.value)
        place = temporary_out / _PREP
        text = _text(out, block, kind, split, genes, None, None, None)
        say("preparing the data")
        prep = open_prepared(_recipe(text, place))
        values = np.diff(prep.cells.values_CG.indptr)
        tokens = choose_tokens(values)
        text = _text(out, block, kind, split, genes, tokens, None, prep)
        say("trying a few steps")
        steps = _steps(_recipe(text, place))
        text = _text(out, block, kind, split, genes, tokens, steps, prep)
        _recipe(text, place)
        write_text(temporary_out / RECIPE_FILE, text)
        for left in temporary_out.glob(".*.lock*"):
            left.unlink()
    lines = [
        *found,
        *(f"columns   {role}: {', '.join(names)}" for role, names in obs.items()),
        f"split     {split.value}: {split.why}",
        f"genes     {genes.value}: {genes.why}",
        *(f"genes     {note}" for note in prep.meta["notes"] if genes.value != "all" and " kept (" in note),
        "encoder   transformer: the plain encoder; compare others with grn-cotrain compare",
        f"tokens    {tokens.value} values of a cell at most: {tokens.why}",
        f"steps     {steps.value}: {steps.why}",
    ]
    return Project(out / RECIPE_FILE, tuple(lines))


def _check_place(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--out '{out}': is a file; give a new folder")
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"--out '{out}': is a folder with content; give a new or empty folder")


def _absolute(given: str | Path, argument: str) -> str:
    """The path from any working folder; names and addresses that ``grn-prep fetch`` knows stay as they are."""
    text = str(given)
    if "${" in text:
        raise UserError(f"{argument} '{text}': holds '${{', which recipes read as a variable; rename the file")
    file, colon, selector = text.partition(":")
    for path, rest in ((text, ""), (file, f"{colon}{selector}")):
        if Path(path).exists():
            return f"{Path(path).resolve()}{rest}"
    return text


def _prepare(block: PrepConfig, folder: Path) -> Prep:
    return open_prepared(Recipe(name="look", data=DataConfig(prep=str(folder), split="none"), prep=block))


def _recipe(text: str, place: Path) -> Recipe:
    """The recipe of the text, which reads its prepared folder from ``place`` while the project is being made."""
    with tempfile.TemporaryDirectory(prefix="grn-cotrain-init-") as folder:
        file = Path(folder) / RECIPE_FILE
        file.write_text(text, encoding="utf-8")
        recipe = load_recipe(file)
    return replace(recipe, data=replace(recipe.data, prep=str(place)))


def _found(prep: Prep) -> list[str]:
    """Lines on the cells and the network."""
    kinds = [(name, prep.vocab.modality.count(name)) for name in dict.fromkeys(prep.vocab.modality)]
    features = " + ".join(f"{number:,} {name}s" for name, number in kinds)
    values = "raw counts" if prep.meta["kind"] == "counts" else "log-scale values"
    lines = [f"cells     {prep.meta['num_cells']:,} cells x {features}, {values}, species {prep.meta['species']}"]
    lines += [f"cells     {note}" for note in prep.meta["notes"] if not note.startswith("species")]
    return [*lines, *(f"network   {line}" for line in prep.grn.report.lines())]


def _steps(recipe: Recipe) -> Choice:
    """Steps for about five minutes, from steps and a validation that are timed here."""
    from grn_cotrain.train.check import check_recipe

    report = check_recipe(recipe)
    seconds = report.minutes * 60 / recipe.train.max_steps
    steps = int(np.clip(_SECONDS / seconds, _FEWEST, _MOST))
    steps = max(_FEWEST, steps // 10 * 10)
    why = f"about {steps * seconds / 60:.1f} minutes at {seconds:.2f} s a step, measured on this machine"
    return Choice(str(steps), why)


def _text(
    out: Path,
    block: PrepConfig,
    kind: str,
    split: Choice,
    genes: Choice,
    tokens: Choice | None,
    steps: Choice | None,
    prep: Prep | None,
) -> str:
    """The recipe, commented."""
    size = "" if prep is None else f"{prep.meta['num_cells']:,} cells x {prep.meta['num_genes']:,} features"
    edges = "" if prep is None else f"{prep.grn.num_edges:,} edges of {prep.grn.report.num_sources:,} TFs"
    max_steps = _PROBED if steps is None else int(steps.value)
    lines = [
        ("# Written by grn-cotrain init. Keys that are not listed have their defaults.", ""),
        (f"name: {_name(block)}", ""),
        ("seed: 0", ""),
        ("prep:", "how the data are prepared; done again when a file or this block changes"),
        (f"  counts: {_quoted(block.counts)}", ""),
        (f"  genes: {block.genes}", size),
        (f"  grn: {_quoted(block.grn)}", ""),
        (f"  splits: [{{kind: {kind}, seed: 0}}]", edges),
        ("data:", ""),
        (f"  prep: {_quoted(str(out.resolve() / _PREP))}", ""),
        (f"  split: {split.value}", split.why.partition(" (")[0]),
        ("graph: {messages: true, backend: csr}", "true, or the controls rewired, random and none"),
        ("model:", ""),
        ("  width: 64", ""),
        ("  table: {init: pca, id_dropout: 0.1, inductive: [expression, tf_family]}", ""),
        ("  cell_encoder: transformer", "others: grn-cotrain list cell_encoder"),
        (
            f"  tokens: {{max_tokens: {'1024' if tokens is None else tokens.value}}}",
            "" if tokens is None else tokens.why,
        ),
        ("objectives: {masked_value: {}, link_prediction: {}}", "the two losses that share the gene table"),
        ("train:", ""),
        (f"  max_steps: {max_steps}", "" if steps is None else steps.why),
        (f"  warmup_steps: {min(20, max_steps // 10)}", ""),
        (f"  validate_every: {max(1, max_steps // 6)}", "the best of these models is kept"),
        ("  schedule: {name: joint}", "also link_only, mlm_only, alternating, pretrain_then_link"),
        ("evaluate: {controls: default}", "the baselines of grn-cotrain evaluate links"),
    ]
    width = max(len(text) for text, comment in lines[1:] if comment and len(text) < 60)
    written = [f"{text.ljust(width)}  # {comment}" if comment else text for text, comment in lines]
    return "\n".join(written) + "\n"


def _name(block: PrepConfig) -> str:
    stem = Path(str(block.counts)).name.partition(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_") or "project"


def _quoted(value: Any) -> str:
    """A path as YAML reads it: as it is where that is safe, else between quotes."""
    text = str(value)
    return text if re.fullmatch(r"[\w./][\w./+-]*", text, re.ASCII) else json.dumps(text, ensure_ascii=False)
