"""Write the report of runs: the function behind ``grn-cotrain report``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from grn_cotrain import __version__
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.link_files import TABLE_FILE
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.files import write_text
from grn_cotrain.report.inputs import ReportInputs, RunInputs, open_runs
from grn_cotrain.report.page import Page, render_page
from grn_cotrain.report.sections.order import sections

__all__ = ["REPORT_FILE", "write_report"]

REPORT_FILE = "report.html"
_Basis = Literal["umap", "pca"]

logger = logging.getLogger(__name__)


def _quiet(text: str) -> None:
    del text


def write_report(
    runs: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    title: str | None = None,
    date: str = "",
    tables: Sequence[str | Path] = (),
    card: bool = True,
    basis: _Basis = "umap",
    prep: str | Path | None = None,
    say: Callable[[str], None] = _quiet,
) -> Path:
    """Write one HTML file over one or several runs; it needs nothing but itself.

    A section whose input is missing names the command to run, so an unfinished run has a report too. Nothing depends on
    the clock: the same runs give the same file.

    Parameters
    ----------
    runs
        Run folders; several are shown side by side.
    out
        File; default ``report.html`` in the first run folder.
    title
        Title of the page; default: the runs' names.
    date
        Shown at the top where given.
    tables
        Folders of further link tables, of folds that were evaluated together for example.
    card
        Whether to include the gene-embedding card.
    basis
        How genes are laid out on maps; ``umap`` spends some twenty seconds before it starts, ``pca`` none.
    prep
        New place of the prepared folder of the runs; default: it is looked for.
    say
        Function that receives lines of progress, one a section; runs that are not finished come first.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UserError
        No run folder among ``runs``, a run twice, no link table in one of ``tables``, another ``basis``, or ``out``
        cannot be written.
    """
    if basis not in get_args(_Basis):
        raise UserError(f"basis '{basis}': choose from {', '.join(get_args(_Basis))}")
    opened = open_runs(runs, prep)
    for run in opened:
        run.run.tell_unfinished()
    path = Path(out) if out is not None else opened[0].run.folder / REPORT_FILE
    if path.is_dir():
        raise UserError(f"--out '{path}': is a folder; give the name of a file, such as {path / REPORT_FILE}")
    report = ReportInputs(opened, [_table(folder) for folder in tables], with_card=card, basis=basis, say=say)
    shown = []
    chosen = sections(report)
    for number, (what, make) in enumerate(chosen, 1):
        say(f"{number}/{len(chosen)} {what}")
        shown.append(make(report))
    page = Page(
        title=title or _title(opened),
        subtitle=_subtitle(opened),
        sections=shown,
        version=__version__,
        date=date,
    )
    write_text(path, render_page(page))
    opened[0].run.register([path.absolute()])
    return path


def _table(folder: str | Path) -> tuple[str, LinkTable]:
    if not (Path(folder) / TABLE_FILE).is_file():
        raise UserError(
            f"--table '{folder}': holds no {TABLE_FILE}; give a folder that `grn-cotrain evaluate links` wrote"
        )
    return Path(folder).resolve().name, LinkTable.read(folder)


def _title(runs: Sequence[RunInputs]) -> str:
    names = list(dict.fromkeys(run.recipe.name for run in runs))
    return " and ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} more"


def _subtitle(runs: Sequence[RunInputs]) -> str:
    if len(runs) == 1:
        run = runs[0]
        return f"Report of a run: split {run.recipe.data.split}, seed {run.recipe.seed}"
    return f"Report of {len(runs)} runs side by side"
